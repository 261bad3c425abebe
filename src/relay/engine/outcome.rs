//! What failures and ends mean for jobs, and how they are told: what waits, what is given up, what is delivered.

use std::time::Duration;

use super::{Engine, Mode};
use crate::error::{Error, Result};
use crate::job::{Event, Job, State};
use crate::naming;
use crate::relay::steps::lies_beside;

impl Engine {
    /// A destination, or the way to all of them, does not take a job: the others, if there are any, are seen to first.
    pub(super) fn give_up(&mut self, job: &mut Job, destination: Option<usize>, error: Error) -> Result<()> {
        let others = |destination: usize| job.deliveries.iter().any(|d| d.destination != destination);
        let event = match destination.filter(|d| others(*d)) {
            Some(destination) => {
                tracing::warn!(job = job.id, route = job.route, file = %job.file, "not to all destinations: {error}{}", error.remedy());
                Event::GivenUp { destination, error }
            }
            None => Event::Failing { error },
        };
        self.world.record_one(job, event)
    }

    /// A job has failed for as long as its route is patient.
    pub(super) fn lose_patience(&mut self, mut job: Job, destination: Option<usize>, error: &Error) -> Result<()> {
        let route = self.world.route(&job.route);
        let patience = route.map_or(Duration::ZERO, |r| r.retry.give_up);
        let to = route.zip(destination).and_then(|(r, d)| r.destinations.get(d)?.endpoint.as_ref()).map_or_else(String::new, |e| format!(" by {}", e.name));
        let given_up = Error::file(format!("given up after {patience:?}: not taken{to}: {}", error.message()))
            .at(error.step().unwrap_or("deliver"))
            .hint(format!("repair what was in the way, then: passerelle retry {}", job.id));
        self.give_up(&mut job, destination, given_up)?;
        self.dispatcher.replace(job);
        Ok(())
    }

    /// Notes that a job waits, once for each reason.
    pub(super) fn postpone(&mut self, job: &mut Job, destination: Option<usize>, e: &Error) -> Result<()> {
        if job.state.at_rest() {
            return Ok(());
        }
        let told = self.told.insert((job.id, destination), e.message().to_owned());
        if job.state == State::Waiting && told.as_deref() == Some(e.message()) {
            return Ok(());
        }
        tracing::warn!(job = job.id, route = job.route, file = %job.file, "waiting: {e}{}", e.remedy());
        self.world.record_one(job, Event::Postponed { destination, error: e.clone() })
    }

    /// Tells how a job ended, and counts it.
    pub(super) fn count(&mut self, job: &Job) {
        match job.state {
            State::Delivered => {
                self.tally.delivered += 1;
                let counts = crate::journal::counts(job);
                self.tally.rejected += counts.map_or(0, |c| c.rejected);
                let made = job.made.as_ref();
                self.tally.conflicts += made.map_or(0, |m| m.conflicts);
                match counts {
                    Some(c) if made.is_some_and(|m| m.staged) => {
                        tracing::info!(job = job.id, route = job.route, file = %job.file, "delivered: {} records written, {} unchanged, {} deleted, {} in conflict, {} skipped, {} rejected", c.written, c.unchanged, c.deleted, c.parked.max(made.map_or(0, |m| m.conflicts.min(1))), c.skipped, c.rejected)
                    }
                    Some(c) => {
                        tracing::info!(job = job.id, route = job.route, file = %job.file, "delivered: {} records written, {} skipped, {} rejected", c.written, c.skipped, c.rejected)
                    }
                    None => tracing::info!(job = job.id, route = job.route, file = %job.file, "delivered: {} bytes", made.map_or(0, |m| m.size)),
                }
                if let Some(count) = made.map(|m| m.conflicts).filter(|n| *n > 0) {
                    let lies = lies_beside(&self.world, job, naming::CONFLICTS);
                    let file = lies.map_or_else(String::new, |file| format!(" see {},", crate::error::shown(&file)));
                    tracing::warn!(job = job.id, route = job.route, file = %job.file, "{count} conflicts wait for you:{file} then: passerelle resolve {} --take a|b|FILE", job.id);
                }
                if self.mode == Mode::Daemon {
                    self.late.follow(&self.world, job);
                }
                for remark in made.map(|m| m.remarks.as_slice()).unwrap_or_default() {
                    tracing::info!(job = job.id, "{remark}");
                }
            }
            State::Duplicate | State::Superseded if job.path.is_some() => {
                tracing::info!(job = job.id, route = job.route, file = %job.file, "skipped: {}", job.reason)
            }
            State::Failed | State::Unconfirmed | State::Held => {
                self.tally.failed += 1;
                let hint = job.error.as_ref().map(Error::remedy).unwrap_or_default();
                tracing::error!(job = job.id, route = job.route, "{}: {}{hint}", job.state.word(), job.reason);
            }
            State::Claimed
            | State::Transforming
            | State::Delivering
            | State::Waiting
            | State::Duplicate
            | State::Superseded
            | State::Resubmitted
            | State::Removed => {}
        }
    }
}
