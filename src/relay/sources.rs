//! The local folders of routes while a relay runs: made, tried, locked against a second relay, watched.
//!
//! One route's trouble stops no other route. Only a folder that another relay takes files from ends the start.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use super::World;
use super::dispatch::Mode;
use super::engine::Message;
use crate::config::{Config, OnSuccess, Route};
use crate::durable::{self, Held};
use crate::error::{Error, Kind, Result};
use crate::watch::{self, CLAIMED};

/// What is held of the sources.
#[derive(Default)]
pub(super) struct Sources {
    watchers: HashMap<String, notify::RecommendedWatcher>,
    /// Routes that give no events: said once, and polled.
    unwatchable: HashSet<String>,
    locks: HashMap<PathBuf, File>,
    /// What was said of folders, once.
    told: HashSet<String>,
}

impl Sources {
    /// Makes, tries, locks and watches the source of a route.
    pub(super) fn open(&mut self, w: &World, route: &Arc<Route>, mode: Mode, outbox: &SyncSender<Message>) -> Result<()> {
        let source = &route.source;
        if source.create
            && !source.path.is_dir()
            && let Err(e) = durable::make_folder(&source.path, 0o755)
        {
            // Its look says the same again.
            tracing::error!(route = route.name, "{e}{}", e.remedy());
        }
        self.lock(w, route)?;
        self.lock_remote(w, route)?;
        if mode == Mode::Daemon {
            self.watch(w, route, outbox);
        }
        Ok(())
    }

    /// Forgets what was locked and watched, for a new configuration.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// A folder that was in trouble may be another one when it is back: it is watched anew.
    pub(super) fn forget(&mut self, route: &str) {
        self.watchers.remove(route);
        self.unwatchable.remove(route);
    }

    /// Whether a source gives events.
    pub(super) fn watches(&self, route: &str) -> bool {
        self.watchers.contains_key(route)
    }

    fn lock(&mut self, w: &World, route: &Route) -> Result<()> {
        let claimed = route.source.path.join(CLAIMED);
        if route.source.on_success == OnSuccess::Keep || !route.source.path.is_dir() || self.locks.contains_key(&claimed) {
            return Ok(());
        }
        let locked = durable::make_folder(&claimed, 0o700).and_then(|()| durable::lock(&claimed));
        match locked {
            Ok(Held::Ours(file)) => {
                self.locks.insert(claimed, file);
                self.try_out(w, route);
                Ok(())
            }
            Ok(Held::By(other)) => Err(taken_by(&other, &crate::error::shown(&route.source.path), w, route)),
            Err(e) => {
                tracing::error!(route = route.name, "{e}{}", e.remedy());
                Ok(())
            }
        }
    }

    /// The same for a folder on a server, as far as relays of this user on this host go: no protocol has a lock that a crash
    /// would lift.
    fn lock_remote(&mut self, w: &World, route: &Route) -> Result<()> {
        let Some(remote) = route.source.remote.as_ref().filter(|_| !route.source.leaves_files()) else { return Ok(()) };
        let server = &remote.endpoint;
        let place = format!("{}\n{}\n{}\n{}\n{}", server.host(), server.port(), server.user, server.url.path(), remote.path);
        let uid = rustix::process::getuid().as_raw();
        let own = std::env::temp_dir().join(format!("passerelle-{uid}"));
        let folder = own.join(format!("{:016x}", xxhash_rust::xxh3::xxh3_64(place.as_bytes())));
        if self.locks.contains_key(&folder) {
            return Ok(());
        }
        // One that somebody else has put there is not trusted.
        let is_ours = |_: &()| own.symlink_metadata().is_ok_and(|m| m.is_dir() && std::os::unix::fs::MetadataExt::uid(&m) == uid);
        let made = durable::make_folder(&folder, 0o700);
        if !made.as_ref().is_ok_and(is_ours) {
            return Ok(());
        }
        match durable::lock(&folder) {
            Ok(Held::Ours(file)) => drop(self.locks.insert(folder, file)),
            Ok(Held::By(other)) => {
                let from = format!("{} of {}", if remote.path.is_empty() { "the folder" } else { &remote.path }, server.name);
                return Err(taken_by(&other, &from, w, route));
            }
            // A host without such a folder has no second relay to be kept away.
            Err(e) => tracing::debug!("{e}"),
        }
        Ok(())
    }

