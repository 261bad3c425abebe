//! The threads: a dispatcher that owns all scheduling, workers that do one thing after the other, a watcher a source.
//!
//! Channels carry owned jobs; no lock is held across a step. Stopping is politeness: a killed relay recovers the same way.

mod outcome;

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Zoned;

use super::dispatch::{Dispatcher, Done, Failure, Mode, RUN_MAX, Work};
use super::late::Late;
use super::sources::Sources;
use super::timetable::Timetable;
use super::worker::work_loop;
use super::{World, housekeeping, late, operate, recover};
use crate::config::{Config, Leave};
use crate::durable;
use crate::error::{Blame, Error, Kind, Result};
use crate::job::{Event, Job, State};
use crate::journal::Reader;
use crate::schedule::Schedule;

/// How often operators' requests and sources without events are looked at.
const TICK: Duration = Duration::from_millis(250);

/// When a server that did not answer is asked again for what it was given.
const LATE_AGAIN: Duration = Duration::from_secs(600);

/// What the dispatcher is told.
pub enum Message {
    /// Something changed in a route's source.
    Hint(String),
    /// A worker is done.
    Done(Box<Done>),
    /// A new configuration.
    Reload(Box<Config>),
}

/// What a run came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Delivered everywhere.
    pub delivered: u64,
    /// Failed, held or unconfirmed.
    pub failed: u64,
    /// Still waiting.
    pub waiting: u64,
    /// Records rejected in files that were otherwise delivered.
    pub rejected: u64,
    /// Conflicts that wait for an operator.
    pub conflicts: u64,
}

impl Tally {
    /// The exit status of a run: 1 before 3.
    pub fn exit_status(&self) -> u8 {
        if self.failed > 0 || self.conflicts > 0 {
            1
        } else if self.waiting > 0 {
            3
        } else {
            0
        }
    }
}

/// Runs until told to stop, or (`Mode::Once`) until all that is ready was tried once.
pub fn run(world: World, mode: Mode, inbox: (SyncSender<Message>, Receiver<Message>)) -> Result<Tally> {
    let world = Arc::new(world);
    let mut engine = Engine::start(&world, mode, inbox)?;
    let result = engine.turn();
    engine.end();
    result
}

struct Engine {
    world: Arc<World>,
    dispatcher: Dispatcher,
    mode: Mode,
    inbox: Receiver<Message>,
    outbox: SyncSender<Message>,
    work: Option<Sender<(Arc<World>, Work)>>,
    threads: Vec<std::thread::JoinHandle<()>>,
    sources: Sources,
    timetable: Timetable,
    polls: HashMap<String, Instant>,
    tally: Tally,
    /// One connection for all that is looked up at each tick.
    reader: Rc<Reader>,
    /// What was said of waiting jobs, by destination: once for each reason.
    told: HashMap<(crate::job::JobId, Option<usize>), String>,
    /// Jobs that operators put back on their way.
    asked: Vec<Job>,
    /// What was delivered and is looked at again.
    late: Late,
    /// When what is old is removed next.
    house: Instant,
    fatal: Option<Error>,
    status: String,
    status_at: Instant,
}

impl Engine {
    fn start(world: &Arc<World>, mode: Mode, (outbox, inbox): (SyncSender<Message>, Receiver<Message>)) -> Result<Self> {
        let (work, queue) = channel::<(Arc<World>, Work)>();
        let queue = Arc::new(Mutex::new(queue));
        let mut threads = Vec::new();
        for n in 0..world.config.jobs {
            let (queue, outbox) = (queue.clone(), outbox.clone());
            let thread = std::thread::Builder::new().name(format!("worker-{n}")).spawn(move || work_loop(&queue, &outbox));
            threads.push(thread.map_err(|e| Error::relay(format!("can't start a worker: {e}")))?);
        }
        let mut engine = Self {
            world: world.clone(),
            dispatcher: Dispatcher::new(&world.config, mode),
            mode,
            inbox,
            outbox,
            work: Some(work),
            threads,
            sources: Sources::default(),
            timetable: Timetable::new(Instant::now(), &Zoned::now()),
            polls: HashMap::new(),
            tally: Tally::default(),
            reader: Rc::new(world.journal.reader()?),
            told: HashMap::new(),
            asked: Vec::new(),
            late: Late::default(),
            house: Instant::now() + housekeeping::pause(world),
            fatal: None,
            status: String::new(),
            status_at: Instant::now(),
        };
        if mode == Mode::Daemon {
            world.journal.wait_for_room(&world.stop);
        }
        engine.open_sources()?;
        for job in recover::recover(world)? {
            engine.dispatcher.add(job);
        }
        if mode == Mode::Daemon {
            // What was delivered shortly before: the server may have gone down with this host.
            engine.late = Late::recall(&world.config, &engine.reader)?;
        }
        engine.pauses()?;
        Ok(engine)
    }

