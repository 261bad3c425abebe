//! The facts about a job, and the parts of its state that facts carry.

use std::borrow::Cow;
use std::path::Path;

use jiff::Timestamp;

use super::{JobId, Name};
use crate::config::{Batch, IfExists};
use crate::error::Error;
use crate::sync::export::Deletions;
use crate::transform::Counts;

/// What is known of the original once it is sealed.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Seal {
    /// Its size in bytes.
    pub size: u64,
    /// Its SHA-256 in hexadecimal digits; empty while a large file is not hashed yet.
    pub hash: String,
    /// When A changed it last.
    pub modified: Timestamp,
    /// These are corrected rejects, or a file that is delivered once more: what is missing in it means nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
    /// Where the claimed file lies, beside others of its source: `path` may name another folder later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<Name>,
}

/// A destination's folder at a moment: what is mounted there later may be another one.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Place {
    /// Its path.
    pub path: Name,
    /// The device of a local one; 0: it is not known.
    pub dev: u64,
    /// Its inode, of a local one.
    pub ino: u64,
}

/// One delivery to one destination.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Delivery {
    /// The destination's number in the route.
    pub destination: usize,
    /// The endpoint's name, or "local".
    pub endpoint: String,
    /// Its path, as it was configured: destinations may be put in another order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// The folder, with the relative one of a recursive source.
    pub folder: Name,
    /// The final name.
    pub name: Name,
    /// The temporary name, drawn once.
    pub temp: Name,
    /// Twelve hex digits, the delivery's own.
    pub id: String,
    /// How far it is.
    pub progress: Progress,
    /// How often a rename was tried without a clear answer, or answered "no such file".
    pub attempts: u32,
    /// The answer to an earlier attempt was never known: it may still be carried out, or have been.
    #[serde(default)]
    pub unknown: bool,
    /// When it was tried last.
    #[serde(default)]
    pub tried_at: Option<Timestamp>,
    /// Where it was tried last: in another folder, what is not there tells nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tried_in: Option<Place>,
    /// It is published, and a power cut of the server may still undo it.
    #[serde(default)]
    pub doubtful: bool,
    /// When B was seen to have taken it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_at: Option<Timestamp>,
    /// An operator was told that B has not taken it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub overdue: bool,
    /// Records are sent by themselves, so many at once: what was sent stands beside the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_record: Option<Batch>,
    /// An operator says that B has the request that was in doubt.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub confirmed: bool,
    /// Which part of a file that was split, from 0.
    #[serde(default)]
    pub part: usize,
    /// Why it ended without being published, while others of its job went on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Error>,
}

/// How far a delivery is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Progress {
    /// Nothing is at B yet, or an unfinished temporary file.
    Waiting,
    /// The temporary file is complete and verified.
    Uploaded,
    /// A rename was about to be tried: its outcome is unknown until the next event.
    Publishing,
    /// The final name is at B.
    Published,
    /// It can't be known whether it is.
    Unconfirmed,
    /// B does not take it; the other destinations are seen to first.
    #[serde(rename = "given_up")]
    GivenUp,
}

impl Progress {
    /// Whether something is still to be done for it.
    pub fn is_open(self) -> bool {
        match self {
            Progress::Waiting | Progress::Uploaded | Progress::Publishing => true,
            Progress::Published | Progress::Unconfirmed | Progress::GivenUp => false,
        }
    }
    /// The word in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Progress::Waiting => "waiting",
            Progress::Uploaded => "uploaded",
            Progress::Publishing => "publishing",
            Progress::Published => "published",
            Progress::Unconfirmed => "unconfirmed",
            Progress::GivenUp => "given_up",
        }
    }
}

