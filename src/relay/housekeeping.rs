//! What is old goes: archived originals after `archive.keep`, finished jobs after `history.keep`; and how long the disk lasts.
//!
//! It never removes what a job that is not done needs, nor a file whose name it did not give.

use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::{Timestamp, Zoned, civil};

use super::World;
use crate::config::OnSuccess;
use crate::durable;
use crate::durable::room::{Sample, days_left, room};
use crate::error::Result;
use crate::job::{JobId, parse_numbered};
use crate::journal::Reader;

/// At most so often, however short things are kept.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// At least so often.
pub const PAUSE_MAX: Duration = Duration::from_secs(3600);
/// The journal's note of when this was done last.
const LAST: &str = "housekept";
/// A clock that went ahead by more since the last time is asked again.
const LEAP: Duration = Duration::from_secs(2 * 86_400);
/// So many jobs are forgotten in one transaction.
const FORGET_MAX: usize = 500;
/// The journal's note of what was free when.
const SAMPLES: &str = "disk";
/// A sample an hour, for a week.
const SAMPLES_MAX: usize = 168;
/// The reserve is warned about so many days before it is met.
const WARN_DAYS: f64 = 7.0;

/// How long to wait between two times.
pub fn pause(w: &World) -> Duration {
    let shortest = w.config.history_keep.min(w.config.archive_keep.unwrap_or(Duration::MAX));
    (shortest / 4).clamp(PAUSE_MIN, PAUSE_MAX)
}

/// Removes what is old, and looks how long the disk lasts.
pub fn keep_house(w: &World) -> Result<()> {
    let now = Timestamp::now();
    let last = w.journal.reader()?.status(LAST)?.and_then(|t| t.parse().ok());
    w.journal.set_status(LAST, now.to_string())?;
    if is_trusted(now, last) {
        archive(w, now)?;
        history(w, now)?;
    }
    forecast(w, now)
}

/// Whether the clock may say what is old. One that leapt ahead since the last time may be wrong, and what it makes old would
/// be gone for good: it is believed once it has said the same twice.
fn is_trusted(now: Timestamp, last: Option<Timestamp>) -> bool {
    last.is_some_and(|last| now.duration_since(last).as_secs() < LEAP.as_secs().cast_signed())
}

fn earlier(now: Timestamp, by: Duration) -> Timestamp {
    // Kept for longer than time is counted: for ever.
    now.checked_sub(by).unwrap_or(Timestamp::MIN)
}

fn archive(w: &World, now: Timestamp) -> Result<()> {
    let Some(keep) = w.config.archive_keep else { return Ok(()) };
    let reader = w.journal.reader()?;
    let needed: HashSet<PathBuf> = reader
        .open_jobs()?
        .iter()
        .filter_map(|j| j.replay_of)
        .filter_map(|of| reader.job(of).transpose())
        .filter_map(|row| row.map(|r| r.job.path.map(|p| p.path().to_owned())).transpose())
        .collect::<Result<_>>()?;
    let mut cleaner = Cleaner { w, reader: &reader, before: earlier(now, keep), needed, removed: 0 };
    cleaner.folder(&w.config.archive, 4, &mut Vec::new())?;
    if cleaner.removed > 0 {
        tracing::info!("archive: {} files are older than archive.keep and were removed", cleaner.removed);
    }
    Ok(())
}

struct Cleaner<'c> {
    w: &'c World,
    reader: &'c Reader,
    /// What was archived before this goes.
    before: Timestamp,
    needed: HashSet<PathBuf>,
    removed: u64,
}

impl Cleaner<'_> {
    /// Below the archive: a folder a route, a year, a month, a day; then files, in the folders of recursive sources.
    fn folder(&mut self, folder: &Path, above: u32, names: &mut Vec<String>) -> Result<()> {
        let Ok(entries) = std::fs::read_dir(folder) else { return Ok(()) };
        let day = if above == 0 { day_of(names) } else { None };
        for entry in entries.flatten() {
            self.w.stop.check()?;
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => {
                    if above > 0 {
                        names.push(entry.file_name().to_string_lossy().into_owned());
                    }
                    self.folder(&path, above.saturating_sub(1), names)?;
                    if above > 0 {
                        names.pop();
                    }
                }
                Ok(kind) if kind.is_file() => self.file(&path, day.as_ref())?,
                _ => {}
            }
        }
        // An empty folder of a day that is over goes with its files; today's is about to be used.
        if above <= 3 && day_of(names).is_none_or(|d| d.timestamp() < self.before) {
            // One that is not empty stays.
            let _ = std::fs::remove_dir(folder);
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, day: Option<&Zoned>) -> Result<()> {
        let Some(day) = day.filter(|d| d.timestamp() < self.before) else { return Ok(()) };
        let name = path.file_name().unwrap_or_default().as_bytes();
        let Some((id, _)) = parse_numbered(name).filter(|_| !self.needed.contains(path)) else { return Ok(()) };
        let delivered = self.reader.job(id)?.and_then(|r| r.job.delivered_at);
        // What the journal does not know was archived on that day, at its very end at the latest.
        let archived = delivered.or_else(|| day.tomorrow().ok().map(|d| d.timestamp())).unwrap_or(Timestamp::MAX);
        if archived < self.before {
            durable::remove(path)?;
            self.removed += 1;
        }
        Ok(())
    }
}

