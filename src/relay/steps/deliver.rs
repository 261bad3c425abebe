//! Upload, verify, publish, and find out what became of a rename whose answer is unknown.

use std::collections::BTreeSet;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::World;
use super::super::publish::{Evidence, Final, Memory, Verdict, resolve};
use super::after::{announce, marker};
use super::direct::{announced, send_direct, stands, unconfirmed};
use super::place::{Since, destination, place_of, since_tried};
use super::records::send_records;
use super::seal::{hash_of, written_since};
use super::upload::{hash_at, looks};
use super::vanished;
use crate::config::{DestinationConfig, IfExists, Route, Verify};
use crate::durable;
use crate::endpoints::pool::Pool;
use crate::endpoints::{Rename, Session, Stat};
use crate::error::{Blame, Error, Kind, Result, shown};
use crate::job::{Delivery, Event, Job, Made, Name, PartMade};
use crate::journal::Fact;
use crate::naming::{self};
use crate::points;

/// How often `if_exists = "rename"` looks for a free name.
pub(super) const RENAMES_MAX: u32 = 10_000;

/// A delivery's destination, paths and connections.
pub(super) struct Target<'t> {
    pub(super) d: &'t DestinationConfig,
    pub(super) pool: &'t Arc<Pool>,
    pub(super) folder: PathBuf,
    pub(super) temp: PathBuf,
    pub(super) final_path: PathBuf,
}

pub(super) fn target<'t>(w: &'t World, route: &'t Route, job: &Job, delivery: &Delivery) -> Result<Target<'t>> {
    let d = destination(route, job, delivery)?;
    // Joining an empty path would add a slash, which HTTP takes for another name.
    let folder = if delivery.folder.0.is_empty() { PathBuf::from(&d.path) } else { Path::new(&d.path).join(delivery.folder.path()) };
    let temp_folder = d.temp_path.as_ref().map_or_else(|| folder.clone(), PathBuf::from);
    if points::planted("new-temporary-names") {
        let temp = temp_folder.join(format!(".{}.part", std::process::id()));
        return Ok(Target { d, pool: w.pool(d)?, temp, final_path: folder.join(delivery.name.path()), folder });
    }
    Ok(Target { d, pool: w.pool(d)?, temp: temp_folder.join(delivery.temp.path()), final_path: folder.join(delivery.name.path()), folder })
}

/// What a delivery sends: the file, or its part of it.
pub(super) fn made_for(job: &Job, delivery: usize) -> Result<Made> {
    let made = job.made.clone().ok_or_else(|| Error::relay("nothing was made yet"))?;
    let part = job.deliveries.get(delivery).and_then(|d| made.parts.get(d.part)).cloned();
    Ok(match part {
        Some(PartMade { size, hash }) => Made { size, hash, ..made },
        None => made,
    })
}

/// The name in `work` of what was made; of a part, from 0.
pub(super) fn part_name(part: usize) -> String {
    if part == 0 { "out".into() } else { format!("out-{}", part + 1) }
}

/// What is sent: the file in `work`, or the original itself.
pub(super) fn payload(w: &World, job: &Job, delivery: usize) -> Result<(File, u64, PathBuf)> {
    let made = made_for(job, delivery)?;
    let part = job.deliveries.get(delivery).map_or(0, |d| d.part);
    let path = if made.in_work { w.work(job).join(part_name(part)) } else { w.original(job)? };
    let gone = |e: Error| match e.kind() {
        Kind::NotFound if made.in_work => {
            Error::file(format!("{}, which was made of the file, is gone from the relay's own folder", shown(&path))).hint("retry makes it again")
        }
        Kind::NotFound => vanished(&path),
        _ => e,
    };
    let file = durable::open_file(&path).map_err(gone)?;
    let size = file.metadata().map_err(|e| Error::io(Blame::Endpoint, "look at", &path, &e))?.len();
    if size != made.size {
        return Err(Error::file(format!("{} has {size} bytes instead of {}", shown(&path), made.size))
            .hint("somebody changed a file of the relay; retry makes it again"));
    }
    Ok((file, size, path))
}

