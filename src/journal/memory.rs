//! The memory of records in the journal: entries in the order of their ids, packed into leaves of some kilobytes.
//!
//! What a job would change is staged in pieces under its number. Its publication marks the stage effective, in the same
//! transaction; folding the pieces into the leaves follows, some at a time, and may be done again from its beginning.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError};

use rusqlite::{Connection, OptionalExtension, params};
use xxhash_rust::xxh3::xxh3_64;

use super::{Journal, Reader, broken};
use crate::error::{Error, Kind, Result};
use crate::job::JobId;
use crate::sync::entry::{Entry, Head, Id, damaged};
use crate::sync::{Memory, Meta};

pub(super) const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS sync_groups(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, meta TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS sync_leaves(grp INTEGER NOT NULL, lo BLOB NOT NULL, sum INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY(grp, lo));
CREATE TABLE IF NOT EXISTS sync_stages(job INTEGER PRIMARY KEY, name TEXT NOT NULL, effective INTEGER NOT NULL DEFAULT 0, meta TEXT);
CREATE TABLE IF NOT EXISTS sync_pieces(job INTEGER NOT NULL, piece INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY(job, piece));
";

/// A leaf is cut when it has grown to so many bytes: an entry begins before this.
const LEAF_BYTES: usize = 16 * 1024;
/// What is staged at once.
const PIECE_BYTES: usize = 8 * 1024 * 1024;
/// So many leaves are written in one transaction.
const LEAVES_AT_ONCE: usize = 64;
/// Leaves that are held while an export goes by.
const CACHE_BYTES: usize = 32 * 1024 * 1024;

/// An entry, or that there is none any more.
type Change = (Id, Option<Vec<u8>>);

/// What operators are told when a group's memory can't be used.
pub fn unusable(group: &str, why: &str) -> Error {
    Error::file(format!("the memory of the sync group {group} {why}: nothing is sent")).kind_of(Kind::Held).at("sync").hint(format!(
        "passerelle sync rebuild {group} makes it anew from both sides' exports; then retry. `sync forget {group}` begins with nothing: every record is sent again"
    ))
}

/// A group's memory, while a job compares its export with it.
pub struct GroupMemory {
    journal: Journal,
    reader: Reader,
    name: String,
    group: Option<i64>,
    meta: Meta,
    job: JobId,
    staged: Vec<Change>,
    bytes: usize,
    pieces: i64,
    leaves: HashMap<Id, Arc<Vec<u8>>>,
    held: usize,
}

impl std::fmt::Debug for GroupMemory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "memory of {}", self.name)
    }
}

fn id_from(bytes: &[u8]) -> Result<Id> {
    Id::try_from(bytes).map_err(|_| damaged())
}

impl GroupMemory {
    /// The memory of a group, for a job: what is effective is folded in, what the job staged before is dropped.
    pub fn open(journal: &Journal, name: &str, job: JobId) -> Result<Self> {
        journal.drop_stages(name, job)?;
        journal.fold(name)?;
        let reader = journal.reader()?;
        let found = reader.group(name)?;
        if found.is_none() && reader.status(LOST)?.is_some_and(|groups| groups.lines().any(|group| group == name)) {
            return Err(unusable(name, "was lost with the journal"));
        }
        if job > 0 && found.as_ref().is_some_and(|(_, meta)| meta.incomplete) {
            return Err(unusable(name, "was not rebuilt to its end"));
        }
        let (group, meta) = found.map_or((None, Meta::default()), |(id, meta)| (Some(id), meta));
        let named = name.to_owned();
        journal.write(move |c| c.execute("INSERT INTO sync_stages(job, name) VALUES(?, ?)", params![job, named]).map(|_| ()))?;
        Ok(Self {
            journal: journal.clone(),
            reader,
            name: name.to_owned(),
            group,
            meta,
            job,
            staged: Vec::new(),
            bytes: 0,
            pieces: 0,
            leaves: HashMap::new(),
            held: 0,
        })
    }

    fn whole<T>(&self, result: Result<T>) -> Result<T> {
        result.map_err(|e| if e.kind() == Kind::Held && e.step().is_none() { unusable(&self.name, "is damaged") } else { e })
    }

