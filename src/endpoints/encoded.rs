//! Sessions with a server whose names are in an encoding of its own: UTF-8 here, as the server has them there.
//!
//! It changes names and nothing else.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::reach::Told;
use super::{Dated, Direct, Endpoint, Entry, Listed, Rename, Resumes, Session, Stat, Version};
use crate::config::names::Names;
use crate::error::Result;
use crate::stop::Stop;

/// A server whose names are written in another encoding.
pub(super) struct Encoded {
    pub(super) server: Arc<dyn Endpoint>,
    pub(super) names: Names,
}

impl Endpoint for Encoded {
    fn connect(&self, stop: &Stop, told: &mut Told<'_>) -> Result<Box<dyn Session>> {
        Ok(Box::new(EncodedSession { session: self.server.connect(stop, told)?, names: self.names.clone() }))
    }
    fn greet(&self, stop: &Stop, told: &mut Told<'_>) -> Result<()> {
        self.server.greet(stop, told)
    }
    fn direct(&self) -> bool {
        self.server.direct()
    }
    fn repeatable(&self) -> bool {
        self.server.repeatable()
    }
    fn resumes(&self) -> Resumes {
        self.server.resumes()
    }
}

struct EncodedSession {
    session: Box<dyn Session>,
    names: Names,
}

impl Session for EncodedSession {
    fn syncs(&self) -> bool {
        self.session.syncs()
    }
    fn is_over(&mut self) -> bool {
        self.session.is_over()
    }
    fn stat(&mut self, path: &Path) -> Result<Option<Stat>> {
        self.session.stat(&self.names.there(path)?)
    }
    fn list(&mut self, path: &Path, each: &mut dyn FnMut(Listed) -> Result<()>) -> Result<()> {
        let names = &self.names;
        self.session.list(&names.there(path)?, &mut |listed| match names.here(&listed.name) {
            Some(name) => each(Listed { name, ..listed }),
            // It is counted, and can't be asked for.
            None => each(Listed { entry: Entry::Other, ..listed }),
        })
    }
    fn is_taken(&mut self, path: &Path) -> Result<bool> {
        self.session.is_taken(&self.names.there(path)?)
    }
    fn dated(&mut self, path: &Path) -> Result<Dated> {
        self.session.dated(&self.names.there(path)?)
    }
    fn data_channel(&mut self) -> Option<String> {
        self.session.data_channel()
    }
    fn write(&mut self, path: &Path, from: &mut dyn Read, size: u64, mode: Option<u32>) -> Result<u64> {
        self.session.write(&self.names.there(path)?, from, size, mode)
    }
    fn write_on(&mut self, path: &Path, from_byte: u64, from: &mut dyn Read, mode: Option<u32>) -> Result<u64> {
        self.session.write_on(&self.names.there(path)?, from_byte, from, mode)
    }
    fn read(&mut self, path: &Path, to: &mut dyn Write) -> Result<u64> {
        self.session.read(&self.names.there(path)?, to)
    }
    fn read_changed(&mut self, path: &Path, known: &Version, to: &mut dyn Write) -> Result<Option<Version>> {
        self.session.read_changed(&self.names.there(path)?, known, to)
    }
    fn rename(&mut self, from: &Path, to: &Path, how: Rename) -> Result<()> {
        self.session.rename(&self.names.there(from)?, &self.names.there(to)?, how)
    }
    fn remove(&mut self, path: &Path) -> Result<()> {
        self.session.remove(&self.names.there(path)?)
    }
    fn make_folder(&mut self, path: &Path) -> Result<()> {
        self.session.make_folder(&self.names.there(path)?)
    }
    fn sync_folder(&mut self, path: &Path) -> Result<()> {
        self.session.sync_folder(&self.names.there(path)?)
    }
    fn place(&self, path: &Path) -> PathBuf {
        // Nothing goes to a name that can't be written there, so none is asked for.
        self.session.place(&self.names.there(path).unwrap_or_else(|_| path.to_owned()))
    }
    fn execute(&mut self, args: &[Vec<u8>], limit: Duration, stop: &Stop) -> Result<()> {
        self.session.execute(args, limit, stop)
    }
    fn send(&mut self, path: &Path, from: &mut dyn Read, how: &Direct) -> Result<()> {
        self.session.send(&self.names.there(path)?, from, how)
    }
}
