//! The memory of records in the journal: entries in the order of their ids, packed into leaves of some kilobytes.
//!
//! What a job would change is staged in pieces under its number. Its publication marks the stage effective, in the same
//! transaction; folding the pieces into the leaves follows, some at a time, and may be done again from its beginning.

mod fold;
mod leaf;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};

use super::{Journal, Reader, broken};
use crate::error::{Error, Kind, Result};
use crate::job::JobId;
use crate::sync::entry::{Entry, Head, Id, damaged};
use crate::sync::{Memory, Meta};
use leaf::{Leaf, checked, pack_piece, unpack_piece};

pub(super) const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS sync_groups(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, meta TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS sync_leaves(grp INTEGER NOT NULL, lo BLOB NOT NULL, sum INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY(grp, lo));
CREATE TABLE IF NOT EXISTS sync_stages(
  job INTEGER PRIMARY KEY, name TEXT NOT NULL, effective INTEGER NOT NULL DEFAULT 0, bytes INTEGER NOT NULL DEFAULT 0, meta TEXT);
CREATE TABLE IF NOT EXISTS sync_pieces(job INTEGER NOT NULL, part INTEGER NOT NULL, piece INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY(job, part, piece));
";

/// What is staged at once.
const PIECE_BYTES: usize = 2 * 1024 * 1024;
/// Ids are staged in so many parts, by their first bits: each is folded by itself, and every leaf is written once. A piece
/// that is too small to be parted has this number itself.
const ALL_PARTS: i64 = 64;
/// Leaves that are held while an export goes by.
const CACHE_BYTES: usize = 8 * 1024 * 1024;

/// An entry, or that there is none any more.
type Change = (Id, Option<Vec<u8>>);

/// What operators are told when a group's memory can't be used.
pub fn unusable(group: &str, why: &str) -> Error {
    Error::file(format!("the memory of the sync group {group} {why}: nothing is sent")).kind_of(Kind::Held).at("sync").hint(format!(
        "passerelle sync rebuild {group} makes it anew from both sides' exports; then retry. `sync forget {group}` begins with nothing: every record is sent again"
    ))
}

/// What was read of a group's memory: if that is damaged, what to do is told with it.
pub fn read_of<T>(group: &str, read: Result<T>) -> Result<T> {
    read.map_err(|e| if e.kind() == Kind::Held && e.step().is_none() { unusable(group, "is damaged") } else { e })
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
    staged_bytes: usize,
    pieces: i64,
    /// What was published and is not folded in.
    beside: BTreeMap<Id, Option<Vec<u8>>>,
    /// Where the leaves begin, and those that were read.
    starts: Vec<Id>,
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
    /// The memory of a group, for a job: what the job staged before is dropped, unless it became true.
    pub fn open(journal: &Journal, name: &str, job: JobId) -> Result<Self> {
        journal.drop_stages(name, job)?;
        read_of(name, journal.fold_what_is_large(name))?;
        let reader = journal.reader()?;
        // What an operator settled is staged under one number for all groups: a crash may have come before it was folded in.
        if let Some(other) = reader.group_of_stage(job)? {
            read_of(&other, journal.fold(&other))?;
        }
        let found = reader.group(name)?;
        if found.is_none() && reader.status(LOST)?.is_some_and(|groups| groups.lines().any(|group| group == name)) {
            return Err(unusable(name, "was lost with the journal"));
        }
        if job > 0 && found.as_ref().is_some_and(|(_, meta)| meta.incomplete) {
            return Err(unusable(name, "was not rebuilt to its end"));
        }
        let beside = reader.beside(name)?;
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
            staged_bytes: 0,
            pieces: 0,
            beside,
            starts: Vec::new(),
            leaves: HashMap::new(),
            held: 0,
        })
    }

    /// The leaf that an id would stand in.
    fn leaf_of(&mut self, id: &Id) -> Result<Option<Arc<Vec<u8>>>> {
        let Some(group) = self.group else { return Ok(None) };
        if self.starts.is_empty() {
            self.starts = self.reader.leaves(group)?;
        }
        let Some(lo) = self.starts[..self.starts.partition_point(|lo| lo <= id)].last().copied() else { return Ok(None) };
        if let Some(leaf) = self.leaves.get(&lo) {
            return Ok(Some(leaf.clone()));
        }
        let leaf = Arc::new(self.reader.leaf(group, &lo)?);
        if self.held + leaf.len() > CACHE_BYTES {
            self.leaves.clear();
            self.held = 0;
        }
        self.held += leaf.len();
        self.leaves.insert(lo, leaf.clone());
        Ok(Some(leaf))
    }

    fn flush(&mut self) -> Result<()> {
        let mut changes = std::mem::take(&mut self.staged);
        if changes.is_empty() {
            return Ok(());
        }
        changes.sort_unstable_by_key(|(id, _)| *id);
        let parts: Vec<(i64, Vec<u8>)> = if self.bytes < PIECE_BYTES / 8 {
            vec![(ALL_PARTS, pack_piece(&changes))]
        } else {
            changes.chunk_by(|a, b| part_of(&a.0) == part_of(&b.0)).map(|part| (part_of(&part[0].0), pack_piece(part))).collect()
        };
        let (job, piece) = (self.job, self.pieces);
        self.pieces += 1;
        self.staged_bytes += parts.iter().map(|(_, data)| data.len()).sum::<usize>();
        self.bytes = 0;
        self.journal.write(move |c| {
            let mut insert = c.prepare_cached("INSERT INTO sync_pieces(job, part, piece, data) VALUES(?, ?, ?, ?)")?;
            parts.iter().try_for_each(|(part, data)| insert.execute(params![job, part, piece, data]).map(|_| ()))
        })
    }
}