    fn flush(&mut self) -> Result<()> {
        let mut changes = std::mem::take(&mut self.staged);
        if changes.is_empty() {
            return Ok(());
        }
        changes.sort_unstable_by_key(|(id, _)| *id);
        let data = pack_piece(&changes);
        let (job, piece) = (self.job, self.pieces);
        self.pieces += 1;
        self.bytes = 0;
        self.journal.write(move |c| c.execute("INSERT INTO sync_pieces(job, piece, data) VALUES(?, ?, ?)", params![job, piece, data]).map(|_| ()))
    }
}

impl Memory for GroupMemory {
    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn each(&mut self, each: &mut dyn FnMut(&Id, &[u8]) -> Result<()>) -> Result<()> {
        let Some(group) = self.group else { return Ok(()) };
        self.whole(self.reader.each_entry(group, each))
    }

    fn get(&mut self, id: &Id) -> Result<Option<Vec<u8>>> {
        let Some(group) = self.group else { return Ok(None) };
        let found = self.reader.leaf(group, id, &mut self.leaves, &mut self.held).and_then(|leaf| match leaf {
            Some(leaf) => Ok(Leaf::of(&leaf)?.find(id)?.map(<[u8]>::to_vec)),
            None => Ok(None),
        });
        self.whole(found)
    }

    fn published(&self, job: JobId) -> Result<Option<i128>> {
        let at = self.reader.published(job)?;
        Ok(at.map(|ms| i128::from(ms) * 1_000_000))
    }

    fn stage(&mut self, id: &Id, entry: Option<Vec<u8>>) -> Result<()> {
        self.bytes += entry.as_ref().map_or(0, Vec::len) + 40;
        self.staged.push((*id, entry));
        if self.bytes >= PIECE_BYTES { self.flush() } else { Ok(()) }
    }

    fn close(&mut self, meta: &Meta) -> Result<()> {
        self.flush()?;
        let (job, text) = (self.job, super::to_text(meta));
        self.journal.write(move |c| c.execute("UPDATE sync_stages SET meta = ? WHERE job = ?", params![text, job]).map(|_| ()))
    }
}

/// The journal's note of the groups, one a line, whose memory was lost with an earlier journal.
pub const LOST: &str = "memory";

impl Reader {
    /// A group's number, and what is known of it as a whole.
    pub fn group(&self, name: &str) -> Result<Option<(i64, Meta)>> {
        let row = self.connection.query_row("SELECT id, meta FROM sync_groups WHERE name = ?", [name], |r| Ok((r.get::<_, i64>(0)?, r.get::<_, String>(1)?)));
        let row = row.optional().map_err(broken(&self.path))?;
        row.map(|(id, text)| Ok((id, super::reader::from_text(&text, &self.path)?))).transpose()
    }

    /// All entries of a group, in order.
    pub fn each_entry(&self, group: i64, each: &mut dyn FnMut(&Id, &[u8]) -> Result<()>) -> Result<()> {
        let mut statement = self.connection.prepare_cached("SELECT sum, data FROM sync_leaves WHERE grp = ? ORDER BY lo").map_err(broken(&self.path))?;
        let mut rows = statement.query([group]).map_err(broken(&self.path))?;
        while let Some(row) = rows.next().map_err(broken(&self.path))? {
            let sum: i64 = row.get(0).map_err(broken(&self.path))?;
            let data = row.get_ref(1).ok().and_then(|d| d.as_blob().ok()).ok_or_else(damaged)?;
            checked(sum, data)?;
            Leaf::of(data)?.iter().try_for_each(|entry| entry.and_then(|(id, bytes)| each(&id, bytes)))?;
        }
        Ok(())
    }

