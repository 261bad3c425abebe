//! The wish to stop: checked by threads between chunks, awaited by the async main thread.
//!
//! It never interrupts a system call; every blocking call has its own time limit instead.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};

/// A token that many hold and one sets.
#[derive(Clone, Debug, Default)]
pub struct Stop(CancellationToken);

impl Stop {
    /// A token that nobody has set yet.
    pub fn new() -> Self {
        Self::default()
    }
    /// One that is set with this one, and may be set alone.
    pub fn child(&self) -> Self {
        Self(self.0.child_token())
    }
    /// Tells all holders to stop.
    pub fn set(&self) {
        self.0.cancel();
    }
    /// Whether somebody asked to stop.
    pub fn is_set(&self) -> bool {
        self.0.is_cancelled()
    }
    /// An error as soon as somebody asked to stop: for use with `?` between chunks.
    pub fn check(&self) -> Result<()> {
        if self.is_set() { Err(Error::stopped()) } else { Ok(()) }
    }
    /// Sleeps for `time`, or less when somebody asks to stop; tells whether it slept to the end.
    pub fn sleep(&self, time: Duration) -> bool {
        // A thread can't await the token; twenty looks a second cost nothing and stop soon enough.
        let end = Instant::now() + time;
        while !self.is_set() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            std::thread::sleep(left.min(Duration::from_millis(50)));
        }
        false
    }
    /// Waits, on an async task, until somebody asks to stop.
    pub async fn wait(&self) {
        self.0.cancelled().await;
    }
}
