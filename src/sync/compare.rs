//! Compares an export with the memory, record by record, and stages what the memory becomes.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use super::alike::Alike;
use super::cell::{Cell, Marker, Row};
use super::entry::{Entry, Head, Held, Id, Marks, Side, id_of};
use super::export::{Export, Purpose, Told, key_text};
use super::index::{Index, NewKeys};
use super::judge::{self, EXPORTS_MAX, Policy, Verdict};
use super::lookout::Lookout;
use super::missing::LeftOut;
use super::owed::{Found, Owed};
use super::prepared::{Prepared, Scratch};
use super::{Exports, Keeps, LastExport, Memory, Meta, Send, Spec, one_way};
use crate::error::{Error, Kind, Result};
use crate::record::{Reject, Value};
use crate::transform::Transformation;
use crate::transform::changes::{Change, Changes, Decision, Deletion, Op, Scout};
use crate::transform::eval::Env;
use crate::transform::plan::{Plan, Values};

/// Compares an export with the memory.
pub struct Compare<'c> {
    pub(super) spec: &'c Spec,
    pub(super) transformation: &'c Transformation,
    pub(super) memory: &'c mut dyn Memory,
    /// Is told of conflicts.
    pub(super) conflicts: &'c mut dyn FnMut(&Told) -> Result<()>,
    pub(super) export: Export,
    pub(super) meta: Meta,
    pub(super) side: Side,
    pub(super) index: Arc<Index>,
    /// The keys of this export that the memory does not know.
    new: NewKeys,
    alike: Alike,
    pub(super) prepared: Option<Arc<Prepared>>,
    /// What the memory becomes if the record in hand is sent.
    decided: Option<(Id, Entry)>,
    /// Records that `where` leaves out now, and that the other side may have.
    pub(super) left_out: Vec<LeftOut>,
    /// Records came by whose key could not be read.
    pub(super) unreadable: u64,
    pub(super) records: u64,
    reread: u64,
    /// Records that both sides hold, and otherwise.
    pub differing: u64,
    /// Deliveries that were not seen for too long: how many, and the first one's key and job.
    pub(super) unseen: (u64, Option<(String, u64)>),
    pub(super) kept_back: Option<String>,
    /// What concerns other jobs.
    pub found: Found,
    /// When what earlier jobs delivered was there.
    published: RefCell<HashMap<u64, Option<i128>>>,
    scratch: Scratch,
}

impl<'c> Compare<'c> {
    /// Reads what the memory knows.
    pub fn new(
        spec: &'c Spec,
        transformation: &'c Transformation,
        memory: &'c mut dyn Memory,
        export: Export,
        conflicts: &'c mut dyn FnMut(&Told) -> Result<()>,
    ) -> Result<Self> {
        let mut meta = memory.meta().clone();
        let side = meta.side_of(spec);
        meta.routes[side.at()] = Some(spec.route.clone());
        if let Some(opposite) = &spec.opposite {
            meta.routes[side.other().at()] = Some(opposite.route.clone());
        }
        let key = spec.key_sources(transformation.mapping.map.as_deref());
        let before = meta.keys[side.at()].replace(key.clone());
        if let Some(before) = before.filter(|before| *before != key && export.purpose == Purpose::Send) {
            let message = format!(
                "sync.key of {} was made of {}, and is made of {} now: the memory knows its records by the old one",
                spec.route,
                before.join(", "),
                key.join(", ")
            );
            return Err(Error::file(message).kind_of(Kind::Held).at("sync").hint(format!(
                "passerelle sync rebuild {0} makes it anew from both sides' exports; then retry. `sync forget {0}` begins with nothing: every record is sent again",
                spec.group
            )));
        }
        let mut index = Index::new(side);
        memory.each(&mut |id, bytes| {
            index.add(id, &Head::read(bytes)?.0);
            Ok(())
        })?;
        index.close();
        Ok(Self {
            spec,
            transformation,
            memory,
            conflicts,
            export,
            meta,
            side,
            index: Arc::new(index),
            new: NewKeys::default(),
            alike: Alike::default(),
            prepared: None,
            decided: None,
            left_out: Vec::new(),
            unreadable: 0,
            records: 0,
            reread: 0,
            differing: 0,
            unseen: (0, None),
            kept_back: None,
            found: Found::default(),
            published: RefCell::default(),
            scratch: Scratch::default(),
        })
    }