    /// Opens each route's source, and says when it is looked at first.
    fn open_sources(&mut self) -> Result<()> {
        let now = Instant::now();
        self.sources.clear();
        for route in self.world.config.routes.clone() {
            self.sources.open(&self.world, &route, self.mode, &self.outbox)?;
            self.timetable.strike(&route.name);
            match route.schedule.as_ref().filter(|_| self.mode == Mode::Daemon) {
                Some(schedule) => {
                    self.timetable.enter(&route.name, schedule, now, &Zoned::now());
                    // Every so often, and now: a relay that starts more often than that would never look.
                    if matches!(schedule, Schedule::Every(_)) {
                        self.dispatcher.schedule(&route.name);
                    }
                }
                None if self.mode == Mode::Once => self.dispatcher.schedule(&route.name),
                None => self.dispatcher.hint(&route.name),
            }
            self.polls.insert(route.name.clone(), now + route.source.poll_interval);
        }
        Ok(())
    }

    fn pauses(&mut self) -> Result<()> {
        let reader = self.reader.clone();
        self.halts(&reader)?;
        let paused = reader.paused()?;
        for (name, route) in &mut self.dispatcher.routes {
            route.paused = paused.contains(name);
        }
        Ok(())
    }

    /// A failed file holds the later ones of its route back until it is retried, put back or removed; also after a restart.
    fn halts(&mut self, reader: &Reader) -> Result<()> {
        for route in self.world.config.routes.iter().filter(|r| r.halt_on_error) {
            let failed = reader.in_state(Some(&route.name), State::Failed)?;
            self.dispatcher.set_halted(&route.name, failed.first().copied());
        }
        for (route, sync) in self.world.config.routes.iter().filter_map(|r| Some((r, r.sync.as_ref()?))) {
            let both = [Some(&route.name), sync.opposite.as_ref().map(|o| &o.route)];
            let mut doubtful = Vec::new();
            for name in both.into_iter().flatten() {
                doubtful.extend(reader.in_state(Some(name), State::Unconfirmed)?);
            }
            self.dispatcher.set_doubtful(&sync.group, doubtful.into_iter().min());
        }
        Ok(())
    }

    fn turn(&mut self) -> Result<Tally> {
        let mut last_tick = Instant::now().checked_sub(TICK);
        loop {
            let now = Instant::now();
            if let Some(e) = self.fatal.take() {
                return Err(e);
            }
            if self.world.stop.is_set() {
                if self.mode == Mode::Once {
                    // It was not done yet.
                    self.final_tally();
                    self.tally.waiting = self.tally.waiting.max(1);
                }
                return Ok(self.tally);
            }
            if last_tick.is_none_or(|t| now.saturating_duration_since(t) >= TICK) {
                last_tick = Some(now);
                self.tick(now)?;
            }
            for work in self.dispatcher.work(now) {
                if let Some(sender) = &self.work {
                    // Workers live as long as this sender.
                    let _ = sender.send((self.world.clone(), work));
                }
            }
            if self.mode == Mode::Once && self.dispatcher.idle(Instant::now()) {
                // A look may have found that the failed file which held others back is gone.
                let reader = self.reader.clone();
                self.halts(&reader)?;
                if self.dispatcher.idle(Instant::now()) {
                    self.dispatcher.tell_paused();
                    told(late::once(&self.world))?;
                    told(housekeeping::keep_house(&self.world))?;
                    return Ok(self.final_tally());
                }
            }
            let deadline = self.dispatcher.deadline(now).map_or(TICK, |d| d.saturating_duration_since(now)).min(TICK);
            match self.inbox.recv_timeout(deadline.max(Duration::from_millis(1))) {
                Ok(message) => self.take(message)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(self.tally),
            }
            while let Ok(message) = self.inbox.try_recv() {
                self.take(message)?;
            }
        }
    }

