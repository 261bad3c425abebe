//! An export on its way through a synchronised route, and what operators are told of it. Words alone.

use super::Exports;

/// An export on its way through a synchronised route.
pub struct Export {
    /// The job.
    pub job: u64,
    /// When its file was changed last, in nanoseconds since 1970.
    pub modified_ns: i128,
    /// Whether it holds all records.
    pub holds: Exports,
    /// What it is compared for.
    pub purpose: Purpose,
    /// An operator accepts however many deletions there are.
    pub deletions: Deletions,
}

/// A key as operators see it and write it again: that of several columns as a list where its parts hold blanks, which would
/// make another key look like it.
pub fn key_text(key: &[String]) -> String {
    let ambiguous = key.len() > 1 && key.iter().any(|part| part.is_empty() || part.contains(' '));
    if ambiguous { serde_json::to_string(key).unwrap_or_default() } else { key.join(" ") }
}

/// What an export is compared for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// What the other side isn't known to hold is sent.
    Send,
    /// The same, of an export that was relayed before: what its side has exported otherwise since says nothing any more.
    Again,
    /// The memory is made anew: nothing is sent.
    Learn,
}

/// Whether a mass deletion passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Deletions {
    /// However many there are.
    Accepted,
    /// Up to `max_deletes`.
    #[default]
    Limited,
}

/// A conflict, as an operator sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// The key.
    pub key: String,
    /// The column.
    pub column: String,
    /// The value when both sides last agreed.
    pub base: String,
    /// Side A's value.
    pub a: String,
    /// Side B's value.
    pub b: String,
}

/// The column of a record that one side has changed and the other one has deleted.
pub const WHOLE: &str = "*";
/// What stands for a record that is gone.
pub const DELETED: &str = "(deleted)";
/// What stands for a record that was changed.
pub const CHANGED: &str = "(changed)";
