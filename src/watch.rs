//! What lies in A's folder, and what of it is ready. Native events only wake the rescan, which is the truth.
//!
//! It opens no file but to ask the kernel for writers, changes nothing, and follows no link.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind, RenameMode};
use notify::{RecursiveMode, Watcher};

use crate::config::{Sort, SourceConfig};
use crate::durable;
use crate::error::{Blame, Error, Result, shown};
use crate::job::{Found, Name};
use crate::naming::{Facts, never_matches};
use crate::sys::{Writers, writers};

/// The folder in a source that claimed files lie in.
pub const CLAIMED: &str = ".passerelle";
/// How long a file must be unchanged on a network share, where nobody tells who writes.
const SETTLE_ON_SHARES: Duration = Duration::from_secs(30);
/// How long a file must be unchanged elsewhere.
const SETTLE: Duration = Duration::from_secs(2);

/// A file that matches.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// Relative to the source.
    pub file: Name,
    /// Where it lies.
    pub path: PathBuf,
    /// As it is now.
    pub found: Found,
}

/// What a look at a source found.
#[derive(Debug, Default)]
pub struct Looked {
    /// Ready to be claimed, in the order of `sort`.
    pub ready: Vec<Candidate>,
    /// Matching, but not ready yet.
    pub unready: usize,
    /// Names of all files that match, ready or not.
    pub names: HashSet<Name>,
    /// Links, devices and unfinished names.
    pub passed_over: u64,
    /// When to look again for those that are not ready.
    pub again: Option<Duration>,
    /// What the operator should know.
    pub notices: Vec<String>,
}

/// What earlier looks at a source remember.
#[derive(Debug, Default)]
pub struct Memory {
    seen: HashMap<Name, (Found, Instant)>,
    told: HashSet<String>,
    /// Files that were renamed in as a whole since the last look.
    arrived: Arc<Mutex<HashSet<Name>>>,
}

/// Why a candidate is not ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotReady {
    /// It must be unchanged a while longer.
    Settling(Duration),
    /// Some program has it open for writing.
    Open,
    /// It is smaller than `min_size`.
    Small,
    /// Its done file or checksum file is missing.
    Companion,
    /// It does not match its checksum file.
    Checksum,
}

/// How long files of this source must be unchanged.
pub fn settle_of(source: &SourceConfig) -> Duration {
    source.settle.unwrap_or_else(|| if crate::sys::is_network_share(&source.path) { SETTLE_ON_SHARES } else { SETTLE })
}

/// Looks at a source.
pub fn look(source: &SourceConfig, memory: &mut Memory, now: Instant) -> Result<Looked> {
    let mut looked = Looked::default();
    let mut all = Vec::new();
    let mut others = HashSet::new();
    list(source, &source.path, &mut all, &mut others, &mut looked)?;
    looked.names = all.iter().map(|c| c.file.clone()).collect();
    memory.seen.retain(|file, _| looked.names.contains(file));
    let arrived: HashSet<Name> = std::mem::take(&mut *memory.arrived.lock().unwrap_or_else(PoisonError::into_inner));
    match source.sort {
        Sort::Name => all.sort_by(|a, b| a.file.cmp(&b.file)),
        Sort::Modified => all.sort_by(|a, b| (a.found.modified_ns, &a.file).cmp(&(b.found.modified_ns, &b.file))),
    }
    let settle = settle_of(source);
    let mut kept = HashSet::new();
    for candidate in all {
        let since = match memory.seen.get(&candidate.file) {
            Some((found, since)) if *found == candidate.found => *since,
            _ => {
                memory.seen.insert(candidate.file.clone(), (candidate.found, now));
                now
            }
        };
        let renamed_in = arrived.contains(&candidate.file);
        let unchanged = now.saturating_duration_since(since);
        match judge(source, &candidate, unchanged, renamed_in, settle, &others, memory, &mut looked.notices)? {
            Ok(()) => looked.ready.push(candidate),
            Err(why) => {
                looked.unready += 1;
                let again = match why {
                    NotReady::Settling(left) => Some(left),
                    NotReady::Open => Some(Duration::from_millis(500)),
                    // An event or the rescan tells when these change.
                    NotReady::Small | NotReady::Companion | NotReady::Checksum => None,
                };
                looked.again = looked.again.into_iter().chain(again).min();
                if renamed_in {
                    kept.insert(candidate.file);
                }
            }
        }
    }
    memory.arrived.lock().unwrap_or_else(PoisonError::into_inner).extend(kept);
    Ok(looked)
}