impl Memory for GroupMemory {
    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn each(&mut self, each: &mut dyn FnMut(&Id, &[u8]) -> Result<()>) -> Result<()> {
        read_of(&self.name, self.reader.each_known(self.group, &self.beside, each))
    }

    fn get(&mut self, id: &Id) -> Result<Option<Vec<u8>>> {
        if let Some(newer) = self.beside.get(id) {
            return Ok(newer.clone());
        }
        let found = self.leaf_of(id).and_then(|leaf| match leaf {
            Some(leaf) => Ok(Leaf::of(&leaf)?.find(id)?.map(<[u8]>::to_vec)),
            None => Ok(None),
        });
        read_of(&self.name, found)
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
        let (job, bytes, text) = (self.job, i64::try_from(self.staged_bytes).unwrap_or(i64::MAX), super::to_text(meta));
        self.journal.write(move |c| c.execute("UPDATE sync_stages SET meta = ?, bytes = ? WHERE job = ?", params![text, bytes, job]).map(|_| ()))
    }
}

/// The journal's note of the groups, one a line, whose memory was lost with an earlier journal.
pub const LOST: &str = "memory";

impl Reader {
    /// A group's number, and what is known of it as a whole.
    pub fn group(&self, name: &str) -> Result<Option<(i64, Meta)>> {
        let row = self.connection.query_row("SELECT id, meta FROM sync_groups WHERE name = ?", [name], |r| Ok((r.get::<_, i64>(0)?, r.get::<_, String>(1)?)));
        let row = row.optional().map_err(broken(&self.path))?;
        row.map(|(id, text)| Ok((id, serde_json::from_str(&text).map_err(|_| unusable(name, "is damaged"))?))).transpose()
    }

