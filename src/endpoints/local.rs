//! B's folder on this machine, or on a share that is mounted here. All changes go through `durable`.

use std::io::{Read, Write};
use std::path::Path;

use super::reach::Told;
use super::{Dated, Direct, Endpoint, Entry, Listed, Rename, Session, Stat, missing_folder, pump};
use crate::durable;
use crate::error::{Blame, Error, Kind, Result};
use crate::stop::Stop;

/// Local folders.
#[derive(Debug)]
pub struct Local;

impl Endpoint for Local {
    fn connect(&self, _: &Stop, _: &mut Told<'_>) -> Result<Box<dyn Session>> {
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

    fn dated(&mut self, _: &Path) -> Result<Dated> {
        Ok(Dated::Listed)
    }

    fn list(&mut self, path: &Path, each: &mut dyn FnMut(Listed) -> Result<()>) -> Result<()> {
        use std::os::unix::ffi::OsStringExt;
        use std::os::unix::fs::MetadataExt;
        let fail = |e: &std::io::Error| Error::io(Blame::Endpoint, "list", path, e);
        for entry in std::fs::read_dir(path).map_err(|e| fail(&e))? {
            let entry = entry.map_err(|e| fail(&e))?;
            // What was taken away meanwhile is not there.
            let Ok(meta) = entry.metadata() else { continue };
            let kind = if meta.is_dir() {
                Entry::Folder
            } else if meta.is_file() {
                Entry::File
            } else {
                Entry::Other
            };
            each(Listed { name: entry.file_name().into_vec(), entry: kind, size: Some(meta.len()), modified: Some(meta.mtime()) })?;
        }
        Ok(())
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
