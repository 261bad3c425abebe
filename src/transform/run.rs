//! The loop: reader → elements → plan → sink, with the rejects beside, and the counts that must add up.

use std::path::Path;
use std::sync::Arc;

use bumpalo::Bump;

use super::changes::{self, Decision};
use super::eval::{Context, Env, State, Turn};
use super::fit;
use super::lookup::Lookups;
use super::pieces::{self, Done, Scouted, Shop, nth};
use super::plan::{Mapping, Plan, Unique, Values, Verdict, whole_name};
use super::rejects::Shown;
use super::sink::Sink;
use super::tools::Bench;
use super::{Counts, Limit, Outcome, Source, Transformation, Work, explain};
use crate::error::{Error, Result};
use crate::formats::{Bytes, Input, Next, PieceReader, Pieces, RecordReader, Remark, Room, Tools, peek};
use crate::record::{Columns, Record, Reject, Value};

/// How many records `--explain` shows.
const EXPLAINED_MAX: u64 = 10;

/// Transforms the records of all sources into one output.
pub(super) fn run<'w>(spec: &'w Transformation, sources: Vec<Source>, work: Work<'w>) -> Result<Outcome> {
    let several = sources.len() > 1;
    let context = sources.first().map(|s| s.context.clone()).ok_or_else(|| Error::relay("nothing to transform"))?;
    let tools: Arc<dyn Tools> = Arc::new(Bench { reading: spec.reading.clone(), style: spec.style.clone(), context: context.clone() });
    let mut run = Run {
        spec,
        several,
        tools,
        context,
        work,
        sink: None,
        targets: Vec::new(),
        unique: Unique::new(spec.max_memory),
        counts: Counts::default(),
        remarks: Vec::new(),
        counted: Vec::new(),
        first_reject: None,
        since_look: 0,
        explained: 0,
        compared: false,
    };
    for source in sources {
        let name = source.context.file_path.clone();
        run.file(source).map_err(|e| e.at("transform").on_file(Path::new(&name)))?;
    }
    run.finish()
}

struct Run<'w> {
    spec: &'w Transformation,
    /// More than one file goes into the output: what is told of a record names its file.
    several: bool,
    tools: Arc<dyn Tools>,
    context: Context,
    work: Work<'w>,
    sink: Option<Sink<'w, 'w>>,
    targets: Vec<String>,
    unique: Unique,
    counts: Counts,
    remarks: Vec<String>,
    counted: Vec<Remark>,
    since_look: u32,
    /// Where the first rejected record stands, and why it is.
    first_reject: Option<String>,
    explained: u64,
    /// Records are being compared with what the other side knows.
    compared: bool,
}

impl<'w> Run<'w> {
    fn room(&self) -> Room {
        Room::new(self.spec.max_memory, self.work.scratch)
    }

