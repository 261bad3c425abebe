//! Start-up: what the journal says and what lies in the folders, brought together. Losing the journal loses no file.
//!
//! The same path for a polite stop, a `kill -9` and a power cut. Nothing is sent here: jobs go on where their facts end.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;

use super::intents::Line;
use super::steps::SENT_FOLDER;
use super::{World, claims, steps};
use crate::config::{Leave, OnSuccess, Route};
use crate::durable;
use crate::error::{Error, Kind, Result};
use crate::job::{Delivery, Event, Job, JobId, Name, Next, State, parse_numbered};
use crate::journal::memory::LOST;
use crate::journal::{NewJob, Reader};
use crate::points;
use crate::watch::{CLAIMED, Candidate, companion_name, settle_of};

/// Makes a journal that was lost anew from the folders; one that is in order stays as it is.
pub fn rebuild(w: &World) -> Result<()> {
    let reader = w.journal.reader()?;
    if reader.status(REBUILT)?.is_some() {
        return Ok(());
    }
    super::rebuild::rebuild(w)?;
    let highest = highest_number(w)?;
    if highest > 0 {
        // Jobs were known before this journal: what their groups knew of records is lost with it.
        let groups: Vec<&str> = w.config.routes.iter().filter_map(|r| r.sync.as_ref()).map(|s| s.group.as_str()).collect();
        w.journal.set_status(LOST, groups.join("\n"))?;
    }
    w.journal.raise_numbers(highest)?;
    super::rebuild::kept_in_work(w)?;
    w.journal.set_status(REBUILT, Timestamp::now().to_string())
}

/// The journal's note that it was made complete.
const REBUILT: &str = "rebuilt";

/// The open jobs, after the folders were looked at.
pub fn recover(w: &World) -> Result<Vec<Job>> {
    rebuild(w)?;
    let reader = w.journal.reader()?;
    told_after_power_cut(w, &reader)?;
    let mut open = settled(w, reader.open_jobs()?)?;
    for route in w.config.routes.iter().filter(|r| r.source.on_success != OnSuccess::Keep) {
        adopt(w, route, &mut open)?;
    }
    sweep(w, &open);
    // A job that was never sealed and has lines was tried before the journal was lost.
    if open.iter().any(|j| j.seq == 0) {
        let unsealed: std::collections::HashSet<JobId> = open.iter().filter(|j| j.seq == 0).map(|j| j.id).collect();
        w.intents.remember(w.intents.read()?.into_iter().filter(|l| unsealed.contains(&l.job())).collect());
    }
    forget_intents(w)?;
    let mut open = secured(w, open);
    open.sort_by_key(|j| j.id);
    Ok(open)
}

/// The journal's note of the start of the machine in which the relay ran last.
const BOOT: &str = "boot";
/// So many names are told.
const NAMES_TOLD: usize = 20;

/// After a power cut: files that wait since before it may be short, if A's program does not sync what it writes. Told once.
fn told_after_power_cut(w: &World, reader: &Reader) -> Result<()> {
    let Some((boot, since)) = crate::sys::boot() else { return Ok(()) };
    let before = reader.status(BOOT)?;
    if before.as_ref() == Some(&boot) {
        return Ok(());
    }
    w.journal.set_status(BOOT, boot)?;
    // A relay that ended politely left no state behind, and so the machine did too.
    if before.is_none() || reader.status("live")?.is_none_or(|live| live.is_empty()) {
        return Ok(());
    }
    for route in &w.config.routes {
        let old: Vec<String> = std::fs::read_dir(&route.source.path)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|e| e.metadata().ok().filter(|m| m.is_file() && m.modified().is_ok_and(|t| t < since)).map(|m| (e, m.len())))
            .map(|(e, size)| format!("{} ({size} bytes)", shown_name(&e.file_name())))
            .take(NAMES_TOLD)
            .collect();
        if !old.is_empty() {
            tracing::warn!(
                route = route.name,
                "the machine went down without being shut down: files from before may be short, if A does not sync them: {}",
                old.join(", ")
            );
        }
    }
    Ok(())
}

