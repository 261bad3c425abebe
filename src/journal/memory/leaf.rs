//! How entries and changes of the memory are packed: leaves of entries in order, pieces of changes in order.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::xxh3_64;

use super::Change;
use crate::error::Result;
use crate::sync::entry::{Id, damaged};

/// A leaf is no larger, unless one entry alone is: it stands in one page of the database then, with what tells it there, and
/// one entry is found without reading others around it.
pub(super) const LEAF_BYTES: usize = 4000;

pub(super) fn sum_of(data: &[u8]) -> i64 {
    xxh3_64(data).cast_signed()
}

pub(super) fn checked(sum: i64, data: &[u8]) -> Result<()> {
    if sum_of(data) == sum { Ok(()) } else { Err(damaged()) }
}

/// Entries in order: their number, where each begins, then the entries.
pub(super) struct Leaf<'l> {
    starts: &'l [u8],
    entries: &'l [u8],
}

impl<'l> Leaf<'l> {
    pub(super) fn of(data: &'l [u8]) -> Result<Self> {
        let (count, rest) = data.split_first_chunk::<2>().ok_or_else(damaged)?;
        let starts = usize::from(u16::from_le_bytes(*count)) * 2;
        let (starts, entries) = rest.split_at_checked(starts).ok_or_else(damaged)?;
        Ok(Self { starts, entries })
    }
    fn len(&self) -> usize {
        self.starts.len() / 2
    }
    fn start(&self, i: usize) -> usize {
        self.starts.get(2 * i..2 * i + 2).map_or(self.entries.len(), |b| usize::from(u16::from_le_bytes([b[0], b[1]])))
    }
    fn at(&self, i: usize) -> Result<(Id, &'l [u8])> {
        let entry = self.entries.get(self.start(i)..self.start(i + 1)).ok_or_else(damaged)?;
        let (id, bytes) = entry.split_first_chunk::<12>().ok_or_else(damaged)?;
        Ok((*id, bytes))
    }
    pub(super) fn iter(&self) -> impl Iterator<Item = Result<(Id, &'l [u8])>> {
        (0..self.len()).map(|i| self.at(i))
    }
    pub(super) fn find(&self, id: &Id) -> Result<Option<&'l [u8]>> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            let (found, bytes) = self.at(middle)?;
            match found.cmp(id) {
                std::cmp::Ordering::Equal => return Ok(Some(bytes)),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Ok(None)
    }
}

/// Leaves of these entries, about equally full, since more will come between them; the first one begins at `lo`.
pub(super) fn pack_leaves(lo: Id, entries: &BTreeMap<Id, Vec<u8>>) -> Vec<(Id, Vec<u8>)> {
    let mut leaves = Vec::new();
    let (mut from, mut starts, mut body) = (lo, Vec::new(), Vec::new());
    let close = |from: Id, starts: &mut Vec<u16>, body: &mut Vec<u8>, leaves: &mut Vec<(Id, Vec<u8>)>| {
        let mut data = Vec::with_capacity(2 + 2 * starts.len() + body.len());
        // A leaf ends long before it has so many entries.
        data.extend_from_slice(&u16::try_from(starts.len()).unwrap_or(u16::MAX).to_le_bytes());
        starts.drain(..).for_each(|s| data.extend_from_slice(&s.to_le_bytes()));
        data.append(body);
        leaves.push((from, data));
    };
    let room = |bytes: &Vec<u8>| 2 + size_of::<Id>() + bytes.len();
    let all: usize = entries.values().map(room).sum();
    let enough = all / all.div_ceil(LEAF_BYTES).max(1);
    let mut filled = 0;
    for (id, bytes) in entries {
        if filled > 0 && (filled >= enough || 2 + filled + room(bytes) > LEAF_BYTES) {
            filled = 0;
            close(from, &mut starts, &mut body, &mut leaves);
            from = *id;
        }
        filled += room(bytes);
        starts.push(u16::try_from(body.len()).unwrap_or(u16::MAX));
        body.extend_from_slice(id);
        body.extend_from_slice(bytes);
    }
    close(from, &mut starts, &mut body, &mut leaves);
    leaves
}

pub(super) fn pack_piece(changes: &[Change]) -> Vec<u8> {
    let mut out = Vec::new();
    for (id, entry) in changes {
        out.extend_from_slice(id);
        // An entry of 4 GiB is no entry.
        let length = entry.as_ref().map_or(u32::MAX, |e| u32::try_from(e.len()).unwrap_or(u32::MAX - 1));
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(entry.as_deref().unwrap_or_default());
    }
    out
}

pub(super) fn unpack_piece(mut data: &[u8]) -> Result<Vec<Change>> {
    let mut out: Vec<Change> = Vec::new();
    while !data.is_empty() {
        let (id, rest) = data.split_first_chunk::<12>().ok_or_else(damaged)?;
        if out.last().is_some_and(|(before, _)| before > id) {
            return Err(damaged());
        }
        let (length, rest) = rest.split_first_chunk::<4>().ok_or_else(damaged)?;
        let length = u32::from_le_bytes(*length);
        if length == u32::MAX {
            out.push((*id, None));
            data = rest;
            continue;
        }
        let (entry, rest) = rest.split_at_checked(length as usize).filter(|(entry, _)| !entry.is_empty()).ok_or_else(damaged)?;
        out.push((*id, Some(entry.to_vec())));
        data = rest;
    }
    Ok(out)
}
