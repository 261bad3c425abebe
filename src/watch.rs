//! What lies in A's folder, and what of it is ready. Native events only wake the rescan, which is the truth.
//!
//! It opens no file but to ask the kernel for writers, changes nothing, and follows no link.

mod listing;
mod wake;

pub use wake::wake;

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::config::SourceConfig;
use crate::durable;
use crate::error::{Blame, Error, Result, shown};
use crate::job::{Found, Name};
pub use crate::naming::CLAIMED;
use crate::naming::Facts;
use crate::sys::{Writers, writers};
use listing::{Listing, State};

/// A file that nobody changes and somebody keeps open for so long is told.
const OPEN_TOLD: Duration = Duration::from_secs(600);
/// A file that is so much younger than now comes from a wrong clock.
const FUTURE: Duration = Duration::from_secs(86_400);

/// How long a file must be unchanged on a network share, where nobody tells who writes.
const SETTLE_ON_SHARES: Duration = Duration::from_secs(30);
/// How long a file must be unchanged elsewhere.
const SETTLE: Duration = Duration::from_secs(2);

/// A file that is ready.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// Relative to the source.
    pub file: Name,
    /// As it is now.
    pub found: Found,
    /// The name that it goes on under, where that is another one.
    pub own: Option<Name>,
}

/// What a look is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookFor {
    /// The folder may have changed: it is listed anew.
    Changes,
    /// More of what was listed before.
    More,
}

/// What a look at a source found.
#[derive(Debug, Default)]
pub struct Looked {
    /// Ready to be claimed, in the order of `sort`.
    pub ready: Vec<Candidate>,
    /// Listed, and not looked at yet for want of room.
    pub left: usize,
    /// Matching, but not ready yet.
    pub unready: usize,
    /// Links, devices and unfinished names.
    pub passed_over: u64,
    /// Files that can't be read.
    pub stuck: Stuck,
    /// When to look again for those that are not ready.
    pub again: Option<Duration>,
    /// What the operator should know.
    pub notices: Vec<String>,
}

/// Files of a source that can't be taken, and keep no other from being taken.
#[derive(Clone, Debug, Default)]
pub struct Stuck {
    /// How many.
    pub files: usize,
    /// Why the first one can't.
    pub why: Option<Error>,
}

impl Stuck {
    /// One more.
    pub fn add(&mut self, why: Error) {
        self.files += 1;
        self.why.get_or_insert(why);
    }
    /// Those of both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { files: self.files + other.files, why: self.why.or(other.why) }
    }
}

/// What earlier looks at a source remember.
#[derive(Debug, Default)]
pub struct Memory {
    listing: Listing,
    /// How far the listing was handed out.
    place: usize,
    /// What the last listing found beside files.
    passed_over: u64,
    stuck: Stuck,
    told: HashSet<String>,
    /// How files of a remote source were listed that were not ready.
    pub(crate) seen: HashMap<Name, (u64, i128, Instant)>,
    /// Files that were renamed in as a whole since the last look.
    arrived: Arc<Mutex<HashSet<Name>>>,
}

impl Memory {
    /// Whether a notice is new: each is told once.
    pub(crate) fn tells(&mut self, notice: &str) -> bool {
        self.told.insert(notice.to_owned())
    }
}

/// So many notices are remembered as told; beyond, they are told again.
const TOLD_MAX: usize = 10_000;

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
    /// It can't be read.
    Unreadable,
}

/// How long files of this source must be unchanged.
pub fn settle_of(source: &SourceConfig) -> Duration {
    source.settle.unwrap_or_else(|| if crate::sys::is_network_share(&source.path) { SETTLE_ON_SHARES } else { SETTLE })
}

