//! What operators ask for: retry, replay, confirm, settle, rebuild, pause, resume. The same code beside a running relay and without one.

use serde_json::json;

use super::dispatch::Dispatcher;
use super::{World, memory, recover, steps};
use crate::durable;
use crate::error::Result;
use crate::job::{Event, Job, JobId, Name, State};
use crate::journal::{Answer, NewJob, Paused, Reader, Request};
use crate::sync::Exports;
use crate::sync::export::{Deletions, Purpose};

/// Carries out a request; gives the answer and the jobs that go on.
pub fn carry_out(w: &World, request: &Request) -> Result<(Answer, Vec<Job>)> {
    let mut answer = Answer::default();
    let mut jobs = Vec::new();
    let reader = w.journal.reader()?;
    match request {
        Request::Retry { jobs: ids, force, deletions } => {
            for id in ids {
                match retry(w, &reader, *id, *force, *deletions)? {
                    Ok(job) => {
                        answer.done.push(format!("job {id} is tried again"));
                        jobs.push(job);
                    }
                    Err(why) => answer.refused.push(why),
                }
            }
        }
        Request::Replay { jobs: ids, force } => {
            for id in ids {
                match replay(w, &reader, *id, *force)? {
                    Ok(job) => {
                        answer.done.push(format!("job {id} is delivered once more as job {}", job.id));
                        jobs.push(job);
                    }
                    Err(why) => answer.refused.push(why),
                }
            }
        }
        Request::Confirm { job: id } => match reader.job(*id)? {
            Some(row) if row.job.state == State::Unconfirmed => {
                let mut job = row.job;
                w.record_one(&mut job, Event::Confirmed)?;
                answer.done.push(format!("job {id} is called delivered"));
                jobs.push(job);
            }
            other => answer.refused.push(not_in_state(*id, other.map(|r| r.job.state), "unconfirmed")),
        },
        Request::Rebuild { group } => memory::rebuild(w, &reader, group, &mut answer)?,
        Request::Forget { group } => memory::forget(w, &reader, group, &mut answer)?,
        Request::Resolve { job, take } => jobs = memory::resolve(w, &reader, *job, take, &mut answer)?,
        Request::Pause { routes } => set_paused(w, routes, Paused::Yes, &mut answer)?,
        Request::Resume { routes } => set_paused(w, routes, Paused::No, &mut answer)?,
    }
    Ok((answer, jobs))
}

fn not_in_state(id: JobId, state: Option<State>, wanted: &str) -> String {
    match state {
        Some(state) => format!("job {id} is {}, not {wanted}", state.word()),
        None => format!("there is no job {id}: `passerelle history` lists them"),
    }
}

fn set_paused(w: &World, routes: &[String], paused: Paused, answer: &mut Answer) -> Result<()> {
    for route in routes {
        if w.route(route).is_none() {
            let near =
                crate::options::nearest(route, w.config.routes.iter().map(|r| r.name.as_str())).map(|n| format!(": did you mean {n}?")).unwrap_or_default();
            answer.refused.push(format!("there is no route {route}{near}"));
            continue;
        }
        w.journal.set_paused(route, paused)?;
        answer.done.push(format!("route {route} is {}", if paused == Paused::Yes { "paused" } else { "running again" }));
    }
    Ok(())
}

fn retry(w: &World, reader: &Reader, id: JobId, force: bool, deletions: Deletions) -> Result<Result<Job, String>> {
    let Some(row) = reader.job(id)? else { return Ok(Err(not_in_state(id, None, "failed"))) };
    let mut job = row.job;
    if !matches!(job.state, State::Waiting | State::Failed | State::Held | State::Unconfirmed) {
        return Ok(Err(not_in_state(id, Some(job.state), "failed, held or unconfirmed")));
    }
    if w.route(&job.route).is_none() {
        return Ok(Err(format!("job {id}: its route {} is not in the configuration", job.route)));
    }
    if job.state == State::Waiting {
        // Whatever it waits for is tried now: nothing is to be put back.
        return Ok(Ok(job));
    }
    // What failed before it had a name gets it now; without one it fails again, and says why.
    let planned = steps::planned(w, &job).unwrap_or_else(|_| job.clone());
    if let Some(later) = reader.later_publisher(&planned)?.filter(|_| !force) {
        return Ok(Err(format!("job {id}: job {later} has published the same name since; --force overrides")));
    }
    let parts = w.route(&job.route).and_then(|r| r.sync.as_ref()).is_some_and(|s| s.exports == Exports::Incremental);
    if parts && !force && job.state != State::Unconfirmed && reader.relayed_between(&job.route, id, i64::MAX.unsigned_abs())? {
        return Ok(Err(format!("job {id}: {}", old_values(&job))));
    }
    // A look must not take the file on its way out of errors for a removed one.
    w.with_memory(&job.route.clone(), |_| {
        if job.state == State::Failed
            && let Err(e) = recover::reclaim(w, &job)
        {
            return Ok(Err(format!("job {id}: {e}")));
        }
        w.record_one(&mut job, Event::Retried { deletions })?;
        Ok(Ok(job))
    })
}

