//! Names: templates such as `{stem}_{date:%Y%m%d}.csv`, and the rule that no name leads out of its folder.
//!
//! Names are bytes, as on Linux; nothing here touches the file system.

use jiff::Zoned;

use crate::error::{Error, Result, shown_bytes};
use crate::transform::eval::Context;

/// The longest name that Linux file systems and most servers take.
pub const NAME_BYTES_MAX: usize = 255;

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Name,
    Stem,
    Ext,
    Path,
    Job,
    Id,
    Number,
    Date(String),
}

/// A name with placeholders in single braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

/// What placeholders stand for.
#[derive(Clone, Debug)]
pub struct Facts<'f> {
    /// `{name}`; `{stem}` and `{ext}` are its parts.
    pub name: &'f [u8],
    /// `{path}`.
    pub path: &'f [u8],
    /// `{job}`.
    pub job: u64,
    /// `{id}`: twelve hex digits, a delivery's own.
    pub id: &'f str,
    /// `{part}`: of a file that was split, from 1.
    pub part: usize,
    /// `{date:…}`: the job's time.
    pub time: &'f Zoned,
}

impl Template {
    /// Parses a template whose placeholders are among `allowed`.
    pub fn parse(text: &str, allowed: &[&str]) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            literal.push_str(&rest[..at]);
            let tail = &rest[at..];
            if tail.starts_with("{{") || tail.starts_with("}}") {
                literal.push_str(&tail[..1]);
                rest = &tail[2..];
                continue;
            }
            let end = tail.find('}').filter(|end| *end > 0).ok_or_else(|| "a brace is not closed (a brace itself is written twice)".to_owned())?;
            let inner = &tail[1..end];
            let (key, pattern) = inner.split_once(':').map_or((inner, None), |(k, p)| (k, Some(p)));
            if !allowed.contains(&key) {
                return Err(format!("there is no placeholder {{{key}}} here: {}", allowed.iter().map(|a| format!("{{{a}}}")).collect::<Vec<_>>().join(", ")));
            }
            if !literal.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut literal)));
            }
            parts.push(match (key, pattern) {
                ("name", None) => Part::Name,
                ("stem", None) => Part::Stem,
                ("ext", None) => Part::Ext,
                ("path", None) => Part::Path,
                ("job", None) => Part::Job,
                ("id", None) => Part::Id,
                ("part", None) => Part::Number,
                ("date", pattern) => {
                    let pattern = pattern.unwrap_or("%Y%m%d");
                    if let Some(why) = crate::formats::text::pattern_mistake(pattern) {
                        return Err(format!("{{date:{pattern}}}: {why}"));
                    }
                    Part::Date(pattern.to_owned())
                }
                _ => return Err(format!("{{{inner}}} can't be used here")),
            });
            rest = &tail[end + 1..];
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Ok(Self { text: text.to_owned(), parts })
    }

    /// The template as written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The name that the template gives.
    pub fn render(&self, facts: &Facts<'_>) -> Vec<u8> {
        let (stem, ext) = stem_and_ext(facts.name);
        let mut out = Vec::new();
        for part in &self.parts {
            match part {
                Part::Literal(text) => out.extend_from_slice(text.as_bytes()),
                Part::Name => out.extend_from_slice(facts.name),
                Part::Stem => out.extend_from_slice(stem),
                Part::Ext => out.extend_from_slice(ext),
                Part::Path => out.extend_from_slice(facts.path),
                Part::Job => out.extend_from_slice(facts.job.to_string().as_bytes()),
                Part::Number => out.extend_from_slice(facts.part.to_string().as_bytes()),
                Part::Id => out.extend_from_slice(facts.id.as_bytes()),
                Part::Date(pattern) => out.extend_from_slice(facts.time.strftime(pattern).to_string().as_bytes()),
            }
        }
        out
    }
}

/// The folder in a source that claimed files lie in.
pub const CLAIMED: &str = ".passerelle";

/// What a rejects file's name ends in.
pub const REJECTS: &[u8] = b".rejects.csv";

/// What a conflicts file's name ends in.
pub const CONFLICTS: &[u8] = b".conflicts.csv";

/// The name of the file that a rejects file is of; also of the rejects that a corrected file had again.
pub fn uncorrected(name: &[u8]) -> &[u8] {
    match name.strip_suffix(REJECTS) {
        Some(bare) if !bare.is_empty() && !bare.ends_with(b"/") => uncorrected(bare),
        _ => name,
    }
}

