//! A session whose requests are points: tests stop, fail or lose each of them, whatever the transport. Not in the builds that users have.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Dated, Direct, Listed, Outgoing, Rename, Session, Stat, Version, lost};
use crate::error::{Kind, Result};
use crate::points;
use crate::stop::Stop;

pub(super) struct Numbered(pub(super) Box<dyn Session>);

/// A request as a point: one that fails or whose answer is lost looks like a broken connection.
fn request<T>(name: &str, path: &Path, call: impl FnOnce() -> Result<T>) -> Result<T> {
    points::io(name, path, || Ok(call())).map_err(|e| if e.kind() == std::io::ErrorKind::StorageFull { lost(&e).kind_of(Kind::Full) } else { lost(&e) })?
}

fn request_left_out(name: &str, path: &Path, call: impl FnOnce() -> Result<()>) -> Result<()> {
    let mut result = Ok(());
    let made = points::act(name, path, || {
        result = call();
        Ok(())
    });
    made.map_err(|e| lost(&e))?;
    result
}

impl Session for Numbered {
    fn syncs(&self) -> bool {
        self.0.syncs()
    }
    fn is_over(&mut self) -> bool {
        self.0.is_over()
    }
    fn stat(&mut self, path: &Path) -> Result<Option<Stat>> {
        request("stat", path, || self.0.stat(path))
    }
    fn list(&mut self, path: &Path, each: &mut dyn FnMut(Listed) -> Result<()>) -> Result<()> {
        request("remote-list", path, || self.0.list(path, each))
    }
    fn is_taken(&mut self, path: &Path) -> Result<bool> {
        request("stat", path, || self.0.is_taken(path))
    }
    fn dated(&mut self, path: &Path) -> Result<Dated> {
        request("stat", path, || self.0.dated(path))
    }
    fn data_channel(&mut self) -> Option<String> {
        self.0.data_channel()
    }
    fn write(&mut self, path: &Path, from: &mut dyn Read, size: u64, mode: Option<u32>) -> Result<u64> {
        let mut halves = Halves { from, path, read: 0 };
        request("upload", path, || self.0.write(path, &mut halves, size, mode))
    }
    fn write_on(&mut self, path: &Path, from_byte: u64, from: &mut dyn Read, mode: Option<u32>) -> Result<u64> {
        let mut halves = Halves { from, path, read: 0 };
        request("upload", path, || self.0.write_on(path, from_byte, &mut halves, mode))
    }
    fn write_all(&mut self, files: &mut [Outgoing<'_>]) -> Result<Vec<Result<u64>>> {
        let Some(first) = files.first().map(|f| f.path.to_owned()) else { return Ok(Vec::new()) };
        let mut halves: Vec<(Halves<'_>, u64, Option<u32>)> =
            files.iter_mut().map(|f| (Halves { from: &mut *f.from, path: f.path, read: 0 }, f.size, f.mode)).collect();
        let mut numbered: Vec<Outgoing<'_>> =
            halves.iter_mut().map(|(from, size, mode)| Outgoing { path: from.path, from, size: *size, mode: *mode }).collect();
        request("upload", &first, || self.0.write_all(&mut numbered))
    }
    fn stat_all(&mut self, paths: &[PathBuf]) -> Result<Vec<Option<Stat>>> {
        let Some(first) = paths.first() else { return Ok(Vec::new()) };
        request("stat", first, || self.0.stat_all(paths))
    }
    fn rename_all(&mut self, names: &[(PathBuf, PathBuf)], how: Rename) -> Vec<Result<()>> {
        let Some((_, first)) = names.first() else { return Vec::new() };
        let mut renamed = vec![Ok(()); names.len()];
        let made = points::act("remote-rename", first, || {
            renamed = self.0.rename_all(names, how);
            Ok(())
        });
        match made {
            Ok(()) => renamed,
            Err(e) => vec![Err(lost(&e)); names.len()],
        }
    }
    fn read(&mut self, path: &Path, to: &mut dyn Write) -> Result<u64> {
        request("download", path, || self.0.read(path, to))
    }
    fn read_changed(&mut self, path: &Path, known: &Version, to: &mut dyn Write) -> Result<Option<Version>> {
        request("download", path, || self.0.read_changed(path, known, to))
    }
    fn rename(&mut self, from: &Path, to: &Path, how: Rename) -> Result<()> {
        request_left_out("remote-rename", to, || self.0.rename(from, to, how))
    }
    fn remove(&mut self, path: &Path) -> Result<()> {
        request_left_out("remote-remove", path, || self.0.remove(path))
    }
    fn make_folder(&mut self, path: &Path) -> Result<()> {
        request("remote-make-folder", path, || self.0.make_folder(path))
    }
    fn sync_folder(&mut self, path: &Path) -> Result<()> {
        request_left_out("remote-sync-folder", path, || self.0.sync_folder(path))
    }
    fn place(&self, path: &Path) -> PathBuf {
        self.0.place(path)
    }
    fn execute(&mut self, args: &[Vec<u8>], limit: Duration, stop: &Stop) -> Result<()> {
        request("remote-command", Path::new(""), || self.0.execute(args, limit, stop))
    }
    fn send(&mut self, path: &Path, from: &mut dyn Read, how: &Direct) -> Result<()> {
        let mut halves = Halves { from, path, read: 0 };
        request("send", path, || self.0.send(path, &mut halves, how))
    }
}

/// Points inside of a body: before its first byte, and after what was read first.
struct Halves<'h> {
    from: &'h mut dyn Read,
    path: &'h Path,
    read: u64,
}

impl Read for Halves<'_> {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        let most = if self.read == 0 { to.len().div_ceil(2) } else { to.len() };
        let n = points::io("body", self.path, || self.from.read(&mut to[..most]))?;
        self.read += n as u64;
        Ok(n)
    }
}
