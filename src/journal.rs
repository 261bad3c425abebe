//! The journal: every job's facts, in SQLite, durable when a call returns.
//!
//! Facts decide; a row a job, written in the same transaction, is there for reading. One thread writes and puts what
//! several threads ask for meanwhile into one transaction. It holds no secret and no file: losing it loses no file.

pub mod memory;
mod reader;
mod request;

pub use reader::{Reader, Row, Taker};
pub use request::{Answer, Decision, Request, Take};

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, params};

use crate::error::{Error, Result};
use crate::job::{Event, Found, Job, JobId, Name, Progress, State};
use crate::stop::Stop;
use crate::sync::export::Purpose;
use crate::transform::Counts;

/// The version of the schema; a journal of a later one is refused untouched.
const VERSION: i64 = 3;

/// How many wishes one transaction takes at most.
const BATCH_MAX: usize = 512;

/// How often a full disk is tried again.
const FULL_PAUSE: Duration = Duration::from_secs(1);

/// The tables that are checked at the start.
const CHECKED: &[&str] = &["jobs", "events", "paused", "requests", "status", "sync_groups", "sync_stages"];

/// What is left of the write-ahead log once it was taken in.
const WAL_BYTES: i64 = 16 * 1024 * 1024;

const EVENT: &str = "INSERT INTO events(job, seq, at, event) VALUES(?, ?, ?, ?)";

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS jobs(
  id INTEGER PRIMARY KEY AUTOINCREMENT, route TEXT NOT NULL, file TEXT NOT NULL, received_at INTEGER NOT NULL,
  found TEXT NOT NULL, replay_of INTEGER, state TEXT NOT NULL, at_rest INTEGER NOT NULL, reason TEXT NOT NULL DEFAULT '',
  size INTEGER, hash TEXT, attempts INTEGER NOT NULL DEFAULT 0, delivered_at INTEGER, finals TEXT NOT NULL DEFAULT '');
CREATE INDEX IF NOT EXISTS jobs_open ON jobs(at_rest, route, id) WHERE at_rest = 0;
CREATE INDEX IF NOT EXISTS jobs_file ON jobs(route, file);
CREATE INDEX IF NOT EXISTS jobs_state ON jobs(state, route, id);
CREATE TABLE IF NOT EXISTS events(job INTEGER NOT NULL, seq INTEGER NOT NULL, at INTEGER NOT NULL, event TEXT NOT NULL, PRIMARY KEY(job, seq)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS paused(route TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS requests(id INTEGER PRIMARY KEY AUTOINCREMENT, request TEXT NOT NULL, at INTEGER NOT NULL, answer TEXT);
CREATE TABLE IF NOT EXISTS status(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
";

/// A job that is about to be claimed.
#[derive(Clone, Debug)]
pub struct NewJob {
    /// The route.
    pub route: String,
    /// The file, relative to the source.
    pub file: Name,
    /// As the look found it.
    pub found: Found,
    /// An archived file that is relayed once more, and what for.
    pub replay_of: Option<(JobId, Purpose)>,
    /// A number that it must have: a claimed file found without its journal.
    pub id: Option<JobId>,
}

/// A fact, and the job as it is with it.
pub struct Fact {
    /// The job after the fact.
    pub job: Job,
    /// The fact.
    pub event: Event,
    /// When.
    pub at: Timestamp,
}

/// Which jobs to list, newest first.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Of this route.
    pub route: Option<String>,
    /// In this state.
    pub state: Option<State>,
    /// At most so many.
    pub limit: Option<u64>,
}

/// Again and again, as long as the disk is full.
type Write = Box<dyn FnMut(&Connection) -> rusqlite::Result<()> + Send>;

struct Order {
    write: Write,
    done: SyncSender<Result<()>>,
}

/// A transaction that is being committed.
#[must_use]
pub struct Pending(Receiver<Result<()>>);

impl Pending {
    /// Waits until it is durable.
    pub fn wait(self) -> Result<()> {
        self.0.recv().map_err(|_| gone())?
    }
}

fn gone() -> Error {
    Error::relay("the journal's thread has ended").hint("start the relay again: it goes on where the journal says")
}

/// The journal of one home. Clones share one writer.
#[derive(Clone)]
pub struct Journal {
    path: PathBuf,
    orders: SyncSender<Order>,
    /// Held while a memory of records is folded: a piece that is folded late would undo what came after it.
    folding: Arc<Mutex<()>>,
    patience: Patience,
}

/// Until what is set a full disk is waited for; none: it is told as an error.
type Patience = Arc<Mutex<Option<Stop>>>;

/// What was given last: a transaction that was rolled back gave what never was.
fn last<T>(given: &Receiver<T>) -> Result<T> {
    given.try_iter().last().ok_or_else(|| Error::relay("the journal gave no number"))
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.path.display())
    }
}