    /// The key of a record whose targets were not all computed.
    fn key_alone(&self, plan: &Plan, env: &Env<'_>) -> Option<Id> {
        let prepared = self.prepared.as_ref()?;
        let arena = bumpalo::Bump::new();
        prepared.key_of(plan, &Env { arena: &arena, ..*env }, None).ok().map(|key| id_of(&key))
    }

    /// Notes that the export has a key; false: it had it already.
    fn see(&mut self, id: &Id, at: Option<usize>) -> bool {
        match at {
            Some(at) => self.index.see(at),
            None => self.new.add(id),
        }
    }

    fn entry(&mut self, id: &Id, at: Option<usize>, key: Vec<String>) -> Result<Entry> {
        match at {
            Some(_) => self.memory.get(id)?.map_or_else(|| Err(super::entry::damaged()), |bytes| Entry::from_bytes(&bytes)),
            None => Ok(Entry::new(key)),
        }
    }

    pub(super) fn stage(&mut self, id: &Id, entry: &Entry) -> Result<()> {
        let bytes = if entry.is_empty() { None } else { Some(entry.to_bytes(Some(self.side))?) };
        self.memory.stage(id, bytes)
    }

    /// The mark of a record as it is exported.
    fn raw_mark(&self, env: &Env<'_>) -> u64 {
        let mut marker = Marker::default();
        let mut text = String::new();
        let mut add = |column: usize, value: &Value<'_>| marker.add_value(u16::try_from(column).unwrap_or(u16::MAX), value, &mut text);
        match &env.record.tree {
            Some(tree) => add(0, tree),
            None => (0..env.record.len()).for_each(|i| add(i, &env.record.value(i))),
        }
        if let Some(turn) = env.turn {
            add(usize::from(u16::MAX), turn.item);
        }
        marker.finish()
    }

