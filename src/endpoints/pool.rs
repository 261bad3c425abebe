//! Connections that are kept for the next file, and the rate that an endpoint's files share.
//!
//! A connection goes back only after a call that succeeded; a broken one is dropped. How many may be open at once is
//! the dispatcher's to grant, which knows who waits.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::veil::Veil;
use super::{Endpoint, Resumes, Session};
use crate::config::EndpointConfig;
use crate::error::{Error, Kind, Result};
use crate::stop::Stop;

/// An idle connection older than this is closed rather than used again: most servers cut idle ones after five minutes.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// So long a refused login stands for those that begin meanwhile, unless somebody asks for another. The dispatcher, once it
/// knows, waits much longer.
const REFUSED_FOR: Duration = Duration::from_secs(5);

struct Idle {
    session: Box<dyn Session>,
    since: Instant,
}

/// What became of the logins at an endpoint.
#[derive(Default)]
struct Logins {
    /// The last one was taken.
    taken: bool,
    /// When one was refused last, and why.
    refused: Option<(Instant, Error)>,
}

/// An endpoint's connections.
pub struct Pool {
    /// Its configuration; none: local folders.
    pub config: Option<Arc<EndpointConfig>>,
    endpoint: Arc<dyn Endpoint>,
    idle: Mutex<Vec<Idle>>,
    logins: Mutex<Logins>,
    rate: Option<Rate>,
    veil: Veil,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.config.as_ref().map_or("local", |c| c.name.as_str()))
    }
}

impl Pool {
    /// The pool of local folders.
    pub fn local() -> Self {
        Self { config: None, endpoint: Arc::new(super::local::Local), idle: Mutex::default(), logins: Mutex::default(), rate: None, veil: Veil::default() }
    }
    /// The pool of a server.
    pub fn new(config: &Arc<EndpointConfig>) -> Result<Self> {
        Ok(Self {
            endpoint: super::open(config)?,
            idle: Mutex::default(),
            logins: Mutex::default(),
            rate: config.limit_rate.map(Rate::new),
            veil: Veil::of(config),
            config: Some(config.clone()),
        })
    }
    /// Files go straight to their final name.
    pub fn direct(&self) -> bool {
        self.endpoint.direct()
    }
    /// A cut request may be sent again.
    pub fn repeatable(&self) -> bool {
        self.endpoint.repeatable()
    }
    /// How a file that is there may be written on.
    pub fn resumes(&self) -> Resumes {
        self.endpoint.resumes()
    }
    /// The rate its files share.
    pub fn rate(&self) -> Option<&Rate> {
        self.rate.as_ref()
    }

    /// Runs `work` on a connection, a kept one or a new one. The connection is kept only if the work succeeded. What the
    /// server says in an error leaves here without the endpoint's secrets.
    pub fn with<T>(&self, stop: &Stop, work: impl FnOnce(&mut dyn Session) -> Result<T>) -> Result<T> {
        let run = || {
            let mut session = match self.take() {
                Some(session) => session,
                None => self.connect(stop)?,
            };
            let result = work(&mut *session);
            if result.is_ok() {
                self.idle().push(Idle { session, since: Instant::now() });
            }
            result
        };
        run().map_err(|e| self.told(e))
    }

    /// An error of a file among others, as [`Pool::with`] gives that of all.
    pub fn told(&self, e: Error) -> Error {
        match &self.config {
            Some(config) => e.on_endpoint(&config.name).covered(|text| self.veil.over(text)),
            None => e,
        }
    }

    /// Connects and logs in. As long as no login was taken, one is tried at a time, and those that waited for one that was
    /// refused are refused with it: a wrong password on every connection at once would lock an account.
    fn connect(&self, stop: &Stop) -> Result<Box<dyn Session>> {
        let asked = Instant::now();
        let logins = || self.logins.lock().unwrap_or_else(PoisonError::into_inner);
        let mut turn = None;
        let session = self.endpoint.connect(stop, &mut |step, _| {
            if step == "handshake" && turn.is_none() {
                let logins = logins();
                match &logins.refused {
                    Some((at, e)) if *at + REFUSED_FOR >= asked => return Err(e.clone()),
                    _ if logins.taken => {}
                    _ => turn = Some(logins),
                }
            }
            Ok(())
        });
        let mut logins = turn.unwrap_or_else(logins);
        match &session {
            Ok(_) => logins.taken = true,
            Err(e) if e.kind() == Kind::Login => *logins = Logins { taken: false, refused: Some((Instant::now(), e.clone())) },
            Err(_) => {}
        }
        drop(logins);
        session.map(|session| self.numbered(session))
    }

    /// What a local session does is numbered where it is done.
    #[cfg(debug_assertions)]
    fn numbered(&self, session: Box<dyn Session>) -> Box<dyn Session> {
        if self.config.is_some() { Box::new(super::numbered::Numbered(session)) } else { session }
    }

    #[cfg(not(debug_assertions))]
    fn numbered(&self, session: Box<dyn Session>) -> Box<dyn Session> {
        session
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Idle>> {
        // A panic elsewhere can't leave a list of sessions half changed.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Option<Box<dyn Session>> {
        let mut idle = self.idle();
        idle.retain(|i| i.since.elapsed() < IDLE_MAX);
        idle.pop().map(|i| i.session)
    }

    /// Closes what is idle: after an error, the next connection is a new one.
    pub fn clear(&self) {
        self.logins.lock().unwrap_or_else(PoisonError::into_inner).refused = None;
        let closed: Vec<Idle> = self.idle().drain(..).collect();
        drop(closed);
    }
}

/// A rate in bytes a second that several streams share.
#[derive(Debug)]
pub struct Rate {
    bytes_per_second: u64,
    free_at: Mutex<Instant>,
}

impl Rate {
    /// So many bytes a second.
    pub fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second, free_at: Mutex::new(Instant::now()) }
    }
    /// How much may be read at once, so that the rate is even: a tenth of a second's worth.
    pub fn slice(&self) -> usize {
        usize::try_from(self.bytes_per_second / 10).unwrap_or(usize::MAX).max(1)
    }
    /// Waits until so many bytes may go.
    pub fn spend(&self, bytes: usize, stop: &Stop) {
        let time = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        let wait = {
            let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
            let start = (*free_at).max(Instant::now());
            *free_at = start + time;
            free_at.saturating_duration_since(Instant::now())
        };
        stop.sleep(wait);
    }
}
