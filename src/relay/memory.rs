//! What operators do with the memory of a sync group: make it anew, let it begin with nothing, settle conflicts.
//!
//! Nothing is sent here. What an operator settles goes its usual way: the export is read once more in which the winning side
//! showed the record last.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;

use super::steps::owed_of;
use super::{World, conflicts};
use crate::config::Route;
use crate::durable;
use crate::error::{Blame, Result};
use crate::formats::{Output, Room};
use crate::job::{Job, JobId, State};
use crate::journal::memory::{GroupMemory, read_entry};
use crate::journal::{Answer, Decision, Reader, Take};
use crate::naming;
use crate::sync::entry::{Entry, Head, Id, Side};
use crate::sync::export::{Deletions, Export, Purpose, WHOLE, key_text};
use crate::sync::owed::after_settling;
use crate::sync::{Compare, Exports, Memory, Meta, Spec, won};
use crate::transform::rejects::RejectsCsv;
use crate::transform::{Source, Work};

/// What is staged by no job.
const NO_JOB: JobId = 0;

/// The routes of a group, in the order of the configuration.
fn routes_of<'w>(w: &'w World, group: &str) -> Vec<(&'w Arc<Route>, &'w Spec)> {
    w.config.routes.iter().filter_map(|r| r.sync.as_ref().filter(|s| s.group == group).map(|s| (r, s))).collect()
}

/// Why the memory of a group can't be changed now; none: it can.
fn in_use(reader: &Reader, routes: &[(&Arc<Route>, &Spec)], group: &str) -> Result<Option<String>> {
    // It may be compared at this moment with what would be changed here.
    let on_its_way = reader.open_jobs()?.into_iter().find(|job| routes.iter().any(|(r, _)| r.name == job.route));
    Ok(on_its_way.map(|job| format!("job {} of the group {group} is on its way: try again once it is delivered", job.id)))
}

fn unknown(w: &World, group: &str) -> String {
    let names = w.config.routes.iter().filter_map(|r| r.sync.as_ref()).map(|s| s.group.as_str());
    let near = crate::options::nearest(group, names).map(|n| format!(": did you mean {n}?")).unwrap_or_default();
    format!("there is no sync group {group}{near}")
}

/// Lets a group's memory begin with nothing.
pub(super) fn forget(w: &World, reader: &Reader, group: &str, answer: &mut Answer) -> Result<()> {
    let routes = routes_of(w, group);
    if routes.is_empty() && !reader.groups()?.iter().any(|g| g == group) {
        answer.refused.push(unknown(w, group));
        return Ok(());
    }
    if let Some(why) = in_use(reader, &routes, group)? {
        answer.refused.push(why);
        return Ok(());
    }
    let parked = conflicts::parked_in(reader, group);
    w.journal.forget_group(group)?;
    conflicts::strike(w, reader, group, &parked)?;
    answer.done.push(format!("the group {group} knows nothing any more: with the next export every record is sent"));
    Ok(())
}

/// A side's last export.
struct Found {
    path: PathBuf,
    file: crate::job::Name,
    size: u64,
    modified: Timestamp,
    job: JobId,
}

/// The last full export of a route's source: in its folder, or in the archive.
fn last_export(reader: &Reader, route: &Route) -> Result<Option<Found>> {
    let mut found: Option<Found> = None;
    for ready in crate::watch::ready_names(&route.source).unwrap_or_default() {
        let path = route.source.path.join(ready.path());
        let Ok(meta) = std::fs::metadata(&path) else { continue };
        let modified = Timestamp::from_nanosecond(durable::found(&meta).modified_ns).unwrap_or(Timestamp::UNIX_EPOCH).min(Timestamp::now());
        if found.as_ref().is_none_or(|f| modified >= f.modified) && !super::steps::is_corrected(route, &path) {
            found = Some(Found { path, file: ready, size: meta.len(), modified, job: NO_JOB });
        }
    }
    for id in reader.in_state(Some(&route.name), State::Delivered)?.into_iter().rev() {
        let Some(job) = reader.job(id)?.map(|row| row.job) else { continue };
        let Some(path) = job.path.as_ref().map(|p| p.path().to_owned()).filter(|p| p.is_file() && job.replay_of.is_none()) else { continue };
        if super::steps::is_corrected(route, &path) {
            continue;
        }
        let modified = job.seal.as_ref().map_or(job.received_at, |s| s.modified).min(job.received_at);
        let size = job.seal.as_ref().map_or(0, |s| s.size);
        if found.as_ref().is_none_or(|f| modified > f.modified) {
            found = Some(Found { path, file: job.file.clone(), size, modified, job: id });
        }
        break;
    }
    Ok(found)
}

