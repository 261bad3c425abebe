//! `init`: asks for the two folders, audits what lies there, and lays out a configuration. It moves no file and starts nothing.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{Context, audit as audit_command, print_line};
use crate::audit::dialect::quoted;
use crate::audit::sample::{Extent, Sample};
use crate::audit::{self, draft};
use crate::error::{Blame, Error, Result, reason, shown};
use crate::formats::Room;

/// Kinds of exports in one folder that get a route each.
const KINDS_MAX: usize = 20;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where A leaves its exports; asked for where it is missing
    source: Option<PathBuf>,
    /// Where B takes its imports; asked for where it is missing
    destination: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<u8> {
    if crate::durable::exists(&std::path::absolute(&context.file).unwrap_or_else(|_| context.file.clone())) {
        return Err(Error::config(format!("{} is there already", shown(&context.file)))
            .hint("name another with --config FILE, or audit by `passerelle audit A B --draft FILE`"));
    }
    let source = folder(args.source.clone(), "The folder where A leaves its exports: ")?;
    let destination = folder(args.destination.clone(), "The folder where B takes its imports: ")?;
    if source.canonicalize().is_ok_and(|s| destination.canonicalize().is_ok_and(|d| s == d)) {
        let why = format!("{} is both where A leaves its exports and where B takes its imports: what was relayed would be taken again", shown(&source));
        return Err(Error::config(why).hint("name two folders"));
    }
    let kinds = kinds(&source)?;
    let imports = files(&destination)?;
    let mut text = format!("{} init`. Every guess has its confidence beside it: look at each before you run it.\n", draft::MARK);
    let base = std::path::absolute(&context.file).ok().and_then(|f| f.parent().map(Path::to_owned)).unwrap_or_default();
    let (from, to) = (written(&source, &base), written(&destination, &base));
    let _ = writeln!(text, "\nhome = \"relay\"  # journal, archive, errors, work");
    let scratch = tempfile::tempdir().map_err(|e| Error::io(Blame::Endpoint, "create", &std::env::temp_dir(), &e))?;
    let room = Room::new(audit_command::MEMORY_BYTES, scratch.path());
    let mut names: Vec<String> = Vec::new();
    let mut read: Option<(String, PathBuf)> = None;
    // With one export and one import there is no choice, whatever they are called.
    let least = if kinds.len() == 1 && imports.len() == 1 { 0.0 } else { 0.3 };
    for (pattern, sample) in &kinds {
        let mut name = draft::slug(pattern.split('.').next().unwrap_or("files"));
        while names.contains(&name) {
            name.push_str("_2");
        }
        names.push(name.clone());
        let place = draft::Place { name: name.clone(), source: from.clone(), destination: to.clone(), include: Some(pattern.clone()) };
        print_line(&format!("\n{pattern}, as {} shows:", shown(sample)));
        match route(sample, &imports, least, &place, &room) {
            Ok((toml, summary)) => {
                print_line(&summary);
                read.get_or_insert_with(|| (name.clone(), sample.clone()));
                let _ = write!(text, "\n{toml}");
            }
            Err(e) => {
                print_line(&format!("  can't be read as records: {e}; the route relays its bytes untouched"));
                let why: String = e.to_string().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
                let _ = writeln!(text, "\n# {why}: relayed untouched.\n[routes.{name}.source]\npath = {}\ninclude = [{}]", quoted(&from), quoted(pattern));
                let _ = writeln!(text, "\n[routes.{name}.destination]\npath = {}", quoted(&to));
            }
        }
    }
    if kinds.is_empty() {
        print_line(&format!("{} holds no file: the route relays whatever comes, untouched, until an export can be audited", shown(&source)));
        let _ = writeln!(text, "\n# No export was there to be audited: `passerelle audit EXPORT IMPORT --draft FILE` drafts the rest.");
        let _ = writeln!(text, "[routes.files.source]\npath = {}\n\n[routes.files.destination]\npath = {}", quoted(&from), quoted(&to));
        names.push("files".into());
    }
    // Checked before it is written: a file that is not right would stand in the way of the next try.
    if let (None, Some(report)) = crate::config::read_text(&context.file, text.clone()) {
        return Err(
            Error::relay(format!("the configuration that was laid out is not right:\n{report}")).hint("please report this, with the samples' first lines")
        );
    }
    audit_command::write(&context.file, &text)?;
    let file = shown(&context.file);
    print_line(&format!("\n{file} is laid out. Next:"));
    print_line(&format!("  look at the guesses in {file}: `TO DECIDE` marks what nobody could know"));
    if let Some((name, sample)) = read {
        print_line(&format!("  passerelle -c {file} transform {name} {} --explain", shown(&sample)));
    }
    print_line(&format!("  passerelle -c {file} run --once"));
    Ok(0)
}