fn old_values(job: &Job) -> String {
    format!("later exports of {} were relayed, and its old values would go to B; --force overrides", job.route)
}

fn replay(w: &World, reader: &Reader, id: JobId, force: bool) -> Result<Result<Job, String>> {
    let Some(row) = reader.job(id)? else { return Ok(Err(not_in_state(id, None, "delivered"))) };
    let job = row.job;
    if !matches!(job.state, State::Delivered | State::Superseded) {
        return Ok(Err(not_in_state(id, Some(job.state), "delivered")));
    }
    if w.route(&job.route).is_none() {
        return Ok(Err(format!("job {id}: its route {} is not in the configuration", job.route)));
    }
    match &job.path {
        Some(path) if path.path().is_file() => {}
        _ => return Ok(Err(format!("job {id}: its original is no longer in the archive"))),
    }
    let path = job.path.as_ref().map_or(std::path::Path::new(""), Name::path);
    if !path.starts_with(&w.config.archive) && !as_it_was(path, &job)? {
        return Ok(Err(format!("job {id}: its original stayed in the source, and {} is another one now", path.display())));
    }
    if let Some(later) = reader.later_publisher(&job)?.filter(|_| !force) {
        return Ok(Err(format!("job {id}: job {later} has published the same name since; --force overrides")));
    }
    // Of records that are compared, the values of an old export are changes back to what they were.
    let later = || if job.state == State::Superseded { Ok(true) } else { reader.relayed_between(&job.route, id, i64::MAX.unsigned_abs()) };
    if w.route(&job.route).is_some_and(|r| r.sync.is_some()) && !force && later()? {
        return Ok(Err(format!("job {id}: {}", old_values(&job))));
    }
    if let Some(open) = reader.open_replay(job.replay_of.unwrap_or(id))? {
        return Ok(Err(format!("job {id}: job {open} relays it once more already")));
    }
    once_more(w, &job, Purpose::Send).map(Ok)
}

/// Whether a file that stayed in its source is the one that was relayed.
fn as_it_was(path: &std::path::Path, job: &Job) -> Result<bool> {
    let now = durable::look(path)?.map(|meta| durable::found(&meta));
    Ok(now.is_some_and(|now| (now.size, now.modified_ns) == (job.found.size, job.found.modified_ns)))
}

/// A new job that reads a job's archived original once more; of a replay, the one that it goes back to.
pub(super) fn once_more(w: &World, job: &Job, purpose: Purpose) -> Result<Job> {
    let of = job.replay_of.unwrap_or(job.id);
    let new = NewJob { route: job.route.clone(), file: job.file.clone(), found: job.found, replay_of: Some((of, purpose)), id: None };
    let mut jobs = w.create(vec![new])?;
    Ok(jobs.remove(0))
}

/// What `status` shows of a running relay.
pub fn live_status(w: &World, d: &Dispatcher) -> String {
    let routes: serde_json::Map<String, serde_json::Value> = w
        .config
        .routes
        .iter()
        .filter_map(|route| {
            let r = d.routes.get(&route.name)?;
            let (busy, parked) = d.counts(&route.name);
            let reason = d.reason(&route.name);
            let source = r.blocked.as_ref().or(r.stuck.why.as_ref()).map(ToString::to_string);
            let value = json!({
                "scheduled": route.schedule.is_some(), "reason": reason, "source": source,
                "waiting": r.left + r.stuck.files + parked, "in_flight": busy, "passed_over": r.passed_over,
            });
            Some((route.name.clone(), value))
        })
        .collect();
    let endpoints: serde_json::Map<String, serde_json::Value> = w
        .config
        .endpoints
        .keys()
        .map(|name| {
            let state = d.endpoints.get(name);
            let word = match state {
                Some(s) if s.error.is_some() => "down",
                Some(s) if s.up => "up",
                _ => "unknown",
            };
            let value = json!({
                "state": word,
                "since": state.and_then(|s| s.since).map(super::steps::rfc3339),
                "error": state.and_then(|s| s.error.as_ref()).map(ToString::to_string),
            });
            (name.clone(), value)
        })
        .collect();
    json!({ "routes": routes, "endpoints": endpoints }).to_string()
}