/// The published name: as the template gives it, else A's name with B's extension. Parts of a file that is split are
/// numbered before the extension, unless the template numbers them.
pub fn published(template: Option<&Template>, extension: Option<&str>, facts: &Facts<'_>, split: bool) -> Vec<u8> {
    let name = match (template, extension) {
        (Some(template), _) => template.render(facts),
        (None, Some(extension)) => with_extension(unpacked(facts.name), extension),
        (None, None) => facts.name.to_vec(),
    };
    let numbered = template.is_some_and(|t| t.parts.iter().any(|p| matches!(p, Part::Number)));
    if split && !numbered { numbered_part(&name, facts.part) } else { name }
}

/// The name of one part: its number stands before the extension, which of a compressed file is what it holds and how.
pub fn numbered_part(name: &[u8], part: usize) -> Vec<u8> {
    with_suffix(name, &format!("-{part}"))
}

/// The name of what a compressed file holds.
fn unpacked(name: &[u8]) -> &[u8] {
    let (stem, ext) = stem_and_ext(name);
    let packed = [&b"gz"[..], b"zst", b"zip"].iter().any(|p| ext.eq_ignore_ascii_case(p));
    if packed { stem } else { name }
}

/// A name without its last extension, and the extension.
pub fn stem_and_ext(name: &[u8]) -> (&[u8], &[u8]) {
    match name.iter().rposition(|b| *b == b'.') {
        Some(at) if at > 0 => (&name[..at], &name[at + 1..]),
        _ => (name, b""),
    }
}

/// A's name with the extension of B's format: `CLIENTS.CSV` as CSV stays, `clients.txt` as CSV becomes `clients.csv`.
pub fn with_extension(name: &[u8], ext: &str) -> Vec<u8> {
    let (stem, old) = stem_and_ext(name);
    if old.eq_ignore_ascii_case(ext.as_bytes()) {
        return name.to_vec();
    }
    [stem, b".", ext.as_bytes()].concat()
}

/// A name with `suffix` before its extension, which of a compressed file is what it holds and how.
pub fn with_suffix(name: &[u8], suffix: &str) -> Vec<u8> {
    let within = unpacked(name);
    let (stem, _) = stem_and_ext(within);
    [stem, suffix.as_bytes(), &name[stem.len()..]].concat()
}

/// A name of `room` bytes at most: its extension stays, and no character is cut in two.
pub fn shortened(name: &[u8], room: usize) -> Vec<u8> {
    if name.len() <= room {
        return name.to_vec();
    }
    let (stem, _) = stem_and_ext(name);
    let (stem, ext) = if name.len() - stem.len() < room { name.split_at(stem.len()) } else { (name, &b""[..]) };
    [beginning(stem, room - ext.len()), ext].concat()
}

/// Refuses a name that is not one plain name in its folder: empty, `.`, `..`, with a slash, a NUL, or too long.
pub fn check_name(name: &[u8], what: &str) -> Result<()> {
    let wrong = if name.is_empty() {
        "it is empty"
    } else if name == b"." || name == b".." {
        "it is no name of a file"
    } else if name.contains(&b'/') {
        "it holds a slash and would lead out of its folder"
    } else if name.contains(&0) {
        "it holds a NUL byte"
    } else if name.len() > NAME_BYTES_MAX {
        "it is longer than 255 bytes"
    } else {
        return Ok(());
    };
    Err(Error::file(format!("the name {} can't be used: {wrong}", shown_bytes(name))).hint(format!("change {what}")))
}

/// Refuses a relative folder that leads out of the one it stands in.
pub fn check_folder(path: &str) -> Result<(), String> {
    if path.split('/').any(|part| part == "..") { Err("it may not lead above its folder with ..".into()) } else { Ok(()) }
}

/// The temporary name, shortened where it would be too long: the delivery's id keeps it unique.
pub fn temporary(template: &Template, facts: &Facts<'_>) -> Vec<u8> {
    let full = template.render(facts);
    if full.len() <= NAME_BYTES_MAX {
        return full;
    }
    let over = full.len() - NAME_BYTES_MAX;
    template.render(&Facts { name: beginning(facts.name, facts.name.len().saturating_sub(over)), ..facts.clone() })
}

/// As much of a name's beginning as `most` bytes hold; a cut in the middle of a character would be no UTF-8 any more.
fn beginning(name: &[u8], most: usize) -> &[u8] {
    let keep = (0..=most.min(name.len())).rev().find(|at| name.get(*at).is_none_or(|b| b & 0xc0 != 0x80)).unwrap_or(0);
    &name[..keep]
}

/// The name of something about a file, beside it: its own name with an ending, shortened where it would be too long.
pub fn about(name: &[u8], ending: &[u8]) -> Vec<u8> {
    [beginning(name, NAME_BYTES_MAX - ending.len()), ending].concat()
}

