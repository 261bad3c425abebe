//! Each record as one request of B's API (`publish = "records"`), or so many at once.
//!
//! What B refuses is rejected in B's own words, beside what the mapping rejected. No request that may be in doubt goes
//! twice by itself, unless the method allows it (PUT).

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use sha2::Digest;

use super::super::{World, take_ahead};
use super::after::run_after;
use super::deliver::{Target, payload, target};
use super::direct::unconfirmed;
use super::sent::{Known, Outcome, Sent};
use super::{make, prepare};
use crate::config::{Batch, Route};
use crate::durable;
use crate::endpoints::{Content, Direct, Followed, Rename, Session, send_afresh};
use crate::error::{Blame, Error, Kind, Result};
use crate::job::{Event, Job, Progress, hex};
use crate::transform::{Limit, Refused};

/// The folder in `work` of what was sent: it outlasts the job's own folder, since a retry must know it.
pub(in crate::relay) const FOLDER: &str = "sent";

/// More refusals than that are no list of rejects any more.
const REFUSALS_MAX: u64 = 100_000;

/// Sends what was not sent yet. Gives what is in the way for now.
pub(super) fn send_records(w: &World, route: &Route, job: &mut Job, delivery: usize, batch: Batch) -> Result<Option<Error>> {
    let t = target(w, route, job, &job.deliveries[delivery])?;
    let path = log_path(w, job, delivery);
    let lost = !path.exists() && job.deliveries[delivery].tried_at.is_some() && !t.pool.repeatable();
    if lost && job.deliveries[delivery].confirmed {
        return w.record_one(job, Event::Published { delivery, synced: true, after: None }).map(|()| None);
    }
    if lost {
        let error = unconfirmed("the list of what was sent is gone", &t, job);
        return w.record_one(job, Event::Unconfirmed { delivery, error }).map(|()| None);
    }
    // It is there before the journal says that something is tried.
    let log = Sent::open(&path, !t.pool.repeatable())?;
    if job.deliveries[delivery].progress == Progress::Uploaded {
        let (name, policy) = (job.deliveries[delivery].name.clone(), t.d.if_exists);
        w.record_one(job, Event::Publishing { delivery, policy, name, place: None })?;
    }
    let sent = send_all(w, (route, &t), (job, delivery), batch, log);
    if sent.as_ref().is_err_and(|e| matches!(e.blame(), Blame::File | Blame::Config)) {
        // It goes to errors; what was sent is written down, and nothing is in doubt.
        w.record_one(job, Event::NotPublished { delivery, again: false, unknown: false })?;
    }
    sent
}

