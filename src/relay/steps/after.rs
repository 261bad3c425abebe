//! What happens at B beside the file itself: markers and commands once it is there, and cleaning up when it will not be.

use jiff::Zoned;

use super::super::{World, hook};
use super::deliver::{Target, target};
use super::local;
use super::prepare::{export_of, plan};
use crate::config::Route;
use crate::endpoints::{Rename, Session};
use crate::error::{Blame, Error, Kind, Result, shown};
use crate::job::{Delivery, Job, Name, Progress};
use crate::naming::{self, Facts};

/// What B's markers and commands are told of a file that is there.
fn facts<'f>(t: &'f Target<'_>, job: &Job, delivery: &'f Delivery, time: &'f Zoned) -> Facts<'f> {
    let path = t.final_path.as_os_str().as_encoded_bytes();
    Facts { name: &delivery.name.0, path, job: job.id, id: &delivery.id, part: delivery.part + 1, time }
}

/// The name of B's marker for a file that will be published under `name`, if there is one and no file of B's stands there. It
/// is asked before the file is published, since afterwards nothing could be done about it.
pub(super) fn marker(session: &mut dyn Session, t: &Target<'_>, job: &Job, delivery: &Delivery, name: &Name) -> Result<Option<Name>> {
    let Some(template) = &t.d.done_file else { return Ok(None) };
    let time = local(job.received_at);
    let marker = Name(template.render(&Facts { name: &name.0, ..facts(t, job, delivery, &time) }));
    naming::check_name(&marker.0, "done_file")?;
    if marker == *name {
        return Err(Error::file(format!("the marker of {name} has the name of the file itself, which it would empty")).hint("change done_file, then retry"));
    }
    let path = t.folder.join(marker.path());
    // A marker has no content: one that is there already is written again.
    let full = session.stat(&path)?.is_some_and(|there| there.folder || there.size.is_some_and(|size| size > 0));
    if full {
        return Err(Error::endpoint(format!("{} is there and is no marker: done_file would empty it", shown(&path)))
            .kind_of(Kind::Exists)
            .hint("change done_file to a name that no file of B's has, or let B take that file"));
    }
    Ok(Some(marker))
}

/// B's marker and B's own import function, once its file is there. They may run again after a crash, never before; what the
/// relay's stop has cut short runs again at the next start. Gives how a command failed.
pub(super) fn announce(w: &World, session: &mut dyn Session, t: &Target<'_>, job: &Job, delivery: &Delivery) -> Result<Option<Error>> {
    let time = local(job.received_at);
    let facts = facts(t, job, delivery, &time);
    if let Some(template) = &t.d.done_file {
        let name = Name(template.render(&facts));
        let (temp, path) = (t.folder.join(format!(".{}.{}.part", delivery.id, "done")), t.folder.join(name.path()));
        // The configuration may have been changed since it was looked at.
        match naming::check_name(&name.0, "done_file") {
            Err(e) => tracing::warn!(job = job.id, route = job.route, file = %job.file, "done_file: {e}{}", e.remedy()),
            // Where files go straight to their final names, so does it.
            Ok(()) if t.pool.direct() => session.write(&path, &mut std::io::empty(), 0, t.d.mode).map(|_| ())?,
            Ok(()) => {
                session.write(&temp, &mut std::io::empty(), 0, t.d.mode)?;
                session.rename(&temp, &path, Rename::Replace)?;
                session.sync_folder(&t.folder)?;
            }
        }
    }
    let here = run_after(w, t, job, delivery)?;
    let there = run_after_remote(w, session, t, job, delivery)?;
    Ok(here.or(there))
}

/// A command that failed is told, and decides nothing; one that the relay's stop cut short is not done.
fn decided(what: &str, job: &Job, ran: Result<()>) -> Result<Option<Error>> {
    match ran {
        Err(e) if e.blame() != Blame::Stopped => {
            tracing::warn!(job = job.id, route = job.route, file = %job.file, "{what}: {e}{}", e.remedy());
            Ok(Some(e.at(what)))
        }
        ran => ran.map(|()| None),
    }
}

/// Removes what a failed job has left under temporary names at B, where it can be reached.
pub(super) fn remove_temporaries(w: &World, route: &Route, job: &Job) {
    // What was sent just before a crash may not be recorded; its name is known all the same.
    let unrecorded = if job.deliveries.is_empty() && job.received_at < w.began {
        w.original(job).and_then(|file| plan(w, route, job, 1, export_of(route, &file))).unwrap_or_default()
    } else {
        Vec::new()
    };
    let left = |d: &&Delivery| matches!(d.progress, Progress::Waiting | Progress::Uploaded | Progress::GivenUp);
    for delivery in job.deliveries.iter().filter(left).chain(&unrecorded) {
        if let Ok(t) = target(w, route, job, delivery)
            && !t.pool.direct()
            // Nobody is called for a file that never came to be whole there.
            && (delivery.progress != Progress::Waiting || t.d.endpoint.is_none())
        {
            // It is hidden and ours alone; a server that is away keeps it, and a retry empties it.
            let _ = w.with_session(t.d, |session| session.remove(&t.temp));
        }
    }
}

/// Runs B's own import function on this host.
pub(super) fn run_after(w: &World, t: &Target<'_>, job: &Job, delivery: &Delivery) -> Result<Option<Error>> {
    let Some(after) = &t.d.after else { return Ok(None) };
    let time = local(job.received_at);
    let facts = facts(t, job, delivery, &time);
    let args: Vec<Name> = after.iter().map(|arg| Name(arg.render(&facts))).collect();
    decided("after", job, hook::run(&args, &w.stop))
}

/// Runs B's own import function at the server.
fn run_after_remote(w: &World, session: &mut dyn Session, t: &Target<'_>, job: &Job, delivery: &Delivery) -> Result<Option<Error>> {
    let Some(after) = &t.d.after_remote else { return Ok(None) };
    w.stop.check()?;
    let time = local(job.received_at);
    let place = session.place(&t.final_path);
    let facts = Facts { path: place.as_os_str().as_encoded_bytes(), ..facts(t, job, delivery, &time) };
    let args: Vec<Vec<u8>> = after.iter().map(|arg| arg.render(&facts)).collect();
    let ran = session.execute(&args, hook::TIME_MAX, &w.stop);
    decided("after_remote", job, if ran.is_err() { w.stop.check().and(ran) } else { ran })
}
