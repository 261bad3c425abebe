//! What the dispatcher hands out, and what it gets back.

use std::time::{Duration, Instant};

use crate::error::{Error, Kind};
use crate::job::{Job, JobId};
use crate::watch::{LookFor, Stuck};

/// One thing for a worker to do.
#[derive(Debug)]
pub enum Work {
    /// Look at a route's source, and claim at most so many.
    Look {
        /// The route.
        route: String,
        /// What for, and at most so many.
        what: (LookFor, usize),
        /// The route's `before` command runs first.
        scheduled: bool,
    },
    /// Seal and transform a run, and go on so far.
    Prepare(Vec<Job>, Reach),
    /// Seal and compare the last of these exports of a synchronised route; those before it are given up if it is good.
    PrepareNewest(Vec<Job>),
    /// Send one delivery, over so many connections at most.
    Upload(Job, usize, usize),
    /// Publish a run at this destination.
    Publish(Vec<Job>, usize),
    /// Find out what became of a rename.
    Resolve(Job, usize),
    /// Put originals where they belong.
    Finish(Vec<Job>),
    /// Put into `errors`.
    Fail(Job),
    /// Look again at what was delivered.
    LateCheck(Vec<Job>),
    /// Remove what is old.
    KeepHouse,
}

/// How far a job goes in one go. What is small and goes to one place need not be handed around, nor committed, in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// Until B's file is made.
    Prepared,
    /// Until it is at B under its temporary name.
    Uploaded,
    /// Until it is published: no other file of the route waits for its turn.
    Published,
}

/// What a look came to.
#[derive(Debug, Default)]
pub struct LookResult {
    /// The jobs that were claimed.
    pub claimed: Vec<Job>,
    /// Ready, but not claimed yet.
    pub left: usize,
    /// Passed over.
    pub passed_over: u64,
    /// There, and they can't be taken.
    pub stuck: Stuck,
    /// When to look again.
    pub again: Option<Duration>,
}

/// A job of a run that could not go on.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Its place in the run.
    pub at: usize,
    /// The destination that it failed at; none: before it came to one.
    pub destination: Option<usize>,
    /// Why.
    pub error: Error,
}

/// What a worker gives back.
#[derive(Debug)]
pub enum Done {
    /// A look.
    Looked(String, Result<LookResult, Error>),
    /// Jobs, as they are now, and which failed. `destination` is what was worked on.
    Jobs {
        /// All that were given.
        jobs: Vec<Job>,
        /// Which failed, and why.
        failed: Vec<Failure>,
        /// The destination that was worked on.
        destination: Option<usize>,
    },
    /// Late checks: the jobs to look at once more, and when; none: when the server answers again.
    LateChecked(Vec<(JobId, Option<Duration>)>),
    /// What is old was removed, or why not.
    HouseKept(Result<(), Error>),
}

/// What is known of an endpoint.
#[derive(Debug, Default)]
pub struct EndpointState {
    /// Works that use it now.
    pub in_flight: usize,
    /// Nobody tries it before this time.
    pub down_until: Option<Instant>,
    /// Failures in a row.
    pub failures: u32,
    /// The last failure.
    pub error: Option<Error>,
    /// It answered since the relay began.
    pub up: bool,
    /// Since when it is as it is.
    pub since: Option<jiff::Timestamp>,
}

impl EndpointState {
    /// Takes in that a source on it was looked at, or why it could not be. How deliveries wait for it is not changed by that.
    pub(super) fn looked(&mut self, failed: Option<&Error>) {
        let before = (self.up, self.error.is_some());
        match failed {
            None if self.down_until.is_none() => (self.error, self.up) = (None, true),
            Some(e) if is_the_servers(e, true) || e.kind() == Kind::Lost => self.error = Some(e.clone()),
            // What concerns one folder, or this host, says nothing of the server.
            None | Some(_) => {}
        }
        if before != (self.up, self.error.is_some()) {
            self.since = Some(jiff::Timestamp::now());
        }
    }
}

/// Whether everything is tried once, or for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Until told to stop.
    Daemon,
    /// What is ready now.
    Once,
}

/// Whether a failure is the whole server's, so that nobody else need try it now. A single run tries every file, unless
/// the server can't be reached or refuses the login.
pub(super) fn is_the_servers(e: &Error, once: bool) -> bool {
    if e.blame() != crate::error::Blame::Endpoint {
        return false;
    }
    let unreachable = matches!(e.step(), Some("name" | "port" | "handshake" | "login")) || e.kind() == Kind::Login;
    // A server that says when to come again means all of its clients.
    let asks = !e.pause().is_zero();
    unreachable || asks || (!once && matches!(e.kind(), Kind::Lost | Kind::Full))
}
