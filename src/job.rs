//! One job: one claimed file on its way through one route. Facts, their fold, and the decision what comes next.
//!
//! Pure: no clock, no file, no journal. [`Job::apply`] is the only place that changes a job, and refuses what may not
//! follow; [`Job::next`] is the only place that decides.

mod fact;
mod state;

pub use fact::{Delivery, Event, Found, Made, PartMade, Place, Progress, Seal};
pub use state::State;

use jiff::Timestamp;

use crate::error::{Error, Kind};
use crate::sync::export::{Deletions, Purpose};

/// A job's number, which an operator can type.
pub type JobId = u64;

/// A name as bytes, written as text in the journal; what is no UTF-8 is kept byte for byte.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(pub Vec<u8>);

const HEX: &str = "\u{0}hex:";

impl serde::Serialize for Name {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => s.serialize_str(text),
            Err(_) => s.serialize_str(&format!("{HEX}{}", hex(&self.0))),
        }
    }
}

impl<'de> serde::Deserialize<'de> for Name {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = <String as serde::Deserialize>::deserialize(d)?;
        Ok(Self(match text.strip_prefix(HEX) {
            Some(digits) => (0..digits.len() / 2).filter_map(|i| u8::from_str_radix(digits.get(2 * i..2 * i + 2)?, 16).ok()).collect(),
            None => text.into_bytes(),
        }))
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&crate::error::shown_bytes(&self.0))
    }
}

impl Name {
    /// The name of a path.
    pub fn of(path: &std::path::Path) -> Self {
        use std::os::unix::ffi::OsStrExt;
        Self(path.as_os_str().as_bytes().to_vec())
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// As a path.
    pub fn path(&self) -> &std::path::Path {
        use std::os::unix::ffi::OsStrExt;
        std::path::Path::new(std::ffi::OsStr::from_bytes(&self.0))
    }
    /// The last part of a relative path.
    pub fn last(&self) -> &[u8] {
        self.0.rsplit(|b| *b == b'/').next().unwrap_or(&self.0)
    }
    /// The folder of a relative path, empty at the top.
    pub fn folder(&self) -> &[u8] {
        self.0.iter().rposition(|b| *b == b'/').map_or(&[], |at| &self.0[..at])
    }
}

/// Lowercase hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// A job, as its events made it.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// Its number.
    pub id: JobId,
    /// The route.
    pub route: String,
    /// The file, relative to the source.
    pub file: Name,
    /// When it was claimed.
    pub received_at: Timestamp,
    /// The file's size, time and inode as they were when it was claimed.
    pub found: Found,
    /// An archived file that is delivered once more.
    pub replay_of: Option<JobId>,
    /// How many events it has.
    pub seq: u32,
    /// Its state.
    pub state: State,
    /// Why it is in that state.
    pub reason: String,
    /// How often something was tried for it.
    pub attempts: u32,
    /// Since when its attempts fail without a success between.
    pub failing_since: Option<Timestamp>,
    /// The original, once sealed.
    pub seal: Option<Seal>,
    /// What is delivered.
    pub made: Option<Made>,
    /// Its deliveries.
    pub deliveries: Vec<Delivery>,
    /// The last failure.
    pub error: Option<Error>,
    /// It is to be moved to `errors`.
    pub failing: bool,
    /// An operator asked for it again: its file is taken as it is now.
    pub retried: bool,
    /// Whether an operator accepts however many deletions it brings.
    pub deletions: Deletions,
    /// What its export is compared for, where records are.
    pub purpose: Purpose,
    /// Where its file lies once it is at rest.
    pub path: Option<Name>,
    /// When it was delivered.
    pub delivered_at: Option<Timestamp>,
}

/// An event that may not happen in the state a job is in.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("job {job}: {event} can't follow in state {state}")]
pub struct Illegal {
    /// The job.
    pub job: JobId,
    /// Its state.
    pub state: &'static str,
    /// The event.
    pub event: &'static str,
}

/// What comes next for a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Seal and transform it.
    Prepare,
    /// Send this delivery's temporary file.
    Upload(usize),
    /// Publish this delivery.
    Publish(usize),
    /// Find out what became of this delivery's rename.
    Resolve(usize),
    /// Put the original where it belongs.
    Finish,
    /// Put it into `errors`.
    Fail,
    /// Nothing.
    Rest,
}