/// Whether a file is ready, and why not.
#[allow(clippy::too_many_arguments)]
fn judge(
    source: &SourceConfig,
    c: &Candidate,
    unchanged: Duration,
    renamed_in: bool,
    settle: Duration,
    others: &HashSet<Name>,
    memory: &mut Memory,
    notices: &mut Vec<String>,
) -> Result<Result<(), NotReady>> {
    if source.min_size.is_some_and(|least| c.found.size < least) {
        return Ok(Err(NotReady::Small));
    }
    for companion in [&source.done_file, &source.checksum_file].into_iter().flatten() {
        if !others.contains(&companion_name(companion, &c.file)) {
            return Ok(Err(NotReady::Companion));
        }
    }
    let announced = source.done_file.is_some() || source.checksum_file.is_some();
    if !announced && !renamed_in && unchanged < settle {
        return Ok(Err(NotReady::Settling(settle - unchanged)));
    }
    let file = match durable::open_file(&c.path) {
        Ok(file) => file,
        // Gone or replaced since it was listed: the next look sees what is there then.
        Err(e) if e.kind() == crate::error::Kind::NotFound || e.blame() == Blame::File => return Ok(Err(NotReady::Settling(settle))),
        // One file that can't be read keeps no other from being taken.
        Err(e) => {
            let notice = format!("{e}{}", e.remedy());
            if memory.told.insert(notice.clone()) {
                notices.push(notice);
            }
            return Ok(Err(NotReady::Small));
        }
    };
    match writers(&file) {
        Writers::Some => return Ok(Err(NotReady::Open)),
        Writers::Unknown => {
            let notice = format!(
                "{}: the kernel does not tell who writes there (another owner, or a file system without leases): only `settle` protects from half-written files",
                shown(&source.path)
            );
            if memory.told.insert(notice.clone()) {
                notices.push(notice);
            }
            // A rename alone proves nothing where writers can't be seen, unless it has settled too.
        }
        Writers::None => {}
    }
    if let Some(template) = &source.checksum_file {
        let path = source.path.join(companion_name(template, &c.file).path());
        match checksum_matches(&path, file)? {
            Ok(()) => {}
            Err(why) => {
                let notice = format!("{}: {why}; it is taken once they match", shown(&c.path));
                if memory.told.insert(notice.clone()) {
                    notices.push(notice);
                }
                return Ok(Err(NotReady::Checksum));
            }
        }
    }
    Ok(Ok(()))
}

/// The done or checksum file of a file, relative to the source.
pub fn companion_name(template: &crate::naming::Template, file: &Name) -> Name {
    let epoch = jiff::Zoned::default();
    let name = template.render(&Facts { name: file.last(), path: &file.0, job: 0, id: "", time: &epoch });
    let folder = file.folder();
    Name(if folder.is_empty() { name } else { [folder, b"/", &name].concat() })
}

/// Compares a file with the digest in its checksum file, whose length tells the kind.
fn checksum_matches(path: &Path, mut file: fs::File) -> Result<Result<(), String>> {
    let text = match fs::read(path) {
        // The name beside the digest may be in any encoding.
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(e) => return Ok(Err(format!("{} can't be read ({})", shown(path), crate::error::reason(&e)))),
    };
    // `sha256sum` writes "digest  name", BSD tools "SHA256 (name) = digest".
    let Some(wanted) = text.split_whitespace().map(str::to_lowercase).find(|w| matches!(w.len(), 32 | 40 | 64) && w.bytes().all(|b| b.is_ascii_hexdigit()))
    else {
        return Ok(Err(format!("{} holds no sha256, sha1 or md5 digest", shown(path))));
    };
    let digest = match wanted.len() {
        64 => digest_of::<sha2::Sha256>(&mut file),
        40 => digest_of::<sha1::Sha1>(&mut file),
        _ => digest_of::<md5::Md5>(&mut file),
    };
    let found = digest.map_err(|e| Error::io(Blame::Endpoint, "read", path, &e))?;
    Ok(if found == wanted { Ok(()) } else { Err(format!("its digest is {found}, and {} says {wanted}", shown(path))) })
}

