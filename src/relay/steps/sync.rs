//! What a synchronised route adds to a job's way: its export is compared with the group's memory, conflicts are written
//! down for an operator, and an older export is given up for a later one that holds all of it.

use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::sync::PoisonError;

use super::super::dispatch::Failure;
use super::super::operate::once_more;
use super::super::{World, conflicts, recover, take_ahead};
use super::finish::finish;
use super::prepare::{export_of, prepare_steps};
use super::seal::seal;
use crate::config::Route;
use crate::durable;
use crate::error::{Blame, Error, Result};
use crate::job::{Event, Job, JobId, Seal, State};
use crate::journal::Reader;
use crate::sync::export::{Export, Purpose, Told};
use crate::sync::{Exports, Spec};
use crate::transform::rejects::line_of;

/// What an operator finds in a conflicts file.
pub const CONFLICT_COLUMNS: [&str; 5] = ["_key", "_column", "_base", "_a", "_b"];

/// An export, as it is compared.
pub(super) fn export(spec: &Spec, job: &Job, seal: &Seal) -> Export {
    let holds = if seal.partial { Exports::Incremental } else { spec.exports };
    Export { job: job.id, modified_ns: made_ns(job, seal), holds, purpose: job.purpose, deletions: job.deletions }
}

/// The job whose later full export makes this one pointless.
pub(super) fn superseded_by(w: &World, spec: &Spec, job: &Job, seal: &Seal) -> Result<Option<JobId>> {
    if seal.partial {
        return Ok(None);
    }
    let Some((_, meta)) = w.journal.reader()?.group(&spec.group)? else { return Ok(None) };
    let last = meta.last[meta.side_of(spec).at()].clone().filter(|last| last.job != job.id);
    if spec.exports == Exports::Incremental {
        // It may hold what no other one holds: it is relayed.
        if let Some(later) = last.filter(|last| made_ns(job, seal) < last.modified_ns) {
            let (id, file) = (job.id, job.file.to_string());
            tracing::warn!(job = id, %file, "it was written before the export of job {}, which is relayed: what both hold goes to B with its old values", later.job);
        }
        return Ok(None);
    }
    let last = last.filter(|last| last.full);
    let later = last.filter(|last| last.job > job.id || made_ns(job, seal) < last.modified_ns.min(job.received_at.as_nanosecond())).map(|last| last.job);
    // Of two that waited, the later one is relayed. One that came later and is older is a surprise.
    if let Some(by) = later.filter(|by| *by < job.id) {
        let (id, file) = (job.id, job.file.to_string());
        tracing::warn!(job = id, %file, "it was written before the export of job {by}, which is relayed: its values are old. If they are not: passerelle replay {id} --force");
    }
    Ok(later)
}

/// When an export was made: as its file says, but not later than it came. A clock that is ahead must not make an export
/// the last one for ever.
fn made_ns(job: &Job, seal: &Seal) -> i128 {
    seal.modified.min(job.received_at).as_nanosecond()
}

/// The conflicts of a job, written for a spreadsheet as rejects are.
pub(super) struct Conflicts {
    path: PathBuf,
    delimiter: char,
    out: Option<BufWriter<durable::NewFile>>,
    /// How many there are.
    pub(super) count: u64,
}

impl Conflicts {
    /// A file that is made with the first conflict.
    pub(super) fn new(path: PathBuf, delimiter: char) -> Result<Self> {
        durable::remove(&path)?;
        Ok(Self { path, delimiter, out: None, count: 0 })
    }

    /// Adds one.
    pub(super) fn put(&mut self, told: &Told) -> Result<()> {
        self.count += 1;
        if self.out.is_none() {
            self.out = Some(BufWriter::new(durable::NewFile::create(&self.path, 0o600)?));
            self.line(&format!("\u{feff}{}", line_of(CONFLICT_COLUMNS.into_iter(), self.delimiter)))?;
        }
        let cells = [&told.key, &told.column, &told.base, &told.a, &told.b];
        self.line(&line_of(cells.into_iter().map(String::as_str), self.delimiter))
    }

    fn line(&mut self, line: &str) -> Result<()> {
        let Some(out) = &mut self.out else { return Ok(()) };
        out.write_all(line.as_bytes()).map_err(|e| Error::io(Blame::Endpoint, "write", &self.path, &e))
    }

    /// All conflicts are there.
    pub(super) fn finish(&mut self) -> Result<()> {
        let Some(mut out) = self.out.take() else { return Ok(()) };
        out.flush().map_err(|e| Error::io(Blame::Endpoint, "write", &self.path, &e))?;
        durable::sync_file(&durable::open_file(&self.path)?, &self.path)
    }
}

