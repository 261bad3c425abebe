//! Within a sync group one job at a time goes from its transformation to its publication, both directions together:
//! what it changes of the memory is known before the next one is compared.

use std::time::Instant;

use super::{Dispatcher, Reach, Slot, Work};
use crate::job::{Job, JobId, Next, Progress};
use crate::sync::Exports;

/// What the dispatcher knows of a route's group.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) exports: Exports,
}

/// The work of comparing the last of these jobs.
pub(super) fn compare(jobs: Vec<Job>) -> Work {
    if jobs.len() == 1 { Work::Prepare(jobs, Reach::Prepared) } else { Work::PrepareNewest(jobs) }
}

/// Whether B may have a part of it, or get one: what it changes is not known yet.
fn is_between(job: &Job) -> bool {
    job.made.is_some() && !job.failing && !job.state.at_rest() && job.deliveries.iter().any(|d| d.progress.is_open())
}

/// Whether a later full export may take its place.
fn may_be_given_up(slot: &Slot) -> bool {
    let job = &slot.job;
    let untried = job.deliveries.iter().all(|d| matches!(d.progress, Progress::Waiting | Progress::Uploaded) && !d.unknown);
    !slot.busy && is_full(slot) && untried && job.next() != Next::Finish
}

/// Whether it is a full export, as far as is known.
fn is_full(slot: &Slot) -> bool {
    slot.job.replay_of.is_none() && !slot.job.retried && !slot.job.seal.as_ref().is_some_and(|s| s.partial)
}

impl Dispatcher {
    /// The job of a route that is compared next, last, and those before it that it makes pointless.
    pub(super) fn in_turn(&self, name: &str, now: Instant, halted: &dyn Fn(JobId) -> bool) -> Option<Vec<JobId>> {
        let group = self.groups.get(name)?;
        if self.doubtful.contains_key(&group.name) {
            return None;
        }
        let r = self.routes.get(name)?;
        let open: Vec<&Slot> =
            r.jobs.values().filter(|s| !halted(s.job.id) && !s.job.failing && !s.job.state.at_rest() && s.job.next() != Next::Finish).collect();
        let ready = |slot: &Slot| slot.job.next() == Next::Prepare && slot.is_free(None, now);
        let first = open.first()?;
        let mut wanted = if ready(first) { vec![first.job.id] } else { Vec::new() };
        if group.exports == Exports::Full {
            let run = open.iter().take_while(|s| is_full(s)).count();
            let newest = (1..run).rev().find(|at| ready(open[*at]) && open[..*at].iter().all(|s| may_be_given_up(s)));
            if let Some(at) = newest {
                wanted = open[..=at].iter().map(|s| s.job.id).collect();
            }
        }
        if wanted.is_empty() {
            return None;
        }
        let members = self.groups.iter().filter(|(_, g)| g.name == group.name).filter_map(|(route, _)| self.routes.get(route));
        let others = members.flat_map(|r| r.jobs.values()).filter(|s| !wanted.contains(&s.job.id));
        let busy = others.into_iter().any(|s| is_between(&s.job) || (s.busy && s.job.next() == Next::Prepare));
        (!busy).then_some(wanted)
    }

    /// The job of a group of which it can't be known whether B has it; none: there is none.
    pub fn set_doubtful(&mut self, group: &str, job: Option<JobId>) {
        match job {
            Some(job) => drop(self.doubtful.insert(group.to_owned(), job)),
            None => drop(self.doubtful.remove(group)),
        }
    }

    /// Why a route's group compares nothing.
    pub(super) fn doubt(&self, route: &str) -> Option<String> {
        let job = self.doubtful.get(&self.groups.get(route)?.name)?;
        Some(format!("it can't be known whether B has job {job}, and what it changed: passerelle confirm-delivered {job}, or retry {job}"))
    }
}
