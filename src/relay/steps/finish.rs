//! Put originals where they belong: the archive, or `errors` with a note saying why.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use jiff::{Timestamp, Zoned};

use super::super::World;
use super::records::forget;
use super::seal::hash_late;
use super::{rfc3339, vanished};
use crate::config::{ArchiveCompress, OnSuccess, Route};
use crate::durable;
use crate::error::{Blame, Error, Kind, Result, shown};
use crate::job::{Event, Job, Name, State, numbered};
use crate::naming;

/// What the name of a compressed original ends in.
const PACKED: &[u8] = b".zst";

/// The folders that many moves have in common: a file's new place is safe before its old one is let go.
#[derive(Default)]
pub(super) struct Moved {
    reached: BTreeSet<PathBuf>,
    left: BTreeSet<PathBuf>,
}

impl Moved {
    fn reached(&mut self, path: &Path) {
        self.reached.extend(path.parent().map(Path::to_owned));
    }
    fn left(&mut self, path: &Path) {
        self.left.extend(path.parent().map(Path::to_owned));
    }
    fn sync(&self) -> Result<()> {
        self.reached.iter().chain(&self.left).try_for_each(|f| durable::sync_folder(f))
    }
}

/// Puts the originals of published jobs where `on_success` says: the moves, one sync of each folder, one commit.
pub fn finish(w: &World, jobs: &mut [Job]) -> Result<()> {
    let now = Zoned::now();
    let mode = w.config.archive_mode;
    let mut folders = Moved::default();
    let mut places = Vec::new();
    jobs.iter_mut().try_for_each(|job| hash_late(w, job))?;
    for job in jobs.iter() {
        let route = w.route_of(job)?;
        if job.state == State::Superseded {
            super::after::remove_temporaries(w, route, job);
        } else {
            for beside in [naming::REJECTS, naming::CONFLICTS] {
                move_beside(w, route, job, beside, &mut folders)?;
            }
            super::sync::supersede_at_rest(w, route, job)?;
        }
        let kept = route.source.on_success == OnSuccess::Keep || job.replay_of.is_some();
        let claimed = w.claimed(route, job);
        let path = if kept {
            match job.replay_of {
                Some(of) => w.journal.reader()?.job(of)?.and_then(|r| r.job.path).unwrap_or_default(),
                None => Name::of(&route.source.path.join(job.file.path())),
            }
        } else if route.source.on_success == OnSuccess::Delete {
            durable::remove(&claimed)?;
            folders.left(&claimed);
            Name::default()
        } else {
            let folder = archive_folder(w, job, &now);
            durable::make_folder(&folder, durable::folder_mode(mode))?;
            let name = match w.config.archive_compress {
                ArchiveCompress::None => job.claimed_name(),
                ArchiveCompress::Zstd => packed_name(job),
            };
            let to = folder.join(name.path());
            let to = if claimed.exists() { to } else { archived_before(w, job, &now).unwrap_or(to) };
            match archive_one(w, &claimed, &to, w.config.archive_compress, &mut folders) {
                // Somebody has taken A's original away; what B was to have of it, it has.
                Err(e) if e.kind() == Kind::NotFound && e.blame() == Blame::File => {
                    let what = if job.deliveries.is_empty() { "not archived" } else { "delivered, and not archived" };
                    tracing::warn!(job = job.id, route = job.route, file = %job.file, "{what}: {e}");
                    Name::default()
                }
                archived => archived.map(|()| Name::of(&to))?,
            }
        };
        for companion in companions(route, job) {
            let from = claimed.with_file_name(companion.path());
            let to = archive_folder(w, job, &now).join(companion.path());
            match from.exists() {
                false => {}
                // What announced a file goes the file's way.
                true if route.source.on_success == OnSuccess::Delete => {
                    durable::remove(&from)?;
                    folders.left(&from);
                }
                true => archive_one(w, &from, &to, ArchiveCompress::None, &mut folders)?,
            }
        }
        places.push(path);
    }
    folders.sync()?;
    // Before the job is at rest: a crash in between makes them once more, and the second ones send nothing.
    jobs.iter().try_for_each(|job| super::sync::follow_up(w, job))?;
    w.record(jobs.iter_mut().zip(places).map(|(job, path)| (job, Event::Archived { path })).collect())?;
    for job in jobs.iter() {
        durable::remove_folder(&w.work(job))?;
        forget(w, job)?;
        w.other_times.lock().unwrap_or_else(PoisonError::into_inner).remove(&job.id);
        super::sync::fold(w, w.route_of(job)?)?;
    }
    Ok(())
}

