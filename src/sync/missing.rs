//! What becomes of the records that a full export does not have, and whether so many may be sent as deleted.

use std::collections::HashSet;

use super::Exports;
use super::cell::{Cell, Row};
use super::compare::Compare;
use super::deleted::{self, Deletes, Gone};
use super::entry::{Entry, Id};
use super::export::Deletions;
use super::index::Missing;
use super::judge::Conflict;
use super::prepared::Prepared;
use crate::error::{Error, Kind, Result};
use crate::formats::text::Reading;
use crate::record::Value;
use crate::transform::changes::{Change, Deletion, Op};
use crate::transform::eval::Env;

/// So much is kept of the entries of missing records, as it is stored, until they are in order; in memory they are several times that.
const AT_HAND_BYTES: usize = 4 * 1024 * 1024;

/// A record that `where` leaves out, of which something is known.
pub(super) struct LeftOut {
    id: Id,
    /// Its place in the index.
    at: usize,
    /// It shows all that was delivered of it to its side.
    informed: bool,
}

impl Compare<'_> {
    /// Notes a record that `where` leaves out, if that is sent as its deletion.
    pub(super) fn leave_out(&mut self, id: Id, at: usize, env: &Env<'_>) -> Result<()> {
        let told = self.spec.deletes == Deletes::Send && self.export.holds == Exports::Full;
        let mut left = LeftOut { id, at, informed: false };
        let mut wanted = told && self.index.holds(at);
        if let (true, Some(prepared)) = (self.index.awaits(at) && self.spec.opposite.is_some(), &self.prepared)
            && let Some(bytes) = self.memory.get(&id)?
        {
            let (entry, reading) = (Entry::from_bytes(&bytes)?, &self.transformation.reading);
            let held = entry.side(self.side);
            left.informed = held.shows_deliveries(&prepared.shown(env), &|a, b| a.same(b, reading));
            wanted |= held.deleting;
        }
        if wanted {
            self.left_out.push(left);
        }
        Ok(())
    }

    /// The numbers of the records that are gone, if so many may be.
    pub(super) fn allowed(&mut self, missing: u64) -> Result<()> {
        if self.spec.deletes == Deletes::Ignore || self.export.deletions == Deletions::Accepted {
            return Ok(());
        }
        let held = self.index.held;
        let hint = format!("look at the export; if it is right: passerelle retry {} --accept-deletes", self.export.job);
        let hold = |message: String| Err(Error::file(message).kind_of(Kind::Held).at("sync").hint(hint));
        if self.records == 0 && missing > 0 {
            return hold(format!("the export is empty, and {held} records were known: nothing is sent"));
        }
        if missing > 0 && self.spec.max_deletes.exceeded(missing, held) {
            let limit = self.spec.max_deletes;
            return hold(format!("{missing} of {held} records are missing, more than max_deletes ({limit}): nothing is sent"));
        }
        Ok(())
    }

    fn is_being_deleted(&mut self, id: &Id) -> Result<bool> {
        let bytes = self.memory.get(id)?;
        Ok(bytes.map(|bytes| Entry::from_bytes(&bytes)).transpose()?.is_some_and(|entry| {
            let held = entry.side(self.side);
            held.is_being_deleted() || held.may_lose_its_edit()
        }))
    }

    fn deletion(&self, prepared: &Prepared, entry: &Entry, row: &Row, plan_key: &[usize]) -> Deletion {
        let mut values = vec![Value::Null; prepared.width];
        for (at, column) in &prepared.targets {
            if let Some(cell) = row.get(*column) {
                values[*at] = cell.value();
            }
        }
        for (at, part) in plan_key.iter().zip(&entry.key) {
            if matches!(&values[*at], Value::Null) {
                values[*at] = Value::owned(part.clone());
            }
        }
        Deletion { values, change: Change { op: Op::Deleted, before: self.before(prepared, Some(row)) } }
    }

    /// Deletions that an operator has decided for, beside an export in which a missing record means nothing.
    pub(super) fn decided_deletions(&mut self, plan_key: &[usize], each: &mut dyn FnMut(Deletion) -> Result<()>) -> Result<()> {
        let (Some(prepared), Some(opposite)) = (self.prepared.take(), &self.spec.opposite) else { return Ok(()) };
        let (reading, missing) = (opposite.reading.clone(), self.index.missing(Deletes::Ignore).map(|m| m.id).collect::<Vec<Id>>());
        let left_out = std::mem::take(&mut self.left_out).into_iter().filter(|left| self.index.only_skipped(left.at)).map(|left| left.id);
        for id in missing.into_iter().chain(left_out.collect::<Vec<Id>>()) {
            let Some(bytes) = self.memory.get(&id)? else { continue };
            let mut entry = Entry::from_bytes(&bytes)?;
            let same = |a: &Cell, b: &Cell| a.same(b, &reading);
            if !entry.side(self.side).deleting {
                continue;
            }
            if let Gone::Delete(row) = deleted::gone(&mut entry, self.side, self.export.job, Deletes::Send, &self.spec.policy, &same) {
                each(self.deletion(&prepared, &entry, &row, plan_key))?;
            }
            self.stage(&id, &entry)?;
        }
        Ok(())
    }

    /// What becomes of the records that the export does not have.
    pub(super) fn miss(&mut self, plan_key: &[usize], each: &mut dyn FnMut(Deletion) -> Result<()>) -> Result<()> {
        let Some(prepared) = self.prepared.take() else { return Ok(()) };
        let deletes = self.spec.deletes;
        let missing: Vec<Missing> = self.index.missing(deletes).collect();
        if self.unreadable > 0 {
            // Any of them may be one that could not be read: nothing is said of them.
            if deletes == Deletes::Send && !missing.is_empty() {
                let why = format!("{} records had no key that could be read", self.unreadable);
                self.kept_back = Some(format!("{why}: the {} that are missing are not sent as deleted", missing.len()));
            }
            return Ok(());
        }
        let mut left_out = std::mem::take(&mut self.left_out);
        left_out.retain(|left| self.index.only_skipped(left.at));
        let mut count = left_out.iter().filter(|left| self.index.holds(left.at)).count() as u64;
        for missing in missing.iter().filter(|m| m.holds) {
            // What this side has deleted because it was told to is sent to nobody.
            let expected = missing.awaits && self.is_being_deleted(&missing.id)?;
            count += u64::from(!expected);
        }
        self.allowed(count)?;
        let reading = self.spec.opposite.as_ref().map_or_else(Reading::default, |o| o.reading.clone());
        let missing = missing.into_iter().map(|m| m.id);
        let informed: HashSet<Id> = left_out.iter().filter(|left| left.informed).map(|left| left.id).collect();
        // In the order of their keys, however the memory has them; as many as there is room for are read only once.
        let mut gone: Vec<(Vec<String>, Id, Option<Box<Entry>>)> = Vec::new();
        let mut room = AT_HAND_BYTES;
        for id in missing.chain(left_out.iter().map(|left| left.id)) {
            if let Some(bytes) = self.memory.get(&id)? {
                room = room.saturating_sub(bytes.len());
                let entry = Entry::from_bytes(&bytes)?;
                gone.push((entry.key.clone(), id, (room > 0).then(|| Box::new(entry))));
            }
        }
        gone.sort_unstable_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
        for (_, id, at_hand) in gone {
            let mut entry = match at_hand {
                Some(entry) => *entry,
                None => match self.memory.get(&id)? {
                    Some(bytes) => Entry::from_bytes(&bytes)?,
                    None => continue,
                },
            };
            if entry.marks.is_some() && self.spec.opposite.is_none() {
                if deletes == Deletes::Send {
                    let row = entry.sides[1].exported.clone().unwrap_or_default();
                    each(self.deletion(&prepared, &entry, &row, plan_key))?;
                    self.memory.stage(&id, None)?;
                }
                continue;
            }
            let known = entry.clone();
            if informed.contains(&id) {
                entry.agree_to_deliveries(self.side);
            }
            let same = |a: &Cell, b: &Cell| a.same(b, &reading);
            match deleted::gone(&mut entry, self.side, self.export.job, deletes, &self.spec.policy, &same) {
                Gone::Delete(row) => each(self.deletion(&prepared, &entry, &row, plan_key))?,
                Gone::Parked => {
                    let told = self.told(&entry, &Conflict { column: None, base: None, ours: None, theirs: None });
                    (self.conflicts)(&told)?;
                }
                Gone::Noted => {}
            }
            self.late(&entry, self.side);
            self.found.note(&known, &entry);
            if entry != known {
                self.stage(&id, &entry)?;
            }
        }
        Ok(())
    }
}
