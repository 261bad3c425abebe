//! Reading the journal: jobs folded from their facts, lists, counts, operators' requests.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use super::{Answer, Query, Request, broken, final_key, name_text};
use crate::error::{Error, Result};
use crate::job::{Event, Found, Job, JobId, Name, State};

pub(super) fn from_text<T: serde::de::DeserializeOwned>(text: &str, path: &Path) -> Result<T> {
    serde_json::from_str(text)
        .map_err(|e| Error::relay(format!("the journal {} holds what this version can't read: {e}", path.display())).hint("use the version that wrote it"))
}

/// A row of `history`.
#[derive(Clone, Debug)]
pub struct Row {
    /// The job, folded from its events.
    pub job: Job,
    /// Its events and their times.
    pub events: Vec<(Timestamp, Event)>,
}

/// A job that may have taken a file of a remote source.
#[derive(Clone, Copy, Debug)]
pub struct Taker {
    /// The job.
    pub id: JobId,
    /// What became of it.
    pub state: State,
    /// The file's time, in nanoseconds since 1970.
    pub modified_ns: i128,
    /// When it was claimed.
    pub received_at: Timestamp,
}

/// Reads the journal beside its writer.
pub struct Reader {
    pub(super) path: PathBuf,
    pub(super) connection: Connection,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.path.display())
    }
}