/// Looks at a source and hands out at most `room` files that are ready. `taken` says whether a file that stays where it is
/// was taken before.
pub fn look(
    source: &SourceConfig,
    memory: &mut Memory,
    now: Instant,
    (what, room): (LookFor, usize),
    taken: &mut dyn FnMut(&Candidate) -> Result<bool>,
) -> Result<Looked> {
    let mut looked = Looked::default();
    if memory.told.len() > TOLD_MAX {
        memory.told.clear();
    }
    if what == LookFor::Changes {
        let before = std::mem::take(&mut memory.listing);
        memory.listing = Listing::read(source, before, now, &mut looked)?;
        (memory.place, memory.passed_over, memory.stuck) = (0, looked.passed_over, looked.stuck.clone());
        let notice = looked.stuck.why.as_ref().map(|e| format!("{e}{}", e.remedy()));
        looked.notices.extend(notice.filter(|notice| memory.told.insert(notice.clone())));
    }
    (looked.passed_over, looked.stuck) = (memory.passed_over, memory.stuck.clone());
    let arrived: HashSet<Name> = std::mem::take(&mut *memory.arrived.lock().unwrap_or_else(PoisonError::into_inner));
    let settle = settle_of(source);
    let announced = source.done_file.is_some() || source.checksum_file.is_some();
    while memory.place < memory.listing.len() && looked.ready.len() < room {
        let entry = memory.listing.at(memory.place);
        memory.place += 1;
        if entry.done {
            continue;
        }
        let file = entry.file();
        let unchanged = now.saturating_duration_since(entry.since);
        let renamed_in = arrived.contains(&file);
        let judged = if !announced && !renamed_in && unchanged < settle {
            Err(NotReady::Settling(settle - unchanged))
        } else {
            match fs::symlink_metadata(source.path.join(file.path())) {
                // It changed since it was listed: it settles anew.
                Ok(meta) if State::of(&meta) != entry.state => {
                    (entry.state, entry.since) = (State::of(&meta), now);
                    if announced { Ok(meta) } else { Err(NotReady::Settling(settle)) }
                }
                Ok(meta) => Ok(meta),
                Err(_) => continue,
            }
        };
        let candidate = judged.map(|meta| Candidate { file: file.clone(), found: durable::found(&meta), own: None });
        let judged = match candidate {
            Err(why) => Err(why),
            Ok(candidate) if taken(&candidate)? => {
                memory.listing.at(memory.place - 1).done = true;
                continue;
            }
            Ok(candidate) => judge(source, &candidate, memory, &mut looked)?.map(|()| candidate),
        };
        let notice = match &judged {
            Ok(candidate) => odd_time(candidate),
            // Who it is, is a long search: once.
            Err(NotReady::Open) if unchanged >= OPEN_TOLD && memory.told.insert(format!("{file} is kept open")) => {
                let who = crate::sys::writer_of(&source.path.join(file.path())).unwrap_or_else(|| "some program".into());
                Some(format!("{file}: {who} has kept it open for writing since it changed last: it is taken once that program closes it"))
            }
            Err(_) => None,
        };
        looked.notices.extend(notice.filter(|n| memory.told.insert(n.clone())));
        match judged {
            Ok(candidate) => {
                memory.listing.at(memory.place - 1).done = true;
                looked.ready.push(candidate);
            }
            Err(why) => {
                looked.unready += 1;
                looked.passed_over += u64::from(matches!(why, NotReady::Small));
                let again = match why {
                    NotReady::Settling(left) => Some(left),
                    NotReady::Open => Some(Duration::from_millis(500)),
                    // An event or the rescan tells when these change.
                    NotReady::Small | NotReady::Companion | NotReady::Checksum | NotReady::Unreadable => None,
                };
                looked.again = looked.again.into_iter().chain(again).min();
                if renamed_in {
                    memory.arrived.lock().unwrap_or_else(PoisonError::into_inner).insert(file);
                }
            }
        }
    }
    looked.left = memory.listing.len() - memory.place;
    // What was renamed in and not reached yet is still known as whole.
    if looked.left > 0 {
        memory.arrived.lock().unwrap_or_else(PoisonError::into_inner).extend(arrived);
    }
    Ok(looked)
}

/// What is odd about a file's time. It is taken like any other: only its order among others may be wrong.
fn odd_time(c: &Candidate) -> Option<String> {
    let time = Timestamp::from_nanosecond(c.found.modified_ns).ok()?;
    let odd = time.duration_since(Timestamp::now()) > jiff::SignedDuration::try_from(FUTURE).ok()? || time.as_second() < 86_400 * 365;
    odd.then(|| format!("{}: it was changed on {}, says its file system: the clock of A or of a share is wrong", c.file, time.strftime("%Y-%m-%d")))
}

/// Whether it is a rejects file that comes back.
fn is_corrected(source: &SourceConfig, c: &Candidate) -> bool {
    source.records && listing::is_rejects_file(&source.path.join(c.file.path()))
}

/// Whether a file is large enough, and announced; nobody announces what an office worker puts back.
fn announced(source: &SourceConfig, c: &Candidate, listing: &Listing) -> Result<(), NotReady> {
    let small = source.min_size.is_some_and(|least| c.found.size < least);
    let missing = [&source.done_file, &source.checksum_file].into_iter().flatten().any(|t| !listing.others.contains(&companion_name(t, &c.file)));
    match (small, missing) {
        (false, false) => Ok(()),
        _ if is_corrected(source, c) => Ok(()),
        (true, _) => Err(NotReady::Small),
        (false, true) => Err(NotReady::Companion),
    }
}