/// The jobs of routes that have come back with a new configuration.
pub fn take_up(w: &World, jobs: Vec<Job>) -> Result<Vec<Job>> {
    Ok(secured(w, settled(w, jobs)?))
}

/// Those that go on.
fn settled(w: &World, jobs: Vec<Job>) -> Result<Vec<Job>> {
    let mut open = Vec::with_capacity(jobs.len());
    for mut job in jobs {
        if settle(w, &mut job)? {
            open.push(job);
        }
    }
    Ok(open)
}

/// A relay that was killed between a claim and its sync left a claim that a power cut would undo: it is synced first.
fn secured(w: &World, jobs: Vec<Job>) -> Vec<Job> {
    let (fresh, mut open): (Vec<Job>, Vec<Job>) = jobs.into_iter().partition(|j| j.seq == 0 && j.replay_of.is_none());
    let mut by_route: std::collections::BTreeMap<String, Vec<Job>> = std::collections::BTreeMap::new();
    for job in fresh {
        by_route.entry(job.route.clone()).or_default().push(job);
    }
    for (name, jobs) in by_route {
        match w.route(&name) {
            Some(route) if route.source.on_success != OnSuccess::Keep => match claims::secure(w, route, jobs) {
                Ok(jobs) => open.extend(jobs),
                // They wait for a look that succeeds.
                Err(e) => tracing::warn!(route = name, "{e}{}", e.remedy()),
            },
            _ => open.extend(jobs),
        }
    }
    open
}

/// Drops what is no longer needed of `intents`, once it is large.
pub(super) fn forget_intents(w: &World) -> Result<()> {
    let unfinished = std::cell::OnceCell::new();
    let open = |id: JobId| {
        // Looked up only if the file is large at all.
        let ids =
            unfinished.get_or_init(|| w.journal.reader().and_then(|r| r.unfinished()).map(|ids| ids.into_iter().collect::<std::collections::HashSet<_>>()));
        // A journal that can't be read says nothing.
        ids.as_ref().is_ok_and(|ids| ids.contains(&id)) || ids.is_err()
    };
    let kept = |line: &Line| match line {
        // At a server it may lie for ever.
        Line::Kept { route, file, .. } => w.route(route).is_some_and(|r| match &r.source.remote {
            Some(remote) => remote.leave == Leave::Keep,
            None => durable::exists(&r.source.path.join(file.path())),
        }),
        Line::Instance { .. } | Line::Publishing { .. } | Line::Below { .. } | Line::Unknown { .. } => false,
    };
    w.intents.compact(&open, &kept)
}

/// Whether an open job goes on. A claim that never happened is forgotten.
fn settle(w: &World, job: &mut Job) -> Result<bool> {
    if points::planted("forget-claims") && job.seq == 0 {
        w.journal.drop_intent(job.id)?;
        return Ok(false);
    }
    let Some(route) = w.route(&job.route) else {
        tracing::warn!(job = job.id, "its route {} is not in the configuration any more: the job stays as it is", job.route);
        return Ok(false);
    };
    let gone = |delivery: &Delivery| Some((delivery.destination, steps::destination(route, job, delivery).err()?));
    let lost = job.open_deliveries().filter_map(|d| job.deliveries.get(d)).find_map(gone);
    if let Some((destination, e)) = lost {
        tracing::warn!(job = job.id, route = route.name, file = %job.file, "{e}{}", e.remedy());
        if !job.state.at_rest() && job.reason != e.to_string() {
            w.record_one(job, Event::Postponed { destination: Some(destination), error: e })?;
        }
    }
    let kept = route.source.on_success == OnSuccess::Keep || job.replay_of.is_some();
    let claimed = w.claimed(route, job);
    if claimed.exists() {
        // Where a claim is a link and an unlink, a crash between leaves both names.
        let source = route.source.path.join(job.file.path());
        let same = |p: &Path| std::fs::symlink_metadata(p).ok().map(|m| (durable::found(&m).dev, durable::found(&m).ino));
        if job.seq == 0 && same(&source).is_some() && same(&source) == same(&claimed) {
            durable::remove(&source)?;
        }
        // A crash between a file's claim and its companion's: one that stays would announce the next file of that name.
        for template in [&route.source.done_file, &route.source.checksum_file].into_iter().flatten().filter(|_| !source.exists()) {
            let companion = companion_name(template, &job.file);
            let to = claimed.with_file_name(crate::job::numbered(job.id, companion.last()).path());
            let from = route.source.path.join(companion.path());
            if from.exists() && !to.exists() {
                durable::move_new(&from, &to, &w.stop)?;
            }
        }
        return Ok(true);
    }
    // A source that is not mounted now says nothing of what was claimed there.
    if job.seq > 0 || kept || claimed.parent().is_none_or(|folder| !folder.is_dir()) {
        return Ok(true);
    }
    w.journal.drop_intent(job.id)?;
    Ok(false)
}

