//! Exports that A leaves once more (`duplicates = "skip"`): of several that are sealed at the same moment, one is relayed.

use std::sync::PoisonError;

use super::super::World;
use crate::config::Route;
use crate::error::Result;
use crate::job::{Event, Job, JobId, Seal};
use crate::sync::Exports;

/// The job that relays what this one brings; none: this one does, and the journal knows it.
pub(super) fn duplicate_of(w: &World, route: &Route, job: &mut Job, seal: &Seal) -> Result<Option<JobId>> {
    // An operator who asks for a replay wants the duplicate.
    if !route.source.skip_duplicates || job.replay_of.is_some() {
        return Ok(None);
    }
    // Another worker may have one of the same content in hand.
    let _alone = w.sealing.lock().unwrap_or_else(PoisonError::into_inner);
    let reader = w.journal.reader()?;
    // Who tries a file again has looked at what came later.
    let before = if job.retried { job.id } else { i64::MAX as JobId };
    let found = reader.duplicate_of(&job.route, &job.file, &seal.hash, job.id, before)?;
    // Of full exports, the state before the last one is a change like any other.
    let parts = route.sync.as_ref().is_none_or(|s| s.exports == Exports::Incremental);
    let found = match found {
        Some(of) if parts || !reader.relayed_between(&job.route, of, job.id)? => Some(of),
        _ => None,
    };
    if found.is_none() {
        w.record_one(job, Event::Sealed(seal.clone()))?;
    }
    Ok(found)
}
