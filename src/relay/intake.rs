//! Looks at sources and has what is ready claimed; runs the users' commands around it.

use std::process::Command;
use std::time::{Duration, Instant};

use super::dispatch::LookResult;
use super::{World, claims, recover, remote};
use crate::config::OnSuccess;
use crate::durable;
use crate::error::Result;
use crate::job::Name;
use crate::watch::{self, CLAIMED, Candidate, LookFor};

/// A command of the user's that runs longer than this is stopped.
pub(super) const HOOK_TIME_MAX: Duration = Duration::from_secs(600);

/// What a command that runs while the relay stops still gets.
const HOOK_TIME_AT_STOP: Duration = Duration::from_secs(4);

/// Looks at a source and claims what is ready.
pub(super) fn look(w: &World, name: &str, (what, room): (LookFor, usize), scheduled: bool) -> Result<LookResult> {
    let Some(route) = w.route(name).cloned() else { return Ok(LookResult::default()) };
    if let Some(before) = route.source.before.as_ref().filter(|_| scheduled) {
        run_hook("before", &before.iter().map(|a| Name(a.clone().into_bytes())).collect::<Vec<_>>(), &w.stop);
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
    recover::errors_folder(w, &route)?;
    let claimed = claims::claim(w, &route, looked.ready)?;
    let fetched = match fetched {
        Err(e) if claimed.is_empty() => return Err(e),
        Err(e) => {
            tracing::warn!(route = name, "{e}{}", e.remedy());
            remote::Fetched::default()
        }
        Ok(fetched) => fetched,
    };
    for notice in fetched.notices.iter().filter(|notice| w.with_memory(name, |memory| memory.tells(notice))) {
        tracing::warn!(route = name, "{notice}");
    }
    // What is beyond `max_files` waits for the next look by event, rescan or schedule.
    let left = if route.source.max_files.is_some_and(|m| claimed.len() >= m) { 0 } else { looked.left + fetched.left };
    let again = looked.again.into_iter().chain(fetched.again).min();
    Ok(LookResult { claimed, left, passed_over: looked.passed_over + fetched.passed_over, again })
}

/// Runs a command of the user's: an argument list, never a shell, with a time limit. Its failure is told, and decides nothing.
pub fn run_hook(what: &str, args: &[Name], stop: &crate::stop::Stop) {
    use std::os::unix::ffi::OsStrExt;
    let Some((program, rest)) = args.split_first() else { return };
    let as_os = |n: &Name| std::ffi::OsStr::from_bytes(&n.0).to_owned();
    let started = Command::new(as_os(program))
        .args(rest.iter().map(as_os))
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn();
    let mut child = match started {
        Ok(child) => child,
        Err(e) => return tracing::warn!("{what}: {program} can't be started: {}", crate::error::reason(&e)),
    };
    let mut end = Instant::now() + HOOK_TIME_MAX;
    let mut stopping = false;
    loop {
        if stop.is_set() && !stopping {
            stopping = true;
            end = end.min(Instant::now() + HOOK_TIME_AT_STOP);
        }
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return,
            Ok(Some(status)) => return tracing::warn!("{what}: {program} ended with {status}"),
            Ok(None) if Instant::now() < end => std::thread::sleep(Duration::from_millis(20)),
            Ok(None) | Err(_) => {
                // It may have ended just now.
                let _ = child.kill();
                let _ = child.wait();
                return tracing::warn!("{what}: {program} was stopped: it ran too long, or the relay stops");
            }
        }
    }
}