/// Makes a group's memory anew from the last export of each side. Nothing is sent.
pub(super) fn rebuild(w: &World, reader: &Reader, group: &str, answer: &mut Answer) -> Result<()> {
    let routes = routes_of(w, group);
    if routes.is_empty() {
        answer.refused.push(unknown(w, group));
        return Ok(());
    }
    if let Some(why) = in_use(reader, &routes, group)? {
        answer.refused.push(why);
        return Ok(());
    }
    let mut exports = Vec::new();
    for (route, spec) in &routes {
        if spec.exports == Exports::Incremental {
            answer.refused.push(format!("the exports of {} do not hold all records (full = false): there is nothing to rebuild from", route.name));
        }
        match last_export(reader, route)? {
            Some(found) => exports.push((*route, *spec, found)),
            None => {
                let folder = route.source.path.display();
                answer.refused.push(format!(
                    "there is no full export of {}, in {folder} or in the archive: let that program export all its records, then again",
                    route.name
                ));
            }
        }
    }
    if !answer.refused.is_empty() {
        return Ok(());
    }
    let parked = conflicts::parked_in(reader, group);
    w.journal.forget_group(group)?;
    w.journal.set_incomplete(group)?;
    let mut differing = 0;
    // The first route's side last: it is compared under its own map with what the other side has.
    for (route, spec, found) in exports.iter().rev() {
        match learn(w, route, spec, found) {
            Ok(count) => differing = count,
            Err(e) if e.blame() == Blame::Relay => return Err(e),
            Err(e) => {
                answer.refused.push(format!("{}: {e}{}; the group is held until it is rebuilt", found.path.display(), e.remedy()));
                return Ok(());
            }
        }
        answer.done.push(format!("{}: read {}", route.name, found.path.display()));
    }
    w.journal.complete_group(group)?;
    conflicts::strike(w, reader, group, &parked)?;
    let (mut both, mut only) = (0u64, [0u64; 2]);
    if let Some((id, _)) = reader.group(group)? {
        reader.each_known(Some(id), &reader.beside(group)?, &mut |_, bytes| {
            let (head, entry) = read_entry(bytes)?;
            match head.holds {
                [true, true] => both += 1,
                [true, false] if entry.marks.is_some() => both += 1,
                [a, _] => only[usize::from(!a)] += 1,
            }
            Ok(())
        })?;
    }
    answer.done.push(format!("the group {group} knows {} records; nothing was sent", both + only[0] + only[1]));
    if exports.len() == 2 {
        answer.done.push(format!("{both} are on both sides; {differing} of them differ, and stay as they are until one side changes them"));
        let (a, b) = (&exports[0].0.name, &exports[1].0.name);
        answer.done.push(format!("{} are only in the exports of {a}, {} only in those of {b}: they are sent with the next export", only[0], only[1]));
    }
    Ok(())
}

/// Reads one side's export into the memory; gives how many records differ from those of the other side.
fn learn(w: &World, route: &Route, spec: &Spec, found: &Found) -> Result<u64> {
    let Some(transformation) = &route.transformation else { return Ok(0) };
    let scratch = w.config.work.join("rebuild");
    durable::make_folder(&scratch, 0o700)?;
    let now = jiff::Zoned::now();
    let modified = found.modified.to_zoned(jiff::tz::TimeZone::system());
    let context = naming::context(&found.file.0, found.size, &modified, 0, &now, &route.name);
    let lookups = Arc::new(w.lookups.lookups(route, &found.file, &Room::new(w.config.max_memory, &scratch))?);
    let source = Source { input: Box::new(durable::open_file(&found.path)?), context, lookups, beside: Some(found.path.clone()) };
    let mut memory = GroupMemory::open(&w.journal, &spec.group, NO_JOB)?;
    let mut tell = |_: &_| Ok(());
    let export =
        Export { job: found.job, modified_ns: found.modified.as_nanosecond(), holds: Exports::Full, purpose: Purpose::Learn, deletions: Deletions::Limited };
    let mut compare = Compare::new(spec, transformation, &mut memory, export, &mut tell)?;
    let mut parts = |_: usize| Ok((Box::new(std::io::sink()) as Output, String::new()));
    let mut rejects = RejectsCsv::new(route.rejects_delimiter, Box::new(|| Ok(Box::new(std::io::sink()) as Box<dyn std::io::Write + Send>)));
    let how =
        Work { parts: Some(&mut parts), rejects: &mut rejects, scratch: &scratch, stop: &w.stop, refused: None, changes: Some(&mut compare), explain: None };
    let outcome = transformation.run(vec![source], how)?;
    if outcome.counts.rejected > 0 {
        tracing::warn!(route = route.name, "{} records were rejected: the group does not know them", outcome.counts.rejected);
    }
    let differing = compare.differing;
    w.journal.adopt_stage(NO_JOB)?;
    w.journal.fold(&spec.group)?;
    durable::remove_folder(&scratch)?;
    Ok(differing)
}