    fn one_way(&mut self, prepared: &Prepared, env: &Env<'_>, (id, at): (&Id, Option<usize>), key: Vec<String>, values: &[Value<'_>]) -> Result<Verdict> {
        let mapped = prepared.mapped_mark(values, &mut self.scratch);
        let keeps = self.spec.keeps == Keeps::Rows;
        if let Some(at) = at
            && self.index.is_quiet(at, mapped)
            && (!keeps || self.index.has_rows(at))
        {
            return Ok(Verdict::Unchanged);
        }
        let mut entry = self.entry(id, at, key)?;
        if entry.marks.is_none()
            && entry.side(Side::A).exported.is_some()
            && let Some(view) = entry.side(Side::B).view()
        {
            // The opposite route is gone: what is known of both sides is what was delivered.
            let mark = prepared.compared.iter().filter_map(|(_, c)| Some((*c, view.get(*c)?.clone()))).collect::<Row>().mark();
            entry.marks = Some(Marks { raw: 0, mapped: mark });
            entry.sides = Default::default();
        }
        let remapped = self.is_remapped();
        let row = if keeps { prepared.row_of(values, env.style, &self.transformation.encoder) } else { Row::default() };
        let verdict = one_way::judge(&mut entry, one_way::Turn { marks: Marks { raw: self.raw_mark(env), mapped }, mapped: row, remapped });
        if remapped && verdict == Verdict::Unchanged {
            self.reread += 1;
        }
        self.decided = Some((*id, entry));
        Ok(verdict)
    }

    fn two_way(&mut self, prepared: &Prepared, env: &Env<'_>, (id, at): (&Id, Option<usize>), key: Vec<String>, values: &[Value<'_>]) -> Result<Verdict> {
        let Some(opposite) = &self.spec.opposite else { return Ok(Verdict::Unchanged) };
        let shown = prepared.shown(env);
        if let Some(at) = at
            && !self.widens()
            && self.index.is_quiet(at, shown.mark())
        {
            return Ok(Verdict::Unchanged);
        }
        let mut entry = self.entry(id, at, key)?;
        let known = entry.clone();
        let again = self.export.purpose == Purpose::Again;
        if again && !known.side(self.side).exported.as_ref().is_some_and(|last| last.iter().all(|(c, cell)| shown.get(c).is_none_or(|s| s == cell))) {
            return Ok(Verdict::Unchanged);
        }
        let mapped = prepared.row_of(values, env.style, &self.transformation.encoder);
        if let Some(marks) = entry.marks.take() {
            // The opposite route is new: what was delivered so far is what the other side has.
            let (here, there) = if self.side == Side::A { (&shown, &mapped) } else { (&mapped, &shown) };
            if self.side == Side::B || marks.mapped == prepared.mapped_mark(values, &mut self.scratch) {
                entry.sides[0] = Held::agreed(here);
                entry.sides[1] = Held::agreed(there);
            }
        }
        let (here, there) = (self.transformation.reading.clone(), opposite.reading.clone());
        let names = &self.meta;
        let other = self.side.other();
        let failed = RefCell::new(None);
        let after = |job: u64| {
            let known = self.published.borrow().get(&job).copied();
            let at = known.map_or_else(|| self.memory.published(job), Ok).unwrap_or_else(|e| {
                *failed.borrow_mut() = Some(e);
                None
            });
            self.published.borrow_mut().insert(job, at);
            at.is_none_or(|at| self.export.modified_ns >= at)
        };
        let turn = judge::Turn {
            from: self.side,
            job: self.export.job,
            purpose: self.export.purpose,
            parts: [self.spec.exports, opposite.exports].map(|holds| holds == Exports::Incremental),
            silent: self.is_silent(self.side, self.spec.exports) || self.is_silent(other, opposite.exports),
            keeps: [self.spec.keeps, opposite.keeps],
            shown,
            mapped,
            compared: &prepared.grounds,
            told: &|column| opposite.reads(names.name(other, column)),
            policy: &self.spec.policy,
            newest: match &self.spec.policy {
                Policy::Newest(name) => names.columns[other.at()].iter().position(|n| n == name).and_then(|at| u16::try_from(at).ok()),
                Policy::Park | Policy::Source | Policy::Target => None,
            },
            after: &after,
            same: &|a, b| a.same(b, &here),
            same_there: &|a, b| a.same(b, &there),
        };
        let verdict = judge::judge(&mut entry, &turn);
        let owed = |entry: &Entry| Owed::to(entry, &turn);
        // What is read once more brings about no more of that: it would never end.
        let shown_by = entry.side(other).seen;
        if shown_by != 0 && !again && !owed(&entry).is_within(&owed(&known)) {
            self.found.owed.insert(shown_by);
        }
        // A first export of what was imported long ago may be one of all records.
        let held = known.side(self.side);
        let echoed = turn.parts[0] && !self.meta.echoes[self.side.at()] && held.exported.is_some() && held.shown_after(&turn.shown, turn.same).is_some();
        if let Some(e) = failed.into_inner() {
            return Err(e);
        }
        self.meta.echoes[self.side.at()] |= echoed;
        self.late(&entry, self.side);
        self.found.note(&known, &entry);
        if let Verdict::Parked(conflicts) | Verdict::Send { parked: conflicts, .. } = &verdict {
            let told: Vec<Told> = conflicts.iter().map(|c| self.told(&entry, c)).collect();
            told.iter().try_for_each(|t| (self.conflicts)(t))?;
        }
        if entry != known || matches!(verdict, Verdict::Send { .. }) {
            if self.spec.exports == Exports::Incremental && !again {
                entry.side_mut(self.side).seen = self.export.job;
            }
            self.decided = Some((*id, entry));
        }
        Ok(verdict)
    }

    /// Whether there may be columns that nothing is known of yet, though they are empty: then each record is looked at.
    fn widens(&self) -> bool {
        self.spec.opposite.is_some() && self.is_remapped()
    }

    /// Whether this is the first export with another map.
    fn is_remapped(&self) -> bool {
        self.meta.mapping[self.side.at()].is_some_and(|m| m != self.spec.mapping)
    }

    /// Whether a side may never export what it has imported.
    fn is_silent(&self, side: Side, exports: Exports) -> bool {
        exports == Exports::Incremental && !self.meta.echoes[side.at()]
    }

    /// Takes a record as it is for what both sides agree on.
    fn learn(&mut self, prepared: &Prepared, env: &Env<'_>, (id, at): (&Id, Option<usize>), key: Vec<String>, values: &[Value<'_>]) -> Result<()> {
        let mut entry = self.entry(id, at, key)?;
        let mapped = prepared.row_of(values, env.style, &self.transformation.encoder);
        match &self.spec.opposite {
            None => {
                entry.marks = Some(Marks { raw: self.raw_mark(env), mapped: prepared.mapped_mark(values, &mut self.scratch) });
                if self.spec.keeps == Keeps::Rows {
                    entry.sides[1].exported = Some(mapped);
                }
            }
            Some(opposite) => {
                let shown = prepared.shown(env);
                let theirs = entry.side(self.side.other()).exported.as_ref();
                let differs = |column: u16| match (mapped.get(column), theirs.and_then(|t| t.get(column))) {
                    (Some(a), Some(b)) => !a.same(b, &opposite.reading),
                    _ => false,
                };
                self.differing += u64::from(prepared.compared.iter().any(|(_, c)| differs(*c)));
                let there = entry.side_mut(self.side.other());
                if let (Some(exported), Keeps::Rows) = (&there.exported, self.spec.keeps) {
                    there.beyond = mapped.only(|c| exported.get(c).is_none());
                }
                *entry.side_mut(self.side) = Held::agreed(&shown);
            }
        }
        self.stage(id, &entry)
    }

    /// The targets as the other side knew them, under their names.
    pub(super) fn before(&self, prepared: &Prepared, row: Option<&Row>) -> Value<'static> {
        let Some(row) = row else { return Value::Null };
        let name = |column: u16| self.meta.name(self.side.other(), column);
        Value::map(prepared.targets.iter().map(|(_, c)| (name(*c).into(), row.get(*c).map_or(Value::Null, Cell::value))).collect())
    }
}