fn archive_one(w: &World, from: &Path, to: &Path, how: ArchiveCompress, folders: &mut Moved) -> Result<()> {
    let mode = w.config.archive_mode;
    if from.exists() {
        let (moved, same): (_, &dyn Fn() -> Result<bool>) = match how {
            ArchiveCompress::None => {
                // A file of another owner can't be given other permissions; it can be moved all the same.
                let _ = durable::set_mode(from, mode);
                (durable::shift(from, to, &w.stop), &|| durable::same_bytes(from, to, &w.stop))
            }
            ArchiveCompress::Zstd => (durable::pack_new(from, to, mode, &w.stop), &|| durable::is_packed_from(from, to, &w.stop)),
        };
        match moved {
            // A copy was cut before the original was removed: both are the same.
            Err(e) if e.kind() == Kind::Exists && same()? => {
                let file = durable::open_file(to)?;
                durable::sync_file(&file, to)?;
                durable::remove(from)?;
            }
            Err(e) if e.kind() == Kind::Exists => {
                return Err(Error::relay(format!("{} is there already: the archive is never overwritten", shown(to)))
                    .hint("move that file elsewhere, then start again"));
            }
            other => other?,
        }
    } else if !to.exists() {
        return Err(vanished(from));
    }
    folders.left(from);
    folders.reached(to);
    Ok(())
}

/// The name of a job's original in the archive, where it is stored compressed.
pub(super) fn packed_name(job: &Job) -> Name {
    crate::job::numbered_ending(job.id, job.file.last(), PACKED)
}

/// Where a job's original was archived by an attempt that was cut before it was recorded, perhaps before midnight.
fn archived_before(w: &World, job: &Job, now: &Zoned) -> Option<PathBuf> {
    let days = (0..=31).filter_map(|n| now.checked_sub(jiff::Span::new().days(n)).ok());
    let names = [job.claimed_name(), packed_name(job)];
    days.flat_map(|day| names.iter().map(move |n| archive_folder(w, job, &day).join(n.path()))).find(|p| p.exists())
}

/// The archive's folder of a job and a day, with the relative folder of a recursive source.
fn archive_folder(w: &World, job: &Job, day: &Zoned) -> PathBuf {
    let folder = w.config.archive.join(&job.route).join(day.strftime("%Y/%m/%d").to_string());
    if job.file.folder().is_empty() { folder } else { folder.join(Name(job.file.folder().to_vec()).path()) }
}

/// Whether a name is that of a done or checksum file of some other file.
pub fn is_companion(route: &Route, name: &[u8]) -> bool {
    [&route.source.done_file, &route.source.checksum_file].into_iter().flatten().any(|t| {
        // A companion's name is made of another name: `x.csv.done` of `x.csv`.
        let made = crate::watch::companion_name(t, &Name(b"\x01".to_vec()));
        let text = String::from_utf8_lossy(&made.0).into_owned();
        text.split_once('\u{1}')
            .is_some_and(|(before, after)| name.starts_with(before.as_bytes()) && name.ends_with(after.as_bytes()) && !(before.is_empty() && after.is_empty()))
    })
}

/// The name of an archived file without what compressing has added.
pub fn uncompressed_name(name: &[u8]) -> &[u8] {
    name.strip_suffix(PACKED).unwrap_or(name)
}

/// The done and checksum files that were claimed with a file, by their claimed names.
pub fn companions(route: &Route, job: &Job) -> Vec<Name> {
    let templates = [&route.source.done_file, &route.source.checksum_file];
    templates.into_iter().flatten().map(|t| numbered(job.id, crate::watch::companion_name(t, &job.file).last())).collect()
}

/// Where a companion lies beside a file in `errors` that has its own name there: under its own, so that both can be
/// dragged back.
pub fn own_companion(job: &Job, claimed: &Name, file: &Path) -> Option<PathBuf> {
    let own = claimed.0.strip_prefix(format!("{}_", job.id).as_bytes())?;
    let named = file.file_name().is_some_and(|name| name.as_encoded_bytes() == job.file.last());
    named.then(|| file.with_file_name(Name(own.to_vec()).path()))
}

