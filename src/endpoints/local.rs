//! B's folder on this machine, or on a share that is mounted here. All changes go through `durable`.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{Direct, Endpoint, Rename, Session, Stat, missing_folder, pump};
use crate::durable;
use crate::error::{Blame, Error, Kind, Result};
use crate::stop::Stop;

/// Local folders.
#[derive(Debug)]
pub struct Local;

impl Endpoint for Local {
    fn connect(&self, _: &Stop) -> Result<Box<dyn Session>> {
        Ok(Box::new(LocalSession))
    }
    fn direct(&self) -> bool {
        false
    }
    fn repeatable(&self) -> bool {
        true
    }
}

struct LocalSession;

impl Session for LocalSession {
    fn stat(&mut self, path: &Path) -> Result<Option<Stat>> {
        match fs::symlink_metadata(path) {
            Ok(meta) => Ok(Some(Stat { size: Some(meta.len()), folder: meta.is_dir() || path.is_dir() })),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::io(Blame::Endpoint, "look at", path, &e)),
        }
    }

    fn write(&mut self, path: &Path, from: &mut dyn Read, _: u64, mode: Option<u32>) -> Result<u64> {
        let folder = path.parent().unwrap_or(Path::new("/"));
        if !folder.is_dir() {
            return Err(missing_folder(folder));
        }
        let mut file = durable::create(path, 0o666)?;
        let total = pump(from, &mut |bytes| file.write_all(bytes).map_err(|e| Error::io(Blame::Endpoint, "write", path, &e)))?;
        if let Some(mode) = mode {
            file.set_permissions(fs::Permissions::from_mode(mode)).map_err(|e| Error::io(Blame::Endpoint, "set the permissions of", path, &e))?;
        }
        durable::sync_file(&file, path)?;
        Ok(total)
    }

    fn read(&mut self, path: &Path, to: &mut dyn Write) -> Result<u64> {
        let mut file = durable::open_file(path).map_err(|e| e.blamed_on(Blame::Endpoint))?;
        durable::copy(&mut file, to, &Stop::new())
    }

    fn rename(&mut self, from: &Path, to: &Path, how: Rename) -> Result<()> {
        match how {
            Rename::New => durable::rename_new(from, to),
            Rename::Replace => durable::rename_over(from, to),
        }
    }

    fn remove(&mut self, path: &Path) -> Result<()> {
        durable::remove(path)
    }

    fn make_folder(&mut self, path: &Path) -> Result<()> {
        match fs::create_dir(path) {
            Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => Err(Error::io(Blame::Endpoint, "make the folder", path, &e)),
            Ok(()) => durable::sync_parent(path),
            Err(_) => Ok(()),
        }
    }

    fn sync_folder(&mut self, path: &Path) -> Result<()> {
        durable::sync_folder(path)
    }

    fn send(&mut self, path: &Path, _: &mut dyn Read, _: &Direct) -> Result<()> {
        Err(Error::endpoint(format!("{} is a folder, which takes no direct sending", path.display())).kind_of(Kind::Unsupported))
    }
}