    fn leaf(&self, group: i64, id: &Id, leaves: &mut HashMap<Id, Arc<Vec<u8>>>, held: &mut usize) -> Result<Option<Arc<Vec<u8>>>> {
        let sql = "SELECT lo FROM sync_leaves WHERE grp = ? AND lo <= ? ORDER BY lo DESC LIMIT 1";
        let lo = self.connection.prepare_cached(sql).and_then(|mut s| s.query_row(params![group, id.as_slice()], |r| r.get::<_, Vec<u8>>(0)).optional());
        let Some(lo) = lo.map_err(broken(&self.path))? else { return Ok(None) };
        let lo = id_from(&lo)?;
        if let Some(leaf) = leaves.get(&lo) {
            return Ok(Some(leaf.clone()));
        }
        let sql = "SELECT sum, data FROM sync_leaves WHERE grp = ? AND lo = ?";
        let row = |r: &rusqlite::Row<'_>| Ok((r.get::<_, i64>(0)?, r.get::<_, Vec<u8>>(1)?));
        let (sum, data) = self.connection.prepare_cached(sql).and_then(|mut s| s.query_row(params![group, lo.as_slice()], row)).map_err(broken(&self.path))?;
        checked(sum, &data)?;
        if *held + data.len() > CACHE_BYTES {
            leaves.clear();
            *held = 0;
        }
        *held += data.len();
        let leaf = Arc::new(data);
        leaves.insert(lo, leaf.clone());
        Ok(Some(leaf))
    }

    /// When the last file of a job was published, in milliseconds since 1970.
    fn published(&self, job: JobId) -> Result<Option<i64>> {
        let sql = "SELECT max(at) FROM events WHERE job = ? AND event LIKE '{\"event\":\"published\"%'";
        let found = self.connection.prepare_cached(sql).and_then(|mut s| s.query_row([job], |r| r.get::<_, Option<i64>>(0)));
        found.map_err(broken(&self.path))
    }

    /// The names of all groups.
    pub fn groups(&self) -> Result<Vec<String>> {
        let mut statement = self.connection.prepare_cached("SELECT name FROM sync_groups ORDER BY name").map_err(broken(&self.path))?;
        let rows = statement.query_map([], |r| r.get(0)).map_err(broken(&self.path))?;
        rows.collect::<rusqlite::Result<Vec<_>>>().map_err(broken(&self.path))
    }

    /// Whether something that was published is not folded in yet.
    pub fn has_effective_stage(&self, name: &str) -> Result<bool> {
        let sql = "SELECT EXISTS (SELECT 1 FROM sync_stages WHERE name = ? AND effective = 1)";
        self.connection.query_row(sql, [name], |r| r.get(0)).map_err(broken(&self.path))
    }
}

impl Journal {
    /// Folds into the memory of a group what was published.
    pub fn fold(&self, name: &str) -> Result<()> {
        let _alone = self.folding.lock().unwrap_or_else(PoisonError::into_inner);
        let reader = self.reader()?;
        let fail = broken(&self.path);
        let mut statement =
            reader.connection.prepare_cached("SELECT job, meta FROM sync_stages WHERE name = ? AND effective = 1 ORDER BY job").map_err(&fail)?;
        let rows = statement.query_map([name], |r| Ok((r.get::<_, JobId>(0)?, r.get::<_, Option<String>>(1)?))).map_err(&fail)?;
        for (job, meta) in rows.collect::<rusqlite::Result<Vec<_>>>().map_err(&fail)? {
            let group = self.group_for(name)?;
            let mut pieces = reader.connection.prepare_cached("SELECT data FROM sync_pieces WHERE job = ? ORDER BY piece").map_err(&fail)?;
            let mut pieces = pieces.query([job]).map_err(&fail)?;
            while let Some(row) = pieces.next().map_err(&fail)? {
                let data = row.get::<_, Vec<u8>>(0).map_err(&fail)?;
                self.fold_piece(group, unpack_piece(&data)?).map_err(|e| if e.kind() == Kind::Held { unusable(name, "is damaged") } else { e })?;
            }
            self.write(move |c| {
                if let Some(meta) = meta {
                    c.execute("UPDATE sync_groups SET meta = ? WHERE id = ?", params![meta, group])?;
                }
                drop_stage(c, job)
            })?;
        }
        Ok(())
    }

    fn group_for(&self, name: &str) -> Result<i64> {
        let (give, take) = std::sync::mpsc::sync_channel(1);
        let (name, meta) = (name.to_owned(), super::to_text(&Meta::default()));
        self.write(move |c| {
            c.execute("INSERT OR IGNORE INTO sync_groups(name, meta) VALUES(?, ?)", params![name, meta])?;
            let _ = give.send(c.query_row("SELECT id FROM sync_groups WHERE name = ?", [name], |r| r.get(0))?);
            Ok(())
        })?;
        take.recv().map_err(|_| Error::relay("the journal gave no number"))
    }