impl Changes for Compare<'_> {
    fn start(&mut self, plan: &Plan) -> Result<()> {
        self.prepared = Some(Arc::new(Prepared::new(self.spec, self.transformation, self.side, &mut self.meta, plan)?));
        Ok(())
    }

    fn scout(&self) -> Option<Arc<dyn Scout>> {
        // A first export knows nothing: looking twice at each record would be in vain.
        let learns = self.export.purpose == Purpose::Learn || self.spec.send == Send::All || self.index.is_empty() || self.widens();
        let prepared = self.prepared.as_ref().filter(|_| !learns)?;
        Some(Arc::new(Lookout { index: self.index.clone(), prepared: prepared.clone(), keeps: self.spec.keeps }))
    }

    fn unchanged(&mut self, place: usize) -> bool {
        let first = self.index.see(place);
        self.records += u64::from(first);
        first
    }

    fn judge<'r>(&mut self, plan: &'r Plan, env: &Env<'r>, values: &mut Values<'r>) -> Result<Decision> {
        self.records += 1;
        self.decided = None;
        let Some(prepared) = self.prepared.take() else { return Err(Error::relay("no file was begun")) };
        let decision = self.compare(&prepared, plan, env, values);
        self.prepared = Some(prepared);
        decision
    }

    fn sent(&mut self) -> Result<()> {
        match self.decided.take() {
            Some((id, entry)) => self.stage(&id, &entry),
            None => Ok(()),
        }
    }

    fn skipped(&mut self, plan: &Plan, env: &Env<'_>) -> Result<()> {
        self.records += 1;
        let Some(id) = self.key_alone(plan, env) else {
            self.unreadable += 1;
            return Ok(());
        };
        // Another record with that key may be wanted.
        match self.index.find(&id) {
            Some(at) if self.index.skip(at) => self.leave_out(id, at, env),
            _ => Ok(()),
        }
    }

    fn rejected(&mut self, read: Option<(&Plan, &Env<'_>)>) -> Result<()> {
        self.records += 1;
        self.decided = None;
        match read.and_then(|(plan, env)| self.key_alone(plan, env)) {
            Some(id) => {
                let at = self.index.find(&id);
                self.see(&id, at);
            }
            None => self.unreadable += 1,
        }
        Ok(())
    }

    fn gone(&mut self, each: &mut dyn FnMut(Deletion) -> Result<()>) -> Result<()> {
        if self.export.purpose != Purpose::Learn {
            self.alike.allowed(&self.spec.group)?;
            let key = self.transformation.mapping.key.clone().unwrap_or_default();
            let other = self.side.other();
            let columns: Vec<u16> = key.iter().map(|name| self.meta.column(other, name)).collect();
            let targets = self.prepared.as_ref().map(|p| p.targets.clone()).unwrap_or_default();
            let places: Vec<usize> = columns.iter().filter_map(|c| targets.iter().find(|(_, t)| t == c).map(|(at, _)| *at)).collect();
            if self.export.holds == Exports::Full {
                if self.prepared.is_none() {
                    self.allowed(0)?;
                }
                self.miss(&places, each)?;
            } else {
                self.decided_deletions(&places, each)?;
            }
        }
        // What is relayed once more, and corrected rejects, are no later export.
        if self.export.purpose != Purpose::Again && (self.export.holds == self.spec.exports || self.meta.last[self.side.at()].is_none()) {
            let last = LastExport { job: self.export.job, modified_ns: self.export.modified_ns, full: self.export.holds == Exports::Full };
            self.meta.last[self.side.at()] = Some(last);
            self.meta.mapping[self.side.at()] = Some(self.spec.mapping);
        }
        self.memory.close(&self.meta)
    }

    fn remarks(&self) -> Vec<String> {
        let mut out = Vec::new();
        if self.reread > 0 {
            out.push(format!("the map has changed: {} unchanged records were read anew under it, and are not sent twice", self.reread));
        }
        if let (count, Some((key, job))) = &self.unseen {
            let there = format!("after more than {EXPORTS_MAX} exports of this side");
            out.push(format!("{count} records that were delivered are not seen {there}: the first is {key}, of job {job}: has that program imported them?"));
        }
        out.extend(self.kept_back.clone());
        out
    }
}

