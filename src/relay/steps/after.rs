//! What happens at B beside the file itself: markers and commands once it is there, and cleaning up when it will not be.

use jiff::Zoned;

use super::super::{World, intake};
use super::deliver::{Target, target};
use super::local;
use super::prepare::{export_of, plan};
use crate::config::Route;
use crate::endpoints::{Rename, Session};
use crate::error::{Blame, Result};
use crate::job::{Delivery, Job, Name, Progress};
use crate::naming::{self, Facts};

/// What B's markers and commands are told of a file that is there.
fn facts<'f>(t: &'f Target<'_>, job: &Job, delivery: &'f Delivery, time: &'f Zoned) -> Facts<'f> {
    let path = t.final_path.as_os_str().as_encoded_bytes();
    Facts { name: &delivery.name.0, path, job: job.id, id: &delivery.id, part: delivery.part + 1, time }
}

/// B's marker and B's own import function, once its file is there. They may run again after a crash, never before.
pub(super) fn announce(w: &World, session: &mut dyn Session, t: &Target<'_>, job: &Job, delivery: &Delivery) -> Result<()> {
    let time = local(job.received_at);
    let facts = facts(t, job, delivery, &time);
    if let Some(template) = &t.d.done_file {
        let name = Name(template.render(&facts));
        naming::check_name(&name.0, "done_file").map_err(|e| e.blamed_on(Blame::Endpoint))?;
        let (temp, path) = (t.folder.join(format!(".{}.{}.part", delivery.id, "done")), t.folder.join(name.path()));
        session.write(&temp, &mut std::io::empty(), 0, t.d.mode)?;
        session.rename(&temp, &path, Rename::Replace)?;
        session.sync_folder(&t.folder)?;
    }
    run_after(w, t, job, delivery);
    run_after_remote(w, session, t, job, delivery);
    Ok(())
}

/// Removes what a failed job has left under temporary names at B, where it can be reached.
pub(super) fn remove_temporaries(w: &World, route: &Route, job: &Job) {
    // What was sent just before a crash may not be recorded; its name is known all the same.
    let unrecorded = if job.deliveries.is_empty() && job.received_at < w.began {
        w.original(job).and_then(|file| plan(w, route, job, 1, export_of(route, &file))).unwrap_or_default()
    } else {
        Vec::new()
    };
    for delivery in job.deliveries.iter().filter(|d| d.progress == Progress::Uploaded).chain(&unrecorded) {
        if let Ok(t) = target(w, route, delivery)
            && !t.pool.direct()
        {
            // It is hidden and ours alone; a server that is away keeps it, and a retry empties it.
            let _ = w.with_session(t.d, |session| session.remove(&t.temp));
        }
    }
}

/// Runs B's own import function on this host.
pub(super) fn run_after(w: &World, t: &Target<'_>, job: &Job, delivery: &Delivery) {
    let time = local(job.received_at);
    let facts = facts(t, job, delivery, &time);
    if let Some(after) = &t.d.after {
        let args: Vec<Name> = after.iter().map(|arg| Name(arg.render(&facts))).collect();
        intake::run_hook("after", &args, &w.stop);
    }
}

/// Runs B's own import function at the server; its failure is told, and decides nothing.
fn run_after_remote(w: &World, session: &mut dyn Session, t: &Target<'_>, job: &Job, delivery: &Delivery) {
    let Some(after) = &t.d.after_remote else { return };
    let time = local(job.received_at);
    let place = session.place(&t.final_path);
    let facts = Facts { path: place.as_os_str().as_encoded_bytes(), ..facts(t, job, delivery, &time) };
    let args: Vec<Vec<u8>> = after.iter().map(|arg| arg.render(&facts)).collect();
    if let Err(e) = session.execute(&args, intake::HOOK_TIME_MAX, &w.stop) {
        tracing::warn!(job = job.id, route = job.route, file = %job.file, "after_remote: {e}{}", e.remedy());
    }
}