/// Claimed files that the journal does not know: their names carry their numbers.
fn adopt(w: &World, route: &Arc<Route>, open: &mut Vec<Job>) -> Result<()> {
    let claimed = route.source.path.join(CLAIMED);
    if points::planted("forget-claims") {
        return Ok(());
    }
    let Ok(entries) = std::fs::read_dir(&claimed) else { return Ok(()) };
    let reader = w.journal.reader()?;
    let mut lines: Option<Vec<Line>> = None;
    for entry in entries.flatten() {
        use std::os::unix::ffi::OsStrExt;
        let name = entry.file_name();
        let Some((id, file)) = parse_numbered(name.as_bytes()) else { continue };
        let mut file = Name(file.to_vec());
        if open.iter().any(|j| j.id == id) || !entry.path().is_file() {
            continue;
        }
        match reader.job(id)? {
            Some(row) if row.job.state == State::Failed && row.job.route == route.name => {
                // A retry was cut between the move and its record.
                let mut job = row.job;
                let deletions = job.deletions;
                w.record_one(&mut job, Event::Retried { deletions })?;
                open.push(job);
            }
            Some(row) if row.job.state.is_open_question() => {}
            Some(row) if row.job.route == route.name && row.job.claimed_name() == Name(name.as_bytes().to_vec()) => {
                tracing::warn!(job = id, "{} lies in {} although the job is {}", file, claimed.display(), row.job.state.word());
            }
            Some(_) => {}
            None => {
                let lines = match &mut lines {
                    Some(lines) => lines,
                    none => none.insert(w.intents.read()?),
                };
                let of_job: Vec<&Line> = lines.iter().filter(|l| l.job() == id).collect();
                if let Some(folder) = of_job.iter().find_map(|l| if let Line::Below { folder, .. } = l { Some(folder) } else { None }) {
                    file = Name::of(&folder.path().join(file.path()));
                }
                if !matches_route(route, &file) {
                    continue;
                }
                let Ok(meta) = entry.path().symlink_metadata() else { continue };
                let new = NewJob { route: route.name.clone(), file, found: durable::found(&meta), replay_of: None, id: Some(id) };
                if of_job.is_empty() && !w.intents.complete {
                    w.intents.write(&[Line::Unknown { job: id }])?;
                }
                let received_at = of_job.iter().find_map(|l| if let Line::Publishing { received_at, .. } = l { Some(*received_at) } else { None });
                let jobs = w.create_at(vec![new], received_at.unwrap_or_else(Timestamp::now))?;
                tracing::warn!(job = id, route = route.name, "{} was claimed, and the journal did not know: it goes on under its number", shown_name(&name));
                open.extend(jobs);
            }
        }
    }
    Ok(())
}

fn shown_name(name: &std::ffi::OsStr) -> String {
    crate::error::shown(Path::new(name))
}

/// Several routes may share a folder: a claimed file is the one's whose `include` it matches. Companions are no jobs.
fn matches_route(route: &Route, file: &Name) -> bool {
    !steps::is_companion(route, &file.0) && route.source.names.included(&file.0)
}

