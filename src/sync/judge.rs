//! Whether a record that a side exports is sent to the other one, where both sides export. Pure.
//!
//! The one rule: a record is sent only if the other side isn't already known to hold it. What a side exports as it was
//! exported before, or as it was delivered to it, is no change of that side. A column that both sides have changed
//! since they last agreed is a conflict. Whether a side has taken a file is never evidence: only its exports are.

use super::Keeps;
use super::cell::{Cell, Row};
use super::deleted::edited_and_deleted;
use super::entry::{Entry, Held, Parked, Pending, Side};
use super::export::Purpose;
use super::taken::last_taken;
use super::won::{endangered, give_back, lose, settled_for};
use crate::transform::changes::Op;

/// More deliveries than that are not told apart while a side exports none of them.
const PENDING_MAX: usize = 8;

/// After so many exports that do not show a delivery, it is told.
pub const EXPORTS_MAX: u32 = 3;

/// What becomes of a column that both sides have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Policy {
    /// An operator decides.
    Park,
    /// The side whose export is in hand wins.
    Source,
    /// The other side wins.
    Target,
    /// The side wins whose record has the later value in this target.
    Newest(String),
}

/// Whether two cells of a side are the same, whoever wrote them.
pub type Same<'s> = &'s dyn Fn(&Cell, &Cell) -> bool;

/// A record on its way from the side that exports it to the other.
pub struct Turn<'t> {
    /// The side that exports it.
    pub from: Side,
    /// The job.
    pub job: u64,
    /// What the export is compared for.
    pub purpose: Purpose,
    /// Either side may never export what it has imported: then it may never be seen what a delivery overwrites.
    pub silent: bool,
    /// Whether the exports of this side, and of the other one, hold what has changed alone: each state that it was in may be
    /// seen, and never that a record is gone.
    pub parts: [bool; 2],
    /// What the memory keeps of what this route sends, and the opposite one.
    pub keeps: [Keeps; 2],
    /// The record as it is exported.
    pub shown: Row,
    /// What it is mapped to.
    pub mapped: Row,
    /// The columns of the other side that are compared, each with the columns of this side that it is made of.
    pub compared: &'t [(u16, Vec<u16>)],
    /// Whether the opposite route reads a column of the other side: then a change there is one that this side is told of.
    pub told: &'t dyn Fn(u16) -> bool,
    /// What becomes of conflicts.
    pub policy: &'t Policy,
    /// The column of the other side that tells which record is newer.
    pub newest: Option<u16>,
    /// Whether the export was written after this job's delivery was there.
    pub after: &'t dyn Fn(u64) -> bool,
    /// Whether two cells of this side are the same.
    pub same: Same<'t>,
    /// Whether two cells of the other side are the same.
    pub same_there: Same<'t>,
}

impl Turn<'_> {
    /// Whether the export has this in a column.
    pub(super) fn shows(&self, column: u16, cell: &Cell) -> bool {
        self.shown.get(column).is_some_and(|shown| (self.same)(shown, cell))
    }
}

/// A column that both sides have changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Conflict {
    /// The column, as the other side names it; none: one side has deleted the record.
    pub column: Option<u16>,
    /// The value when both sides last agreed.
    pub base: Option<Cell>,
    /// The value of the side whose export is in hand.
    pub ours: Option<Cell>,
    /// The other side's.
    pub theirs: Option<Cell>,
}

/// What becomes of a record.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// The other side is known to hold it.
    Unchanged,
    /// It waits for an operator; the conflicts are told once.
    Parked(Vec<Conflict>),
    /// It is sent like this.
    Send {
        /// With what the other side has changed meanwhile.
        row: Row,
        /// As the other side knew it.
        before: Option<Row>,
        /// What became of it.
        op: Op,
        /// What waits for an operator beside that, told once.
        parked: Vec<Conflict>,
    },
}