    /// What only time brings: schedules, polls, operators' requests, the status for `passerelle status`.
    fn tick(&mut self, now: Instant) -> Result<()> {
        let wall = Zoned::now();
        let routes = self.world.config.routes.clone();
        if self.timetable.follow(routes.iter().filter_map(|r| Some((r.name.as_str(), r.schedule.as_ref()?))), now, &wall) {
            tracing::warn!("the system's clock was set: schedules follow it, and nothing else does");
            // A clock that is wrong for a moment makes nothing old.
            self.house = now + housekeeping::PAUSE_MAX;
        }
        for route in routes {
            let name = &route.name;
            if let Some(schedule) = &route.schedule {
                if self.timetable.comes(name, schedule, now, &wall) {
                    self.dispatcher.schedule(name);
                }
            } else if self.polls.get(name).is_some_and(|due| now >= *due) && self.mode == Mode::Daemon {
                self.polls.insert(name.clone(), now + route.source.poll_interval);
                if route.source.path.is_dir() && !self.sources.watches(name) {
                    // A folder that has appeared since is taken like one that was there at the start.
                    self.sources.open(&self.world, &route, self.mode, &self.outbox)?;
                }
                self.dispatcher.hint(name);
            }
        }
        let reader = self.reader.clone();
        self.halts(&reader)?;
        for (id, request) in reader.requests()? {
            let (answer, jobs) = operate::carry_out(&self.world, &request)?;
            self.asked.extend(jobs);
            self.dispatcher.lift_waits();
            self.world.pools().for_each(|(_, p)| p.clear());
            self.pauses()?;
            self.world.journal.answer(id, &answer)?;
        }
        // A job whose last step is still to be taken in is added once it is.
        for job in std::mem::take(&mut self.asked) {
            if self.dispatcher.holds(&job.route, job.id) {
                self.asked.push(job);
            } else {
                self.dispatcher.add(job);
            }
        }
        self.late_checks(now)?;
        if self.mode == Mode::Daemon && now >= self.house {
            self.house = now + housekeeping::pause(&self.world);
            if let Some(sender) = &self.work {
                // Workers live as long as this sender.
                let _ = sender.send((self.world.clone(), Work::KeepHouse));
            }
        }
        if now.saturating_duration_since(self.status_at) >= Duration::from_secs(1) || self.status.is_empty() {
            self.status_at = now;
            self.publish_status()?;
            recover::forget_intents(&self.world)?;
        }
        Ok(())
    }

    /// Looks again at what was delivered, some at a time.
    fn late_checks(&mut self, now: Instant) -> Result<()> {
        let mut due = Vec::new();
        for id in self.late.due(now, RUN_MAX) {
            due.extend(self.reader.job(id)?.map(|r| r.job));
        }
        if !due.is_empty()
            && let Some(sender) = &self.work
        {
            // Workers live as long as this sender.
            let _ = sender.send((self.world.clone(), Work::LateCheck(due)));
        }
        Ok(())
    }

    fn publish_status(&mut self) -> Result<()> {
        let status = operate::live_status(&self.world, &self.dispatcher);
        if status != self.status {
            self.world.journal.set_status("live", status.clone())?;
            self.status = status;
        }
        Ok(())
    }

    fn take(&mut self, message: Message) -> Result<()> {
        match message {
            Message::Hint(route) => self.dispatcher.hint(&route),
            Message::Reload(mut config) => {
                if config.home != self.world.config.home {
                    tracing::warn!("home stays {}: a new one is taken at the next start", self.world.config.home.display());
                    let now = &self.world.config;
                    config.home.clone_from(&now.home);
                    (config.archive, config.errors, config.work) = (now.archive.clone(), now.errors.clone(), now.work.clone());
                }
                let before: Vec<String> = self.world.config.routes.iter().map(|r| r.name.clone()).collect();
                self.dispatcher.tell_gone(&config);
                let world = World::new(*config, self.world.journal.clone(), self.world.stop.clone(), Some(&self.world))?;
                self.world = Arc::new(world);
                self.dispatcher.configure(&self.world.config);
                self.open_sources()?;
                self.dispatcher.lift_waits();
                self.pauses()?;
                // Jobs of routes that have come back; a look in hand gives its own jobs itself.
                let mut back: Vec<Job> = self.reader.open_jobs()?;
                back.retain(|j| !before.contains(&j.route) && !self.dispatcher.holds(&j.route, j.id));
                for job in recover::take_up(&self.world, back)? {
                    self.dispatcher.add(job);
                }
            }
            Message::Done(done) => self.done(*done)?,
        }
        Ok(())
    }

