//! Making happen what comes next for a job: seal, transform, upload, publish, resolve, finish, fail.
//!
//! Each step does one thing, gives the fact that it became, and may be done again from its beginning after a crash. No
//! step decides what comes next, and none writes to the journal by itself: facts go through `World::record`.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use super::World;
use super::publish::{Evidence, Final, Verdict, resolve};
use crate::config::{DestinationConfig, Empty, IfExists, LookupConfig, OnSuccess, Route, Verify};
use crate::durable;
use crate::endpoints::pool::Pool;
use crate::endpoints::{Direct, Followed, Rename, Session};
use crate::error::{Blame, Error, Kind, Result, shown};
use crate::job::{Delivery, Event, Job, Made, Name, Progress, Seal, numbered};
use crate::naming::{self, Facts};
use crate::sys::{Writers, writers};
use crate::transform::lookup::{Lookup, Lookups};
use crate::transform::rejects::{Rejects, RejectsCsv};
use crate::transform::{Counts, Source};
use crate::watch::digest_of;

/// How often `if_exists = "rename"` looks for a free name.
const RENAMES_MAX: u32 = 10_000;

/// Seals the original and makes the file for B.
pub fn prepare(w: &World, job: &mut Job) -> Result<()> {
    let file = job.file.clone();
    prepare_steps(w, job).map_err(|e| if e.blame() == Blame::File { e.on_file(file.path()) } else { e })
}

fn prepare_steps(w: &World, job: &mut Job) -> Result<()> {
    let route = w.route_of(job)?.clone();
    let original = w.original(job)?;
    if route.source.on_success == OnSuccess::Keep || job.replay_of.is_some() {
        fetch_original(w, &route, job, &original).map_err(|e| e.at("seal"))?;
    }
    let seal = seal(&original, job, w).map_err(|e| e.at("seal"))?;
    if let Some(before) = job.seal.as_ref().filter(|b| b.hash != seal.hash) {
        let message = format!("the claimed file has changed since it was sealed ({} bytes then, {} now)", before.size, seal.size);
        return Err(Error::file(message).at("seal").hint("somebody writes into .passerelle: nothing but the relay may; retry delivers it as it is now"));
    }
    if seal.size == 0 && route.source.empty != Empty::Send {
        return empty(w, &route, job, seal);
    }
    if route.source.skip_duplicates
        && let Some(of) = w.journal.reader()?.duplicate_of(&job.route, &job.file, &seal.hash, job.id)?
    {
        return w.record_all(job, vec![Event::Sealed(seal), Event::Duplicate { of }]);
    }
    let made = match &route.transformation {
        None => Made { size: seal.size, hash: seal.hash.clone(), in_work: false, counts: None, remarks: Vec::new() },
        Some(_) => {
            w.record_one(job, Event::Sealed(seal.clone()))?;
            transform(w, &route, job, &original, &seal)?
        }
    };
    let deliveries = plan(&route, job)?;
    let transformed = Event::Transformed { made, deliveries };
    // Raw bytes need no commit between: knowing them is all that is made of them.
    let events = if route.transformation.is_none() { vec![Event::Sealed(seal), transformed] } else { vec![transformed] };
    w.record_all(job, events)
}

/// A file without a byte: archived as delivered, or failed, as the route says.
fn empty(w: &World, route: &Route, job: &mut Job, seal: Seal) -> Result<()> {
    if route.source.empty == Empty::Fail {
        return Err(Error::file("the file is empty").at("seal").hint("A wrote nothing: export again; empty = \"skip\" archives such files"));
    }
    let made =
        Made { size: 0, hash: seal.hash.clone(), in_work: false, counts: Some(Counts::default()), remarks: vec!["the file is empty: nothing was sent".into()] };
    w.record_all(job, vec![Event::Sealed(seal), Event::Transformed { made, deliveries: Vec::new() }])
}

/// Brings a file that stays where it is (kept, or archived) into the job's work folder.
fn fetch_original(w: &World, route: &Route, job: &Job, to: &Path) -> Result<()> {
    let from = match job.replay_of {
        None => route.source.path.join(job.file.path()),
        Some(of) => {
            let row = w.journal.reader()?.job(of)?;
            let path = row.and_then(|r| r.job.path).ok_or_else(|| Error::file(format!("job {of} has no archived original")))?;
            PathBuf::from(path)
        }
    };
    let work = w.work(job);
    durable::remove_folder(&work)?;
    durable::make_folder(&work, 0o700)?;
    let before = std::fs::metadata(&from).map_err(|e| Error::io(Blame::File, "read", &from, &e).hint("it was removed before it could be relayed"))?;
    durable::copy_new(&from, to, &w.stop)?;
    durable::sync_parent(to)?;
    let after = std::fs::metadata(&from).map_err(|e| Error::io(Blame::File, "read", &from, &e))?;
    if durable::found(&before) != durable::found(&after) {
        return Err(Error::endpoint("the file changed while it was read").hint("it is read again by itself"));
    }
    Ok(())
}

