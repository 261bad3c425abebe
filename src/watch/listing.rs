//! What lies in a source's folder, in little memory: two hundred thousand names are some twenty megabytes.
//!
//! A listing knows each file's name, size, time and inode, and since when they are unchanged. It opens no file but those
//! that look like rejects files of ours, and follows no link.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::time::Instant;

use super::{CLAIMED, Looked, companion_name};
use crate::config::{Sort, SourceConfig};
use crate::durable;
use crate::error::{Blame, Error, Kind, Result};
use crate::job::Name;
use crate::naming::never_matches;

/// What tells one state of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State {
    size: u64,
    modified_ns: i64,
    ino: u64,
}

impl State {
    pub(super) fn of(meta: &fs::Metadata) -> Self {
        // Beyond the year 2262 nothing is told apart by its time any more.
        let modified_ns = meta.mtime().saturating_mul(1_000_000_000).saturating_add(meta.mtime_nsec());
        Self { size: meta.size(), modified_ns, ino: meta.ino() }
    }
}

/// A file that matches.
#[derive(Debug)]
pub(super) struct Entry {
    name: Box<[u8]>,
    pub(super) state: State,
    /// Since when it is so.
    pub(super) since: Instant,
    /// It was handed out, or is known to be taken.
    pub(super) done: bool,
}

impl Entry {
    /// Relative to the source.
    pub(super) fn file(&self) -> Name {
        Name(self.name.to_vec())
    }
}

/// All files of a source that match.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// By name.
    entries: Vec<Entry>,
    /// The order in which they are published.
    order: Vec<u32>,
    /// Names that may announce others; only where the source has done or checksum files.
    pub(super) others: HashSet<Name>,
    /// Names that are not included, and are known to be no corrected rejects as long as they are like this.
    foreign: HashMap<Box<[u8]>, State>,
}

impl Listing {
    /// Lists a source anew. What did not change since the listing before keeps its age.
    pub(super) fn read(source: &SourceConfig, before: Listing, now: Instant, looked: &mut Looked) -> Result<Self> {
        let mut new = Listing::default();
        new.walk(source, (&source.path, &before.foreign), now, looked)?;
        new.entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let mut old = before.entries.into_iter().peekable();
        for entry in &mut new.entries {
            while old.next_if(|o| o.name < entry.name).is_some() {}
            if let Some(same) = old.next_if(|o| o.name == entry.name)
                && same.state == entry.state
            {
                entry.since = same.since;
                // What was handed out and lies here again was put back, unless it is one that stays where it is.
                entry.done = same.done && source.on_success == crate::config::OnSuccess::Keep;
            }
        }
        // More names than this fit into no folder that can be listed.
        new.order = (0..u32::try_from(new.entries.len()).unwrap_or(u32::MAX)).collect();
        if source.sort == Sort::Modified {
            let entries = &new.entries;
            new.order.sort_by_key(|i| entries[*i as usize].state.modified_ns);
        }
        Ok(new)
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// The entry at that place of the order.
    pub(super) fn at(&mut self, place: usize) -> &mut Entry {
        &mut self.entries[self.order[place] as usize]
    }

    fn walk(&mut self, source: &SourceConfig, (folder, foreign): (&Path, &HashMap<Box<[u8]>, State>), now: Instant, looked: &mut Looked) -> Result<()> {
        let missing = |e: &std::io::Error| {
            let error = Error::io(Blame::Endpoint, "read the folder", folder, e);
            if e.kind() == std::io::ErrorKind::NotFound { error.hint("mount its share, or create it, or set create = true on the source") } else { error }
        };
        let announced = source.done_file.is_some() || source.checksum_file.is_some();
        for entry in fs::read_dir(folder).map_err(|e| missing(&e))? {
            let entry = entry.map_err(|e| missing(&e))?;
            let name = entry.file_name();
            if name == CLAIMED && folder == source.path {
                continue;
            }
            let path = entry.path();
            // A file that is gone by now was somebody else's.
            let Ok(meta) = path.symlink_metadata() else { continue };
            let kind = meta.file_type();
            if kind.is_dir() {
                if source.recursive && !never_matches(name.as_bytes()) {
                    match self.walk(source, (&path, foreign), now, looked) {
                        // One that A has removed meanwhile.
                        Err(e) if e.kind() == Kind::NotFound => {}
                        // One that can't be read, as lost+found, keeps no file beside it from being taken.
                        Err(e) => looked.stuck.add(e.hint("let the relay's user read it, or leave it out: `exclude` with its name")),
                        Ok(()) => {}
                    }
                }
                continue;
            }
            let relative = path.strip_prefix(&source.path).map(|p| p.as_os_str().as_bytes()).unwrap_or_default();
            let outright = source.names.outright(relative);
            let wanted = source.names.included(relative);
            if kind.is_symlink() || kind.is_fifo() || kind.is_socket() || kind.is_block_device() || kind.is_char_device() {
                looked.passed_over += u64::from(wanted);
                continue;
            }
            if announced {
                self.others.insert(Name(relative.to_vec()));
            }
            // Corrected rejects come back whatever `include` says, under whatever name a spreadsheet has given them.
            if !wanted || source.names.excluded(relative) {
                let state = State::of(&meta);
                let known = || foreign.get(relative).is_some_and(|known| *known == state);
                let sheet = source.records && is_sheet(relative) && !never_matches(name.as_bytes());
                if !sheet || known() || !is_rejects_file(&path) || source.leaves_to_others(relative) {
                    if sheet {
                        self.foreign.insert(relative.into(), state);
                    }
                    continue;
                }
            }
            if never_matches(name.as_bytes()) && !outright {
                looked.passed_over += 1;
                continue;
            }
            self.entries.push(Entry { name: relative.into(), state: State::of(&meta), since: now, done: false });
        }
        // Done and checksum files announce others and are no exports themselves.
        if folder == source.path {
            for template in [&source.done_file, &source.checksum_file].into_iter().flatten() {
                let companions: HashSet<Name> = self.entries.iter().map(|e| companion_name(template, &e.file())).collect();
                self.entries.retain(|e| !companions.contains(&e.file()));
            }
        }
        Ok(())
    }
}

/// Whether a name may be that of a table in text, which a rejects file is.
fn is_sheet(name: &[u8]) -> bool {
    let name = name.to_ascii_lowercase();
    !name.contains(&b'.') || name.ends_with(b".csv") || name.ends_with(b".txt") || memchr::memmem::find(&name, b".rejects").is_some()
}

/// Whether a file is a rejects file of ours, corrected and put back.
pub(super) fn is_rejects_file(path: &Path) -> bool {
    durable::head::<256>(path).is_ok_and(|head| crate::transform::corrected::delimiter_of(&head).is_some())
}