/// Whether a file that is unchanged for long enough, or announced, is ready; and why not.
fn judge(source: &SourceConfig, c: &Candidate, memory: &mut Memory, looked: &mut Looked) -> Result<Result<(), NotReady>> {
    if let Err(why) = announced(source, c, &memory.listing) {
        return Ok(Err(why));
    }
    let path = source.path.join(c.file.path());
    let settle = settle_of(source);
    let file = match durable::open_file(&path) {
        Ok(file) => file,
        // Gone or replaced since it was listed: the next look sees what is there then.
        Err(e) if e.kind() == crate::error::Kind::NotFound || e.blame() == Blame::File => return Ok(Err(NotReady::Settling(settle))),
        // One file that can't be read keeps no other from being taken.
        Err(e) => {
            let notice = format!("{e}{}", e.remedy());
            if memory.told.insert(notice.clone()) {
                looked.notices.push(notice);
            }
            looked.stuck.add(e);
            return Ok(Err(NotReady::Unreadable));
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
                looked.notices.push(notice);
            }
            // A rename alone proves nothing where writers can't be seen, unless it has settled too.
        }
        Writers::None => {}
    }
    if let Some(template) = source.checksum_file.as_ref().filter(|_| !is_corrected(source, c)) {
        let sum = source.path.join(companion_name(template, &c.file).path());
        match checksum_matches(&sum, file)? {
            Ok(()) => {}
            Err(why) => {
                let notice = format!("{}: {why}; it is taken once they match", shown(&path));
                if memory.told.insert(notice.clone()) {
                    looked.notices.push(notice);
                }
                looked.stuck.add(Error::endpoint(format!("{}: {why}", shown(&path))).hint("it is taken once they match"));
                return Ok(Err(NotReady::Checksum));
            }
        }
    }
    Ok(Ok(()))
}

/// The done or checksum file of a file, relative to the source.
pub fn companion_name(template: &crate::naming::Template, file: &Name) -> Name {
    let epoch = jiff::Zoned::default();
    let name = template.render(&Facts { name: file.last(), path: &file.0, job: 0, id: "", part: 1, time: &epoch });
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
    let mut buf = vec![0; durable::FIRST_CHUNK_BYTES];
    loop {
        match from.read(&mut buf) {
            Ok(0) => return Ok(crate::job::hex(&digest.finalize())),
            Ok(n) => {
                digest.update(&buf[..n]);
                durable::widen(&mut buf, n);
            }
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

/// The files of a source that match, as they lie there now; nothing is claimed.
pub fn ready_names(source: &SourceConfig) -> Result<Vec<Name>> {
    let mut listing = Listing::read(source, Listing::default(), Instant::now(), &mut Looked::default())?;
    Ok((0..listing.len()).map(|place| listing.at(place).file()).collect())
}

/// What lies in a source, for `status`, which claims nothing.
#[derive(Debug, Default)]
pub struct Lying {
    /// Ready, as far as one look can tell: whether they are still written is not asked.
    pub ready: usize,
    /// Links, devices and unfinished names.
    pub passed_over: u64,
    /// Files that can't be read.
    pub stuck: Stuck,
}

/// Counts what lies in a source. `taken` says whether a file that stays where it is was taken before.
pub fn count(source: &SourceConfig, taken: &mut dyn FnMut(&Candidate) -> Result<bool>) -> Result<Lying> {
    let mut looked = Looked::default();
    let mut listing = Listing::read(source, Listing::default(), Instant::now(), &mut looked)?;
    let mut lying = Lying { passed_over: looked.passed_over, stuck: looked.stuck, ready: 0 };
    for place in 0..listing.len() {
        let file = listing.at(place).file();
        let path = source.path.join(file.path());
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        let candidate = Candidate { file, found: durable::found(&meta), own: None };
        match announced(source, &candidate, &listing) {
            Err(why) => {
                lying.passed_over += u64::from(matches!(why, NotReady::Small));
                continue;
            }
            Ok(()) if taken(&candidate)? => continue,
            Ok(()) => {}
        }
        match rustix::fs::access(&path, rustix::fs::Access::READ_OK) {
            Err(rustix::io::Errno::NOENT) => {}
            Err(e) => lying.stuck.add(Error::io(Blame::Endpoint, "read", &path, &e.into())),
            Ok(()) => lying.ready += 1,
        }
    }
    Ok(lying)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn look(source: &SourceConfig, memory: &mut Memory, now: Instant) -> Result<Looked> {
        super::look(source, memory, now, (LookFor::Changes, usize::MAX), &mut |_| Ok(false))
    }

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
        let late = look(&source, &mut memory, start + Duration::from_secs(601)).unwrap();
        let notice = late.notices.iter().find(|n| n.contains("kept it open for writing")).unwrap_or_else(|| panic!("{late:?}"));
        assert!(notice.contains("x.csv") && notice.contains(&format!("process {}", std::process::id())), "{notice}");
        assert!(look(&source, &mut memory, start + Duration::from_secs(602)).unwrap().notices.is_empty(), "told once");
        drop(writer);
        assert_eq!(ready(&look(&source, &mut memory, start + Duration::from_secs(661)).unwrap()), ["x.csv"]);
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
        assert_eq!((looked.ready.len(), looked.passed_over), (2, 5));
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
