//! Every call that matters, as a numbered point: where tests stop, fail or break a run. Nothing at all in the builds that users have.
//!
//! Local files go through here by `durable`, the journal's commits by `World::record`, servers by the pool's sessions.
//! In builds with debug assertions `PASSERELLE_POINTS` holds what is to happen, by commas:
//!
//! - `list=FILE`: each point reached is appended to FILE, a line each
//! - `kill=before:N`, `kill=after:N`: the process ends as by `kill -9` at the N-th point; instead of N also a point's name, or one
//!   of several facts that are committed together (`sealed+transformed`)
//! - `fail=N:ENOSPC` (EIO, EMFILE, EROFS, EDQUOT, or `short` for a write that takes half): that call fails
//! - `fail=NAME@PART:EIO`: each call of that name on a path that holds PART fails
//! - `fail-from=N:ENOSPC`: that call and all later ones of its kind fail, as on a disk that stays full
//! - `lose=N`: that call is made, and its answer is lost
//! - `skip=NAME` or `skip=NAME@PART`: calls of that name, on a path that holds PART, are left out and called done
//! - `plant=NAME`: a fault of that name is planted in the code, to show that the proof sees it

use std::io;
use std::path::Path;

#[cfg(debug_assertions)]
mod plan;

/// A call that gives nothing but its success.
#[cfg(debug_assertions)]
pub fn act(name: &str, path: &Path, call: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    if plan::skipped(name, path) {
        return Ok(());
    }
    io(name, path, call)
}

/// A call that gives something.
#[cfg(debug_assertions)]
pub fn io<T>(name: &str, path: &Path, call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let number = plan::reach(name, path)?;
    let result = call();
    plan::passed(number, name)?;
    result
}

/// How many of `len` bytes a write may take.
#[cfg(debug_assertions)]
pub fn write_room(path: &Path, len: usize) -> io::Result<usize> {
    plan::write_room(path, len)
}

/// Whether a fault of that name is planted.
#[cfg(debug_assertions)]
pub fn planted(name: &str) -> bool {
    plan::planted(name)
}

/// The call itself.
#[cfg(not(debug_assertions))]
#[inline]
pub fn act(_: &str, _: &Path, call: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    call()
}

/// The call itself.
#[cfg(not(debug_assertions))]
#[inline]
pub fn io<T>(_: &str, _: &Path, call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    call()
}

/// All of them.
#[cfg(not(debug_assertions))]
#[inline]
pub fn write_room(_: &Path, len: usize) -> io::Result<usize> {
    Ok(len)
}

/// Never.
#[cfg(not(debug_assertions))]
#[inline]
pub fn planted(_: &str) -> bool {
    false
}