/// Makes the original safe and knows it: nobody writes, its bytes are synced, its digest is taken, nobody wrote meanwhile.
fn seal(path: &Path, job: &Job, w: &World) -> Result<Seal> {
    let mut file = durable::open_file(path).map_err(|e| if e.kind() == Kind::NotFound { vanished(path) } else { e })?;
    if writers(&file) == Writers::Some {
        return Err(Error::endpoint("another program still has the file open for writing").hint("it is taken as soon as that program closes it"));
    }
    let look = |file: &File| file.metadata().map_err(|e| Error::io(Blame::Endpoint, "look at", path, &e));
    durable::sync_file(&file, path)?;
    let before = look(&file)?;
    let hash = digest_of::<sha2::Sha256>(&mut Followed::new(&mut file, &w.stop, None)).map_err(|e| read_failed(&e, path))?;
    let after = look(&file)?;
    if durable::found(&before) != durable::found(&after) {
        return Err(Error::endpoint("the file changed while it was read").hint("it is read again by itself"));
    }
    let ns = durable::found(&after).modified_ns;
    let modified = Timestamp::from_nanosecond(ns).unwrap_or(job.received_at);
    Ok(Seal { size: before.len(), hash, modified })
}

fn read_failed(e: &std::io::Error, path: &Path) -> Error {
    let error = crate::endpoints::source_error(e);
    if error.blame() == Blame::Stopped { error } else { Error::io(Blame::File, "read", path, e) }
}

fn vanished(path: &Path) -> Error {
    Error::file(format!("the claimed file {} is gone: somebody removed it", shown(path)))
        .kind_of(Kind::NotFound)
        .hint("nobody but the relay may touch .passerelle; export the file again")
}

fn local(time: Timestamp) -> Zoned {
    time.to_zoned(TimeZone::system())
}

/// Makes B's file in the job's work folder.
fn transform(w: &World, route: &Route, job: &Job, original: &Path, seal: &Seal) -> Result<Made> {
    let Some(spec) = &route.transformation else { return Err(Error::relay("nothing to transform")) };
    let work = w.work(job);
    durable::make_folder(&work, 0o700)?;
    let (part, out) = (work.join("out.part"), work.join("out"));
    let context = naming::context(&job.file.0, seal.size, &local(seal.modified), job.id, &local(job.received_at), &job.route);
    let lookups = Arc::new(w.lookups.lookups(route, &job.file, w.config.max_memory)?);
    let input = Box::new(durable::open_file(original)?);
    let output = durable::create(&part, 0o600)?;
    let rejects_path = work.join("rejects.csv");
    durable::remove(&rejects_path)?;
    let mut rejects = RejectsCsv::new(
        route.rejects_delimiter,
        Box::new(|| durable::create(&rejects_path, 0o600).map(|f| Box::new(BufWriter::new(f)) as Box<dyn std::io::Write + Send>)),
    );
    let source = Source { input, context, lookups };
    let outcome = spec.run(vec![source], Box::new(BufWriter::with_capacity(durable::CHUNK_BYTES, output)), &mut rejects as &mut dyn Rejects, &w.stop)?;
    let mut file = durable::open_file(&part)?;
    durable::sync_file(&file, &part)?;
    if let Ok(rejects) = durable::open_file(&rejects_path) {
        durable::sync_file(&rejects, &rejects_path)?;
    }
    let hash = digest_of::<sha2::Sha256>(&mut Followed::new(&mut file, &w.stop, None)).map_err(|e| read_failed(&e, &part))?;
    let size = file.metadata().map_err(|e| Error::io(Blame::Endpoint, "look at", &part, &e))?.len();
    durable::rename_over(&part, &out)?;
    durable::sync_folder(&work)?;
    Ok(Made { size, hash, in_work: true, counts: Some(outcome.counts), remarks: outcome.remarks })
}

/// Code tables that were read, and what their files were like then.
#[derive(Debug, Default)]
pub struct LookupCache(std::sync::Mutex<HashMap<PathBuf, (crate::job::Found, Arc<Lookup>)>>);

impl LookupCache {
    /// The code tables as they are for this file; a table that did not change is not read again.
    pub fn lookups(&self, route: &Route, file: &Name, bytes_max: u64) -> Result<Lookups> {
        let mut out = HashMap::new();
        for l in &route.lookups {
            let table = match &l.file {
                None => Arc::new(Lookup::from_values(l.values.iter().cloned())),
                Some(template) => self.read(l, template, file, bytes_max)?,
            };
            out.insert(l.name.clone(), table);
        }
        Ok(Lookups(out))
    }

