//! Tells of a job that waits for an earlier one of its route what it waits for. The journal knows of each job alone.

use std::collections::HashMap;

use crate::config::Config;
use crate::error::Result;
use crate::job::{Job, JobId, Progress, State};
use crate::journal::Reader;
use crate::relay::dispatch::halted_by;

/// The first job of a route that holds later ones back.
#[derive(Clone)]
enum Holder {
    /// It waits itself, for this.
    Waits(JobId, String),
    /// It failed, and `on_error` is "halt".
    Failed(JobId),
}

fn is_sent(job: &Job) -> bool {
    !job.deliveries.is_empty() && job.deliveries.iter().all(|d| d.progress != Progress::Waiting)
}

pub(super) struct Behind<'c> {
    config: &'c Config,
    reader: &'c Reader,
    /// No relay has anything in hand.
    resting: bool,
    holders: HashMap<String, Option<Holder>>,
}

impl<'c> Behind<'c> {
    pub(super) fn new(config: &'c Config, reader: &'c Reader) -> Result<Self> {
        Ok(Self { config, reader, resting: !crate::relay::sources::is_running(&config.home)?, holders: HashMap::new() })
    }

    /// Says of a job that is ready, and may not go yet, that it waits, and for what.
    pub(super) fn tell(&mut self, job: &mut Job) -> Result<()> {
        if !matches!(job.state, State::Claimed | State::Transforming | State::Delivering) || !job.reason.is_empty() {
            return Ok(());
        }
        let holder = match self.holders.get(&job.route) {
            Some(known) => known.clone(),
            None => {
                let found = self.holder(&job.route)?;
                self.holders.insert(job.route.clone(), found.clone());
                found
            }
        };
        let reason = match holder {
            Some(Holder::Failed(first)) if first < job.id => halted_by(first),
            // What is still to be sent goes on beside it.
            Some(Holder::Waits(first, why)) if first < job.id && (self.resting || is_sent(job)) => {
                format!("job {first} goes before it, and waits: {why}")
            }
            _ => return Ok(()),
        };
        (job.state, job.reason) = (State::Waiting, reason);
        Ok(())
    }

    fn holder(&self, route: &str) -> Result<Option<Holder>> {
        let halts = self.config.routes.iter().any(|r| r.name == route && r.halt_on_error);
        let failed = if halts { self.reader.in_state(Some(route), State::Failed)?.first().copied() } else { None };
        let waits = self.reader.in_state(Some(route), State::Waiting)?.first().copied();
        Ok(match (failed, waits) {
            (Some(failed), waits) if waits.is_none_or(|w| failed < w) => Some(Holder::Failed(failed)),
            (_, Some(waits)) => self.reader.job(waits)?.map(|row| Holder::Waits(waits, row.job.reason)),
            (_, None) => None,
        })
    }
}
