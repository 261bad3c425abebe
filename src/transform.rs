//! A's records to B's: reader → plan → writer, with the rejects beside.
//!
//! It opens no file and knows no route: streams come in, streams go out, and what is counted adds up.

pub mod compile;
mod compute;
pub mod eval;
pub mod expr;
pub mod filters;
pub mod lookup;
pub mod plan;
pub mod predicates;
pub mod rejects;

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::error::{Error, Result};
use crate::formats::text::{Encoder, Reading, Style};
use crate::formats::{Format, Input, Next, Output, RecordWriter, Writing, read_some};
use crate::options::Options;
use crate::record::{Columns, Record, Reject, Value};
use crate::stop::Stop;
use eval::{Context, Env, State};
use lookup::Lookups;
use plan::{Mapping, Place, Plan, Unique, Verdict};
use rejects::Rejects;

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
    /// How A writes numbers, dates and booleans.
    pub reading: Reading,
    /// How B wants them.
    pub style: Style,
    /// B's encoding.
    pub encoder: Encoder,
    /// What is computed.
    pub mapping: Mapping,
    /// One bad record fails the file.
    pub rejects_fail: bool,
    /// More rejects than that fail the file.
    pub max_rejects: Option<Limit>,
    /// What `unique` may hold.
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
}

/// One file of A.
pub struct Source {
    /// Its bytes.
    pub input: Input,
    /// Its facts.
    pub context: Context,
    /// The code tables as they are for this file.
    pub lookups: Arc<Lookups>,
}

impl Transformation {
    /// Transforms the records of `sources`, one after the other, into one output.
    pub fn run(&self, sources: Vec<Source>, output: Output, rejects: &mut dyn Rejects, stop: &Stop) -> Result<Outcome> {
        let mut run = Run {
            spec: self,
            output: Some(output),
            writer: None,
            targets: Vec::new(),
            unique: Unique::new(self.max_memory),
            outcome: Outcome::default(),
            since_look: 0,
        };
        for source in sources {
            let name = source.context.file_path.clone();
            run.file(source, rejects, stop).map_err(|e| e.at("transform").on_file(std::path::Path::new(&name)))?;
        }
        run.finish(rejects)
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

struct Run<'t> {
    spec: &'t Transformation,
    output: Option<Output>,
    writer: Option<Box<dyn RecordWriter>>,
    targets: Vec<String>,
    unique: Unique,
    outcome: Outcome,
    since_look: u32,
}

impl Run<'_> {
    fn file(&mut self, source: Source, rejects: &mut dyn Rejects, stop: &Stop) -> Result<()> {
        let Some(input) = not_empty(source.input)? else { return Ok(()) };
        let mut reader = self.spec.input.reader(&self.spec.input_options, input)?;
        let columns = reader.columns().clone();
        rejects.start(&columns)?;
        let mut record = Record::default();
        let mut pending = None;
        let mut mapping = std::borrow::Cow::Borrowed(&self.spec.mapping);
        let derived = columns.nested && self.spec.output.has_columns() && mapping.map.is_none() && mapping.columns.is_none();
        if derived {
            // Without a map, the first record of a nested format names the columns of a flat one.
            pending = loop {
                match reader.read(&mut record)? {
                    Next::Bad(reject) => self.reject(&record, &reject, rejects)?,
                    other => break Some(other),
                }
            };
            if let Some(Value::Map(entries)) = &record.tree {
                mapping.to_mut().columns = Some(entries.iter().map(|(n, _)| n.clone()).collect());
            }
        }
        let plan = self.spec.plan(&mapping, &columns)?;
        self.open(&plan.targets)?;
        let state = State::new(plan.fields.len());
        loop {
            let next = match pending.take() {
                Some(next) => next,
                None => reader.read(&mut record)?,
            };
            self.look(stop)?;
            let surplus = if derived { plan::surplus_names(&record, &plan.targets) } else { None };
            match (next, surplus) {
                (Next::End, _) => break,
                (Next::Bad(reject), _) => self.reject(&record, &reject, rejects)?,
                (Next::Record, Some(name)) => self.reject(&record, &Reject::new(&name, "the first record has no such name: write a map"), rejects)?,
                (Next::Record, None) => {
                    let env = Env {
                        record: &record,
                        columns: &plan.columns,
                        reading: &self.spec.reading,
                        style: &self.spec.style,
                        lookups: &source.lookups,
                        context: &source.context,
                        state: &state,
                    };
                    self.record(&plan, &env, rejects)?;
                }
            }
        }
        self.outcome.remarks.extend(reader.remarks());
        if self.outcome.counts.read > 0 {
            let unseen = plan.fields.iter().zip(&state.seen).filter(|(_, seen)| !seen.load(Ordering::Relaxed));
            self.outcome.remarks.extend(unseen.map(|(name, _)| format!("no record has a {name}")));
        }
        Ok(())
    }