/// The jobs of a run that could not be published, by their place in it, and why.
pub(super) type Stopped = Vec<(usize, Error)>;

/// Publishes a run of jobs at one destination: one commit of the intents, the renames in order, one sync, one commit. Gives
/// the jobs that could not be published, by their place in the run, and why.
pub fn publish(w: &World, run: &mut [Job], destination: usize) -> Result<Vec<(usize, Error)>> {
    publish_after(w, Vec::new(), run, (destination, Sent::Before))
}

/// When temporary files were sent that are published now.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// In the same go: they were verified a moment ago.
    Now,
    /// They have waited, and somebody may have changed them.
    Before,
}

/// The same, after facts that were taken ahead: they are recorded with the intents, or without them.
pub(super) fn publish_after(w: &World, mut ahead: Vec<Fact>, run: &mut [Job], (destination, sent): (usize, Sent)) -> Result<Stopped> {
    let Some(first) = run.first() else { return Ok(Vec::new()) };
    let route = w.route_of(first)?.clone();
    let numbers: Vec<usize> = run.iter().filter_map(|j| j.deliveries.iter().position(|d| d.destination == destination && d.progress.is_open())).collect();
    if numbers.len() != run.len() {
        return Err(Error::relay("a job without that destination was to be published"));
    }
    let lost = || Error::endpoint(format!("the route {} has no destination {} any more", route.name, destination + 1)).hint("put it back, and the job goes on");
    let d = route.destinations.get(destination).ok_or_else(lost)?;
    for (i, job) in run.iter().enumerate() {
        if let Some(e) = written_since(w, job)? {
            // Those before it go on; those behind it wait for what becomes of it.
            w.record_after(std::mem::take(&mut ahead), Vec::new())?;
            let mut stopped = if i > 0 { publish_after(w, Vec::new(), &mut run[..i], (destination, sent))? } else { Vec::new() };
            stopped.push((i, e.at("publish")));
            return Ok(stopped);
        }
    }
    if w.pool(d)?.direct() {
        return send_direct(w, &route, &mut run[0], numbers[0]).map(|e| e.into_iter().map(|e| (0, e)).collect());
    }
    let mut looked = Looked::default();
    let result = w.with_session(d, |session| {
        look(w, &route, session, (run, &numbers), &mut looked)?;
        if sent == Sent::Before { look_again(w, &route, session, (run, &numbers), &mut looked) } else { Ok(()) }
    });
    let Looked { names, mut stopped, spoilt } = looked;
    if result.is_err() || names.is_empty() {
        w.record_after(ahead, Vec::new())?;
        ahead = Vec::new();
    }
    if let Err(e) = result {
        return Ok(vec![(names.len(), e.at("publish"))]);
    }
    if let Some(i) = spoilt {
        // Those before it have their intents recorded below.
        w.record_after(std::mem::take(&mut ahead), Vec::new())?;
        tracing::warn!(job = run[i].id, "the temporary file is not whole at the destination any more: it is sent again");
        // The first time at once; whoever takes away one after the other is waited for.
        if run[i].deliveries[numbers[i]].attempts > 0 {
            stopped = Some((i, meddled(w, &route, &run[i], &run[i].deliveries[numbers[i]])?));
        }
        w.record_one(&mut run[i], Event::NotPublished { delivery: numbers[i], again: true, unknown: false })?;
    }
    let stopped: Stopped = stopped.into_iter().map(|(i, e)| (i, e.at("publish"))).collect();
    if names.is_empty() {
        return Ok(stopped);
    }
    let policy = d.if_exists;
    let intents = run.iter_mut().zip(&numbers).zip(&names);
    let intents = intents.map(|((job, delivery), name)| {
        let place = target(w, &route, job, &job.deliveries[*delivery]).and_then(|t| place_of(&t)).ok();
        (job, Event::Publishing { delivery: *delivery, policy, name: name.clone(), place })
    });
    w.record_after(ahead, intents.collect())?;
    let mut synced = true;
    // Of those that were announced, how B's own command failed.
    let mut said: Vec<Option<Error>> = vec![None; names.len()];
    let mut announced = 0;
    let mut renamed: Vec<Result<()>> = Vec::new();
    let how = if policy == IfExists::Replace { Rename::Replace } else { Rename::New };
    let result = w.with_session(d, |session| {
        synced = session.syncs();
        let mut targets = Vec::with_capacity(names.len());
        for (job, delivery) in run.iter().zip(&numbers).take(names.len()) {
            targets.push(target(w, &route, job, &job.deliveries[*delivery])?);
        }
        let pairs: Vec<(PathBuf, PathBuf)> = targets.iter().map(|t| (t.temp.clone(), t.final_path.clone())).collect();
        renamed = session.rename_all(&pairs, how);
        if let Some(lost) = renamed.iter().filter_map(|r| r.as_ref().err()).find(|e| e.kind() == Kind::Lost)
            && !points::planted("lost-is-failed")
        {
            return Err(lost.clone());
        }
        let done: Vec<usize> = (0..renamed.len()).filter(|i| renamed[*i].is_ok()).collect();
        let mut folders = BTreeSet::new();
        for t in done.iter().map(|i| &targets[*i]) {
            folders.insert(t.folder.clone());
            if t.d.temp_path.is_some() {
                folders.insert(t.temp.parent().unwrap_or(Path::new("")).to_owned());
            }
        }
        folders.iter().try_for_each(|f| session.sync_folder(f))?;
        for i in done {
            said[i] = announce(w, session, &targets[i], &run[i], &run[i].deliveries[numbers[i]])?;
            announced = i + 1;
        }
        Ok(())
    });
    if let Err(e) = result {
        w.record(
            published(run, &numbers, &renamed, said)
                .take(announced)
                .flatten()
                .map(|(job, delivery, after)| (job, Event::Published { delivery, synced, after }))
                .collect(),
        )?;
        // Whatever was renamed is found by its evidence; nothing is called published that was not synced.
        let at = renamed.iter().position(Result::is_err).unwrap_or(announced);
        never_tried(w, run, &numbers, renamed.len()..names.len())?;
        return Ok(vec![(at, e.at("publish"))]);
    }
    w.record(published(run, &numbers, &renamed, said).flatten().map(|(job, delivery, after)| (job, Event::Published { delivery, synced, after })).collect())?;
    let mut failed: Stopped = Vec::new();
    for (i, e) in renamed.iter().enumerate().filter_map(|(i, r)| Some((i, r.as_ref().err()?))) {
        // A clear answer: nothing was renamed. (Unless an earlier attempt was carried out late: its outcome is found out.)
        let again = e.kind() == Kind::NotFound;
        let delivery = &run[i].deliveries[numbers[i]];
        // What a server did and then answered with an error is found by its evidence. That a name is taken is a clear answer.
        let clear = e.kind() == Kind::Exists || points::planted("lost-is-failed");
        let done = || w.with_session(d, |session| may_be_done(w, session, &target(w, &route, &run[i], delivery)?, &run[i], numbers[i], again));
        if !clear && done().unwrap_or_else(|e| e.kind() == Kind::Lost) {
            if let Some(unresolved) = resolve_delivery(w, &mut run[i], numbers[i])? {
                failed.push((i, unresolved));
            } else if run[i].deliveries[numbers[i]].progress.is_open() {
                failed.push((i, w.pool(d)?.told(e.clone()).at("publish")));
            }
            continue;
        }
        // The first time it is sent again at once; who removes each temporary file is waited for.
        if !again || delivery.unknown || delivery.attempts > 0 {
            failed.push((i, w.pool(d)?.told(e.clone()).at("publish")));
        }
        if again && delivery.unknown {
            continue;
        }
        if again {
            tracing::warn!(
                job = run[i].id,
                "the temporary file was removed by somebody at the destination, or its folder is another one now: it is sent again"
            );
        }
        w.record_one(&mut run[i], Event::NotPublished { delivery: numbers[i], again, unknown: false })?;
    }
    never_tried(w, run, &numbers, renamed.len()..names.len())?;
    failed.extend(stopped);
    Ok(failed)
}

