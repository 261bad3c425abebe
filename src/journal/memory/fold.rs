//! Folding what was published into the leaves, part by part; what may be done again from its beginning.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use rusqlite::{OptionalExtension, params};

use super::super::{Journal, Reader, broken, to_text};
use super::leaf::{LEAF_BYTES, Leaf, checked, pack_leaves, sum_of, unpack_piece};
use super::{ALL_PARTS, Change, drop_stage, effective, id_from, part_of, unusable};
use crate::error::{Kind, Result};
use crate::job::JobId;
use crate::sync::Meta;
use crate::sync::entry::Id;

/// What is published is read beside the leaves until it is larger than this, or than a quarter of them.
const BESIDE_BYTES: i64 = 1024 * 1024;
const BESIDE_BYTES_MAX: i64 = 16 * 1024 * 1024;
/// What most leaves hold.
const LEAF_BYTES_USUAL: i64 = LEAF_BYTES as i64 * 3 / 4;
/// So many leaves are written in one transaction.
const LEAVES_AT_ONCE: usize = 256;

impl Journal {
    /// Folds into the memory of a group what was published, if it has become large.
    pub fn fold_what_is_large(&self, name: &str) -> Result<()> {
        let reader = self.reader()?;
        let one = |sql: &str| reader.connection.prepare_cached(sql).and_then(|mut s| s.query_row([name], |r| r.get::<_, i64>(0))).map_err(broken(&self.path));
        let staged = one("SELECT coalesce(sum(bytes), 0) FROM sync_stages WHERE name = ? AND effective > 0")?;
        if staged <= BESIDE_BYTES {
            return Ok(());
        }
        if staged > BESIDE_BYTES_MAX {
            return self.fold(name);
        }
        // They are counted by their index: how long each is stands in its page.
        let leaves = one("SELECT count(*) FROM sync_leaves WHERE grp = (SELECT id FROM sync_groups WHERE name = ?)")?;
        if staged > leaves.saturating_mul(LEAF_BYTES_USUAL) / 4 { self.fold(name) } else { Ok(()) }
    }

    /// Folds into the memory of a group what was published. What is folded twice is folded once.
    pub fn fold(&self, name: &str) -> Result<()> {
        let _alone = self.folding.lock().unwrap_or_else(PoisonError::into_inner);
        let reader = self.reader()?;
        let jobs = reader.effective(name)?;
        if jobs.is_empty() {
            return Ok(());
        }
        let group = self.group_for(name)?;
        let mut small: Vec<Vec<Change>> = Vec::new();
        for job in &jobs {
            let pieces = reader.pieces(*job, ALL_PARTS)?;
            small.push(pieces.iter().map(|data| unpack_piece(data)).collect::<Result<Vec<_>>>()?.concat());
        }
        for part in 0..ALL_PARTS {
            let mut changes = BTreeMap::new();
            for (job, small) in jobs.iter().zip(&small) {
                for data in reader.pieces(*job, part)? {
                    changes.extend(unpack_piece(&data)?);
                }
                changes.extend(small.iter().filter(|(id, _)| part_of(id) == part).cloned());
            }
            self.fold_part(group, changes, (&jobs, part)).map_err(|e| if e.kind() == Kind::Held { unusable(name, "is damaged") } else { e })?;
        }
        self.write(move |c| jobs.iter().try_for_each(|job| drop_stage(c, *job)))
    }

    pub(super) fn group_for(&self, name: &str) -> Result<i64> {
        let (give, take) = std::sync::mpsc::channel();
        let (name, meta) = (name.to_owned(), to_text(&Meta::default()));
        self.write(move |c| {
            c.execute("INSERT OR IGNORE INTO sync_groups(name, meta) VALUES(?, ?)", params![name, meta])?;
            let _ = give.send(c.query_row("SELECT id FROM sync_groups WHERE name = ?", [&name], |r| r.get(0))?);
            Ok(())
        })?;
        super::super::last(&take)
    }

    /// Folds a part, in order; its pieces go with the last of its leaves.
    pub(super) fn fold_part(&self, group: i64, changes: BTreeMap<Id, Option<Vec<u8>>>, (jobs, part): (&[JobId], i64)) -> Result<()> {
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
            let done: Vec<JobId> = if rest.peek().is_none() { jobs.to_vec() } else { Vec::new() };
            self.write(move |c| {
                for job in &done {
                    let less = "UPDATE sync_stages SET bytes = bytes - (SELECT coalesce(sum(length(data)), 0) FROM sync_pieces WHERE job = ?1 AND part = ?2)
                        WHERE job = ?1";
                    c.prepare_cached(less)?.execute(params![job, part])?;
                    c.prepare_cached("DELETE FROM sync_pieces WHERE job = ? AND part = ?")?.execute(params![job, part])?;
                }
                // One that is there keeps its place, so that leaves stay in the order in which they are read.
                let put = "INSERT INTO sync_leaves(grp, lo, sum, data) VALUES(?, ?, ?, ?)
                    ON CONFLICT(grp, lo) DO UPDATE SET sum = excluded.sum, data = excluded.data";
                let mut put = c.prepare_cached(put)?;
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
    pub(super) fn drop_stages(&self, name: &str, job: JobId) -> Result<()> {
        let name = name.to_owned();
        self.write(move |c| {
            let sql = "SELECT job FROM sync_stages WHERE effective = 0 AND (job = ?2 OR name = ?1 AND job > 0 AND job NOT IN
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
        let text = to_text(meta);
        self.write(move |c| c.execute("UPDATE sync_groups SET meta = ? WHERE id = ?", params![text, group]).map(|_| ()))
    }

    /// Forgets what a group knows; it begins with nothing.
    pub fn forget_group(&self, name: &str) -> Result<()> {
        let _alone = self.folding.lock().unwrap_or_else(PoisonError::into_inner);
        let group = self.group_for(name)?;
        let (name, meta) = (name.to_owned(), to_text(&Meta::default()));
        self.write(move |c| {
            let jobs =
                c.prepare_cached("SELECT job FROM sync_stages WHERE name = ?")?.query_map([&name], |r| r.get(0))?.collect::<rusqlite::Result<Vec<_>>>()?;
            jobs.into_iter().try_for_each(|job: JobId| drop_stage(c, job))?;
            c.execute("DELETE FROM sync_leaves WHERE grp = ?", [group])?;
            c.execute("UPDATE sync_groups SET meta = ? WHERE id = ?", params![meta, group]).map(|_| ())
        })
    }
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
