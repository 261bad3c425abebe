//! A second look at what servers without a sync were given: a power cut there may have undone a rename that was answered.

use super::super::World;
use super::deliver::target;
use crate::endpoints::Rename;
use crate::error::Result;
use crate::job::{Event, Job};

/// Looks whether the temporary name is back and the final one gone; then the server lost the rename, and it is made again.
pub fn late_check(w: &World, job: &mut Job) -> Result<()> {
    let route = w.route_of(job)?.clone();
    for delivery in (0..job.deliveries.len()).filter(|d| job.deliveries[*d].doubtful).collect::<Vec<_>>() {
        let t = target(w, &route, &job.deliveries[delivery])?;
        let lost = w.with_session(t.d, |session| {
            if session.stat(&t.temp)?.is_none() || session.stat(&t.final_path)?.is_some() {
                return Ok(false);
            }
            session.rename(&t.temp, &t.final_path, Rename::New)?;
            Ok(true)
        })?;
        if lost {
            tracing::error!(
                job = job.id,
                route = job.route,
                "{} had lost the published file {}: it was renamed again — B may have seen it before",
                t.d.endpoint_name(),
                job.deliveries[delivery].name
            );
            w.record_one(job, Event::Restored { delivery })?;
        }
    }
    Ok(())
}