    fn read(&self, l: &LookupConfig, template: &naming::Template, file: &Name, bytes_max: u64) -> Result<Arc<Lookup>> {
        let epoch = Zoned::default();
        let name = Name(template.render(&Facts { name: file.last(), path: &file.0, job: 0, id: "", time: &epoch }));
        let path = l.base.join(name.path());
        let input = durable::open_file(&path).map_err(|e| e.blamed_on(Blame::Endpoint).at("lookup").hint(format!("check lookups.{}.file", l.name)))?;
        let found = durable::found(&input.metadata().map_err(|e| Error::io(Blame::Endpoint, "look at", &path, &e))?);
        let mut known = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((then, table)) = known.get(&path)
            && *then == found
        {
            return Ok(table.clone());
        }
        let mut reader = l.format.reader(&l.input, Box::new(input)).map_err(|e| e.blamed_on(Blame::Endpoint).on_file(&path))?;
        let table = Lookup::read(&l.name, &mut *reader, &l.key, l.value.as_deref(), l.duplicates, bytes_max);
        let table = Arc::new(table.map_err(|e| e.blamed_on(Blame::Endpoint).at("lookup").on_file(&path))?);
        known.insert(path, (found, table.clone()));
        Ok(table)
    }
}

/// Where a job's file goes, with the temporary names that every attempt will use. What is published stays as it was.
fn plan(route: &Route, job: &Job) -> Result<Vec<Delivery>> {
    let time = local(job.received_at);
    fn facts<'f>(job: &'f Job, name: &'f [u8], id: &'f str, time: &'f Zoned) -> Facts<'f> {
        Facts { name, path: &job.file.0, job: job.id, id, time }
    }
    let extension = route.transformation.as_ref().map(|t| t.output.extension());
    let name = match (&route.output_name, extension) {
        (Some(template), _) => template.render(&facts(job, job.file.last(), "", &time)),
        (None, Some(extension)) => naming::with_extension(job.file.last(), extension),
        (None, None) => job.file.last().to_vec(),
    };
    naming::check_name(&name, "output.name").map_err(|e| e.at("name"))?;
    let mut out = Vec::new();
    for (destination, d) in route.destinations.iter().enumerate() {
        if let Some(done) = job.deliveries.iter().find(|x| x.destination == destination && x.progress == Progress::Published) {
            out.push(done.clone());
            continue;
        }
        let id = match job.deliveries.iter().find(|x| x.destination == destination) {
            Some(before) => before.id.clone(),
            None => crate::job::hex(&durable::random_bytes::<6>()?),
        };
        let temp = naming::temporary(&d.temp_name, &facts(job, &name, &id, &time));
        naming::check_name(&temp, "temp_name").map_err(|e| e.at("name"))?;
        out.push(Delivery {
            destination,
            endpoint: d.endpoint_name().to_owned(),
            folder: Name(job.file.folder().to_vec()),
            name: Name(name.clone()),
            temp: Name(temp),
            id,
            progress: Progress::Waiting,
            attempts: 0,
        });
    }
    Ok(out)
}

/// A delivery's destination, paths and connections.
struct Target<'t> {
    d: &'t DestinationConfig,
    pool: &'t Arc<Pool>,
    folder: PathBuf,
    temp: PathBuf,
    final_path: PathBuf,
}

fn target<'t>(w: &'t World, route: &'t Route, delivery: &Delivery) -> Result<Target<'t>> {
    let lost = || Error::endpoint(format!("the route {} has no such destination any more", route.name)).hint("put the destination back, and the job goes on");
    let d = route.destinations.get(delivery.destination).filter(|d| d.endpoint_name() == delivery.endpoint).ok_or_else(lost)?;
    // Joining an empty path would add a slash, which HTTP takes for another name.
    let folder = if delivery.folder.0.is_empty() { PathBuf::from(&d.path) } else { Path::new(&d.path).join(delivery.folder.path()) };
    let temp_folder = d.temp_path.as_ref().map_or_else(|| folder.clone(), PathBuf::from);
    Ok(Target { d, pool: w.pool(d)?, temp: temp_folder.join(delivery.temp.path()), final_path: folder.join(delivery.name.path()), folder })
}

