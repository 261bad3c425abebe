//! What operators ask for, also from another process, and what becomes of it. Words alone.

use crate::job::JobId;
use crate::sync::entry::Side;
use crate::sync::export::Deletions;

/// What an operator asks for, also from another process.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub enum Request {
    /// Try these jobs again.
    Retry {
        /// The jobs.
        jobs: Vec<JobId>,
        /// Although a later job published the same name.
        force: bool,
        /// However many deletions they bring.
        #[serde(default)]
        deletions: Deletions,
    },
    /// Deliver these archived files once more.
    Replay {
        /// The jobs.
        jobs: Vec<JobId>,
        /// Although a later job published the same name.
        force: bool,
    },
    /// B has this one.
    Confirm {
        /// The job.
        job: JobId,
    },
    /// Make a group's memory anew from both sides' exports; nothing is sent.
    Rebuild {
        /// The group.
        group: String,
    },
    /// Let a group's memory begin with nothing.
    Forget {
        /// The group.
        group: String,
    },
    /// Settle the conflicts that a job has parked.
    Resolve {
        /// The job.
        job: JobId,
        /// Which side wins.
        take: Take,
    },
    /// Stop a route.
    Pause {
        /// The routes.
        routes: Vec<String>,
    },
    /// Start it again.
    Resume {
        /// The routes.
        routes: Vec<String>,
    },
}

/// Which side wins conflicts.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Take {
    /// One side wins all.
    All(Side),
    /// Each by itself.
    Each(Vec<Decision>),
}

/// A row of a conflicts file that an operator has edited.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Decision {
    /// The record.
    pub key: String,
    /// The column.
    pub column: String,
    /// The side that wins; none: it shows in the values.
    pub side: Option<Side>,
    /// Side A's value, as edited.
    pub a: String,
    /// Side B's value, as edited.
    pub b: String,
    /// The line that it stands in.
    #[serde(default)]
    pub line: u64,
}

impl Decision {
    /// Whether an operator has decided anything in it.
    pub fn says_something(&self) -> bool {
        self.side.is_some() || self.a == self.b
    }
}

/// What became of a request.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Answer {
    /// What was done, a line each.
    pub done: Vec<String>,
    /// What was refused, a line each.
    pub refused: Vec<String>,
}