/// Whether a rename that was answered with an error may have been carried out: the temporary file is gone, or stands under
/// both names; where the answer is that it was not there, only what stands under the final name tells.
fn may_be_done(w: &World, session: &mut dyn Session, t: &Target<'_>, job: &Job, delivery: usize, was_gone: bool) -> Result<bool> {
    let gone = session.stat(&t.temp)?.is_none();
    if gone && !was_gone {
        return Ok(true);
    }
    if !gone && t.d.if_exists == IfExists::Replace {
        return Ok(false);
    }
    stands(w, session, t, job, delivery)
}

/// A temporary file that was sent a second time is gone or changed again.
fn meddled(w: &World, route: &Route, job: &Job, delivery: &Delivery) -> Result<Error> {
    let t = target(w, route, job, delivery)?;
    let message = format!("the temporary file {} was removed or changed again after it was verified", shown(&t.temp));
    Ok(Error::endpoint(message)
        .at("publish")
        .hint("somebody at the destination clears such names: exclude them there, or set temp_path to a folder that nobody looks at"))
}

/// The jobs of a run with their deliveries; those that were renamed, and how B's own command failed.
fn published<'r>(
    run: &'r mut [Job],
    numbers: &'r [usize],
    renamed: &'r [Result<()>],
    said: Vec<Option<Error>>,
) -> impl Iterator<Item = Option<(&'r mut Job, usize, Option<Error>)>> {
    run.iter_mut().zip(numbers).zip(renamed).zip(said).map(|(((job, delivery), renamed), after)| renamed.is_ok().then_some((job, *delivery, after)))
}