    fn done(&mut self, mut done: Done) -> Result<()> {
        match &mut done {
            Done::Looked(route, Err(e)) => {
                if e.blame() == Blame::Relay {
                    self.fatal = Some(e.clone());
                } else if self.dispatcher.routes.get(route).is_some_and(|r| r.blocked.as_ref() != Some(e)) && e.blame() != Blame::Stopped {
                    tracing::warn!(route = *route, "{e}{}", e.remedy());
                }
                // A folder that comes back is another one: it is watched anew.
                self.sources.forget(route);
                let due = Instant::now() + self.world.route(route).map_or(TICK, |r| r.source.poll_interval).min(Duration::from_secs(5));
                if self.mode == Mode::Daemon
                    && let Some(r) = self.dispatcher.routes.get_mut(route)
                {
                    r.due = Some(due);
                }
            }
            Done::Looked(..) => {}
            // Another's end of the relay stays one.
            Done::HouseKept(result) => self.fatal = told(result.clone()).err().or(self.fatal.take()),
            Done::LateChecked(jobs) => jobs.iter().for_each(|(id, pause)| self.late.again(*id, pause.unwrap_or(LATE_AGAIN))),
            Done::Jobs { jobs, failed, .. } => {
                for Failure { at, destination, error } in failed.clone() {
                    match error.blame() {
                        Blame::Relay => self.fatal = Some(error),
                        Blame::Stopped => {}
                        Blame::File if error.kind() == Kind::Held => self.world.record_one(&mut jobs[at], Event::Held { error })?,
                        Blame::File | Blame::Config => self.give_up(&mut jobs[at], destination, error)?,
                        Blame::Endpoint => self.postpone(&mut jobs[at], destination, &error)?,
                    }
                }
                failed.retain(|f| matches!(f.error.blame(), Blame::Relay | Blame::Endpoint));
                for job in jobs {
                    if job.state.at_rest() {
                        self.told.retain(|(id, _), _| *id != job.id);
                        // What is left of it at a remote source goes with the next look.
                        if self.world.route(&job.route).is_some_and(|r| r.source.remote.as_ref().is_some_and(|remote| remote.leave != Leave::Keep)) {
                            self.dispatcher.hint(&job.route);
                        }
                    }
                    self.count(job);
                }
            }
        }
        // Up to a fifth more or less, so that many routes do not knock together.
        let jitter = 0.8 + f64::from(durable::random_bytes::<1>()?[0]) / 255.0 * 0.4;
        let away = |d: &Dispatcher| d.endpoints.values().filter(|e| e.error.is_some()).count();
        let before = away(&self.dispatcher);
        let impatient = self.dispatcher.done(done, Instant::now(), jitter);
        if away(&self.dispatcher) < before {
            self.late.hurry();
        }
        let owed = std::mem::take(&mut *self.world.owed.lock().unwrap_or_else(PoisonError::into_inner));
        owed.into_iter().for_each(|job| self.dispatcher.add(job));
        impatient.into_iter().try_for_each(|(job, destination, error)| self.lose_patience(job, destination, &error))
    }

    fn final_tally(&mut self) -> Tally {
        let blocked = self.dispatcher.routes.values().filter(|r| r.blocked.is_some()).count();
        let gone = self.reader.open_jobs().map_or(0, |jobs| jobs.iter().filter(|j| self.world.route(&j.route).is_none()).count());
        self.tally.waiting = (self.dispatcher.waiting() + blocked + gone) as u64;
        self.tally
    }

    /// Lets the workers end the step in hand.
    fn end(&mut self) {
        self.world.stop.set();
        self.work = None;
        self.sources.clear();
        let end = Instant::now() + Duration::from_secs(9);
        // Facts were recorded by the workers themselves: what they still say is not needed, but they must be able to say it.
        while Instant::now() < end && self.threads.iter().any(|t| !t.is_finished()) {
            let _ = self.inbox.recv_timeout(Duration::from_millis(20));
        }
        // What cannot be told now is not needed to go on.
        let _ = self.world.journal.set_status("last", operate::live_status(&self.world, &self.dispatcher));
        let _ = self.world.journal.set_status("live", String::new());
    }
}

/// Tells what went wrong beside the jobs; only a journal that can't be used ends the relay.
fn told(result: Result<()>) -> Result<()> {
    match result {
        Err(e) if e.blame() == Blame::Relay => Err(e),
        Err(e) if e.blame() != Blame::Stopped => {
            tracing::warn!("{e}{}", e.remedy());
            Ok(())
        }
        _ => Ok(()),
    }
}

/// A bounded inbox for the dispatcher.
pub fn inbox() -> (SyncSender<Message>, Receiver<Message>) {
    sync_channel(4096)
}
