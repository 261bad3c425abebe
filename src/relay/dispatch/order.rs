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
        // A file that was split has several deliveries here: all are sent before the first is published.
        let here = || slot.job.deliveries.iter().enumerate().filter(|(_, d)| d.destination == destination);
        let open: Vec<usize> = here().filter(|(_, d)| d.progress != Progress::Published).map(|(at, _)| at).collect();
        if here().next().is_none() {
            // Not planned yet, or nothing to publish: what has no deliveries holds nobody back once it is made.
            if slot.job.made.is_some() || slot.job.failing {
                continue;
            }
            break;
        }
        if open.is_empty() || slot.job.failing || slot.job.state.at_rest() {
            continue;
        }
        let free = !slot.busy && slot.not_before.get(&Some(destination)).is_none_or(|t| now >= *t);
        let unknown = open.iter().find(|at| matches!(slot.job.next_of(**at), Next::Resolve(_)));
        if let Some(at) = unknown {
            if free && run.is_empty() {
                return Some((vec![*id], Next::Resolve(*at)));
            }
            break;
        }
        if !free || !open.iter().all(|at| matches!(slot.job.next_of(*at), Next::Publish(_))) {
            break;
        }
        run.push(*id);
        // Its other parts come before any later file.
        if run.len() == RUN_MAX || open.len() > 1 {
            break;
        }
    }
    (!run.is_empty()).then_some((run, Next::Publish(destination)))
}