/// What was found before a run is published.
#[derive(Default)]
struct Looked {
    /// The names that are free now: only for those an intent is written, so that waiting for B costs no journal.
    names: Vec<Name>,
    /// The job behind them whose name is not free, and why.
    stopped: Option<(usize, Error)>,
    /// The job behind them whose temporary file must be sent again.
    spoilt: Option<usize>,
}

/// Finds the names of a run that are free, in its order up to the first that is not.
fn look(w: &World, route: &Route, session: &mut dyn Session, (run, numbers): (&[Job], &[usize]), looked: &mut Looked) -> Result<()> {
    let mut targets = Vec::with_capacity(run.len());
    for (job, delivery) in run.iter().zip(numbers) {
        targets.push(target(w, route, job, &job.deliveries[*delivery])?);
    }
    let asks = targets.first().is_some_and(|t| t.d.if_exists != IfExists::Replace);
    let finals: Vec<PathBuf> = targets.iter().map(|t| t.final_path.clone()).collect();
    let there = if asks { session.stat_all(&finals)? } else { vec![None; finals.len()] };
    let mut markers = Vec::new();
    for (i, job) in run.iter().enumerate() {
        let (t, delivery) = (&targets[i], &job.deliveries[numbers[i]]);
        // All parts of a file that was split, or none.
        let others = job.deliveries.iter().skip(numbers[i] + 1).filter(|d| d.destination == delivery.destination && delivery.part == 0);
        for other in others {
            let t = target(w, route, job, other)?;
            if let Err(e) = free_name(session, &t, &other.name)? {
                looked.stopped = Some((i, e));
                return Ok(());
            }
        }
        let free = if there[i].is_none() { Ok(delivery.name.clone()) } else { other_name(session, t, &delivery.name)? };
        let named = free.and_then(|name| Ok((marker(session, t, job, delivery, &name)?, name)));
        let (marker, name) = match named {
            Err(e) if e.blame() == Blame::File || e.kind() == Kind::Exists => {
                looked.stopped = Some((i, e));
                break;
            }
            named => named?,
        };
        // One of another's name is looked at when that one is there.
        if looked.names.contains(&name) || markers.contains(&name) || marker.as_ref().is_some_and(|m| looked.names.contains(m)) {
            break;
        }
        markers.extend(marker);
        looked.names.push(name);
    }
    Ok(())
}