/// Judges a record; the entry is then what the memory holds once the record is delivered.
pub fn judge(entry: &mut Entry, turn: &Turn<'_>) -> Verdict {
    let mut verdict = judged(entry, turn);
    if turn.keeps[0] == Keeps::Rows {
        let there = entry.side_mut(turn.from.other());
        if let Verdict::Send { before: Some(before), .. } = &mut verdict {
            *before = there.whole(std::mem::take(before));
        }
        if let Some(exported) = &there.exported {
            there.beyond = turn.mapped.only(|c| exported.get(c).is_none());
        }
    }
    if entry.parked.is_none() {
        entry.side_mut(turn.from).drop_overridden();
    }
    if turn.silent {
        entry.side_mut(turn.from).due = entry.endangered(turn.from, turn.same);
    }
    verdict
}

fn judged(entry: &mut Entry, turn: &Turn<'_>) -> Verdict {
    let was = entry.side(turn.from).exported.clone();
    let mut overwritten = if turn.purpose == Purpose::Again { Vec::new() } else { confirm(entry, turn, was.as_ref()) };
    if turn.silent {
        lose(entry, &std::mem::take(&mut overwritten), turn);
    }
    let ours = entry.side_mut(turn.from);
    ours.exported = Some(turn.shown.clone());
    // What is on its way to the other side, and comes back from there.
    let mut returning = if overwritten.is_empty() { Vec::new() } else { give_back(entry, turn, &overwritten) };
    returning.extend(entry.side(turn.from.other()).pending.iter().flat_map(|p| p.back.iter()).map(|(c, _)| c));
    let ours = entry.side_mut(turn.from);
    if let (Some(base), Some(was)) = (&mut ours.base, &was) {
        // A column that was never seen before is no change: the export, or the map, has become wider.
        base.overlay(&turn.shown.only(|c| was.get(c).is_none()));
    }
    ours.deleting = false;
    if entry.parked.as_ref().is_some_and(|p| p.deleted_by == Some(turn.from)) {
        // The side that had deleted the record has it again: what the other one has changed stands against that now, and
        // the deletion, which it has not taken, is void.
        entry.parked = None;
        entry.side_mut(turn.from.other()).pending.retain(|p| p.row.is_some());
    }
    if entry.parked.as_ref().is_some_and(|p| p.deleted_by == Some(turn.from.other()) && p.from != turn.from) {
        // The other side lacks what this one has changed, and an operator has not decided yet: whatever this one has now
        // stands against the deletion.
        return Verdict::Unchanged;
    }
    let ours = entry.side(turn.from);
    let deleted_there = ours.is_being_deleted() || entry.side(turn.from.other()).deleting;
    let changed = changed_since(entry.side(turn.from), sent(entry, turn.from).as_ref(), turn.same);
    let there = entry.side(turn.from.other());
    let Some(view) = there.view() else {
        if deleted_there && !changed.is_empty() {
            return edited_and_deleted(entry, turn, was.as_ref());
        }
        if deleted_there {
            entry.parked = None;
            return Verdict::Unchanged;
        }
        return send(entry, turn, None, None);
    };
    let differs = |column: u16, known: Option<&Cell>| match (turn.mapped.get(column), known) {
        (Some(new), Some(known)) => !(turn.same_there)(new, known),
        _ => true,
    };
    agree(entry, turn, &changed);
    let mut wanted: Vec<u16> = Vec::new();
    for (column, reads) in turn.compared {
        if reads.iter().any(|c| changed.contains(c)) && differs(*column, view.get(*column)) {
            wanted.push(*column);
        }
    }
    let there = entry.side(turn.from.other());
    let clashes =
        |column: &u16| (turn.told)(*column) && differs(*column, there.exported.as_ref().and_then(|e| e.get(*column))) && changed_there(there, *column, turn);
    let conflicts: Vec<u16> = wanted.iter().copied().filter(clashes).collect();
    let parked_before = entry.parked.take();
    // What was found in the other side's export stays a conflict until this side shows something else there.
    let mut waits = None;
    let mut told = Vec::new();
    let mut open: Vec<u16> = Vec::new();
    if let Some(mut parked) = still_parked(parked_before.as_ref(), turn, was.as_ref()) {
        let settled = grounds(turn, &conflicts);
        parked.columns.retain(|(c, _)| !settled.contains(c));
        let made_of_it = |reads: &[u16]| parked.columns.iter().any(|(c, _)| reads.contains(c));
        open = turn.compared.iter().filter(|(c, reads)| !conflicts.contains(c) && made_of_it(reads)).map(|(c, _)| *c).collect();
        wanted.retain(|c| !open.contains(c));
        waits = Some(parked).filter(|p| !p.columns.is_empty());
    }
    if !conflicts.is_empty() {
        match winner(entry, turn) {
            None => {
                // What is parked already is parked beside that: an operator sees all of the record at once.
                let all: Vec<u16> = turn.compared.iter().map(|(c, _)| *c).filter(|c| conflicts.contains(c) || open.contains(c)).collect();
                told = park(entry, turn, &all, parked_before, was.as_ref());
                waits = entry.parked.take();
                wanted.retain(|c| !conflicts.contains(c));
            }
            Some(side) => {
                let grounds = grounds(turn, &conflicts);
                let (lost, won) = if side == turn.from { (&conflicts, &grounds) } else { (&grounds, &conflicts) };
                settled_for(entry, side, lost, won);
                wanted.retain(|c| side == turn.from || !conflicts.contains(c));
            }
        }
    }
    entry.parked = waits;
    // What waits for an operator is not brought again.
    let kept = endangered(entry, turn);
    if wanted.is_empty() && kept.is_empty() {
        return if told.is_empty() { Verdict::Unchanged } else { Verdict::Parked(told) };
    }
    // The record goes as the other side will have it by then; seen there, what comes back is a change like any other.
    let coming = entry.side(turn.from.other()).coming();
    let waits = entry.parked.take();
    let verdict = send(entry, turn, Some(News { changed: &wanted, kept: &kept }), coming);
    if let Some(pending) = entry.side_mut(turn.from.other()).pending.last_mut() {
        returning.iter().for_each(|c| pending.carried.drop(*c));
    }
    // What else has changed in a record that waits for an operator is merged all the same.
    entry.parked = waits;
    match verdict {
        Verdict::Send { row, before, op, .. } => Verdict::Send { row, before, op, parked: told },
        verdict => verdict,
    }
}

