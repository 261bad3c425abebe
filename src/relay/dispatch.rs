//! Who runs next: the order of a route, the connections of an endpoint, backoff, pause. Pure: facts and `now` in, work out.
//!
//! A waiting job holds no thread: it is parked here. Nothing here does any I/O.

mod group;
mod order;
mod route;
mod told;
mod work;

use group::Group;
use order::{Way, first_small, prepare_run, publish_run};
use route::{Slot, held, pause};
use work::is_the_servers;

pub use route::RouteState;
pub use told::halted_by;
pub use work::{Done, EndpointState, Failure, LookResult, Mode, Reach, Work};

use crate::config::{Config, Retry, Route};
use crate::error::{Error, Kind};
use crate::job::{Job, JobId, Next, Progress};
use crate::watch::LookFor;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Claimed jobs of a route that are held at once; more stay in A's folder.
pub const WINDOW: usize = 256;

/// How many jobs are published, or finished, in one go.
pub const RUN_MAX: usize = 64;

/// While more of a route is about to join them, published and finished jobs wait so long for each other, and no longer:
/// what many share in one go (syncs, commits) costs each the less.
const HOLD: Duration = Duration::from_millis(20);

/// After a refused login or host key, nobody knocks again for so long: accounts get locked.
const LOGIN_DELAY: Duration = Duration::from_secs(15 * 60);

/// How often a name that B has not taken yet is looked at.
const TAKEN_DELAY: Duration = Duration::from_millis(500);

const TAKEN_DELAY_MAX: Duration = Duration::from_secs(5);

/// All scheduling state.
#[derive(Debug)]
pub struct Dispatcher {
    /// By name.
    pub routes: HashMap<String, RouteState>,
    /// By endpoint key.
    pub endpoints: HashMap<String, EndpointState>,
    limits: HashMap<String, usize>,
    keys: HashMap<(String, usize), String>,
    /// The endpoint of each route whose source is on one.
    sources: HashMap<String, String>,
    retries: HashMap<String, Retry>,
    halts: HashMap<String, bool>,
    /// The sync group of each route that has one.
    groups: HashMap<String, Group>,
    /// Of a group, the job of which it can't be known whether B has it.
    doubtful: HashMap<String, JobId>,
    order: Vec<String>,
    workers: usize,
    busy: usize,
    /// The endpoint of the work that is being handed out, and how many of its connections.
    occupied: Option<(String, usize)>,
    /// `run --once`: everything is tried once.
    once: bool,
}

impl Dispatcher {
    /// A dispatcher for a configuration.
    pub fn new(config: &Config, mode: Mode) -> Self {
        let mut d = Self {
            routes: HashMap::new(),
            endpoints: HashMap::new(),
            limits: HashMap::new(),
            keys: HashMap::new(),
            sources: HashMap::new(),
            retries: HashMap::new(),
            halts: HashMap::new(),
            groups: HashMap::new(),
            doubtful: HashMap::new(),
            order: Vec::new(),
            workers: config.jobs,
            busy: 0,
            occupied: None,
            once: mode == Mode::Once,
        };
        d.configure(config);
        d
    }

    /// Takes a configuration over; jobs in hand stay.
    pub fn configure(&mut self, config: &Config) {
        self.workers = config.jobs;
        self.order = config.routes.iter().map(|r| r.name.clone()).collect();
        let group = |r: &Route| r.sync.as_ref().map(|s| (r.name.clone(), Group { name: s.group.clone(), exports: s.exports }));
        self.groups = config.routes.iter().filter_map(|r| group(r)).collect();
        for route in &config.routes {
            self.routes.entry(route.name.clone()).or_default();
            self.retries.insert(route.name.clone(), route.retry.clone());
            self.halts.insert(route.name.clone(), route.halt_on_error);
            if let Some(remote) = &route.source.remote {
                self.endpoints.entry(remote.endpoint.name.clone()).or_default();
                self.sources.insert(route.name.clone(), remote.endpoint.name.clone());
            }
            for (i, d) in route.destinations.iter().enumerate() {
                let key = super::endpoint_key(d);
                self.limits.insert(key.clone(), d.endpoint.as_ref().map_or(usize::MAX, |e| e.connections));
                self.endpoints.entry(key.clone()).or_default();
                self.keys.insert((route.name.clone(), i), key);
            }
        }
        let order = self.order.clone();
        self.routes.retain(|name, r| order.contains(name) || r.jobs.values().any(|s| s.busy));
    }

