//! Takes files out of A's folder, for good: nothing is done with a claimed file before its claim would survive a power cut.
//!
//! A claim that came undone after its file was delivered would be delivered again.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use super::World;
use super::intents::Line;
use crate::config::{OnSuccess, Route};
use crate::durable;
use crate::error::{Kind, Result};
use crate::job::{Job, Name, numbered};
use crate::journal::NewJob;
use crate::watch::{CLAIMED, Candidate, companion_name};

/// Jobs whose files were claimed by a rename that could not be synced yet, by route.
#[derive(Debug, Default)]
pub(super) struct Unsynced(Mutex<HashMap<String, Vec<Job>>>);

impl Unsynced {
    fn put(&self, route: &str, jobs: Vec<Job>) {
        if !jobs.is_empty() {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(route.to_owned()).or_default().extend(jobs);
        }
    }
    fn take(&self, route: &str) -> Vec<Job> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(route).unwrap_or_default()
    }
}

/// Takes files out of A's folder: one commit of the intents, the renames, one sync of each folder. Gives the jobs that may
/// go on, among them those whose claim could not be synced before.
pub(super) fn claim(w: &World, route: &Route, ready: Vec<Candidate>) -> Result<Vec<Job>> {
    if ready.is_empty() {
        return secure(w, route, Vec::new());
    }
    let new = ready
        .iter()
        .map(|c| NewJob { route: route.name.clone(), file: c.own.as_ref().unwrap_or(&c.file).clone(), found: c.found, replay_of: None, id: None })
        .collect();
    let jobs = w.create(new)?;
    if route.source.leaves_no_trace() {
        let line = |job: &Job| Line::Kept { job: job.id, route: job.route.clone(), file: job.file.clone(), found: job.found, received_at: job.received_at };
        w.intents.write(&jobs.iter().map(line).collect::<Vec<_>>())?;
    }
    if route.source.on_success == OnSuccess::Keep {
        return Ok(jobs);
    }
    let below = |job: &Job| Some(Line::Below { job: job.id, folder: Name(job.file.folder().to_vec()) }).filter(|_| !job.file.folder().is_empty());
    let below: Vec<Line> = jobs.iter().filter_map(below).collect();
    if !below.is_empty() {
        w.intents.write(&below)?;
    }
    let mut claimed = Vec::with_capacity(jobs.len());
    let mut trouble = None;
    for (job, candidate) in jobs.into_iter().zip(&ready) {
        if trouble.is_some() {
            w.journal.drop_intent(job.id)?;
            continue;
        }
        match durable::rename_new(&route.source.path.join(candidate.file.path()), &w.claimed(route, &job)) {
            Ok(()) => {
                for template in [&route.source.done_file, &route.source.checksum_file].into_iter().flatten() {
                    let to = route.source.path.join(CLAIMED).join(numbered(job.id, companion_name(template, &job.file).last()).path());
                    let _ = durable::rename_new(&route.source.path.join(companion_name(template, &candidate.file).path()), &to);
                }
                claimed.push(job);
            }
            // Another relay, or A itself, was faster.
            Err(e) if e.kind() == Kind::NotFound => w.journal.drop_intent(job.id)?,
            Err(e) => {
                w.journal.drop_intent(job.id)?;
                trouble = Some(e.at("claim"));
            }
        }
    }
    let secured = secure(w, route, claimed)?;
    match trouble {
        // What was claimed goes on; the next look tells the trouble again.
        Some(e) if secured.is_empty() => Err(e),
        Some(e) => {
            tracing::warn!(route = route.name, "{e}{}", e.remedy());
            Ok(secured)
        }
        None => Ok(secured),
    }
}

/// Makes claims durable, these and those that could not be before, and gives their jobs. Jobs whose claims can't be synced
/// stay where they are, and are tried again by the next look.
pub(super) fn secure(w: &World, route: &Route, jobs: Vec<Job>) -> Result<Vec<Job>> {
    let mut jobs = [w.unsynced.take(&route.name), jobs].concat();
    if jobs.is_empty() {
        return Ok(jobs);
    }
    jobs.sort_by_key(|j| j.id);
    let source = &route.source.path;
    let left: BTreeSet<_> = jobs.iter().map(|j| source.join(Name(j.file.folder().to_vec()).path())).collect();
    let synced = durable::sync_folder(&source.join(CLAIMED)).and_then(|()| {
        // A subfolder that is gone with its last file has nothing left to forget.
        left.iter().filter(|f| *f == source || durable::exists(f)).try_for_each(|f| durable::sync_folder(f))
    });
    match synced {
        Ok(()) => Ok(jobs),
        Err(e) => {
            w.unsynced.put(&route.name, jobs);
            Err(e.at("claim").hint("the files that were claimed wait there until it can be synced"))
        }
    }
}
