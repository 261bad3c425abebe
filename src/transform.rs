//! A's records to B's: reader → plan → writer, with the rejects beside.
//!
//! It opens no file and knows no route: streams come in, streams go out, and what is counted adds up.

pub mod changes;
pub mod compile;
mod compute;
pub mod corrected;
pub mod eval;
pub mod explain;
pub mod expr;
pub mod filters;
mod fit;
pub mod group;
mod kinds;
mod lets;
pub mod lookup;
mod parse;
mod pieces;
mod place;
pub mod plan;
pub mod predicates;
mod reference;
pub mod refused;
mod regroup;
pub mod rejects;
mod rows;
mod rules;
mod run;
mod sink;
mod spill;
mod tools;
pub mod trial;
pub mod typed;
mod written;

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::formats::packed::{Packing, unpack};
use crate::formats::text::{Encoder, Reading, Style};
use crate::formats::{Format, Input, RecordReader, Room};
use crate::options::Options;
use crate::record::Columns;
use crate::stop::Stop;
use changes::Changes;
use eval::Context;
use explain::Explained;
use group::{Grouping, Groups};
use lookup::Lookups;
use plan::{Mapping, Place, Plan};
pub use refused::Refused;
use rejects::Rejects;
pub use sink::Parts;
pub use tools::{template_filters, template_tests};

/// What a route's transformation is made of, resolved once from the configuration.
#[derive(Clone)]
pub struct Transformation {
    /// How A writes.
    pub input: &'static dyn Format,
    /// The keys of `input`.
    pub input_options: Options,
    /// How B reads.
    pub output: &'static dyn Format,
    /// The keys of `output`.
    pub output_options: Options,
    /// A file of no byte holds no record, also where the format says that it is broken (`empty = "send"`).
    pub sends_empty: bool,
    /// How A writes numbers, dates and booleans.
    pub reading: Reading,
    /// How B wants them.
    pub style: Style,
    /// B's encoding.
    pub encoder: Encoder,
    /// Adjacent records of A that make one.
    pub input_group: Option<Grouping>,
    /// What is computed.
    pub mapping: Mapping,
    /// The targets by which B's records are ordered; true: largest first.
    pub order_by: Vec<(String, bool)>,
    /// Adjacent records for B that make one.
    pub output_group: Option<Grouping>,
    /// So many records a file.
    pub split: Option<usize>,
    /// How B's file is compressed.
    pub packing: Option<Packing>,
    /// One bad record fails the file.
    pub rejects_fail: bool,
    /// More rejects than that fail the file.
    pub max_rejects: Option<Limit>,
    /// What may be held in memory.
    pub max_memory: u64,
}

impl std::fmt::Debug for Transformation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} → {}", self.input.name(), self.output.name())
    }
}

/// A number, or a share of the records read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    /// So many.
    Number(u64),
    /// So many of a hundred.
    Percent(f64),
}

impl Limit {
    /// Whether `part` of `whole` is more than this.
    pub fn exceeded(self, part: u64, whole: u64) -> bool {
        match self {
            Limit::Number(n) => part > n,
            // Counts of records stay far below 2^52, where floats are exact.
            Limit::Percent(p) => part as f64 * 100.0 > p * whole as f64,
        }
    }
}

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Limit::Number(n) => write!(f, "{n}"),
            Limit::Percent(p) => write!(f, "{p}%"),
        }
    }
}

/// How many records there were, and what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Counts {
    /// Read from A.
    pub read: u64,
    /// Left out by `where`.
    pub skipped: u64,
    /// Written for B.
    pub written: u64,
    /// Diverted with a reason.
    pub rejected: u64,
    /// Known to B already.
    pub unchanged: u64,
    /// In conflict, waiting for an operator.
    pub parked: u64,
    /// Deletions sent.
    pub deleted: u64,
}

impl Counts {
    /// Whether every record that was read is accounted for.
    pub fn balanced(&self) -> bool {
        self.read == self.written + self.skipped + self.rejected + self.unchanged + self.parked
    }
}

/// What a transformation ended with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// The records.
    pub counts: Counts,
    /// What was passed over or repaired without harm.
    pub remarks: Vec<String>,
    /// How many files were written; 0: none was asked for.
    pub parts: usize,
}

