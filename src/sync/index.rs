//! What of a group's memory is at hand while an export goes by: a few bytes a key, so that a million unchanged records
//! need no look into the journal.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::AtomicU8;
use std::sync::atomic::Ordering::Relaxed;

use super::deleted::Deletes;
use super::entry::{Head, Id, Side};

/// A key that the memory knows, while an export goes by.
pub(super) struct Index {
    slots: Vec<Slot>,
    /// Where the ids begin whose first bits are these.
    starts: Vec<u32>,
    bits: u32,
    side: Side,
    /// How many records the side holds.
    pub(super) held: u64,
}

/// What is known of a key, side by side and in 18 bytes: one look into memory for each record, and ten million of them
/// beside all else in 256 MiB.
struct Slot {
    /// The id behind its first byte, which the bucket tells.
    rest: [u8; REST],
    /// The mark without its two highest bytes: one of 2^48 changed records looks as it was.
    quiet: [u8; 6],
    flags: AtomicU8,
}

/// So many bytes of an id stand in its slot.
const REST: usize = size_of::<Id>() - FIRST;
/// And so many are told by its bucket. More would cost small groups more than they would save large ones.
const FIRST: usize = 1;
/// The bits of them: there are at least so many buckets.
const FIRST_BITS: u32 = 8 * FIRST as u32;

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
        Self { slots: Vec::new(), starts: vec![0; (1 << FIRST_BITS) + 1], bits: FIRST_BITS, side, held: 0 }
    }

    /// Adds a key; they come in order.
    pub(super) fn add(&mut self, id: &Id, head: &Head) {
        let at = self.side.at();
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        let flags = flag(head.holds[at], HOLDS) | flag(head.awaits[at], AWAITS) | flag(head.rows, ROWS);
        let mut rest = [0; REST];
        rest.copy_from_slice(&id[FIRST..]);
        self.slots.push(Slot { rest, quiet: short(head.quiet[at]), flags: AtomicU8::new(flags) });
        self.starts[bucket(id, FIRST_BITS) + 1] += 1;
        self.held += u64::from(head.holds[at]);
    }

    /// All keys are there.
    pub(super) fn close(&mut self) {
        add_up(&mut self.starts);
        // About eight keys a bucket.
        let bits = (self.slots.len() / 8).max(1).ilog2().clamp(FIRST_BITS, 28);
        if bits > FIRST_BITS {
            let mut starts = vec![0; (1 << bits) + 1];
            self.each().for_each(|(id, _)| starts[bucket(&id, bits) + 1] += 1);
            add_up(&mut starts);
            (self.starts, self.bits) = (starts, bits);
        }
    }

    /// Where the key stands.
    pub(super) fn find(&self, id: &Id) -> Option<usize> {
        let bucket = bucket(id, self.bits);
        let (start, end) = (*self.starts.get(bucket)? as usize, *self.starts.get(bucket + 1)? as usize);
        self.slots[start..end].iter().position(|known| known.rest == id[FIRST..]).map(|at| start + at)
    }

    /// All keys, in order.
    fn each(&self) -> impl Iterator<Item = (Id, &Slot)> {
        let of = |(bucket, ends): (usize, &[u32])| {
            let first = (bucket >> (self.bits - FIRST_BITS)) as u8;
            self.slots[ends[0] as usize..ends[1] as usize].iter().map(move |slot| (first, slot))
        };
        self.starts.windows(2).enumerate().flat_map(of).map(|(first, slot)| {
            let mut id = Id::default();
            id[0] = first;
            id[FIRST..].copy_from_slice(&slot.rest);
            (id, slot)
        })
    }

    /// Whether nothing is known.
    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }
    /// Whether a record with this mark needs no look: it is as it was.
    pub(super) fn is_quiet(&self, at: usize, mark: u64) -> bool {
        let known = self.slots[at].quiet;
        known != [0; 6] && known == short(mark)
    }
    /// Whether its records are kept.
    pub(super) fn has_rows(&self, at: usize) -> bool {
        self.slots[at].flags.load(Relaxed) & ROWS != 0
    }
    /// Whether the side is known to hold the record.
    pub(super) fn holds(&self, at: usize) -> bool {
        self.slots[at].flags.load(Relaxed) & HOLDS != 0
    }
    /// Whether something was delivered to the side, or is to be deleted by it.
    pub(super) fn awaits(&self, at: usize) -> bool {
        self.slots[at].flags.load(Relaxed) & AWAITS != 0
    }
    /// Notes that the export has the key; false: it had it already.
    pub(super) fn see(&self, at: usize) -> bool {
        self.note(at, SEEN) & SEEN == 0
    }
    /// Notes that the export has the key in a record that is left out; false: it had it already.
    pub(super) fn skip(&self, at: usize) -> bool {
        self.note(at, SKIPPED) & (SEEN | SKIPPED) == 0
    }
    /// Sets a flag; gives those that were set before. One thread alone notes: others read what it never changes.
    fn note(&self, at: usize, flag: u8) -> u8 {
        let flags = &self.slots[at].flags;
        let before = flags.load(Relaxed);
        flags.store(before | flag, Relaxed);
        before
    }
    /// Whether the export has the key in records that are left out alone.
    pub(super) fn only_skipped(&self, at: usize) -> bool {
        self.slots[at].flags.load(Relaxed) & (SEEN | SKIPPED) == SKIPPED
    }
    /// The keys that the export did not have, of which something is to be said: those that the side holds where deletions
    /// are sent, and those that something was delivered to it for.
    pub(super) fn missing(&self, deletes: Deletes) -> impl Iterator<Item = Missing> {
        let wanted = if deletes == Deletes::Send { HOLDS | AWAITS } else { AWAITS };
        let flags = self.each().map(|(id, slot)| (id, slot.flags.load(Relaxed)));
        flags.filter(move |(_, f)| f & (SEEN | SKIPPED) == 0 && f & wanted != 0).map(|(id, f)| Missing { id, holds: f & HOLDS != 0, awaits: f & AWAITS != 0 })
    }
}