    fn record<'r>(&mut self, plan: &'r Plan, env: &Env<'r>, rejects: &mut dyn Rejects) -> Result<()> {
        let mut values = Vec::with_capacity(self.targets.len());
        match plan.apply(env, &mut self.unique, &mut values) {
            Err(reject) => self.reject(env.record, &reject, rejects),
            Ok(Verdict::Skip) => {
                self.outcome.counts.read += 1;
                self.outcome.counts.skipped += 1;
                Ok(())
            }
            Ok(Verdict::Write) => {
                let written = match &mut self.writer {
                    Some(writer) => writer.write(&values)?,
                    None => Ok(()),
                };
                if let Err(reject) = written {
                    return self.reject(env.record, &reject, rejects);
                }
                plan.written(&values, &self.spec.style, &mut self.unique);
                if self.unique.full {
                    return Err(Error::file("output.fields: `unique` needs more than max_memory").hint("raise max_memory, or do without `unique`"));
                }
                self.outcome.counts.read += 1;
                self.outcome.counts.written += 1;
                Ok(())
            }
        }
    }

    fn reject(&mut self, record: &Record, reject: &Reject, rejects: &mut dyn Rejects) -> Result<()> {
        self.outcome.counts.read += 1;
        self.outcome.counts.rejected += 1;
        let place = if reject.field.is_empty() { String::new() } else { format!("{}: ", reject.field) };
        if self.spec.rejects_fail {
            return Err(Error::file(format!("{place}{}", reject.reason))
                .on_line(record.line)
                .hint("correct the record, or set rejects = \"divert\" to let the others pass"));
        }
        rejects.put(record, reject)?;
        match self.spec.max_rejects {
            Some(limit @ Limit::Number(_)) if limit.exceeded(self.outcome.counts.rejected, self.outcome.counts.read) => {
                Err(Error::file(format!("more than {limit} records are rejected, the last one because: {place}{}", reject.reason))
                    .on_line(record.line)
                    .hint("correct the export, or raise max_rejects"))
            }
            _ => Ok(()),
        }
    }

    /// Opens the writer, once; later files must give the same targets.
    fn open(&mut self, targets: &[String]) -> Result<()> {
        if let Some(output) = self.output.take() {
            let writing = Writing {
                columns: targets.to_vec(),
                style: self.spec.style.clone(),
                encoder: self.spec.encoder.clone(),
                mapped: self.spec.mapping.map.is_some() || self.spec.mapping.columns.is_some(),
            };
            self.writer = Some(self.spec.output.writer(&self.spec.output_options, writing, output)?);
            targets.clone_into(&mut self.targets);
            return Ok(());
        }
        if self.targets != targets {
            return Err(Error::file("the file has other columns than the first one").hint("write a map, so that all files give the same targets"));
        }
        Ok(())
    }

    /// Looks for a wish to stop, now and then.
    fn look(&mut self, stop: &Stop) -> Result<()> {
        self.since_look += 1;
        if self.since_look < 256 {
            return Ok(());
        }
        self.since_look = 0;
        stop.check()
    }

    fn finish(mut self, rejects: &mut dyn Rejects) -> Result<Outcome> {
        if self.output.is_some() {
            // No file had a record: B still gets its header.
            let targets = Plan::compile(&self.spec.mapping, None).map(|p| p.targets).unwrap_or_default();
            if targets.is_empty() && self.spec.output.has_columns() {
                self.output = None;
            } else {
                self.open(&targets)?;
            }
        }
        if let Some(writer) = self.writer.take() {
            writer.finish()?;
        }
        rejects.finish()?;
        let counts = self.outcome.counts;
        if let Some(limit @ Limit::Percent(_)) = self.spec.max_rejects
            && limit.exceeded(counts.rejected, counts.read)
        {
            let message = format!("{} of {} records are rejected, more than {limit}", counts.rejected, counts.read);
            return Err(Error::file(message).at("transform").hint("correct the export, or raise max_rejects"));
        }
        if !counts.balanced() {
            return Err(Error::file(format!("the counts do not add up: {counts:?}"))
                .at("transform")
                .hint("this is a fault of passerelle: please report it with the file"));
        }
        Ok(self.outcome)
    }
}

/// The stream, unless it holds no byte at all.
fn not_empty(mut input: Input) -> Result<Option<Input>> {
    let mut first = [0u8; 1];
    Ok(match read_some(&mut input, &mut first)? {
        0 => None,
        _ => Some(Box::new(std::io::Cursor::new(first).chain(input))),
    })
}

/// Every mistake of a mapping that can be found without a file; `columns` where the configuration declares them.
pub fn check(mapping: &Mapping, columns: Option<&Columns>) -> Vec<(Place, expr::Mistake)> {
    Plan::compile(mapping, columns).err().unwrap_or_default()
}