/// The highest number of a job in the journal and in the names of claimed, archived and failed files.
fn highest_number(w: &World) -> Result<JobId> {
    let mut highest = w.journal.reader()?.highest()?;
    highest = highest.max(w.intents.read()?.iter().map(Line::job).max().unwrap_or(0));
    let mut look = |name: &std::ffi::OsStr| {
        use std::os::unix::ffi::OsStrExt;
        if let Some((id, _)) = parse_numbered(name.as_bytes()) {
            highest = highest.max(id);
        }
    };
    for folder in [&w.config.archive, &w.config.errors, &w.config.work] {
        walk(folder, 8, &mut look);
    }
    for route in &w.config.routes {
        walk(&route.source.path.join(CLAIMED), 1, &mut look);
    }
    Ok(highest)
}

fn walk(folder: &Path, depth: u32, each: &mut dyn FnMut(&std::ffi::OsStr)) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        each(&entry.file_name());
        if depth > 0 && entry.file_type().is_ok_and(|t| t.is_dir()) {
            walk(&entry.path(), depth - 1, each);
        }
    }
}

/// Removes what no open job has made in `work`.
fn sweep(w: &World, open: &[Job]) {
    sweep_sent(w);
    let Ok(entries) = std::fs::read_dir(&w.config.work) else { return };
    for entry in entries.flatten() {
        let id = entry.file_name().to_str().and_then(|n| n.parse::<JobId>().ok());
        let in_use = id.is_some_and(|id| open.iter().any(|j| j.id == id && j.next() != Next::Rest));
        let known = id.is_some_and(|id| {
            w.journal.reader().and_then(|r| r.job(id)).is_ok_and(|r| r.is_some_and(|r| !r.job.state.at_rest() || r.job.state.is_open_question()))
        });
        if id.is_some() && !in_use && !known {
            // What stays is swept the next time.
            let _ = durable::remove_folder(&entry.path());
        }
    }
}

/// Removes what was written down of requests, for jobs that no retry can send again.
fn sweep_sent(w: &World) {
    let Ok(entries) = std::fs::read_dir(w.config.work.join(SENT_FOLDER)) else { return };
    for entry in entries.flatten() {
        let id = entry.file_name().to_str().and_then(|n| n.split_once('-')?.0.parse::<JobId>().ok());
        let state = id.and_then(|id| w.journal.reader().and_then(|r| r.job(id)).ok().flatten()).map(|r| r.job.state);
        if state.is_some_and(|s| s.at_rest() && s != State::Failed && !s.is_open_question()) {
            // What stays is swept the next time.
            let _ = durable::remove(&entry.path());
        }
    }
}

/// Files that operators put back into the source under the names by which they had to be told apart in `errors`.
#[derive(Debug, Default)]
pub struct PutBack {
    /// To be claimed, each under the name that B knows, and the failed job.
    pub ready: Vec<(Candidate, Job)>,
    /// They may still be copied.
    pub unready: Vec<Name>,
}

impl PutBack {
    /// Whether it is the name of one of them.
    pub fn has(&self, file: &Name) -> bool {
        self.unready.contains(file) || self.ready.iter().any(|(candidate, _)| candidate.file == *file)
    }
}