/// What is sent: the file in `work`, or the original itself.
fn payload(w: &World, job: &Job) -> Result<(File, u64, PathBuf)> {
    let made = job.made.as_ref().ok_or_else(|| Error::relay("nothing was made yet"))?;
    let path = if made.in_work { w.work(job).join("out") } else { w.original(job)? };
    let file = durable::open_file(&path).map_err(|e| if e.kind() == Kind::NotFound { vanished(&path) } else { e })?;
    let size = file.metadata().map_err(|e| Error::io(Blame::Endpoint, "look at", &path, &e))?.len();
    if size != made.size {
        return Err(Error::file(format!("{} has {size} bytes instead of {}", shown(&path), made.size))
            .hint("somebody changed a file of the relay; retry makes it again"));
    }
    Ok((file, size, path))
}

/// Sends a delivery's temporary file, and verifies it.
pub fn upload(w: &World, job: &mut Job, delivery: usize) -> Result<()> {
    let route = w.route_of(job)?.clone();
    let t = target(w, &route, &job.deliveries[delivery])?;
    if !t.pool.direct() {
        let (mut file, size, _) = payload(w, job)?;
        let hash = job.made.as_ref().map(|m| m.hash.clone()).unwrap_or_default();
        let result = t.pool.with(&w.stop, |session| {
            ensure_folders(session, &t)?;
            let mut from = Progressing { inner: Followed::new(&mut file, &w.stop, t.pool.rate()), tell: &|n| (w.progress)(job, n) };
            let sent = session.write(&t.temp, &mut from, size, t.d.mode)?;
            if sent != size {
                return Err(Error::endpoint(format!("{sent} of {size} bytes were sent")).kind_of(Kind::Lost));
            }
            verify(session, &t, size, &hash)
        });
        result.map_err(|e| e.at("upload"))?;
    }
    w.record_one(job, Event::Uploaded { delivery })
}

struct Progressing<'p> {
    inner: Followed<'p>,
    tell: &'p dyn Fn(u64),
}

impl std::io::Read for Progressing<'_> {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(to)?;
        (self.tell)(n as u64);
        Ok(n)
    }
}

/// Makes the folders below the destination's that a recursive source needs, and the destination's own if it may.
fn ensure_folders(session: &mut dyn Session, t: &Target<'_>) -> Result<()> {
    let base = Path::new(&t.d.path);
    let below = t.folder.strip_prefix(base).unwrap_or(Path::new(""));
    if !t.d.create && below.as_os_str().is_empty() {
        return Ok(());
    }
    let present = |session: &mut dyn Session, folder: &Path| -> Result<bool> { Ok(folder.as_os_str().is_empty() || session.stat(folder)?.is_some()) };
    if present(session, &t.folder)? {
        return Ok(());
    }
    if !t.d.create && !present(session, base)? {
        return Err(crate::endpoints::missing_folder(base));
    }
    let mut missing = Vec::new();
    for folder in t.folder.ancestors() {
        if folder.as_os_str().is_empty() || folder == Path::new("/") || present(session, folder)? {
            break;
        }
        missing.push(folder.to_owned());
    }
    missing.iter().rev().try_for_each(|folder| session.make_folder(folder))
}

/// Compares the temporary file with what was sent.
fn verify(session: &mut dyn Session, t: &Target<'_>, size: u64, hash: &str) -> Result<()> {
    if t.d.verify == Verify::None {
        return Ok(());
    }
    let found = session.stat(&t.temp)?;
    let wrong = |what: String| {
        Err(Error::endpoint(format!("the temporary file {} {what}", shown(&t.temp))).hint("the connection or the server cut it: it is sent again by itself"))
    };
    match found.map(|f| f.size) {
        None => return wrong("is gone right after it was written".into()),
        Some(Some(n)) if n != size => return wrong(format!("has {n} bytes at the server instead of {size}")),
        Some(_) => {}
    }
    if t.d.verify == Verify::Hash && hash_at(session, &t.temp)? != hash {
        return wrong("has other bytes at the server than were sent".into());
    }
    Ok(())
}

