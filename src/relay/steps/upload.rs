//! Sending under temporary names, one file or a run of small ones, and comparing what arrived.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::super::hashing::Hashing;
use super::super::{World, take_ahead};
use super::deliver::{Target, made_for, payload, target};
use super::large::{self, Large, is_large};
use super::seal::{hash_of, hashed_beside};
use crate::config::Verify;
use crate::endpoints::{Followed, Outgoing, Session, Stat, is_present, make_missing};
use crate::error::{Blame, Error, Kind, Result, shown};
use crate::job::{Event, Job};
use crate::points;

/// Sends a delivery's temporary file over so many connections at most, and verifies it.
pub fn upload(w: &World, job: &mut Job, delivery: usize, connections: usize) -> Result<()> {
    let hashed = if is_direct(w, job, delivery)? { None } else { send(w, job, delivery, connections)? };
    let mut next = job.clone();
    w.record_after(take_ahead(&mut next, hashed.map(|hash| Event::Hashed { hash }).into_iter().chain([Event::Uploaded { delivery }]).collect())?, Vec::new())?;
    *job = next;
    Ok(())
}

/// Whether a delivery's destination takes a file under its final name alone.
pub(super) fn is_direct(w: &World, job: &Job, delivery: usize) -> Result<bool> {
    let route = w.route_of(job)?.clone();
    Ok(target(w, &route, job, &job.deliveries[delivery])?.pool.direct())
}

/// Sends and verifies, and records nothing. Gives the hash of an original that had none yet.
pub(super) fn send(w: &World, job: &Job, delivery: usize, connections: usize) -> Result<Option<String>> {
    let route = w.route_of(job)?.clone();
    let t = target(w, &route, job, &job.deliveries[delivery])?;
    let (mut file, size, _) = payload(w, job, delivery)?;
    let made = made_for(job, delivery)?;
    if is_large(size) {
        let (sent, hashed) = hashed_beside(w, job, || large::write(w, &t, Large { job, file: &file, size, connections }));
        return sent
            .and(hashed)
            .and_then(|hashed| {
                let hash = hashed.as_ref().unwrap_or(&made.hash);
                w.with_session(t.d, |session| verify(session, &t, size, hash)).map(|()| hashed)
            })
            .map_err(|e| e.at("upload"));
    }
    let hash = hash_of(w, job, &made)?;
    let result = w.with_session(t.d, |session| {
        ensure_folders(session, &t)?;
        let mut from = Progressing { inner: Followed::new(&mut file, &w.stop, t.pool.rate()), tell: &|n| (w.progress)(job, n) };
        let sent = session.write(&t.temp, &mut from, size, t.d.mode)?;
        if sent != size {
            return Err(cut(sent, size));
        }
        verify(session, &t, size, &hash)
    });
    result.map(|()| None).map_err(|e| e.at("upload"))
}

pub(super) fn cut(sent: u64, size: u64) -> Error {
    Error::endpoint(format!("{sent} of {size} bytes were sent")).kind_of(Kind::Lost)
}

pub(super) struct Progressing<'p> {
    pub(super) inner: Followed<'p>,
    pub(super) tell: &'p dyn Fn(u64),
}

impl std::io::Read for Progressing<'_> {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(to)?;
        (self.tell)(n as u64);
        Ok(n)
    }
}

/// Makes the folders below the destination's that a recursive source needs, and the destination's own if it may.
pub(super) fn ensure_folders(session: &mut dyn Session, t: &Target<'_>) -> Result<()> {
    if let Some(folder) = t.d.temp_path.as_deref().filter(|_| t.d.create) {
        make_missing(session, Path::new(folder), &is_present)?;
    }
    let base = Path::new(&t.d.path);
    let below = t.folder.strip_prefix(base).unwrap_or(Path::new(""));
    if !t.d.create && below.as_os_str().is_empty() {
        return Ok(());
    }
    let present = |session: &mut dyn Session, folder: &Path| -> Result<bool> {
        if !folder.as_os_str().is_empty() {
            return Ok(session.stat(folder)?.is_some());
        }
        // The endpoint's own folder: a server that can't tell has it, or says so with the file.
        Ok(!t.d.create || session.stat(folder).map_or(true, |found| found.is_some()))
    };
    if present(session, &t.folder)? {
        return Ok(());
    }
    if !t.d.create && !present(session, base)? {
        return Err(crate::endpoints::missing_folder(base));
    }
    make_missing(session, &t.folder, &present)
}

/// Compares the temporary file with what was sent.
pub(super) fn verify(session: &mut dyn Session, t: &Target<'_>, size: u64, hash: &str) -> Result<()> {
    let found = if looks(t) { session.stat(&t.temp)? } else { None };
    compare(session, t, (size, hash), found)
}

