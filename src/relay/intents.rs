//! `home/intents`: what was about to be published, in a file beside the journal, so that losing the journal doubles no file.
//!
//! A line is written and synced before each publish is tried (many share one sync). It is read only when the journal is
//! lost: a claimed file without a line was never tried; one with a line is resolved by what lies at B, under the same
//! temporary name, since names are drawn from the secret in the first line. It holds no path of A and no content.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

use crate::durable;
use crate::error::{Blame, Error, Result};
use crate::job::{Delivery, Event, Found, JobId, Name, hex};
use crate::journal::Fact;

/// Beyond this size, and beyond twice what was needed the last time, the lines of jobs that are done are dropped.
const BYTES_MIN: u64 = 4 * 1024 * 1024;

/// One line.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "line", rename_all = "snake_case")]
pub enum Line {
    /// The first one: what delivery numbers are drawn from.
    Instance {
        /// Thirty-two hex digits.
        secret: String,
    },
    /// A publish is about to be tried.
    Publishing {
        /// The job.
        job: JobId,
        /// When it was claimed: what is made of it depends on it.
        received_at: Timestamp,
        /// The delivery, with its temporary name.
        delivery: Delivery,
    },
    /// A file that stays where it is, here or at its server, is about to be taken.
    Kept {
        /// The job.
        job: JobId,
        /// The route.
        route: String,
        /// The file, relative to the source.
        file: Name,
        /// As it was.
        found: Found,
        /// When it was taken.
        received_at: Timestamp,
    },
    /// A file is about to be claimed that stands in a folder below its source: its claimed name does not tell.
    Below {
        /// The job.
        job: JobId,
        /// The folder, relative to the source.
        folder: Name,
    },
    /// A claimed file was found without a journal and without this file: whether B has it can't be known.
    Unknown {
        /// The job.
        job: JobId,
    },
}

impl Line {
    /// The job that it is about; 0 for the first line.
    pub fn job(&self) -> JobId {
        match self {
            Line::Instance { .. } => 0,
            Line::Publishing { job, .. } | Line::Kept { job, .. } | Line::Below { job, .. } | Line::Unknown { job } => *job,
        }
    }
}

/// The file, and what was read of it for jobs that the journal does not know.
#[derive(Debug)]
pub struct Intents {
    path: PathBuf,
    secret: String,
    /// It was there, with its secret, when the relay started.
    pub complete: bool,
    /// One thread appends at a time, or two lines could become one. The size at which lines are dropped.
    append: Mutex<u64>,
    remembered: Mutex<HashMap<JobId, Vec<Line>>>,
}

impl Intents {
    /// Opens the file of a home, or makes one.
    pub fn open(home: &Path) -> Result<Self> {
        let path = home.join("intents");
        let relay = |e: Error| e.blamed_on(Blame::Relay).hint("the relay's own folder must be writable");
        let known = match durable::look(&path).map_err(relay)? {
            Some(_) => read(&path).map_err(relay)?.into_iter().find_map(|l| if let Line::Instance { secret } = l { Some(secret) } else { None }),
            None => None,
        };
        let complete = known.is_some();
        let secret = match known {
            Some(secret) => secret,
            None => {
                let secret = hex(&durable::random_bytes::<16>()?);
                durable::write_whole(&path, &text(&[Line::Instance { secret: secret.clone() }]), 0o600).map_err(relay)?;
                secret
            }
        };
        Ok(Self { path, secret, complete, append: Mutex::new(BYTES_MIN), remembered: Mutex::default() })
    }

    /// Twelve hex digits, the delivery's own and always the same.
    pub fn delivery_id(&self, job: JobId, destination: usize, part: usize) -> String {
        use sha2::Digest;
        let part = if part == 0 { String::new() } else { format!(" {part}") };
        let digest = sha2::Sha256::digest(format!("{} {job} {destination}{part}", self.secret));
        hex(&digest[..6])
    }

