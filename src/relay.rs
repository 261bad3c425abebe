//! The engine: what the dispatcher grants, a worker does, step by step, and every fact goes through [`World::record`].
//!
//! ```text
//! claimed ─► transforming ─► delivering ─► delivered          errors: failed ─► (retry) claimed
//!    └──────────┴───────────────┴──► waiting ──┘              held, unconfirmed: an operator decides
//! ```
//! It knows every port below it (journal, folders, endpoints) and nothing above it (signals, terminal, web).

mod claims;
pub mod conflicts;
pub mod dispatch;
pub mod engine;
mod hashing;
mod hook;
pub mod housekeeping;
pub mod intake;
pub mod intents;
mod late;
pub mod memory;
pub mod operate;
pub mod publish;
mod rebuild;
pub mod recover;
mod remote;
pub mod sources;
pub mod steps;
mod timetable;
mod worker;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;

use crate::config::{Config, DestinationConfig, Route};
use crate::durable;
use crate::endpoints::Session;
use crate::endpoints::pool::Pool;
use crate::error::{Error, Kind, Result};
use crate::job::{Event, Job, JobId, Name};
use crate::journal::{self, Fact, Journal, NewJob};
use crate::points;
use crate::stop::Stop;
use crate::watch::{CLAIMED, Memory};
use intents::Intents;

/// The key under which local folders' trouble is kept, one a folder: a full disk under one says nothing of another.
pub fn endpoint_key(d: &DestinationConfig) -> String {
    match &d.endpoint {
        Some(e) => e.name.clone(),
        None => format!("local:{}", d.path),
    }
}

/// Is told the job and the bytes that moved, at each step of long work.
pub type Progress = Arc<dyn Fn(&Job, u64) + Send + Sync>;

/// All that a worker needs. A reload makes a new one; work in hand keeps the one it began with.
pub struct World {
    /// The configuration.
    pub config: Arc<Config>,
    /// The journal.
    pub journal: Journal,
    /// What was about to be published, beside the journal.
    pub intents: Arc<Intents>,
    /// Connections, by endpoint key.
    pools: HashMap<String, Arc<Pool>>,
    /// When each server refused a connection last, by endpoint key: it was restarted, or its host was.
    refusals: Arc<Mutex<HashMap<String, Timestamp>>>,
    /// When this relay started.
    began: Timestamp,
    /// Claims that wait for a sync.
    unsynced: Arc<claims::Unsynced>,
    /// The wish to stop.
    pub stop: Stop,
    /// What looks remember, by route.
    pub watches: HashMap<String, Arc<Mutex<Memory>>>,
    /// The times that originals have got on their shares since they were sealed, though their bytes are the same.
    pub other_times: Mutex<HashMap<JobId, i128>>,
    /// Code tables read from files, and what the file was like then.
    pub lookups: steps::LookupCache,
    /// Held while it is found out whether a file is one that was relayed before.
    pub(super) sealing: Mutex<()>,
    /// Jobs that ended jobs have brought about, on their way to the dispatcher.
    pub(super) owed: Arc<Mutex<Vec<Job>>>,
    /// Told about each step of long work: the job and the bytes moved.
    pub progress: Progress,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "relay at {}", self.config.home.display())
    }
}