/// The keys of an export that the memory does not know: at the first one, all. In parts, of which one after the other
/// grows: a table that grows stands twice in memory.
pub(super) struct NewKeys(Vec<HashSet<Id, BuildHasherDefault<OfId>>>);

const NEW_PARTS: usize = 64;

impl Default for NewKeys {
    fn default() -> Self {
        Self((0..NEW_PARTS).map(|_| HashSet::default()).collect())
    }
}

impl NewKeys {
    /// Adds a key; false: it is there already.
    pub(super) fn add(&mut self, id: &Id) -> bool {
        self.0[usize::from(id[0]) * NEW_PARTS / 256].insert(*id)
    }
}

/// An id is a hash already: some of it is taken.
#[derive(Default)]
pub(super) struct OfId(u64);

impl Hasher for OfId {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(last) = bytes.last_chunk::<8>() {
            self.0 = u64::from_le_bytes(*last);
        }
    }
    // The length, which all have in common.
    fn write_usize(&mut self, _: usize) {}
    fn finish(&self) -> u64 {
        self.0
    }
}

fn bucket(id: &Id, bits: u32) -> usize {
    let first = u32::from_be_bytes([id[0], id[1], id[2], id[3]]);
    (first >> (32 - bits)) as usize
}

/// From how many begin with the bits before to where those with these begin.
fn add_up(starts: &mut [u32]) {
    for i in 1..starts.len() {
        starts[i] += starts[i - 1];
    }
}

/// A mark in the room that a slot has for it.
fn short(mark: u64) -> [u8; 6] {
    let [short @ .., _, _] = mark.to_le_bytes();
    short
}

#[cfg(test)]
mod tests {
    use super::super::entry::id_of;
    use super::*;

    #[test]
    fn a_new_key_is_new_once() {
        let mut new = NewKeys::default();
        let ids: Vec<Id> = (0..10_000).map(|i| id_of(&[format!("C{i}")])).collect();
        assert!(ids.iter().all(|id| new.add(id)) && !ids.iter().any(|id| new.add(id)));
    }

    #[test]
    fn every_key_is_found_and_no_other() {
        for count in [0, 1, 3, 1000, 300_000] {
            let mut ids: Vec<Id> = (0..count).map(|i| id_of(&[format!("C{i}")])).collect();
            ids.sort_unstable();
            let mut index = Index::new(Side::A);
            for (i, id) in ids.iter().enumerate() {
                index.add(id, &Head { quiet: [i as u64 + 1, 0], holds: [true, false], ..Head::default() });
            }
            index.close();
            for (i, id) in ids.iter().enumerate() {
                assert!(index.find(id).is_some_and(|at| index.is_quiet(at, i as u64 + 1) && !index.is_quiet(at, 0)));
            }
            assert_eq!((index.find(&id_of(&["other".into()])), index.held), (None, count as u64));
            assert!(index.missing(Deletes::Send).map(|m| m.id).eq(ids));
        }
    }
}
