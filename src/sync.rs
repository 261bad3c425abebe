//! The memory of records that the two directions of an exchange share (a sync group), and what follows from its one
//! rule: a record is sent only if the other side isn't already known to hold it.
//!
//! Nothing here opens a file or a journal: what is known comes through [`Memory`], and what a job would change of it is
//! staged there, to become true with the job's publication. It never sends a record back to the side that it came from.

mod alike;
pub mod cell;
pub mod compare;
pub mod deleted;
pub mod entry;
pub mod export;
mod index;
pub mod judge;
mod lookout;
mod missing;
mod one_way;
pub mod owed;
mod prepared;
mod taken;
mod told;
pub mod won;

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::formats::text::Reading;
use crate::transform::Limit;
use crate::transform::eval::order;
use cell::Cell;
pub use compare::Compare;
use deleted::Deletes;
use entry::{Id, Side};
use judge::Policy;

/// `[routes.X.sync]`, resolved.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The group's name.
    pub group: String,
    /// The route's name.
    pub route: String,
    /// The targets that tell records apart.
    pub key: Vec<String>,
    /// Which records go.
    pub send: Send,
    /// What an export holds.
    pub exports: Exports,
    /// What becomes of records that are gone.
    pub deletes: Deletes,
    /// More than that, and the job is held.
    pub max_deletes: Limit,
    /// What becomes of conflicts.
    pub policy: Policy,
    /// The side whose exports the route reads, by the order of the configuration.
    pub side: Side,
    /// The opposite route; none: this side alone exports.
    pub opposite: Option<Opposite>,
    /// The targets as they were sent are wanted later: for `sync.before`, or for deletions.
    pub keeps: Keeps,
    /// Tells one map from another.
    pub mapping: u64,
}

/// What a route must know of the opposite one.
#[derive(Clone, Debug)]
pub struct Opposite {
    /// Its name.
    pub route: String,
    /// Its targets: columns of this route's source; empty where they are those of its own source.
    pub targets: Vec<String>,
    /// How the other side writes.
    pub reading: Reading,
    /// Its source's columns by which this route's key is found again.
    pub key: Vec<String>,
    /// What its exports hold.
    pub exports: Exports,
    /// What the memory keeps of what it sends.
    pub keeps: Keeps,
    /// The texts of its map, which name the columns that it reads; none: it reads all.
    pub map: Option<Vec<String>>,
}

impl Opposite {
    /// Whether it reads a column of its source.
    pub fn reads(&self, column: &str) -> bool {
        let Some(map) = &self.map else { return true };
        let word = |c: char| c.is_alphanumeric() || c == '_';
        let whole = |text: &str, at: usize| !text[..at].ends_with(word) && !text[at + column.len()..].starts_with(word);
        map.iter().any(|text| text.match_indices(column).any(|(at, _)| whole(text, at)))
    }
}

/// Which records go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Send {
    /// Those that the other side isn't known to hold.
    Changes,
    /// All.
    All,
}

/// What an export holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exports {
    /// All records.
    Full,
    /// Some: one that is missing means nothing.
    Incremental,
}

/// What the memory keeps of records that were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeps {
    /// Their marks.
    Marks,
    /// The records.
    Rows,
}

/// What is known of a group as a whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Meta {
    /// The columns of each side, by their numbers.
    pub columns: [Vec<String>; 2],
    /// The routes that read each side's exports.
    pub routes: [Option<String>; 2],
    /// The map by which each side's exports were read last.
    pub mapping: [Option<u64>; 2],
    /// What each side's keys were made of.
    #[serde(default)]
    pub keys: [Option<Vec<String>>; 2],
    /// The last export of each side.
    pub last: [Option<LastExport>; 2],
    /// It is being made anew, and not all of it is there.
    #[serde(default)]
    pub incomplete: bool,
    /// The sides that export what they have imported, where exports do not hold all records.
    #[serde(default)]
    pub echoes: [bool; 2],
}

/// The last export of a side that the memory took in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LastExport {
    /// The job.
    pub job: u64,
    /// When its file was changed last, in nanoseconds since 1970.
    pub modified_ns: i128,
    /// It held all records.
    pub full: bool,
}

impl Spec {
    /// What the key's targets are made of, without the filters behind: by it one key is told from another.
    fn key_sources(&self, map: Option<&[(String, String)]>) -> Vec<String> {
        let targets = map.unwrap_or_default();
        let source = |name: &String| targets.iter().find(|(n, _)| n == name).map_or_else(|| name.clone(), |(_, text)| text.clone());
        self.key.iter().map(|name| source(name).split('|').next().unwrap_or_default().trim().to_owned()).collect()
    }
}

impl Meta {
    /// The number of a column, which is given one if it has none.
    pub fn column(&mut self, side: Side, name: &str) -> u16 {
        let names = &mut self.columns[side.at()];
        let at = names.iter().position(|n| n == name).unwrap_or_else(|| {
            names.push(name.to_owned());
            names.len() - 1
        });
        // A file has no 65,536 columns.
        u16::try_from(at).unwrap_or(u16::MAX)
    }
    /// The name of a column.
    pub fn name(&self, side: Side, column: u16) -> &str {
        self.columns[side.at()].get(usize::from(column)).map_or("", String::as_str)
    }
    /// The side whose exports a route reads: as it was, whatever the order of the configuration is now.
    pub fn side_of(&self, spec: &Spec) -> Side {
        let known = |name: &str| self.routes.iter().position(|r| r.as_deref() == Some(name));
        let at = known(&spec.route).or_else(|| spec.opposite.as_ref().and_then(|o| known(&o.route)).map(|at| 1 - at));
        match at {
            Some(0) => Side::A,
            Some(_) => Side::B,
            None => spec.side,
        }
    }
}

/// Where what is known of a group is kept.
pub trait Memory {
    /// What is known of the group as a whole.
    fn meta(&self) -> &Meta;
    /// All entries in the order of their ids.
    fn each(&mut self, each: &mut dyn FnMut(&Id, &[u8]) -> Result<()>) -> Result<()>;
    /// One entry.
    fn get(&mut self, id: &Id) -> Result<Option<Vec<u8>>>;
    /// When what a job delivered was there, in nanoseconds since 1970; none: long ago.
    fn published(&self, job: u64) -> Result<Option<i128>>;
    /// Stages what an entry becomes with the job; none: it is forgotten.
    fn stage(&mut self, id: &Id, entry: Option<Vec<u8>>) -> Result<()>;
    /// Stages what is known of the group then; nothing is staged after it.
    fn close(&mut self, meta: &Meta) -> Result<()>;
}

/// Which of two values is the later one; none: they can't be compared.
pub(crate) fn later(a: &Cell, b: &Cell) -> Option<Ordering> {
    use crate::record::Value;
    Some(match (a.value(), b.value()) {
        (Value::Number(x), Value::Number(y)) => x.cmp(&y),
        (Value::Date(x), Value::Date(y)) => x.cmp(&y),
        // Two times of day in two offsets may be one moment.
        (x @ Value::DateTime(..), y @ Value::DateTime(..)) => order(&x, &y).ok()??,
        (Value::Null, Value::Null) => return None,
        (Value::Null, _) => Ordering::Less,
        (_, Value::Null) => Ordering::Greater,
        // Of texts, only ISO dates follow each other as their texts do.
        _ => a.text().cmp(b.text()),
    })
}
