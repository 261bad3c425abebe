//! The files that tell an operator which conflicts wait: what an edited one says, and what of one is settled.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;

use super::World;
use super::steps::{CONFLICT_COLUMNS, lies_beside};
use crate::durable;
use crate::error::{Blame, Error, Result};
use crate::formats::{Next, RecordReader, Room};
use crate::job::JobId;
use crate::journal::{Decision, Reader};
use crate::naming;
use crate::record::Record;
use crate::sync::entry::{Entry, Head, Side};
use crate::sync::export::{WHOLE, key_text};
use crate::transform::corrected::{bare, sheet};
use crate::transform::rejects::line_of;

/// The jobs that have parked conflicts of a group; none can be told where the memory is damaged.
pub(super) fn parked_in(reader: &Reader, group: &str) -> Vec<JobId> {
    let jobs: BTreeSet<JobId> = waiting(reader, group).unwrap_or_default().into_iter().map(|w| w.job).collect();
    jobs.into_iter().collect()
}

/// A column of a record that waits for an operator.
struct Waiting {
    job: JobId,
    key: String,
    column: String,
}

fn waiting(reader: &Reader, group: &str) -> Result<Vec<Waiting>> {
    let mut out = Vec::new();
    let Some((id, meta)) = reader.group(group)? else { return Ok(out) };
    reader.each_known(Some(id), &reader.beside(group)?, &mut |_, bytes| {
        if Head::read(bytes)?.0.parked {
            let entry = Entry::from_bytes(bytes)?;
            let Some(parked) = &entry.parked else { return Ok(()) };
            let columns = parked.columns.iter().map(|(c, _)| meta.name(parked.from.other(), *c));
            let columns = columns.chain(parked.deleted_by.map(|_| WHOLE));
            out.extend(columns.map(|column| Waiting { job: parked.job, key: key_text(&entry.key), column: column.to_owned() }));
        }
        Ok(())
    })?;
    Ok(out)
}

/// Takes out of the conflicts files of these jobs what waits no more; a file of which nothing waits goes.
pub(super) fn strike(w: &World, reader: &Reader, group: &str, jobs: &[JobId]) -> Result<()> {
    if jobs.is_empty() {
        return Ok(());
    }
    let waiting = waiting(reader, group)?;
    let with_conflicts: BTreeSet<JobId> = waiting.iter().map(|w| w.job).collect();
    for id in jobs {
        let Some(path) = reader.job(*id)?.and_then(|row| lies_beside(w, &row.job, naming::CONFLICTS)) else { continue };
        // That of another file of the same name may lie there.
        let mut whose = vec![*id];
        for other in with_conflicts.iter().filter(|other| *other != id) {
            if reader.job(*other)?.and_then(|row| lies_beside(w, &row.job, naming::CONFLICTS)).as_ref() == Some(&path) {
                whose.push(*other);
            }
        }
        let stay: HashSet<(&str, &str)> = waiting.iter().filter(|w| whose.contains(&w.job)).map(|w| (&*w.key, &*w.column)).collect();
        match strike_out(w, &path, &stay) {
            Err(e) if e.blame() == Blame::Config => tracing::warn!("{e}: it stays as it is"),
            struck => struck?,
        }
    }
    Ok(())
}

fn strike_out(w: &World, path: &Path, stay: &HashSet<(&str, &str)>) -> Result<()> {
    let mut sheet = Sheet::open(path)?;
    let delimiter = sheet.delimiter;
    let (mut kept, mut struck) = (0u64, 0u64);
    let mut text = format!("\u{feff}{}", line_of(sheet.reader.columns().names.iter().map(String::as_str), delimiter));
    while sheet.next()? {
        if stay.contains(&(sheet.cell(0), sheet.cell(1))) {
            kept += 1;
            text.push_str(&line_of((0..sheet.record.len()).map(|at| bare(sheet.record.field(at))), delimiter));
        } else {
            struck += 1;
        }
    }
    match (kept, struck) {
        // What both sides had lies in their exports.
        (0, _) => durable::remove(path),
        (_, 0) => Ok(()),
        _ => durable::write_whole(path, text.as_bytes(), w.config.archive_mode),
    }
}

/// A conflicts file, row by row.
struct Sheet<'p> {
    path: &'p Path,
    delimiter: char,
    reader: Box<dyn RecordReader>,
    /// Where the columns stand that every such file has.
    places: [usize; 5],
    take: Option<usize>,
    record: Record,
}

fn wrong(path: &Path, why: &str) -> Error {
    Error::config(format!("{}: {why}", path.display()))
        .hint("it is the file NAME.conflicts.csv in errors, with a column _take that holds a or b, or with the winning value in both _a and _b")
}

impl<'p> Sheet<'p> {
    fn open(path: &'p Path) -> Result<Self> {
        let open = || durable::open_file(path).map_err(|e| e.blamed_on(Blame::Config));
        let head = durable::head::<256>(path).map_err(|e| e.blamed_on(Blame::Config))?;
        let header = head.iter().map(|b| char::from(*b)).take_while(|c| *c != '\n').collect::<String>();
        let delimiter =
            header.split_once("_key").and_then(|(_, rest)| rest.trim_start_matches('"').chars().next()).ok_or_else(|| wrong(path, "it has no column _key"))?;
        let reader = sheet(Box::new(open()?), delimiter, &Room::new(u64::MAX, &std::env::temp_dir()))?;
        let place = |name: &str| reader.columns().position(name);
        let [Some(key), Some(column), Some(base), Some(a), Some(b)] = CONFLICT_COLUMNS.map(place) else {
            return Err(wrong(path, "it has not the columns _key, _column, _base, _a, _b"));
        };
        let take = place("_take");
        Ok(Self { path, delimiter, reader, places: [key, column, base, a, b], take, record: Record::default() })
    }

    /// Reads a row; false: there is none any more.
    fn next(&mut self) -> Result<bool> {
        match self.reader.read(&mut self.record)? {
            Next::End => Ok(false),
            Next::Bad(reject) => Err(wrong(self.path, &format!("line {}: {}", self.record.line, reject.reason))),
            Next::Record => Ok(true),
        }
    }

    /// One of the columns that every such file has.
    fn cell(&self, at: usize) -> &str {
        bare(self.record.field(self.places[at]))
    }
}

/// What an edited conflicts file says: the key, the column and the side that wins, for each row that says it.
pub fn read_decisions(path: &Path) -> Result<Vec<Decision>> {
    let mut sheet = Sheet::open(path)?;
    let mut out = Vec::new();
    while sheet.next()? {
        let line = sheet.record.line;
        let side = match sheet.take.map(|t| bare(sheet.record.field(t)).trim().to_lowercase()).as_deref() {
            Some("a") => Some(Side::A),
            Some("b") => Some(Side::B),
            Some("") | None => None,
            Some(other) => return Err(wrong(path, &format!("line {line}: _take is {other:?}, and a or b is wanted"))),
        };
        let [key, column, _, a, b] = [0, 1, 2, 3, 4].map(|at| sheet.cell(at).to_owned());
        out.push(Decision { key, column, side, a, b, line });
    }
    Ok(out)
}