/// Names that never match a source, unless `include` names them outright.
pub fn never_matches(name: &[u8]) -> bool {
    const SUFFIXES: &[&[u8]] = &[b".tmp", b".part", b".partial", b".filepart", b".crdownload", b".writing"];
    let lower = name.to_ascii_lowercase();
    matches!(name.first(), Some(b'.' | b'~')) || SUFFIXES.iter().any(|s| lower.ends_with(s)) || lower == b"thumbs.db" || lower == b"desktop.ini"
}

/// The context of expressions for a job's file.
pub fn context(path: &[u8], size: u64, modified: &Zoned, job: u64, time: &Zoned, route: &str) -> Context {
    let name = path.rsplit(|b| *b == b'/').next().unwrap_or(path);
    let local = |z: &Zoned| (z.datetime().round(jiff::Unit::Second).unwrap_or_else(|_| z.datetime()), Some(z.offset()));
    Context {
        file_name: String::from_utf8_lossy(name).into_owned(),
        file_path: String::from_utf8_lossy(path).into_owned(),
        file_modified: local(modified),
        file_size: size,
        job,
        time: local(time),
        route: route.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts<'f>(name: &'f [u8], time: &'f Zoned) -> Facts<'f> {
        Facts { name, path: name, job: 17, id: "0123456789ab", part: 1, time }
    }

    #[test]
    fn templates_are_filled_in() {
        let time: Zoned = "2025-12-31T23:59:00+01:00[Europe/Paris]".parse().unwrap();
        let t = Template::parse("{stem}_{date:%Y%m%d}_{job}.{ext}{{}}", &["stem", "date", "job", "ext"]).unwrap();
        assert_eq!(t.render(&facts(b"a.b.csv", &time)), b"a.b_20251231_17.csv{}");
        assert!(Template::parse("{nam}", &["name"]).unwrap_err().contains("{name}"));
        assert!(Template::parse("{name", &["name"]).is_err());
        assert!(Template::parse("{date:x}", &["date"]).is_err());
    }

    #[test]
    fn a_long_name_gets_a_shorter_temporary_name_that_fits() {
        let time = Zoned::now();
        let name = "é".repeat(125);
        let t = Template::parse(".{name}.{id}.part", &["name", "id"]).unwrap();
        let temporary = temporary(&t, &facts(name.as_bytes(), &time));
        assert!(temporary.len() <= 255 && temporary.ends_with(b".0123456789ab.part"));
        assert!(std::str::from_utf8(&temporary).is_ok());
    }

    #[test]
    fn a_suffix_stands_before_all_that_tells_what_a_file_is_and_a_long_name_keeps_its_extension() {
        for (name, with) in [("e.csv", "e-1.csv"), ("e.csv.gz", "e-1.csv.gz"), ("e.gz", "e-1.gz"), ("e", "e-1"), (".e", ".e-1")] {
            assert_eq!(String::from_utf8(with_suffix(name.as_bytes(), "-1")).unwrap(), with);
        }
        for (name, short) in [("ééé.csv", "éé.csv"), ("ab.csv", "ab.csv"), ("abcdefghijkl", "abcdefghi"), ("a.bcdefghijkl", "a.bcdefgh")] {
            assert_eq!(String::from_utf8(shortened(name.as_bytes(), 9)).unwrap(), short);
        }
    }

    #[test]
    fn names_that_lead_out_of_their_folder_are_refused() {
        for bad in [&b"../x"[..], b"/abs", b"", b".", b"..", b"a\0b", &[b'x'; 256]] {
            assert!(check_name(bad, "output.name").is_err());
        }
        assert!(check_name("-é n\n%#".as_bytes(), "output.name").is_ok());
    }

    #[test]
    fn the_name_of_a_compressed_export_loses_what_compressing_added() {
        let epoch = Zoned::default();
        let named = |name: &str, ext: &str| {
            let facts = Facts { name: name.as_bytes(), path: name.as_bytes(), job: 1, id: "", part: 1, time: &epoch };
            String::from_utf8(published(None, Some(ext), &facts, false)).unwrap()
        };
        assert_eq!(named("c.csv.gz", "csv"), "c.csv");
        assert_eq!(named("c.csv.gz", "json.gz"), "c.json.gz");
        assert_eq!(named("CLIENTS.CSV.ZIP", "csv"), "CLIENTS.CSV");
        assert_eq!(named("c.txt", "csv"), "c.csv");
    }

    #[test]
    fn unfinished_names_never_match() {
        for name in ["a.tmp", "~a", ".a", "a.PART", "Thumbs.db", "x.crdownload"] {
            assert!(never_matches(name.as_bytes()), "{name}");
        }
        assert!(!never_matches(b"part.csv"));
    }
}
