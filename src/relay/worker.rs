//! A worker: one thing after the other, and a panic ends one attempt, not the relay.

use std::sync::mpsc::{Receiver, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};

use super::dispatch::{Done, Failure, Work};
use super::engine::Message;
use super::intake::look;
use super::{World, housekeeping, steps};
use crate::error::{Error, Result};
use crate::job::{Job, Next};

pub(super) fn work_loop(queue: &Mutex<Receiver<(Arc<World>, Work)>>, outbox: &SyncSender<Message>) {
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((world, work)) = next else { return };
        let spare = spare_of(&work);
        // A panic is a fault of ours; it ends this job's attempt, not the relay.
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| perform(&world, work))).unwrap_or_else(|_| failed_by_panic(&world, spare));
        if outbox.send(Message::Done(Box::new(done))).is_err() {
            return;
        }
    }
}

pub(super) enum Spare {
    Look(String),
    Jobs(Vec<Job>, Option<usize>),
    LateCheck,
    KeepHouse,
}

pub(super) fn spare_of(work: &Work) -> Spare {
    match work {
        Work::Look { route, .. } => Spare::Look(route.clone()),
        Work::Prepare(j, _) | Work::PrepareNewest(j) | Work::Finish(j) => Spare::Jobs(j.clone(), None),
        Work::Fail(j) => Spare::Jobs(vec![j.clone()], None),
        Work::Upload(j, d, _) | Work::Resolve(j, d) => Spare::Jobs(vec![j.clone()], j.deliveries.get(*d).map(|d| d.destination)),
        Work::Publish(j, d) => Spare::Jobs(j.clone(), Some(*d)),
        Work::LateCheck(_) => Spare::LateCheck,
        Work::KeepHouse => Spare::KeepHouse,
    }
}

/// A panic is a fault of passerelle, and of one job's attempt. What a file alone brings about goes to errors with it, so
/// that it can't come again and again; jobs that went together wait, and are tried again.
fn failed_by_panic(w: &World, spare: Spare) -> Done {
    let hint = "it is a fault of passerelle: please report it with what the log says";
    let waits = Error::endpoint("a worker stopped by a fault of passerelle; it is tried again").hint(hint);
    match spare {
        Spare::Look(route) => Done::Looked(route, Err(waits)),
        // They are looked at no more; what they are about is delivered.
        Spare::LateCheck => Done::LateChecked(Vec::new()),
        Spare::KeepHouse => Done::HouseKept(Err(waits)),
        Spare::Jobs(jobs, destination) => {
            let alone = jobs.len() == 1 && matches!(jobs[0].next(), Next::Prepare | Next::Upload(_));
            let error = if alone { Error::file("a worker stopped by a fault of passerelle").hint(hint) } else { waits };
            // What was recorded before the panic counts.
            let recorded = |j: Job| w.journal.reader().and_then(|r| r.job(j.id)).ok().flatten().map_or(j, |row| row.job);
            Done::Jobs { jobs: jobs.into_iter().map(recorded).collect(), failed: vec![Failure { at: 0, destination, error }], destination }
        }
    }
}

pub(super) fn perform(w: &World, work: Work) -> Done {
    let one = |mut job: Job, destination: Option<usize>, step: &dyn Fn(&mut Job) -> Result<Option<Error>>| {
        let failed = step(&mut job).unwrap_or_else(Some).into_iter().map(|error| Failure { at: 0, destination, error }).collect();
        Done::Jobs { jobs: vec![job], failed, destination }
    };
    let destination_of = |job: &Job, delivery: usize| job.deliveries.get(delivery).map(|d| d.destination);
    match work {
        Work::Look { route, what, scheduled } => {
            let result = look(w, &route, what, scheduled);
            Done::Looked(route, result)
        }
        Work::Prepare(mut jobs, reach) => {
            let whole = |error| (None, vec![Failure { at: 0, destination: None, error }]);
            let (destination, failed) = steps::prepare(w, &mut jobs, reach).unwrap_or_else(whole);
            Done::Jobs { jobs, failed, destination }
        }
        Work::PrepareNewest(mut jobs) => {
            let at = jobs.len() - 1;
            let failed = steps::prepare_newest(w, &mut jobs).unwrap_or_else(|error| vec![Failure { at, destination: None, error }]);
            Done::Jobs { jobs, failed, destination: None }
        }
        Work::Fail(job) => one(job, None, &|j| steps::fail(w, j).map(|()| None)),
        Work::Upload(job, delivery, connections) => {
            let destination = destination_of(&job, delivery);
            one(job, destination, &|j| steps::upload(w, j, delivery, connections).map(|()| None))
        }
        Work::Resolve(job, delivery) => {
            let destination = destination_of(&job, delivery);
            one(job, destination, &|j| steps::resolve_delivery(w, j, delivery))
        }
        Work::Publish(mut jobs, destination) => {
            let stopped = steps::publish(w, &mut jobs, destination).unwrap_or_else(|e| vec![(0, e)]);
            let destination = Some(destination);
            let failed = stopped.into_iter().map(|(at, error)| Failure { at, destination, error }).collect();
            Done::Jobs { jobs, failed, destination }
        }
        Work::KeepHouse => Done::HouseKept(housekeeping::keep_house(w)),
        Work::LateCheck(mut jobs) => {
            let again = jobs.iter_mut().filter_map(|job| match steps::late_check(w, job) {
                Ok(pause) => pause.map(|pause| (job.id, Some(pause))),
                Err(_) => Some((job.id, None)),
            });
            Done::LateChecked(again.collect())
        }
        Work::Finish(mut jobs) => {
            // A batch that fails is done again one by one, so that each job answers for itself.
            let mut failed = Vec::new();
            let mut fail = |at, error| failed.push(Failure { at, destination: None, error });
            if jobs.len() > 1 && steps::finish(w, &mut jobs).is_err() {
                for (i, job) in jobs.iter_mut().enumerate().filter(|(_, j)| j.next() == crate::job::Next::Finish) {
                    if let Err(e) = steps::finish(w, std::slice::from_mut(job)) {
                        fail(i, e);
                        break;
                    }
                }
            } else if jobs.len() == 1
                && let Err(e) = steps::finish(w, &mut jobs)
            {
                fail(0, e);
            }
            Done::Jobs { jobs, failed, destination: None }
        }
    }
}