    /// Writes lines, durably.
    pub fn write(&self, lines: &[Line]) -> Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        let _one = self.append.lock().unwrap_or_else(PoisonError::into_inner);
        // A line that was cut by a crash must not swallow the first of these.
        let bytes = [b"\n", &text(lines)[..]].concat();
        durable::append(&self.path, &bytes)
    }

    /// All lines.
    pub fn read(&self) -> Result<Vec<Line>> {
        read(&self.path)
    }

    /// Remembers lines of a job, for the step that makes its file anew.
    pub fn remember(&self, lines: Vec<Line>) {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        for line in lines {
            remembered.entry(line.job()).or_default().push(line);
        }
    }

    /// What is remembered of a job.
    pub fn of(&self, job: JobId) -> Vec<Line> {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner).get(&job).cloned().unwrap_or_default()
    }

    /// Drops the lines of jobs that are done, once the file is large: those of jobs for which neither `open` nor, by its
    /// line, `kept` is true.
    pub fn compact(&self, open: &dyn Fn(JobId) -> bool, kept: &dyn Fn(&Line) -> bool) -> Result<()> {
        let mut limit = self.append.lock().unwrap_or_else(PoisonError::into_inner);
        if durable::look(&self.path)?.map_or(0, |m| m.len()) < *limit {
            return Ok(());
        }
        let mut lines = self.read()?;
        let kept: HashSet<JobId> = lines.iter().filter(|l| matches!(l, Line::Kept { .. }) && kept(l)).map(Line::job).collect();
        lines.retain(|l| matches!(l, Line::Instance { .. }) || kept.contains(&l.job()) || open(l.job()));
        let text = text(&lines);
        *limit = BYTES_MIN.max(2 * text.len() as u64);
        durable::write_whole(&self.path, &text, 0o600)
    }
}

/// The lines of facts that need one.
pub fn lines_of(facts: &[Fact]) -> Vec<Line> {
    let line = |f: &Fact| match &f.event {
        Event::Publishing { delivery, .. } => {
            Some(Line::Publishing { job: f.job.id, received_at: f.job.received_at, delivery: f.job.deliveries.get(*delivery)?.clone() })
        }
        _ => None,
    };
    facts.iter().filter_map(line).collect()
}

fn text(lines: &[Line]) -> Vec<u8> {
    let mut out = Vec::new();
    for line in lines {
        // Our own types always serialise.
        out.extend(serde_json::to_vec(line).unwrap_or_default());
        out.push(b'\n');
    }
    out
}

/// The lines of a file; what is no line (one that a crash has cut) is passed over.
fn read(path: &Path) -> Result<Vec<Line>> {
    use std::io::BufRead;
    let file = std::io::BufReader::new(durable::open_file(path)?);
    let mut lines = Vec::new();
    for line in file.split(b'\n') {
        let line = line.map_err(|e| Error::io(Blame::Relay, "read", path, &e))?;
        lines.extend(serde_json::from_slice(&line).ok());
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_survive_a_cut_and_delivery_numbers_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let intents = Intents::open(dir.path()).unwrap();
        assert!(!intents.complete);
        intents.write(&[Line::Unknown { job: 7 }]).unwrap();
        // A crash has cut the next line.
        std::io::Write::write_all(&mut std::fs::OpenOptions::new().append(true).open(dir.path().join("intents")).unwrap(), b"{\"line\":\"unk").unwrap();
        let again = Intents::open(dir.path()).unwrap();
        again.write(&[Line::Unknown { job: 8 }]).unwrap();
        assert!(again.complete);
        assert_eq!(again.delivery_id(7, 0, 0), intents.delivery_id(7, 0, 0));
        assert_ne!(again.delivery_id(7, 0, 0), intents.delivery_id(7, 1, 0));
        assert_eq!(again.read().unwrap()[1..], [Line::Unknown { job: 7 }, Line::Unknown { job: 8 }]);
    }

    #[test]
    fn only_lines_of_open_jobs_are_kept_when_it_is_large() {
        let dir = tempfile::tempdir().unwrap();
        let intents = Intents::open(dir.path()).unwrap();
        let lines: Vec<Line> = (0..200_000).map(|job| Line::Unknown { job }).collect();
        intents.write(&lines).unwrap();
        intents.compact(&|job| job == 5, &|_| false).unwrap();
        assert_eq!(intents.read().unwrap()[1..], [Line::Unknown { job: 5 }]);
        assert_eq!(Intents::open(dir.path()).unwrap().delivery_id(1, 1, 0), intents.delivery_id(1, 1, 0));
    }
}
