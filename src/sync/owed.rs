//! What an export that was relayed before still owes the other side: a record that has won, or that a delivery on its way
//! takes away. Where all exports hold all records, the next one brings it; of parts, the one is read once more that showed
//! it last. Pure.

use std::collections::BTreeSet;

use super::cell::{Cell, Row};
use super::entry::{Entry, Side};
use super::judge::Turn;
use super::{Exports, LastExport};

/// What a job of the opposite route must send once more to `from`, though its side need not export it again: what has won
/// there, by its columns, and what `from` would lose of its own.
#[derive(Default, PartialEq)]
pub struct Owed {
    won: Vec<u16>,
    endangered: Row,
}

impl Owed {
    /// What is owed to a side.
    pub fn to(entry: &Entry, turn: &Turn<'_>) -> Self {
        let endangered = if turn.silent { entry.endangered(turn.from, turn.same) } else { Row::default() };
        Self::of(entry, turn.from, endangered)
    }
    fn of(entry: &Entry, from: Side, endangered: Row) -> Self {
        if entry.parked.is_some() {
            return Self::default();
        }
        let (here, there) = (entry.side(from), entry.side(from.other()));
        // A later value than it was told of may have waited for an operator.
        let was_told = |column: u16, cell: &Cell| there.told(column, here).any(|told| told.text() == cell.text());
        let won = there.exported.iter().flat_map(Row::iter).filter(|(c, cell)| !was_told(*c, cell)).map(|(c, _)| c).collect();
        Self { won, endangered }
    }
    /// Whether nothing is.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
    /// Whether all of it was owed before.
    pub fn is_within(&self, before: &Self) -> bool {
        self.won.iter().all(|c| before.won.contains(c)) && self.endangered.iter().all(|(c, cell)| before.endangered.get(c) == Some(cell))
    }
}

/// What an export was found to mean for other jobs.
#[derive(Default)]
pub struct Found {
    /// Those of the opposite route whose exports are to be read once more.
    pub owed: BTreeSet<u64>,
    /// Those that had parked conflicts which are no more, or are parked by this one anew.
    pub unparked: BTreeSet<u64>,
}

impl Found {
    /// Notes whose conflicts are no more.
    pub(super) fn note(&mut self, before: &Entry, after: &Entry) {
        if let Some(parked) = &before.parked
            && after.parked.as_ref().is_none_or(|now| now.job != parked.job || now.columns.len() < parked.columns.len())
        {
            self.unparked.insert(parked.job);
        }
    }
}

/// Once an operator has settled a conflict for `winner`: the sides whose exports are read once more, each with the job that
/// showed the record last; none: that is not known. `before` is the entry as it was parked.
pub fn after_settling(before: &Entry, after: &Entry, winner: Side, last: &[Option<LastExport>; 2], exports: Exports) -> Vec<(Side, Option<u64>)> {
    // A side's last full export holds the record as it is now.
    let shown_by = |side: Side| {
        let full = last[side.at()].as_ref().filter(|last| last.full).map(|last| last.job);
        let seen = Some(before.side(side).seen).filter(|job| *job != 0);
        full.or(seen).or_else(|| before.parked.as_ref().filter(|p| p.from == side).map(|p| p.job))
    };
    // What was sent to the winner before may take from it what has won.
    let endangered = || after.endangered(winner, &|a, b| a.text() == b.text());
    let both = exports == Exports::Incremental && !Owed::of(after, winner, endangered()).is_none();
    let sides = [Some(winner), Some(winner.other()).filter(|_| both)];
    sides.into_iter().flatten().map(|side| (side, shown_by(side))).collect()
}
