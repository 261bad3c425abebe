//! Whether a record is sent where one side alone exports: the other side holds what was delivered to it. Pure.

use super::cell::Row;
use super::entry::{Entry, Marks};
use super::judge::Verdict;
use crate::transform::changes::Op;

/// A record on its way.
pub(super) struct Turn {
    /// Its marks.
    pub(super) marks: Marks,
    /// What it is mapped to, where that is kept.
    pub(super) mapped: Row,
    /// Whether the map is another than that of the last export.
    pub(super) remapped: bool,
}

/// Judges a record; the entry is then what the memory holds once the record is delivered.
pub(super) fn judge(entry: &mut Entry, turn: Turn) -> Verdict {
    let known = entry.marks.replace(turn.marks);
    let held = &mut entry.sides[1].exported;
    let before = held.take();
    *held = (!turn.mapped.is_empty()).then(|| turn.mapped.clone());
    match known {
        None => Verdict::Send { row: turn.mapped, before: None, op: Op::Added, parked: Vec::new() },
        // Under a new map, what A has not changed is read anew, and not sent twice.
        Some(known) if known.mapped == turn.marks.mapped || (turn.remapped && known.raw == turn.marks.raw) => Verdict::Unchanged,
        Some(_) => Verdict::Send { row: turn.mapped, before, op: Op::Modified, parked: Vec::new() },
    }
}
