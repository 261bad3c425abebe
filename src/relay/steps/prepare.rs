//! Seal the original and make B's file: what is true of a job before anything is sent.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Zoned;

use super::super::dispatch::{Failure, Reach};
use super::super::intents::Line;
use super::super::{World, take_ahead};
use super::duplicate::duplicate_of;
use super::finish::packed_name;
use super::large::is_large;
use super::local;
use super::make::{output_name, transform};
use super::place::goes_to;
use super::seal;
use super::sync::{self};
use super::upload::{is_direct, send, send_run};
use crate::config::{Empty, IfExists, LookupConfig, OnSuccess, Route};
use crate::durable;
use crate::error::{Blame, Error, Kind, Result};
use crate::formats::Room;
use crate::formats::packed::unpack;
use crate::formats::text::Type;
use crate::job::{Delivery, Event, Job, Made, Name, Next, Progress, Seal};
use crate::naming::{self, Facts};
use crate::points;
use crate::sync::deleted::Deletes;
use crate::transform::Counts;
use crate::transform::corrected;
use crate::transform::group::{Grouping, Groups};
use crate::transform::lookup::{Lookup, Lookups, Records};

/// What is made of a run of small files may be larger; beyond this its files are sent one by one.
const TOGETHER_BYTES: u64 = 16 * 1024 * 1024;
/// A larger file is hashed while its records are made.
const HASHED_BESIDE_BYTES: u64 = 4 * 1024 * 1024;

/// Seals the originals and makes the files for B; goes on as far as it may with what is small work for one destination: a
/// run goes there together. Gives the destination it came to, and what failed there or before.
pub fn prepare(w: &World, run: &mut [Job], reach: Reach) -> Result<(Option<usize>, Vec<Failure>)> {
    let mut failed: Vec<Failure> = Vec::new();
    let mut facts = Vec::new();
    let mut ahead: Vec<Option<Job>> = Vec::with_capacity(run.len());
    let mut sending = Vec::new();
    // Tests plant `large` to see every file handed around.
    let stop = reach == Reach::Prepared || points::planted("large");
    for (at, job) in run.iter_mut().enumerate() {
        let file = job.file.clone();
        assert!(!(points::planted("panic") && file.0.starts_with(b"panic")), "a planted panic");
        let events = prepare_steps(w, job).map_err(|e| if e.blame() == Blame::File { e.on_file(file.path()) } else { e });
        let mut next = job.clone();
        match events.and_then(|events| take_ahead(&mut next, events)) {
            Ok(more) => facts.extend(more),
            Err(error) => {
                if error.kind() == Kind::Held {
                    super::sync::supersede_when_held(w, job)?;
                }
                failed.push(Failure { at, destination: None, error });
                ahead.push(None);
                continue;
            }
        }
        let hashed = next.seal.as_ref().is_some_and(|seal| !seal.hash.is_empty());
        if !stop && hashed && next.deliveries.len() == 1 && next.next() == Next::Upload(0) && !is_direct(w, &next, 0)? {
            sending.push(at);
        }
        ahead.push(Some(next));
    }
    let destination = sending.first().and_then(|at| Some(ahead[*at].as_ref()?.deliveries[0].destination));
    let sent = send_together(w, &ahead, &sending);
    for (at, sent) in sending.iter().zip(sent) {
        match (sent, &mut ahead[*at]) {
            (Ok(()), Some(next)) => facts.extend(take_ahead(next, vec![Event::Uploaded { delivery: 0 }])?),
            (Err(error), _) => failed.push(Failure { at: *at, destination, error }),
            (Ok(()), None) => {}
        }
    }
    let published = if failed.is_empty() && reach == Reach::Published { destination } else { None };
    match (published, ahead.first_mut()) {
        (Some(destination), Some(Some(next))) => {
            let stopped = super::deliver::publish_after(w, facts, std::slice::from_mut(next), (destination, super::deliver::Sent::Now))?;
            failed.extend(stopped.into_iter().map(|(at, error)| Failure { at, destination: Some(destination), error }));
        }
        _ => w.record_after(facts, Vec::new())?,
    }
    for (job, next) in run.iter_mut().zip(ahead) {
        *job = next.unwrap_or_else(|| job.clone());
    }
    Ok((destination, failed))
}

