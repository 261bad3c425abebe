//! Large files: going on where an attempt ended, in ranges over the connections that are free.
//!
//! What lies at the server counts only as far as it was read back and is the same; nothing is ever added to bytes that
//! are not known.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, PoisonError};

use super::super::World;
use super::deliver::Target;
use super::upload::{Progressing, cut, ensure_folders};
use crate::endpoints::{Followed, Resumes, Session};
use crate::error::{Blame, Error, Kind, Result};
use crate::job::Job;
use crate::points;

/// From here on a file is large: what an attempt has sent of a smaller one is not worth a question.
const LARGE_BYTES: u64 = 32 * 1024 * 1024;
/// A range that is worth a connection, or an attempt's work that is worth reading back.
const RANGE_BYTES: u64 = 8 * 1024 * 1024;

/// No range is longer: each is synced at its end, while others are sent.
const RANGE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Whether a file is sent in this way. Tests plant `large` to see it with every file.
pub(super) fn is_large(size: u64) -> bool {
    size >= if points::planted("large") { 2 } else { LARGE_BYTES }
}

fn range_bytes() -> u64 {
    if points::planted("large") { 1 } else { RANGE_BYTES }
}

/// What is sent, and over how many connections at most.
#[derive(Clone, Copy)]
pub(super) struct Large<'l> {
    pub(super) job: &'l Job,
    pub(super) file: &'l File,
    pub(super) size: u64,
    pub(super) connections: usize,
}

/// Writes the temporary file; it is whole and synced, as far as the server can, when this succeeds.
pub(super) fn write(w: &World, t: &Target<'_>, large: Large<'_>) -> Result<()> {
    let size = large.size;
    let resumes = t.pool.resumes();
    // A file that nobody may write any more can't be opened again.
    let ranges = resumes == Resumes::Anywhere && large.connections > 1 && t.d.mode.is_none_or(|mode| mode & 0o200 != 0);
    let lanes = if ranges { (size / range_bytes()).clamp(1, large.connections as u64) } else { 1 };
    let look = || {
        w.with_session(t.d, |session| {
            ensure_folders(session, t)?;
            Ok(if resumes == Resumes::Never { None } else { session.stat(&t.temp)?.and_then(|found| found.size) })
        })
    };
    let first = std::thread::scope(|scope| {
        // The other connections log in meanwhile; one that can't is told when it is used.
        for _ in 1..lanes {
            scope.spawn(|| w.with_session(t.d, |_| Ok(())));
        }
        look()
    });
    let there = match first {
        // A server that takes few at once may have taken another of them.
        Err(e) if lanes > 1 && matches!(e.step(), Some("port" | "handshake")) => look()?,
        first => first?,
    };
    let proven = match there {
        // Less than what is worth it is sent anew.
        Some(n) if (range_bytes()..=size).contains(&n) => Some(proven(w, t, large.file)?).filter(|n| *n >= range_bytes()),
        _ => None,
    };
    let from = proven.unwrap_or(0);
    let rest = size - from;
    if let Some(proven) = proven {
        tracing::info!(job = large.job.id, "{proven} of {size} bytes are at the destination already: the rest is sent");
    } else {
        if !ranges || rest < 2 * range_bytes() {
            return w.with_session(t.d, |session| whole(w, t, large, session));
        }
        w.with_session(t.d, |session| session.write(&t.temp, &mut std::io::empty(), 0, t.d.mode))?;
    }
    let sent =
        if ranges && rest >= 2 * range_bytes() { in_ranges(w, t, large, from) } else { w.with_session(t.d, |session| range(w, t, large, session, from..size)) };
    match sent {
        // Not every server takes what it said it would.
        Err(e) if e.blame() == Blame::Endpoint && matches!(e.kind(), Kind::Unsupported | Kind::Denied | Kind::NotFound | Kind::Other) => {
            tracing::info!(job = large.job.id, "the destination does not take a part of a file by itself ({}): all of it is sent", e.message());
            w.with_session(t.d, |session| whole(w, t, large, session))
        }
        sent => sent,
    }
}

fn whole(w: &World, t: &Target<'_>, large: Large<'_>, session: &mut dyn Session) -> Result<()> {
    let mut slice = Slice { file: large.file, range: 0..large.size };
    let sent = session.write(&t.temp, &mut followed(w, t, &mut slice, &|n| (w.progress)(large.job, n)), large.size, t.d.mode)?;
    if sent == large.size { Ok(()) } else { Err(cut(sent, large.size)) }
}

fn range(w: &World, t: &Target<'_>, large: Large<'_>, session: &mut dyn Session, range: Range<u64>) -> Result<()> {
    let wanted = range.end - range.start;
    let mut slice = Slice { file: large.file, range: range.clone() };
    let sent = session.write_on(&t.temp, range.start, &mut followed(w, t, &mut slice, &|n| (w.progress)(large.job, n)), t.d.mode)?;
    if sent == wanted { Ok(()) } else { Err(cut(sent, wanted)) }
}