const AS_ITS_USER: &str = "run this as the relay's own user, who needs the right to write there";

fn broken(path: &Path) -> impl Fn(rusqlite::Error) -> Error + '_ {
    move |e| {
        let hint = match e.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => {
                "another program holds it locked: end that program, then start again"
            }
            Some(rusqlite::ErrorCode::DiskFull) => "free some space there, then start again",
            Some(rusqlite::ErrorCode::ReadOnly | rusqlite::ErrorCode::CannotOpen | rusqlite::ErrorCode::PermissionDenied) => AS_ITS_USER,
            Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => {
                "move it aside and start again: the relay rebuilds it from the folders"
            }
            _ => "see the cause; nothing was lost: every file is where it was",
        };
        Error::relay(format!("the journal {} can't be used: {e}", path.display())).hint(hint)
    }
}

impl Journal {
    /// Opens the journal in `home`, or makes one. A damaged one is moved aside and told through the second value.
    pub fn open(home: &Path) -> Result<(Self, Option<String>)> {
        let path = home.join("journal.db");
        let mut notice: Option<String> = None;
        // Read-only, so that a journal of a later version stays as it is.
        let version =
            Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY).and_then(|c| c.query_row("PRAGMA user_version", [], |r| r.get::<_, i64>(0)));
        if let Ok(version) = version.as_ref().copied()
            && version > VERSION
        {
            return Err(Error::relay(format!("the journal {} is of a later version ({version}, this program knows {VERSION})", path.display()))
                .hint("use the later passerelle; this one left it untouched"));
        }
        let connection = match Self::prepare(&path) {
            Ok(connection) => connection,
            Err(e) if matches!(e.sqlite_error_code(), Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase)) => {
                let aside = home.join(format!("journal.db.damaged-{}", Timestamp::now().as_second()));
                crate::durable::rename_over(&path, &aside)?;
                for suffix in ["-wal", "-shm"] {
                    let part = |p: &Path| PathBuf::from(format!("{}{suffix}", p.display()));
                    let _ = std::fs::rename(part(&path), part(&aside));
                }
                notice = Some(format!("the journal was damaged ({e}); it was moved to {} and is rebuilt from the folders", aside.display()));
                Self::prepare(&path).map_err(broken(&path))?
            }
            Err(e) => return Err(broken(&path)(e)),
        };
        connection
            .execute_batch(&[SCHEMA, memory::SCHEMA].concat())
            .and_then(|()| connection.pragma_update(None, "user_version", VERSION))
            .map_err(broken(&path))?;
        let (orders, inbox) = sync_channel(1024);
        let (thread_path, patience) = (path.clone(), Patience::default());
        let waits = patience.clone();
        std::thread::Builder::new()
            .name("journal".into())
            .spawn(move || write_loop(&connection, &inbox, &thread_path, &waits))
            .map_err(|e| Error::relay(format!("can't start a thread: {e}")))?;
        Ok((Self { path, orders, folding: Arc::default(), patience }, notice))
    }

    fn prepare(path: &Path) -> rusqlite::Result<Connection> {
        // Private from its first byte; SQLite gives its other files the same permissions. What fails here fails again there.
        let _ = std::os::unix::fs::OpenOptionsExt::mode(std::fs::OpenOptions::new().create(true).append(true), 0o600).open(path);
        let connection = Connection::open(path)?;
        connection.busy_timeout(Duration::from_secs(10))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // NORMAL may lose the last commits in a power cut: forbidden.
        connection.pragma_update(None, "synchronous", if crate::points::planted("lazy-journal") { "OFF" } else { "FULL" })?;
        connection.pragma_update(None, "journal_size_limit", WAL_BYTES)?;
        // The memory of records is large, and each of its leaves has a sum of its own.
        for table in CHECKED.iter().filter(|t| connection.table_exists(None, **t).unwrap_or(false)) {
            let check: String = connection.query_row(&format!("PRAGMA quick_check({table})"), [], |r| r.get(0))?;
            if check != "ok" {
                return Err(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT), Some(check)));
            }
        }
        Ok(connection)
    }

    /// Opens it for reading alone; none before the first run.
    pub fn read(home: &Path) -> Result<Option<Reader>> {
        let path = home.join("journal.db");
        match path.symlink_metadata() {
            Ok(_) => {}
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => {
                return Err(Error::relay(format!("the journal {} can't be read: {}", path.display(), crate::error::reason(&e))).hint(AS_ITS_USER));
            }
        }
        let reader = Reader::open(&path)?;
        // A relay that starts now has made the file, and not its tables yet.
        let version: i64 = reader.connection.query_row("PRAGMA user_version", [], |r| r.get(0)).map_err(broken(&path))?;
        Ok((version > 0).then_some(reader))
    }

    /// A connection for reading beside the writer.
    pub fn reader(&self) -> Result<Reader> {
        Reader::open(&self.path)
    }

    /// While the disk is full, whoever writes waits for room, until told to stop.
    pub fn wait_for_room(&self, stop: &Stop) {
        *self.patience.lock().unwrap_or_else(PoisonError::into_inner) = Some(stop.clone());
    }

    fn write(&self, write: impl FnMut(&Connection) -> rusqlite::Result<()> + Send + 'static) -> Result<()> {
        self.order(write)?.wait()
    }

    fn order(&self, write: impl FnMut(&Connection) -> rusqlite::Result<()> + Send + 'static) -> Result<Pending> {
        let (done, wait) = sync_channel(1);
        self.orders.send(Order { write: Box::new(write), done }).map_err(|_| gone())?;
        Ok(Pending(wait))
    }

    /// Notes jobs that are about to be claimed; gives their numbers.
    pub fn create(&self, new: Vec<NewJob>, at: Timestamp) -> Result<Vec<Job>> {
        let (give, take) = channel();
        self.write(move |c| {
            let mut jobs = Vec::with_capacity(new.len());
            let mut insert =
                c.prepare_cached("INSERT INTO jobs(id, route, file, received_at, found, replay_of, state, at_rest) VALUES(?, ?, ?, ?, ?, ?, 'claimed', 0)")?;
            for n in &new {
                insert.execute(params![n.id, n.route, name_text(&n.file), at.as_millisecond(), to_text(&n.found), n.replay_of.map(|(of, _)| of)])?;
                let id = u64::try_from(c.last_insert_rowid()).unwrap_or(0);
                let mut job = Job::new(id, &n.route, n.file.clone(), n.found, at, n.replay_of.map(|(of, _)| of));
                if n.replay_of.is_some_and(|(_, purpose)| purpose == Purpose::Again) && job.apply(&Event::Owed, at).is_ok() {
                    c.prepare_cached(EVENT)?.execute(params![id, job.seq, at.as_millisecond(), to_text(&Event::Owed)])?;
                }
                jobs.push(job);
            }
            let _ = give.send(jobs);
            Ok(())
        })?;
        last(&take)
    }

    /// Records facts, all in one transaction. They are durable once the wait for them has succeeded.
    pub fn record(&self, facts: Vec<Fact>) -> Result<Pending> {
        let home = self.path.parent().map(Path::to_owned).unwrap_or_default();
        self.order(move |c| {
            let mut insert = c.prepare_cached(EVENT)?;
            let mut update = c.prepare_cached(
                "UPDATE jobs SET state = ?2, at_rest = ?3, reason = ?4, size = ?5, hash = ?6, attempts = ?7, delivered_at = ?8, finals = ?9 WHERE id = ?1",
            )?;
            for f in &facts {
                insert.execute(params![f.job.id, f.job.seq, f.at.as_millisecond(), to_text(&*f.event.seen_from(&home))])?;
                let j = &f.job;
                let finals: String = published(j).map(|d| format!("{}\n", final_key(d))).collect();
                update.execute(params![
                    j.id,
                    j.state.word(),
                    j.state.at_rest(),
                    j.reason,
                    j.seal.as_ref().map(|s| s.size),
                    j.seal.as_ref().map(|s| s.hash.as_str()),
                    j.attempts,
                    j.delivered_at.map(Timestamp::as_millisecond),
                    finals
                ])?;
            }
            // What a job has changed of a group's memory is true once B has its file.
            facts.iter().filter(|f| f.event.publishes(&f.job)).try_for_each(|f| memory::effective(c, f.job.id))
        })
    }

    /// Forgets a job whose claim never happened.
    pub fn drop_intent(&self, id: JobId) -> Result<()> {
        self.write(move |c| c.execute("DELETE FROM jobs WHERE id = ? AND NOT EXISTS (SELECT 1 FROM events WHERE job = jobs.id)", [id]).map(|_| ()))
    }

    /// Forgets finished jobs.
    pub fn forget(&self, ids: Vec<JobId>) -> Result<()> {
        self.write(move |c| {
            for id in &ids {
                c.prepare_cached("DELETE FROM events WHERE job = ?")?.execute([id])?;
                c.prepare_cached("DELETE FROM jobs WHERE id = ?")?.execute([id])?;
            }
            Ok(())
        })
    }

    /// Notes that the originals of finished jobs are gone from where they were left: a file like them is a new one.
    pub fn gone(&self, ids: Vec<JobId>) -> Result<()> {
        self.write(move |c| {
            for id in &ids {
                c.prepare_cached("UPDATE jobs SET found = json_set(found, '$.gone', json('true')) WHERE id = ?")?.execute([id])?;
            }
            Ok(())
        })
    }

    /// Numbers go on above this one.
    pub fn raise_numbers(&self, above: JobId) -> Result<()> {
        self.write(move |c| {
            c.execute(
                "INSERT OR IGNORE INTO sqlite_sequence(name, seq) SELECT 'jobs', 0 WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'jobs')",
                [],
            )?;
            c.execute("UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = 'jobs'", [above]).map(|_| ())
        })
    }

    /// Pauses or resumes a route.
    pub fn set_paused(&self, route: &str, paused: Paused) -> Result<()> {
        let route = route.to_owned();
        self.write(move |c| match paused {
            Paused::Yes => c.execute("INSERT OR IGNORE INTO paused(route, at) VALUES(?, ?)", params![route, Timestamp::now().as_millisecond()]).map(|_| ()),
            Paused::No => c.execute("DELETE FROM paused WHERE route = ?", [&route]).map(|_| ()),
        })
    }

    /// Leaves a request for the relay that runs; gives its number.
    pub fn ask(&self, request: &Request) -> Result<i64> {
        let text = to_text(request);
        let (give, take) = channel();
        self.write(move |c| {
            c.execute("INSERT INTO requests(request, at) VALUES(?, ?)", params![text, Timestamp::now().as_millisecond()])?;
            let _ = give.send(c.last_insert_rowid());
            Ok(())
        })?;
        last(&take)
    }

    /// Answers a request.
    pub fn answer(&self, id: i64, answer: &Answer) -> Result<()> {
        let text = to_text(answer);
        self.write(move |c| {
            c.execute("UPDATE requests SET answer = ? WHERE id = ?", params![text, id])?;
            // Answers are read within seconds; a day is plenty.
            c.execute("DELETE FROM requests WHERE at < ?", [Timestamp::now().as_millisecond() - 86_400_000]).map(|_| ())
        })
    }

    /// Notes what `status` shows of the running relay.
    pub fn set_status(&self, key: &'static str, value: String) -> Result<()> {
        self.write(move |c| {
            c.execute("INSERT INTO status(key, value) VALUES(?, ?) ON CONFLICT(key) DO UPDATE SET value = excluded.value", params![key, value]).map(|_| ())
        })
    }
}

