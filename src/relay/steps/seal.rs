//! The seal of an original: its size, time and hash, once nobody writes into it and it is synced.

use std::fs::{File, Metadata};
use std::path::Path;
use std::sync::PoisonError;

use jiff::Timestamp;

use super::super::World;
use super::prepare::read_failed;
use super::vanished;
use crate::durable;
use crate::endpoints::{Followed, source_error};
use crate::error::{Blame, Error, Kind, Result, shown};
use crate::job::{Event, Job, Made, Name, Seal};
use crate::stop::Stop;
use crate::sys::{Writers, writers};
use crate::watch::{CLAIMED, digest_of};

/// A claimed file that nobody writes into, synced.
pub(super) struct Opened<'o> {
    file: File,
    path: &'o Path,
    before: Metadata,
}

fn look(file: &File, path: &Path) -> Result<Metadata> {
    file.metadata().map_err(|e| Error::io(Blame::Endpoint, "look at", path, &e))
}

/// Opens a claimed file, syncs it, and sees that it is whole.
pub(super) fn open<'o>(path: &'o Path, job: &Job, w: &World) -> Result<Opened<'o>> {
    let mut file = durable::open_file(path).map_err(|e| if e.kind() == Kind::NotFound { vanished(path) } else { e })?;
    if writers(&file) == Writers::Some {
        return Err(Error::endpoint("another program still has the file open for writing").hint("it is taken as soon as that program closes it"));
    }
    let unsynced = |e: &Error| e.kind() == Kind::Unsynced;
    if job.error.as_ref().is_some_and(unsynced) || durable::sync_bytes(&file, path).is_err_and(|e| unsynced(&e)) {
        tracing::warn!(job = job.id, "{} could not be synced: it is written anew", shown(path));
        durable::rewrite(path, &w.stop).map_err(|e| e.kind_of(Kind::Unsynced))?;
        file = durable::open_file(path)?;
    }
    let before = look(&file, path)?;
    if before.len() < job.found.size && !job.retried && job.replay_of.is_none() {
        let message = format!("the file had {} bytes when it was claimed, and has {} now", job.found.size, before.len());
        return Err(Error::file(message).hint("its last bytes were lost with the power, or somebody cut it: export it again; retry delivers it as it is now"));
    }
    Ok(Opened { file, path, before })
}

impl Opened<'_> {
    /// The seal, without the hash.
    pub(super) fn unhashed(&self, job: &Job) -> Seal {
        let modified = Timestamp::from_nanosecond(durable::found(&self.before).modified_ns).unwrap_or(job.received_at);
        let claims = self.path.parent().filter(|folder| folder.ends_with(CLAIMED));
        let folder = claims.map(|folder| Name(folder.as_os_str().as_encoded_bytes().to_vec()));
        Seal { size: self.before.len(), hash: String::new(), modified, partial: false, folder }
    }

    /// The hash of the file, which nobody has changed meanwhile.
    pub(super) fn hash(mut self, stop: &Stop) -> Result<String> {
        let hash = digest(&mut self.file, stop).map_err(|e| read_failed(&e, self.path))?;
        if durable::found(&self.before) != durable::found(&look(&self.file, self.path)?) {
            return Err(Error::endpoint("the file changed while it was read").hint("it is read again by itself"));
        }
        Ok(hash)
    }
}

fn digest(file: &mut File, stop: &Stop) -> std::io::Result<String> {
    digest_of::<sha2::Sha256>(&mut Followed::new(file, stop, None))
}

/// What is wrong where somebody has written into a claimed file since it was sealed: what was made of it is a half.
pub(super) fn written_since(w: &World, job: &Job) -> Result<Option<Error>> {
    let (Some(seal), original) = (&job.seal, w.original(job)?) else { return Ok(None) };
    let Ok(now) = original.metadata() else { return Ok(None) };
    let found = durable::found(&now);
    if found.size == seal.size {
        // Nothing is known of its bytes yet.
        if seal.hash.is_empty() {
            return Ok(None);
        }
        let known = || w.other_times.lock().unwrap_or_else(PoisonError::into_inner);
        if found.modified_ns == seal.modified.as_nanosecond() || known().get(&job.id) == Some(&found.modified_ns) {
            return Ok(None);
        }
        // A share may tell another time than it did, and the bytes are the same.
        match durable::open_file(&original).and_then(|mut file| digest(&mut file, &w.stop).map_err(|e| source_error(&e))) {
            Ok(hash) if hash == seal.hash => {
                known().insert(job.id, found.modified_ns);
                return Ok(None);
            }
            Ok(_) => {}
            Err(e) => return Ok(Some(e)),
        }
    }
    let message = format!("somebody has written into the claimed file since it was sealed ({} bytes then, {} now)", seal.size, found.size);
    Ok(Some(Error::file(message).hint("look at it in errors: if it is whole now, retry delivers it as it is")))
}

/// Does what needs an original's hash only at its end, and hashes it meanwhile where its seal has none yet. Gives what became of
/// the one, and the hash if it was made.
pub(super) fn hashed_beside<T>(w: &World, job: &Job, act: impl FnOnce() -> Result<T>) -> (Result<T>, Result<Option<String>>) {
    if job.seal.as_ref().is_none_or(|seal| !seal.hash.is_empty()) {
        return (act(), Ok(None));
    }
    std::thread::scope(|scope| {
        let stop = w.stop.child();
        let hash = scope.spawn({
            let stop = stop.clone();
            move || hash_now(w, job, &stop)
        });
        let done = act().inspect_err(|_| stop.set());
        let hash = hash.join().unwrap_or_else(|fault| std::panic::resume_unwind(fault));
        let hashed = if done.is_err() { Ok(None) } else { hash.map(Some) };
        (done, hashed)
    })
}

/// Hashes what was sent without, as after a crash behind the upload: its job tells the hash for good.
pub(super) fn hash_late(w: &World, job: &mut Job) -> Result<()> {
    if job.state.at_rest() || job.seal.as_ref().is_none_or(|seal| !seal.hash.is_empty()) || !w.original(job)?.exists() {
        return Ok(());
    }
    match hash_now(w, job, &w.stop) {
        Ok(hash) => w.record_one(job, Event::Hashed { hash }),
        Err(e) if matches!(e.blame(), Blame::Stopped | Blame::Relay) => Err(e),
        Err(e) => {
            tracing::warn!(job = job.id, "its hash is not known: {e}");
            Ok(())
        }
    }
}

/// The hash of what is delivered, as it is known, or of the original that was sealed without.
pub(super) fn hash_of(w: &World, job: &Job, made: &Made) -> Result<String> {
    if made.hash.is_empty() && !made.in_work { hash_now(w, job, &w.stop) } else { Ok(made.hash.clone()) }
}

fn hash_now(w: &World, job: &Job, stop: &Stop) -> Result<String> {
    let path = w.original(job)?;
    let file = durable::open_file(&path).map_err(|e| if e.kind() == Kind::NotFound { vanished(&path) } else { e })?;
    let before = look(&file, &path)?;
    Opened { file, path: &path, before }.hash(stop)
}

/// Seals a claimed file.
pub(super) fn seal(path: &Path, job: &Job, w: &World) -> Result<Seal> {
    let opened = open(path, job, w)?;
    let seal = opened.unhashed(job);
    Ok(Seal { hash: opened.hash(&w.stop)?, ..seal })
}