/// What is delivered.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Made {
    /// Its size in bytes.
    pub size: u64,
    /// Its SHA-256.
    pub hash: String,
    /// It stands in `work`; otherwise the original itself is delivered.
    pub in_work: bool,
    /// The records; none for raw bytes.
    pub counts: Option<Counts>,
    /// What was passed over or repaired.
    pub remarks: Vec<String>,
    /// It changes what a sync group knows, as soon as B has it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub staged: bool,
    /// So many conflicts wait for an operator.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub conflicts: u64,
    /// The jobs of the opposite route whose exports are to be read once more: they hold records that have won.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub owed: Vec<JobId>,
    /// The jobs that had parked conflicts which are settled, or parked by this one anew.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unparked: Vec<JobId>,
    /// The parts, where it was split; `size` and `hash` are then those of all and of none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<PartMade>,
}

/// One part of a file that was split.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct PartMade {
    /// Its size in bytes.
    pub size: u64,
    /// Its SHA-256.
    pub hash: String,
}

/// A fact about a job, in the order it happened.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// An export that was relayed is read once more, for what it still owes the other side.
    Owed,
    /// The original is safe and known.
    Sealed(Seal),
    /// The file for B is made; its deliveries are planned.
    Transformed {
        /// What was made.
        made: Made,
        /// Where it goes; none where nothing is published.
        deliveries: Vec<Delivery>,
    },
    /// A large original was hashed while it was sent.
    Hashed {
        /// Its SHA-256.
        hash: String,
    },
    /// The temporary file is complete at this delivery's destination.
    Uploaded {
        /// The delivery's number.
        delivery: usize,
    },
    /// The rename is about to be tried.
    Publishing {
        /// The delivery's number.
        delivery: usize,
        /// The policy.
        policy: IfExists,
        /// The final name, which `rename` may have changed.
        name: Name,
        /// The folder of the temporary file.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        place: Option<Place>,
    },
    /// The answer said that nothing was renamed; the temporary file is still the one to publish, or must be sent again.
    NotPublished {
        /// The delivery's number.
        delivery: usize,
        /// The temporary file is gone: send it again.
        again: bool,
        /// It was found out at B, not answered: the request may still come.
        #[serde(default)]
        unknown: bool,
    },
    /// The final name is at B.
    Published {
        /// The delivery's number.
        delivery: usize,
        /// The server keeps it through a power cut.
        #[serde(default = "yes")]
        synced: bool,
        /// B's own import function failed, which decides nothing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<Error>,
    },
    /// B refused some of the records that were sent by themselves.
    Refused {
        /// So many.
        records: u64,
    },
    /// The server had lost the rename, and it was made again.
    Restored {
        /// The delivery's number.
        delivery: usize,
    },
    /// B has taken it: its name is gone.
    Taken {
        /// The delivery's number.
        delivery: usize,
    },
    /// B has not taken it within `confirm`.
    NotTaken {
        /// The delivery's number.
        delivery: usize,
    },
    /// The original is where `on_success` says.
    Archived {
        /// Where.
        path: Name,
    },
    /// A destination can't take it now.
    Postponed {
        /// The destination's number; none: it waits as a whole.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        destination: Option<usize>,
        /// Why.
        error: Error,
    },
    /// One of several destinations does not take it: once the others are seen to, it fails.
    GivenUp {
        /// The destination's number in the route.
        destination: usize,
        /// Why.
        error: Error,
    },
    /// The file can't be relayed: it goes to `errors`.
    Failing {
        /// Why.
        error: Error,
    },
    /// It lies in `errors`.
    Failed {
        /// Its name there.
        path: Name,
    },
    /// An earlier job had the same name and content.
    Duplicate {
        /// That job.
        of: JobId,
    },
    /// It can't be known whether B has it.
    Unconfirmed {
        /// The delivery's number.
        delivery: usize,
        /// Why.
        error: Error,
    },
    /// An operator must decide whether it may go on.
    Held {
        /// Why.
        error: Error,
    },
    /// A later full export holds all that it holds.
    Superseded {
        /// That job.
        by: JobId,
    },
    /// An operator wants it tried again; its file stands claimed again.
    Retried {
        /// However many deletions it brings.
        #[serde(default)]
        deletions: Deletions,
    },
    /// An operator says that B has it.
    Confirmed,
    /// An operator put its file back into the source.
    Resubmitted,
    /// An operator removed its file.
    Removed,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// What journals say that are older than the question.