    /// Adds a job: claimed before, or put back by an operator.
    pub fn add(&mut self, job: Job) {
        if let Some(route) = self.routes.get_mut(&job.route) {
            if route.halted_by == Some(job.id) {
                route.halted_by = None;
            }
            route.jobs.insert(job.id, Slot::new(job, Instant::now()));
        }
    }

    /// Something changed in a route's source, or its schedule came.
    pub fn hint(&mut self, route: &str) {
        if let Some(r) = self.routes.get_mut(route) {
            r.dirty = true;
        }
    }
    /// A route's schedule came.
    pub fn schedule(&mut self, route: &str) {
        if let Some(r) = self.routes.get_mut(route) {
            r.dirty = true;
            r.scheduled_now = true;
        }
    }
    /// The first failed job of a route whose later files wait behind it; none: nothing holds them back.
    pub fn set_halted(&mut self, route: &str, by: Option<JobId>) {
        if let Some(r) = self.routes.get_mut(route) {
            r.halted_by = by;
        }
    }
    /// Lifts every wait: an operator asked for it, or the configuration is new.
    pub fn lift_waits(&mut self) {
        for e in self.endpoints.values_mut() {
            e.down_until = None;
        }
        for slot in self.routes.values_mut().flat_map(|r| r.jobs.values_mut()) {
            slot.not_before.clear();
        }
    }

    /// Whether nothing is in hand and nothing may begin now.
    pub fn idle(&mut self, now: Instant) -> bool {
        self.busy == 0 && self.peek(now).is_none() && (!self.once || self.looked_enough())
    }

    /// `run --once`: every route was looked at, and what must settle was watched for it.
    fn looked_enough(&self) -> bool {
        self.routes.values().all(|r| r.paused || r.jobs.len() >= WINDOW || (r.looks > 0 && !r.dirty && !r.more && (r.due.is_none() || r.blocked.is_some())))
    }

    fn peek(&mut self, now: Instant) -> Option<()> {
        let workers = std::mem::replace(&mut self.workers, 0);
        let any = self.order.clone().into_iter().any(|name| self.look_due(&name, now) || self.job_work(&name, now, Take::Peek).is_some());
        self.workers = workers;
        any.then_some(())
    }

