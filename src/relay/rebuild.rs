//! A journal that was lost, made anew from what lies in the folders: failed files by their notes, archived files by their
//! names, files left in place, here or at their servers, by `intents`. Claimed files are adopted by `recover`.
//!
//! It moves and changes no file.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use jiff::Timestamp;

use super::World;
use super::intents::Line;
use super::steps;
use crate::config::Route;
use crate::durable;
use crate::error::{Error, Result};
use crate::job::{Event, Job, Name, Seal, numbered, parse_numbered};
use crate::journal::NewJob;
use crate::watch::{CLAIMED, digest_of};

/// A job that was at rest, and the facts that say so.
struct Found {
    new: NewJob,
    at: Timestamp,
    events: Vec<Event>,
}

/// Fills an empty journal. Nothing to find is the first start.
pub(super) fn rebuild(w: &World) -> Result<()> {
    let mut found = Vec::new();
    for route in &w.config.routes {
        failed(w, route, &w.config.errors.join(&route.name), &mut found);
        archived(route, &w.config.archive.join(&route.name), Path::new(""), 3, &mut found);
    }
    kept(w, &mut found)?;
    // A number belongs to one job: what failed and was archived later, by an operator's retry, was delivered.
    found.sort_by_key(|f| (f.new.id, !matches!(f.events.last(), Some(Event::Archived { .. }))));
    found.dedup_by_key(|f| f.new.id);
    let count = found.len();
    let reader = w.journal.reader()?;
    for f in found {
        // A crash may have come between: what is there already goes on.
        let mut job = match f.new.id.map(|id| reader.job(id)).transpose()?.flatten() {
            Some(row) if row.job.seq > 0 => continue,
            Some(row) => row.job,
            None => w.create_at(vec![f.new], f.at)?.remove(0),
        };
        w.record_all(&mut job, f.events)?;
    }
    if count > 0 {
        tracing::warn!("the journal was lost: {count} jobs are known again from archive and errors; what they did in between is not");
    }
    Ok(())
}

/// Files in errors, by their notes.
fn failed(w: &World, route: &Route, folder: &Path, found: &mut Vec<Found>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            failed(w, route, &path, found);
            continue;
        }
        // The longest names are shortened for their notes: that of a note may be its own.
        if steps::note_path(&path) == path {
            continue;
        }
        let note = std::fs::read(steps::note_path(&path)).ok().and_then(|b| serde_json::from_slice::<serde_json::Value>(&b).ok());
        let Some((note, id)) = note.and_then(|n| n["job"].as_u64().map(|id| (n, id))) else { continue };
        let Ok(meta) = entry.metadata() else { continue };
        let word = |key: &str| note[key].as_str().unwrap_or_default().to_owned();
        let mut error = Error::file(word("error"));
        if !word("hint").is_empty() {
            error = error.hint(word("hint"));
        }
        if !word("step").is_empty() {
            error = error.at(&word("step"));
        }
        let at = word("received_at").parse().unwrap_or(Timestamp::UNIX_EPOCH);
        let below = folder.strip_prefix(w.config.errors.join(&route.name)).unwrap_or(Path::new(""));
        let own = entry.file_name();
        let name = parse_numbered(own.as_bytes()).filter(|(n, _)| *n == id).map_or(own.as_bytes(), |(_, name)| name);
        let file = below.join(Name(name.to_vec()).path());
        let events = vec![Event::Failing { error }, Event::Failed { path: Name::of(&path) }];
        found.push(Found { new: job(route, id, &file, &meta), at, events });
    }
}