/// Sends those of a run that go to its destination now. When the run as a whole fails, each is sent for itself, so that it
/// answers for itself, up to one that the server does not let through; those behind it were not tried, and have no answer.
fn send_together(w: &World, ahead: &[Option<Job>], sending: &[usize]) -> Vec<Result<()>> {
    let jobs: Vec<&Job> = sending.iter().filter_map(|at| ahead[*at].as_ref()).collect();
    let bytes: u64 = jobs.iter().filter_map(|j| Some(j.made.as_ref()?.size)).sum();
    if jobs.len() > 1
        && bytes <= TOGETHER_BYTES
        && let Ok(sent) = send_run(w, &jobs)
        && sent.len() == jobs.len()
    {
        return sent;
    }
    let mut sent = Vec::with_capacity(jobs.len());
    for job in jobs {
        sent.push(send(w, job, 0, 1).map(drop));
        if sent.last().and_then(|s| s.as_ref().err()).is_some_and(|e| e.blame() != Blame::File) {
            break;
        }
    }
    sent
}

/// Seals and transforms; gives the facts that are still to be recorded.
pub(super) fn prepare_steps(w: &World, job: &mut Job) -> Result<Vec<Event>> {
    let route = w.route_of(job)?.clone();
    let original = w.original(job)?;
    if route.source.on_success == OnSuccess::Keep || job.replay_of.is_some() {
        fetch_original(w, &route, job, &original).map_err(|e| e.at("seal"))?;
    }
    let kind = export_of(&route, &original);
    let opened = seal::open(&original, job, w).map_err(|e| e.at("seal"))?;
    let mut seal = Seal { partial: kind == Export::Corrected || job.replay_of.is_some(), ..opened.unhashed(job) };
    // Of a large file, the hash is made while its records are, unless it is wanted before.
    // Of what is sent as it is, while it is sent.
    let raw = route.transformation.is_none() && (route.destinations.len() > 1 || job.replay_of.is_some() || !is_large(seal.size));
    let wanted = raw || route.source.skip_duplicates || job.seal.is_some();
    let mut unhashed = Some(opened);
    if wanted || seal.size < HASHED_BESIDE_BYTES {
        seal.hash = unhashed.take().map_or_else(|| Ok(String::new()), |opened| opened.hash(&w.stop)).map_err(|e| e.at("seal"))?;
    }
    if let Some(before) = job.seal.as_ref().filter(|b| b.hash != seal.hash && !b.hash.is_empty()) {
        let message = format!("the claimed file has changed since it was sealed ({} bytes then, {} now)", before.size, seal.size);
        return Err(Error::file(message).at("seal").hint("somebody writes into .passerelle: nothing but the relay may; retry delivers it as it is now"));
    }
    // An export without a record may be one in which all of them are deleted.
    let tells_deletions = route.sync.as_ref().is_some_and(|s| s.deletes == Deletes::Send);
    if seal.size == 0 && route.source.empty != Empty::Send && !(tells_deletions && route.source.empty == Empty::Skip) {
        return empty(&route, seal);
    }
    if let Some(of) = duplicate_of(w, &route, job, &seal)? {
        return Ok(vec![Event::Sealed(seal), Event::Duplicate { of }]);
    }
    if let Some(spec) = &route.sync
        && let Some(by) = sync::superseded_by(w, spec, job, &seal)?
    {
        if let Some(opened) = unhashed {
            seal.hash = opened.hash(&w.stop).map_err(|e| e.at("seal"))?;
        }
        return Ok(vec![Event::Sealed(seal), Event::Superseded { by }]);
    }
    let made = match &route.transformation {
        None => Made { size: seal.size, hash: seal.hash.clone(), ..Made::default() },
        Some(_) => match unhashed {
            None => {
                w.record_one(job, Event::Sealed(seal.clone()))?;
                transform(w, &route, job, &original, &seal, kind)?
            }
            Some(opened) => {
                let (hash, made) = std::thread::scope(|scope| {
                    let hash = scope.spawn(|| opened.hash(&w.stop));
                    let made = transform(w, &route, job, &original, &seal, kind);
                    (hash.join().unwrap_or_else(|fault| std::panic::resume_unwind(fault)), made)
                });
                seal.hash = hash.map_err(|e| e.at("seal"))?;
                w.record_one(job, Event::Sealed(seal.clone()))?;
                made?
            }
        },
    };
    let nothing = made.staged && made.counts.is_some_and(|c| c.written + c.deleted == 0);
    let deliveries = if nothing { Vec::new() } else { plan(w, &route, job, made.parts.len().max(1), kind)? };
    let tried = tried_before(w, job, &deliveries);
    let transformed = Event::Transformed { made, deliveries };
    // Raw bytes need no commit between: knowing them is all that is made of them.
    let mut events = if route.transformation.is_none() { vec![Event::Sealed(seal), transformed] } else { vec![transformed] };
    events.extend(tried);
    Ok(events)
}