    fn file(&mut self, source: Source) -> Result<()> {
        let input = match not_empty(source.input)? {
            Some(input) => input,
            None if self.spec.input.may_be_empty() || self.spec.sends_empty => return Ok(()),
            None => Box::new(std::io::empty()),
        };
        let room = Room { beside: source.beside, ..self.room() };
        let mut reader = self.spec.reader(input, &room)?;
        let columns = reader.columns().clone();
        let shown = if self.spec.input.name() == "csv" { Shown::ByColumns } else { Shown::Raw };
        self.work.rejects.start(self.several.then_some(source.context.file_path.as_str()), reader.own_columns(), shown)?;
        let mut record = Record::default();
        let mut pending = None;
        let mut mapping = std::borrow::Cow::Borrowed(&self.spec.mapping);
        let derived = columns.nested && self.spec.output.has_columns() && mapping.map.is_none() && mapping.columns.is_none();
        if derived {
            // Without a map, the first record of a nested format names the columns of a flat one.
            pending = loop {
                match reader.read(&mut record)? {
                    Next::Bad(reject) => self.reject(&record, &reject)?,
                    Next::Record => match fit::names_of(&record) {
                        Err(reject) => self.reject(&record, &reject)?,
                        Ok(names) => {
                            mapping.to_mut().map = Some(names.into_iter().map(|name| (name.clone(), whole_name(&name))).collect());
                            break Some(Next::Record);
                        }
                    },
                    Next::End => break Some(Next::End),
                }
            };
        }
        let plan = self.spec.plan(&mapping, &columns)?;
        if let (None, Some(wanted), true) = (&mapping.map, &mapping.columns, columns.closed() && !columns.nested) {
            self.remarks.extend(fit::lost(wanted, &columns));
        }
        self.open(&plan.targets)?;
        if let Some(changes) = &mut self.work.changes {
            changes.start(&plan)?;
            self.compared = true;
        }
        let scout = self.work.changes.as_ref().and_then(|c| c.scout());
        if !derived
            && self.joinable(&plan)
            && (scout.is_some() || self.work.changes.is_none())
            && let Some(pieces) = reader.pieces()
        {
            let shop = Shop { spec: self.spec, plan: &plan, context: &source.context, lookups: &source.lookups, scout: scout.as_deref(), stop: self.work.stop };
            match self.pieces(&mapping, &shop, pieces, &mut *reader)? {
                Some(rest) => reader = rest,
                None => return Ok(()),
            }
        }
        let state = State::new(plan.fields.len());
        let mut arena = Bump::new();
        let reading = self.spec.reading_of(&*reader);
        loop {
            let next = match pending.take() {
                Some(next) => next,
                None => reader.read(&mut record)?,
            };
            self.look()?;
            arena.reset();
            let misfit = if derived && next == Next::Record { fit::misfit(&record, &plan.targets) } else { None };
            match (next, misfit) {
                (Next::End, _) => break,
                (Next::Bad(reject), _) => {
                    if let Some(changes) = &mut self.work.changes {
                        changes.rejected(None)?;
                    }
                    self.reject(&record, &reject)?;
                }
                (Next::Record, Some(misfit)) => self.reject(&record, &misfit)?,
                (Next::Record, None) => {
                    let env = Env {
                        record: &record,
                        columns: &plan.columns,
                        reading: &reading,
                        style: &self.spec.style,
                        lookups: &source.lookups,
                        context: &source.context,
                        turn: None,
                        change: None,
                        state: &state,
                        arena: &arena,
                    };
                    self.elements(&mapping, &plan, &env)?;
                }
            }
        }
        self.remark(reader.remarks());
        self.missing(&plan, &[state]);
        Ok(())
    }

    /// Whether pieces of the file can be worked on side by side: nothing goes from one record to another.
    fn joinable(&self, plan: &Plan) -> bool {
        let spec = self.spec;
        let direct = spec.order_by.is_empty() && spec.output_group.is_none() && spec.split.is_none() && spec.input_group.is_none();
        direct && spec.output.joins() && self.work.explain.is_none() && self.work.refused.is_none() && plan.each_by_itself()
    }

    /// Works on pieces side by side; gives a reader of what can't be.
    fn pieces(&mut self, mapping: &Mapping, shop: &Shop<'_>, pieces: Pieces, reader: &mut dyn RecordReader) -> Result<Option<Box<dyn RecordReader>>> {
        let Some(sink) = &self.sink else { return Err(Error::relay("the output is not open")) };
        let writers = (0..pieces::hands()).map(|_| sink.new_writer(shop.plan.targets.clone())).collect::<Result<Vec<_>>>()?;
        let state = State::new(shop.plan.fields.len());
        let (rest, again, states) = pieces::run(shop, pieces, writers, |done, reader| {
            self.counts.read += done.written + done.skipped;
            self.counts.written += done.written;
            self.counts.skipped += done.skipped;
            self.remark(std::mem::take(&mut done.remarks));
            if shop.scout.is_some() {
                return self.scouted(mapping, (shop, &state), done, reader);
            }
            if let Some(sink) = &mut self.sink {
                sink.put_bytes(&done.out)?;
            }
            done.rejects.iter().try_for_each(|(record, reject)| self.reject(record, reject))
        })?;
        self.remark(reader.remarks());
        if rest.is_none() {
            self.missing(shop.plan, &states);
        }
        Ok(rest.map(|rest| again(Bytes::Stream(rest.input), rest.line)))
    }

