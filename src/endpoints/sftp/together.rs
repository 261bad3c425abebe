//! Requests about many files at once: none waits for the answers to another, so that a long way costs a run of files
//! what it costs one.
//!
//! Each file has its own answers; a lost connection leaves those that were not read unknown.

use std::path::{Path, PathBuf};

use super::{FOR_WRITING, SftpSession};
use crate::endpoints::{Outgoing, Rename, Session, Stat, rename_one_by_one, source_error};
use crate::error::{Error, Kind, Result, shown};

/// The requests that end the writing of a file: permissions, sync, close.
pub(super) struct Ending {
    mode: Option<u32>,
    sync: Option<u32>,
    close: u32,
}

impl SftpSession {
    /// Ends the writing of a file without waiting for the answers: a server works on one file's requests in their order
    /// (draft-ietf-secsh-filexfer-02, 3).
    pub(super) fn send_end(&mut self, handle: &[u8], mode: Option<u32>) -> Result<Ending> {
        let mode = mode.map(|mode| self.wire.send_mode(handle, mode)).transpose()?;
        let syncs = self.caps.sync && !crate::points::planted("no-remote-sync");
        let sync = if syncs { Some(self.wire.send_sync(handle)?) } else { None };
        Ok(Ending { mode, sync, close: self.wire.send_close(handle)? })
    }

    /// The answers to [`SftpSession::send_end`], all of them read.
    pub(super) fn end(&mut self, ending: Ending, path: &Path) -> Result<()> {
        let mut first = None;
        for (asked, what) in [(ending.mode, "set the permissions of"), (ending.sync, "sync"), (Some(ending.close), "close")] {
            let Some(asked) = asked else { continue };
            if let Some(status) = self.wire.status_of(asked)? {
                let error = status.error(what, path);
                first.get_or_insert(if Some(asked) == ending.mode {
                    Error::endpoint(error.message()).kind_of(error.kind()).hint("leave `mode` out of this destination")
                } else {
                    error
                });
            }
        }
        first.map_or(Ok(()), Err)
    }

    /// The answer to a request for what is there.
    pub(super) fn stat_of(&mut self, asked: u32, path: &Path) -> Result<Option<Stat>> {
        match self.wire.stat_of(asked)? {
            Ok(found) => Ok(found.map(|(size, mode)| Stat { size, folder: mode.is_some_and(|m| m & 0o170_000 == 0o040_000) })),
            Err(status) => Err(status.error("look at", path)),
        }
    }

    /// The answer to a rename that replaces, or that the server refuses if the name is there.
    pub(super) fn renamed(&mut self, asked: u32, to: &Path, how: Rename) -> Result<()> {
        let Some(status) = self.wire.status_of(asked)? else { return Ok(()) };
        if how == Rename::New && matches!(self.wire.stat(to)?, Ok(Some(_))) {
            return Err(Error::endpoint(format!("{} is there already", shown(to))).kind_of(Kind::Exists));
        }
        let error = status.error("rename to", to);
        let hint = "the server does not rename in one step: let it (posix-rename), or set if_exists = \"wait\" or \"rename\"";
        Err(if how == Rename::Replace { error.hint(hint) } else { error })
    }

    pub(super) fn write_together(&mut self, files: &mut [Outgoing<'_>]) -> Result<Vec<Result<u64>>> {
        let (_, most) = self.pieces()?;
        let paths: Vec<PathBuf> = files.iter().map(|f| self.at(f.path)).collect();
        let mut opened = Vec::with_capacity(files.len());
        for path in &paths {
            opened.push(self.wire.send_open(path, FOR_WRITING)?);
        }
        let mut sent = Vec::with_capacity(files.len());
        for ((file, path), asked) in files.iter_mut().zip(&paths).zip(opened) {
            let handle = match self.wire.handle_of(asked)? {
                Ok(handle) => handle,
                Err(status) => {
                    sent.push(Err(status));
                    continue;
                }
            };
            let mut bytes = Vec::with_capacity(usize::try_from(file.size).unwrap_or(0));
            // What can't be read fails the whole run, whose files are then sent one by one.
            file.from.read_to_end(&mut bytes).map_err(|e| source_error(&e))?;
            let mut writes = Vec::new();
            for (at, piece) in bytes.chunks(most).enumerate() {
                writes.push(self.wire.send_write(&handle, (at * most) as u64, piece)?);
            }
            sent.push(Ok((writes, self.send_end(&handle, file.mode)?, bytes.len() as u64, path)));
        }
        let mut written = Vec::with_capacity(files.len());
        let mut refused = Vec::new();
        for (at, sent) in sent.into_iter().enumerate() {
            let (writes, ending, size, path) = match sent {
                Ok(sent) => sent,
                Err(status) => {
                    refused.push((at, status));
                    written.push(Ok(0));
                    continue;
                }
            };
            let mut failed = None;
            for asked in writes {
                if let Some(status) = self.wire.status_of(asked)? {
                    failed.get_or_insert(status.error("write", path).hint(super::FULL_HINT));
                }
            }
            let ended = self.end(ending, path);
            written.push(failed.map_or(ended, Err).map(|()| size));
        }
        for (at, status) in refused {
            written[at] = Err(self.fail_in_folder(&status, "create", &paths[at]));
        }
        Ok(written)
    }

    pub(super) fn stat_together(&mut self, paths: &[PathBuf]) -> Result<Vec<Option<Stat>>> {
        let paths: Vec<PathBuf> = paths.iter().map(|p| self.at(p)).collect();
        let mut asked = Vec::with_capacity(paths.len());
        for path in &paths {
            asked.push(self.wire.send_stat(path)?);
        }
        asked.into_iter().zip(&paths).map(|(asked, path)| self.stat_of(asked, path)).collect()
    }

    pub(super) fn rename_together(&mut self, names: &[(PathBuf, PathBuf)], how: Rename) -> Vec<Result<()>> {
        if how == Rename::Replace && !self.caps.atomic_replace {
            // Several requests each, every one after the answer to the last.
            return rename_one_by_one(names, |from, to| self.rename(from, to, how));
        }
        let names: Vec<(PathBuf, PathBuf)> = names.iter().map(|(from, to)| (self.at(from), self.at(to))).collect();
        let mut asked = Vec::with_capacity(names.len());
        for (from, to) in &names {
            asked.push(match how {
                Rename::Replace => self.wire.send_posix_rename(from, to),
                Rename::New => self.wire.send_rename(from, to),
            });
        }
        // Behind a lost answer, each may have been carried out.
        let mut renamed: Vec<Result<()>> = Vec::with_capacity(names.len());
        let mut lost: Option<Error> = None;
        for (asked, (_, to)) in asked.into_iter().zip(&names) {
            let result = match &lost {
                Some(e) => Err(e.clone()),
                None => asked.and_then(|asked| self.renamed(asked, to, how)),
            };
            lost = lost.or(result.as_ref().err().filter(|e| e.kind() == Kind::Lost).cloned());
            renamed.push(result);
        }
        renamed
    }
}