/// Settles conflicts that a job has parked; gives the jobs that bring what has won to the other side.
pub(super) fn resolve(w: &World, reader: &Reader, id: JobId, take: &Take, answer: &mut Answer) -> Result<Vec<Job>> {
    let Some(job) = reader.job(id)?.map(|row| row.job) else {
        answer.refused.push(format!("there is no job {id}: `passerelle history` lists them"));
        return Ok(Vec::new());
    };
    let Some(spec) = w.route(&job.route).and_then(|r| r.sync.as_ref()) else {
        answer.refused.push(format!("job {id}: its route {} has no sync", job.route));
        return Ok(Vec::new());
    };
    let routes = routes_of(w, &spec.group);
    if let Some(why) = in_use(reader, &routes, &spec.group)? {
        answer.refused.push(why);
        return Ok(Vec::new());
    }
    let mut memory = GroupMemory::open(&w.journal, &spec.group, NO_JOB)?;
    let meta = memory.meta().clone();
    let parked = parked_by(&mut memory, id)?;
    let exports = if routes.iter().all(|(_, spec)| spec.exports == Exports::Full) { Exports::Full } else { Exports::Incremental };
    let mut owed: BTreeMap<Side, BTreeSet<Option<JobId>>> = BTreeMap::new();
    let (mut open, mut settled, mut winners) = (0, 0, BTreeSet::new());
    let mut decided = Decided::of(take);
    for (entry_id, mut entry) in parked {
        let before = entry.clone();
        for (winner, columns) in decided.columns(&before, &meta, answer) {
            won::settle(&mut entry, winner, &columns);
            winners.insert(winner);
            let again = after_settling(&before, &entry, winner, &meta.last, exports);
            for (side, job) in again {
                owed.entry(side).or_default().insert(job);
            }
        }
        open += usize::from(entry.parked.is_some());
        if entry != before {
            settled += 1;
            memory.stage(&entry_id, Some(entry.to_bytes(None)?))?;
        }
    }
    decided.say_what_is_left(id, answer);
    if settled == 0 {
        answer.refused.push(match take {
            Take::All(_) => format!("no conflict of job {id} is open: it was settled, or a later export has parked it anew (`passerelle history` shows which)"),
            Take::Each(_) => format!(
                "nothing in that file settles an open conflict of job {id}: add a column _take with a or b, or write the winning value into both _a and _b"
            ),
        });
        return Ok(Vec::new());
    }
    memory.close(&meta)?;
    drop(memory);
    w.journal.adopt_stage(NO_JOB)?;
    w.journal.fold(&spec.group)?;
    answer.done.push(format!("{settled} conflicts of job {id} are settled"));
    if open > 0 {
        answer.done.push(format!("{open} of it are still open"));
    }
    conflicts::strike(w, reader, &spec.group, &[id])?;
    let mut jobs: Vec<Job> = Vec::new();
    for (side, shown_by) in owed {
        let again: Vec<Job> = shown_by.iter().flatten().filter_map(|of| owed_of(w, reader, *of).transpose()).collect::<Result<_>>()?;
        let numbers: Vec<String> = again.iter().map(|job| job.id.to_string()).collect();
        let (whose, behind) = if winners.contains(&side) {
            (format!("what side {} has goes to the other one", side.word()), "")
        } else {
            (format!("side {} gets its own again", side.other().word()), ", behind what was sent to it before")
        };
        if !numbers.is_empty() {
            answer.done.push(format!("{whose} with job {}{behind}", numbers.join(", ")));
        }
        if again.len() < shown_by.len() {
            answer.done.push(format!("{whose} with the next export of side {} that holds it", side.word()));
        }
        jobs.extend(again);
    }
    Ok(jobs)
}