impl Reader {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)
            .or_else(|_| Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX))
            .map_err(broken(path))?;
        connection.busy_timeout(Duration::from_secs(5)).map_err(broken(path))?;
        Ok(Self { path: path.to_owned(), connection })
    }

    fn fail(&self) -> impl Fn(rusqlite::Error) -> Error + '_ {
        broken(&self.path)
    }

    /// A job with its events; none of that number.
    pub fn job(&self, id: JobId) -> Result<Option<Row>> {
        let row = self
            .connection
            .prepare_cached("SELECT route, file, received_at, found, replay_of FROM jobs WHERE id = ?")
            .and_then(|mut s| {
                s.query_row([id], |r| {
                    Ok((r.get::<_, String>(0)?, r.get::<_, String>(1)?, r.get::<_, i64>(2)?, r.get::<_, String>(3)?, r.get::<_, Option<u64>>(4)?))
                })
                .optional()
            })
            .map_err(self.fail())?;
        let Some((route, file, received_at, found, replay_of)) = row else { return Ok(None) };
        let file = name_of(&file);
        let mut job = Job::new(id, &route, file, from_text(&found, &self.path)?, time(received_at), replay_of);
        let mut statement = self.connection.prepare_cached("SELECT at, event FROM events WHERE job = ? ORDER BY seq").map_err(self.fail())?;
        let rows = statement.query_map([id], |r| Ok((r.get::<_, i64>(0)?, r.get::<_, String>(1)?))).map_err(self.fail())?;
        let mut events = Vec::new();
        for row in rows {
            let (at, text) = row.map_err(self.fail())?;
            let event = from_text::<Event>(&text, &self.path)?.placed_in(self.path.parent().unwrap_or(Path::new("")));
            job.apply(&event, time(at)).map_err(|e| Error::relay(format!("the journal {}: {e}", self.path.display())))?;
            events.push((time(at), event));
        }
        Ok(Some(Row { job, events }))
    }

    fn ids(&self, sql: &str, params: impl rusqlite::Params) -> Result<Vec<JobId>> {
        let mut statement = self.connection.prepare_cached(sql).map_err(self.fail())?;
        let rows = statement.query_map(params, |r| r.get::<_, u64>(0)).map_err(self.fail())?;
        rows.collect::<rusqlite::Result<Vec<_>>>().map_err(self.fail())
    }

    /// The job that relays another one's file once more just now.
    pub fn open_replay(&self, of: JobId) -> Result<Option<JobId>> {
        Ok(self.ids("SELECT id FROM jobs WHERE replay_of = ? AND at_rest = 0 LIMIT 1", [of])?.into_iter().next())
    }

    /// The jobs that are not at rest, oldest first, from a number on.
    pub fn open_jobs(&self) -> Result<Vec<Job>> {
        // A job at rest with `failing` set was cut between its event and its file's move; it is open by its state.
        let ids = self.ids("SELECT id FROM jobs WHERE at_rest = 0 OR state IN ('duplicate', 'superseded') AND NOT EXISTS (SELECT 1 FROM events WHERE job = jobs.id AND event LIKE '%\"archived\"%') ORDER BY id", [])?;
        ids.into_iter().filter_map(|id| self.job(id).transpose()).map(|row| row.map(|r| r.job)).collect()
    }

    /// The numbers of jobs that may still publish something.
    pub fn unfinished(&self) -> Result<Vec<JobId>> {
        self.ids("SELECT id FROM jobs WHERE at_rest = 0 UNION SELECT id FROM jobs WHERE state IN ('failed', 'held', 'unconfirmed')", [])
    }

    /// The jobs that were delivered since then.
    pub fn delivered_since(&self, time: Timestamp) -> Result<Vec<JobId>> {
        self.ids("SELECT id FROM jobs WHERE state = 'delivered' AND delivered_at >= ? AND finals != '' ORDER BY id", [time.as_millisecond()])
    }

    /// Finished jobs whose last fact is older than that, with their routes and files, from a number on. What another job
    /// still replays is not among them.
    pub fn finished_before(&self, time: Timestamp, after: JobId, most: usize) -> Result<Vec<(JobId, String, Name)>> {
        const SQL: &str = "SELECT id, route, file FROM jobs j
            WHERE state IN ('delivered', 'duplicate', 'superseded', 'resubmitted', 'removed') AND at_rest = 1 AND id > ?1
            AND received_at < ?2 AND coalesce((SELECT max(at) FROM events WHERE job = j.id), received_at) < ?2
            AND NOT EXISTS (SELECT 1 FROM jobs r WHERE r.at_rest = 0 AND r.replay_of = j.id) ORDER BY id LIMIT ?3";
        let mut statement = self.connection.prepare_cached(SQL).map_err(self.fail())?;
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let rows = statement.query_map(params![after, time.as_millisecond(), most], |r| Ok((r.get(0)?, r.get(1)?, r.get::<_, String>(2)?)));
        let rows = rows.and_then(Iterator::collect::<rusqlite::Result<Vec<(JobId, String, String)>>>).map_err(self.fail())?;
        Ok(rows.into_iter().map(|(id, route, file)| (id, route, name_of(&file))).collect())
    }

    /// Jobs, newest first.
    pub fn query(&self, q: &Query, each: &mut dyn FnMut(Row) -> Result<()>) -> Result<()> {
        let state = q.state.map(State::word);
        let limit = q.limit.and_then(|l| i64::try_from(l).ok()).unwrap_or(-1);
        let ids = self.ids(
            "SELECT id FROM jobs WHERE (?1 IS NULL OR route = ?1) AND (?2 IS NULL OR state = ?2) ORDER BY id DESC LIMIT ?3",
            params![q.route, state, limit],
        )?;
        for id in ids {
            if let Some(row) = self.job(id)? {
                each(row)?;
            }
        }
        Ok(())
    }

    /// The earlier job of a route that relayed a file of this name and content.
    pub fn duplicate_of(&self, route: &str, file: &Name, hash: &str, job: JobId, before: JobId) -> Result<Option<JobId>> {
        let sql = "SELECT id FROM jobs WHERE route = ? AND file = ? AND hash = ? AND id <> ? AND id < ?
            AND state IN ('delivered', 'transforming', 'delivering', 'waiting', 'unconfirmed') ORDER BY id DESC LIMIT 1";
        let ids = self.ids(sql, params![route, name_text(file), hash, job, before])?;
        Ok(ids.into_iter().next())
    }

    /// Whether a route relayed another file between these two jobs. One that is read once more for what it owes is none.
    pub fn relayed_between(&self, route: &str, after: JobId, before: JobId) -> Result<bool> {
        let sql = "SELECT id FROM jobs WHERE route = ? AND id > ? AND id < ? AND state IN ('delivered', 'delivering', 'waiting', 'unconfirmed')
            AND NOT (replay_of IS NOT NULL AND EXISTS (SELECT 1 FROM events WHERE job = jobs.id AND seq = 1 AND event = '{\"event\":\"owed\"}')) LIMIT 1";
        Ok(!self.ids(sql, params![route, after, before])?.is_empty())
    }

    /// Whether a file that is left in place was taken as it is now.
    pub fn taken(&self, route: &str, file: &Name, found: &Found) -> Result<bool> {
        // Device and inode change with each mount of a share; size and time are the file's own.
        let mut statement = self
            .connection
            .prepare_cached("SELECT found FROM jobs WHERE route = ? AND file = ? AND json_extract(found, '$.gone') IS NULL")
            .map_err(self.fail())?;
        let rows = statement.query_map(params![route, name_text(file)], |r| r.get::<_, String>(0)).map_err(self.fail())?;
        for row in rows {
            let known: Found = from_text(&row.map_err(self.fail())?, &self.path)?;
            if (known.size, known.modified_ns) == (found.size, found.modified_ns) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The jobs that a file of a remote source may have been taken by, as long as it is there: it had that size.
    pub fn takers(&self, route: &str, file: &Name, size: u64) -> Result<Vec<Taker>> {
        let sql = "SELECT id, state, found, received_at FROM jobs WHERE route = ? AND file = ? AND replay_of IS NULL AND json_extract(found, '$.gone') IS NULL";
        let mut statement = self.connection.prepare_cached(sql).map_err(self.fail())?;
        let row = |r: &rusqlite::Row<'_>| Ok((r.get::<_, JobId>(0)?, r.get::<_, String>(1)?, r.get::<_, String>(2)?, r.get::<_, i64>(3)?));
        let rows = statement.query_map(params![route, name_text(file)], row).map_err(self.fail())?;
        let mut out = Vec::new();
        for row in rows {
            let (id, state, known, received_at) = row.map_err(self.fail())?;
            let known: Found = from_text(&known, &self.path)?;
            if known.size == size {
                let state = State::named(&state).unwrap_or(State::Claimed);
                out.push(Taker { id, state, modified_ns: known.modified_ns, received_at: time(received_at) });
            }
        }
        Ok(out)
    }

    /// The failed job whose file of this name was put back into the source.
    pub fn failed_with(&self, route: &str, file: &Name) -> Result<Vec<JobId>> {
        self.ids("SELECT id FROM jobs WHERE route = ? AND file = ? AND state = 'failed' ORDER BY id DESC", params![route, name_text(file)])
    }

    /// The jobs of a route, or of all, in a state.
    pub fn in_state(&self, route: Option<&str>, state: State) -> Result<Vec<JobId>> {
        self.ids("SELECT id FROM jobs WHERE (?1 IS NULL OR route = ?1) AND state = ?2 ORDER BY id", params![route, state.word()])
    }

    /// A later job that published one of this job's final names, or is about to.
    pub fn later_publisher(&self, job: &Job) -> Result<Option<JobId>> {
        for d in &job.deliveries {
            let key = format!("{}\n", final_key(d));
            let ids = self.ids(
                "SELECT id FROM jobs WHERE route = ?1 AND id > ?2 AND instr(finals, ?3) > 0 AND state IN ('delivered', 'delivering', 'waiting') LIMIT 1",
                params![job.route, job.id, key],
            )?;
            if let Some(id) = ids.into_iter().next() {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }

    /// How many jobs of a route are in a state, and when the last one was delivered.
    pub fn count(&self, route: &str, state: State) -> Result<(u64, Option<Timestamp>)> {
        self.connection
            .query_row("SELECT count(*), max(delivered_at) FROM jobs WHERE route = ? AND state = ?", params![route, state.word()], |r| {
                Ok((r.get(0)?, r.get::<_, Option<i64>>(1)?.map(time)))
            })
            .map_err(self.fail())
    }

    /// Why the first job of a route that waits does so.
    pub fn first_reason(&self, route: &str) -> Result<Option<String>> {
        let sql = "SELECT reason FROM jobs WHERE route = ? AND at_rest = 0 AND reason != '' ORDER BY id LIMIT 1";
        self.connection.query_row(sql, [route], |r| r.get(0)).optional().map_err(self.fail())
    }

    /// How many jobs of a route are not at rest.
    pub fn count_open(&self, route: &str) -> Result<u64> {
        self.connection.query_row("SELECT count(*) FROM jobs WHERE route = ? AND at_rest = 0", [route], |r| r.get(0)).map_err(self.fail())
    }

    /// The highest number of a job.
    pub fn highest(&self) -> Result<JobId> {
        self.connection.query_row("SELECT coalesce(max(id), 0) FROM jobs", [], |r| r.get(0)).map_err(self.fail())
    }

    /// The routes that are paused.
    pub fn paused(&self) -> Result<Vec<String>> {
        let mut statement = self.connection.prepare_cached("SELECT route FROM paused ORDER BY route").map_err(self.fail())?;
        let rows = statement.query_map([], |r| r.get(0)).map_err(self.fail())?;
        rows.collect::<rusqlite::Result<Vec<_>>>().map_err(self.fail())
    }

    /// Requests without an answer.
    pub fn requests(&self) -> Result<Vec<(i64, Request)>> {
        let mut statement = self.connection.prepare_cached("SELECT id, request FROM requests WHERE answer IS NULL ORDER BY id").map_err(self.fail())?;
        let rows = statement.query_map([], |r| Ok((r.get::<_, i64>(0)?, r.get::<_, String>(1)?))).map_err(self.fail())?;
        let rows = rows.collect::<rusqlite::Result<Vec<_>>>().map_err(self.fail())?;
        rows.into_iter().map(|(id, text)| Ok((id, from_text(&text, &self.path)?))).collect()
    }

    /// The answer to a request, once there is one.
    pub fn answered(&self, id: i64) -> Result<Option<Answer>> {
        let text: Option<String> =
            self.connection.query_row("SELECT answer FROM requests WHERE id = ?", [id], |r| r.get(0)).optional().map_err(self.fail())?.flatten();
        text.map(|t| from_text(&t, &self.path)).transpose()
    }

    /// What the running relay noted for `status`.
    pub fn status(&self, key: &str) -> Result<Option<String>> {
        self.connection.query_row("SELECT value FROM status WHERE key = ?", [key], |r| r.get(0)).optional().map_err(self.fail())
    }
}

/// A name as the table of jobs has it.
fn name_of(text: &str) -> Name {
    serde_json::from_value(serde_json::Value::String(unescaped(text))).unwrap_or_default()
}

pub(super) fn time(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// The file's name as it was before it was written as JSON text.
pub(super) fn unescaped(text: &str) -> String {
    serde_json::from_str(&format!("\"{text}\"")).unwrap_or_else(|_| text.to_owned())
}