/// What was delivered to this side and is seen in its export now, is agreed on. The columns that this side had changed, and
/// that a delivery made before that was known has overwritten.
fn confirm(entry: &mut Entry, turn: &Turn<'_>, was: Option<&Row>) -> Vec<u16> {
    let at = turn.from.at();
    // What is seen as some delivery had it is no change of this side's own, even if a later delivery has it otherwise.
    let rows = entry.sides[at].pending.iter().filter_map(|p| p.row.as_ref());
    let explained: Vec<u16> = rows.flat_map(Row::iter).filter(|(c, cell)| turn.shows(*c, cell)).map(|(c, _)| c).collect();
    let just = if turn.parts[0] { entry.sides[at].shown_after(&turn.shown, turn.same) } else { None };
    let seen = just.or_else(|| last_taken(entry, turn, was));
    let mut overwritten: Vec<u16> = Vec::new();
    let taken: Vec<Pending> = entry.sides[at].pending.drain(..seen.map_or(0, |n| n + 1)).collect();
    // What waits for an operator, and what a later one carried as this side had it, is not agreed to by that.
    let waits = |column: u16| entry.parked.as_ref().is_some_and(|p| p.waits(turn.from, column));
    // What the other side has won is sent to this one whatever it shows: nothing of its own is to be given back.
    let there = &entry.sides[1 - at];
    let lacks = |c: u16| there.exported.as_ref().is_some_and(|e| e.get(c).is_some()) && there.base.as_ref().is_none_or(|b| b.get(c).is_none());
    let won = turn.compared.iter().filter(|(c, _)| !taken.is_empty() && lacks(*c));
    let lost: Vec<u16> = won.flat_map(|(_, reads)| reads).copied().filter(|c| !waits(*c)).collect();
    let carried_behind = |behind: usize| taken[behind..].iter().flat_map(|p| p.carried.iter()).map(|(c, _)| c).filter(|c| waits(*c)).collect();
    let overruled: Vec<Vec<u16>> = (1..=taken.len()).map(carried_behind).collect();
    for (pending, overruled) in taken.into_iter().zip(overruled) {
        let changed = |c: u16, cell: &Cell| was.and_then(|was| was.get(c)).is_some_and(|was| !(turn.same)(was, cell));
        let mut stale: Vec<u16> =
            pending.carried.iter().filter(|(c, cell)| turn.shows(*c, cell) && changed(*c, cell) && !explained.contains(c)).map(|(c, _)| c).collect();
        for column in stale.extract_if(.., |c| lost.contains(c)) {
            if let Some(cell) = turn.shown.get(column) {
                entry.sides[at].base.get_or_insert_default().set(column, cell.clone());
            }
        }
        overwritten.extend(stale);
        if turn.keeps[1] == Keeps::Rows {
            let sent = pending.carried.iter().chain(pending.row.iter().flat_map(Row::iter));
            let beyond: Row = sent.filter(|(c, _)| turn.shown.get(*c).is_none()).map(|(c, cell)| (c, cell.clone())).collect();
            entry.sides[at].beyond.overlay(&beyond);
        }
        let (Some(row), base) = (pending.row, &mut entry.sides[at].base) else { continue };
        let here = row.only(|c| turn.shown.get(c).is_some() && !overruled.contains(&c));
        base.get_or_insert_default().overlay(&here);
        if let Some(from) = &pending.from {
            let agreed = |column: u16| !turn.compared.iter().any(|(c, reads)| *c == column && reads.iter().any(|r| overruled.contains(r)));
            let from = from.only(agreed);
            entry.sides[1 - at].base.get_or_insert_default().overlay(&from);
        }
    }
    // What this side has changed by itself since is its own again; what it has not changed is still awaited.
    let own = |c: u16| {
        let now = turn.shown.get(c).filter(|_| !explained.contains(&c) && (!turn.silent || !overwritten.contains(&c)));
        now.is_some_and(|now| was.is_none_or(|was| was.get(c).is_none_or(|was| !(turn.same)(was, now))))
    };
    entry.sides[at].due.retain(|c| !own(c));
    entry.sides[at].untold.retain(|c| !own(*c));
    for pending in &mut entry.sides[at].pending {
        let Some(row) = &pending.row else {
            pending.exports += u32::from(pending.is_void());
            continue;
        };
        let over: Vec<u16> = row.iter().filter(|(c, cell)| (own(*c) || pending.over.contains(c)) && !turn.shows(*c, cell)).map(|(c, _)| c).collect();
        pending.over = over;
        // Once it is seen, or changed there, it is that side's own.
        pending.back = pending.back.iter().filter(|(c, cell)| !turn.shows(*c, cell) && !own(*c)).map(|(c, cell)| (c, cell.clone())).collect();
        pending.exports += 1;
    }
    overwritten
}