/// When the day began whose archive folder this is, by the names of the folders from the archive's on.
fn day_of(names: &[String]) -> Option<Zoned> {
    let [_, year, month, day] = names else { return None };
    let date = civil::Date::new(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?).ok()?;
    date.to_zoned(jiff::tz::TimeZone::system()).ok()
}

fn history(w: &World, now: Timestamp) -> Result<()> {
    let reader = w.journal.reader()?;
    let (before, mut last, mut forgotten) = (earlier(now, w.config.history_keep), 0, 0);
    loop {
        w.stop.check()?;
        let old = reader.finished_before(before, last, FORGET_MAX)?;
        let Some(end) = old.last().map(|(id, ..)| *id) else { break };
        last = end;
        // A file that is left in place is taken again once nobody knows that it was.
        let kept = |route: &str, file: &crate::job::Name| {
            w.route(route).is_some_and(|r| match &r.source.remote {
                // Whether it is still there would have to be asked for each: it is remembered for good.
                Some(remote) => remote.leave == crate::config::Leave::Keep,
                None => r.source.on_success == OnSuccess::Keep && durable::exists(&r.source.path.join(file.path())),
            })
        };
        let ids: Vec<JobId> = old.iter().filter(|(_, route, file)| !kept(route, file)).map(|(id, ..)| *id).collect();
        forgotten += ids.len();
        w.journal.forget(ids)?;
    }
    if forgotten > 0 {
        tracing::info!("journal: {forgotten} jobs are older than history.keep and were forgotten");
    }
    Ok(())
}

/// Warns each hour when the reserve of free disk will be met within a week.
fn forecast(w: &World, now: Timestamp) -> Result<()> {
    let room = room(&w.config.home)?;
    let known = w.journal.reader()?.status(SAMPLES)?.unwrap_or_default();
    let mut samples: Vec<Sample> = serde_json::from_str(&known).unwrap_or_default();
    // A clock that was set makes no rate.
    samples.retain(|s| s.at < now && s.at > earlier(now, Duration::from_secs(8 * 86_400)));
    let recent = samples.last().is_some_and(|s| now.duration_since(s.at).as_secs() < 3600);
    if recent {
        return Ok(());
    }
    samples.push(Sample { at: now, free: room.bytes });
    let from = samples.len().saturating_sub(SAMPLES_MAX);
    let samples = &samples[from..];
    if let Some(days) = days_left(samples, room.reserve).filter(|d| *d < WARN_DAYS) {
        tracing::warn!(
            "the disk of {} will be down to its reserve in {days:.1} days at the present rate: free some space there, or let archive.keep limit the archive",
            crate::error::shown(&w.config.home)
        );
    }
    w.journal.set_status(SAMPLES, serde_json::to_string(samples).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_leapt_ahead_makes_nothing_old_until_it_says_the_same_again() {
        let at = |days: i64| Timestamp::from_second(1_700_000_000 + days * 86_400).unwrap();
        assert!(!is_trusted(at(0), None));
        assert!(is_trusted(at(1), Some(at(0))));
        assert!(!is_trusted(at(400), Some(at(1))));
        assert!(is_trusted(at(400), Some(at(400))));
        // Set back: less is old than before.
        assert!(is_trusted(at(1), Some(at(400))));
    }

    #[test]
    fn a_days_folder_is_known_by_its_place() {
        let names = |parts: &[&str]| parts.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>();
        let day = day_of(&names(&["r", "2026", "03", "29"])).unwrap();
        assert_eq!(day.date(), civil::date(2026, 3, 29));
        assert_eq!(day_of(&names(&["r", "2026", "13", "29"])), None);
        assert_eq!(day_of(&names(&["r", "2026", "03"])), None);
    }
}
