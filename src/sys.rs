//! What only Linux has, and all `unsafe` of the project: leases, the kind of a file system, TLS session reuse.
//!
//! Each unsafe block has its argument. Nothing here decides anything.

#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

/// Whether some process has a file open for writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writers {
    /// Nobody.
    None,
    /// Somebody.
    Some,
    /// The kernel does not tell us: another owner's file without CAP_LEASE, or a file system without leases.
    Unknown,
}

/// Asks the kernel whether any process has `file`, which is open for reading, open or mapped for writing.
/// A read lease is granted only when nobody has; it is given back at once, since a held one would stall a writer.
pub fn writers(file: &File) -> Writers {
    let fd = file.as_raw_fd();
    // SAFETY: `fd` is open as long as `file` lives; F_SETLEASE takes an int and touches no memory of ours.
    let taken = unsafe { libc::fcntl(fd, libc::F_SETLEASE, libc::F_RDLCK) };
    if taken == 0 {
        // SAFETY: as above.
        unsafe { libc::fcntl(fd, libc::F_SETLEASE, libc::F_UNLCK) };
        return Writers::None;
    }
    match io::Error::last_os_error().raw_os_error() {
        Some(libc::EAGAIN | libc::EBUSY) => Writers::Some,
        _ => Writers::Unknown,
    }
}

/// Whether a folder lies on a network share, where the kernel reports no changes of others and grants no leases.
pub fn is_network_share(path: &Path) -> bool {
    const NETWORK: &[i64] = &[
        0x6969,      // NFS
        0x517B,      // SMB
        0xFF53_4D42, // CIFS
        0xFE53_4D42, // SMB2
        0x6573_5546, // FUSE: sshfs, rclone mount and their like
        0x0102_1997, // 9P
        0x5346_414F, // AFS
        0x00C3_6400, // Ceph
        0x0BD0_0BD0, // Lustre
    ];
    rustix::fs::statfs(path).is_ok_and(|s| NETWORK.contains(&(i64::from(s.f_type as u32))))
}

/// Who holds the `flock` of an open file, as `process 17: passerelle run`; none where /proc does not tell.
pub fn lock_holder(file: &File) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let meta = file.metadata().ok()?;
    let (major, minor) = (rustix::fs::major(meta.dev()), rustix::fs::minor(meta.dev()));
    let wanted = format!("{major:02x}:{minor:02x}:{}", meta.ino());
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    // "1: FLOCK  ADVISORY  WRITE 17 fe:00:1234 0 EOF"
    let line = locks.lines().map(|l| l.split_whitespace().collect::<Vec<_>>()).find(|l| l.contains(&"FLOCK") && l.contains(&wanted.as_str()))?;
    // No secret is ever part of our command line.
    let command = std::fs::read(format!("/proc/{}/cmdline", line.get(4)?)).unwrap_or_default();
    let words = String::from_utf8_lossy(&command).replace('\0', " ");
    Some(format!("process {}: {}", line.get(4)?, crate::error::shown_bytes(words.trim().as_bytes())))
}

/// Which process has a file open for writing, as `process 17: excel`; none where /proc does not tell, as of other users'.
pub fn writer_of(path: &Path) -> Option<String> {
    let is_number = |p: &std::fs::DirEntry| p.file_name().to_str().is_some_and(|n| n.parse::<u32>().is_ok());
    for process in std::fs::read_dir("/proc").ok()?.flatten().filter(is_number) {
        let folder = process.path();
        for open in std::fs::read_dir(folder.join("fd")).into_iter().flatten().flatten() {
            if std::fs::read_link(open.path()).is_ok_and(|p| p == path) {
                let info = std::fs::read_to_string(folder.join("fdinfo").join(open.file_name())).unwrap_or_default();
                let flags = info.lines().find_map(|l| l.strip_prefix("flags:")).and_then(|f| i32::from_str_radix(f.trim(), 8).ok());
                if flags.is_some_and(|f| f & libc::O_ACCMODE != libc::O_RDONLY) {
                    // The program's name alone: another's command line may hold a password.
                    let name = std::fs::read(folder.join("comm")).unwrap_or_default();
                    return Some(format!("process {}: {}", process.file_name().to_string_lossy(), crate::error::shown_bytes(name.trim_ascii())));
                }
            }
        }
    }
    None
}

/// Which start of the machine this is, and when it was; none where /proc does not tell.
pub fn boot() -> Option<(String, std::time::SystemTime)> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let uptime = std::fs::read_to_string("/proc/uptime").ok()?;
    let seconds = uptime.split_whitespace().next()?.parse().ok()?;
    let since = std::time::SystemTime::now().checked_sub(std::time::Duration::try_from_secs_f64(seconds).ok()?)?;
    Some((id.trim().to_owned(), since))
}

/// The permissions that a new file gets: 0666 less the umask. Read from /proc, since the system call for it can only set it.
pub fn default_mode() -> u32 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|l| u32::from_str_radix(l.strip_prefix("Umask:")?.trim(), 8).ok());
    0o666 & !mask.unwrap_or(0o022)
}

/// Lets a TLS connection resume `session` (FTPS servers demand it of their data connections).
pub fn resume_tls_session(ssl: &mut openssl::ssl::SslRef, session: &openssl::ssl::SslSession) -> Result<(), openssl::error::ErrorStack> {
    // SAFETY: the caller made `session` from a handshake of the same `SslContext` that `ssl` comes from, which is
    // what `set_session` demands.
    unsafe { ssl.set_session(session) }
}

/// The text that bytes are, if they are UTF-8; else the bytes again. Large files are judged several times faster than by
/// the standard library.
pub fn utf8(bytes: Vec<u8>) -> Result<String, Vec<u8>> {
    match simdutf8::basic::from_utf8(&bytes) {
        // SAFETY: these very bytes were just found to be UTF-8, and nothing has touched them since.
        Ok(_) => Ok(unsafe { String::from_utf8_unchecked(bytes) }),
        Err(_) => Err(bytes),
    }
}