fn parked_by(memory: &mut GroupMemory, job: JobId) -> Result<Vec<(Id, Entry)>> {
    let mut parked = Vec::new();
    memory.each(&mut |id, bytes| {
        let (head, _) = Head::read(bytes)?;
        if head.parked {
            let entry = Entry::from_bytes(bytes)?;
            if entry.parked.as_ref().is_some_and(|p| p.job == job) {
                parked.push((*id, entry));
            }
        }
        Ok(())
    })?;
    Ok(parked)
}

/// So many lines of a conflicts file are told of, each.
const TOLD_MAX: usize = 20;

/// What an operator has decided.
enum Decided<'t> {
    All(Side),
    /// The rows of each key, and those that settle nothing.
    Each {
        rows: HashMap<&'t str, Vec<&'t Decision>>,
        left: Vec<&'t Decision>,
    },
}

impl<'t> Decided<'t> {
    fn of(take: &'t Take) -> Self {
        match take {
            Take::All(side) => Self::All(*side),
            Take::Each(all) => {
                let mut rows: HashMap<&str, Vec<&Decision>> = HashMap::new();
                all.iter().for_each(|row| rows.entry(&row.key).or_default().push(row));
                Self::Each { rows, left: Vec::new() }
            }
        }
    }

    /// Which side wins which columns of a parked record.
    fn columns(&mut self, entry: &Entry, meta: &Meta, answer: &mut Answer) -> Vec<(Side, Vec<u16>)> {
        let Some(parked) = &entry.parked else { return Vec::new() };
        let all = || parked.columns.iter().map(|(c, _)| *c);
        let (rows, left) = match self {
            Self::All(side) => return vec![(*side, all().collect())],
            Self::Each { rows, left } => (rows.remove(&*key_text(&entry.key)).unwrap_or_default(), left),
        };
        let mut out: Vec<(Side, Vec<u16>)> = Vec::new();
        for row in rows {
            let whole = row.column == WHOLE && parked.deleted_by.is_some();
            let columns: Vec<u16> = all().filter(|c| meta.name(parked.from.other(), *c) == row.column).collect();
            let side = row.side.or_else(|| columns.first().and_then(|c| agreed(entry, *c, row)));
            let refused = |why: &str| format!("line {}: {}, {}: {why}", row.line, row.key, row.column);
            match side {
                _ if columns.is_empty() && !whole => left.push(row),
                Some(side) if out.iter().any(|(before, settled)| *settled == columns && *before != side) => {
                    answer.refused.push(refused("an earlier line decides otherwise, and holds"));
                }
                Some(side) => out.push((side, columns)),
                None if row.says_something() && !whole => {
                    answer.refused.push(refused(
                        "what stands in both _a and _b is neither side's value: it stays open. Write it into one of the programs, and take that side",
                    ));
                }
                None => {}
            }
        }
        out
    }

    /// Tells of the rows that stand for no open conflict.
    fn say_what_is_left(self, job: JobId, answer: &mut Answer) {
        let Self::Each { rows, mut left } = self else { return };
        left.extend(rows.into_values().flatten());
        left.retain(|row| row.says_something());
        left.sort_by_key(|row| row.line);
        let more = left.len().saturating_sub(TOLD_MAX);
        left.truncate(TOLD_MAX);
        if !left.is_empty() {
            answer.done.extend(left.iter().map(|row| format!("line {}: {}, {}: no such conflict is open", row.line, row.key, row.column)));
            let more = if more > 0 { format!("and {more} more lines: ") } else { String::new() };
            answer.done.push(format!("{more}they were settled, or a later export than that of job {job} has parked them anew"));
        }
    }
}

/// The side whose value an operator has written into both columns; none: it is neither's, which no file can settle.
fn agreed(entry: &Entry, column: u16, row: &Decision) -> Option<Side> {
    let parked = entry.parked.as_ref()?;
    let theirs = entry.side(parked.from.other()).exported.as_ref()?.get(column)?;
    if row.a != row.b {
        return None;
    }
    if theirs.text() == row.a {
        return Some(parked.from.other());
    }
    // The other side's column may be made of several of this one, in other letters.
    let plain = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect::<String>();
    let ours = entry.side(parked.from).exported.as_ref()?;
    let grounds = parked.columns.iter().find(|(c, _)| *c == column).map(|(_, grounds)| grounds.as_slice()).unwrap_or_default();
    let made_of_it = |c: &u16| ours.get(*c).is_some_and(|cell| !plain(cell.text()).is_empty() && plain(&row.a).contains(&plain(cell.text())));
    let empty = row.a.is_empty() && grounds.iter().all(|c| ours.get(*c).is_none_or(|cell| cell.text().is_empty()));
    (empty || grounds.iter().any(made_of_it)).then_some(parked.from)
}
