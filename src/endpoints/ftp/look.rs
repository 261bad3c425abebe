//! What is there under a name, for servers that tell sizes (SIZE) and for those that do not.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use suppaftp::FtpError;

use super::FtpSession;
use super::answer::{code_of, ftp_error, latin, words};
use crate::endpoints::{Session, Stat};
use crate::error::{Kind, Result};

impl FtpSession {
    /// A file or a folder, or nothing.
    pub(super) fn look(&mut self, path: &Path) -> Result<Option<Stat>> {
        let name = self.at(path)?;
        if name.is_empty() {
            // The login's own folder, which has no name.
            return Ok(Some(Stat { size: None, folder: true }));
        }
        match self.stream.size(&name) {
            Ok(size) => Ok(Some(Stat { size: Some(size as u64), folder: false })),
            Err(FtpError::UnexpectedResponse(r)) if code_of(&r) == 550 && !denies_size(&r) => {
                // 550 is also the answer for a folder, and of servers that refuse SIZE.
                Ok(self.is_folder(&name)?.then_some(Stat { size: None, folder: true }))
            }
            // Without SIZE, the list of that name alone tells; of a folder, it is what it holds.
            Err(FtpError::UnexpectedResponse(r)) if matches!(code_of(&r), 500..=504 | 550) => match self.stream.nlst(Some(&name)) {
                // Nothing is there, or an empty folder.
                Ok(names) if names.is_empty() => Ok(self.is_folder(&name)?.then_some(Stat { size: None, folder: true })),
                Ok(names) => {
                    let own = latin(path.file_name().unwrap_or_default().as_bytes());
                    let file = names.len() == 1 && names[0].trim_end().rsplit('/').next() == Some(own.as_str());
                    Ok(Some(if file { Stat { size: self.listed(path)?, folder: false } } else { Stat { size: None, folder: true } }))
                }
                Err(FtpError::UnexpectedResponse(r)) if matches!(code_of(&r), 450 | 500..=504 | 550) => {
                    Ok(self.is_folder(&name)?.then_some(Stat { size: None, folder: true }))
                }
                Err(e) => Err(ftp_error(&e, "stat")),
            },
            Err(e) => Err(ftp_error(&e, "stat")),
        }
    }

    /// A folder can be entered.
    pub(super) fn is_folder(&mut self, name: &str) -> Result<bool> {
        let here = match &self.here {
            Some(here) => here.clone(),
            None => self.stream.pwd().map_err(|e| ftp_error(&e, "stat"))?,
        };
        let entered = match self.stream.cwd(name) {
            Ok(()) => true,
            Err(FtpError::UnexpectedResponse(_)) => false,
            // A connection that broke says nothing of the folder.
            Err(e) => return Err(ftp_error(&e, "stat")),
        };
        if entered {
            self.stream.cwd(&here).map_err(|e| ftp_error(&e, "stat"))?;
        }
        self.here = Some(here);
        Ok(entered)
    }

    /// The size of a file as a list of it alone tells, for servers without SIZE.
    fn listed(&mut self, path: &Path) -> Result<Option<u64>> {
        let mut size = None;
        let name = path.file_name().unwrap_or_default().as_bytes();
        let listed = self.list(path, &mut |entry| {
            if entry.name.rsplit(|b| *b == b'/').next() == Some(name) {
                size = entry.size;
            }
            Ok(())
        });
        match listed {
            Err(e) if e.kind() == Kind::Lost => Err(e),
            // A server may list nothing at all.
            _ => Ok(size),
        }
    }

    /// A file of that name is there, as far as one question tells.
    pub(super) fn is_file(&mut self, path: &Path) -> Result<bool> {
        let name = self.at(path)?;
        match self.stream.size(&name) {
            Ok(_) => Ok(true),
            Err(FtpError::UnexpectedResponse(r)) if code_of(&r) == 550 && !denies_size(&r) => Ok(false),
            _ => self.exists(path),
        }
    }

    pub(super) fn exists(&mut self, path: &Path) -> Result<bool> {
        Ok(self.stat(path)?.is_some())
    }
}

/// A server that lets nobody ask for sizes says the same of files that are there and of those that are not.
fn denies_size(answer: &suppaftp::types::Response) -> bool {
    let words = words(&answer.body).to_lowercase();
    words.contains("denied") || words.contains("not permitted") || words.contains("not allowed")
}