/// One file of A.
pub struct Source {
    /// Its bytes.
    pub input: Input,
    /// Its facts.
    pub context: Context,
    /// The code tables as they are for this file.
    pub lookups: Arc<Lookups>,
    /// Where A's file stands, for formats that keep a part of it in a second file.
    pub beside: Option<std::path::PathBuf>,
}

/// Where a transformation's results go, and what it may use.
pub struct Work<'w> {
    /// Opens B's file, or its parts. Always there when a run begins.
    pub parts: Option<&'w mut Parts<'w>>,
    /// Takes the rejected records.
    pub rejects: &'w mut dyn Rejects,
    /// The folder of files that vanish with the process.
    pub scratch: &'w std::path::Path,
    /// Whether to stop.
    pub stop: &'w Stop,
    /// What B refused of what was made before: those records are rejected, in B's words.
    pub refused: Option<Refused>,
    /// Decides which records are sent; none: all of them.
    pub changes: Option<&'w mut dyn Changes>,
    /// Is shown the first records, target by target.
    pub explain: Option<&'w mut dyn FnMut(Explained)>,
}

impl Transformation {
    /// Transforms the records of `sources`, one after the other, into one output, or as many parts as `split` asks for.
    pub fn run<'w>(&'w self, sources: Vec<Source>, work: Work<'w>) -> Result<Outcome> {
        run::run(self, sources, work)
    }

    /// The extension of B's files.
    pub fn extension(&self) -> String {
        match self.packing {
            None => self.output.extension().to_owned(),
            Some(packing) => format!("{}.{}", self.output.extension(), packing.extension()),
        }
    }

    /// How that file writes values: what it declares of itself stands where the configuration says nothing.
    pub(crate) fn reading_of(&self, reader: &dyn RecordReader) -> std::borrow::Cow<'_, Reading> {
        match reader.decimal_sign().filter(|sign| *sign != self.reading.decimal && !self.input_options.has("decimal")) {
            Some(decimal) => std::borrow::Cow::Owned(Reading { decimal, ..self.reading.clone() }),
            None => std::borrow::Cow::Borrowed(&self.reading),
        }
    }

    /// The reader of one file: unpacked, and grouped where the route says so.
    pub fn reader(&self, input: Input, room: &Room) -> Result<Box<dyn RecordReader>> {
        let (corrected, input) = corrected::sniff(unpack(input, self.input.archives(), room)?)?;
        let reader = match corrected {
            Some(delimiter) => corrected::reader(self, input, delimiter, room)?,
            None => self.input.reader(&self.input_options, input, room)?,
        };
        Ok(match &self.input_group {
            None => reader,
            Some(grouping) => Box::new(Groups::new(reader, grouping, &self.mapping.types, &self.reading, self.max_memory)?),
        })
    }

    /// The plan for a header, with the mistakes of the mapping as one error of the file.
    fn plan(&self, mapping: &Mapping, columns: &Columns) -> Result<Plan> {
        Plan::compile(mapping, Some(columns)).map_err(|mistakes| {
            // A column that many expressions name is told once.
            let mut missing: Vec<&str> = Vec::new();
            let mut other: Vec<String> = Vec::new();
            for (place, m) in &mistakes {
                match m.message.strip_prefix(expr::NO_COLUMN) {
                    Some(name) if missing.contains(&name) => {}
                    Some(name) => missing.push(name),
                    None => other.push(format!("{place}: {}", m.message)),
                }
            }
            if !missing.is_empty() {
                other.insert(0, format!("the file has no column {}", missing.join(", ")));
            }
            let hint = mistakes.iter().find_map(|(_, m)| m.hint.clone()).map(|h| format!("{h}; ")).unwrap_or_default();
            Error::file(other.join("; ")).hint(format!("{hint}check input.delimiter and input.encoding, change the mapping, or ask A for the column"))
        })
    }
}

/// Every mistake of a mapping that can be found without a file; `columns` where the configuration declares them.
pub fn check(mapping: &Mapping, columns: Option<&Columns>) -> Vec<(Place, expr::Mistake)> {
    Plan::compile(mapping, columns).err().unwrap_or_default()
}