/// The SHA-256 of a file at the server, read back.
fn hash_at(session: &mut dyn Session, path: &Path) -> Result<String> {
    use sha2::Digest;
    struct Hashing(sha2::Sha256);
    impl std::io::Write for Hashing {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.update(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut hashing = Hashing(sha2::Sha256::new());
    session.read(path, &mut hashing)?;
    Ok(crate::job::hex(&hashing.0.finalize()))
}

/// What publishing a run of jobs came to.
pub struct Published {
    /// The first job that could not be published, by its place in the run, and why; those after it were not tried.
    pub stopped: Option<(usize, Error)>,
}

/// Publishes a run of jobs at one destination: one commit of the intents, the renames in order, one sync, one commit.
pub fn publish(w: &World, run: &mut [Job], destination: usize) -> Result<Published> {
    let Some(first) = run.first() else { return Ok(Published { stopped: None }) };
    let route = w.route_of(first)?.clone();
    let numbers: Vec<usize> = run.iter().filter_map(|j| j.deliveries.iter().position(|d| d.destination == destination)).collect();
    if numbers.len() != run.len() {
        return Err(Error::relay("a job without that destination was to be published"));
    }
    let pool = {
        let t = target(w, &route, &run[0].deliveries[numbers[0]])?;
        t.pool.clone()
    };
    if pool.direct() {
        return send_direct(w, &route, &mut run[0], numbers[0]).map(|e| Published { stopped: e.map(|e| (0, e)) });
    }
    let mut stopped = None;
    let mut names: Vec<Name> = Vec::new();
    // The names that are free now: only for those an intent is written, so that waiting for B costs no journal.
    let looked = pool.with(&w.stop, |session| {
        for (i, job) in run.iter().enumerate() {
            let t = target(w, &route, &job.deliveries[numbers[i]])?;
            match free_name(session, &t, &job.deliveries[numbers[i]].name)? {
                Ok(name) if names.contains(&name) => break,
                Ok(name) => names.push(name),
                Err(e) => {
                    stopped = Some((i, e));
                    break;
                }
            }
        }
        Ok(())
    });
    if let Err(e) = looked {
        return Ok(Published { stopped: Some((names.len(), e.at("publish"))) });
    }
    if names.is_empty() {
        return Ok(Published { stopped: stopped.map(|(i, e)| (i, e.at("publish"))) });
    }
    let policies: Vec<IfExists> = numbers.iter().map(|_| route.destinations[destination].if_exists).collect();
    let intents = run.iter_mut().zip(&numbers).zip(names.iter().zip(&policies));
    w.record(intents.map(|((job, delivery), (name, policy))| (job, Event::Publishing { delivery: *delivery, policy: *policy, name: name.clone() })).collect())?;
    let mut done = 0;
    let mut failed: Option<(usize, Error)> = None;
    let renamed = pool.with(&w.stop, |session| {
        let mut folders = BTreeSet::new();
        for (i, job) in run.iter().enumerate().take(names.len()) {
            let t = target(w, &route, &job.deliveries[numbers[i]])?;
            let how = if t.d.if_exists == IfExists::Replace { Rename::Replace } else { Rename::New };
            if let Err(e) = session.rename(&t.temp, &t.final_path, how) {
                failed = Some((i, e.clone()));
                if e.kind() == Kind::Lost {
                    return Err(e);
                }
                break;
            }
            folders.insert(t.folder.clone());
            if t.d.temp_path.is_some() {
                folders.insert(t.temp.parent().unwrap_or(Path::new("")).to_owned());
            }
            done = i + 1;
        }
        folders.iter().try_for_each(|f| session.sync_folder(f))?;
        for (i, job) in run.iter().enumerate().take(done) {
            let t = target(w, &route, &job.deliveries[numbers[i]])?;
            announce(w, session, &t, job, &job.deliveries[numbers[i]])?;
        }
        Ok(())
    });
    if let Err(e) = renamed {
        // Whatever was renamed is found by its evidence; nothing is called published that was not synced.
        let at = failed.map_or(0, |(i, _)| i.min(done));
        return Ok(Published { stopped: Some((at, e.at("publish"))) });
    }
    let facts = run.iter_mut().zip(&numbers).take(done).map(|(job, delivery)| (job, Event::Published { delivery: *delivery }));
    w.record(facts.collect())?;
    let Some((i, e)) = failed else { return Ok(Published { stopped: stopped.map(|(i, e)| (i, e.at("publish"))) }) };
    // A clear answer: nothing was renamed. Those behind it were never tried, and are found by their evidence.
    let again = e.kind() == Kind::NotFound;
    if again {
        tracing::warn!(job = run[i].id, "the temporary file was removed by somebody at the destination: it is sent again");
    }
    w.record_one(&mut run[i], Event::NotPublished { delivery: numbers[i], again })?;
    Ok(Published { stopped: Some((i, e.at("publish"))) })
}

/// The name to publish under, or why there is none now.
fn free_name(session: &mut dyn Session, t: &Target<'_>, name: &Name) -> Result<std::result::Result<Name, Error>> {
    if t.d.if_exists == IfExists::Replace {
        return Ok(Ok(name.clone()));
    }
    let shown_final = shown(&t.final_path);
    if session.stat(&t.final_path)?.is_none() {
        return Ok(Ok(name.clone()));
    }
    match t.d.if_exists {
        IfExists::Rename => {
            for n in 1..=RENAMES_MAX {
                let other = Name(naming::with_suffix(&name.0, &format!("-{n}")));
                naming::check_name(&other.0, "output.name")?;
                if session.stat(&t.folder.join(other.path()))?.is_none() {
                    return Ok(Ok(other));
                }
            }
            Ok(Err(Error::file(format!("{RENAMES_MAX} files named like {shown_final} are there already")).hint("let B take its files, then retry")))
        }
        IfExists::Fail => Ok(Err(Error::file(format!("{shown_final} is there already, and if_exists is \"fail\"")).hint("remove it, then retry"))),
        IfExists::Wait | IfExists::Replace => Ok(Err(Error::endpoint(format!("{shown_final} is still there: B has not taken it yet"))
            .kind_of(Kind::Exists)
            .hint("the file follows as soon as B has taken the last one"))),
    }
}

/// B's marker and B's own import function, once its file is there. They may run again after a crash, never before.
fn announce(w: &World, session: &mut dyn Session, t: &Target<'_>, job: &Job, delivery: &Delivery) -> Result<()> {
    let time = local(job.received_at);
    let facts = Facts { name: &delivery.name.0, path: t.final_path.as_os_str().as_encoded_bytes(), job: job.id, id: &delivery.id, time: &time };
    if let Some(template) = &t.d.done_file {
        let name = Name(template.render(&facts));
        naming::check_name(&name.0, "done_file")?;
        let (temp, path) = (t.folder.join(format!(".{}.{}.part", delivery.id, "done")), t.folder.join(name.path()));
        session.write(&temp, &mut std::io::empty(), 0, t.d.mode)?;
        session.rename(&temp, &path, Rename::Replace)?;
        session.sync_folder(&t.folder)?;
    }
    if let Some(after) = &t.d.after {
        let allowed = ["name", "stem", "ext", "path", "job", "date"];
        let args =
            after.iter().map(|a| crate::naming::Template::parse(a, &allowed).map(|t| Name(t.render(&facts)))).collect::<std::result::Result<Vec<_>, _>>();
        match args {
            Ok(args) => super::engine::run_hook("after", &args, &w.stop),
            Err(why) => tracing::warn!(job = job.id, "after was not run: {why}"),
        }
    }
    Ok(())
}

/// Sends a file straight to its final name (HTTP). The fact that it was tried is recorded before.
fn send_direct(w: &World, route: &Route, job: &mut Job, delivery: usize) -> Result<Option<Error>> {
    let t = target(w, route, &job.deliveries[delivery])?;
    let name = job.deliveries[delivery].name.clone();
    let policy = t.d.if_exists;
    let fresh = job.deliveries[delivery].progress == Progress::Uploaded;
    if fresh {
        w.record_one(job, Event::Publishing { delivery, policy, name })?;
    }
    let (mut file, size, _) = payload(w, job)?;
    let how =
        Direct { idempotency_key: job.deliveries[delivery].id.clone(), rename: if policy == IfExists::Replace { Rename::Replace } else { Rename::New }, size };
    let sent = t.pool.with(&w.stop, |session| {
        let mut from = Progressing { inner: Followed::new(&mut file, &w.stop, t.pool.rate()), tell: &|n| (w.progress)(job, n) };
        session.send(&t.final_path, &mut from, &how)
    });
    let e = match sent {
        Ok(()) => return w.record_one(job, Event::Published { delivery }).map(|()| None),
        Err(e) => e.at("publish"),
    };
    match (e.kind(), t.pool.repeatable()) {
        (Kind::Lost, false) => {
            let unknown = Error::endpoint(format!(
                "the connection was cut after the request was sent, and {} cannot tell whether it has the file: {}",
                t.d.endpoint_name(),
                e.message()
            ))
            .kind_of(Kind::Unconfirmed)
            .at("publish")
            .hint(format!("look at B: `passerelle confirm-delivered {0}` if it has the file, `passerelle retry {0}` if it has not", job.id));
            w.record_one(job, Event::Unconfirmed { delivery, error: unknown })?;
            Ok(None)
        }
        (Kind::Lost, true) => Ok(Some(e)),
        _ => {
            w.record_one(job, Event::NotPublished { delivery, again: false })?;
            Ok(Some(e))
        }
    }
}

/// Finds out what became of a rename whose answer is unknown.
pub fn resolve_delivery(w: &World, job: &mut Job, delivery: usize) -> Result<Option<Error>> {
    let route = w.route_of(job)?.clone();
    let t = target(w, &route, &job.deliveries[delivery])?;
    if t.pool.direct() {
        if t.pool.repeatable() {
            return send_direct(w, &route, job, delivery);
        }
        let unknown = Error::endpoint(format!("the relay ended while the file was sent, and {} cannot tell whether it has it", t.d.endpoint_name()))
            .kind_of(Kind::Unconfirmed)
            .at("publish")
            .hint(format!("look at B: `passerelle confirm-delivered {0}` if it has the file, `passerelle retry {0}` if it has not", job.id));
        return w.record_one(job, Event::Unconfirmed { delivery, error: unknown }).map(|()| None);
    }
    let made = job.made.clone().ok_or_else(|| Error::relay("nothing was made yet"))?;
    let policy = t.d.if_exists;
    let verdict = t.pool.with(&w.stop, |session| {
        let temporary = session.stat(&t.temp)?.is_some();
        let final_name = match session.stat(&t.final_path)? {
            None => Final::Absent,
            Some(s) if s.size.is_some_and(|n| n != made.size) => Final::Other,
            Some(_) if hash_at(session, &t.final_path)? == made.hash => Final::Ours,
            Some(_) => Final::Other,
        };
        let verdict = resolve(Evidence { temporary, final_name }, policy);
        match verdict {
            Verdict::PublishedTwice => session.remove(&t.temp)?,
            Verdict::Published | Verdict::Again | Verdict::Taken => {}
        }
        if matches!(verdict, Verdict::Published | Verdict::PublishedTwice) {
            session.sync_folder(&t.folder)?;
            announce(w, session, &t, job, &job.deliveries[delivery])?;
        }
        Ok(verdict)
    });
    match verdict {
        Err(e) => Ok(Some(e.at("publish"))),
        Ok(Verdict::Published | Verdict::PublishedTwice) => w.record_one(job, Event::Published { delivery }).map(|()| None),
        Ok(Verdict::Again | Verdict::Taken) => w.record_one(job, Event::NotPublished { delivery, again: false }).map(|()| None),
    }
}

/// Puts the originals of published jobs where `on_success` says: the moves, one sync of each folder, one commit.
pub fn finish(w: &World, jobs: &mut [Job]) -> Result<()> {
    let now = Zoned::now();
    let mode = w.config.archive_mode;
    let mut folders = BTreeSet::new();
    let mut places = Vec::new();
    for job in jobs.iter() {
        let route = w.route_of(job)?;
        move_rejects(w, route, job, &mut folders)?;
        let kept = route.source.on_success == OnSuccess::Keep || job.replay_of.is_some();
        let claimed = w.claimed(route, job);
        let path = if kept {
            match job.replay_of {
                Some(of) => w.journal.reader()?.job(of)?.and_then(|r| r.job.path).unwrap_or_default(),
                None => route.source.path.join(job.file.path()).display().to_string(),
            }
        } else if route.source.on_success == OnSuccess::Delete {
            durable::remove(&claimed)?;
            folders.insert(claimed.parent().unwrap_or(Path::new("/")).to_owned());
            String::new()
        } else {
            let folder =
                w.config.home.join("archive").join(&job.route).join(now.strftime("%Y/%m/%d").to_string()).join(Name(job.file.folder().to_vec()).path());
            durable::make_folder(&folder, durable::folder_mode(mode))?;
            let to = folder.join(job.claimed_name().path());
            archive_one(w, &claimed, &to, mode, &mut folders)?;
            to.display().to_string()
        };
        for companion in companions(route, job) {
            let from = claimed.with_file_name(companion.path());
            let to = w
                .config
                .home
                .join("archive")
                .join(&job.route)
                .join(now.strftime("%Y/%m/%d").to_string())
                .join(Name(job.file.folder().to_vec()).path())
                .join(companion.path());
            if from.exists() {
                archive_one(w, &from, &to, mode, &mut folders)?;
            }
        }
        places.push(path);
    }
    folders.iter().try_for_each(|f| durable::sync_folder(f))?;
    w.record(jobs.iter_mut().zip(places).map(|(job, path)| (job, Event::Archived { path })).collect())?;
    for job in jobs.iter() {
        durable::remove_folder(&w.work(job))?;
    }
    Ok(())
}

fn archive_one(w: &World, from: &Path, to: &Path, mode: u32, folders: &mut BTreeSet<PathBuf>) -> Result<()> {
    let set = |path: &Path| {
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode))
            .map_err(|e| Error::io(Blame::Endpoint, "set the permissions of", path, &e))
    };
    if from.exists() {
        // A file of another owner can't be given other permissions; it can be moved all the same.
        let _ = set(from);
        match durable::shift(from, to, &w.stop) {
            Err(e) if e.kind() == Kind::Exists => {
                return Err(Error::relay(format!("{} is there already: the archive is never overwritten", shown(to)))
                    .hint("move that file elsewhere, then start again"));
            }
            other => other?,
        }
    } else if !to.exists() {
        return Err(vanished(from));
    }
    folders.insert(from.parent().unwrap_or(Path::new("/")).to_owned());
    folders.insert(to.parent().unwrap_or(Path::new("/")).to_owned());
    Ok(())
}