/// This side's record as the other one was told of it last.
fn sent(entry: &Entry, from: Side) -> Option<Row> {
    let base = entry.side(from).base.clone();
    match entry.side(from.other()).pending.iter().rev().find_map(|p| p.from.as_ref()) {
        None => base,
        Some(told) => {
            let mut sent = base.unwrap_or_default();
            sent.overlay(told);
            Some(sent)
        }
    }
}

/// The columns that a side has changed since then, and that were not delivered to it.
pub(super) fn changed_since(held: &Held, since: Option<&Row>, same: Same<'_>) -> Vec<u16> {
    let Some(shown) = &held.exported else { return Vec::new() };
    let delivered = |column: u16, cell: &Cell| held.pending.iter().any(|p| p.row.as_ref().and_then(|r| r.get(column)).is_some_and(|d| same(cell, d)));
    let changed = |column: u16, cell: &Cell| match since.map(|row| row.get(column)) {
        // Nothing was ever agreed on: what was delivered is none of its own.
        None => !delivered(column, cell),
        Some(None) => true,
        Some(Some(known)) => !same(cell, known) && !delivered(column, cell),
    };
    shown.iter().filter(|(c, cell)| changed(*c, cell)).map(|(c, _)| c).collect()
}

/// Whether the other side has changed this column since both last agreed.
fn changed_there(there: &Held, column: u16, turn: &Turn<'_>) -> bool {
    let Some(shown) = there.exported.as_ref().and_then(|e| e.get(column)) else { return false };
    there.base.as_ref().is_none_or(|base| base.get(column).is_none_or(|b| !(turn.same_there)(shown, b)))
}

