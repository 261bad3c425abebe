//! Files that go straight to their final name, by one request (HTTP PUT and POST): sent, refused, or in doubt.

use std::io::Seek;
use std::path::Path;

use super::super::World;
use super::after::{announce, marker, run_after};
use super::deliver::{Target, free_name, made_for, payload, target};
use super::records::send_records;
use super::seal::{hash_of, hashed_beside, written_since};
use super::upload::{Progressing, hash_at};
use crate::config::{IfExists, Route, Verify};
use crate::endpoints::{Content, Direct, Followed, Rename, Session, send_afresh};
use crate::error::{Blame, Error, Kind, Result, shown};
use crate::job::{Event, Job, Progress};

/// Sends a file straight to its final name (HTTP). The fact that it was tried is recorded before.
pub(super) fn send_direct(w: &World, route: &Route, job: &mut Job, delivery: usize) -> Result<Option<Error>> {
    let t = target(w, route, job, &job.deliveries[delivery])?;
    if let Some(batch) = job.deliveries[delivery].by_record {
        return send_records(w, route, job, delivery, batch);
    }
    let mut name = job.deliveries[delivery].name.clone();
    let policy = t.d.if_exists;
    let fresh = job.deliveries[delivery].progress == Progress::Uploaded;
    if fresh {
        // A PUT has a name that may be taken; a POST has none.
        if t.pool.repeatable() {
            let free = w.with_session(t.d, |session| {
                let free = free_name(session, &t, &name)?;
                if let Ok(name) = &free {
                    marker(session, &t, job, &job.deliveries[delivery], name)?;
                }
                Ok(free)
            });
            match free {
                Ok(Ok(free)) => name = free,
                Ok(Err(e)) | Err(e) => return Ok(Some(e.at("publish"))),
            }
        }
        w.record_one(job, Event::Publishing { delivery, policy, name, place: None })?;
    }
    let t = target(w, route, job, &job.deliveries[delivery])?;
    let (mut file, size, made_path) = payload(w, job, delivery)?;
    let how = Direct {
        idempotency_key: job.deliveries[delivery].id.clone(),
        rename: if policy == IfExists::Replace { Rename::Replace } else { Rename::New },
        size,
        content: Content::File,
    };
    let mut bytes = 0;
    let (sent, hashed) = hashed_beside(w, job, || {
        w.with_session(t.d, |session| {
            let mut send = |session: &mut dyn Session| {
                file.rewind().map_err(|e| Error::io(Blame::Endpoint, "read", &made_path, &e))?;
                let mut from = Progressing { inner: Followed::new(&mut file, &w.stop, t.pool.rate()), tell: &|n| (w.progress)(job, n) };
                let sent = session.send(&t.final_path, &mut from, &how);
                bytes = from.inner.bytes;
                sent
            };
            match send_afresh(session, &mut send) {
                // A clear answer: nothing of it is there.
                Err(e) if e.kind() == Kind::NotFound && t.pool.repeatable() && (t.d.create || t.folder != Path::new(&t.d.path)) => {
                    // Those below B's own, as `recursive` needs them, and that one too if it may.
                    let own = |folder: &&Path| t.d.create || folder.starts_with(&t.d.path) && *folder != Path::new(&t.d.path);
                    let folders: Vec<&Path> = t.folder.ancestors().filter(|f| !f.as_os_str().is_empty()).filter(own).collect();
                    if folders.iter().rev().try_for_each(|folder| session.make_folder(folder)).is_err() {
                        return Err(e);
                    }
                    send_afresh(session, &mut send)
                }
                sent => sent,
            }
        })
    });
    let e = match sent {
        Ok(()) => {
            // What was sent can't be taken back: an operator must know that it may be a half.
            if let Some(e) = written_since(w, job)? {
                tracing::warn!(job = job.id, route = route.name, file = %job.file, "B has it, and may have a half: {e}{}", e.remedy());
            }
            // Where it could not be hashed, B has it all the same: it is hashed again before it is archived.
            if let Ok(Some(hash)) = hashed {
                w.record_one(job, Event::Hashed { hash })?;
            }
            if t.d.verify == Verify::Hash && t.pool.repeatable() && w.with_session(t.d, |session| spoilt(w, session, &t, job, delivery))? {
                let message = format!("{} had other bytes at the server than were sent", shown(&t.final_path));
                w.record_one(job, Event::NotPublished { delivery, again: false, unknown: false })?;
                return Ok(Some(Error::endpoint(message).at("verify").hint("the connection or the server cut it: it is sent again by itself")));
            }
            let after = match announced(w, &t, job, delivery) {
                Err(e) if t.pool.repeatable() => return Err(e),
                // What was posted is not posted again for the command's sake.
                ran => ran.unwrap_or_else(Some),
            };
            return w.record_one(job, Event::Published { delivery, synced: true, after }).map(|()| None);
        }
        Err(e) => e.at("publish"),
    };
    match (e.kind(), t.pool.repeatable()) {
        (Kind::Lost, false) => {
            let what = format!("the request was sent, and what became of it is unknown ({})", e.message());
            let error = unconfirmed(&what, &t, job);
            w.record_one(job, Event::Unconfirmed { delivery, error })?;
            Ok(None)
        }
        (Kind::Lost | Kind::Doubtful, true) => Ok(Some(e)),
        // The relay stops while the answer is awaited: what became of it is unknown, and found out at the next start.
        _ if e.blame() == Blame::Stopped && bytes >= size => Ok(Some(e)),
        // An attempt before this one is still unknown: an attempt that never began does not change that.
        _ if !fresh && matches!(e.step(), Some("name" | "port" | "handshake")) => Ok(Some(e)),
        _ => {
            w.record_one(job, Event::NotPublished { delivery, again: false, unknown: false })?;
            Ok(Some(e))
        }
    }
}