impl World {
    /// The world of a configuration whose folders are resolved. Memories of looks are taken over from the world before, if there is one.
    pub fn new(config: Config, journal: Journal, stop: Stop, before: Option<&World>) -> Result<Self> {
        let config = Arc::new(config);
        let mut pools = HashMap::new();
        for d in config.routes.iter().flat_map(|r| &r.destinations) {
            let key = endpoint_key(d);
            if let std::collections::hash_map::Entry::Vacant(place) = pools.entry(key) {
                let pool = match &d.endpoint {
                    Some(e) => Pool::new(e)?,
                    None => Pool::local(),
                };
                place.insert(Arc::new(pool));
            }
        }
        for remote in config.routes.iter().filter_map(|r| r.source.remote.as_ref()) {
            if let std::collections::hash_map::Entry::Vacant(place) = pools.entry(remote.endpoint.name.clone()) {
                place.insert(Arc::new(Pool::new(&remote.endpoint)?));
            }
        }
        let watches = config.routes.iter().map(|r| (r.name.clone(), before.and_then(|b| b.watches.get(&r.name)).cloned().unwrap_or_default())).collect();
        let refusals = before.map(|b| b.refusals.clone()).unwrap_or_default();
        let began = before.map_or_else(Timestamp::now, |b| b.began);
        let unsynced = before.map(|b| b.unsynced.clone()).unwrap_or_default();
        let intents = match before {
            Some(b) => b.intents.clone(),
            None => Arc::new(Intents::open(&config.home)?),
        };
        let progress = before.map_or_else(|| Arc::new(|_: &Job, _: u64| {}) as Progress, |b| b.progress.clone());
        Ok(Self {
            config,
            journal,
            intents,
            pools,
            refusals,
            began,
            unsynced,
            stop,
            watches,
            other_times: Mutex::default(),
            sealing: Mutex::default(),
            owed: before.map(|b| b.owed.clone()).unwrap_or_default(),
            lookups: steps::LookupCache::default(),
            progress,
        })
    }

    /// The route of that name.
    pub fn route(&self, name: &str) -> Option<&Arc<Route>> {
        self.config.routes.iter().find(|r| r.name == name)
    }

    /// The route of a job, which the configuration may have lost since.
    pub fn route_of(&self, job: &Job) -> Result<&Arc<Route>> {
        self.route(&job.route)
            .ok_or_else(|| Error::endpoint(format!("the configuration has no route {} any more", job.route)).hint("put the route back, and the job goes on"))
    }

    /// The connections for a destination.
    pub fn pool(&self, d: &DestinationConfig) -> Result<&Arc<Pool>> {
        self.pools.get(&endpoint_key(d)).ok_or_else(|| Error::relay(format!("there is no pool for {}", endpoint_key(d))))
    }

    /// The connections of an endpoint.
    pub fn pool_of(&self, endpoint: &str) -> Result<&Arc<Pool>> {
        self.pools.get(endpoint).ok_or_else(|| Error::relay(format!("there is no pool for {endpoint}")))
    }

    /// Runs `work` on a connection for a destination; remembers when the server refuses one.
    pub fn with_session<T>(&self, d: &DestinationConfig, work: impl FnOnce(&mut dyn Session) -> Result<T>) -> Result<T> {
        let result = self.pool(d)?.with(&self.stop, work);
        if let Err(e) = &result
            && e.kind() == Kind::Refused
        {
            self.refusals.lock().unwrap_or_else(PoisonError::into_inner).insert(endpoint_key(d), Timestamp::now());
        }
        result
    }

    /// Whether a destination's server refused a connection since that time: it may have lost what it had not synced.
    pub fn restarted_since(&self, d: &DestinationConfig, time: Option<Timestamp>) -> bool {
        let last = self.refusals.lock().unwrap_or_else(PoisonError::into_inner).get(&endpoint_key(d)).copied();
        // A clock that was set back since tells nothing of what came first.
        last.is_some_and(|last| time.is_none_or(|t| last >= t || Timestamp::now() < t))
    }

    /// All pools.
    pub fn pools(&self) -> impl Iterator<Item = (&String, &Arc<Pool>)> {
        self.pools.iter()
    }

    /// Records facts about jobs, all in one commit: legality first, then the journal, then memory. Nobody else may write
    /// to the journal's events.
    pub fn record(&self, facts: Vec<(&mut Job, Event)>) -> Result<()> {
        self.record_after(Vec::new(), facts)
    }

    /// The same, after facts that were taken ahead.
    pub fn record_after(&self, mut ahead: Vec<Fact>, facts: Vec<(&mut Job, Event)>) -> Result<()> {
        let mut jobs = Vec::with_capacity(facts.len());
        for (job, event) in facts {
            let mut next = job.clone();
            ahead.extend(take_ahead(&mut next, vec![event])?);
            jobs.push((job, next));
        }
        if ahead.is_empty() {
            return Ok(());
        }
        self.commit(ahead)?;
        for (job, next) in jobs {
            *job = next;
        }
        Ok(())
    }