/// Files in the archive, below its folders of year, month and day.
fn archived(route: &Route, folder: &Path, below: &Path, dates: u32, found: &mut Vec<Found>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let own = entry.file_name();
        let Ok(meta) = entry.metadata() else { continue };
        if meta.is_dir() {
            let below = if dates > 0 { below.to_owned() } else { below.join(&own) };
            archived(route, &entry.path(), &below, dates.saturating_sub(1), found);
            continue;
        }
        // A companion carries the same number, and is longer than its file's name.
        let Some((id, name)) = parse_numbered(own.as_bytes()) else { continue };
        if steps::is_companion(route, name) {
            continue;
        }
        let (packed, name) = (name, steps::uncompressed_name(name));
        let packed = packed.len() > name.len();
        let file = below.join(Name(name.to_vec()).path());
        // When it got its name there.
        let at = Timestamp::new(meta.ctime(), 0).unwrap_or(Timestamp::UNIX_EPOCH);
        let seal = if route.source.skip_duplicates { sealed(&entry.path(), packed, &meta) } else { None };
        let events = seal.map(Event::Sealed).into_iter().chain([Event::Archived { path: Name::of(&entry.path()) }]).collect();
        found.push(Found { new: job(route, id, &file, &meta), at, events });
    }
}

/// What an archived file is known again by when A leaves it once more; none: it can't be read, and is not known.
fn sealed(path: &Path, packed: bool, meta: &std::fs::Metadata) -> Option<Seal> {
    let mut from: Box<dyn std::io::Read> = if packed { Box::new(durable::decoder(path).ok()?) } else { Box::new(durable::open_file(path).ok()?) };
    let hash = digest_of::<sha2::Sha256>(&mut from).ok()?;
    let modified = meta.modified().ok().and_then(|at| Timestamp::try_from(at).ok()).unwrap_or_default();
    Some(Seal { size: meta.len(), hash, modified, partial: false, folder: None })
}

/// Files that are left in place and were tried: they are not taken again.
fn kept(w: &World, found: &mut Vec<Found>) -> Result<()> {
    let lines = w.intents.read()?;
    let tried: std::collections::HashSet<u64> = lines.iter().filter_map(|l| if let Line::Publishing { job, .. } = l { Some(*job) } else { None }).collect();
    for line in lines {
        let Line::Kept { job, route, file, found: as_found, received_at } = line else { continue };
        let Some(route) = w.route(&route).filter(|r| r.source.leaves_no_trace()) else { continue };
        // Never tried: it is taken again from the beginning. Tried, and not done: it goes on under its number.
        let claimed = route.source.path.join(CLAIMED).join(numbered(job, file.last()).path());
        if !tried.contains(&job) || durable::exists(&w.config.work.join(job.to_string()).join("original")) || durable::exists(&claimed) {
            continue;
        }
        // What failed lies in errors.
        if found.iter().any(|f| f.new.id == Some(job)) {
            continue;
        }
        let at = route.source.remote.as_ref().map_or(route.source.path.as_path(), |remote| Path::new(&remote.path));
        let path = Name::of(&at.join(file.path()));
        let new = NewJob { route: route.name.clone(), file, found: as_found, replay_of: None, id: Some(job) };
        found.push(Found { new, at: received_at, events: vec![Event::Archived { path }] });
    }
    Ok(())
}

/// Files left in place whose delivery was tried and not done: their copies in `work` go on.
pub(super) fn kept_in_work(w: &World) -> Result<Vec<Job>> {
    let mut out = Vec::new();
    let reader = w.journal.reader()?;
    for line in w.intents.read()? {
        let Line::Kept { job, route, file, found, received_at } = line else { continue };
        let here = durable::exists(&w.config.work.join(job.to_string()).join("original"));
        if here && w.route(&route).is_some() && reader.job(job)?.is_none() {
            out.extend(w.create_at(vec![NewJob { route, file, found, replay_of: None, id: Some(job) }], received_at)?);
        }
    }
    Ok(out)
}

fn job(route: &Route, id: u64, file: &Path, meta: &std::fs::Metadata) -> NewJob {
    NewJob { route: route.name.clone(), file: Name::of(file), found: durable::found(meta), replay_of: None, id: Some(id) }
}