impl Compare<'_> {
    fn compare<'r>(&mut self, prepared: &Prepared, plan: &'r Plan, env: &Env<'r>, values: &mut Values<'r>) -> Result<Decision> {
        let key = match prepared.key_of(plan, env, Some(&values[..])) {
            Ok(key) => key,
            Err(reject) => {
                self.unreadable += 1;
                return Ok(Decision::Reject(reject));
            }
        };
        let id = id_of(&key);
        let at = self.index.find(&id);
        if !self.see(&id, at) {
            let name = plan.key().first().map_or("", |at| plan.targets[*at].as_str());
            let shown = crate::formats::text::quoted(&key_text(&key));
            return Ok(Decision::Reject(Reject::new(name, format!("the key {shown} stands in an earlier record of this export"))));
        }
        if at.is_none() && !self.index.is_empty() {
            self.alike.see(&key, |id| self.index.find(id).is_some());
        }
        if self.export.purpose == Purpose::Learn {
            self.learn(prepared, env, (&id, at), key, values)?;
            return Ok(Decision::Unchanged);
        }
        let verdict = match &self.spec.opposite {
            None => self.one_way(prepared, env, (&id, at), key, values),
            Some(_) => self.two_way(prepared, env, (&id, at), key, values),
        };
        self.decision(prepared, verdict?, values)
    }

    fn decision(&mut self, prepared: &Prepared, verdict: Verdict, values: &mut Values<'_>) -> Result<Decision> {
        let all = self.spec.send == Send::All;
        match verdict {
            Verdict::Unchanged if all => {
                // It goes all the same; the memory becomes what it would be.
                let before = Value::Null;
                Ok(Decision::Send(Change { op: Op::Modified, before }))
            }
            Verdict::Unchanged => {
                self.sent()?;
                Ok(Decision::Unchanged)
            }
            Verdict::Parked(_) => {
                self.sent()?;
                Ok(Decision::Parked)
            }
            Verdict::Send { row, before, op, .. } => {
                if self.spec.opposite.is_some() && op == Op::Modified {
                    for (at, column) in &prepared.compared {
                        // What is as this side has it stays as it was mapped.
                        if let (Some(cell), Some(value)) = (row.get(*column), values.get(*at))
                            && *cell != Cell::of(value, &self.transformation.style)
                        {
                            values[*at] = cell.value();
                        }
                    }
                }
                Ok(Decision::Send(Change { op, before: self.before(prepared, before.as_ref()) }))
            }
        }
    }
}