    /// Records facts about one job that belong together, in one commit.
    pub fn record_all(&self, job: &mut Job, events: Vec<Event>) -> Result<()> {
        let mut next = job.clone();
        self.commit(take_ahead(&mut next, events)?)?;
        *job = next;
        Ok(())
    }

    /// Notes jobs that are about to be claimed; gives their numbers.
    pub fn create(&self, new: Vec<NewJob>) -> Result<Vec<Job>> {
        self.create_at(new, Timestamp::now())
    }

    /// The same for files that were claimed at that time.
    pub fn create_at(&self, new: Vec<NewJob>, at: Timestamp) -> Result<Vec<Job>> {
        points::io("claiming", Path::new("journal"), || Ok(self.journal.create(new, at))).map_err(|e| unwritable(&e))?
    }

    fn commit(&self, facts: Vec<Fact>) -> Result<()> {
        if facts.is_empty() {
            return Ok(());
        }
        let mut names: Vec<&'static str> = facts.iter().map(|f| f.event.word()).collect();
        names.dedup();
        let lines = intents::lines_of(&facts);
        let mut recorded = Ok(());
        let commit = || {
            // Side by side: what follows waits for both, and each alone is harmless.
            let journal = self.journal.record(facts);
            let noted = self.intents.write(&lines);
            recorded = journal.and_then(journal::Pending::wait).and(noted);
            Ok(())
        };
        points::act(&names.join("+"), Path::new("journal"), commit).map_err(|e| unwritable(&e))?;
        recorded
    }

    /// Records one fact.
    pub fn record_one(&self, job: &mut Job, event: Event) -> Result<()> {
        self.record(vec![(job, event)])
    }

    /// Where a job's original lies while the job is open.
    pub fn original(&self, job: &Job) -> Result<PathBuf> {
        let route = self.route_of(job)?;
        let kept = route.source.on_success == crate::config::OnSuccess::Keep || job.replay_of.is_some();
        Ok(if kept { self.work(job).join("original") } else { self.claimed(route, job) })
    }

    /// Where a claimed file lies: with its source, or where that was when it was sealed.
    pub fn claimed(&self, route: &Route, job: &Job) -> PathBuf {
        let name = job.claimed_name();
        let name = name.path();
        let here = route.source.path.join(CLAIMED);
        match job.seal.as_ref().and_then(|seal| seal.folder.as_ref()).map(Name::path) {
            Some(before) if before != here && !durable::exists(&here.join(name)) && durable::exists(&before.join(name)) => before.join(name),
            _ => here.join(name),
        }
    }

    /// The folder of what a job has made so far.
    pub fn work(&self, job: &Job) -> PathBuf {
        self.config.work.join(job.id.to_string())
    }

    /// The errors folder of a job, with the relative folder of a recursive source.
    pub fn errors(&self, route: &str, file: &Name) -> PathBuf {
        self.config.errors.join(route).join(Name(file.folder().to_vec()).path())
    }

    /// The memory of looks at a route.
    pub fn with_memory<T>(&self, route: &str, work: impl FnOnce(&mut Memory) -> T) -> T {
        match self.watches.get(route) {
            Some(memory) => work(&mut memory.lock().unwrap_or_else(PoisonError::into_inner)),
            None => work(&mut Memory::default()),
        }
    }
}

/// Applies facts to a job before they are recorded, and gives what is to be recorded. Nothing irrevocable may be done on
/// their ground.
pub fn take_ahead(job: &mut Job, events: Vec<Event>) -> Result<Vec<Fact>> {
    let at = Timestamp::now();
    let mut facts = Vec::with_capacity(events.len());
    for event in events {
        job.apply(&event, at)
            .map_err(|e| Error::relay(e.to_string()).hint("this is a fault of passerelle: please report it with `passerelle show JOB --json`"))?;
        facts.push(Fact { job: job.clone(), event, at });
    }
    Ok(facts)
}

fn unwritable(e: &std::io::Error) -> Error {
    Error::relay(format!("the journal can't be written: {}", crate::error::reason(e)))
        .hint("see the cause, then start again: it goes on where the journal says")
}
