//! Making happen what comes next for a job: seal, transform, upload, publish, resolve, finish, fail.
//!
//! Each step does one thing, gives the fact that it became, and may be done again from its beginning after a crash. No
//! step decides what comes next, and none writes to the journal by itself: facts go through `World::record`.

mod after;
mod deliver;
mod direct;
mod duplicate;
mod finish;
mod large;
mod late;
mod make;
mod place;
mod prepare;
mod records;
mod seal;
mod sent;
mod sync;
mod upload;

pub use deliver::{publish, resolve_delivery};
pub use finish::{companions, fail, finish, is_companion, lies_beside, note_is_of, note_path, own_companion, uncompressed_name};
pub use late::{CONFIRM_SPANS, late_check, taken_pause};
pub use place::destination;
pub use prepare::{LookupCache, is_corrected, member_name, prepare};
pub use sync::{CONFLICT_COLUMNS, owed_of, prepare_newest};
pub use upload::upload;

pub(super) use records::FOLDER as SENT_FOLDER;

use std::path::Path;

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use super::World;
use crate::error::{Error, Kind, Result, shown};
use crate::job::Job;

pub(super) fn vanished(path: &Path) -> Error {
    let folder = path.parent().unwrap_or(Path::new("/"));
    if std::fs::read_dir(folder).is_err() {
        // A share that is not mounted condemns no file.
        return Error::endpoint(format!("the folder {} can't be read", shown(folder))).hint("mount its share again; the file waits there");
    }
    Error::file(format!("the claimed file {} is gone: somebody removed it", shown(path)))
        .kind_of(Kind::NotFound)
        .hint("nobody but the relay may touch .passerelle; where source.path was changed, change it back; else export the file again")
}

/// A job with the deliveries that it would have if it were made now.
pub(super) fn planned(w: &World, job: &Job) -> Result<Job> {
    let route = w.route_of(job)?;
    let original = match job.path.as_ref().filter(|path| !path.is_empty()) {
        Some(path) => path.path().to_owned(),
        None => w.original(job)?,
    };
    let parts = job.deliveries.iter().map(|d| d.part + 1).max().unwrap_or(1);
    let deliveries = prepare::plan(w, route, job, parts, prepare::export_of(route, &original))?;
    Ok(Job { deliveries, ..job.clone() })
}

pub(super) fn local(time: Timestamp) -> Zoned {
    time.to_zoned(TimeZone::system())
}

/// A time as users see it: RFC 3339 with the local offset, to the millisecond.
pub fn rfc3339(time: Timestamp) -> String {
    local(time).strftime("%Y-%m-%dT%H:%M:%S%.3f%:z").to_string()
}