impl Job {
    /// A job whose claim is about to happen.
    pub fn new(id: JobId, route: &str, file: Name, found: Found, received_at: Timestamp, replay_of: Option<JobId>) -> Self {
        Self {
            id,
            route: route.to_owned(),
            file,
            received_at,
            found,
            replay_of,
            seq: 0,
            state: State::Claimed,
            reason: String::new(),
            attempts: 0,
            failing_since: None,
            seal: None,
            made: None,
            deliveries: Vec::new(),
            error: None,
            failing: false,
            retried: false,
            deletions: Deletions::Limited,
            purpose: Purpose::Send,
            path: None,
            delivered_at: None,
        }
    }

    /// The name of the claimed file, and of the archived one: `17_clients.csv`.
    pub fn claimed_name(&self) -> Name {
        numbered(self.id, self.file.last())
    }

    /// Takes in a fact. `at` is when it happened.
    pub fn apply(&mut self, event: &Event, at: Timestamp) -> Result<(), Illegal> {
        let illegal = Illegal { job: self.id, state: self.state.word(), event: event.word() };
        let next = self.state_after(event).filter(|s| self.state.may_become(*s)).ok_or(illegal)?;
        self.seq += 1;
        // Each try after a wait is an attempt of its own; the first one is counted when the file is sealed.
        let tried = matches!(event, Event::Sealed(_) | Event::Transformed { .. } | Event::Uploaded { .. } | Event::Publishing { .. } | Event::Postponed { .. });
        if self.state == State::Waiting && tried {
            self.attempts += 1;
        }
        self.attempts = self.attempts.max(u32::from(matches!(event, Event::Postponed { .. })));
        self.state = next;
        match event {
            Event::Sealed(seal) => {
                self.seal = Some(seal.clone());
                self.attempts = self.attempts.max(1);
            }
            Event::Transformed { made, deliveries } => {
                self.made = Some(made.clone());
                self.deliveries.clone_from(deliveries);
                self.succeeded();
            }
            Event::Hashed { hash } => {
                if let (Some(seal), Some(made)) = (&mut self.seal, &mut self.made) {
                    seal.hash.clone_from(hash);
                    // Only of an original that is delivered itself the hash may come late.
                    made.hash.clone_from(hash);
                }
            }
            Event::Uploaded { delivery } => {
                self.set_progress(*delivery, Progress::Uploaded);
                if let Some(d) = self.deliveries.get_mut(*delivery) {
                    d.error = None;
                }
                self.succeeded();
            }
            Event::Publishing { delivery, name, place, .. } => {
                self.set_progress(*delivery, Progress::Publishing);
                if let Some(d) = self.deliveries.get_mut(*delivery) {
                    d.name = name.clone();
                    d.tried_at = Some(at);
                    d.tried_in.clone_from(place);
                }
            }
            Event::NotPublished { delivery, again, unknown } => {
                self.set_progress(*delivery, if *again { Progress::Waiting } else { Progress::Uploaded });
                if let Some(d) = self.deliveries.get_mut(*delivery) {
                    d.attempts += 1;
                    // What is sent again has a temporary file of its own: what went before concerns it no more.
                    d.unknown = (d.unknown || *unknown) && !*again;
                }
            }
            Event::Published { delivery, synced, .. } => {
                self.set_progress(*delivery, Progress::Published);
                if let Some(d) = self.deliveries.get_mut(*delivery) {
                    d.doubtful = !synced;
                    d.error = None;
                }
                self.succeeded();
            }
            Event::Refused { records } => {
                if let Some(counts) = self.made.as_mut().and_then(|m| m.counts.as_mut()) {
                    counts.written = counts.written.saturating_sub(*records);
                    counts.rejected += records;
                }
            }
            Event::Restored { .. } => {}
            Event::Owed => self.purpose = Purpose::Again,
            Event::Taken { delivery } => {
                if let Some(d) = self.deliveries.get_mut(*delivery) {
                    d.taken_at = Some(at);
                }
            }
            Event::NotTaken { delivery } => {
                if let Some(d) = self.deliveries.get_mut(*delivery) {
                    d.overdue = true;
                }
            }
            Event::Archived { path } => {
                self.path = Some(path.clone());
                if self.state == State::Delivered {
                    self.delivered_at = Some(at);
                    self.succeeded();
                }
            }
            Event::Postponed { destination, error } => {
                // What one of several came to is still told when another one has it.
                let several = self.deliveries.iter().any(|d| Some(d.destination) != *destination);
                for d in self.deliveries.iter_mut().filter(|d| several && Some(d.destination) == *destination && d.progress.is_open()) {
                    d.error = Some(error.clone());
                }
                // Waiting for B to take its last file is no failure, however long it lasts.
                if error.kind() == Kind::Exists {
                    self.failing_since = None;
                } else {
                    self.failing_since.get_or_insert(at);
                }
                // A job on its way to errors keeps the reason why.
                if !self.failing {
                    self.note(error);
                }
            }
            Event::GivenUp { destination, error } => {
                for d in self.deliveries.iter_mut().filter(|d| d.destination == *destination && d.progress.is_open()) {
                    d.progress = Progress::GivenUp;
                    d.error = Some(error.clone());
                }
                // The others have their own patience.
                self.failing_since = None;
                self.note(error);
            }
            Event::Failing { error } => {
                self.failing = true;
                self.note(error);
            }
            Event::Failed { path } => self.path = Some(path.clone()),
            Event::Duplicate { of } => self.reason = format!("the same name and content as job {of}"),
            Event::Unconfirmed { delivery, error } => {
                self.set_progress(*delivery, Progress::Unconfirmed);
                if let Some(d) = self.deliveries.get_mut(*delivery) {
                    d.confirmed = false;
                    d.error = Some(error.clone());
                }
                self.note(error);
            }
            Event::Held { error } => self.note(error),
            Event::Superseded { by } => {
                self.reason = format!("job {by} is a later full export");
                self.failing = false;
                self.path = None;
            }
            Event::Retried { deletions } => {
                self.start_again();
                self.attempts += 1;
                self.deletions = *deletions;
            }
            Event::Confirmed => {
                for d in self.deliveries.iter_mut().filter(|d| d.progress == Progress::Unconfirmed) {
                    // Of records that are sent by themselves one was in doubt; those behind it were never sent.
                    d.confirmed = d.by_record.is_some();
                    d.progress = if d.by_record.is_some() { Progress::Uploaded } else { Progress::Published };
                    d.error = None;
                }
                self.succeeded();
            }
            Event::Resubmitted => self.reason = "its file was put back into the source".into(),
            Event::Removed => self.reason = "its file was removed by an operator".into(),
        }
        self.failing |= self.state == State::Delivering && self.made.is_some() && self.gave_up() && self.deliveries.iter().all(|d| !d.progress.is_open());
        Ok(())
    }