/// Prepares the last of these exports; once it is found to be good, those before it are given up. It holds all that they hold.
pub fn prepare_newest(w: &World, jobs: &mut [Job]) -> Result<Vec<Failure>> {
    let Some((newest, older)) = jobs.split_last_mut() else { return Ok(Vec::new()) };
    let original = w.original(newest)?;
    let route = w.route_of(newest)?.clone();
    if export_of(&route, &original) == super::prepare::Export::Corrected {
        // It is no later export of the same: from now on that is known.
        let sealed = seal(&original, newest, w)?;
        w.record_one(newest, Event::Sealed(Seal { partial: true, ..sealed }))?;
        return Ok(Vec::new());
    }
    let events = prepare_steps(w, newest)?;
    let good = events.iter().any(|e| matches!(e, Event::Transformed { .. }));
    let mut next = newest.clone();
    let mut facts = take_ahead(&mut next, events)?;
    let mut given_up = older.to_vec();
    for job in given_up.iter_mut().filter(|_| good) {
        facts.extend(take_ahead(job, vec![Event::Superseded { by: newest.id }])?);
    }
    w.record_after(facts, Vec::new())?;
    *newest = next;
    older.clone_from_slice(&given_up);
    Ok(Vec::new())
}

/// Gives up older full exports of the route that failed or are held: this one holds all that they hold.
pub(super) fn supersede_at_rest(w: &World, route: &Route, job: &Job) -> Result<()> {
    if job.seal.as_ref().is_none_or(|s| s.partial) {
        return Ok(());
    }
    give_up_older(w, route, job)
}

/// The same for an export that is held itself: what an operator decides of it holds for them too.
pub(super) fn supersede_when_held(w: &World, job: &Job) -> Result<()> {
    let route = w.route_of(job)?.clone();
    let corrected = export_of(&route, &w.original(job)?) == super::prepare::Export::Corrected;
    if corrected || job.replay_of.is_some() { Ok(()) } else { give_up_older(w, &route, job) }
}

fn give_up_older(w: &World, route: &Route, job: &Job) -> Result<()> {
    let Some(spec) = route.sync.as_ref().filter(|s| s.exports == Exports::Full) else { return Ok(()) };
    let reader = w.journal.reader()?;
    for state in [State::Failed, State::Held] {
        for id in reader.in_state(Some(&route.name), state)?.into_iter().filter(|id| *id < job.id) {
            let Some(mut old) = reader.job(id)?.map(|row| row.job) else { continue };
            if old.replay_of.is_some() || old.seal.as_ref().is_some_and(|s| s.partial) {
                continue;
            }
            w.with_memory(&route.name, |_| {
                if state == State::Failed {
                    // A file that an operator has taken away is no longer there to be archived.
                    recover::reclaim(w, &old)?;
                }
                w.record_one(&mut old, Event::Superseded { by: job.id })
            })
            .or_else(|e| if e.blame() == Blame::Relay { Err(e) } else { Ok(()) })?;
            if old.state == State::Superseded {
                finish(w, std::slice::from_mut(&mut old))?;
                tracing::info!(job = old.id, route = route.name, file = %old.file, group = spec.group, "superseded: {}", old.reason);
            }
        }
    }
    Ok(())
}

/// What follows from what this job has found: conflicts of earlier ones are told no more, and the exports of the opposite
/// route are read once more that hold what has won.
pub(super) fn follow_up(w: &World, job: &Job) -> Result<()> {
    // What a job that was given up has found is not true.
    let Some(made) = job.made.as_ref().filter(|_| job.state != State::Superseded) else { return Ok(()) };
    if let Some(spec) = w.route_of(job)?.sync.as_ref().filter(|_| !made.unparked.is_empty()) {
        conflicts::strike(w, &w.journal.reader()?, &spec.group, &made.unparked)?;
    }
    for of in &made.owed {
        let Some(again) = owed_of(w, &w.journal.reader()?, *of)? else {
            tracing::warn!(
                job = job.id,
                route = job.route,
                "the export of job {of} is no longer in the archive: what has won in it is sent once its side exports it again"
            );
            continue;
        };
        tracing::info!(job = again.id, route = again.route, file = %again.file, "the export of job {of} is read once more: it holds what has won against job {}", job.id);
        w.owed.lock().unwrap_or_else(PoisonError::into_inner).push(again);
    }
    Ok(())
}

/// A job that reads an archived export once more, for what it owes the other side; none: it is not there any more.
pub fn owed_of(w: &World, reader: &Reader, of: JobId) -> Result<Option<Job>> {
    let Some(job) = reader.job(of)?.map(|row| row.job) else { return Ok(None) };
    let original = job.replay_of.unwrap_or(of);
    let archived = reader.job(original)?.and_then(|row| row.job.path).is_some_and(|p| p.path().is_file());
    if job.state != State::Delivered || !archived || w.route(&job.route).is_none() {
        return Ok(None);
    }
    once_more(w, &job, Purpose::Again).map(Some)
}

/// Folds what was published into the group's memory, so that the next job need not wait for it.
pub(super) fn fold(w: &World, route: &Route) -> Result<()> {
    let Some(spec) = &route.sync else { return Ok(()) };
    // A damaged memory is told to the next job, which is held.
    w.journal.fold_what_is_large(&spec.group).or_else(|e| if e.blame() == Blame::Relay { Err(e) } else { Ok(()) })
}