fn yes() -> bool {
    true
}

impl Event {
    /// The same with a path below `home` as it is from there, as the journal keeps it: a home may be moved.
    pub fn seen_from(&self, home: &Path) -> Cow<'_, Self> {
        let below = |path: &Name| path.path().strip_prefix(home).map(Name::of).ok();
        match self {
            Event::Archived { path } => below(path).map(|path| Event::Archived { path }),
            Event::Failed { path } => below(path).map(|path| Event::Failed { path }),
            _ => None,
        }
        .map_or(Cow::Borrowed(self), Cow::Owned)
    }

    /// The same with its path where it is now.
    #[must_use]
    pub fn placed_in(mut self, home: &Path) -> Self {
        if let Event::Archived { path } | Event::Failed { path } = &mut self
            && !path.is_empty()
        {
            *path = Name::of(&home.join(path.path()));
        }
        self
    }

    /// Whether B has the file with this fact, and what its job has staged is true.
    pub fn publishes(&self, job: &super::Job) -> bool {
        let last = matches!(self, Event::Transformed { .. } | Event::Published { .. } | Event::Confirmed);
        last && job.made.as_ref().is_some_and(|m| m.staged) && job.deliveries.iter().all(|d| d.progress == Progress::Published)
    }

    /// The word for this fact in `show`.
    pub fn word(&self) -> &'static str {
        match self {
            Event::Owed => "owed",
            Event::Sealed(_) => "sealed",
            Event::Transformed { .. } => "transformed",
            Event::Hashed { .. } => "hashed",
            Event::Uploaded { .. } => "uploaded",
            Event::Publishing { .. } => "publishing",
            Event::NotPublished { .. } => "not_published",
            Event::Published { .. } => "published",
            Event::Refused { .. } => "refused",
            Event::Restored { .. } => "restored",
            Event::Taken { .. } => "taken",
            Event::NotTaken { .. } => "not_taken",
            Event::Archived { .. } => "archived",
            Event::Postponed { .. } => "postponed",
            Event::GivenUp { .. } => "given_up",
            Event::Failing { .. } => "failing",
            Event::Failed { .. } => "failed",
            Event::Duplicate { .. } => "duplicate",
            Event::Unconfirmed { .. } => "unconfirmed",
            Event::Held { .. } => "held",
            Event::Superseded { .. } => "superseded",
            Event::Retried { .. } => "retried",
            Event::Confirmed => "confirmed",
            Event::Resubmitted => "resubmitted",
            Event::Removed => "removed",
        }
    }
}

/// A file as a look found it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Found {
    /// Bytes.
    pub size: u64,
    /// Nanoseconds since 1970.
    #[serde(with = "nanoseconds")]
    pub modified_ns: i128,
    /// The device.
    pub dev: u64,
    /// The inode.
    pub ino: u64,
}

/// A time in a line that begins with what it is: serde reads no 128 bits there. What is beyond 64 stands as text.
mod nanoseconds {
    use serde::{Deserialize, Deserializer, Serializer};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Number(i64),
        Text(String),
        /// As older journals wrote what is beyond.
        Beyond(f64),
    }

    pub(super) fn serialize<S: Serializer>(ns: &i128, s: S) -> Result<S::Ok, S::Error> {
        match i64::try_from(*ns) {
            Ok(ns) => s.serialize_i64(ns),
            Err(_) => s.serialize_str(&ns.to_string()),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<i128, D::Error> {
        Ok(match Written::deserialize(d)? {
            Written::Number(ns) => ns.into(),
            Written::Text(text) => text.parse().map_err(serde::de::Error::custom)?,
            #[allow(clippy::cast_possible_truncation)] // About then is all that is known.
            Written::Beyond(ns) => ns as i128,
        })
    }
}
