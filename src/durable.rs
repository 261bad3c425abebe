//! Every change of local files that matters: claim, work, publish, archive. All renames and syncs of the relay are here.
//!
//! A function returns when what it did would survive a power cut, unless its doc says what is left to sync. Nothing is
//! ever overwritten unless the name of the function says so. No link is followed at any part of a path: the folders of
//! the configuration are resolved once (`Config::resolved`), and what becomes a link below them later is refused.

mod packed;
mod place;
pub mod room;

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, RenameFlags};

use crate::error::{Blame, Error, Kind, Result};
use crate::points;
use crate::stop::Stop;
pub use packed::{decoder, is_packed_from, pack_new, unpack_new};
use place::Place;

/// How much is copied between two looks at the wish to stop.
pub const CHUNK_BYTES: usize = 256 * 1024;
/// What is read at first: most files are small, and to clear a whole chunk takes longer than they do.
pub const FIRST_CHUNK_BYTES: usize = 16 * 1024;

fn endpoint(what: &str, path: &Path) -> impl Fn(io::Error) -> Error {
    move |e| Error::io(Blame::Endpoint, what, path, &e)
}

/// Makes the entries of a folder survive a power cut.
pub fn sync_folder(path: &Path) -> Result<()> {
    points::act("sync-folder", path, || Place::folder(path)?.sync_all()).map_err(endpoint("sync the folder", path))
}

/// Makes a file's bytes survive a power cut. A failed sync is never tried again on the same file (Rebello et al., USENIX ATC 2020).
pub fn sync_file(file: &File, path: &Path) -> Result<()> {
    points::act("sync-file", path, || file.sync_all()).map_err(|e| endpoint("sync", path)(e).kind_of(Kind::Unsynced))
}

/// The same for a file of A's that was only renamed: its times and rights need not survive, and where A has synced it
/// itself this costs no commit of the file system's journal.
pub fn sync_bytes(file: &File, path: &Path) -> Result<()> {
    points::act("sync-file", path, || file.sync_data()).map_err(|e| endpoint("sync", path)(e).kind_of(Kind::Unsynced))
}

/// Makes a folder and those above it, with these permissions, durably.
pub fn make_folder(path: &Path, mode: u32) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent()
        && !parent.as_os_str().is_empty()
    {
        make_folder(parent, mode)?;
    }
    let make = || -> io::Result<()> {
        let place = Place::of(path)?;
        rustix::fs::mkdirat(&place.folder, place.name, Mode::from_raw_mode(mode))?;
        // The umask must not make an operators' folder unreadable for them.
        Ok(rustix::fs::chmodat(&place.folder, place.name, Mode::from_raw_mode(mode), AtFlags::empty())?)
    };
    match points::act("make-folder", path, make) {
        Ok(()) => sync_parent(path),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            let message = format!("{} is no folder, and one is needed there", crate::error::shown(path));
            Err(Error::endpoint(message).hint("move away what has that name"))
        }
        Err(e) => Err(endpoint("make the folder", path)(e)),
    }
}

/// The permissions of a folder of files with these permissions: whoever may read them may enter.
pub fn folder_mode(file_mode: u32) -> u32 {
    file_mode | 0o100 | (file_mode & 0o044) >> 2
}

fn renamed(from: &Path, to: &Path, flags: RenameFlags) -> io::Result<()> {
    points::act("rename", to, || {
        let (a, b) = (Place::of(from)?, Place::of(to)?);
        match rustix::fs::renameat_with(&a.folder, a.name, &b.folder, b.name, flags) {
            // Some network and FUSE file systems have no rename that refuses an existing name: a hard link refuses it just as well.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) if flags == RenameFlags::NOREPLACE => {
                rustix::fs::linkat(&a.folder, a.name, &b.folder, b.name, AtFlags::empty())?;
                rustix::fs::unlinkat(&a.folder, a.name, AtFlags::empty()).map_err(|e| {
                    // Both names or neither: the second link is ours to take back.
                    let _ = rustix::fs::unlinkat(&b.folder, b.name, AtFlags::empty());
                    e.into()
                })
            }
            other => Ok(other?),
        }
    })
}