/// What is known of publishes that were tried before the journal was lost: their outcome is found out at B, or by an operator.
fn tried_before(w: &World, job: &Job, deliveries: &[Delivery]) -> Vec<Event> {
    let mut events = Vec::new();
    let mut seen = HashSet::new();
    // The last attempt counts.
    for line in w.intents.of(job.id).into_iter().rev() {
        match line {
            Line::Publishing { delivery: before, .. } => {
                if seen.insert((before.destination, before.part))
                    && let Some(delivery) =
                        deliveries.iter().position(|d| d.destination == before.destination && d.part == before.part && d.endpoint == before.endpoint)
                {
                    let policy = w.route(&job.route).and_then(|r| r.destinations.get(before.destination)).map_or(IfExists::Wait, |d| d.if_exists);
                    events.push(Event::Publishing { delivery, policy, name: before.name, place: before.tried_in });
                }
            }
            Line::Unknown { .. } => {
                let error = Error::endpoint("the journal and the file `intents` were lost after this file was claimed: B may have it already")
                    .kind_of(Kind::Unconfirmed)
                    .hint(format!("look at B: `passerelle confirm-delivered {0}` if it has the file, `passerelle retry {0}` if it has not", job.id));
                events.extend((0..deliveries.len()).map(|delivery| Event::Unconfirmed { delivery, error: error.clone() }));
            }
            Line::Kept { .. } | Line::Below { .. } | Line::Instance { .. } => {}
        }
    }
    events
}

/// A file without a byte: archived as delivered, or failed, as the route says.
fn empty(route: &Route, seal: Seal) -> Result<Vec<Event>> {
    if route.source.empty == Empty::Fail {
        return Err(Error::file("the file is empty").at("seal").hint("A wrote nothing: export again; empty = \"skip\" archives such files"));
    }
    let made =
        Made { hash: seal.hash.clone(), counts: Some(Counts::default()), remarks: vec!["the file is empty: nothing was sent".into()], ..Made::default() };
    Ok(vec![Event::Sealed(seal), Event::Transformed { made, deliveries: Vec::new() }])
}

/// Brings a file that stays where it is (kept, or archived) into the job's work folder.
pub(super) fn fetch_original(w: &World, route: &Route, job: &Job, to: &Path) -> Result<()> {
    let (from, packed) = match job.replay_of {
        None => (route.source.path.join(job.file.path()), false),
        Some(of) => {
            let row = w.journal.reader()?.job(of)?.map(|r| r.job);
            let archived = row.and_then(|j| Some((j.path.as_ref()?.path().to_owned(), packed_name(&j))));
            let (path, packed) = archived.ok_or_else(|| Error::file(format!("job {of} has no archived original")))?;
            let packed = path.file_name() == packed.path().file_name();
            (path, packed)
        }
    };
    let work = w.work(job);
    if job.seq > 0 && to.exists() {
        return Ok(()); // fetched whole before, or put back by a retry
    }
    durable::remove_folder(&work)?;
    durable::make_folder(&work, 0o700)?;
    let before = std::fs::metadata(&from).map_err(|e| Error::io(Blame::File, "read", &from, &e).hint("it was removed before it could be relayed"))?;
    if packed {
        durable::unpack_new(&from, to, &w.stop)?;
    } else {
        durable::copy_new(&from, to, &w.stop)?;
    }
    durable::sync_parent(to)?;
    let after = std::fs::metadata(&from).map_err(|e| Error::io(Blame::File, "read", &from, &e))?;
    if durable::found(&before) != durable::found(&after) {
        return Err(Error::endpoint("the file changed while it was read").hint("it is read again by itself"));
    }
    Ok(())
}

pub(super) fn read_failed(e: &std::io::Error, path: &Path) -> Error {
    let error = crate::endpoints::source_error(e);
    if error.blame() == Blame::Stopped { error } else { Error::io(Blame::File, "read", path, e) }
}

/// What a claimed file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Export {
    /// A's.
    Whole,
    /// Rejects that somebody has corrected.
    Corrected,
}

/// Whether the file is an export, or a corrected rejects file.
pub(super) fn export_of(route: &Route, original: &Path) -> Export {
    let corrected = route.transformation.is_some() && durable::head::<256>(original).is_ok_and(|head| corrected::delimiter_of(&head).is_some());
    if corrected { Export::Corrected } else { Export::Whole }
}

/// Whether a file holds corrected rejects.
pub fn is_corrected(route: &Route, path: &Path) -> bool {
    export_of(route, path) == Export::Corrected
}

/// The name within a zip archive: without `.zip`.
pub fn member_name(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(name);
    text.strip_suffix(".zip").unwrap_or(&text).to_owned()
}

/// Code tables that were read, and what their files were like then.
#[derive(Debug, Default)]
pub struct LookupCache(std::sync::Mutex<HashMap<(String, PathBuf), Read>>);

