//! A second look at what was delivered: a power cut may have undone a rename that was answered, and B may not take its file.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::super::World;
use super::deliver::{Target, target};
use crate::config::{DestinationConfig, IfExists};
use crate::endpoints::Rename;
use crate::error::Result;
use crate::job::{Delivery, Event, Job, Progress};

/// For so many times `confirm` a file is looked at; B has been told of by then.
pub const CONFIRM_SPANS: u32 = 3;

/// How often at least and at most a file is looked at until B takes it.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));

/// Looks at a delivered job again; gives how long to wait for the next look, where one is needed.
pub fn late_check(w: &World, job: &mut Job) -> Result<Option<Duration>> {
    restore(w, job)?;
    taken(w, job)?;
    Ok(taken_pause(w, job))
}

/// Looks whether the temporary name is back and the final one gone; then the server lost the rename, and it is made again.
fn restore(w: &World, job: &mut Job) -> Result<()> {
    let route = w.route_of(job)?.clone();
    for delivery in (0..job.deliveries.len()).filter(|d| job.deliveries[*d].doubtful).collect::<Vec<_>>() {
        let t = target(w, &route, job, &job.deliveries[delivery])?;
        let lost = w.with_session(t.d, |session| {
            if session.stat(&t.temp)?.is_none() || session.stat(&t.final_path)?.is_some() {
                return Ok(false);
            }
            session.rename(&t.temp, &t.final_path, Rename::New)?;
            Ok(true)
        })?;
        if lost {
            tracing::error!(
                job = job.id,
                route = job.route,
                "{} had lost the published file {}: it was renamed again — B may have seen it before",
                t.d.endpoint_name(),
                job.deliveries[delivery].name
            );
            w.record_one(job, Event::Restored { delivery })?;
        }
    }
    Ok(())
}

/// Deliveries that B has not taken yet, as far as is known, where the route asks.
fn expected(w: &World, job: &Job) -> Vec<(usize, Duration)> {
    let Ok(route) = w.route_of(job) else { return Vec::new() };
    let limit = |d: &Delivery| route.destinations.get(d.destination).filter(|to: &&DestinationConfig| to.endpoint_name() == d.endpoint)?.confirm;
    let open = job.deliveries.iter().enumerate().filter(|(_, d)| d.progress == Progress::Published && d.taken_at.is_none());
    open.filter_map(|(i, d)| limit(d).map(|limit| (i, limit))).collect()
}

/// How long a published file has stood at B.
fn age(job: &Job, delivery: usize) -> Duration {
    let since = job.deliveries[delivery].tried_at.or(job.delivered_at).unwrap_or(job.received_at);
    let age = Timestamp::now().duration_since(since).max(SignedDuration::ZERO);
    age.unsigned_abs()
}

/// How long to wait before it is looked again whether B has taken a job's files; none: nobody wants to know any more.
pub fn taken_pause(w: &World, job: &Job) -> Option<Duration> {
    let pause = |(delivery, limit): (usize, Duration)| {
        let age = age(job, delivery);
        let left = (limit * CONFIRM_SPANS).checked_sub(age)?;
        let (least, most) = PAUSES;
        let usual = (limit / 10).clamp(least, most);
        // The limit itself is not passed over.
        Some(limit.checked_sub(age).map_or(usual, |to_limit| usual.min(to_limit.max(least))).min(left.max(least)))
    };
    expected(w, job).into_iter().filter_map(pause).min()
}

/// Looks whether B has taken what was published, and says so once; and once if it has not in time.
fn taken(w: &World, job: &mut Job) -> Result<()> {
    let route = w.route_of(job)?.clone();
    for (delivery, limit) in expected(w, job) {
        let t = target(w, &route, job, &job.deliveries[delivery])?;
        if there(w, &t)? {
            // A name that a later file replaced says nothing of this one.
            let replaced = t.d.if_exists == IfExists::Replace && w.journal.reader()?.later_publisher(job)?.is_some();
            if !job.deliveries[delivery].overdue && age(job, delivery) >= limit && !replaced {
                tracing::warn!(
                    job = job.id,
                    route = job.route,
                    file = %job.file,
                    "not taken: {} stands at {} for more than {limit:?} — look whether B's import runs and what it says of this file",
                    crate::error::shown(&t.final_path),
                    t.d.endpoint_name()
                );
                w.record_one(job, Event::NotTaken { delivery })?;
            }
            continue;
        }
        tracing::info!(job = job.id, route = job.route, file = %job.file, "taken: {} is gone from {}", crate::error::shown(&t.final_path), t.d.endpoint_name());
        w.record_one(job, Event::Taken { delivery })?;
    }
    Ok(())
}

/// Whether the final name is still there; a folder that can't be seen says nothing.
fn there(w: &World, t: &Target<'_>) -> Result<bool> {
    w.with_session(t.d, |session| {
        if session.stat(&t.final_path)?.is_some() {
            return Ok(true);
        }
        let seen = t.pool.direct() || t.folder.as_os_str().is_empty() || session.stat(&t.folder)?.is_some_and(|s| s.folder);
        if seen { Ok(false) } else { Err(crate::endpoints::missing_folder(&t.folder)) }
    })
}