/// Whether temporary files are looked at again.
pub(super) fn looks(t: &Target<'_>) -> bool {
    t.d.verify != Verify::None && !points::planted("no-verify")
}

/// Compares what was found under the temporary name with what was sent.
fn compare(session: &mut dyn Session, t: &Target<'_>, (size, hash): (u64, &str), found: Option<Stat>) -> Result<()> {
    if !looks(t) {
        return Ok(());
    }
    let wrong = |what: String| {
        Err(Error::endpoint(format!("the temporary file {} {what}", shown(&t.temp))).hint("the connection or the server cut it: it is sent again by itself"))
    };
    let told = match found.map(|f| f.size) {
        None if t.temp.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".")) => {
            let message = format!("the temporary file {} is not seen at the server right after it was written", shown(&t.temp));
            return Err(Error::endpoint(message).hint(
                "it is sent again by itself; if the server hides names that begin with a dot, set temp_name = \"{name}.{id}.part\" for this destination",
            ));
        }
        None => return wrong("is gone right after it was written".into()),
        Some(Some(n)) if n != size => return wrong(format!("has {n} bytes at the server instead of {size}")),
        Some(told) => told,
    };
    // A server that tells no size may have cut it and said that all is well: it is read back.
    if t.d.verify == Verify::Hash || told.is_none() {
        match hash_at(session, &t.temp) {
            Ok(back) if back != hash => return wrong("has other bytes at the server than were sent".into()),
            // There is nothing but its word.
            Err(e) if t.d.verify == Verify::Size && !matches!(e.kind(), Kind::Lost | Kind::NotFound) && e.blame() == Blame::Endpoint => {
                tracing::warn!("the server tells no size of {}, and it can't be read back: it is taken as it was answered ({e})", shown(&t.temp));
            }
            read => drop(read?),
        }
    }
    Ok(())
}

/// The SHA-256 of a file at the server, read back.
pub(super) fn hash_at(session: &mut dyn Session, path: &Path) -> Result<String> {
    let mut hashing = Hashing::new(std::io::sink());
    session.read(path, &mut hashing)?;
    Ok(hashing.digest())
}

/// Sends and verifies a run of small files for one destination on one connection, and records nothing. Gives what became of
/// each; a failure of the run as a whole says nothing of any.
pub(super) fn send_run(w: &World, jobs: &[&Job]) -> Result<Vec<Result<()>>> {
    let Some(first) = jobs.first() else { return Ok(Vec::new()) };
    let route = w.route_of(first)?.clone();
    let mut targets = Vec::with_capacity(jobs.len());
    let (mut files, mut sizes) = (Vec::with_capacity(jobs.len()), Vec::with_capacity(jobs.len()));
    for job in jobs {
        targets.push(target(w, &route, job, &job.deliveries[0])?);
        let (file, size, _) = payload(w, job, 0)?;
        files.push(file);
        sizes.push(size);
    }
    let d = targets[0].d;
    w.with_session(d, |session| {
        let mut folders = BTreeSet::new();
        for t in targets.iter().filter(|t| folders.insert(t.folder.clone())) {
            ensure_folders(session, t)?;
        }
        let progress: Vec<_> = jobs.iter().map(|job| |n| (w.progress)(job, n)).collect();
        let mut bytes: Vec<Progressing<'_>> = files
            .iter_mut()
            .zip(&targets)
            .zip(&progress)
            .map(|((file, t), tell)| Progressing { inner: Followed::new(file, &w.stop, t.pool.rate()), tell })
            .collect();
        let mut outgoing: Vec<Outgoing<'_>> = bytes
            .iter_mut()
            .zip(&targets)
            .zip(&sizes)
            .map(|((from, t), size)| Outgoing { path: &t.temp, from: from as &mut dyn Read, size: *size, mode: t.d.mode })
            .collect();
        let written = session.write_all(&mut outgoing)?;
        let temps: Vec<PathBuf> = targets.iter().map(|t| t.temp.clone()).collect();
        let found = if looks(&targets[0]) { session.stat_all(&temps[..written.len()])? } else { vec![None; written.len()] };
        let mut results = Vec::with_capacity(written.len());
        for (at, written) in written.into_iter().enumerate() {
            let (t, size) = (&targets[at], sizes[at]);
            results.push(match written {
                Ok(sent) if sent != size => Err(cut(sent, size)),
                Ok(_) => compare(session, t, (size, &made_for(jobs[at], 0)?.hash), found[at]),
                Err(e) => Err(targets[at].pool.told(e)),
            });
        }
        Ok(results)
    })
    .map(|results| results.into_iter().map(|r| r.map_err(|e| e.at("upload"))).collect())
    .map_err(|e| e.at("upload"))
}
