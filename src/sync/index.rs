//! What of a group's memory is at hand while an export goes by: a few bytes a key, so that a million unchanged records
//! need no look into the journal.

use std::sync::atomic::AtomicU8;
use std::sync::atomic::Ordering::Relaxed;

use super::deleted::Deletes;
use super::entry::{Head, Id, Side};

/// A key that the memory knows, while an export goes by.
pub(super) struct Index {
    slots: Vec<Slot>,
    /// Where the ids begin whose first bytes are these.
    starts: Vec<u32>,
    bits: u32,
    side: Side,
    /// How many records the side holds.
    pub(super) held: u64,
}

/// What is known of a key, side by side: one look into memory for each record.
struct Slot {
    id: Id,
    flags: AtomicU8,
    quiet: u64,
}

/// A key that the export did not have.
pub(super) struct Missing {
    pub(super) id: Id,
    /// The side is known to hold it.
    pub(super) holds: bool,
    /// Something was delivered to the side for it: perhaps its deletion.
    pub(super) awaits: bool,
}

const HOLDS: u8 = 1;
const AWAITS: u8 = 2;
const ROWS: u8 = 4;
const SEEN: u8 = 8;
/// The export has the key in records that `where` leaves out.
const SKIPPED: u8 = 16;

impl Index {
    /// An index for exports of that side.
    pub(super) fn new(side: Side) -> Self {
        Self { slots: Vec::new(), starts: Vec::new(), bits: 0, side, held: 0 }
    }

    /// Adds a key; they come in order.
    pub(super) fn add(&mut self, id: Id, head: &Head) {
        let at = self.side.at();
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        let flags = flag(head.holds[at], HOLDS) | flag(head.awaits[at], AWAITS) | flag(head.rows, ROWS);
        self.slots.push(Slot { id, flags: AtomicU8::new(flags), quiet: head.quiet[at] });
        self.held += u64::from(head.holds[at]);
    }

    /// All keys are there.
    pub(super) fn close(&mut self) {
        // About four keys a bucket.
        self.bits = (self.slots.len() / 4).max(1).ilog2().min(28);
        self.starts = vec![0; (1 << self.bits) + 1];
        for slot in &self.slots {
            self.starts[bucket(&slot.id, self.bits) + 1] += 1;
        }
        for i in 1..self.starts.len() {
            self.starts[i] += self.starts[i - 1];
        }
    }

    /// Where the key stands.
    pub(super) fn find(&self, id: &Id) -> Option<usize> {
        let bucket = bucket(id, self.bits);
        let (start, end) = (*self.starts.get(bucket)? as usize, *self.starts.get(bucket + 1)? as usize);
        self.slots[start..end].iter().position(|known| known.id == *id).map(|at| start + at)
    }

    /// Whether nothing is known.
    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }
    /// The mark of the record that needs no look; 0: any record does.
    pub(super) fn quiet(&self, at: usize) -> u64 {
        self.slots[at].quiet
    }
    /// Whether its records are kept.
    pub(super) fn has_rows(&self, at: usize) -> bool {
        self.slots[at].flags.load(Relaxed) & ROWS != 0
    }
    /// Whether the side is known to hold the record.
    pub(super) fn holds(&self, at: usize) -> bool {
        self.slots[at].flags.load(Relaxed) & HOLDS != 0
    }
    /// Notes that the export has the key; false: it had it already.
    pub(super) fn see(&self, at: usize) -> bool {
        self.slots[at].flags.fetch_or(SEEN, Relaxed) & SEEN == 0
    }
    /// Notes that the export has the key in a record that is left out; false: it had it already.
    pub(super) fn skip(&self, at: usize) -> bool {
        self.slots[at].flags.fetch_or(SKIPPED, Relaxed) & (SEEN | SKIPPED) == 0
    }
    /// Whether the export has the key in records that are left out alone.
    pub(super) fn only_skipped(&self, at: usize) -> bool {
        self.slots[at].flags.load(Relaxed) & (SEEN | SKIPPED) == SKIPPED
    }
    /// The keys that the export did not have, of which something is to be said: those that the side holds where deletions
    /// are sent, and those that something was delivered to it for.
    pub(super) fn missing(&self, deletes: Deletes) -> impl Iterator<Item = Missing> {
        let wanted = if deletes == Deletes::Send { HOLDS | AWAITS } else { AWAITS };
        let flags = self.slots.iter().map(|slot| (slot.id, slot.flags.load(Relaxed)));
        flags.filter(move |(_, f)| f & (SEEN | SKIPPED) == 0 && f & wanted != 0).map(|(id, f)| Missing { id, holds: f & HOLDS != 0, awaits: f & AWAITS != 0 })
    }
}

fn bucket(id: &Id, bits: u32) -> usize {
    let first = u32::from_be_bytes([id[0], id[1], id[2], id[3]]);
    if bits == 0 { 0 } else { (first >> (32 - bits)) as usize }
}

#[cfg(test)]
mod tests {
    use super::super::entry::id_of;
    use super::*;

    #[test]
    fn every_key_is_found_and_no_other() {
        for count in [0, 1, 3, 1000] {
            let mut ids: Vec<Id> = (0..count).map(|i| id_of(&[format!("C{i}")])).collect();
            ids.sort_unstable();
            let mut index = Index::new(Side::A);
            for (i, id) in ids.iter().enumerate() {
                index.add(*id, &Head { quiet: [i as u64 + 1, 0], holds: [true, false], ..Head::default() });
            }
            index.close();
            for (i, id) in ids.iter().enumerate() {
                assert_eq!(index.find(id).map(|at| index.quiet(at)), Some(i as u64 + 1));
            }
            assert_eq!((index.find(&id_of(&["other".into()])), index.held), (None, count as u64));
            assert_eq!(index.missing(Deletes::Send).count(), count);
        }
    }
}
