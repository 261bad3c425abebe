//! What became of a rename whose answer is unknown, decided from what lies at B. Pure: evidence in, verdict out.
//!
//! The rule behind every line: a temporary file that was complete and verified disappears only by our own rename or by
//! somebody else's hand; so if it is gone after an attempt whose answer is unknown, the file was published.

use crate::config::IfExists;

/// What stands under the final name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Final {
    /// Nothing.
    Absent,
    /// What we sent.
    Ours,
    /// Something else.
    Other,
}

/// What is known of a server that has nothing of ours any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// What it acknowledged is there for good, or it has run ever since.
    Kept,
    /// It was away and came back, and never acknowledged a sync: it may have lost what it had.
    Doubtful,
}

/// What lies at B after an attempt whose answer is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// The temporary file is there.
    pub temporary: bool,
    /// What stands under the final name.
    pub final_name: Final,
    /// What the server may have forgotten.
    pub memory: Memory,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was published.
    Published,
    /// It was published, and the temporary name is a second link that is removed.
    PublishedTwice,
    /// Nothing was renamed: try again.
    Again,
    /// The name is taken by somebody else's file: as the policy says when it is taken before an attempt.
    Taken,
    /// It can't be known.
    Unknown,
}

/// Decides.
pub fn resolve(e: Evidence, policy: IfExists) -> Verdict {
    match (e.temporary, e.final_name) {
        (true, Final::Absent) => Verdict::Again,
        // OpenSSH's plain rename is a link and an unlink; it was cut between the two.
        (true, Final::Ours) => match policy {
            IfExists::Replace => Verdict::Again,
            IfExists::Wait | IfExists::Rename | IfExists::Fail => Verdict::PublishedTwice,
        },
        (true, Final::Other) => match policy {
            IfExists::Replace => Verdict::Again,
            IfExists::Wait | IfExists::Rename | IfExists::Fail => Verdict::Taken,
        },
        // A server that lost its memory may have lost both names.
        (false, Final::Absent | Final::Other) if e.memory == Memory::Doubtful => Verdict::Unknown,
        // Gone with nothing, ours or a later file in its place: it was published, and B may have taken it already.
        (false, Final::Absent | Final::Ours | Final::Other) => Verdict::Published,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_evidence_has_its_verdict() {
        use Final::{Absent, Other, Ours};
        use IfExists::{Fail, Rename, Replace, Wait};
        let table = [
            (true, Absent, [Verdict::Again; 4]),
            (true, Ours, [Verdict::PublishedTwice, Verdict::Again, Verdict::PublishedTwice, Verdict::PublishedTwice]),
            (true, Other, [Verdict::Taken, Verdict::Again, Verdict::Taken, Verdict::Taken]),
            (false, Absent, [Verdict::Published; 4]),
            (false, Ours, [Verdict::Published; 4]),
            (false, Other, [Verdict::Published; 4]),
        ];
        for (temporary, final_name, wanted) in table {
            for (policy, verdict) in [Wait, Replace, Rename, Fail].into_iter().zip(wanted) {
                let known = resolve(Evidence { temporary, final_name, memory: Memory::Kept }, policy);
                assert_eq!(known, verdict, "{temporary} {final_name:?} {policy:?}");
                let doubtful = resolve(Evidence { temporary, final_name, memory: Memory::Doubtful }, policy);
                let undecidable = !temporary && final_name != Ours;
                assert_eq!(doubtful, if undecidable { Verdict::Unknown } else { verdict }, "{temporary} {final_name:?} {policy:?}");
            }
        }
    }

    use crate::error::Error;
    use crate::job::{Delivery, Event, Found, Job, Made, Name, Next, Progress, Seal, State};
    use jiff::Timestamp;
    use proptest::prelude::*;

    /// B, and the relay's journal; the job in memory is what a crash takes.
    struct Model {
        job: Job,
        log: Vec<Event>,
        temporary: bool,
        final_name: bool,
        /// A rename that was asked for and whose answer was given up may still be carried out.
        late: bool,
        /// How often B saw the file.
        seen: u32,
    }

    /// What becomes of a step.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Fate {
        Done,
        Refused,
        /// Carried out, and the answer is lost.
        AnswerLost,
        /// Never carried out, and nobody knows.
        RequestLost,
        /// The same, until the server gets to it.
        Late,
        CrashBefore,
        /// It was done, and the relay is killed before it records it.
        CrashAfter,
        /// Between two steps B takes what it sees.
        Taken,
    }

    impl Model {
        fn new() -> Self {
            let job = Job::new(1, "r", Name(b"x".to_vec()), Found::default(), Timestamp::UNIX_EPOCH, None);
            Self { job, log: Vec::new(), temporary: false, final_name: false, late: false, seen: 0 }
        }
        fn record(&mut self, event: Event) {
            self.job.apply(&event, Timestamp::UNIX_EPOCH).unwrap();
            self.log.push(event);
        }
        fn crash(&mut self) {
            let mut again = Model::new().job;
            self.log.iter().for_each(|e| again.apply(e, Timestamp::UNIX_EPOCH).unwrap());
            self.job = again;
        }
        fn rename(&mut self) -> bool {
            let done = self.temporary && !self.final_name;
            if done {
                (self.temporary, self.final_name) = (false, true);
                self.seen += 1;
            }
            done
        }
        fn step(&mut self, fate: Fate) {
            if std::mem::take(&mut self.late) && fate == Fate::Done {
                self.rename();
            }
            match fate {
                Fate::Taken => return self.final_name = false,
                Fate::CrashBefore => return self.crash(),
                _ => {}
            }
            let next = self.job.next();
            match next {
                Next::Prepare => {
                    let made = Made { size: 1, hash: "h".into(), ..Made::default() };
                    let delivery = Delivery {
                        destination: 0,
                        endpoint: "b".into(),
                        to: None,
                        folder: Name::default(),
                        name: Name(b"x".to_vec()),
                        temp: Name(b".x.part".to_vec()),
                        id: "0".into(),
                        progress: Progress::Waiting,
                        error: None,
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
                    };
                    if fate == Fate::Done {
                        self.record(Event::Sealed(Seal { size: 1, hash: "h".into(), modified: Timestamp::UNIX_EPOCH, partial: false, folder: None }));
                        self.record(Event::Transformed { made, deliveries: vec![delivery] });
                    }
                }
                Next::Upload(d) => {
                    self.temporary |= matches!(fate, Fate::Done | Fate::CrashAfter | Fate::AnswerLost);
                    if fate == Fate::Done {
                        self.record(Event::Uploaded { delivery: d });
                    }
                }
                Next::Publish(d) => {
                    // A name that is taken is waited for, before anything is recorded.
                    if self.final_name && !self.job.deliveries[d].unknown {
                        return;
                    }
                    self.record(Event::Publishing { delivery: d, policy: IfExists::Wait, name: Name(b"x".to_vec()), place: None });
                    match fate {
                        Fate::Done if self.rename() => self.record(Event::Published { delivery: d, synced: true, after: None }),
                        // A clear "no such file" after an attempt that is unknown says nothing new.
                        Fate::Done if self.job.deliveries[d].unknown => {}
                        Fate::Done => {
                            let again = !self.temporary;
                            self.record(Event::NotPublished { delivery: d, again, unknown: false });
                        }
                        Fate::Refused => self.record(Event::NotPublished { delivery: d, again: false, unknown: false }),
                        Fate::AnswerLost | Fate::CrashAfter => {
                            self.rename();
                        }
                        Fate::Late => self.late = true,
                        Fate::RequestLost | Fate::CrashBefore | Fate::Taken => {}
                    }
                }
                Next::Resolve(d) => {
                    let final_name = if self.final_name { Final::Ours } else { Final::Absent };
                    let evidence = Evidence { temporary: self.temporary, final_name, memory: Memory::Kept };
                    let event = match resolve(evidence, IfExists::Wait) {
                        Verdict::Published | Verdict::PublishedTwice => Event::Published { delivery: d, synced: true, after: None },
                        Verdict::Again | Verdict::Taken => Event::NotPublished { delivery: d, again: false, unknown: true },
                        Verdict::Unknown => panic!("nothing was forgotten"),
                    };
                    if fate == Fate::Done {
                        self.record(event);
                    }
                }
                Next::Finish => {
                    if fate == Fate::Done {
                        self.record(Event::Archived { path: Name(b"p".to_vec()) });
                    }
                }
                Next::Fail | Next::Rest => {}
            }
            if fate == Fate::Refused && !self.job.state.at_rest() && next != Next::Rest {
                self.record(Event::Postponed { destination: None, error: Error::endpoint("away") });
            }
            if fate == Fate::CrashAfter {
                self.crash();
            }
        }
    }

    fn fate() -> impl Strategy<Value = Fate> {
        prop_oneof![
            4 => Just(Fate::Done),
            1 => Just(Fate::Refused),
            1 => Just(Fate::AnswerLost),
            1 => Just(Fate::RequestLost),
            1 => Just(Fate::Late),
            1 => Just(Fate::CrashBefore),
            1 => Just(Fate::CrashAfter),
            2 => Just(Fate::Taken),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(4096), failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn whatever_is_lost_or_crashes_b_sees_the_file_exactly_once(fates in proptest::collection::vec(fate(), 0..40)) {
            let mut model = Model::new();
            for fate in fates {
                model.step(fate);
                prop_assert!(model.seen <= 1, "seen {} times: {:?}", model.seen, model.log);
                let recorded = model.job.clone();
                model.crash();
                prop_assert_eq!(&recorded, &model.job, "memory and journal differ");
            }
            // Then all is quiet.
            for _ in 0..20 {
                model.step(Fate::Done);
            }
            prop_assert_eq!(model.job.state, State::Delivered);
            prop_assert_eq!(model.seen, 1, "{:?}", model.log);
        }
    }
}