/// One route, and what is to be said about it.
fn route(sample: &Path, imports: &[PathBuf], least: f64, place: &draft::Place, room: &Room) -> Result<(String, String)> {
    let a = Sample::open(sample, Extent::Sampled, room)?;
    // The import that is named most like the export tells what B wants.
    let near = imports.iter().max_by(|x, y| likeness(sample, x).total_cmp(&likeness(sample, y))).filter(|i| likeness(sample, i) >= least);
    let b = near.and_then(|path| Sample::open(path, Extent::Sampled, room).ok());
    let found = match audit::audit(&a, b.as_ref(), &place.name, room) {
        Err(_) if b.is_some() => audit::audit(&a, None, &place.name, room)?,
        found => found?,
    };
    let b = b.filter(|_| found.b.is_some());
    let mut summary = format!("  {}: {}", found.a.dialect.format, found.grade.level.words());
    match &b {
        Some(b) => {
            let _ = write!(summary, ", to be written like {}", shown(&b.path));
        }
        None => summary.push_str(", as long as no import of B lies in its folder to be written like"),
    }
    Ok((draft::text(&found, &a, b.as_ref(), place), summary))
}

fn likeness(a: &Path, b: &Path) -> f64 {
    let meaning = |p: &Path| audit::names::meaning(&p.file_stem().unwrap_or_default().to_string_lossy());
    audit::names::similarity(&meaning(a), &meaning(b))
}

/// The folder that was named, or that is asked for.
fn folder(named: Option<PathBuf>, question: &str) -> Result<PathBuf> {
    let path = match named {
        Some(path) => path,
        None => {
            eprint!("{question}");
            let mut answer = String::new();
            let read = std::io::stdin().lock().read_line(&mut answer);
            let answer = answer.trim().trim_matches(['"', '\'']);
            if read.is_err() || answer.is_empty() {
                return Err(Error::config("nobody is there to ask").hint("name both folders: passerelle init SOURCE DESTINATION"));
            }
            PathBuf::from(answer)
        }
    };
    match std::fs::metadata(&path) {
        Ok(meta) if meta.is_dir() => Ok(path),
        Ok(_) => Err(Error::config(format!("{} is a file, and no folder", shown(&path))).hint("name the folder it lies in")),
        Err(e) => Err(Error::config(format!("{} can't be looked at: {}", shown(&path), reason(&e))).hint("name a folder that is there and may be read")),
    }
}

/// A folder as the configuration names it: relative where it was named so and the configuration lies where that was meant from.
fn written(folder: &Path, base: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    let path = if folder.is_relative() && base == here { folder.to_owned() } else { std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned()) };
    path.to_string_lossy().into_owned()
}

/// The files of a folder that a relay would look at, newest first.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let failed = |e: std::io::Error| Error::io(Blame::Config, "list", folder, &e);
    let mut found: Vec<(SystemTime, PathBuf)> = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let meta = entry.metadata().map_err(failed)?;
        if meta.is_file() && meta.len() > 0 && !crate::naming::never_matches(name.as_bytes()) {
            found.push((meta.modified().unwrap_or(SystemTime::UNIX_EPOCH), entry.path()));
        }
    }
    found.sort_by(|x, y| y.0.cmp(&x.0).then_with(|| x.1.cmp(&y.1)));
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// The kinds of exports in a folder: the pattern of their names, and the newest of each.
fn kinds(folder: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let mut out: BTreeMap<String, PathBuf> = BTreeMap::new();
    for path in files(folder)? {
        let pattern = pattern(&path.file_name().unwrap_or_default().to_string_lossy());
        if out.contains_key(&pattern) || out.len() < KINDS_MAX {
            out.entry(pattern).or_insert(path);
        }
    }
    Ok(out)
}

/// A name with a star for its dates and numbers: `clients_20251231.csv` is one of `clients_*.csv`.
fn pattern(name: &str) -> String {
    let (stem, extension) = name.rsplit_once('.').map_or((name, String::new()), |(s, e)| (s, format!(".{}", draft::escaped(e))));
    let mut out = String::new();
    let mut digits = false;
    for c in stem.chars() {
        // Signs between the numbers of a date belong to it.
        if c.is_ascii_digit() || (digits && matches!(c, '-' | ':' | 'T')) {
            if !digits {
                out.push('*');
            }
            digits = true;
        } else {
            digits = false;
            out.push_str(&draft::escaped(&c.to_string()));
        }
    }
    format!("{out}{extension}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_differ_by_a_date_are_one_kind() {
        assert_eq!(pattern("clients_20251231.csv"), "clients_*.csv");
        assert_eq!(pattern("clients-2025-12-31T10:00.csv"), "clients-*.csv");
        assert_eq!(pattern("stock.xml"), "stock.xml");
        assert_eq!(pattern("a[1].csv"), "a[[]*[]].csv");
    }
}
