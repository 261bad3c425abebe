//! Every change of local files that matters: claim, work, publish, archive. All renames and syncs of the relay are here.
//!
//! A function returns when what it did would survive a power cut. Nothing is ever overwritten unless the name of the
//! function says so, and no link is ever followed at the last part of a path.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{CWD, FlockOperation, RenameFlags};

use crate::error::{Blame, Error, Result};
use crate::stop::Stop;

/// How much is copied between two looks at the wish to stop.
pub const CHUNK_BYTES: usize = 256 * 1024;

fn endpoint(what: &str, path: &Path) -> impl Fn(io::Error) -> Error {
    move |e| Error::io(Blame::Endpoint, what, path, &e)
}

/// Makes the entries of a folder survive a power cut.
pub fn sync_folder(path: &Path) -> Result<()> {
    File::open(path).and_then(|d| d.sync_all()).map_err(endpoint("sync the folder", path))
}

/// Makes a file's bytes survive a power cut. A failed sync is never tried again on the same file (Rebello et al., USENIX ATC 2020).
pub fn sync_file(file: &File, path: &Path) -> Result<()> {
    file.sync_all().map_err(endpoint("sync", path))
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
    match fs::DirBuilder::new().mode(mode).create(path) {
        Ok(()) => {
            // The umask must not make an operators' folder unreadable for them.
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(endpoint("set the permissions of", path))?;
            sync_folder(path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")))
        }
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(endpoint("make the folder", path)(e)),
    }
}

/// The permissions of a folder of files with these permissions: whoever may read them may enter.
pub fn folder_mode(file_mode: u32) -> u32 {
    file_mode | 0o100 | (file_mode & 0o044) >> 2
}

/// Renames without replacing; an existing name is [`Kind::Exists`], a missing one [`Kind::NotFound`]. Not yet durable.
pub fn rename_new(from: &Path, to: &Path) -> Result<()> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(()),
        // Some network and FUSE file systems have no such rename: a hard link refuses an existing name just as well.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
            fs::hard_link(from, to).map_err(endpoint("link to", to))?;
            fs::remove_file(from).map_err(|e| {
                // Both names or neither: the second link is ours to take back.
                let _ = fs::remove_file(to);
                endpoint("remove", from)(e)
            })
        }
        Err(e) => Err(Error::io(Blame::Endpoint, "rename to", to, &e.into())),
    }
}

/// Renames and replaces. Not yet durable.
pub fn rename_over(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(endpoint("rename to", to))
}

/// Moves a file to a name that must be free, across file systems if need be. What was renamed is durable only after
/// its folders are synced, which many moves may share; what had to be copied is durable at once.
pub fn shift(from: &Path, to: &Path, stop: &Stop) -> Result<()> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::XDEV) => move_new(from, to, stop),
        Err(_) => rename_new(from, to),
    }
}

/// Moves a file to a name that must be free, across file systems if need be, durably at both ends.
pub fn move_new(from: &Path, to: &Path, stop: &Stop) -> Result<()> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(rustix::io::Errno::XDEV) => {
            let temporary = to.with_file_name(format!(".{}.part", crate::job::hex(&random_bytes::<6>()?)));
            let copied = copy_new(from, &temporary, stop).and_then(|_| rename_new(&temporary, to));
            if copied.is_err() {
                // The copy is ours and incomplete; the original is where it was.
                let _ = fs::remove_file(&temporary);
            }
            copied?;
            sync_parent(to)?;
            fs::remove_file(from).map_err(endpoint("remove", from))?;
            sync_parent(from)
        }
        Ok(()) => {
            sync_parent(to)?;
            sync_parent(from)
        }
        Err(_) => {
            rename_new(from, to)?;
            sync_parent(to)?;
            sync_parent(from)
        }
    }
}