fn followed<'f>(w: &'f World, t: &'f Target<'_>, slice: &'f mut Slice<'_>, tell: &'f dyn Fn(u64)) -> Progressing<'f> {
    Progressing { inner: Followed::new(slice, &w.stop, t.pool.rate()), tell }
}

/// Sends what is left in ranges, each connection one after the other as long as there are any.
fn in_ranges(w: &World, t: &Target<'_>, large: Large<'_>, from: u64) -> Result<()> {
    let rest = large.size - from;
    let lanes = (rest / range_bytes()).clamp(1, large.connections as u64);
    let count = lanes * rest.div_ceil(lanes * RANGE_BYTES_MAX).max(1);
    let bound = |n: u64| from + rest / count * n + rest % count * n / count;
    let left: Mutex<VecDeque<Range<u64>>> = Mutex::new((0..count).map(|n| bound(n)..bound(n + 1)).collect());
    let next = || left.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let lane = || {
        let mut began = false;
        let result = w.with_session(t.d, |session| {
            while let Some(part) = next() {
                began = true;
                range(w, t, large, session, part)?;
            }
            Ok(())
        });
        (began, result)
    };
    let results = std::thread::scope(|scope| {
        let others: Vec<_> = (1..lanes).map(|_| scope.spawn(lane)).collect();
        let mut results = vec![lane()];
        // A panic in there is this job's, as everywhere in a step.
        results.extend(others.into_iter().map(|other| other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))));
        results
    });
    for (began, result) in results {
        match result {
            // A server that takes fewer connections than were configured: the others have sent its part.
            Err(e) if !began => tracing::debug!("a connection less for a large file: {e}"),
            result => result?,
        }
    }
    // No connection was left for the last range.
    if next().is_some() {
        return Err(Error::endpoint("the server took no connection for a part of the file").kind_of(Kind::Lost));
    }
    Ok(())
}

/// How many bytes at the start of the temporary file are the same as here, by reading them back.
fn proven(w: &World, t: &Target<'_>, file: &File) -> Result<u64> {
    let mut comparing = Comparing { file, same: 0, differs: false, buffer: Vec::new() };
    let read = w.with_session(t.d, |session| {
        let mut stopping = Stopping { inner: &mut comparing, w };
        session.read(&t.temp, &mut stopping)
    });
    match read {
        // The connection on which the rest was left unread is not used again.
        Err(_) if comparing.differs => Ok(comparing.same),
        Err(e) if matches!(e.kind(), Kind::NotFound | Kind::Denied | Kind::Unsupported) => Ok(0),
        Err(e) => Err(e),
        Ok(_) => Ok(comparing.same),
    }
}

/// A part of a file that several may read at once.
struct Slice<'s> {
    file: &'s File,
    range: Range<u64>,
}

impl Read for Slice<'_> {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        let left = usize::try_from(self.range.end - self.range.start).unwrap_or(usize::MAX);
        let most = to.len().min(left);
        let n = self.file.read_at(&mut to[..most], self.range.start)?;
        self.range.start += n as u64;
        Ok(n)
    }
}

/// Compares what comes with a file, from its start, and refuses what differs.
struct Comparing<'c> {
    file: &'c File,
    same: u64,
    differs: bool,
    buffer: Vec<u8>,
}

impl Write for Comparing<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.buffer.resize(bytes.len(), 0);
        let mut filled = 0;
        while filled < bytes.len() {
            match self.file.read_at(&mut self.buffer[filled..], self.same + filled as u64)? {
                0 => break,
                n => filled += n,
            }
        }
        let equal = bytes.iter().zip(&self.buffer[..filled]).take_while(|(a, b)| a == b).count();
        self.same += equal as u64;
        if equal < bytes.len() {
            self.differs = true;
            return Err(std::io::Error::other("what is at the destination differs from here on"));
        }
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

struct Stopping<'s, 'c> {
    inner: &'s mut Comparing<'c>,
    w: &'s World,
}

impl Write for Stopping<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.w.stop.is_set() {
            return Err(crate::endpoints::stopped());
        }
        self.inner.write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_at_the_destination_counts_as_far_as_it_is_the_same() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        for (there, same, differs) in
            [("", 0, false), ("0123", 4, false), ("0123456789", 10, false), ("01x3", 2, true), ("01234567890", 10, true), ("0123\0\0", 4, true)]
        {
            let mut comparing = Comparing { file: &file, same: 0, differs: false, buffer: Vec::new() };
            let result = there.as_bytes().chunks(3).try_for_each(|piece| comparing.write_all(piece));
            assert_eq!((comparing.same, comparing.differs, result.is_err()), (same, differs, differs), "{there}");
        }
    }
}
