//! Connections that are kept for the next file, and the rate that an endpoint's files share.
//!
//! A connection goes back only after a call that succeeded; a broken one is dropped. How many may be open at once is
//! the dispatcher's to grant, which knows who waits.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::veil::Veil;
use super::{Endpoint, Resumes, Session};
use crate::config::EndpointConfig;
use crate::error::{Blame, Error, Kind, Result};
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

/// The sessions of an endpoint.
#[derive(Default)]
struct Sessions {
    idle: Vec<Idle>,
    /// So many are in use.
    used: usize,
    /// The server took no more than that, and when it refused one more.
    most: Option<(usize, Instant)>,
}

/// A session in use: what it is used for may end in a panic.
struct InUse<'p>(&'p Pool);

impl Drop for InUse<'_> {
    fn drop(&mut self) {
        self.0.sessions().used -= 1;
        self.0.back.notify_all();
    }
}

/// How long a server is believed to take fewer connections than were configured.
const FEWER_FOR: Duration = Duration::from_secs(60);

/// What to do about an answer that nothing more is known of.
const KEEPER: &str = "what it means, the server's keeper knows: give these words";

/// So long one of those that are in use is waited for.
const PATIENCE: Duration = Duration::from_secs(300);

/// An endpoint's connections.
pub struct Pool {
    /// Its configuration; none: local folders.
    pub config: Option<Arc<EndpointConfig>>,
    endpoint: Arc<dyn Endpoint>,
    sessions: Mutex<Sessions>,
    /// A session was given back.
    back: Condvar,
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
        Self {
            config: None,
            endpoint: Arc::new(super::local::Local),
            sessions: Mutex::default(),
            back: Condvar::new(),
            logins: Mutex::default(),
            rate: None,
            veil: Veil::default(),
        }
    }
    /// The pool of a server.
    pub fn new(config: &Arc<EndpointConfig>) -> Result<Self> {
        Ok(Self {
            endpoint: super::open(config)?,
            sessions: Mutex::default(),
            back: Condvar::new(),
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
            let (mut session, used) = self.session(stop)?;
            let result = work(&mut *session);
            if result.is_ok() {
                self.sessions().idle.push(Idle { session, since: Instant::now() });
            }
            drop(used);
            result
        };
        run().map_err(|e| self.told(e))
    }

    /// A kept session or a new one. A server that refuses one more, while others are in use, takes fewer at once than were
    /// configured: then one of those is waited for.
    fn session(&self, stop: &Stop) -> Result<(Box<dyn Session>, InUse<'_>)> {
        let asked = Instant::now();
        let mut sessions = self.sessions();
        loop {
            sessions.idle.retain(|i| i.since.elapsed() < IDLE_MAX);
            while let Some(mut idle) = sessions.idle.pop() {
                // A server that cuts idle connections sooner: no file has to find that out.
                if idle.session.is_over() {
                    continue;
                }
                sessions.used += 1;
                return Ok((idle.session, InUse(self)));
            }
            let full = sessions.most.is_some_and(|(most, at)| sessions.used >= most && at.elapsed() < FEWER_FOR);
            if sessions.used > 0 && full && asked.elapsed() <= PATIENCE {
                stop.check()?;
                sessions = self.back.wait_timeout(sessions, Duration::from_millis(100)).unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            drop(sessions);
            let connected = self.connect(stop);
            sessions = self.sessions();
            let error = match connected {
                Ok(session) => {
                    sessions.used += 1;
                    return Ok((session, InUse(self)));
                }
                Err(error) => error,
            };
            let one_more = matches!(error.step(), Some("port" | "handshake" | "login")) && error.blame() == Blame::Endpoint;
            if sessions.used == 0 || !one_more || asked.elapsed() > PATIENCE {
                return Err(error);
            }
            if sessions.most.is_none_or(|(_, at)| at.elapsed() >= FEWER_FOR) {
                tracing::info!("{} takes no more than {} connections at once: {error}", self.config.as_ref().map_or("", |c| c.name.as_str()), sessions.used);
            }
            sessions.most = Some((sessions.used, Instant::now()));
        }
    }

    /// An error of a file among others, as [`Pool::with`] gives that of all.
    pub fn told(&self, e: Error) -> Error {
        match &self.config {
            Some(config) => {
                let e = if e.blame() == Blame::Endpoint { e.hint(KEEPER) } else { e };
                e.on_endpoint(&config.name).covered(|text| self.veil.over(text))
            }
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
            // What is refused while others are logged in is one connection more, and no password.
            Err(e) if e.kind() == Kind::Login && !(logins.taken && self.sessions().used > 0) => {
                *logins = Logins { taken: false, refused: Some((Instant::now(), e.clone())) }
            }
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

    fn sessions(&self) -> std::sync::MutexGuard<'_, Sessions> {
        // A panic elsewhere can't leave a list of sessions half changed.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes what is idle: after an error, the next connection is a new one.
    pub fn clear(&self) {
        self.logins.lock().unwrap_or_else(PoisonError::into_inner).refused = None;
        let closed: Vec<Idle> = std::mem::take(&mut self.sessions().idle);
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