    /// Tries a real rename and sync from the source to where its files go, which shows missing rights, a read-only mount, a
    /// full disk and another file system before the first file does.
    fn try_out(&mut self, w: &World, route: &Route) {
        let source = &route.source.path;
        for folder in [source.clone(), w.config.archive.clone(), w.config.errors.clone()] {
            let tried = match durable::try_out(&source.join(CLAIMED), &folder) {
                Ok(()) => None,
                Err(e) if e.kind() == Kind::OtherDevice && folder != *source => {
                    let notice = format!(
                        "{} lies on another file system than {}: files are copied there, synced and compared before the original goes",
                        crate::error::shown(&folder),
                        crate::error::shown(source)
                    );
                    if self.told.insert(notice.clone()) {
                        tracing::info!(route = route.name, "{notice}");
                    }
                    None
                }
                Err(e) => Some(e),
            };
            if let Some(e) = tried {
                tracing::warn!(route = route.name, "{e}{}", e.remedy());
            }
        }
    }

    /// Watches a source for native events, where there are any.
    pub(super) fn watch(&mut self, w: &World, route: &Arc<Route>, outbox: &SyncSender<Message>) {
        if route.schedule.is_some() || self.watches(&route.name) || !self.unwatchable.insert(route.name.clone()) {
            return;
        }
        let (name, outbox) = (route.name.clone(), outbox.clone());
        let wake = move || {
            // A full inbox means that the dispatcher is awake and will see the dirty flag of a later hint; the rescan is the truth.
            let _ = outbox.try_send(Message::Hint(name.clone()));
        };
        match w.with_memory(&route.name, |m| watch::wake(&route.source, m, wake)) {
            Ok(Some(watcher)) => {
                self.unwatchable.remove(&route.name);
                self.watchers.insert(route.name.clone(), watcher);
            }
            Ok(None) => tracing::info!(route = route.name, "the source is polled every {:?}", route.source.poll_interval),
            Err(why) => tracing::warn!(route = route.name, "{why}"),
        }
    }
}

fn taken_by(other: &str, from: &str, w: &World, route: &Route) -> Error {
    Error::relay(format!("another relay ({other}) already takes files from {from}")).hint(format!(
        "stop that one, or give this one (home {}, route {}) another source",
        crate::error::shown(&w.config.home),
        route.name
    ))
}

/// The lock of a home; it ends with the relay.
#[derive(Debug)]
pub struct HomeLock(#[allow(dead_code)] File);

/// Whether a relay runs with a home.
pub fn is_running(home: &Path) -> Result<bool> {
    Ok(home.is_dir() && durable::is_locked(home)?)
}

/// Makes the folders of a home and locks it; refuses when another relay has it.
pub fn lock_home(config: &Config) -> Result<std::result::Result<HomeLock, Error>> {
    let relay = |e: Error| e.blamed_on(crate::error::Blame::Relay);
    let home = &config.home;
    durable::make_folder(home, 0o750).map_err(relay)?;
    durable::make_folder(&config.work, 0o700).map_err(relay)?;
    for folder in [&config.archive, &config.errors] {
        durable::make_folder(folder, durable::folder_mode(config.archive_mode)).map_err(relay)?;
    }
    Ok(match durable::lock(home).map_err(relay)? {
        Held::Ours(file) => Ok(HomeLock(file)),
        Held::By(other) => Err(Error::relay(format!("another relay already runs with home {} ({other})", crate::error::shown(home)))
            .hint("stop it first, or give this one another home; `passerelle status` shows what it does")),
    })
}