    /// Judges what a scout has left of a piece.
    fn scouted(&mut self, mapping: &Mapping, (shop, state): (&Shop<'_>, &State), done: &mut Done, reader: &PieceReader) -> Result<()> {
        let mut arena = Bump::new();
        for (at, scouted) in std::mem::take(&mut done.scouted).into_iter().enumerate() {
            let record = match scouted {
                Scouted::Unchanged(place) if self.work.changes.as_mut().is_some_and(|c| c.unchanged(place)) => {
                    self.counts.read += 1;
                    self.counts.unchanged += 1;
                    continue;
                }
                // Its key stands twice: the record itself is wanted now.
                Scouted::Unchanged(_) => nth(reader, done, at)?,
                Scouted::Judge(record) => *record,
                Scouted::Bad(bad) => {
                    let (record, reject) = *bad;
                    if let Some(changes) = &mut self.work.changes {
                        changes.rejected(None)?;
                    }
                    self.reject(&record, &reject)?;
                    continue;
                }
            };
            arena.reset();
            let env = pieces::env(shop, state, &arena, &record, None);
            self.record(mapping, shop.plan, &env)?;
        }
        Ok(())
    }

    /// Adds what a reader tells; of pieces, the counts are added up.
    fn remark(&mut self, remarks: Vec<Remark>) {
        for remark in remarks {
            match self.counted.iter_mut().find(|r| r.what == remark.what) {
                Some(known) => known.count += remark.count,
                None => self.counted.push(remark),
            }
        }
    }

    /// Names that were asked for and that no record had.
    fn missing(&mut self, plan: &Plan, states: &[State]) {
        let names = plan.fields.iter().enumerate().filter(|(i, _)| State::missing_in(states, *i));
        self.remarks.extend(names.map(|(_, name)| format!("no record has a {name}")));
    }

    /// The record itself, or each element that it gives.
    fn elements(&mut self, mapping: &Mapping, plan: &Plan, env: &Env<'_>) -> Result<()> {
        let elements = match plan.elements(env) {
            Ok(None) => return self.record(mapping, plan, env),
            Ok(Some(elements)) => elements,
            Err(reject) => return self.reject(env.record, &reject),
        };
        for (index, item) in elements.iter().enumerate() {
            let env = Env { turn: Some(Turn { item, index, length: elements.len() }), ..*env };
            self.record(mapping, plan, &env)?;
        }
        Ok(())
    }

    fn record<'r>(&mut self, mapping: &Mapping, plan: &'r Plan, env: &Env<'r>) -> Result<()> {
        let compared = self.work.changes.is_some();
        env.state.begin();
        let env = &Env { change: (!compared).then_some(&changes::ADDED), ..*env };
        let mut values = Values::with_capacity_in(self.targets.len(), env.arena);
        let verdict = plan.apply(env, &mut self.unique, &mut values);
        if self.spec.mapping.map.is_none() && self.spec.output.has_columns() {
            fit::spread(&mut values);
        }
        if self.explained < EXPLAINED_MAX
            && let Some(show) = &mut self.work.explain
        {
            self.explained += 1;
            show(explain::explained(mapping, plan, env, &verdict));
        }
        match verdict {
            Err(reject) => self.reject_mapped(plan, env, &reject),
            Ok(Verdict::Skip) => {
                if let Some(changes) = &mut self.work.changes {
                    changes.skipped(plan, env)?;
                }
                self.counts.read += 1;
                self.counts.skipped += 1;
                Ok(())
            }
            Ok(Verdict::Write) if compared => self.compare(plan, env, values),
            Ok(Verdict::Write) => match self.put(&values)? {
                Err(reject) => self.reject(env.record, &reject),
                Ok(()) => self.written(plan, env.state, &values),
            },
        }
    }

