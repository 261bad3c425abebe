//! The states of a job, and which may follow which.

/// The states that users see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Taken out of A's folder, or about to be.
    Claimed,
    /// Being turned into B's format.
    Transforming,
    /// On its way to its destinations.
    Delivering,
    /// A destination can't take it now.
    Waiting,
    /// Published everywhere, and its original is where `on_success` says.
    Delivered,
    /// In `errors`.
    Failed,
    /// Waits for an operator.
    Held,
    /// An earlier file had the same name and content.
    Duplicate,
    /// A later export made it pointless.
    Superseded,
    /// An operator put its file back into the source.
    Resubmitted,
    /// An operator removed its file from `errors`.
    Removed,
    /// It can't be known whether B has it.
    Unconfirmed,
}

impl State {
    /// All states.
    pub const ALL: [State; 12] = [
        State::Claimed,
        State::Transforming,
        State::Delivering,
        State::Waiting,
        State::Delivered,
        State::Failed,
        State::Held,
        State::Duplicate,
        State::Superseded,
        State::Resubmitted,
        State::Removed,
        State::Unconfirmed,
    ];
    /// The word in the journal and in JSON.
    pub fn word(self) -> &'static str {
        match self {
            State::Claimed => "claimed",
            State::Transforming => "transforming",
            State::Delivering => "delivering",
            State::Waiting => "waiting",
            State::Delivered => "delivered",
            State::Failed => "failed",
            State::Held => "held",
            State::Duplicate => "duplicate",
            State::Superseded => "superseded",
            State::Resubmitted => "resubmitted",
            State::Removed => "removed",
            State::Unconfirmed => "unconfirmed",
        }
    }
    /// The state of that word.
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.word() == word)
    }
    /// Whether the relay has nothing left to do for it by itself.
    pub fn at_rest(self) -> bool {
        match self {
            State::Claimed | State::Transforming | State::Delivering | State::Waiting => false,
            State::Delivered
            | State::Failed
            | State::Held
            | State::Duplicate
            | State::Superseded
            | State::Resubmitted
            | State::Removed
            | State::Unconfirmed => true,
        }
    }
    /// Whether an operator must say what becomes of it, for which its file is still needed.
    pub fn is_open_question(self) -> bool {
        matches!(self, State::Held | State::Unconfirmed)
    }
    /// Whether `next` may follow. A job at rest moves only by an operator's wish.
    pub fn may_become(self, next: State) -> bool {
        use State::{Claimed, Delivered, Delivering, Duplicate, Failed, Held, Removed, Resubmitted, Superseded, Transforming, Unconfirmed, Waiting};
        match self {
            Claimed | Transforming | Delivering | Waiting => next != Resubmitted,
            Failed => matches!(next, Claimed | Delivering | Failed | Resubmitted | Removed | Superseded),
            Held | Unconfirmed => matches!(next, Claimed | Delivering | Delivered | Held | Unconfirmed | Failed | Superseded),
            Delivered | Duplicate | Superseded | Resubmitted | Removed => next == self,
        }
    }
}