/// Copies a file to a new one with its time and permissions, synced; gives its size.
pub fn copy_new(from: &Path, to: &Path, stop: &Stop) -> Result<u64> {
    let mut source = open_file(from)?;
    let meta = source.metadata().map_err(endpoint("look at", from))?;
    let mut target = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to).map_err(endpoint("create", to))?;
    let size = copy(&mut source, &mut target, stop).map_err(|e| e.on_file(to))?;
    target.set_permissions(meta.permissions()).map_err(endpoint("set the permissions of", to))?;
    if let Ok(time) = meta.modified() {
        target.set_modified(time).map_err(endpoint("set the time of", to))?;
    }
    sync_file(&target, to)?;
    Ok(size)
}

/// Copies bytes, looking at the wish to stop between chunks.
pub fn copy(from: &mut dyn Read, to: &mut dyn Write, stop: &Stop) -> Result<u64> {
    let mut buf = vec![0; CHUNK_BYTES];
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
    }
}

/// Opens a plain file for reading: links, fifos, sockets and devices are refused without being opened for real.
pub fn open_file(path: &Path) -> Result<File> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(|e| match e.raw_os_error() {
        Some(libc::ELOOP) => Error::file(format!("{} is a link, and links are never followed", crate::error::shown(path))),
        _ => endpoint("open", path)(e),
    })?;
    if file.metadata().is_ok_and(|m| m.is_file()) { Ok(file) } else { Err(Error::file(format!("{} is no plain file", crate::error::shown(path)))) }
}

/// Writes a small file whole, durably, replacing one of that name.
pub fn write_whole(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut temporary = tempfile::Builder::new().prefix(".note-").suffix(".part").tempfile_in(folder).map_err(endpoint("create a file in", folder))?;
    temporary.write_all(bytes).map_err(endpoint("write", path))?;
    temporary.as_file().set_permissions(fs::Permissions::from_mode(mode)).map_err(endpoint("set the permissions of", path))?;
    sync_file(temporary.as_file(), path)?;
    temporary.persist(path).map_err(|e| endpoint("write", path)(e.error))?;
    sync_folder(folder)
}

/// Creates a file of ours, or empties it: a temporary file with a name that nobody else has.
pub fn create(path: &Path, mode: u32) -> Result<File> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC).mode(mode).open(path);
    file.map_err(endpoint("create", path))
}

/// Removes a file; one that is not there is fine.
pub fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(endpoint("remove", path)(e)),
        _ => Ok(()),
    }
}

/// Removes a folder of ours with all that is in it; one that is not there is fine.
pub fn remove_folder(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(endpoint("remove", path)(e)),
        _ => Ok(()),
    }
}

/// Syncs the folder of a path.
pub fn sync_parent(path: &Path) -> Result<()> {
    sync_folder(path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")))
}

/// Locks a file or folder for this process; none: another process has it. The lock lives as long as the handle.
pub fn lock(path: &Path) -> Result<Option<File>> {
    let file = File::open(path).map_err(endpoint("open", path))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        // A file system without locks (some NFS): a claim is still single by its rename.
        Err(rustix::io::Errno::NOSYS | rustix::io::Errno::NOLCK | rustix::io::Errno::OPNOTSUPP) => Ok(Some(file)),
        Err(e) => Err(Error::io(Blame::Relay, "lock", path, &e.into())),
    }
}

/// Tries a real rename and sync in a folder, which shows missing rights, a read-only mount and a full disk at once.
pub fn probe(folder: &Path) -> Result<()> {
    let name = crate::job::hex(&random_bytes::<6>()?);
    let (a, b) = (folder.join(format!(".passerelle-probe-{name}.tmp")), folder.join(format!(".passerelle-probe-{name}.2.tmp")));
    let tried = create(&a, 0o600).and_then(|f| sync_file(&f, &a)).and_then(|()| rename_new(&a, &b));
    remove(&b)?;
    remove(&a)?;
    tried?;
    sync_folder(folder)
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
        rustix::fs::mkfifoat(CWD, &fifo, rustix::fs::Mode::RUSR).unwrap();
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
        assert!(first.is_some());
        assert!(lock(dir.path()).unwrap().is_none());
    }

    #[test]
    fn folders_of_operators_files_can_be_entered_by_them() {
        assert_eq!((folder_mode(0o640), folder_mode(0o600), folder_mode(0o644)), (0o750, 0o700, 0o755));
    }
}
