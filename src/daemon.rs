//! `run`: signals, reload, the engine's thread. The only place with an async runtime.

use std::path::PathBuf;

use tokio::signal::unix::{SignalKind, signal};

use crate::config::{self, Config};
use crate::error::{Error, Result};
use crate::journal::Journal;
use crate::relay::World;
use crate::relay::dispatch::Mode;
use crate::relay::engine::{self, Message, Tally};
use crate::relay::sources::lock_home;
use crate::stop::Stop;

/// A stop that takes longer ends the process.
const STOP_TIME_MAX: std::time::Duration = std::time::Duration::from_millis(9_700);

/// What a run is told beside the configuration.
pub struct Run {
    /// Where the configuration lies, for a reload.
    pub file: PathBuf,
    /// Once, or until told to stop.
    pub mode: Mode,
    /// Told about each step of long work.
    pub progress: Option<crate::relay::Progress>,
    /// Set from outside to stop the run.
    pub stop: Stop,
}

/// Runs the relay; gives what it came to.
pub fn run(config: Config, run: Run) -> Result<Tally> {
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    // Watched before anything else begins: a signal that comes early must not end the process its own way.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| Error::relay(format!("can't start: {e}")))?;
    let guard = runtime.enter();
    let watch = |kind| signal(kind).map_err(|e| Error::relay(format!("can't watch for signals: {e}")));
    let (mut term, mut int, mut hup) = (watch(SignalKind::terminate())?, watch(SignalKind::interrupt())?, watch(SignalKind::hangup())?);
    drop(guard);
    let config = config.resolved();
    let _lock = lock_home(&config)??;
    crate::durable::try_out(&config.home, &config.home).map_err(|e| e.blamed_on(crate::error::Blame::Relay))?;
    let (journal, notice) = Journal::open(&config.home)?;
    if let Some(notice) = notice {
        tracing::warn!("{notice}");
    }
    let stop = run.stop.clone();
    if run.mode == Mode::Daemon {
        crate::endpoints::check::at_start(crate::endpoints::check::plans(&config), stop.clone());
    }
    let mut world = World::new(config, journal, stop.clone(), None)?;
    if let Some(progress) = run.progress {
        world.progress = progress;
    }
    let (outbox, inbox) = engine::inbox();
    let (file, mode, to_engine) = (run.file, run.mode, outbox.clone());
    let (ends, mut ended) = tokio::sync::oneshot::channel::<()>();
    let engine = std::thread::Builder::new()
        .name("dispatcher".into())
        .spawn(move || {
            // Dropped at the end, however it comes: that is what the main thread waits for.
            let _ends = ends;
            engine::run(world, mode, (outbox, inbox))
        })
        .map_err(|e| Error::relay(format!("can't start a thread: {e}")))?;
    runtime.block_on(async {
        loop {
            tokio::select! {
                _ = term.recv() => stop_now(&stop),
                _ = int.recv() => stop_now(&stop),
                _ = hup.recv() => reload(&file, &to_engine),
                _ = &mut ended => return,
                () = too_long(&stop) => {
                    // A thread hangs in a system call (a dead mount, say). A killed relay recovers the same way.
                    std::process::exit(0);
                }
            }
        }
    });
    engine
        .join()
        .map_err(|_| Error::relay("the dispatcher stopped by a fault of passerelle").hint("please report it; start again: it goes on where the journal says"))?
}

/// Ends when a stop has taken longer than it may.
async fn too_long(stop: &Stop) {
    stop.wait().await;
    tokio::time::sleep(STOP_TIME_MAX).await;
}

fn stop_now(stop: &Stop) {
    if stop.is_set() {
        // The second time: at once. A killed relay recovers the same way.
        std::process::exit(3);
    }
    tracing::info!("stopping: the steps in hand are finished first");
    stop.set();
}

fn reload(file: &std::path::Path, to_engine: &std::sync::mpsc::SyncSender<Message>) {
    match config::load(file) {
        Ok(config) => {
            let config = config.resolved();
            // The home and the journal are this process's; everything else is taken over.
            if to_engine.try_send(Message::Reload(Box::new(config))).is_ok() {
                tracing::info!("the configuration is reloaded");
            } else {
                tracing::warn!("the configuration could not be handed over: try again");
            }
        }
        Err(e) => tracing::error!("the new configuration is refused, the old one goes on:\n{}", e.message()),
    }
}
