//! Records that one side has deleted: what is sent of that, and what becomes of a deletion that meets an edit. Pure.

use super::cell::Row;
use super::entry::{Entry, Held, Parked, Pending, Side};
use super::judge::{Conflict, Policy, Same, Turn, Verdict, changed_since, send};

/// This side has changed a record that the other one has deleted.
pub(super) fn edited_and_deleted(entry: &mut Entry, turn: &Turn<'_>, was: Option<&Row>) -> Verdict {
    let parked_before = entry.parked.take();
    match turn.policy {
        Policy::Source | Policy::Newest(_) => {
            entry.side_mut(turn.from).override_pending();
            entry.side_mut(turn.from).base = None;
            entry.side_mut(turn.from.other()).deleting = false;
            send(entry, turn, None, None)
        }
        Policy::Target => {
            delete_again(entry, turn.from.other());
            Verdict::Unchanged
        }
        Policy::Park if was == Some(&turn.shown) && parked_before.is_some() => {
            entry.parked = parked_before;
            Verdict::Unchanged
        }
        Policy::Park => {
            let deleted_by = Some(turn.from.other());
            entry.parked = Some(Parked { job: turn.job, from: turn.from, columns: Vec::new(), deleted_by });
            Verdict::Parked(vec![Conflict { column: None, base: None, ours: None, theirs: None }])
        }
    }
}

/// What becomes of a record that a full export does not show any more.
#[derive(Clone, Debug, PartialEq)]
pub enum Gone {
    /// Nothing is sent; the entry says what is known now.
    Noted,
    /// Its deletion is sent; the record as the other side holds it.
    Delete(Row),
    /// The other side has changed it meanwhile.
    Parked,
}

/// Whether deletions are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletes {
    /// They are.
    Send,
    /// A missing record means nothing.
    Ignore,
}

/// Judges a record that a full export of `from` does not show.
pub fn gone(entry: &mut Entry, from: Side, job: u64, deletes: Deletes, policy: &Policy, same_there: Same<'_>) -> Gone {
    let held = entry.side_mut(from);
    if held.deleting {
        *held = Held::default();
        let there = entry.side(from.other());
        return match there.view().map(|view| there.whole(view)) {
            Some(view) => {
                delete(entry, from, job);
                Gone::Delete(view)
            }
            None => Gone::Noted,
        };
    }
    if held.exported.is_none() && held.is_being_deleted() {
        // It never had the record, as far as is known: perhaps all of it is still to come.
        held.unseen();
        return Gone::Noted;
    }
    if held.may_lose_its_edit() {
        // It has taken the deletion that its own edit has won against: it gets the record back from the other side.
        *held = Held::default();
        return Gone::Noted;
    }
    if held.is_being_deleted() {
        // The side has taken the deletion.
        *held = Held::default();
        let there = entry.side_mut(from.other());
        if there.exported.is_none() {
            there.pending.clear();
        }
        entry.parked = None;
        return Gone::Noted;
    }
    held.pending.iter_mut().for_each(|p| p.exports += 1);
    if held.exported.is_none() || deletes == Deletes::Ignore || entry.parked.is_some() {
        return Gone::Noted;
    }
    let there = entry.side(from.other());
    let Some(view) = there.view() else {
        *entry.side_mut(from) = Held::default();
        entry.side_mut(from.other()).deleting = false;
        return Gone::Noted;
    };
    let edited = there.base.is_some() && !changed_since(there, there.base.as_ref(), same_there).is_empty();
    if edited {
        match policy {
            Policy::Park => {
                entry.parked = Some(Parked { job, from, columns: Vec::new(), deleted_by: Some(from) });
                return Gone::Parked;
            }
            Policy::Target | Policy::Newest(_) => {
                // The record goes back to the side that deleted it, with the other side's next export.
                *entry.side_mut(from) = Held::default();
                return Gone::Noted;
            }
            Policy::Source => {}
        }
    }
    let whole = there.whole(view);
    delete(entry, from, job);
    Gone::Delete(whole)
}

/// Notes that the deletion of a record is delivered to the other side.
pub fn delete(entry: &mut Entry, from: Side, job: u64) {
    *entry.side_mut(from) = Held::default();
    let there = entry.side_mut(from.other());
    // What it has until it takes the deletion is no edit that stands against it.
    there.base.clone_from(&there.exported);
    there.pending.push(Pending { row: None, from: None, carried: Row::default(), back: Row::default(), over: Vec::new(), job, exports: 0 });
}

/// One side has the record, changed; the other one has deleted it.
pub(super) fn settle_deleted(entry: &mut Entry, winner: Side, deleter: Side) {
    let editor = deleter.other();
    // What it exported before it deleted the record is no longer so.
    *entry.side_mut(deleter) = Held::default();
    if winner == editor {
        // The edit wins: the other side gets the record anew.
        entry.side_mut(editor).override_pending();
        entry.side_mut(editor).base = None;
    } else {
        delete_again(entry, deleter);
    }
}

/// A deletion wins over an edit: it is sent with the next export of the side that has deleted the record, whether the
/// other one has taken it before or not.
fn delete_again(entry: &mut Entry, deleter: Side) {
    let held = entry.side_mut(deleter.other());
    held.pending.clear();
    held.base.clone_from(&held.exported);
    if entry.side(deleter).exported.is_none() {
        *entry.side_mut(deleter) = Held { deleting: true, ..Held::default() };
    }
}
