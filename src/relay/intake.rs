//! Looks at sources and has what is ready claimed; runs A's own export function before it.

use std::time::Instant;

use super::dispatch::LookResult;
use super::{World, claims, hook, recover, remote};
use crate::config::OnSuccess;
use crate::durable;
use crate::error::{Blame, Result};
use crate::job::{Event, Name};
use crate::watch::{self, CLAIMED, Candidate, LookFor};

/// Looks at a source and claims what is ready.
pub(super) fn look(w: &World, name: &str, (what, room): (LookFor, usize), scheduled: bool) -> Result<LookResult> {
    let Some(route) = w.route(name).cloned() else { return Ok(LookResult::default()) };
    let mut unasked = None;
    if let Some(before) = route.source.before.as_ref().filter(|_| scheduled) {
        let args: Vec<Name> = before.iter().map(|a| Name(a.clone().into_bytes())).collect();
        match hook::run(&args, &w.stop) {
            Err(e) if e.blame() != Blame::Stopped => {
                tracing::warn!(route = name, "before: {e}{}", e.remedy());
                unasked = Some(e.at("before"));
            }
            ran => ran?,
        }
    }
    if route.source.on_success != OnSuccess::Keep && route.source.path.is_dir() {
        durable::make_folder(&route.source.path.join(CLAIMED), 0o700)?;
    }
    // Each may lie on a disk of its own.
    for folder in [&w.config.home, &w.config.work, &w.config.archive] {
        durable::room::room(folder)?.check(folder)?;
    }
    let fetched = match &route.source.remote {
        Some(remote) => remote::fetch(w, &route, remote, room),
        None => Ok(remote::Fetched::default()),
    };
    // What was fetched before goes on whatever the server does.
    let what = if route.source.remote.is_some() { LookFor::Changes } else { what };
    let most = room.min(route.source.max_files.unwrap_or(usize::MAX));
    let reader = w.journal.reader()?;
    let keeps = route.source.on_success == OnSuccess::Keep;
    let mut taken = |c: &Candidate| Ok(keeps && reader.taken(name, &c.file, &c.found)?);
    let looked = w.with_memory(name, |m| watch::look(&route.source, m, Instant::now(), (what, most), &mut taken))?;
    for notice in &looked.notices {
        tracing::warn!(route = name, "{notice}");
    }
    let back = recover::errors_folder(w, &route)?;
    let mut ready = looked.ready;
    ready.retain(|candidate| !back.has(&candidate.file));
    ready.extend(back.ready.iter().map(|(candidate, _)| candidate.clone()));
    let claimed = claims::claim(w, &route, ready)?;
    back.ready.into_iter().try_for_each(|(_, job)| recover::left_errors(w, job, Event::Resubmitted))?;
    let fetched = match fetched {
        Err(e) if claimed.is_empty() => return Err(e),
        Err(e) => {
            tracing::warn!(route = name, "{e}{}", e.remedy());
            let mut fetched = remote::Fetched::default();
            fetched.stuck.add(e);
            fetched
        }
        Ok(fetched) => fetched,
    };
    for notice in fetched.notices.iter().filter(|notice| w.with_memory(name, |memory| memory.tells(notice))) {
        tracing::warn!(route = name, "{notice}");
    }
    // What is beyond `max_files` waits for the next look by event, rescan or schedule.
    let left = if route.source.max_files.is_some_and(|m| claimed.len() >= m) { 0 } else { looked.left + fetched.left };
    let copied = (!back.unready.is_empty()).then(|| watch::settle_of(&route.source));
    let again = looked.again.into_iter().chain(fetched.again).chain(copied).min();
    let mut stuck = looked.stuck.and(fetched.stuck);
    // What A's export function did not give is nowhere to be seen: the route says so until it runs again.
    stuck.why = stuck.why.or(unasked);
    Ok(LookResult { claimed, left, stuck, passed_over: looked.passed_over + fetched.passed_over, again })
}