/// Renames without replacing; an existing name is [`Kind::Exists`](crate::error::Kind), a missing one `NotFound`. Not yet durable.
pub fn rename_new(from: &Path, to: &Path) -> Result<()> {
    renamed(from, to, RenameFlags::NOREPLACE).map_err(endpoint("rename to", to))
}

/// Renames and replaces. Not yet durable.
pub fn rename_over(from: &Path, to: &Path) -> Result<()> {
    renamed(from, to, RenameFlags::empty()).map_err(endpoint("rename to", to))
}

/// Moves a file to a name that must be free, across file systems if need be. What was renamed is durable only after
/// its folders are synced, which many moves may share; what had to be copied is durable at once.
pub fn shift(from: &Path, to: &Path, stop: &Stop) -> Result<()> {
    match renamed(from, to, RenameFlags::NOREPLACE) {
        Err(e) if e.raw_os_error() == Some(libc::EXDEV) => move_copied(from, to, stop),
        other => other.map_err(endpoint("rename to", to)),
    }
}

/// Moves a file to a name that must be free, across file systems if need be, durably at both ends.
pub fn move_new(from: &Path, to: &Path, stop: &Stop) -> Result<()> {
    shift(from, to, stop)?;
    sync_parent(to)?;
    sync_parent(from)
}

/// The copy is synced and read back before the original is removed.
fn move_copied(from: &Path, to: &Path, stop: &Stop) -> Result<()> {
    move_made(from, to, |temporary| copy_new(from, temporary, stop).and_then(|_| verified(temporary, same_bytes(from, temporary, stop)?)))
}

/// Moves a file by a copy, which `make` makes whole, synced and compared under the name that it is given.
fn move_made(from: &Path, to: &Path, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let temporary = unfinished(to);
    let copied = make(&temporary).and_then(|()| rename_new(&temporary, to));
    if copied.is_err() {
        // The copy is ours and incomplete; the original is where it was.
        let _ = remove(&temporary);
    }
    copied?;
    sync_parent(to)?;
    remove(from)?;
    sync_parent(from)
}

/// The name under which a file is written before it gets its own: always the same, so that an attempt that was cut leaves
/// nothing that the next one does not clear.
fn unfinished(path: &Path) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    const NAME_BYTES_MAX: usize = 240;
    let name = path.file_name().unwrap_or_default().as_bytes();
    let name = [b".", &name[..name.len().min(NAME_BYTES_MAX)], b".part"].concat();
    path.with_file_name(std::ffi::OsStr::from_bytes(&name))
}

fn verified(copy: &Path, same: bool) -> Result<()> {
    if same {
        return Ok(());
    }
    Err(Error::endpoint(format!("the copy {} differs from its original", crate::error::shown(copy)))
        .hint("the disk there gives other bytes than were written: have it checked; it is tried again by itself"))
}

/// Whether two files hold the same bytes.
pub fn same_bytes(a: &Path, b: &Path, stop: &Stop) -> Result<bool> {
    let (mut a_file, mut b_file) = (open_file(a)?, open_file(b)?);
    let (mut x, mut y) = (vec![0; CHUNK_BYTES], vec![0; CHUNK_BYTES]);
    loop {
        stop.check()?;
        let n = fill(&mut a_file, &mut x).map_err(endpoint("read", a))?;
        let m = fill(&mut b_file, &mut y).map_err(endpoint("read", b))?;
        if x[..n] != y[..m] {
            return Ok(false);
        }
        if n == 0 {
            return Ok(true);
        }
    }
}