/// What both sides hold alike is agreed on, however it came about.
fn agree(entry: &mut Entry, turn: &Turn<'_>, changed: &[u16]) {
    let (from, to) = (turn.from.at(), turn.from.other().at());
    let (Some(exported), Some(view)) = (entry.sides[to].exported.clone(), entry.sides[to].view()) else { return };
    // What is on its way to the other side, and otherwise, is not what it will hold.
    let alike = |column: u16| match (turn.mapped.get(column), exported.get(column), view.get(column)) {
        (Some(ours), Some(theirs), Some(then)) => (turn.same_there)(ours, theirs) && (turn.same_there)(ours, then),
        _ => false,
    };
    let agreed: Vec<u16> = turn.compared.iter().map(|(c, _)| *c).filter(|c| alike(*c)).collect();
    if agreed.is_empty() {
        return;
    }
    let base = entry.sides[to].base.get_or_insert_default();
    for column in &agreed {
        if let Some(cell) = exported.get(*column) {
            base.set(*column, cell.clone());
        }
    }
    // What was told and is not seen there yet is not agreed on.
    let told: Vec<u16> = entry.sides[to].pending.iter().filter_map(|p| p.from.as_ref()).flat_map(Row::iter).map(|(c, _)| c).collect();
    let settled = |c: &u16| turn.compared.iter().filter(|(_, reads)| reads.contains(c)).all(|(column, _)| agreed.contains(column));
    let base = entry.sides[from].base.get_or_insert_default();
    for (column, cell) in turn.shown.iter().filter(|(c, _)| !(changed.contains(c) || told.contains(c)) || settled(c)) {
        base.set(column, cell.clone());
    }
}

/// The columns that are sent as this side has changed them, and the cells of the other side that it is to keep.
#[derive(Clone, Copy)]
pub(super) struct News<'n> {
    changed: &'n [u16],
    kept: &'n Row,
}

/// Sends the record: all of it, or with these columns as this side has changed them, and the others as the other side has
/// them.
pub(super) fn send(entry: &mut Entry, turn: &Turn<'_>, news: Option<News<'_>>, before: Option<Row>) -> Verdict {
    entry.parked = None;
    let mut row = turn.mapped.clone();
    let (mut delivered, mut from, mut carried) = (row.clone(), turn.shown.clone(), Row::default());
    if let (Some(News { changed, kept }), Some(view)) = (news, &before) {
        for (column, _) in turn.compared.iter().filter(|(c, _)| !changed.contains(c)) {
            if let Some(known) = kept.get(*column).or_else(|| view.get(*column)) {
                row.set(*column, known.clone());
            }
        }
        // Only what is news of it is evidence, once it is seen.
        let grounds = grounds(turn, changed);
        let is_news = |column: u16| changed.contains(&column) || kept.get(column).is_some();
        delivered = row.only(is_news);
        let along = |column: u16| !is_news(column) && turn.compared.iter().any(|(c, _)| *c == column);
        carried = row.only(along);
        from = turn.shown.only(|c| grounds.contains(&c));
    }
    let [here, there] = entry.both_mut(turn.from);
    there.due.retain(|c| delivered.get(c).is_none());
    // What it keeps, and this side was not told of, counts as a change once it is seen.
    let mut untold: Vec<u16> = there.untold.extract_if(.., |c| delivered.get(*c).is_some()).collect();
    if let Some(News { kept, .. }) = news {
        untold.extend(kept.iter().map(|(c, _)| c).filter(|c| there.told(*c, here).next().is_none()));
    }
    let back = delivered.only(|c| untold.contains(&c));
    delivered.retain(|c| !untold.contains(&c));
    there.pending.push(Pending { row: Some(delivered), from: Some(from), carried, back, over: Vec::new(), job: turn.job, exports: 0 });
    if there.pending.len() > PENDING_MAX {
        let first = there.pending.remove(0);
        let Pending { row: second, back, .. } = &mut there.pending[0];
        if let (Some(mut row), Some(second)) = (first.row, second.as_mut()) {
            row.overlay(second);
            *second = row;
        }
        let mut all = first.back;
        all.overlay(back);
        *back = all;
    }
    let op = if before.is_some() { Op::Modified } else { Op::Added };
    Verdict::Send { row, before, op, parked: Vec::new() }
}

