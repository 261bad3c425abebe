//! A name in its folder, reached without following any link (openat2, Linux 5.6).
//!
//! What Linux alone has of paths stands here. Older kernels open the folder as usual and refuse a link at the last part.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};

/// A name and the open folder that it stands in.
pub(super) struct Place<'p> {
    pub(super) folder: OwnedFd,
    pub(super) name: &'p OsStr,
}

impl<'p> Place<'p> {
    /// The place of a path.
    pub(super) fn of(path: &'p Path) -> io::Result<Self> {
        let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Ok(Self { folder: open(parent, OFlags::PATH | OFlags::DIRECTORY)?, name })
    }

    /// A folder, open for reading.
    pub(super) fn folder(path: &Path) -> io::Result<File> {
        Ok(open(path, OFlags::RDONLY | OFlags::DIRECTORY)?.into())
    }

    /// Opens the file of that name.
    pub(super) fn open(&self, flags: OFlags, mode: Mode) -> io::Result<File> {
        let fd = rustix::fs::openat(&self.folder, self.name, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, mode)?;
        Ok(fd.into())
    }
}

fn open(folder: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let flags = flags | OFlags::CLOEXEC;
    match rustix::fs::openat2(CWD, folder, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS) {
        // An older kernel, or a sandbox that does not know the call.
        Err(rustix::io::Errno::NOSYS | rustix::io::Errno::PERM) => Ok(rustix::fs::openat(CWD, folder, flags, Mode::empty())?),
        other => Ok(other?),
    }
}