/// Of those whose names are free, leaves those before the first whose temporary file somebody has changed. Only they are
/// looked at: what waits for B costs no more by it.
fn look_again(w: &World, route: &Route, session: &mut dyn Session, (run, numbers): (&[Job], &[usize]), looked: &mut Looked) -> Result<()> {
    let mut targets = Vec::with_capacity(looked.names.len());
    for (job, delivery) in run.iter().zip(numbers).take(looked.names.len()) {
        targets.push(target(w, route, job, &job.deliveries[*delivery])?);
    }
    // A server that does not sync may have lost what was verified.
    let loses = !session.syncs();
    if !loses && !targets.first().is_some_and(looks) {
        return Ok(());
    }
    // An error is that of the first that could not be looked at.
    let names = std::mem::take(&mut looked.names);
    let temps: Vec<PathBuf> = targets.iter().map(|t| t.temp.clone()).collect();
    for (i, (name, found)) in names.into_iter().zip(session.stat_all(&temps)?).enumerate() {
        let spoilt = match found {
            Some(found) => changed(w, session, &targets[i], (&run[i], &made_for(&run[i], numbers[i])?), found)?,
            // After an attempt whose answer is unknown it may have been renamed late.
            None => loses && !run[i].deliveries[numbers[i]].unknown,
        };
        if spoilt {
            (looked.spoilt, looked.stopped) = (Some(i), None);
            break;
        }
        looked.names.push(name);
    }
    Ok(())
}

/// Whether somebody has changed the temporary file since it was verified.
fn changed(w: &World, session: &mut dyn Session, t: &Target<'_>, (job, made): (&Job, &Made), found: Stat) -> Result<bool> {
    if found.size.is_some_and(|size| size != made.size) {
        return Ok(true);
    }
    Ok(t.d.verify == Verify::Hash && hash_at(session, &t.temp)? != hash_of(w, job, made)?)
}

/// Records that these jobs were never tried: an intent that stays would be taken for an attempt whose outcome is unknown.
fn never_tried(w: &World, run: &mut [Job], numbers: &[usize], which: Range<usize>) -> Result<()> {
    let facts = run.iter_mut().zip(numbers).take(which.end).skip(which.start);
    w.record(facts.map(|(job, delivery)| (job, Event::NotPublished { delivery: *delivery, again: false, unknown: false })).collect())
}

/// The name to publish under, or why there is none now.
pub(super) fn free_name(session: &mut dyn Session, t: &Target<'_>, name: &Name) -> Result<std::result::Result<Name, Error>> {
    let taken = match t.d.if_exists {
        IfExists::Replace => false,
        // Another name must be found at once, also beside a folder.
        IfExists::Rename => session.stat(&t.final_path)?.is_some(),
        IfExists::Wait | IfExists::Fail => session.is_taken(&t.final_path)?,
    };
    if !taken {
        return Ok(Ok(name.clone()));
    }
    other_name(session, t, name)
}