    /// Sends a record if B isn't known to hold it.
    fn compare<'r>(&mut self, plan: &'r Plan, env: &Env<'r>, mut values: Values<'r>) -> Result<()> {
        let Some(changes) = &mut self.work.changes else { return Ok(()) };
        let change = match changes.judge(plan, env, &mut values)? {
            Decision::Send(change) => change,
            Decision::Unchanged => {
                self.counts.unchanged += 1;
                return self.stays(plan, &values);
            }
            Decision::Parked => {
                self.counts.parked += 1;
                return self.stays(plan, &values);
            }
            Decision::Reject(reject) => return self.reject(env.record, &reject),
        };
        let mut values: Values<'_> = values;
        let fits = plan.apply_change(&Env { change: Some(&change), ..*env }, &self.unique, &mut values);
        let written = match fits {
            Ok(()) => self.put(&values)?,
            rejected => rejected,
        };
        if let Err(reject) = written {
            return self.reject_mapped(plan, env, &reject);
        }
        if let Some(changes) = &mut self.work.changes {
            changes.sent()?;
        }
        self.written(plan, env.state, &values)
    }

    /// A record that is not sent, and has its values in the export all the same.
    fn stays(&mut self, plan: &Plan, values: &[Value<'_>]) -> Result<()> {
        self.counts.read += 1;
        self.has_values(plan, values)
    }

    fn put(&mut self, values: &[Value<'_>]) -> Result<Result<(), Reject>> {
        match &mut self.sink {
            Some(sink) => sink.put(values, self.work.refused.as_mut()),
            None => Ok(Ok(())),
        }
    }

    fn written(&mut self, plan: &Plan, state: &State, values: &[Value<'_>]) -> Result<()> {
        state.keep();
        self.counts.read += 1;
        self.counts.written += 1;
        self.has_values(plan, values)
    }

    /// Values that no later record may have again, where a rule says so.
    fn has_values(&mut self, plan: &Plan, values: &[Value<'_>]) -> Result<()> {
        plan.written(values, &self.spec.style, &mut self.unique);
        if self.unique.full {
            return Err(Error::file("output.fields: `unique` needs more than max_memory").hint("raise max_memory, or do without `unique`"));
        }
        Ok(())
    }

    /// Rejects a record that was read: it is there, whatever is wrong with it.
    fn reject_mapped(&mut self, plan: &Plan, env: &Env<'_>, reject: &Reject) -> Result<()> {
        if let Some(changes) = &mut self.work.changes {
            changes.rejected(Some((plan, env)))?;
        }
        self.reject(env.record, reject)
    }

    /// Writes the records that are gone.
    fn gone(&mut self) -> Result<()> {
        let Some(changes) = self.work.changes.take() else { return Ok(()) };
        let begun = std::mem::replace(&mut self.compared, true);
        // They rest on no record: what is computed for them sees none.
        let (record, columns) = (Record::default(), Columns::default());
        let mut mapping = self.spec.mapping.clone();
        if mapping.map.is_none() && mapping.columns.is_none() && !self.targets.is_empty() {
            mapping.columns = Some(self.targets.clone());
        }
        let plan = Plan::compile(&mapping, None).map_err(|_| Error::relay("the map can't be compiled"))?;
        if !begun {
            // No file had so much as a header: it may be that all records are gone.
            changes.start(&plan)?;
        }
        let (state, arena) = (State::new(plan.fields.len()), Bump::new());
        let (lookups, context) = (Lookups::default(), self.context.clone());
        changes.gone(&mut |deletion| {
            let env = Env {
                record: &record,
                columns: &columns,
                reading: &self.spec.reading,
                style: &self.spec.style,
                lookups: &lookups,
                context: &context,
                turn: None,
                change: Some(&deletion.change),
                state: &state,
                arena: &arena,
            };
            let mut values = Values::with_capacity_in(deletion.values.len(), &arena);
            values.extend(deletion.values.iter().map(Value::borrowed));
            let fits = plan.apply_change(&env, &self.unique, &mut values);
            let written = match fits {
                Ok(()) => self.put(&values)?,
                rejected => rejected,
            };
            written.map_err(|r| Error::file(format!("a deletion can't be written: {}: {}", r.field, r.reason)).hint("change the map, so that it can"))?;
            self.counts.deleted += 1;
            Ok(())
        })?;
        self.remarks.extend(changes.remarks());
        Ok(())
    }

    fn reject(&mut self, record: &Record, reject: &Reject) -> Result<()> {
        self.counts.read += 1;
        self.counts.rejected += 1;
        let place = if reject.field.is_empty() { String::new() } else { format!("{}: ", reject.field) };
        if self.spec.rejects_fail {
            return Err(Error::file(format!("{place}{}", reject.reason))
                .on_line(record.line)
                .hint("correct the record, or set rejects = \"divert\" to let the others pass"));
        }
        self.work.rejects.put(record, reject)?;
        self.first_reject.get_or_insert_with(|| format!("line {}: {place}{}", record.line, reject.reason));
        match self.spec.max_rejects {
            Some(limit @ Limit::Number(_)) if limit.exceeded(self.counts.rejected, self.counts.read) => {
                Err(Error::file(format!("more than {limit} records are rejected, the last one because: {place}{}", reject.reason))
                    .on_line(record.line)
                    .hint("correct the export, or raise max_rejects"))
            }
            _ => Ok(()),
        }
    }

    /// Opens the sink, once; later files must give the same targets.
    fn open(&mut self, targets: &[String]) -> Result<()> {
        if self.sink.is_some() {
            if self.targets != targets {
                return Err(Error::file("the file has other columns than the first one").hint("write a map, so that all files give the same targets"));
            }
            return Ok(());
        }
        let room = self.room();
        let Some(parts) = self.work.parts.take() else { return Err(Error::relay("the output is open already")) };
        self.sink = Some(Sink::new(self.spec, targets, room, self.tools.clone(), parts)?);
        targets.clone_into(&mut self.targets);
        Ok(())
    }

    /// Looks for a wish to stop, now and then.
    fn look(&mut self) -> Result<()> {
        self.since_look += 1;
        if self.since_look < 256 {
            return Ok(());
        }
        self.since_look = 0;
        self.work.stop.check()
    }

    fn finish(mut self) -> Result<Outcome> {
        if self.sink.is_none() {
            // No file had a record: B still gets its header.
            let targets = Plan::compile(&self.spec.mapping, None).map(|p| p.targets).unwrap_or_default();
            if !targets.is_empty() || !self.spec.output.has_columns() {
                self.open(&targets)?;
            }
        }
        self.gone()?;
        if let Some(sink) = self.sink.as_ref().filter(|_| self.counts.written > 0) {
            self.remarks.extend(sink.unseen().into_iter().map(|name| format!("no record has a {name} to order or group by")));
        }
        let parts = match self.sink.take() {
            Some(sink) => sink.finish().map_err(|e| e.at("transform"))?,
            None => 0,
        };
        self.work.rejects.finish()?;
        let counts = self.counts;
        if let Some(limit @ Limit::Percent(_)) = self.spec.max_rejects
            && limit.exceeded(counts.rejected, counts.read)
        {
            let first = self.first_reject.unwrap_or_default();
            let message = format!("{} of {} records are rejected, more than {limit}, the first one in {first}", counts.rejected, counts.read);
            return Err(Error::file(message).at("transform").hint("correct the export, or raise max_rejects"));
        }
        if !counts.balanced() {
            return Err(Error::file(format!("the counts do not add up: {counts:?}"))
                .at("transform")
                .hint("this is a fault of passerelle: please report it with the file"));
        }
        let remarks = self.counted.iter().map(Remark::to_string).chain(self.remarks).collect();
        Ok(Outcome { counts, remarks, parts })
    }
}

/// The stream, unless it holds no byte at all.
fn not_empty(input: Input) -> Result<Option<Input>> {
    let (empty, input) = peek(input, 1, <[u8]>::is_empty)?;
    Ok((!empty).then_some(input))
}