    /// Whether one of its destinations does not take it.
    pub fn gave_up(&self) -> bool {
        self.deliveries.iter().any(|d| d.progress == Progress::GivenUp)
    }

    /// The state once these deliveries have ended: while others go on, it is delivered to them.
    fn state_with(&self, ended: impl Fn(usize) -> Option<Progress>) -> State {
        let progress = || self.deliveries.iter().enumerate().map(|(i, d)| ended(i).unwrap_or(d.progress));
        let question = progress().all(|p| !p.is_open()) && progress().any(|p| p == Progress::Unconfirmed);
        let waits = self.deliveries.iter().enumerate().any(|(i, d)| ended(i).is_none() && d.progress.is_open() && d.error.is_some());
        match (question, waits) {
            (true, _) => State::Unconfirmed,
            (false, true) => State::Waiting,
            (false, false) => State::Delivering,
        }
    }

    fn state_after(&self, event: &Event) -> Option<State> {
        let open = !self.state.at_rest();
        Some(match event {
            Event::Sealed(_) if open => State::Transforming,
            Event::Transformed { .. } | Event::Uploaded { .. } | Event::Publishing { .. } | Event::NotPublished { .. } | Event::Refused { .. } if open => {
                State::Delivering
            }
            Event::Published { delivery, .. } if open => self.state_with(|i| (i == *delivery).then_some(Progress::Published)),
            Event::GivenUp { destination, .. } if open => {
                self.state_with(|i| (self.deliveries[i].destination == *destination && self.deliveries[i].progress.is_open()).then_some(Progress::GivenUp))
            }
            Event::Archived { .. } if open => State::Delivered,
            Event::Archived { .. } if matches!(self.state, State::Duplicate | State::Superseded) => self.state,
            Event::Restored { .. } | Event::Taken { .. } | Event::NotTaken { .. } if self.state == State::Delivered => State::Delivered,
            Event::Postponed { .. } if open => State::Waiting,
            Event::Owed if self.state == State::Claimed => State::Claimed,
            Event::Hashed { .. } | Event::Failing { .. } if open => self.state,
            Event::Failed { .. } if self.failing => State::Failed,
            Event::Duplicate { .. } if open => State::Duplicate,
            Event::Unconfirmed { delivery, .. } if open || self.state == State::Unconfirmed => {
                self.state_with(|i| (i == *delivery).then_some(Progress::Unconfirmed))
            }
            Event::Held { .. } if open => State::Held,
            Event::Superseded { .. } if open || matches!(self.state, State::Failed | State::Held) => State::Superseded,
            Event::Retried { .. } if matches!(self.state, State::Failed | State::Held) => State::Claimed,
            Event::Retried { .. } if self.state == State::Unconfirmed => State::Delivering,
            Event::Confirmed if self.state == State::Unconfirmed => State::Delivering,
            Event::Resubmitted if self.state == State::Failed => State::Resubmitted,
            Event::Removed if self.state == State::Failed => State::Removed,
            _ => return None,
        })
    }