/// The rejects or conflicts of a file that was otherwise delivered, beside where failed files go.
fn move_beside(w: &World, route: &Route, job: &Job, beside: &[u8], folders: &mut Moved) -> Result<()> {
    let from = w.work(job).join(Name(beside[1..].to_vec()).path());
    if !from.exists() {
        return Ok(());
    }
    let folder = w.errors(&route.name, &job.file);
    durable::make_folder(&folder, durable::folder_mode(w.config.archive_mode))?;
    let _ = durable::set_mode(&from, w.config.archive_mode);
    // Rejects of corrected rejects are those of the same file.
    let corrected = super::prepare::is_corrected(route, &w.original(job)?);
    let file = if corrected { naming::uncorrected(job.file.last()) } else { job.file.last() };
    for base in [Name(file.to_vec()), numbered(job.id, file)] {
        let to = folder.join(Name(naming::about(&base.0, beside)).path());
        match durable::shift(&from, &to, &w.stop) {
            Ok(()) => {
                folders.reached(&to);
                return Ok(());
            }
            Err(e) if e.kind() == Kind::Exists => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Where the rejects or conflicts of a job lie, until somebody takes them away: then those of another file of the same name
/// may lie there.
pub fn lies_beside(w: &World, job: &Job, beside: &[u8]) -> Option<PathBuf> {
    let folder = w.errors(&job.route, &job.file);
    let names = [job.file.last(), naming::uncorrected(job.file.last())];
    let bases = names.map(|name| numbered(job.id, name)).into_iter().chain(names.map(|name| Name(name.to_vec())));
    bases.map(|base| folder.join(Name(naming::about(&base.0, beside)).path())).find(|path| path.exists())
}

/// Puts a file that can't be relayed into `errors`, with a note saying why.
pub fn fail(w: &World, job: &mut Job) -> Result<()> {
    let route = w.route_of(job)?.clone();
    let error = job.error.clone().unwrap_or_else(|| Error::file("it failed"));
    let original = w.original(job)?;
    let folder = w.errors(&route.name, &job.file);
    let mode = w.config.archive_mode;
    durable::make_folder(&folder, durable::folder_mode(mode))?;
    let claimed_folder_gone = original.parent().is_none_or(|f| !f.is_dir()) && job.replay_of.is_none() && route.source.on_success != OnSuccess::Keep;
    if claimed_folder_gone {
        return Err(vanished(&original));
    }
    super::after::remove_temporaries(w, &route, job);
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
        let _ = durable::set_mode(&original, mode);
        match durable::move_new(&original, &to, &w.stop) {
            Ok(()) => {
                place = Some(to);
                break;
            }
            Err(e) if e.kind() == Kind::Exists => durable::remove(&note_path(&to))?,
            Err(e) => return Err(e),
        }
    }
    for companion in companions(&route, job) {
        let from = w.claimed(&route, job).with_file_name(companion.path());
        let own = place.as_deref().and_then(|file| own_companion(job, &companion, file));
        for to in own.into_iter().chain([folder.join(companion.path())]) {
            if from.exists() && !to.exists() && durable::shift(&from, &to, &w.stop).is_ok() {
                break;
            }
        }
    }
    let place = match place {
        Some(place) => Name::of(&place),
        None => {
            // The original is gone, by somebody's hand: the note still says why.
            write_note(job, &error, &folder.join(job.claimed_name().path()), mode)?;
            Name::default()
        }
    };
    w.record_one(job, Event::Failed { path: place })?;
    durable::remove_folder(&w.work(job))
}

/// Where the note of a file in `errors` is.
pub fn note_path(file: &Path) -> PathBuf {
    let name = file.file_name().unwrap_or_default().as_encoded_bytes();
    file.with_file_name(Name(naming::about(name, b".error.json")).path())
}

/// Whether the note of a file in `errors` is this job's.
pub fn note_is_of(file: &Path, job: crate::job::JobId) -> bool {
    let note = std::fs::read(note_path(file)).ok().and_then(|b| serde_json::from_slice::<serde_json::Value>(&b).ok());
    note.is_some_and(|n| n["job"] == serde_json::json!(job))
}

pub(super) fn write_note(job: &Job, error: &Error, file: &Path, mode: u32) -> Result<()> {
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
