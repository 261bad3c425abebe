//! The order of a route: which jobs may be published next, so that no later file overtakes an earlier one.

use std::time::Instant;

use super::{RUN_MAX, RouteState};
use crate::job::{JobId, Next, Progress};

/// The jobs that may be published next at a destination: the first ones of the route, without a gap, all sent.
pub(super) fn publish_run(r: &RouteState, destination: usize, now: Instant, halted: &dyn Fn(JobId) -> bool, halt: bool) -> Option<(Vec<JobId>, Next)> {
    let mut run = Vec::new();
    for (id, slot) in &r.jobs {
        if halted(*id) || (halt && slot.job.failing) {
            break;
        }
        let delivery = slot.job.deliveries.iter().position(|d| d.destination == destination);
        let Some(at) = delivery else {
            // Not planned yet, or nothing to publish: what has no deliveries holds nobody back once it is made.
            if slot.job.made.is_some() || slot.job.failing {
                continue;
            }
            break;
        };
        if slot.job.deliveries[at].progress == Progress::Published || slot.job.failing || slot.job.state.at_rest() {
            continue;
        }
        let free = !slot.busy && slot.not_before.get(&Some(destination)).is_none_or(|t| now >= *t);
        match slot.job.next_of(at) {
            Next::Resolve(_) if free && run.is_empty() => return Some((vec![*id], Next::Resolve(at))),
            Next::Publish(_) if free => run.push(*id),
            _ => break,
        }
        if run.len() == RUN_MAX {
            break;
        }
    }
    (!run.is_empty()).then_some((run, Next::Publish(destination)))
}