/// The name to publish under when its own is taken, or why there is none now.
fn other_name(session: &mut dyn Session, t: &Target<'_>, name: &Name) -> Result<std::result::Result<Name, Error>> {
    let shown_final = shown(&t.final_path);
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

/// Finds out what became of a rename whose answer is unknown.
pub fn resolve_delivery(w: &World, job: &mut Job, delivery: usize) -> Result<Option<Error>> {
    let route = w.route_of(job)?.clone();
    let t = target(w, &route, job, &job.deliveries[delivery])?;
    if let Some(batch) = job.deliveries[delivery].by_record {
        return send_records(w, &route, job, delivery, batch);
    }
    if t.pool.direct() && t.pool.repeatable() {
        return match w.with_session(t.d, |session| stands(w, session, &t, job, delivery)) {
            Ok(true) => {
                let after = announced(w, &t, job, delivery)?;
                w.record_one(job, Event::Published { delivery, synced: true, after }).map(|()| None)
            }
            // A server that shows nothing (write-only) gets the request again, which changes nothing twice.
            Ok(false) => send_direct(w, &route, job, delivery),
            Err(e) if e.kind() == Kind::Lost || e.blame() == Blame::Stopped || matches!(e.step(), Some("name" | "port" | "handshake")) => {
                Ok(Some(e.at("publish")))
            }
            Err(_) => send_direct(w, &route, job, delivery),
        };
    }
    if t.pool.direct() {
        let error = unconfirmed("the relay ended while the file was sent", &t, job);
        return w.record_one(job, Event::Unconfirmed { delivery, error }).map(|()| None);
    }
    let made = made_for(job, delivery)?;
    let policy = t.d.if_exists;
    let (mut synced, mut after, mut unknown) = (true, None, None);
    let verdict = w.with_session(t.d, |session| {
        synced = session.syncs();
        let temporary = session.stat(&t.temp)?.is_some();
        let final_name = match session.stat(&t.final_path)? {
            None => Final::Absent,
            Some(s) if s.size.is_some_and(|n| n != made.size) => Final::Other,
            Some(_) if hash_at(session, &t.final_path)? == hash_of(w, job, &made)? => Final::Ours,
            Some(_) => Final::Other,
        };
        if !temporary && final_name == Final::Absent && !t.folder.as_os_str().is_empty() && !session.stat(&t.folder)?.is_some_and(|s| s.folder) {
            // A folder that is gone (a disk not mounted yet) says nothing of what was in it.
            return Err(crate::endpoints::missing_folder(&t.folder));
        }
        if !temporary && final_name == Final::Absent {
            let lost = match since_tried(&t, &job.deliveries[delivery])? {
                Since::Same => None,
                Since::Remade => Some(format!("the folder {} was made anew while it was published", shown(&t.folder))),
                Since::Moved(before) => Some(format!("it was being published in {before}, which is not the destination any more")),
            };
            if lost.is_some() {
                unknown = lost;
                return Ok(Verdict::Unknown);
            }
        }
        let doubtful = !session.syncs() && w.restarted_since(t.d, job.deliveries[delivery].tried_at);
        let memory = if doubtful { Memory::Doubtful } else { Memory::Kept };
        let verdict = match resolve(Evidence { temporary, final_name, memory }, policy) {
            _ if points::planted("unknown-is-failed") => Verdict::Again,
            _ if points::planted("unknown-is-done") => Verdict::Published,
            verdict => verdict,
        };
        match verdict {
            Verdict::PublishedTwice => session.remove(&t.temp)?,
            Verdict::Published | Verdict::Again | Verdict::Taken | Verdict::Unknown => {}
        }
        if matches!(verdict, Verdict::Published | Verdict::PublishedTwice) {
            session.sync_folder(&t.folder)?;
            after = announce(w, session, &t, job, &job.deliveries[delivery])?;
        }
        Ok(verdict)
    });
    match verdict {
        Err(e) => Ok(Some(e.at("publish"))),
        Ok(Verdict::Published | Verdict::PublishedTwice) => w.record_one(job, Event::Published { delivery, synced, after }).map(|()| None),
        Ok(Verdict::Unknown) => {
            let error = unconfirmed(unknown.as_deref().unwrap_or("the server was away, and nothing of the file is there"), &t, job);
            w.record_one(job, Event::Unconfirmed { delivery, error }).map(|()| None)
        }
        Ok(Verdict::Again | Verdict::Taken) => w.record_one(job, Event::NotPublished { delivery, again: false, unknown: true }).map(|()| None),
    }
}