/// Whether a route is paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paused {
    /// It is.
    Yes,
    /// It is not.
    No,
}

/// The deliveries of a job whose final names are at B, or may be.
fn published(job: &Job) -> impl Iterator<Item = &crate::job::Delivery> {
    job.deliveries.iter().filter(|d| matches!(d.progress, Progress::Publishing | Progress::Published))
}

/// Where a delivery's final name is, as a key by which later publications of the same name are found.
fn final_key(d: &crate::job::Delivery) -> String {
    format!("{}\t{}\t{}", d.endpoint, d.folder, d.name)
}

fn write_loop(connection: &Connection, inbox: &Receiver<Order>, path: &Path, patience: &Mutex<Option<Stop>>) {
    while let Ok(first) = inbox.recv() {
        let mut orders = vec![first];
        while orders.len() < BATCH_MAX {
            match inbox.try_recv() {
                Ok(order) => orders.push(order),
                Err(_) => break,
            }
        }
        let mut full = false;
        let result = loop {
            let transaction = connection.execute_batch("BEGIN IMMEDIATE").and_then(|()| {
                orders.iter_mut().try_for_each(|order| (order.write)(connection))?;
                connection.execute_batch("COMMIT")
            });
            let Err(e) = transaction else { break Ok(()) };
            let _ = connection.execute_batch("ROLLBACK");
            let until = patience.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let Some(stop) = until.filter(|_| is_full(&e)) else { break Err(broken(path)(e)) };
            if stop.is_set() {
                break Err(Error::stopped());
            }
            if !std::mem::replace(&mut full, true) {
                tracing::error!("there is no room left for the journal {}: nothing goes on until some is free there", path.display());
            }
            stop.sleep(FULL_PAUSE);
        };
        if full && result.is_ok() {
            tracing::warn!("there is room for the journal again: all goes on");
        }
        for order in orders {
            // A thread that stopped waiting no longer wants to know.
            let _ = order.done.send(result.clone());
        }
    }
}