/// The digest of a stream in hexadecimal digits.
pub fn digest_of<D: sha2::Digest>(from: &mut dyn std::io::Read) -> std::io::Result<String> {
    let mut digest = D::new();
    let mut buf = vec![0; durable::CHUNK_BYTES];
    loop {
        match from.read(&mut buf) {
            Ok(0) => return Ok(crate::job::hex(&digest.finalize())),
            Ok(n) => digest.update(&buf[..n]),
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

fn list(source: &SourceConfig, folder: &Path, out: &mut Vec<Candidate>, others: &mut HashSet<Name>, looked: &mut Looked) -> Result<()> {
    let missing = |e: &std::io::Error| {
        let error = Error::io(Blame::Endpoint, "read the folder", folder, e);
        if e.kind() == std::io::ErrorKind::NotFound { error.hint("mount its share, or create it, or set create = true on the source") } else { error }
    };
    for entry in fs::read_dir(folder).map_err(|e| missing(&e))? {
        let entry = entry.map_err(|e| missing(&e))?;
        let name = entry.file_name();
        let path = entry.path();
        let relative = path.strip_prefix(&source.path).map(|p| Name(p.as_os_str().as_bytes().to_vec())).unwrap_or_default();
        if name == CLAIMED && folder == source.path {
            continue;
        }
        // A file that is gone by now was somebody else's.
        let Ok(meta) = entry.path().symlink_metadata() else { continue };
        let kind = meta.file_type();
        if kind.is_dir() {
            if source.recursive && !never_matches(name.as_bytes()) {
                list(source, &path, out, others, looked)?;
            }
            continue;
        }
        let outright = source.outright.iter().any(|o| o.as_bytes() == name.as_bytes() || o.as_bytes() == relative.0);
        let matches = |set: &globset::GlobSet| set.is_match(Path::new(&name)) || set.is_match(relative.path());
        let wanted = outright || matches(&source.include);
        if kind.is_symlink() || kind.is_fifo() || kind.is_socket() || kind.is_block_device() || kind.is_char_device() {
            looked.passed_over += u64::from(wanted);
            continue;
        }
        others.insert(relative.clone());
        if !wanted || matches(&source.exclude) {
            continue;
        }
        if never_matches(name.as_bytes()) && !outright {
            looked.passed_over += 1;
            continue;
        }
        if is_rejects_file(&path) {
            looked.passed_over += 1;
            looked.notices.push(format!("{}: corrected rejects files are not taken back yet: correct the export itself", shown(&path)));
            continue;
        }
        out.push(Candidate { file: relative, path, found: durable::found(&meta) });
    }
    // Done and checksum files announce others and are no exports themselves.
    if folder == source.path {
        for template in [&source.done_file, &source.checksum_file].into_iter().flatten() {
            let companions: HashSet<Name> = out.iter().map(|c| companion_name(template, &c.file)).collect();
            out.retain(|c| !companions.contains(&c.file));
        }
    }
    Ok(())
}

/// Whether a file is a rejects file of ours, whose own columns must never reach B.
fn is_rejects_file(path: &Path) -> bool {
    let named = path.file_name().is_some_and(|n| n.as_bytes().ends_with(b".rejects.csv"));
    let head = || -> Option<Vec<u8>> {
        let mut head = Vec::new();
        std::io::Read::read_to_end(&mut std::io::Read::take(durable::open_file(path).ok()?, 64), &mut head).ok()?;
        Some(head)
    };
    named && head().is_some_and(|h| h.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&h).starts_with(b"_line"))
}

/// How many files of a source match, and how many are passed over: for `status`, which claims nothing.
pub fn count(source: &SourceConfig) -> Result<(usize, u64)> {
    let mut looked = Looked::default();
    let mut all = Vec::new();
    list(source, &source.path, &mut all, &mut HashSet::new(), &mut looked)?;
    Ok((all.len(), looked.passed_over))
}

/// Wakes the dispatcher when something changes in a source; the returned watcher must be kept.
pub fn wake(source: &SourceConfig, memory: &Memory, wake: impl Fn() + Send + 'static) -> Result<Option<notify::RecommendedWatcher>, String> {
    if source.poll_only || crate::sys::is_network_share(&source.path) {
        return Ok(None);
    }
    let arrived = memory.arrived.clone();
    let root = source.path.clone();
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

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &Path, keys: &str) -> SourceConfig {
        let file = path.join("../passerelle.toml");
        let text = format!("[routes.r.source]\npath = \"{}\"\n{keys}\n[routes.r.destination]\npath = \"b\"\n", path.display());
        fs::write(&file, text).unwrap();
        let mut config = crate::config::load(&file).unwrap();
        Arc::try_unwrap(config.routes.remove(0)).unwrap().source
    }
    fn folder() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let a = dir.path().join("a");
        fs::create_dir(&a).unwrap();
        (dir, a)
    }
    fn ready(looked: &Looked) -> Vec<String> {
        looked.ready.iter().map(|c| c.file.to_string()).collect()
    }

    #[test]
    fn a_file_is_ready_when_it_was_unchanged_for_settle() {
        let (_dir, a) = folder();
        let (source, mut memory, start) = (source(&a, "settle = \"2s\""), Memory::default(), Instant::now());
        fs::write(a.join("x.csv"), "1").unwrap();
        let first = look(&source, &mut memory, start).unwrap();
        assert_eq!((ready(&first), first.again), (vec![], Some(Duration::from_secs(2))));
        fs::write(a.join("x.csv"), "12").unwrap();
        assert!(ready(&look(&source, &mut memory, start + Duration::from_secs(2)).unwrap()).is_empty(), "it changed");
        assert_eq!(ready(&look(&source, &mut memory, start + Duration::from_secs(4)).unwrap()), ["x.csv"]);
    }

    #[test]
    fn a_file_that_is_open_for_writing_is_not_ready_however_long_it_is_unchanged() {
        let (_dir, a) = folder();
        let (source, mut memory, start) = (source(&a, "settle = \"1ms\""), Memory::default(), Instant::now());
        let writer = fs::File::create(a.join("x.csv")).unwrap();
        if writers(&fs::File::open(a.join("x.csv")).unwrap()) == Writers::Unknown {
            eprintln!("this file system grants no leases: nothing to test");
            return;
        }
        look(&source, &mut memory, start).unwrap();
        assert!(ready(&look(&source, &mut memory, start + Duration::from_secs(60)).unwrap()).is_empty());
        drop(writer);
        assert_eq!(ready(&look(&source, &mut memory, start + Duration::from_secs(61)).unwrap()), ["x.csv"]);
    }

    #[test]
    fn done_and_checksum_files_announce_a_file() {
        let (_dir, a) = folder();
        let done = source(&a, "done_file = \"{name}.done\"");
        fs::write(a.join("x.csv"), "abc").unwrap();
        assert!(ready(&look(&done, &mut Memory::default(), Instant::now()).unwrap()).is_empty());
        fs::write(a.join("x.csv.done"), "").unwrap();
        assert_eq!(ready(&look(&done, &mut Memory::default(), Instant::now()).unwrap()), ["x.csv"]);
        let sum = source(&a, "checksum_file = \"{stem}.md5\"\ninclude = [\"*.csv\"]");
        fs::write(a.join("x.md5"), "900150983cd24fb0d6963f7d28e17f72  x.csv\n").unwrap();
        fs::write(a.join("y.csv"), "no").unwrap();
        fs::write(a.join("y.md5"), "900150983cd24fb0d6963f7d28e17f72").unwrap();
        let looked = look(&sum, &mut Memory::default(), Instant::now()).unwrap();
        assert_eq!(ready(&looked), ["x.csv"], "{looked:?}");
        assert!(looked.notices.iter().any(|n| n.contains("its digest is")), "{:?}", looked.notices);
    }

    #[test]
    fn what_never_matches_is_passed_over_and_counted() {
        let (_dir, a) = folder();
        for name in ["x.csv", "x.tmp", ".hidden", "~x", "y.txt", "keep.part"] {
            fs::write(a.join(name), "1").unwrap();
        }
        std::os::unix::fs::symlink("/etc/passwd", a.join("link.csv")).unwrap();
        let all = source(&a, "settle = \"0s\"");
        let looked = look(&all, &mut Memory::default(), Instant::now()).unwrap();
        assert_eq!((looked.names.len(), looked.passed_over), (2, 5));
        let outright = source(&a, "settle = \"0s\"\ninclude = [\"*.csv\", \"keep.part\"]\nexclude = [\"x*\"]");
        assert_eq!(ready(&look(&outright, &mut Memory::default(), Instant::now()).unwrap()), ["keep.part"]);
    }

    #[test]
    fn files_come_in_the_order_of_sort_and_from_subfolders_when_asked() {
        let (_dir, a) = folder();
        fs::create_dir(a.join("sub")).unwrap();
        for (i, name) in ["c.csv", "sub/a.csv", "b.csv"].iter().enumerate() {
            let file = fs::File::create(a.join(name)).unwrap();
            file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(1000 - i as u64)).unwrap();
        }
        let by_name = source(&a, "settle = \"0s\"\nsort = \"name\"\nrecursive = true");
        assert_eq!(ready(&look(&by_name, &mut Memory::default(), Instant::now()).unwrap()), ["b.csv", "c.csv", "sub/a.csv"]);
        let by_time = source(&a, "settle = \"0s\"");
        assert_eq!(ready(&look(&by_time, &mut Memory::default(), Instant::now()).unwrap()), ["b.csv", "c.csv"]);
    }

    #[test]
    fn a_missing_folder_is_the_endpoints_trouble() {
        let (_dir, a) = folder();
        let source = source(&a, "");
        fs::remove_dir(&a).unwrap();
        let e = look(&source, &mut Memory::default(), Instant::now()).unwrap_err();
        assert_eq!(e.blame(), Blame::Endpoint);
        assert!(e.advice().unwrap().contains("create = true"));
    }
}
