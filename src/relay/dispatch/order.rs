//! The order of a route: which jobs may be prepared and published next, so that no later file overtakes an earlier one.

use std::time::Instant;

use super::{RUN_MAX, RouteState, Slot};
use crate::job::{JobId, Next};

/// What takes more than its part of a run is handed around.
const SMALL_BYTES: u64 = 1024 * 1024;

/// How many bytes are sent in one run.
const RUN_BYTES: u64 = 4 * 1024 * 1024;

/// The way to a route's destination, as it is now.
#[derive(Clone, Copy)]
pub(super) enum Way {
    /// There is none, or there are several destinations.
    Closed,
    /// A server whose connections are all in use: what is small waits for one of them, and then goes there together.
    Busy,
    /// A folder of this host: one file after the other, nothing is waited for there.
    Folder,
    /// A server with so many free connections.
    Server(usize),
}

/// The jobs that are prepared next, and whether they are sent at once. What is ready is shared among a server's connections.
pub(super) fn prepare_run(r: &RouteState, now: Instant, halted: &dyn Fn(JobId) -> bool, way: Way) -> Option<(Vec<JobId>, bool)> {
    let later = |slot: &Slot| matches!(way, Way::Busy) && fits(slot, now);
    let mut waiting = r.jobs.iter().filter(|(id, s)| s.is_free(None, now) && !halted(**id) && s.job.next() == Next::Prepare && !later(s));
    let (first, slot) = waiting.next()?;
    let small = |slot: &Slot| matches!(way, Way::Folder | Way::Server(_)) && fits(slot, now);
    let mut run = vec![*first];
    // What failed once goes alone, so that it holds nobody back.
    let joins = |slot: &Slot| small(slot) && slot.failures.is_empty();
    if let Way::Server(connections) = way
        && joins(slot)
    {
        let ready = waiting.clone().filter(|(_, s)| joins(s)).count() + 1;
        let most = ready.div_ceil(connections).clamp(1, RUN_MAX);
        let mut bytes = slot.job.found.size;
        for (id, slot) in waiting.filter(|(_, s)| joins(s)).take(most - 1) {
            bytes += slot.job.found.size;
            if bytes > RUN_BYTES {
                break;
            }
            run.push(*id);
        }
    }
    Some((run, small(slot)))
}

/// The first job that waits for a connection to go in one go: none behind it takes one before.
pub(super) fn first_small(r: &RouteState, now: Instant, halted: &dyn Fn(JobId) -> bool) -> Option<JobId> {
    let waits = |(id, s): &(&JobId, &Slot)| s.is_free(None, now) && !halted(**id) && s.job.next() == Next::Prepare && fits(s, now);
    r.jobs.iter().find(waits).map(|(id, _)| *id)
}

/// What is small goes in one go.
fn fits(slot: &Slot, now: Instant) -> bool {
    slot.job.found.size <= SMALL_BYTES && slot.is_free(Some(0), now)
}

/// The jobs that may be published next at a destination: the first ones of the route, without a gap, all sent.
pub(super) fn publish_run(r: &RouteState, destination: usize, now: Instant, halted: &dyn Fn(JobId) -> bool, halt: bool) -> Option<(Vec<JobId>, Next)> {
    let mut run = Vec::new();
    for (id, slot) in &r.jobs {
        if halted(*id) || (halt && slot.job.failing) {
            break;
        }
        // It may still go to this destination, and none after it to any.
        let last = halt && slot.job.gave_up();
        // A file that was split has several deliveries here: all are sent before the first is published.
        let here = || slot.job.deliveries.iter().enumerate().filter(|(_, d)| d.destination == destination);
        let open: Vec<usize> = here().filter(|(_, d)| d.progress.is_open()).map(|(at, _)| at).collect();
        if here().next().is_none() {
            // Not planned yet, or nothing to publish: what has no deliveries holds nobody back once it is made.
            if (slot.job.made.is_some() || slot.job.failing) && !last {
                continue;
            }
            break;
        }
        if open.is_empty() || slot.job.failing || slot.job.state.at_rest() {
            if last {
                break;
            }
            continue;
        }
        let free = slot.is_free(Some(destination), now);
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
        if last || run.len() == RUN_MAX || open.len() > 1 {
            break;
        }
    }
    (!run.is_empty()).then_some((run, Next::Publish(destination)))
}