    /// The next deadline, for the thread that waits.
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        let looks = self
            .routes
            .values()
            .filter(|r| !r.paused && r.looking.is_none())
            .filter_map(|r| if r.dirty { Some(r.last_look.map_or(now, |l| l + pause(r))) } else { r.due });
        let jobs = self.routes.values().flat_map(|r| r.jobs.values()).filter(|s| !s.busy).flat_map(|s| s.not_before.values().copied().chain([s.since + HOLD]));
        let endpoints = self.endpoints.values().filter_map(|e| e.down_until);
        looks.chain(jobs).chain(endpoints).filter(|d| *d > now).min()
    }

    /// All work that may begin now.
    pub fn work(&mut self, now: Instant) -> Vec<Work> {
        let mut out = Vec::new();
        for name in self.order.clone() {
            if self.busy < self.workers && self.look_due(&name, now) {
                out.extend(self.start_look(&name, now));
            }
        }
        // One thing a route in turn, so that a busy route does not starve the others.
        loop {
            let mut any = false;
            for name in self.order.clone() {
                if self.busy >= self.workers {
                    return out;
                }
                if let Some(work) = self.job_work(&name, now, Take::Start) {
                    self.busy += 1;
                    out.push(work);
                    any = true;
                }
            }
            if !any {
                return out;
            }
        }
    }

    fn look_due(&self, name: &str, now: Instant) -> bool {
        let Some(r) = self.routes.get(name) else { return false };
        if r.paused || r.looking.is_some() || r.jobs.len() >= WINDOW {
            return false;
        }
        let rested = r.last_look.is_none_or(|l| now >= l + pause(r));
        // More of a long listing is claimed many at once: each claim costs some syncs.
        let more = r.more && (r.jobs.len() <= WINDOW - RUN_MAX || self.busy == 0);
        more || (r.dirty && rested) || r.due.is_some_and(|d| now >= d)
    }

    fn start_look(&mut self, name: &str, now: Instant) -> Option<Work> {
        let r = self.routes.get_mut(name)?;
        self.busy += 1;
        let room = WINDOW - r.jobs.len();
        let rested = r.last_look.is_none_or(|l| now >= l + pause(r));
        if !((r.dirty && rested) || r.due.is_some_and(|d| now >= d)) {
            r.looking = Some(LookFor::More);
            return Some(Work::Look { route: name.to_owned(), what: (LookFor::More, room), scheduled: false });
        }
        r.looking = Some(LookFor::Changes);
        r.dirty = false;
        r.due = None;
        r.last_look = Some(now);
        r.looks += 1;
        Some(Work::Look { route: name.to_owned(), what: (LookFor::Changes, room), scheduled: std::mem::take(&mut r.scheduled_now) })
    }

    /// The first thing that a job of this route can have done now.
    fn job_work(&mut self, name: &str, now: Instant, take: Take) -> Option<Work> {
        let r = self.routes.get(name)?;
        let destinations = self.keys.keys().filter(|(route, _)| route == name).count();
        let halted = |id: JobId| r.halted_by.is_some_and(|h| id > h);
        // Finishing and failing first: they make room.
        let ids = |wanted: &dyn Fn(&Slot) -> bool, most: usize| -> Vec<JobId> {
            r.jobs.iter().filter(|(_, s)| s.is_free(None, now) && wanted(s)).map(|(id, _)| *id).take(most).collect()
        };
        let finished = ids(&|s| s.job.next() == Next::Finish, RUN_MAX);
        if !finished.is_empty() && !held(r, &finished, now) {
            return self.take(name, &finished, take, Work::Finish);
        }
        let failing = ids(&|s| s.job.next() == Next::Fail, 1);
        if !failing.is_empty() {
            return self.take(name, &failing, take, |mut j| Work::Fail(j.remove(0)));
        }
        if r.paused {
            return None;
        }
        // Small files that wait for a connection have their turn before later ones, or their route would wait for them.
        let small = if destinations == 1 && !self.groups.contains_key(name) { first_small(r, now, &halted) } else { None };
        for destination in 0..destinations {
            let key = self.keys.get(&(name.to_owned(), destination))?;
            if !self.endpoint_free(key, now) {
                continue;
            }
            let run = publish_run(r, destination, now, &halted, self.halts.get(name).copied().unwrap_or(false));
            if let Some((ids, next)) = run.filter(|(ids, _)| !held(r, ids, now)) {
                let key = key.clone();
                self.occupy(&key, 1, take);
                return match next {
                    Next::Resolve(delivery) => self.take(name, &ids, take, |mut j| Work::Resolve(j.remove(0), delivery)),
                    _ => self.take(name, &ids, take, |j| Work::Publish(j, destination)),
                };
            }
            let before = |id: &JobId| small.is_none_or(|small| *id < small) || self.limits.get(key).is_none_or(|limit| *limit == usize::MAX);
            let mut uploads = r.jobs.iter().filter(|(id, _)| before(id)).filter_map(|(id, s)| {
                let at = s.job.deliveries.iter().position(|d| d.destination == destination && d.progress == Progress::Waiting)?;
                (s.is_free(Some(destination), now) && !halted(*id) && s.job.next_of(at) == Next::Upload(at) && !s.job.failing && !s.job.state.at_rest())
                    .then_some((*id, at))
            });
            if let Some((id, at)) = uploads.next() {
                // Connections that nobody else waits for make one file faster.
                let connections = self.free(key).map_or(1, |free| free / (uploads.count() + 1)).max(1);
                let key = key.clone();
                self.occupy(&key, connections, take);
                return self.take(name, &[id], take, |mut j| Work::Upload(j.remove(0), at, connections));
            }
        }
        if self.groups.contains_key(name) {
            let ids = self.in_turn(name, now, &halted)?;
            return self.take(name, &ids, take, group::compare);
        }
        let only = self.keys.get(&(name.to_owned(), 0)).filter(|_| destinations == 1).cloned();
        let way = match &only {
            Some(key) if self.endpoint_free(key, now) => self.free(key).map_or(Way::Folder, Way::Server),
            Some(key) if self.endpoints.get(key).is_some_and(|e| e.down_until.is_none()) => Way::Busy,
            _ => Way::Closed,
        };
        let key = only.filter(|_| matches!(way, Way::Folder | Way::Server(_)));
        let (ids, sent) = prepare_run(r, now, &halted, way)?;
        let reach = match key.filter(|_| sent) {
            None => Reach::Prepared,
            Some(key) => {
                let alone = r.jobs.len() == 1;
                self.occupy(&key, 1, take);
                if alone { Reach::Published } else { Reach::Uploaded }
            }
        };
        self.take(name, &ids, take, |j| Work::Prepare(j, reach))
    }

    /// How many connections to a server are free; none: it is a folder of this host.
    fn free(&self, key: &str) -> Option<usize> {
        let limit = self.limits.get(key).copied().filter(|limit| *limit < usize::MAX)?;
        let used = self.endpoints.get(key).map_or(0, |e| e.in_flight);
        Some(limit.saturating_sub(used).min(self.workers.saturating_sub(self.busy)).max(1))
    }

    fn endpoint_free(&self, key: &str, now: Instant) -> bool {
        let Some(e) = self.endpoints.get(key) else { return true };
        let limit = self.limits.get(key).copied().unwrap_or(usize::MAX);
        match e.down_until {
            Some(until) if now < until => false,
            // One attempt tells whether it is back.
            Some(_) => e.in_flight == 0,
            None => e.in_flight < limit,
        }
    }

    fn occupy(&mut self, key: &str, connections: usize, take: Take) {
        if take == Take::Start
            && let Some(e) = self.endpoints.get_mut(key)
        {
            e.in_flight += connections;
            self.occupied = Some((key.to_owned(), connections));
        }
    }

    fn take(&mut self, name: &str, ids: &[JobId], take: Take, make: impl FnOnce(Vec<Job>) -> Work) -> Option<Work> {
        let key = self.occupied.take();
        let r = self.routes.get_mut(name)?;
        let mut jobs = Vec::with_capacity(ids.len());
        for id in ids {
            let slot = r.jobs.get_mut(id)?;
            slot.busy |= take == Take::Start;
            slot.key.clone_from(&key);
            jobs.push(slot.job.clone());
        }
        Some(make(jobs))
    }

    /// Takes in what a worker gives back. Gives the jobs that give up, where (none: before they came to a destination), and why.
    pub fn done(&mut self, done: Done, now: Instant, jitter: f64) -> Vec<(Job, Option<usize>, Error)> {
        // Late checks and housekeeping are the engine's: they take no part in the order of anything.
        if !matches!(done, Done::LateChecked(_) | Done::HouseKept(_)) {
            self.busy = self.busy.saturating_sub(1);
        }
        match done {
            Done::Looked(route, result) => {
                self.looked(&route, result, now);
                Vec::new()
            }
            Done::Jobs { jobs, failed, destination } => self.jobs_done(jobs, failed, destination, now, jitter),
            Done::LateChecked(_) | Done::HouseKept(_) => Vec::new(),
        }
    }

    fn looked(&mut self, name: &str, result: Result<LookResult, Error>, now: Instant) {
        let Some(r) = self.routes.get_mut(name) else { return };
        if let Some(endpoint) = self.sources.get(name).and_then(|key| self.endpoints.get_mut(key)) {
            endpoint.looked(result.as_ref().err());
        }
        let anew = r.looking.take() == Some(LookFor::Changes);
        if anew {
            r.look_cost = r.last_look.map_or(Duration::ZERO, |l| now.saturating_duration_since(l));
        }
        match result {
            Ok(found) => {
                r.blocked = None;
                r.left = found.left;
                r.passed_over = found.passed_over;
                r.stuck = if anew { found.stuck } else { std::mem::take(&mut r.stuck).and(found.stuck) };
                // In a single run a file is watched for one settle; what is still not ready then stays.
                let watch = found.again.filter(|_| !self.once || r.looks == 1);
                r.due = r.due.into_iter().chain(watch.map(|a| now + a)).min();
                for job in found.claimed {
                    r.jobs.entry(job.id).or_insert_with(|| Slot::new(job, now));
                }
                r.more = r.left > 0;
            }
            Err(e) => {
                r.blocked = Some(e);
                r.more = false;
            }
        }
    }

    fn jobs_done(&mut self, jobs: Vec<Job>, failed: Vec<Failure>, destination: Option<usize>, now: Instant, jitter: f64) -> Vec<(Job, Option<usize>, Error)> {
        let mut give_up = Vec::new();
        let name = jobs.first().map(|j| j.route.clone()).unwrap_or_default();
        // The endpoint that was occupied, whatever a reload has made of the destination since.
        let first = jobs.first().map(|j| j.id);
        let endpoint = self.routes.get_mut(&name).zip(first).and_then(|(r, id)| r.jobs.get_mut(&id)?.key.take());
        let retry = self.retries.get(&name).cloned();
        let trouble = failed.iter().map(|f| &f.error).find(|e| destination.is_some() && is_the_servers(e, self.once));
        if let Some((e, connections)) = endpoint.and_then(|(key, n)| Some((self.endpoints.get_mut(&key)?, n))) {
            e.in_flight = e.in_flight.saturating_sub(connections);
            match &trouble {
                Some(error) => {
                    e.failures += 1;
                    let delay = match error.kind() {
                        Kind::Login => LOGIN_DELAY,
                        _ => retry.as_ref().map_or(Duration::from_secs(1), |r| r.delay(e.failures)).mul_f64(jitter),
                    }
                    .max(error.pause());
                    if e.error.is_none() {
                        e.since = Some(jiff::Timestamp::now());
                    }
                    e.down_until = Some(now + delay);
                    e.error = Some((*error).clone());
                }
                // What concerns one file or one folder says nothing of the server; nor does what never came so far.
                None if !failed.is_empty() || destination.is_none() => {}
                None => {
                    if !e.up || e.error.is_some() {
                        e.since = Some(jiff::Timestamp::now());
                    }
                    (e.failures, e.down_until, e.error, e.up) = (0, None, None, true);
                }
            }
        }
        let halt = self.halts.get(&name).copied().unwrap_or(false);
        let once = self.once;
        let Some(r) = self.routes.get_mut(&name) else { return give_up };
        for (i, job) in jobs.into_iter().enumerate() {
            let id = job.id;
            let failure = failed.iter().find(|f| f.at == i).cloned();
            if job.state == crate::job::State::Failed && halt {
                r.halted_by = Some(r.halted_by.map_or(id, |h| h.min(id)));
            }
            if job.next() == Next::Rest {
                r.jobs.remove(&id);
                continue;
            }
            let Some(slot) = r.jobs.get_mut(&id) else { continue };
            slot.busy = false;
            slot.since = now;
            slot.job = job;
            let Some(Failure { destination, error, .. }) = failure else {
                for what in [None, destination] {
                    slot.failures.remove(&what);
                    slot.not_before.remove(&what);
                }
                continue;
            };
            let failures = slot.failures.entry(destination).or_default();
            *failures += 1;
            let delay = if error.kind() == Kind::Exists {
                (TAKEN_DELAY * (*failures).min(10)).min(TAKEN_DELAY_MAX)
            } else {
                retry.as_ref().map_or(Duration::from_secs(1), |r| r.delay(*failures)).mul_f64(jitter)
            };
            // In a single run everything is tried once.
            slot.not_before.insert(destination, now + if once { Duration::from_secs(86_400) } else { delay });
            slot.last_error = Some(error.clone());
            let given_up = retry.as_ref().is_some_and(|r| slot.is_given_up(r, now, jiff::Timestamp::now()));
            if given_up && error.kind() != Kind::Exists {
                slot.busy = true;
                give_up.push((slot.job.clone(), destination, error));
            }
        }
        give_up
    }

    /// A job that gave up is back, to be moved to `errors`.
    pub fn replace(&mut self, job: Job) {
        if let Some(slot) = self.routes.get_mut(&job.route).and_then(|r| r.jobs.get_mut(&job.id)) {
            slot.busy = false;
            slot.not_before.clear();
            slot.job = job;
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Take {
    Start,
    Peek,
}
