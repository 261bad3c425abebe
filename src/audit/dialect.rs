//! What a sample is: its format, its encoding, and the keys of `input` under which the product's own readers read it.
//!
//! A format shows itself by its first bytes; a text without such a sign is a table of delimited or of fixed cells.

use super::delimited::{self, Delimited};
use super::encoding::{self, Encoding};
use super::fixed::{self, Fixed};
use super::sample::Sample;
use super::{sheet, tree};
use crate::error::{Error, Result};
use crate::formats::Room;

/// A remark about the sample, and the line that shows it (0: none does).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// What was noticed.
    pub text: String,
    /// Where first.
    pub line: u64,
}

impl Note {
    /// A remark.
    pub fn new(text: impl Into<String>, line: u64) -> Self {
        Self { text: text.into(), line }
    }
}

/// One way of reading a sample.
#[derive(Clone, Debug)]
pub struct Dialect {
    /// The format's name.
    pub format: &'static str,
    /// The encoding of a text.
    pub encoding: Option<Encoding>,
    /// The dialect of a delimited text.
    pub delimited: Option<Delimited>,
    /// The layout of fixed lines.
    pub fixed: Option<Fixed>,
    /// Where the records of a document stand.
    pub records: Option<String>,
    /// The segments nested in those that are records.
    pub nest: Vec<(String, String)>,
    /// Records end with their lines, so that reading may begin anywhere.
    pub by_lines: bool,
    /// Spaces by which each level of a document is indented.
    pub indent: usize,
    /// What ends a line.
    pub line_ending: Option<&'static str>,
    /// The names of a table's columns, where it may hold no record that shows them.
    pub names: Vec<String>,
    /// Further keys of `input`.
    pub extra: Vec<(&'static str, String)>,
    /// What was noticed.
    pub notes: Vec<Note>,
}

impl Dialect {
    /// A format of which nothing else is known.
    pub fn new(format: &'static str) -> Self {
        Self {
            format,
            encoding: None,
            delimited: None,
            fixed: None,
            records: None,
            nest: Vec::new(),
            by_lines: false,
            indent: 0,
            line_ending: None,
            names: Vec::new(),
            extra: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// The keys of `input`, as TOML, without those that only the values tell.
    pub fn keys(&self) -> Vec<(&'static str, String)> {
        let mut keys = vec![("format", quoted(self.format))];
        keys.extend(self.extra.iter().cloned());
        if let Some(encoding) = self.encoding.as_ref().filter(|e| e.label != "utf-8" && !(e.mark && e.label.starts_with("utf-16"))) {
            keys.push(("encoding", quoted(&encoding.label)));
        }
        if let Some(d) = &self.delimited {
            if d.delimiter != ',' {
                keys.push(("delimiter", quoted(&d.delimiter.to_string())));
            }
            match d.quote {
                Some('"') => {}
                None if !self.quotes_stand() => {}
                None => keys.push(("quote", quoted(""))),
                Some(q) => keys.push(("quote", quoted(&q.to_string()))),
            }
            if let Some(e) = d.escape {
                keys.push(("escape", quoted(&e.to_string())));
            }
            if d.skip > 0 {
                keys.push(("skip", d.skip.to_string()));
            }
            if let Some(c) = d.comment {
                keys.push(("comment", quoted(&c.to_string())));
            }
            if !d.header {
                keys.push(("header", "false".into()));
            }
            if d.padded {
                keys.push(("trim", "true".into()));
            }
        }
        if let Some(f) = &self.fixed {
            let list = |fields: &[fixed::Field]| {
                let fields: Vec<String> =
                    fields.iter().map(|f| format!("{{ name = {}, start = {}, width = {} }}", quoted(&f.name), f.start, f.width)).collect();
                format!("[\n    {},\n]", fields.join(",\n    "))
            };
            if f.header {
                keys.push(("skip", "1".into()));
            }
            keys.push(("trim", "true".into()));
            if f.types[0].prefix.is_empty() {
                keys.push(("columns", list(&f.types[0].fields)));
            } else {
                let types: Vec<String> = f.types.iter().map(|t| format!("{} = {}", quoted(&t.prefix), list(&t.fields).replace('\n', ""))).collect();
                keys.push(("records", format!("{{ {} }}", types.join(", "))));
                if !f.nest.is_empty() {
                    let nest: Vec<String> = f.nest.iter().map(|(i, o)| format!("{} = {}", quoted(i), quoted(o))).collect();
                    keys.push(("nest", format!("{{ {} }}", nest.join(", "))));
                }
            }
        }
        if let Some(records) = self.records.as_ref().filter(|r| !r.is_empty()) {
            keys.push(("records", if self.format == "edifact" { format!("[{}]", quoted(records)) } else { quoted(records) }));
        }
        if !self.nest.is_empty() {
            let nest: Vec<String> = self.nest.iter().map(|(i, o)| format!("{} = {}", quoted(i), quoted(o))).collect();
            keys.push(("nest", format!("{{ {} }}", nest.join(", "))));
        }
        keys
    }

    /// Whether values are texts, and not cells that know what they are.
    pub fn holds_texts(&self) -> bool {
        !matches!(self.format, "xlsx" | "dbf")
    }

    /// Whether a name is a column of the whole file, whatever dots it holds.
    pub fn has_flat_columns(&self) -> bool {
        matches!(self.format, "csv" | "xlsx" | "dbf" | "fixed")
    }

    fn quotes_stand(&self) -> bool {
        self.notes.iter().any(|n| n.text == QUOTES_ARE_DATA)
    }
}

const QUOTES_ARE_DATA: &str = "quotes are part of the values, and not around them";

/// A text as TOML writes it.
pub fn quoted(text: &str) -> String {
    // What a sample holds names no variable and no file of this host.
    let text = &text.replace("${env:", "$${env:").replace("${file:", "$${file:");
    if text.chars().any(is_hidden) { basic(text) } else { toml::Value::String(text.to_owned()).to_string() }
}

/// A name as a key of TOML, in quotes that keys may have.
pub fn key(name: &str) -> String {
    let bare = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    if bare { name.to_owned() } else { basic(name) }
}

/// What no reader of a file sees, and a terminal may obey.
fn is_hidden(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// A text in TOML's basic quotes, on one line.
fn basic(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_hidden(c) => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// The ways in which a sample can be read, the most likely first; more than one only where records may stand in several places.
pub fn candidates(sample: &Sample, room: &Room) -> Result<Vec<Dialect>> {
    let head = &sample.head[..];
    if head.is_empty() {
        return Err(Error::file("the file is empty").on_file(&sample.path).hint("let the program export a few records, and audit that file"));
    }
    match head {
        [b'P', b'K', 3 | 5, ..] | [0xd0, 0xcf, 0x11, 0xe0, ..] => return Ok(vec![sheet::dialect(sample, room)]),
        _ if is_dbf(head) => return Ok(vec![Dialect::new("dbf")]),
        _ => {}
    }
    if let Some(what) = binary(head) {
        return Err(Error::file(format!("this is {what}, and no table of records"))
            .on_file(&sample.path)
            .hint("let the program export csv, json, xml or a workbook; `format = \"raw\"` relays such a file untouched"));
    }
    let found = encoding::guess(head, &sample.beyond);
    let text = found.decode(head);
    let start = text.trim_start_matches(['\u{feff}', ' ', '\t', '\r', '\n']);
    let line_ending = ending_of(&text);
    let with = |dialect: Dialect| Dialect { encoding: Some(found.clone()), line_ending, ..dialect };
    let cut = !sample.whole;
    let unb = |text: &str| {
        text.strip_prefix("UNB").is_some_and(|rest| rest.starts_with(|c: char| !c.is_alphanumeric() && !matches!(c, ';' | ',' | '\t' | '|' | '_' | ' ')))
    };
    let una = start.strip_prefix("UNA").and_then(|rest| rest.char_indices().nth(6).map(|(at, _)| &rest[at..]));
    if unb(start) || una.is_some_and(|rest| unb(rest.trim_start())) {
        let (records, inner) = tree::segments(start).map_or((None, Vec::new()), |(r, inner)| (Some(r), inner));
        let nest = inner.into_iter().filter_map(|i| Some((i, records.clone()?))).collect();
        return Ok(vec![with(Dialect { records, nest, ..Dialect::new("edifact") })]);
    }
    if start.starts_with('<') {
        let label = if found.charset().is_wide() { Some(found.label.clone()) } else { tree::declared_encoding(head) };
        let declared = label.map_or(
            Encoding { label: "utf-8".into(), mark: found.mark, evidence: "XML without another declaration".into(), strangers: Vec::new() },
            |label| {
                let name = crate::formats::text::Charset::named(&label).map_or_else(|| label.to_lowercase(), |c| c.name());
                Encoding { label: name, mark: found.mark, evidence: format!("declared as {label}"), strangers: Vec::new() }
            },
        );
        let paths = tree::element_paths(start);
        if paths.is_empty() {
            return Err(Error::file("the XML document has no element that could be a record").on_file(&sample.path).hint("audit an export with a few records"));
        }
        let indent = indent_of(start);
        let dialect = |path: String| Dialect { indent, records: Some(path), encoding: Some(declared.clone()), line_ending, ..Dialect::new("xml") };
        return Ok(paths.into_iter().map(dialect).collect());
    }
    if start.starts_with(['{', '[']) && looks_like_json(start) {
        if is_ndjson(start, cut) {
            return Ok(vec![with(Dialect { by_lines: true, ..Dialect::new("ndjson") })]);
        }
        let mut pointers = tree::pointers(start);
        if pointers.is_empty() {
            pointers.push(String::new());
        }
        let indent = indent_of(start);
        return Ok(pointers.into_iter().map(|p| with(Dialect { records: Some(p), indent, ..Dialect::new("json") })).collect());
    }
    let wide = found.charset().is_wide();
    table(sample, &text, with, cut).map(|d| vec![Dialect { by_lines: d.by_lines && !wide, ..d }])
}

/// A table of delimited or fixed cells.
fn table(sample: &Sample, text: &str, with: impl Fn(Dialect) -> Dialect, cut: bool) -> Result<Dialect> {
    if cut && !text.contains(['\n', '\r']) {
        return Err(Error::file(format!("the first {} MiB are one line: no record ends", text.len() >> 20))
            .on_file(&sample.path)
            .hint("check that the export is whole and that its line ends were not lost on the way"));
    }
    let delimited = delimited::guess(text, cut);
    let columns = delimited.as_ref().map_or(0, |d| d.names.len());
    let fit = delimited.as_ref().map_or(0.0, |d| d.fit);
    // A delimiter that cuts all lines alike is surer than places that happen to be aligned.
    let doubtful = columns < 2 || fit < 0.55 || delimited.as_ref().is_some_and(|d| matches!(d.delimiter, ' ' | ':'));
    // A sign that stands in nearly all lines, and in the first one, is a delimiter whatever the lines' lengths are.
    let signed = |d: char| {
        let lines = text.lines().filter(|l| !l.is_empty()).take(200);
        text.lines().next().is_some_and(|l| l.contains(d)) && lines.clone().filter(|l| l.contains(d)).count() * 5 >= lines.count() * 4
    };
    if doubtful
        && ![';', '\t', '|'].into_iter().any(signed)
        && let Some(found) = fixed::guess(text, cut)
    {
        let mut notes = Vec::new();
        for (prefix, count) in &found.others {
            notes.push(Note::new(format!("{count} lines of the type {prefix} are passed over"), 0));
        }
        return Ok(with(Dialect { fixed: Some(found), by_lines: true, notes, ..Dialect::new("fixed") }));
    }
    let Some(found) = delimited else {
        return Err(Error::file("the file holds only empty lines").on_file(&sample.path).hint("let the program export a few records, and audit that file"));
    };
    let mut notes = Vec::new();
    if found.quote.is_none() && text.contains('"') {
        notes.push(Note::new(QUOTES_ARE_DATA, 0));
    }
    let widths: std::collections::BTreeSet<usize> = found.ragged.iter().map(|(_, n)| *n).collect();
    if let Some((line, _)) = found.ragged.first() {
        let widths: Vec<String> = widths.iter().map(ToString::to_string).collect();
        let rows = if found.ragged.len() == 1 { "1 row has".to_owned() } else { format!("{} rows have", found.ragged.len()) };
        notes.push(Note::new(format!("{rows} {} cells where {} are expected", widths.join(" or "), found.names.len()), *line as u64));
    }
    if found.skip > 0 {
        let other =
            if found.skip > 8 { "they may be another table: two exports in one file can't be relayed by one route" } else { "they are no rows of the table" };
        notes.push(Note::new(format!("the first {} lines are passed over: {other}", found.skip), 1));
    }
    // A line within quotes is a part of a text, whatever stands in it.
    let mut quoted = false;
    let another = |line: &str| (line.starts_with('<') && line.ends_with('>') && line.len() > 3) || (line.starts_with("{\"") && line.ends_with('}'));
    let begins = |line: &str| {
        let within = quoted;
        quoted ^= found.quote.is_some_and(|quote| line.matches(quote).count() % 2 == 1);
        !within && another(line)
    };
    if let Some(i) = text.lines().position(begins) {
        notes.push(Note::new("another format begins here: a file of two formats can't be relayed by one route", i as u64 + 1));
    }
    if found.names.len() == 1 && text.lines().count() > 2 {
        notes.push(Note::new("no delimiter was found: every line is one cell", 0));
    }
    Ok(with(Dialect { delimited: Some(found), by_lines: true, notes, ..Dialect::new("csv") }))
}

/// LF, CRLF or CR, whichever stands first.
fn ending_of(text: &str) -> Option<&'static str> {
    let at = text.find(['\r', '\n'])?;
    Some(match &text[at..] {
        rest if rest.starts_with("\r\n") => "\r\n",
        rest if rest.starts_with('\r') => "\r",
        _ => "\n",
    })
}

/// The spaces before the first line that is indented.
fn indent_of(text: &str) -> usize {
    text.lines().take(200).map(|l| l.len() - l.trim_start_matches(' ').len()).find(|n| *n > 0).unwrap_or(0).min(8)
}

fn looks_like_json(start: &str) -> bool {
    let mut rest = start[1..].trim_start().chars();
    matches!(rest.next(), None | Some('"' | '{' | '[' | ']' | '}' | '-' | '0'..='9' | 't' | 'f' | 'n'))
}

/// Whether each line is a value by itself.
fn is_ndjson(start: &str, cut: bool) -> bool {
    let lines: Vec<&str> = start.lines().filter(|l| !l.trim().is_empty()).take(3).collect();
    let whole = |l: &str| serde_json::from_str::<serde_json::Value>(l).is_ok_and(|v| v.is_object() || v.is_array());
    match lines[..] {
        [one] => !cut && one.trim_start().starts_with('{') && whole(one) && tree::pointers(one).is_empty(),
        [first, second, ..] => whole(first) && (whole(second) || lines.len() == 2 && cut),
        [] => false,
    }
}

/// dBASE: a known version, a plausible date, and a header whose length leaves whole fields.
fn is_dbf(head: &[u8]) -> bool {
    let [version, _, month, day, ..] = head[..] else { return false };
    let length = |at: usize| head.get(at..at + 2).map_or(0, |b| usize::from(b[0]) | usize::from(b[1]) << 8);
    let (header, record) = (length(8), length(10));
    matches!(version, 0x02 | 0x03 | 0x30 | 0x31 | 0x32 | 0x43 | 0x63 | 0x83 | 0x8b | 0x8e | 0xcb | 0xe5 | 0xf5 | 0xfb)
        && month <= 12
        && day <= 31
        && header >= 65
        && record >= 2
        && header < 65_000
}

/// What a file is that is no text.
fn binary(head: &[u8]) -> Option<&'static str> {
    let known: &[(&[u8], &str)] = &[
        (b"%PDF", "a PDF document"),
        (b"\x89PNG", "an image"),
        (b"\xff\xd8\xff", "an image"),
        (b"GIF8", "an image"),
        (b"SQLite format 3", "a SQLite database"),
        (b"\x7fELF", "a program"),
        (b"MZ", "a program"),
        (b"PAR1", "a Parquet file"),
        (b"Rar!", "a RAR archive"),
        (b"7z\xbc\xaf", "a 7z archive"),
        (b"BZh", "a bzip2 archive"),
        (b"BEGIN:VCARD", "a vCard file"),
        (b"{1:F", "a SWIFT message"),
        (b":20:", "a SWIFT statement (MT940)"),
    ];
    if let Some((_, what)) = known.iter().find(|(magic, _)| head.starts_with(magic) && (magic.len() > 2 || head.contains(&0))) {
        return Some(what);
    }
    let sample = &head[..head.len().min(64 * 1024)];
    let wide = matches!(head, [0xff, 0xfe, ..] | [0xfe, 0xff, ..]) || {
        let zeros = |odd: usize| sample.iter().skip(odd).step_by(2).filter(|b| **b == 0).count();
        let (even, odd) = (zeros(0), zeros(1));
        even.max(odd) * 5 > sample.len() && even.min(odd) * 20 < sample.len()
    };
    let control = sample.iter().filter(|b| matches!(b, 0 | 1..=8 | 14..=25 | 28..=30 | 0x7f)).count();
    (!wide && control > 3 && control * 50 > sample.len()).then_some("a binary file")
}