fn is_full(e: &rusqlite::Error) -> bool {
    // Where not even the file of shared memory can grow, that is told as an error of the disk.
    let extended = e.sqlite_error().map(|e| e.extended_code);
    e.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull) || extended == Some(rusqlite::ffi::SQLITE_IOERR_SHMSIZE)
}

fn to_text<T: serde::Serialize>(value: &T) -> String {
    // Our own types always serialise.
    serde_json::to_string(value).unwrap_or_default()
}

fn name_text(name: &Name) -> String {
    to_text(name).trim_matches('"').to_owned()
}

/// The records of a job, for those that count them.
pub fn counts(job: &Job) -> Option<Counts> {
    job.made.as_ref().and_then(|m| m.counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(file: &[u8]) -> NewJob {
        NewJob { route: "r".into(), file: Name(file.to_vec()), found: Found::default(), replay_of: None, id: None }
    }

    #[test]
    fn what_is_recorded_is_read_back_by_another_process() {
        let dir = tempfile::tempdir().unwrap();
        let (journal, notice) = Journal::open(dir.path()).unwrap();
        assert_eq!(notice, None);
        let at = Timestamp::from_millisecond(1_700_000_000_123).unwrap();
        let mut job = journal.create(vec![new(b"a\"b\xff.csv")], at).unwrap().remove(0);
        let event = Event::Failing { error: Error::file("no").hint("do") };
        job.apply(&event, at).unwrap();
        journal.record(vec![Fact { job: job.clone(), event: event.clone(), at }]).unwrap().wait().unwrap();
        let reader = Journal::read(dir.path()).unwrap().unwrap();
        let row = reader.job(job.id).unwrap().unwrap();
        assert_eq!((row.job, row.events), (job.clone(), vec![(at, event)]));
        assert_eq!(reader.open_jobs().unwrap(), vec![job]);
    }

    #[test]
    fn a_damaged_journal_is_moved_aside_and_told() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("journal.db"), "this is no database, whatever its name says").unwrap();
        let (journal, notice) = Journal::open(dir.path()).unwrap();
        assert!(notice.unwrap().contains("damaged"));
        assert_eq!(journal.create(vec![new(b"x")], Timestamp::UNIX_EPOCH).unwrap()[0].id, 1);
    }

    #[test]
    fn a_journal_of_a_later_version_is_left_untouched() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.db");
        Connection::open(&path).unwrap().pragma_update(None, "user_version", VERSION + 1).unwrap();
        let before = std::fs::read(&path).unwrap();
        let e = Journal::open(dir.path()).unwrap_err();
        assert_eq!((e.exit_status(), e.message().contains("later version")), (4, true));
        assert_eq!(std::fs::read(&path).unwrap()[..100], before[..100]);
    }

    #[test]
    fn numbers_go_on_above_the_highest_found() {
        let dir = tempfile::tempdir().unwrap();
        let (journal, _) = Journal::open(dir.path()).unwrap();
        journal.raise_numbers(41).unwrap();
        assert_eq!(journal.create(vec![new(b"x")], Timestamp::UNIX_EPOCH).unwrap()[0].id, 42);
    }

    #[test]
    fn a_request_is_answered() {
        let dir = tempfile::tempdir().unwrap();
        let (journal, _) = Journal::open(dir.path()).unwrap();
        let request = Request::Pause { routes: vec!["r".into()] };
        let id = journal.ask(&request).unwrap();
        let reader = journal.reader().unwrap();
        assert_eq!(reader.requests().unwrap(), vec![(id, request)]);
        journal.answer(id, &Answer { done: vec!["ok".into()], refused: vec![] }).unwrap();
        assert_eq!(reader.answered(id).unwrap().unwrap().done, ["ok"]);
        assert!(reader.requests().unwrap().is_empty());
    }
}