/// The done and checksum files that were claimed with a file, by their claimed names.
pub fn companions(route: &Route, job: &Job) -> Vec<Name> {
    let templates = [&route.source.done_file, &route.source.checksum_file];
    templates.into_iter().flatten().map(|t| numbered(job.id, crate::watch::companion_name(t, &job.file).last())).collect()
}

/// The rejects of a file that was otherwise delivered, beside where failed files go.
fn move_rejects(w: &World, route: &Route, job: &Job, folders: &mut BTreeSet<PathBuf>) -> Result<()> {
    let from = w.work(job).join("rejects.csv");
    if !from.exists() {
        return Ok(());
    }
    let folder = w.errors(&route.name, &job.file);
    durable::make_folder(&folder, durable::folder_mode(w.config.archive_mode))?;
    let _ = std::fs::set_permissions(&from, std::os::unix::fs::PermissionsExt::from_mode(w.config.archive_mode));
    let name = |base: &Name| Name([&base.0[..], b".rejects.csv"].concat());
    for base in [Name(job.file.last().to_vec()), job.claimed_name()] {
        let to = folder.join(name(&base).path());
        match durable::shift(&from, &to, &w.stop) {
            Ok(()) => {
                folders.insert(folder);
                return Ok(());
            }
            Err(e) if e.kind() == Kind::Exists => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Puts a file that can't be relayed into `errors`, with a note saying why.
pub fn fail(w: &World, job: &mut Job) -> Result<()> {
    let route = w.route_of(job)?.clone();
    let error = job.error.clone().unwrap_or_else(|| Error::file("it failed"));
    let original = w.original(job)?;
    let folder = w.errors(&route.name, &job.file);
    let mode = w.config.archive_mode;
    durable::make_folder(&folder, durable::folder_mode(mode))?;
    let mut place = None;
    for name in [Name(job.file.last().to_vec()), job.claimed_name()] {
        let to = folder.join(name.path());
        if !original.exists() {
            // A crash between the move and its record: the file is where it was moved to.
            if !to.exists() || !note_is_of(&to, job.id) {
                continue;
            }
            place = Some(to);
            break;
        }
        if to.exists() || (note_path(&to).exists() && !note_is_of(&to, job.id)) {
            continue;
        }
        // The note first: a file in errors always has one.
        write_note(job, &error, &to, mode)?;
        let _ = std::fs::set_permissions(&original, std::os::unix::fs::PermissionsExt::from_mode(mode));
        match durable::move_new(&original, &to, &w.stop) {
            Ok(()) => {
                place = Some(to);
                break;
            }
            Err(e) if e.kind() == Kind::Exists => durable::remove(&note_path(&to))?,
            Err(e) => return Err(e),
        }
    }
    let place = match place {
        Some(place) => place,
        None => {
            // The original is gone, by somebody's hand: the note still says why.
            let to = folder.join(job.claimed_name().path());
            write_note(job, &error, &to, mode)?;
            to
        }
    };
    for companion in companions(&route, job) {
        let from = w.claimed(&route, job).with_file_name(companion.path());
        if from.exists() {
            let _ = durable::shift(&from, &folder.join(companion.path()), &w.stop);
        }
    }
    w.record_one(job, Event::Failed { path: place.display().to_string() })?;
    durable::remove_folder(&w.work(job))
}

/// Where the note of a file in `errors` is.
pub fn note_path(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".error.json");
    PathBuf::from(name)
}

/// Whether the note of a file in `errors` is this job's.
pub fn note_is_of(file: &Path, job: crate::job::JobId) -> bool {
    let note = std::fs::read(note_path(file)).ok().and_then(|b| serde_json::from_slice::<serde_json::Value>(&b).ok());
    note.is_some_and(|n| n["job"] == serde_json::json!(job))
}

fn write_note(job: &Job, error: &Error, file: &Path, mode: u32) -> Result<()> {
    let note = serde_json::json!({
        "error": error.to_string(),
        "hint": error.advice(),
        "file": job.file.to_string(),
        "route": job.route,
        "step": error.step(),
        "job": job.id,
        "attempts": job.attempts.max(1),
        "received_at": rfc3339(job.received_at),
        "failed_at": rfc3339(Timestamp::now()),
    });
    let mut text = serde_json::to_vec_pretty(&note).unwrap_or_default();
    text.push(b'\n');
    durable::write_whole(&note_path(file), &text, mode)
}

/// A time as users see it: RFC 3339 with the local offset, to the millisecond.
pub fn rfc3339(time: Timestamp) -> String {
    local(time).strftime("%Y-%m-%dT%H:%M:%S%.3f%:z").to_string()
}
