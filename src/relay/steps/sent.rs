//! What a server was sent record by record, one line for each request: which were taken, which refused, and which one
//! was in hand when something broke.
//!
//! A request is written down before it is made, and its outcome with the next one, so that after a crash at most one is
//! in doubt. The lines are read beside the records once more and never held in memory.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use crate::durable;
use crate::error::{Blame, Error, Result};

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// B has it.
    Taken,
    /// B refused it, in these words.
    Refused(String),
}

/// What is known of the next request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// It was never made, or never got to the server.
    Nothing,
    /// It was made, with this outcome.
    Done(Outcome),
    /// It was in hand when the relay or the connection broke.
    Begun,
    /// The same, and an operator was asked.
    Asked,
}

/// The log of one delivery.
pub(super) struct Sent {
    path: PathBuf,
    /// What was written before this start, how much that is, and how much of it was read.
    known: BufReader<File>,
    length: u64,
    read: u64,
    to: File,
    /// Every line survives a power cut before the request goes out.
    durable: bool,
}

impl Sent {
    /// Opens the log, to be read from its beginning; it is made where it is not there yet. `durable` where a request may
    /// not go twice.
    pub(super) fn open(path: &Path, durable: bool) -> Result<Self> {
        let fail = |e: &std::io::Error| Error::io(Blame::Endpoint, "write", path, e);
        if !path.exists() {
            if let Some(folder) = path.parent() {
                durable::make_folder(folder, 0o700)?;
            }
            drop(durable::NewFile::create(path, 0o600)?);
            durable::sync_parent(path)?;
        }
        let to = File::options().append(true).open(path).map_err(|e| fail(&e))?;
        let length = to.metadata().map_err(|e| fail(&e))?.len();
        Ok(Self { path: path.to_owned(), known: BufReader::new(durable::open_file(path)?), length, read: 0, to, durable })
    }

    /// What is known of the request with that digest, the next in order. The digest is of its place and its body.
    pub(super) fn next(&mut self, digest: &str) -> Result<Known> {
        let fail = |e: &std::io::Error| Error::io(Blame::Endpoint, "read", &self.path, e);
        let mut known = Known::Nothing;
        while self.read < self.length {
            let mut line = Vec::new();
            let n = self.known.read_until(b'\n', &mut line).map_err(|e| fail(&e))?;
            let text = String::from_utf8_lossy(&line).into_owned();
            let about = text.get(1..).and_then(|rest| rest.strip_prefix(digest)).and_then(|rest| rest.strip_suffix('\n'));
            let Some(words) = about else {
                self.known.seek_relative(-i64::try_from(n).unwrap_or(0)).map_err(|e| fail(&e))?;
                // A mapping was changed since, or a power cut tore the line: what stands from here on says nothing.
                if known == Known::Nothing {
                    self.to.set_len(self.read).map_err(|e| fail(&e))?;
                    self.length = self.read;
                }
                break;
            };
            self.read += n as u64;
            known = match line[0] {
                b'?' => Known::Begun,
                b'+' => Known::Done(Outcome::Taken),
                b'-' => Known::Done(Outcome::Refused(words.trim_start().to_owned())),
                b'!' => Known::Asked,
                _ => Known::Nothing,
            };
        }
        Ok(known)
    }

    fn line(&mut self, line: &str) -> Result<()> {
        let fail = |e: &std::io::Error| Error::io(Blame::Endpoint, "write", &self.path, e);
        self.to.write_all(line.as_bytes()).map_err(|e| fail(&e))
    }

    /// A request is about to be made.
    pub(super) fn begin(&mut self, digest: &str) -> Result<()> {
        self.line(&format!("?{digest}\n"))?;
        // What became of the one before goes with it; of the last one, a power cut leaves a doubt.
        if !self.durable {
            return Ok(());
        }
        self.to.sync_data().map_err(|e| Error::io(Blame::Endpoint, "sync", &self.path, &e))
    }
    /// It is answered.
    pub(super) fn done(&mut self, digest: &str, outcome: &Outcome) -> Result<()> {
        match outcome {
            Outcome::Taken => self.line(&format!("+{digest}\n")),
            Outcome::Refused(words) => self.line(&format!("-{digest} {}\n", words.replace(['\r', '\n'], " "))),
        }
    }
    /// It never got to the server.
    pub(super) fn withdraw(&mut self, digest: &str) -> Result<()> {
        self.line(&format!("0{digest}\n"))
    }
    /// Whether it got there can't be known, and an operator is asked.
    pub(super) fn ask(&mut self, digest: &str) -> Result<()> {
        self.line(&format!("!{digest}\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_became_of_each_request_is_known_after_a_crash() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sent/1-0");
        let mut sent = Sent::open(&path, true).unwrap();
        assert_eq!(sent.next("a").unwrap(), Known::Nothing);
        sent.begin("a").unwrap();
        sent.done("a", &Outcome::Taken).unwrap();
        assert_eq!(sent.next("b").unwrap(), Known::Nothing, "what this start writes is not read again");
        sent.begin("b").unwrap();
        sent.withdraw("b").unwrap();
        sent.begin("b").unwrap();
        sent.done("b", &Outcome::Refused("no\nsuch client".into())).unwrap();
        sent.begin("c").unwrap();
        let mut again = Sent::open(&path, true).unwrap();
        assert_eq!(again.next("a").unwrap(), Known::Done(Outcome::Taken));
        assert_eq!(again.next("b").unwrap(), Known::Done(Outcome::Refused("no such client".into())));
        assert_eq!(again.next("c").unwrap(), Known::Begun);
        again.ask("c").unwrap();
        // A line that a power cut has torn is none.
        again.line("+c").unwrap();
        let mut last = Sent::open(&path, true).unwrap();
        assert_eq!((last.next("a").unwrap(), last.next("b").unwrap().clone() == Known::Nothing), (Known::Done(Outcome::Taken), false));
        assert_eq!(last.next("c").unwrap(), Known::Asked);
        assert_eq!(last.next("d").unwrap(), Known::Nothing);
        last.begin("d").unwrap();
        let mut whole = Sent::open(&path, true).unwrap();
        for (digest, known) in [("a", Known::Done(Outcome::Taken)), ("x", Known::Nothing), ("c", Known::Nothing)] {
            assert_eq!(whole.next(digest).unwrap(), known, "{digest}: a request of another mapping");
        }
    }
}