    /// All entries of a group, in order.
    fn each_entry(&self, group: i64, each: &mut dyn FnMut(&Id, &[u8]) -> Result<()>) -> Result<()> {
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

    /// What was published and is not folded in, the later over the earlier.
    pub fn beside(&self, name: &str) -> Result<BTreeMap<Id, Option<Vec<u8>>>> {
        let mut beside = BTreeMap::new();
        for job in read_of(name, self.effective(name))? {
            for part in 0..=ALL_PARTS {
                for data in self.pieces(job, part)? {
                    beside.extend(read_of(name, unpack_piece(&data))?);
                }
            }
        }
        Ok(beside)
    }

    /// All entries of a group, with what stands beside its leaves, in order.
    pub fn each_known(&self, group: Option<i64>, beside: &BTreeMap<Id, Option<Vec<u8>>>, each: &mut dyn FnMut(&Id, &[u8]) -> Result<()>) -> Result<()> {
        let mut beside = beside.iter().peekable();
        if let Some(group) = group {
            self.each_entry(group, &mut |id, bytes| {
                while let Some((new, entry)) = beside.next_if(|(new, _)| *new < id) {
                    entry.as_ref().map_or(Ok(()), |bytes| each(new, bytes))?;
                }
                match beside.next_if(|(same, _)| *same == id) {
                    Some((_, Some(newer))) => each(id, newer),
                    Some((_, None)) => Ok(()),
                    None => each(id, bytes),
                }
            })?;
        }
        beside.try_for_each(|(new, entry)| entry.as_ref().map_or(Ok(()), |bytes| each(new, bytes)))
    }

    /// Where a group's leaves begin, in order.
    fn leaves(&self, group: i64) -> Result<Vec<Id>> {
        let mut statement = self.connection.prepare_cached("SELECT lo FROM sync_leaves WHERE grp = ? ORDER BY lo").map_err(broken(&self.path))?;
        let mut rows = statement.query([group]).map_err(broken(&self.path))?;
        let mut starts = Vec::new();
        while let Some(row) = rows.next().map_err(broken(&self.path))? {
            starts.push(id_from(row.get_ref(0).ok().and_then(|lo| lo.as_blob().ok()).ok_or_else(damaged)?)?);
        }
        Ok(starts)
    }

    fn leaf(&self, group: i64, lo: &Id) -> Result<Vec<u8>> {
        let sql = "SELECT sum, data FROM sync_leaves WHERE grp = ? AND lo = ?";
        let row = |r: &rusqlite::Row<'_>| Ok((r.get::<_, i64>(0)?, r.get::<_, Vec<u8>>(1)?));
        let (sum, data) = self.connection.prepare_cached(sql).and_then(|mut s| s.query_row(params![group, lo.as_slice()], row)).map_err(broken(&self.path))?;
        checked(sum, &data)?;
        Ok(data)
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

    /// The jobs whose stages are true and not folded in, in the order in which they became so. All of their pieces are there.
    fn effective(&self, name: &str) -> Result<Vec<JobId>> {
        let sql = "SELECT count(*) FROM sync_stages s WHERE name = ? AND effective > 0
            AND bytes <> (SELECT coalesce(sum(length(data)), 0) FROM sync_pieces WHERE job = s.job)";
        let incomplete = self.connection.prepare_cached(sql).and_then(|mut s| s.query_row([name], |r| r.get::<_, u64>(0))).map_err(broken(&self.path))?;
        if incomplete > 0 {
            return Err(damaged());
        }
        let sql = "SELECT job FROM sync_stages WHERE name = ? AND effective > 0 ORDER BY effective";
        let mut statement = self.connection.prepare_cached(sql).map_err(broken(&self.path))?;
        let rows = statement.query_map([name], |r| r.get(0)).and_then(Iterator::collect);
        rows.map_err(broken(&self.path))
    }

    /// The group that a job has a stage of.
    fn group_of_stage(&self, job: JobId) -> Result<Option<String>> {
        let found = self.connection.query_row("SELECT name FROM sync_stages WHERE job = ?", [job], |r| r.get(0)).optional();
        found.map_err(broken(&self.path))
    }

    fn pieces(&self, job: JobId, part: i64) -> Result<Vec<Vec<u8>>> {
        let sql = "SELECT data FROM sync_pieces WHERE job = ? AND part = ? ORDER BY piece";
        let mut statement = self.connection.prepare_cached(sql).map_err(broken(&self.path))?;
        let rows = statement.query_map(params![job, part], |r| r.get(0)).and_then(Iterator::collect);
        rows.map_err(broken(&self.path))
    }
}

/// Marks what a job staged as true: it is published. Stages follow each other as they became true.
pub(super) fn effective(c: &Connection, job: JobId) -> rusqlite::Result<()> {
    let next = "UPDATE sync_stages SET effective = 1 + (SELECT max(effective) FROM sync_stages) WHERE job = ? AND effective = 0";
    c.prepare_cached(next)?.execute([job])?;
    let known = "INSERT INTO sync_groups(name, meta) SELECT name, meta FROM sync_stages WHERE job = ? AND meta IS NOT NULL
        ON CONFLICT(name) DO UPDATE SET meta = excluded.meta";
    c.prepare_cached(known)?.execute([job]).map(|_| ())
}

fn drop_stage(c: &Connection, job: JobId) -> rusqlite::Result<()> {
    c.prepare_cached("DELETE FROM sync_pieces WHERE job = ?")?.execute([job])?;
    c.prepare_cached("DELETE FROM sync_stages WHERE job = ?")?.execute([job]).map(|_| ())
}

fn part_of(id: &Id) -> i64 {
    i64::from(id[0]) * ALL_PARTS / 256
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
        journal.fold_part(group, sorted[..1000].iter().cloned().collect(), (&[], 0)).unwrap();
        assert_eq!(all(&journal).len(), 3000);
        journal.fold("g").unwrap();
        assert_eq!(all(&journal).len(), 3000);
    }

    #[test]
    fn what_is_staged_by_no_job_is_in_nobodys_way() {
        let dir = tempfile::tempdir().unwrap();
        let (journal, _) = Journal::open(dir.path()).unwrap();
        // Nothing was settled in one group; in another one it was, and a crash came before it was folded in.
        drop(GroupMemory::open(&journal, "other", 0).unwrap());
        publish(&journal, 0, &[entry(1)].map(|(id, e)| (id, Some(e))));
        drop(GroupMemory::open(&journal, "other", 0).unwrap());
        assert_eq!(all(&journal), [entry(1)]);
        publish(&journal, 0, &[entry(2)].map(|(id, e)| (id, Some(e))));
        assert_eq!(all(&journal).len(), 2);
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