/// What operators did in `errors`: a file dragged back into the source is resubmitted, a deleted one is removed.
pub fn errors_folder(w: &World, route: &Route) -> Result<PutBack> {
    let mut back = PutBack::default();
    let reader = w.journal.reader()?;
    for id in reader.in_state(Some(&route.name), State::Failed)? {
        let Some(row) = reader.job(id)? else { continue };
        let failed_at = row.events.iter().rev().find(|(_, event)| matches!(event, Event::Failed { .. })).map(|(at, _)| *at);
        let job = row.job;
        // Without a file there is only a note, which says what happened until somebody reads it.
        let Some(path) = job.path.as_ref().filter(|p| !p.is_empty()).map(Name::path) else { continue };
        match path.symlink_metadata() {
            Ok(_) => continue,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            // A folder that can't be read says nothing.
            Err(_) => continue,
        }
        if !w.config.errors.is_dir() {
            continue;
        }
        // An operator's retry may be moving that very file: it holds the route's memory meanwhile.
        let still = w.with_memory(&route.name, |_| reader.job(id))?.is_some_and(|r| r.job.state == State::Failed && r.job.seq == job.seq);
        if !still || path.symlink_metadata().is_ok() {
            continue;
        }
        let (own, keeps) = (route.source.path.join(job.file.path()), route.source.on_success == OnSuccess::Keep);
        let numbered = path.file_name().map(|name| own.with_file_name(name)).filter(|numbered| *numbered != own);
        if let Some(numbered) = numbered
            && let Some(meta) = durable::look(&numbered)?
        {
            if keeps {
                // What stays in the source stays under the name that it has there.
                left_errors(w, job, Event::Resubmitted)?;
                continue;
            }
            // Nothing in A's folder gets another name: what comes there next would be lost under it, or replace it.
            let file = Name::of(numbered.strip_prefix(&route.source.path).unwrap_or(&numbered));
            // Moved there, it is whole; over two disks it is a copy, which may be going on.
            let unchanged = std::time::Duration::try_from(changed_at(&meta).duration_until(Timestamp::now())).unwrap_or_default();
            if unchanged < settle_of(&route.source) {
                back.unready.push(file);
            } else {
                back.ready.push((Candidate { file, found: durable::found(&meta), own: Some(job.file.clone()) }, job));
            }
            continue;
        }
        // Where originals stay in the source, one was put back if it came there after the job had failed.
        let there = durable::look(&own)?.is_some_and(|meta| !keeps || failed_at.is_none_or(|at| changed_at(&meta) > at));
        if keeps && there {
            w.journal.gone(vec![id])?;
        }
        left_errors(w, job, if there { Event::Resubmitted } else { Event::Removed })?;
    }
    Ok(back)
}

/// When a file came under its name, or was changed otherwise.
fn changed_at(meta: &std::fs::Metadata) -> Timestamp {
    Timestamp::new(meta.ctime(), i32::try_from(meta.ctime_nsec()).unwrap_or(0)).unwrap_or_default()
}

/// Records what became of a failed job whose file is no longer in `errors`.
pub fn left_errors(w: &World, mut job: Job, event: Event) -> Result<()> {
    tracing::info!(job = job.id, route = job.route, "{}: the file is no longer in errors", event.word());
    w.record_one(&mut job, event)?;
    if let Some(path) = job.path.as_ref().map(Name::path).filter(|path| steps::note_is_of(path, job.id)) {
        durable::remove(&steps::note_path(path))?;
    }
    Ok(())
}

/// Puts a failed job's file back where claimed files lie.
pub fn reclaim(w: &World, job: &Job) -> Result<()> {
    let route = w.route_of(job)?.clone();
    let Some(path) = job.path.as_ref().filter(|p| !p.is_empty()).map(Name::path) else {
        return Err(Error::file(format!("job {} has no file in errors", job.id)).hint("export it again"));
    };
    if route.source.on_success == OnSuccess::Keep || job.replay_of.is_some() {
        // What failed is what is tried again, whatever A has put in its place since.
        let work = w.work(job);
        durable::make_folder(&work, 0o700)?;
        let original = work.join("original");
        durable::remove(&original)?;
        durable::move_new(path, &original, &w.stop)?;
        return durable::remove(&steps::note_path(path));
    }
    let claimed = w.claimed(&route, job);
    if let Some(folder) = claimed.parent() {
        durable::make_folder(folder, 0o700)?;
    }
    match durable::move_new(path, &claimed, &w.stop) {
        Ok(()) => {}
        Err(e) if e.kind() == Kind::NotFound && claimed.exists() => {}
        Err(e) if e.kind() == Kind::NotFound => return Err(Error::file(format!("{} is no longer there", path.display())).hint("export the file again")),
        Err(e) => return Err(e),
    }
    for companion in steps::companions(&route, job) {
        let numbered = path.with_file_name(companion.path());
        let from = std::iter::once(numbered).chain(steps::own_companion(job, &companion, path)).find(|from| from.exists());
        if let Some(from) = from {
            durable::move_new(&from, &claimed.with_file_name(companion.path()), &w.stop)?;
        }
    }
    if steps::note_is_of(path, job.id) {
        durable::remove(&steps::note_path(path))?;
    }
    Ok(())
}