/// Which side wins a conflict; none: an operator decides.
fn winner(entry: &Entry, turn: &Turn<'_>) -> Option<Side> {
    match turn.policy {
        Policy::Park => None,
        Policy::Source => Some(turn.from),
        Policy::Target => Some(turn.from.other()),
        Policy::Newest(_) => {
            let column = turn.newest?;
            let (ours, theirs) = (turn.mapped.get(column)?, entry.side(turn.from.other()).exported.as_ref()?.get(column)?);
            match super::later(ours, theirs)? {
                std::cmp::Ordering::Greater => Some(turn.from),
                std::cmp::Ordering::Less => Some(turn.from.other()),
                std::cmp::Ordering::Equal => None,
            }
        }
    }
}

/// A conflict that was found in the other side's export, in the columns that this side exports as it did then.
fn still_parked(before: Option<&Parked>, turn: &Turn<'_>, was: Option<&Row>) -> Option<Parked> {
    let before = before.filter(|p| p.from != turn.from && p.deleted_by.is_none())?;
    let same = |column: u16| was.and_then(|was| was.get(column)).zip(turn.shown.get(column)).is_some_and(|(was, now)| (turn.same)(was, now));
    let columns: Vec<_> = before.columns.iter().filter(|(c, _)| same(*c)).cloned().collect();
    (!columns.is_empty()).then(|| Parked { columns, ..before.clone() })
}

pub(super) fn grounds(turn: &Turn<'_>, columns: &[u16]) -> Vec<u16> {
    let mut grounds: Vec<u16> = turn.compared.iter().filter(|(c, _)| columns.contains(c)).flat_map(|(_, reads)| reads.clone()).collect();
    grounds.sort_unstable();
    grounds.dedup();
    grounds
}

/// Parks these columns; gives what is to be told of it.
fn park(entry: &mut Entry, turn: &Turn<'_>, columns: &[u16], before: Option<Parked>, was: Option<&Row>) -> Vec<Conflict> {
    let there = entry.side(turn.from.other());
    let cell = |row: &Option<Row>, column: u16| row.as_ref().and_then(|r| r.get(column)).cloned();
    let told = columns.iter().map(|column| Conflict {
        column: Some(*column),
        base: cell(&there.base, *column),
        ours: turn.mapped.get(*column).cloned(),
        theirs: cell(&there.exported, *column),
    });
    let told = told.collect();
    // The same conflict, seen once more, is no news.
    let same = |column: u16| match (was.and_then(|was| was.get(column)), turn.shown.get(column)) {
        (Some(was), Some(now)) => (turn.same)(was, now),
        (was, now) => was.is_none() && now.is_none(),
    };
    let holds = |p: &Parked, column: u16, grounds: &[u16]| {
        p.columns.iter().any(|(c, _)| if p.from == turn.from { *c == column } else { grounds.contains(c) }) && grounds.iter().all(|c| same(*c))
    };
    let known = |p: &Parked| columns.iter().all(|column| holds(p, *column, &grounds(turn, &[*column])));
    if let Some(before) = before.filter(known) {
        entry.parked = Some(before);
        return Vec::new();
    }
    let columns = columns.iter().map(|c| (*c, grounds(turn, &[*c]))).collect();
    entry.parked = Some(Parked { job: turn.job, from: turn.from, columns, deleted_by: None });
    told
}
