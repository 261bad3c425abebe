//! Native events of a source's folder: they only wake the rescan, and tell which files were renamed in whole.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind, RenameMode};
use notify::{RecursiveMode, Watcher};

use super::{CLAIMED, Memory};
use crate::config::SourceConfig;
use crate::job::Name;
use crate::naming::never_matches;

/// Wakes the dispatcher when something changes in a source; the returned watcher must be kept.
pub fn wake(source: &SourceConfig, memory: &Memory, wake: impl Fn() + Send + 'static) -> Result<Option<notify::RecommendedWatcher>, String> {
    if source.poll_only || crate::sys::is_network_share(&source.path) {
        return Ok(None);
    }
    let arrived = memory.arrived.clone();
    let root = source.path.clone();
    // Such names may be asked for, and announce others.
    let outright = !source.names.outright.is_empty() || source.done_file.is_some() || source.checksum_file.is_some();
    let mut left: HashMap<usize, PathBuf> = HashMap::new();
    let handler = move |event: notify::Result<notify::Event>| {
        let Ok(event) = event else { return wake() };
        // Overflow: the rescan sees what the lost events would have told.
        if event.need_rescan() {
            return wake();
        }
        let ours = |p: &Path| p.strip_prefix(&root).is_ok_and(|p| p.starts_with(CLAIMED));
        if !event.paths.is_empty() && event.paths.iter().all(|p| ours(p)) {
            return;
        }
        // What is being written under a name that is never taken says nothing yet; its rename will.
        let unfinished = |p: &Path| p.file_name().is_some_and(|n| never_matches(n.as_bytes())) && !outright;
        let renamed = matches!(event.kind, EventKind::Modify(ModifyKind::Name(_)));
        if !renamed && !event.paths.is_empty() && event.paths.iter().all(|p| unfinished(p)) {
            return;
        }
        match event.kind {
            EventKind::Modify(ModifyKind::Name(RenameMode::From)) => {
                if let (Some(tracker), Some(path)) = (event.attrs.tracker(), event.paths.first()) {
                    // Only renames within the folder are ever asked for again.
                    if left.len() > 1024 {
                        left.clear();
                    }
                    left.insert(tracker, path.clone());
                }
                return;
            }
            EventKind::Modify(ModifyKind::Name(RenameMode::To)) => {
                let from = event.attrs.tracker().and_then(|t| left.remove(&t));
                let whole = from.as_ref().is_none_or(|f| f.file_name().is_some_and(|n| never_matches(n.as_bytes())));
                if let Some(relative) = event.paths.first().and_then(|p| p.strip_prefix(&root).ok()).filter(|_| whole) {
                    arrived.lock().unwrap_or_else(PoisonError::into_inner).insert(Name(relative.as_os_str().as_bytes().to_vec()));
                }
            }
            EventKind::Access(AccessKind::Close(AccessMode::Write)) | EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_) => {}
            _ => return,
        }
        wake();
    };
    let mut watcher = notify::recommended_watcher(handler).map_err(|e| watch_reason(&e))?;
    let mode = if source.recursive { RecursiveMode::Recursive } else { RecursiveMode::NonRecursive };
    watcher.watch(&source.path, mode).map_err(|e| watch_reason(&e))?;
    Ok(Some(watcher))
}

fn watch_reason(e: &notify::Error) -> String {
    match e.kind {
        notify::ErrorKind::MaxFilesWatch => {
            "the system's limit of watched folders is reached: raise fs.inotify.max_user_watches; until then the folder is polled".into()
        }
        _ => format!("native events are not to be had ({e}): the folder is polled"),
    }
}