    fn note(&mut self, error: &Error) {
        self.reason = error.to_string();
        self.error = Some(error.clone());
    }

    fn succeeded(&mut self) {
        // Waiting for B to take its last file is no failure.
        if !self.deliveries.iter().any(|d| d.progress.is_open() && d.error.as_ref().is_some_and(|e| e.kind() != Kind::Exists)) {
            self.failing_since = None;
        }
        // What another destination came to is still to be told.
        self.error = self.deliveries.iter().find_map(|d| d.error.clone());
        self.reason = self.error.as_ref().map(ToString::to_string).unwrap_or_default();
    }

    /// A retry begins with the original, but never forgets what is published, nor the temporary names that were drawn.
    fn start_again(&mut self) {
        self.failing = false;
        self.retried = true;
        self.path = None;
        self.failing_since = None;
        self.reason.clear();
        self.error = None;
        // A rename whose outcome is unknown is found out first, also by a retry; everything else begins anew.
        let unknown = self.deliveries.iter().any(|d| d.progress == Progress::Publishing);
        for d in &mut self.deliveries {
            if !matches!(d.progress, Progress::Published | Progress::Publishing) {
                d.progress = Progress::Waiting;
                d.attempts = 0;
                d.error = None;
            }
        }
        if !unknown {
            self.seal = None;
            self.made = None;
        }
    }

    fn set_progress(&mut self, delivery: usize, progress: Progress) {
        if let Some(d) = self.deliveries.get_mut(delivery) {
            d.progress = progress;
        }
    }

    /// What comes next for one delivery.
    pub fn next_of(&self, delivery: usize) -> Next {
        // After a retry B's file is made anew before anything is sent.
        if self.made.is_none() {
            return Next::Rest;
        }
        match self.deliveries.get(delivery).map(|d| d.progress) {
            Some(Progress::Waiting) => Next::Upload(delivery),
            Some(Progress::Uploaded) => Next::Publish(delivery),
            Some(Progress::Publishing) => Next::Resolve(delivery),
            Some(Progress::Published | Progress::Unconfirmed | Progress::GivenUp) | None => Next::Rest,
        }
    }

    /// What comes next for the job as a whole; while it is delivered, each delivery has a next of its own.
    pub fn next(&self) -> Next {
        if matches!(self.state, State::Duplicate | State::Superseded) && self.path.is_none() {
            return Next::Finish;
        }
        if self.state.at_rest() {
            return Next::Rest;
        }
        if self.failing {
            return Next::Fail;
        }
        if self.made.is_none() {
            return Next::Prepare;
        }
        let open = (0..self.deliveries.len()).map(|d| self.next_of(d)).find(|n| *n != Next::Rest);
        open.unwrap_or(Next::Finish)
    }

    /// The numbers of its deliveries that are not published yet.
    pub fn open_deliveries(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.deliveries.len()).filter(|d| self.next_of(*d) != Next::Rest)
    }
}

/// A name with its job's number before it, cut where it would be too long for a file system.
pub fn numbered(id: JobId, name: &[u8]) -> Name {
    numbered_ending(id, name, b"")
}

/// The same with an ending behind it.
pub fn numbered_ending(id: JobId, name: &[u8], ending: &[u8]) -> Name {
    let prefix = format!("{id}_");
    let room = crate::naming::NAME_BYTES_MAX - prefix.len() - ending.len();
    Name([prefix.as_bytes(), &crate::naming::shortened(name, room), ending].concat())
}