    fn fold_piece(&self, group: i64, changes: Vec<Change>) -> Result<()> {
        let mut rest = changes.into_iter().peekable();
        let reader = self.reader()?;
        while rest.peek().is_some() {
            let mut written = Vec::new();
            while written.len() < LEAVES_AT_ONCE
                && let Some((id, _)) = rest.peek()
            {
                let place = reader.place_of(group, id)?;
                let mut entries = BTreeMap::new();
                if let Some(data) = &place.data {
                    Leaf::of(data)?.iter().try_for_each(|entry| entry.map(|(id, bytes)| drop(entries.insert(id, bytes.to_vec()))))?;
                }
                while let Some((id, entry)) = rest.next_if(|(id, _)| place.next.is_none_or(|next| *id < next)) {
                    match entry {
                        Some(bytes) => drop(entries.insert(id, bytes)),
                        None => drop(entries.remove(&id)),
                    }
                }
                written.push((place.lo, pack_leaves(place.lo, &entries)));
            }
            self.write(move |c| {
                let mut put = c.prepare_cached("INSERT OR REPLACE INTO sync_leaves(grp, lo, sum, data) VALUES(?, ?, ?, ?)")?;
                for (_, leaves) in &written {
                    for (lo, data) in leaves {
                        put.execute(params![group, lo.as_slice(), sum_of(data), data])?;
                    }
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Drops what a job staged before, and what jobs staged that will never be published.
    fn drop_stages(&self, name: &str, job: JobId) -> Result<()> {
        let name = name.to_owned();
        self.write(move |c| {
            let sql = "SELECT job FROM sync_stages WHERE name = ?1 AND effective = 0 AND (job = ?2 OR job > 0 AND job NOT IN
                (SELECT id FROM jobs WHERE at_rest = 0 OR state = 'unconfirmed'))";
            let jobs = c.prepare_cached(sql)?.query_map(params![name, job], |r| r.get::<_, JobId>(0))?.collect::<rusqlite::Result<Vec<_>>>()?;
            jobs.into_iter().try_for_each(|job| drop_stage(c, job))
        })
    }

    /// Makes what a job that is no job staged effective at once: a memory that is made anew.
    pub fn adopt_stage(&self, job: JobId) -> Result<()> {
        self.write(move |c| effective(c, job))
    }

    /// A group's memory is being made anew: until it is complete, nothing is compared with it.
    pub fn set_incomplete(&self, name: &str) -> Result<()> {
        self.set_meta(name, &Meta { incomplete: true, ..Meta::default() })
    }

    /// A group's memory is complete.
    pub fn complete_group(&self, name: &str) -> Result<()> {
        let meta = self.reader()?.group(name)?.map(|(_, meta)| meta).unwrap_or_default();
        self.set_meta(name, &Meta { incomplete: false, ..meta })
    }

    fn set_meta(&self, name: &str, meta: &Meta) -> Result<()> {
        let group = self.group_for(name)?;
        let text = super::to_text(meta);
        self.write(move |c| c.execute("UPDATE sync_groups SET meta = ? WHERE id = ?", params![text, group]).map(|_| ()))
    }

    /// Forgets what a group knows; it begins with nothing.
    pub fn forget_group(&self, name: &str) -> Result<()> {
        let _alone = self.folding.lock().unwrap_or_else(PoisonError::into_inner);
        let group = self.group_for(name)?;
        let (name, meta) = (name.to_owned(), super::to_text(&Meta::default()));
        self.write(move |c| {
            let jobs =
                c.prepare_cached("SELECT job FROM sync_stages WHERE name = ?")?.query_map([&name], |r| r.get(0))?.collect::<rusqlite::Result<Vec<_>>>()?;
            jobs.into_iter().try_for_each(|job: JobId| drop_stage(c, job))?;
            c.execute("DELETE FROM sync_leaves WHERE grp = ?", [group])?;
            c.execute("UPDATE sync_groups SET meta = ? WHERE id = ?", params![meta, group]).map(|_| ())
        })
    }
}

/// Marks what a job staged as true: it is published.
pub(super) fn effective(c: &Connection, job: JobId) -> rusqlite::Result<()> {
    c.prepare_cached("UPDATE sync_stages SET effective = 1 WHERE job = ?")?.execute([job]).map(|_| ())
}

fn drop_stage(c: &Connection, job: JobId) -> rusqlite::Result<()> {
    c.prepare_cached("DELETE FROM sync_pieces WHERE job = ?")?.execute([job])?;
    c.prepare_cached("DELETE FROM sync_stages WHERE job = ?")?.execute([job]).map(|_| ())
}

/// Where an id belongs.
struct Place {
    lo: Id,
    data: Option<Vec<u8>>,
    /// Where the next leaf begins.
    next: Option<Id>,
}

impl Reader {
    fn place_of(&self, group: i64, id: &Id) -> Result<Place> {
        let fail = broken(&self.path);
        let sql = "SELECT lo, sum, data FROM sync_leaves WHERE grp = ? AND lo <= ? ORDER BY lo DESC LIMIT 1";
        let row = |r: &rusqlite::Row<'_>| Ok((r.get::<_, Vec<u8>>(0)?, r.get::<_, i64>(1)?, r.get::<_, Vec<u8>>(2)?));
        let found = self.connection.prepare_cached(sql).and_then(|mut s| s.query_row(params![group, id.as_slice()], row).optional()).map_err(&fail)?;
        let sql = "SELECT lo FROM sync_leaves WHERE grp = ? AND lo > ? ORDER BY lo LIMIT 1";
        let next = self.connection.prepare_cached(sql).and_then(|mut s| s.query_row(params![group, id.as_slice()], |r| r.get::<_, Vec<u8>>(0)).optional());
        let next = next.map_err(&fail)?.map(|lo| id_from(&lo)).transpose()?;
        match found {
            Some((lo, sum, data)) => {
                checked(sum, &data)?;
                Ok(Place { lo: id_from(&lo)?, data: Some(data), next })
            }
            None => Ok(Place { lo: Id::default(), data: None, next }),
        }
    }
}

fn sum_of(data: &[u8]) -> i64 {
    xxh3_64(data).cast_signed()
}

fn checked(sum: i64, data: &[u8]) -> Result<()> {
    if sum_of(data) == sum { Ok(()) } else { Err(damaged()) }
}

/// Entries in order: their number, where each begins, then the entries.
struct Leaf<'l> {
    starts: &'l [u8],
    entries: &'l [u8],
}

impl<'l> Leaf<'l> {
    fn of(data: &'l [u8]) -> Result<Self> {
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
    fn iter(&self) -> impl Iterator<Item = Result<(Id, &'l [u8])>> {
        (0..self.len()).map(|i| self.at(i))
    }
    fn find(&self, id: &Id) -> Result<Option<&'l [u8]>> {
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

/// Leaves of these entries; the first one begins at `lo`.
fn pack_leaves(lo: Id, entries: &BTreeMap<Id, Vec<u8>>) -> Vec<(Id, Vec<u8>)> {
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
    for (id, bytes) in entries {
        if body.len() >= LEAF_BYTES {
            close(from, &mut starts, &mut body, &mut leaves);
            from = *id;
        }
        starts.push(u16::try_from(body.len()).unwrap_or(u16::MAX));
        body.extend_from_slice(id);
        body.extend_from_slice(bytes);
    }
    close(from, &mut starts, &mut body, &mut leaves);
    leaves
}

fn pack_piece(changes: &[Change]) -> Vec<u8> {
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

fn unpack_piece(mut data: &[u8]) -> Result<Vec<Change>> {
    let mut out = Vec::new();
    while !data.is_empty() {
        let (id, rest) = data.split_first_chunk::<12>().ok_or_else(damaged)?;
        let (length, rest) = rest.split_first_chunk::<4>().ok_or_else(damaged)?;
        let length = u32::from_le_bytes(*length);
        if length == u32::MAX {
            out.push((*id, None));
            data = rest;
            continue;
        }
        let (entry, rest) = rest.split_at_checked(length as usize).ok_or_else(damaged)?;
        out.push((*id, Some(entry.to_vec())));
        data = rest;
    }
    Ok(out)
}

/// An entry and what is told of it without reading all.
pub fn read_entry(bytes: &[u8]) -> Result<(Head, Entry)> {
    Ok((Head::read(bytes)?.0, Entry::from_bytes(bytes)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::entry::{Marks, id_of};

    fn entry(n: u64) -> (Id, Vec<u8>) {
        let key = vec![format!("C{n}")];
        let entry = Entry { marks: Some(Marks { raw: n, mapped: n + 1 }), ..Entry::new(key.clone()) };
        (id_of(&key), entry.to_bytes(None).unwrap())
    }

    fn publish(journal: &Journal, job: JobId, changes: &[Change]) {
        let mut memory = GroupMemory::open(journal, "g", job).unwrap();
        for (id, entry) in changes {
            memory.stage(id, entry.clone()).unwrap();
        }
        memory.close(&Meta { columns: [vec!["a".into()], Vec::new()], ..Meta::default() }).unwrap();
        journal.adopt_stage(job).unwrap();
    }

    fn all(journal: &Journal) -> Vec<(Id, Vec<u8>)> {
        let mut memory = GroupMemory::open(journal, "g", 99).unwrap();
        let mut out = Vec::new();
        memory
            .each(&mut |id, bytes| {
                out.push((*id, bytes.to_vec()));
                Ok(())
            })
            .unwrap();
        out
    }

    #[test]
    fn what_is_published_is_remembered_and_what_is_not_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let (journal, _) = Journal::open(dir.path()).unwrap();
        let entries: Vec<_> = (0..5000).map(entry).collect();
        publish(&journal, 1, &entries.iter().map(|(id, e)| (*id, Some(e.clone()))).collect::<Vec<_>>());
        let mut sorted = entries.clone();
        sorted.sort();
        assert_eq!(all(&journal), sorted);
        // Staged, and never published.
        let mut memory = GroupMemory::open(&journal, "g", 2).unwrap();
        memory.stage(&entries[0].0, None).unwrap();
        memory.close(&Meta::default()).unwrap();
        assert_eq!(all(&journal), sorted);
        // Changed and forgotten.
        let changed = entry(7).0;
        publish(&journal, 3, &[(entries[0].0, None), (changed, Some(entry(9).1))]);
        let mut memory = GroupMemory::open(&journal, "g", 4).unwrap();
        assert_eq!(memory.get(&entries[0].0).unwrap(), None);
        assert_eq!(memory.get(&changed).unwrap(), Some(entry(9).1));
        assert_eq!((all(&journal).len(), memory.meta().columns[0].len()), (4999, 1));
    }

    #[test]
    fn folding_twice_is_folding_once() {
        let dir = tempfile::tempdir().unwrap();
        let (journal, _) = Journal::open(dir.path()).unwrap();
        let changes: Vec<_> = (0..3000).map(entry).map(|(id, e)| (id, Some(e))).collect();
        publish(&journal, 1, &changes);
        let mut sorted = changes.clone();
        sorted.sort();
        // As after a crash in the middle of folding: a part of it is in the leaves already.
        let group = journal.group_for("g").unwrap();
        journal.fold_piece(group, sorted[..1000].to_vec()).unwrap();
        assert_eq!(all(&journal).len(), 3000);
    }

    #[test]
    fn a_damaged_leaf_is_told_with_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let (journal, _) = Journal::open(dir.path()).unwrap();
        publish(&journal, 1, &[entry(1)].map(|(id, e)| (id, Some(e))));
        journal.fold("g").unwrap();
        journal.write(|c| c.execute("UPDATE sync_leaves SET data = x'0100'", []).map(|_| ())).unwrap();
        let mut memory = GroupMemory::open(&journal, "g", 2).unwrap();
        let e = memory.each(&mut |_, _| Ok(())).unwrap_err();
        assert_eq!(e.kind(), Kind::Held);
        assert!(e.advice().is_some_and(|hint| hint.contains("sync rebuild g")), "{e}");
    }
}