/// What a table's file was like, and the table that was made of it.
type Read = (crate::job::Found, Arc<Lookup>);

impl LookupCache {
    /// The code tables as they are for this file; a table that did not change is not read again.
    pub fn lookups(&self, route: &Route, file: &Name, room: &Room) -> Result<Lookups> {
        let mut out = HashMap::new();
        for l in &route.lookups {
            let table = match &l.file {
                None => Arc::new(Lookup::from_values(l.values.iter().cloned())),
                Some(template) => self.read(l, template, file, room)?,
            };
            out.insert(l.name.clone(), table);
        }
        Ok(Lookups(out))
    }

    fn read(&self, l: &LookupConfig, template: &naming::Template, file: &Name, room: &Room) -> Result<Arc<Lookup>> {
        let epoch = Zoned::default();
        let name = Name(template.render(&Facts { name: file.last(), path: &file.0, job: 0, id: "", part: 1, time: &epoch }));
        let path = l.base.join(name.path());
        let input = durable::open_file(&path).map_err(|e| e.blamed_on(Blame::Endpoint).at("lookup").hint(format!("check lookups.{}.file", l.name)))?;
        let found = durable::found(&input.metadata().map_err(|e| Error::io(Blame::Endpoint, "look at", &path, &e))?);
        let mut known = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // Several lookups may read one file, each in its own way.
        let own = (l.name.clone(), path.clone());
        if let Some((then, table)) = known.get(&own)
            && *then == found
        {
            return Ok(table.clone());
        }
        let types: Vec<_> = l.input.map("types").iter().filter_map(|(n, e)| Type::named(e.as_text()).map(|t| (n.clone(), t))).collect();
        let reading = crate::config::resolve::reading(&l.input);
        let room = Room { beside: Some(path.clone()), ..room.clone() };
        let read = || {
            let mut reader = l.format.reader(&l.input, unpack(Box::new(input), l.format.archives(), &room)?, &room)?;
            if let (Some(by), Some(into)) = (l.input.texts("group_by"), l.input.text("group_into")) {
                reader = Box::new(Groups::new(reader, &Grouping { by, into }, &types, &reading, room.bytes_max)?);
            }
            let mut records = Records::new(&l.name, reader, l.input.text("each"), reading.clone())?;
            Lookup::read((&l.name, &mut records), (&l.key, l.value.as_deref()), l.duplicates, types.clone(), room.bytes_max)
        };
        let table = read().map_err(|e| e.blamed_on(Blame::Endpoint).at("lookup").on_file(&path))?;
        let table = Arc::new(table);
        known.insert(own, (found, table.clone()));
        Ok(table)
    }
}

/// Where a job's file goes, with the temporary names that every attempt will use. What is published stays as it was.
pub(super) fn plan(w: &World, route: &Route, job: &Job, parts: usize, kind: Export) -> Result<Vec<Delivery>> {
    let time = local(job.received_at);
    let mut out = Vec::new();
    for (destination, d) in route.destinations.iter().enumerate() {
        for part in 0..parts {
            let name = output_name(route, job, part + 1, kind)?;
            // Or to another path in its place, as where all was moved.
            let there = |x: &&Delivery| goes_to(x, d) || (x.destination == destination && super::destination(route, job, x).is_ok());
            let mine = || job.deliveries.iter().filter(there).filter(|x| x.part == part);
            if let Some(done) = mine().find(|x| matches!(x.progress, Progress::Published | Progress::Publishing)) {
                out.push(Delivery { destination, ..done.clone() });
                continue;
            }
            let id = match mine().next() {
                Some(before) => before.id.clone(),
                None => w.intents.delivery_id(job.id, destination, part),
            };
            let facts = Facts { name: &name, path: &job.file.0, job: job.id, id: &id, part: part + 1, time: &time };
            let temp = naming::temporary(&d.temp_name, &facts);
            naming::check_name(&temp, "temp_name").map_err(|e| e.at("name"))?;
            out.push(Delivery {
                destination,
                endpoint: d.endpoint_name().to_owned(),
                to: Some(d.path.clone()),
                folder: Name(job.file.folder().to_vec()),
                name: Name(name),
                temp: Name(temp),
                id,
                progress: Progress::Waiting,
                error: None,
                attempts: 0,
                unknown: false,
                tried_at: None,
                tried_in: None,
                doubtful: false,
                taken_at: None,
                overdue: false,
                // What was begun goes on in the same requests.
                by_record: mine().next().and_then(|before| before.by_record).or(d.records()),
                confirmed: false,
                part,
            });
        }
    }
    Ok(out)
}