/// The job's number and the name of a claimed or archived file, `17_clients.csv`.
pub fn parse_numbered(name: &[u8]) -> Option<(JobId, &[u8])> {
    let at = name.iter().position(|b| *b == b'_')?;
    let id = std::str::from_utf8(&name[..at]).ok()?.parse().ok()?;
    Some((id, &name[at + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::IfExists;

    fn job() -> Job {
        Job::new(17, "clients", Name(b"sub/clients.csv".to_vec()), Found::default(), Timestamp::UNIX_EPOCH, None)
    }
    fn seal() -> Event {
        Event::Sealed(Seal { size: 1, hash: "00".into(), modified: Timestamp::UNIX_EPOCH, partial: false, folder: None })
    }
    fn made() -> Event {
        let delivery = Delivery {
            destination: 0,
            endpoint: "b".into(),
            to: None,
            folder: Name::default(),
            name: Name(b"clients.csv".to_vec()),
            temp: Name(b".clients.csv.x.part".to_vec()),
            id: "x".into(),
            progress: Progress::Waiting,
            attempts: 0,
            unknown: false,
            tried_at: None,
            tried_in: None,
            doubtful: false,
            taken_at: None,
            overdue: false,
            by_record: None,
            confirmed: false,
            part: 0,
            error: None,
        };
        Event::Transformed { made: Made { size: 1, hash: "00".into(), ..Made::default() }, deliveries: vec![delivery] }
    }
    fn publishing() -> Event {
        Event::Publishing { delivery: 0, policy: IfExists::Wait, name: Name(b"clients.csv".to_vec()), place: None }
    }
    fn after(events: &[Event]) -> Result<Job, Illegal> {
        let mut job = job();
        events.iter().try_for_each(|e| job.apply(e, Timestamp::UNIX_EPOCH))?;
        Ok(job)
    }

    #[test]
    fn a_job_goes_its_way_step_by_step() {
        let way = [
            (None, Next::Prepare, State::Claimed),
            (Some(seal()), Next::Prepare, State::Transforming),
            (Some(made()), Next::Upload(0), State::Delivering),
            (Some(Event::Uploaded { delivery: 0 }), Next::Publish(0), State::Delivering),
            (Some(publishing()), Next::Resolve(0), State::Delivering),
            (Some(Event::Published { delivery: 0, synced: true, after: None }), Next::Finish, State::Delivering),
            (Some(Event::Archived { path: Name(b"archive/x".to_vec()) }), Next::Rest, State::Delivered),
        ];
        let mut job = job();
        for (event, next, state) in way {
            if let Some(event) = event {
                job.apply(&event, Timestamp::UNIX_EPOCH).unwrap();
            }
            assert_eq!((job.next(), job.state), (next, state));
        }
    }

    #[test]
    fn what_may_not_follow_is_refused_and_changes_nothing() {
        let done = [
            seal(),
            made(),
            Event::Uploaded { delivery: 0 },
            publishing(),
            Event::Published { delivery: 0, synced: true, after: None },
            Event::Archived { path: Name(b"p".to_vec()) },
        ];
        let mut job = after(&done).unwrap();
        let before = job.clone();
        for event in [seal(), Event::Retried { deletions: Deletions::Limited }, Event::Removed, Event::Failed { path: Name(b"p".to_vec()) }, publishing()] {
            assert!(job.apply(&event, Timestamp::UNIX_EPOCH).is_err(), "{event:?}");
        }
        assert_eq!(job, before);
        assert!(after(&[Event::Failed { path: Name(b"p".to_vec()) }]).is_err(), "without having failed");
    }

    #[test]
    fn a_failed_job_is_retried_from_its_original_under_its_number() {
        let mut job = after(&[seal(), Event::Failing { error: Error::file("x") }]).unwrap();
        assert_eq!(job.next(), Next::Fail);
        job.apply(&Event::Failed { path: Name(b"errors/x".to_vec()) }, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!((job.next(), job.state), (Next::Rest, State::Failed));
        job.apply(&Event::Retried { deletions: Deletions::Limited }, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!((job.next(), job.id), (Next::Prepare, 17));
    }

    #[test]
    fn an_unconfirmed_job_moves_only_by_an_operator() {
        let e = Event::Unconfirmed { delivery: 0, error: Error::endpoint("x") };
        let mut job = after(&[seal(), made(), publishing(), e]).unwrap();
        assert_eq!(job.next(), Next::Rest);
        let mut confirmed = job.clone();
        confirmed.apply(&Event::Confirmed, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(confirmed.next(), Next::Finish);
        job.apply(&Event::Retried { deletions: Deletions::Limited }, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(job.next(), Next::Prepare);
    }

    #[test]
    fn claimed_names_carry_the_number_and_any_bytes_survive_the_journal() {
        assert_eq!(job().claimed_name().0, b"17_clients.csv");
        assert_eq!(parse_numbered(b"17_a_b.csv"), Some((17, &b"a_b.csv"[..])));
        assert!(numbered(17, &[b'x'; 255]).0.len() <= 255);
        let name = Name(b"caf\xe9\n.csv".to_vec());
        assert_eq!(serde_json::from_str::<Name>(&serde_json::to_string(&name).unwrap()).unwrap(), name);
    }
}
