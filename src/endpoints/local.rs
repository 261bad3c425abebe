//! B's folder on this machine, or on a share that is mounted here. All changes go through `durable`.

use std::io::{Read, Write};
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
    fn syncs(&self) -> bool {
        true
    }

    fn stat(&mut self, path: &Path) -> Result<Option<Stat>> {
        Ok(durable::look(path)?.map(|meta| Stat { size: Some(meta.len()), folder: meta.is_dir() }))
    }

    fn write(&mut self, path: &Path, from: &mut dyn Read, _: u64, mode: Option<u32>) -> Result<u64> {
        let folder = path.parent().unwrap_or(Path::new("/"));
        if !folder.is_dir() {
            return Err(missing_folder(folder));
        }
        let mut file = durable::NewFile::create(path, 0o666)?;
        let total = pump(from, &mut |bytes| file.write_all(bytes).map_err(|e| Error::io(Blame::Endpoint, "write", path, &e)))?;
        if let Some(mode) = mode {
            file.set_mode(mode)?;
        }
        file.sync()?;
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
        durable::make_folder(path, crate::sys::default_mode() | (crate::sys::default_mode() & 0o444) >> 2)
    }

    fn sync_folder(&mut self, path: &Path) -> Result<()> {
        durable::sync_folder(path)
    }

    fn send(&mut self, path: &Path, _: &mut dyn Read, _: &Direct) -> Result<()> {
        Err(Error::endpoint(format!("{} is a folder, which takes no direct sending", path.display())).kind_of(Kind::Unsupported))
    }
}