/// Whether the server has made something else of what it took a moment ago; that is removed. Where it is gone B has taken it,
/// and where it can't be read the server's word stands.
fn spoilt(w: &World, session: &mut dyn Session, t: &Target<'_>, job: &Job, delivery: usize) -> Result<bool> {
    let same = match session.stat(&t.final_path) {
        Ok(Some(_)) => stands(w, session, t, job, delivery),
        Ok(None) => Ok(true),
        Err(e) => Err(e),
    };
    match same {
        Ok(true) => Ok(false),
        Ok(false) => session.remove(&t.final_path).map(|()| true),
        Err(e) if e.kind() == Kind::Lost || e.blame() == Blame::Stopped => Err(e),
        Err(e) => {
            tracing::warn!(job = job.id, "{} can't be read back, and is taken as it was answered: {e}", shown(&t.final_path));
            Ok(false)
        }
    }
}

/// Whether what was sent stands under the final name.
pub(super) fn stands(w: &World, session: &mut dyn Session, t: &Target<'_>, job: &Job, delivery: usize) -> Result<bool> {
    let made = made_for(job, delivery)?;
    let same_size = session.stat(&t.final_path)?.is_some_and(|s| s.size.is_none_or(|n| n == made.size));
    Ok(same_size && hash_at(session, &t.final_path)? == hash_of(w, job, &made)?)
}

/// B's marker, where files have names, and B's own import function.
pub(super) fn announced(w: &World, t: &Target<'_>, job: &Job, delivery: usize) -> Result<Option<Error>> {
    if t.pool.repeatable() && t.d.done_file.is_some() {
        w.with_session(t.d, |session| announce(w, session, t, job, &job.deliveries[delivery]))
    } else {
        run_after(w, t, job, &job.deliveries[delivery])
    }
}

/// A request whose outcome can't be known, with what the operator may do.
pub(super) fn unconfirmed(what: &str, t: &Target<'_>, job: &Job) -> Error {
    Error::endpoint(format!("{what}, and {} cannot tell whether it has it", t.d.endpoint_name()))
        .kind_of(Kind::Unconfirmed)
        .at("publish")
        .hint(format!("look at B: `passerelle confirm-delivered {0}` if it has the file, `passerelle retry {0}` if it has not", job.id))
}
