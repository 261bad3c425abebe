//! What is known of a route and of each of its jobs while the relay runs. Pure: times come in.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::{HOLD, RUN_MAX};
use crate::config::Retry;
use crate::error::Error;
use crate::job::{Job, JobId};
use crate::watch::{LookFor, Stuck};

#[derive(Debug)]
pub(super) struct Slot {
    pub(super) job: Job,
    pub(super) busy: bool,
    /// When it came to where it is.
    pub(super) since: Instant,
    /// The endpoint that its work in hand occupies, and how many of its connections.
    pub(super) key: Option<(String, usize)>,
    /// Not before this time, by destination; the last one is for the job as a whole.
    pub(super) not_before: HashMap<Option<usize>, Instant>,
    pub(super) failures: HashMap<Option<usize>, u32>,
    pub(super) last_error: Option<Error>,
    failing: Option<Failing>,
}

/// How long a job's attempts have failed, without the wall clock, which may be set at any time.
#[derive(Clone, Copy, Debug)]
struct Failing {
    /// What the job's facts say; another time is another row of failures.
    since: Timestamp,
    begun: Instant,
    before: Duration,
}

impl Slot {
    pub(super) fn new(job: Job, now: Instant) -> Self {
        Self { job, busy: false, since: now, key: None, not_before: HashMap::new(), failures: HashMap::new(), last_error: None, failing: None }
    }

    /// Whether nobody has it in hand, and what failed there was waited for.
    pub(super) fn is_free(&self, what: Option<usize>, now: Instant) -> bool {
        !self.busy && self.not_before.get(&what).is_none_or(|t| now >= *t)
    }

    /// Whether its attempts have failed for as long as the route is patient. What passed before this start is known by the
    /// wall clock alone, so that the last wait is always seen through.
    pub(super) fn is_given_up(&mut self, retry: &Retry, now: Instant, wall: Timestamp) -> bool {
        let Some(since) = self.job.failing_since else { return false };
        let failing = self.failing.filter(|f| f.since == since).unwrap_or_else(|| {
            let before = Duration::try_from(wall.duration_since(since)).unwrap_or_default();
            Failing { since, begun: now, before: before.min(retry.give_up.saturating_sub(retry.max_delay)) }
        });
        self.failing = Some(failing);
        failing.before + now.saturating_duration_since(failing.begun) >= retry.give_up
    }
}

/// What is known of a route.
#[derive(Debug, Default)]
pub struct RouteState {
    pub(super) jobs: BTreeMap<JobId, Slot>,
    /// An operator paused it.
    pub paused: bool,
    /// Why its source can't be looked at.
    pub blocked: Option<Error>,
    pub(super) looking: Option<LookFor>,
    /// When to look next; none: only when told.
    pub due: Option<Instant>,
    /// Something changed since the last look began.
    pub(super) dirty: bool,
    /// The last listing has more.
    pub(super) more: bool,
    pub(super) last_look: Option<Instant>,
    pub(super) look_cost: Duration,
    /// A failed job holds the later ones back.
    pub halted_by: Option<JobId>,
    /// Ready in the folder, not claimed.
    pub left: usize,
    /// Passed over by the last look.
    pub passed_over: u64,
    /// What the last look could not take.
    pub stuck: Stuck,
    pub(super) looks: u64,
    pub(super) scheduled_now: bool,
}

/// Whether these jobs wait a moment for others, which are on their way to the same.
pub(super) fn held(r: &RouteState, ids: &[JobId], now: Instant) -> bool {
    let first = ids.first().and_then(|id| r.jobs.get(id));
    // At the end of a window nothing more comes before these make room.
    let more = r.jobs.values().any(|s| s.busy);
    more && ids.len() < RUN_MAX && first.is_some_and(|s| now < s.since + HOLD)
}

/// Between two looks: no more than a third of the time goes into looking; while jobs are on their way, what comes meanwhile
/// is claimed together.
pub(super) fn pause(r: &RouteState) -> Duration {
    let least = if r.jobs.is_empty() { Duration::ZERO } else { Duration::from_millis(20) };
    (r.look_cost * 2).max(least)
}