fn fill(from: &mut dyn Read, to: &mut [u8]) -> io::Result<usize> {
    let mut n = 0;
    while n < to.len() {
        match from.read(&mut to[n..]) {
            Ok(0) => break,
            Ok(k) => n += k,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(n)
}

/// Copies a file to a new one with its time and permissions, synced; gives its size.
pub fn copy_new(from: &Path, to: &Path, stop: &Stop) -> Result<u64> {
    let mut source = open_file(from)?;
    let meta = source.metadata().map_err(endpoint("look at", from))?;
    let mut target = NewFile::create(to, 0o600)?;
    let size = copy(&mut source, &mut target, stop).map_err(|e| e.on_file(to))?;
    target.file.set_permissions(meta.permissions()).map_err(endpoint("set the permissions of", to))?;
    if let Ok(time) = meta.modified() {
        target.set_modified(time)?;
    }
    target.sync()?;
    Ok(size)
}

/// Puts the bytes of a file into new blocks under the same name: what a failed sync may have lost of the old ones is
/// written anew, from what the system still holds of them.
pub fn rewrite(path: &Path, stop: &Stop) -> Result<()> {
    let temporary = unfinished(path);
    let copied = copy_new(path, &temporary, stop).and_then(|_| verified(&temporary, same_bytes(path, &temporary, stop)?));
    let written = copied.and_then(|()| rename_over(&temporary, path));
    if written.is_err() {
        let _ = remove(&temporary);
    }
    written?;
    sync_parent(path)
}

/// Makes room for whole chunks once `read` bytes have filled the first one.
pub fn widen(buf: &mut Vec<u8>, read: usize) {
    if read == buf.len() && read < CHUNK_BYTES {
        buf.resize(CHUNK_BYTES, 0);
    }
}

/// Copies bytes, looking at the wish to stop between chunks.
pub fn copy(from: &mut dyn Read, to: &mut dyn Write, stop: &Stop) -> Result<u64> {
    let mut buf = vec![0; FIRST_CHUNK_BYTES];
    let mut total = 0;
    loop {
        stop.check()?;
        let n = match from.read(&mut buf) {
            Ok(0) => return Ok(total),
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(endpoint("read", Path::new("the file"))(e)),
        };
        to.write_all(&buf[..n]).map_err(endpoint("write", Path::new("the file")))?;
        total += n as u64;
        widen(&mut buf, n);
    }
}

/// Opens a plain file for reading: links, fifos, sockets and devices are refused without being opened for real.
pub fn open_file(path: &Path) -> Result<File> {
    let opened = points::io("open", path, || Place::of(path)?.open(OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()));
    let file = opened.map_err(|e| match e.raw_os_error() {
        Some(libc::ELOOP) => Error::file(format!("{} is a link, and links are never followed", crate::error::shown(path))),
        // A socket, or a device without a driver.
        Some(libc::ENXIO) => Error::file(format!("{} is no plain file", crate::error::shown(path))),
        _ => endpoint("open", path)(e),
    })?;
    if file.metadata().is_ok_and(|m| m.is_file()) { Ok(file) } else { Err(Error::file(format!("{} is no plain file", crate::error::shown(path)))) }
}

/// The first bytes of a plain file, at most `N`.
pub fn head<const N: usize>(path: &Path) -> Result<Vec<u8>> {
    let mut head = Vec::new();
    std::io::Read::read_to_end(&mut std::io::Read::take(open_file(path)?, N as u64), &mut head).map_err(endpoint("read", path))?;
    Ok(head)
}

/// A file of ours that is being written: new at every attempt, since a failed one may have left anything in the old.
#[derive(Debug)]
pub struct NewFile {
    file: File,
    path: PathBuf,
}

impl NewFile {
    /// Creates it; one of that name, which is ours and unfinished, goes first.
    pub fn create(path: &Path, mode: u32) -> Result<Self> {
        remove(path)?;
        let open = || Place::of(path)?.open(OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL, Mode::from_raw_mode(mode));
        let file = points::io("create", path, open).map_err(endpoint("create", path))?;
        Ok(Self { file, path: path.to_owned() })
    }
    /// Sets its permissions, whatever the umask.
    pub fn set_mode(&self, mode: u32) -> Result<()> {
        self.file.set_permissions(fs::Permissions::from_mode(mode)).map_err(endpoint("set the permissions of", &self.path))
    }
    /// Sets when it was changed last.
    pub fn set_modified(&self, time: std::time::SystemTime) -> Result<()> {
        self.file.set_modified(time).map_err(endpoint("set the time of", &self.path))
    }
    /// Makes its bytes survive a power cut. Its name does once its folder is synced.
    pub fn sync(&self) -> Result<()> {
        sync_file(&self.file, &self.path)
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = match points::write_room(&self.path, bytes.len()) {
            Err(_) if points::planted("swallow-write-errors") => return Ok(bytes.len()),
            room => room?,
        };
        if points::planted("truncate") {
            return self.file.write(&bytes[..bytes.len() / 2]).map(|_| bytes.len());
        }
        self.file.write(&bytes[..room])
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes a small file whole, durably, replacing one of that name.
pub fn write_whole(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let temporary = unfinished(path);
    let write = || {
        let mut file = NewFile::create(&temporary, 0o600)?;
        file.write_all(bytes).map_err(endpoint("write", path))?;
        file.set_mode(mode)?;
        file.sync()?;
        rename_over(&temporary, path)
    };
    let written = write();
    if written.is_err() {
        // Ours and incomplete.
        let _ = remove(&temporary);
    }
    written?;
    sync_parent(path)
}

/// Adds bytes to a file of ours, durably; makes it if it is missing.
pub fn append(path: &Path, bytes: &[u8]) -> Result<()> {
    let open = || Place::of(path)?.open(OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND, Mode::from_raw_mode(0o600));
    let fresh = !path.exists();
    let file = points::io("open", path, open).map_err(endpoint("open", path))?;
    let mut file = NewFile { file, path: path.to_owned() };
    file.write_all(bytes).map_err(endpoint("write", path))?;
    file.sync()?;
    if fresh { sync_parent(path) } else { Ok(()) }
}

/// Removes a file; one that is not there is fine. Not yet durable.
pub fn remove(path: &Path) -> Result<()> {
    let unlink = || {
        let place = Place::of(path)?;
        Ok(rustix::fs::unlinkat(&place.folder, place.name, AtFlags::empty())?)
    };
    if !exists(path) {
        return Ok(());
    }
    match points::act("remove", path, unlink) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(endpoint("remove", path)(e)),
        _ => Ok(()),
    }
}

/// Removes a folder of ours with all that is in it; one that is not there is fine. Not yet durable.
pub fn remove_folder(path: &Path) -> Result<()> {
    if !exists(path) {
        return Ok(());
    }
    match points::act("remove-folder", path, || fs::remove_dir_all(path)) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(endpoint("remove", path)(e)),
        _ => Ok(()),
    }
}

/// What a name is, without following it; none: there is nothing.
pub fn look(path: &Path) -> Result<Option<fs::Metadata>> {
    match points::io("look", path, || fs::symlink_metadata(path)) {
        Ok(meta) => Ok(Some(meta)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(endpoint("look at", path)(e)),
    }
}

/// Whether a name is there, whatever it is. One that can't be looked at counts as there: nothing is concluded from trouble.
pub fn exists(path: &Path) -> bool {
    !matches!(fs::symlink_metadata(path), Err(e) if e.kind() == io::ErrorKind::NotFound)
}

/// Gives a plain file these permissions.
pub fn set_mode(path: &Path, mode: u32) -> Result<()> {
    open_file(path)?.set_permissions(fs::Permissions::from_mode(mode)).map_err(endpoint("set the permissions of", path))
}

/// Syncs the folder of a path.
pub fn sync_parent(path: &Path) -> Result<()> {
    sync_folder(path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")))
}

/// Who has a lock.
#[derive(Debug)]
pub enum Held {
    /// This process, as long as the handle lives.
    Ours(File),
    /// Another one: its number and command, where the system tells.
    By(String),
}

/// How long a lock may be in the way that somebody takes only to look.
const LOOK_MAX: Duration = Duration::from_millis(500);

/// Whether another process has locked a folder. Looks do not see each other.
pub fn is_locked(path: &Path) -> Result<bool> {
    let file = File::open(path).map_err(endpoint("open", path))?;
    Ok(rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) == Err(rustix::io::Errno::WOULDBLOCK))
}

/// Locks a folder for this process, if no other has it.
pub fn lock(path: &Path) -> Result<Held> {
    let file = File::open(path).map_err(endpoint("open", path))?;
    let end = Instant::now() + LOOK_MAX;
    let taken = loop {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            // Where one can't even look, somebody has it for good.
            Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < end && !is_locked(path)? => std::thread::sleep(LOOK_MAX / 20),
            answer => break answer,
        }
    };
    match taken {
        Ok(()) => Ok(Held::Ours(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(Held::By(crate::sys::lock_holder(&file).unwrap_or_else(|| "process unknown".into()))),
        // A file system without locks (some NFS): a claim is still single by its rename.
        Err(rustix::io::Errno::NOSYS | rustix::io::Errno::NOLCK | rustix::io::Errno::OPNOTSUPP) => Ok(Held::Ours(file)),
        Err(e) => Err(Error::io(Blame::Relay, "lock", path, &e.into())),
    }
}

/// Tries a real write, sync and rename from one folder to another.
pub fn try_out(from: &Path, to: &Path) -> Result<()> {
    // Always the same name, so that one left by a crash goes at the next start.
    let (a, b) = (from.join(".passerelle-probe.tmp"), to.join(".passerelle-probe.tmp"));
    remove(&b)?;
    let tried = NewFile::create(&a, 0o600).and_then(|f| f.sync()).and_then(|()| if a == b { Ok(()) } else { rename_new(&a, &b) });
    remove(&b)?;
    remove(&a)?;
    tried?;
    sync_folder(to)
}

/// Random bytes, for names that nobody else draws.
pub fn random_bytes<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|e| Error::relay(format!("the system gives no random numbers: {e}")))?;
    Ok(bytes)
}

/// What is known of a file before and after it was read: equal means that nobody changed it meanwhile.
pub fn found(meta: &fs::Metadata) -> crate::job::Found {
    let modified_ns = i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec());
    crate::job::Found { size: meta.size(), modified_ns, dev: meta.dev(), ino: meta.ino() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn a_look_at_a_lock_keeps_nobody_from_taking_it() {
        let dir = tempfile::tempdir().unwrap();
        let look = File::open(dir.path()).unwrap();
        rustix::fs::flock(&look, FlockOperation::NonBlockingLockShared).unwrap();
        assert!(!is_locked(dir.path()).unwrap(), "another look is no relay");
        let waiting = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            drop(look);
        });
        let held = lock(dir.path()).unwrap();
        waiting.join().unwrap();
        assert!(matches!(&held, Held::Ours(_)));
        assert!(is_locked(dir.path()).unwrap());
        assert!(matches!(lock(dir.path()).unwrap(), Held::By(_)));
    }

    #[test]
    fn nothing_is_overwritten_by_a_move() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        fs::write(&a, "a").unwrap();
        fs::write(&b, "b").unwrap();
        assert_eq!(move_new(&a, &b, &Stop::new()).unwrap_err().kind(), Kind::Exists);
        assert_eq!((fs::read(&a).unwrap(), fs::read(&b).unwrap()), (b"a".to_vec(), b"b".to_vec()));
    }

    #[test]
    fn links_fifos_and_folders_are_never_opened() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("/etc/passwd", &link).unwrap();
        let fifo = dir.path().join("fifo");
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR).unwrap();
        for path in [&link, &fifo, &dir.path().to_owned()] {
            assert_eq!(open_file(path).unwrap_err().blame(), Blame::File, "{}", path.display());
        }
    }

    #[test]
    fn a_writer_is_seen_by_its_lease() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let writer = File::create(&path).unwrap();
        let reader = open_file(&path).unwrap();
        assert_ne!(crate::sys::writers(&reader), crate::sys::Writers::None);
        drop(writer);
        assert_ne!(crate::sys::writers(&reader), crate::sys::Writers::Some);
    }

    #[test]
    fn a_second_lock_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let first = lock(dir.path()).unwrap();
        assert!(matches!(first, Held::Ours(_)));
        let Held::By(other) = lock(dir.path()).unwrap() else { panic!("locked twice") };
        assert!(other.contains(&format!("process {}", std::process::id())), "{other}");
    }

    #[test]
    fn folders_of_operators_files_can_be_entered_by_them() {
        assert_eq!((folder_mode(0o640), folder_mode(0o600), folder_mode(0o644)), (0o750, 0o700, 0o755));
    }
}