fn send_all(w: &World, (route, t): (&Route, &Target<'_>), (job, delivery): (&mut Job, usize), batch: Batch, mut sent: Sent) -> Result<Option<Error>> {
    let (file, _, made_path) = payload(w, job, delivery)?;
    let mut records = Requests { lines: BufReader::new(file), batch, number: 0 };
    let (mut refused, mut taken) = (Refused::default(), 0);
    while let Some(request) = records.next().map_err(|e| prepare::read_failed(&e, &made_path))? {
        w.stop.check()?;
        let outcome = match sent.next(&request.digest)? {
            Known::Done(outcome) => outcome,
            Known::Begun if !t.pool.repeatable() => return ask(w, t, (job, delivery), (&request, &mut sent), "the relay ended while it was sent"),
            Known::Asked if job.deliveries[delivery].confirmed => {
                sent.done(&request.digest, &Outcome::Taken)?;
                Outcome::Taken
            }
            Known::Nothing | Known::Begun | Known::Asked => match send(w, t, job, delivery, &request, &mut sent)? {
                Answer::Known(outcome) => outcome,
                Answer::Unknown(why) => return ask(w, t, (job, delivery), (&request, &mut sent), &why),
                Answer::Later(e) => {
                    w.record_one(job, Event::NotPublished { delivery, again: false, unknown: false })?;
                    return Ok(Some(e.at("publish")));
                }
            },
        };
        match outcome {
            Outcome::Taken => taken += request.records.len(),
            Outcome::Refused(words) => {
                request.records.iter().for_each(|record| refused.add(record, &words));
                few_enough(route, job, &refused, taken)?;
            }
        }
    }
    let mut ahead = job.clone();
    let mut events = Vec::new();
    if refused.records() > 0 {
        events.push(Event::Refused { records: make::divert(w, route, job, refused)? });
    }
    // Cut short, it runs again: what was sent is known, and not sent again.
    let after = run_after(w, t, job, &job.deliveries[delivery])?;
    events.push(Event::Published { delivery, synced: true, after });
    let facts = take_ahead(&mut ahead, events)?;
    w.record_after(facts, Vec::new())?;
    *job = ahead;
    Ok(None)
}

/// Where it stands what was sent.
fn log_path(w: &World, job: &Job, delivery: usize) -> PathBuf {
    w.config.work.join(FOLDER).join(format!("{}-{delivery}", job.id))
}

/// Removes what was written down of a job's requests, which nobody needs any more.
pub(super) fn forget(w: &World, job: &Job) -> Result<()> {
    (0..job.deliveries.len()).filter(|d| job.deliveries[*d].by_record.is_some()).try_for_each(|d| durable::remove(&log_path(w, job, d)))
}

/// What B answered to a request.
enum Answer {
    Known(Outcome),
    /// It can't be known whether B has it, because of this.
    Unknown(String),
    /// It was not made: later.
    Later(Error),
}

fn send(w: &World, t: &Target<'_>, job: &Job, delivery: usize, request: &Request, sent: &mut Sent) -> Result<Answer> {
    let body = request.body.as_slice();
    let how = Direct {
        idempotency_key: format!("{}-{}", job.deliveries[delivery].id, request.digest),
        rename: Rename::Replace,
        size: body.len() as u64,
        content: Content::Records,
    };
    sent.begin(&request.digest)?;
    let mut given = 0;
    let result = w.with_session(t.d, |session| {
        let mut send = |session: &mut dyn Session| {
            let mut from = body;
            let mut from = Followed::new(&mut from, &w.stop, t.pool.rate());
            let result = session.send(&t.folder, &mut from, &how);
            given = from.bytes;
            result
        };
        send_afresh(session, &mut send)
    });
    let outcome = match result {
        Ok(()) => Outcome::Taken,
        Err(e) if e.blame() == Blame::File => Outcome::Refused(e.message().to_owned()),
        Err(e) if e.kind() == Kind::Lost && !t.pool.repeatable() => {
            return Ok(Answer::Unknown(format!("the request was sent, and what became of it is unknown ({})", e.message())));
        }
        // The relay stops while the answer is awaited: found out at the next start.
        Err(e) if e.blame() == Blame::Stopped && given >= how.size => return Err(e),
        Err(e) => {
            sent.withdraw(&request.digest)?;
            return if e.blame() == Blame::Stopped { Err(e) } else { Ok(Answer::Later(e)) };
        }
    };
    sent.done(&request.digest, &outcome)?;
    (w.progress)(job, how.size);
    Ok(Answer::Known(outcome))
}

/// An operator must say whether B has a request. The journal knows it first: only an operator's word leads from there to
/// a request that was asked about.
fn ask(w: &World, t: &Target<'_>, (job, delivery): (&mut Job, usize), (request, sent): (&Request, &mut Sent), why: &str) -> Result<Option<Error>> {
    let which = if request.records.len() == 1 { format!("record {}", request.first) } else { format!("records {} to {}", request.first, request.last()) };
    let error = unconfirmed(&format!("{which}: {why}"), t, job);
    w.record_one(job, Event::Unconfirmed { delivery, error })?;
    sent.ask(&request.digest)?;
    Ok(None)
}

/// Whether so many refusals are within what the route allows.
fn few_enough(route: &Route, job: &Job, refused: &Refused, taken: usize) -> Result<()> {
    let Some(spec) = &route.transformation else { return Ok(()) };
    let counts = job.made.as_ref().and_then(|m| m.counts).unwrap_or_default();
    let rejected = counts.rejected + refused.records();
    let limit = if spec.rejects_fail { Some(Limit::Number(0)) } else { spec.max_rejects };
    let last = || refused.last().to_owned();
    if limit.is_some_and(|limit| limit.exceeded(rejected, counts.read)) {
        let message =
            format!("{rejected} of {} records are rejected or refused, more than allowed; B has taken {taken}; the last one: {}", counts.read, last());
        return Err(Error::file(message).at("publish").hint("correct the export or the mapping, or raise max_rejects; a retry sends what B has not taken yet"));
    }
    if refused.records() > REFUSALS_MAX {
        return Err(Error::file(format!("B refuses more than {REFUSALS_MAX} records, and has taken {taken}; the last one: {}", last()))
            .at("publish")
            .hint("correct the mapping; a retry sends what B has not taken yet"));
    }
    Ok(())
}

/// What goes in one request.
struct Request {
    /// The place of its first record, from 1.
    first: u64,
    /// Each record as JSON.
    records: Vec<Vec<u8>>,
    body: Vec<u8>,
    /// Of its place and its body: the same for the same request, now and after a crash.
    digest: String,
}

impl Request {
    fn last(&self) -> u64 {
        self.first + self.records.len() as u64 - 1
    }
}

/// Cuts what was made into requests.
struct Requests {
    lines: BufReader<File>,
    batch: Batch,
    number: u64,
}

impl Requests {
    fn next(&mut self) -> std::io::Result<Option<Request>> {
        let first = self.number + 1;
        let mut records: Vec<Vec<u8>> = Vec::new();
        let most = match self.batch {
            Batch::One => 1,
            Batch::Many(n) => n,
        };
        while records.len() < most {
            let mut line = Vec::new();
            if self.lines.read_until(b'\n', &mut line)? == 0 {
                break;
            }
            line.truncate(line.trim_ascii_end().len());
            records.push(line);
        }
        self.number += records.len() as u64;
        let body = match self.batch {
            _ if records.is_empty() => return Ok(None),
            Batch::One => records[0].clone(),
            Batch::Many(_) => [b"[", records.join(&b","[..]).as_slice(), b"]"].concat(),
        };
        let digest = sha2::Sha256::new().chain_update(first.to_le_bytes()).chain_update(&body).finalize();
        Ok(Some(Request { first, records, body, digest: hex(&digest[..12]) }))
    }
}
