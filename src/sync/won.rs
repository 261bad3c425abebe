//! Who has won, and what becomes of what the loser had: its change is void, and it gets the winner's. Pure.

use super::cell::Row;
use super::deleted::settle_deleted;
use super::entry::{Entry, Held, Side};
use super::judge::Turn;

/// Settles a parked record: the side that wins is the only one that has changed it. What it has comes to the other side
/// with its next export.
pub fn settle(entry: &mut Entry, winner: Side, columns: &[u16]) {
    let Some(parked) = &mut entry.parked else { return };
    let from = parked.from;
    let deleted_by = parked.deleted_by;
    let settled: Vec<_> = parked.columns.extract_if(.., |(c, _)| columns.contains(c)).collect();
    if parked.columns.is_empty() {
        entry.parked = None;
        entry.sides.iter_mut().for_each(Held::drop_overridden);
    }
    if let Some(deleter) = deleted_by {
        return settle_deleted(entry, winner, deleter);
    }
    let columns: Vec<u16> = settled.iter().map(|(c, _)| *c).collect();
    let grounds: Vec<u16> = settled.into_iter().flat_map(|(_, grounds)| grounds).collect();
    let (lost, won) = if winner == from { (columns, grounds) } else { (grounds, columns) };
    settled_for(entry, winner, &lost, &won);
}

/// What the winner was told of these columns of the loser, and is not seen there yet, is older than what counts as agreed now.
fn void_told(entry: &mut Entry, winner: Side, lost: &[u16]) {
    let told = entry.side_mut(winner).pending.iter_mut().filter_map(|p| p.from.as_mut());
    told.for_each(|from| from.retain(|c| !lost.contains(&c)));
}

/// One side's change of these columns is void, and what the other one has goes to it, whatever that is by then.
fn void(entry: &mut Entry, loser: Side, lost: &[u16], won: &[u16]) {
    let held = entry.side_mut(loser);
    let exported = held.exported.clone().unwrap_or_default();
    let base = held.base.get_or_insert_default();
    base.overlay(&exported.only(|c| lost.contains(&c)));
    // What it was told before counts as not told.
    held.pending.iter_mut().filter_map(|p| p.from.as_mut()).for_each(|from| won.iter().for_each(|c| from.drop(*c)));
    let held = entry.side_mut(loser.other());
    if let Some(base) = &mut held.base {
        won.iter().for_each(|c| base.drop(*c));
    }
    void_told(entry, loser.other(), lost);
}

/// The same, where the winner's change stands against the loser's: if the winner takes what was delivered of that one, it
/// loses its own by it, and gets it back.
pub(super) fn settled_for(entry: &mut Entry, winner: Side, lost: &[u16], won: &[u16]) {
    void(entry, winner.other(), lost, won);
    let held = entry.side_mut(winner);
    held.pending.iter_mut().for_each(|p| p.over.extend(won));
    held.drop_overridden();
}

/// Gives a side back what it had changed in these columns, and what a delivery that did not know of it has overwritten:
/// the other side has it by now, and what was delivered of it there counts as a change like any other. Gives the columns there.
pub(super) fn give_back(entry: &mut Entry, turn: &Turn<'_>, columns: &[u16]) -> Vec<u16> {
    let there: Vec<u16> = turn.compared.iter().filter(|(_, reads)| reads.iter().any(|c| columns.contains(c))).map(|(c, _)| *c).collect();
    void(entry, turn.from, columns, &there);
    let held = entry.side_mut(turn.from.other());
    for pending in &mut held.pending {
        for row in pending.row.iter_mut().chain([&mut pending.carried]) {
            for column in &there {
                row.get(*column).cloned().into_iter().for_each(|cell| pending.back.set(*column, cell));
                row.drop(*column);
            }
        }
    }
    held.pending.retain(|p| p.is_news() || !p.carried.is_empty() || !p.back.is_empty());
    there
}

/// These columns of this side were overwritten by deliveries that did not know of its change: what it has there now is none.
/// It gets back what is due to it.
pub(super) fn lose(entry: &mut Entry, overwritten: &[u16], turn: &Turn<'_>) {
    let [held, there] = entry.both_mut(turn.from);
    for (column, cell) in overwritten.iter().filter_map(|c| Some((*c, turn.shown.get(*c)?))) {
        let told = held.told(column, there).next().is_some();
        let base = held.base.get_or_insert_default();
        if !told && held.due.get(column).is_some() {
            held.untold.push(column);
        }
        base.set(column, cell.clone());
    }
    void_told(entry, turn.from.other(), overwritten);
}

/// What the other side has changed, and loses by a delivery that did not know of it. Where that may never be seen, it
/// goes there once more.
pub(super) fn endangered(entry: &Entry, turn: &Turn<'_>) -> Row {
    // That it has taken a deletion, its exports never show.
    let there = entry.side(turn.from.other());
    let hidden = turn.silent || (turn.parts[1] && there.may_lose_its_edit());
    if !hidden && there.due.is_empty() {
        return Row::default();
    }
    let mut lost = entry.endangered(turn.from.other(), turn.same_there);
    lost.retain(|c| (hidden || there.due.get(c).is_some()) && turn.compared.iter().any(|(column, _)| *column == c));
    lost
}
