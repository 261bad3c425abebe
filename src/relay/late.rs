//! Deliveries that are looked at again: those a server may still lose, and those that B is expected to take.
//!
//! What is remembered here is only when to look; what was found stands in the journal, from which it begins anew.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use super::{World, steps};
use crate::config::Config;
use crate::error::Result;
use crate::job::{Job, JobId};
use crate::journal::Reader;

/// When a server without a sync is asked again whether it still has what it was given: it has written it back by then.
const CHECK_AFTER: Duration = Duration::from_secs(600);

/// So many are remembered at most; their originals are in the archive in any case.
const MOST: usize = 200_000;

/// Jobs by the time of their next look.
#[derive(Default)]
pub(super) struct Late(BinaryHeap<Reverse<(Instant, JobId)>>);

impl Late {
    /// What was delivered before this start, and is not settled.
    pub(super) fn recall(config: &Config, reader: &Reader) -> Result<Self> {
        let now = Instant::now();
        let span = patience(config).max(CHECK_AFTER * 2);
        let ids = reader.delivered_since(jiff::Timestamp::now() - span)?;
        Ok(Self(ids.into_iter().rev().take(MOST).map(|id| Reverse((now, id))).collect()))
    }

    /// Remembers a job that was just delivered, where there is something to look at.
    pub(super) fn follow(&mut self, w: &World, job: &Job) {
        if job.deliveries.iter().any(|d| d.doubtful) {
            self.again(job.id, CHECK_AFTER);
        }
        if let Some(pause) = steps::taken_pause(w, job) {
            self.again(job.id, pause);
        }
    }

    /// Remembers when to look at a job again.
    pub(super) fn again(&mut self, job: JobId, pause: Duration) {
        if self.0.len() < MOST {
            self.0.push(Reverse((Instant::now() + pause, job)));
        }
    }

    /// Takes the jobs whose time has come, so many at most.
    pub(super) fn due(&mut self, now: Instant, most: usize) -> Vec<JobId> {
        let mut due = Vec::new();
        while due.len() < most && self.0.peek().is_some_and(|Reverse((at, _))| *at <= now) {
            due.extend(self.0.pop().map(|Reverse((_, id))| id));
        }
        due.dedup();
        due
    }

    /// A server is back: whether it still has what it was given is looked at now.
    pub(super) fn hurry(&mut self) {
        let now = Instant::now();
        self.0 = self.0.drain().map(|Reverse((_, id))| Reverse((now, id))).collect();
    }
}

/// How long after its publish a delivery is looked at, at most, to see whether B has taken it.
fn patience(config: &Config) -> Duration {
    let limits = config.routes.iter().flat_map(|r| &r.destinations).filter_map(|d| d.confirm);
    limits.max().map_or(Duration::ZERO, |limit| limit * steps::CONFIRM_SPANS)
}

/// One look at all that B is expected to take, at the end of a single run.
pub(super) fn once(w: &World) -> Result<()> {
    let span = patience(&w.config);
    if span.is_zero() {
        return Ok(());
    }
    let reader = w.journal.reader()?;
    for id in reader.delivered_since(jiff::Timestamp::now() - span)? {
        if let Some(row) = reader.job(id)? {
            steps::late_check(w, &mut row.job.clone())?;
        }
    }
    Ok(())
}
