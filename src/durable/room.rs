//! Free room on a disk: a reserve that is never claimed into, and when it will be met.
//!
//! What is on its way must be able to end: its work, its journal and its archive need room when nothing new is taken.

use std::path::Path;

use jiff::Timestamp;

use super::endpoint;
use crate::error::{Error, Kind, Result, shown};

/// The reserve on a large disk.
const RESERVE_BYTES: u64 = 64 * 1024 * 1024;
/// The reserve on a small one, as a part of it.
const RESERVE_PART: u64 = 20;
/// The reserve of inodes on a large disk.
const RESERVE_INODES: u64 = 10_000;

/// What a disk has free for the relay's user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Free bytes.
    pub bytes: u64,
    /// Free bytes that are kept in reserve.
    pub reserve: u64,
    /// Free inodes; none where the file system makes them as it needs them.
    pub inodes: Option<u64>,
    /// Free inodes that are kept in reserve.
    pub inodes_reserve: u64,
}

/// What the disk of a folder has free.
pub fn room(folder: &Path) -> Result<Room> {
    let stat = rustix::fs::statvfs(folder).map_err(|e| endpoint("look at", folder)(e.into()))?;
    let block = stat.f_frsize.max(1);
    Ok(Room {
        bytes: stat.f_bavail.saturating_mul(block),
        reserve: RESERVE_BYTES.min(stat.f_blocks.saturating_mul(block) / RESERVE_PART),
        inodes: (stat.f_files > 0).then_some(stat.f_favail),
        inodes_reserve: RESERVE_INODES.min(stat.f_files / RESERVE_PART),
    })
}

impl Room {
    /// Whether the reserve is touched, with how much is missing where.
    pub fn check(&self, folder: &Path) -> Result<()> {
        let what = if self.bytes < self.reserve {
            format!("{} free and {} are kept in reserve: {} are missing", size(self.bytes), size(self.reserve), size(self.reserve - self.bytes))
        } else if let Some(inodes) = self.inodes.filter(|n| *n < self.inodes_reserve) {
            format!("{inodes} inodes free and {} are kept in reserve: {} are missing", self.inodes_reserve, self.inodes_reserve - inodes)
        } else {
            return Ok(());
        };
        Err(Error::endpoint(format!("the disk of {} has {what}; nothing new is taken, what was taken goes on", shown(folder)))
            .kind_of(Kind::Full)
            .hint("free some space there (`archive.keep` limits the archive); it goes on by itself"))
    }
}

fn size(bytes: u64) -> String {
    let mib = bytes as f64 / (1024.0 * 1024.0);
    if mib >= 10.0 { format!("{mib:.0} MiB") } else { format!("{mib:.1} MiB") }
}

/// Free bytes at a time, for the forecast.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Sample {
    /// When.
    pub at: Timestamp,
    /// Free bytes.
    pub free: u64,
}

/// In how many days the reserve is met if free space goes on shrinking as it did from the first to the last of these samples;
/// none: it does not shrink, or less than an hour is known.
pub fn days_left(samples: &[Sample], reserve: u64) -> Option<f64> {
    let (first, last) = (samples.first()?, samples.last()?);
    let hours = last.at.duration_since(first.at).as_secs_f64() / 3600.0;
    if hours < 1.0 || last.free >= first.free {
        return None;
    }
    let rate = (first.free - last.free) as f64 / hours;
    Some(last.free.saturating_sub(reserve) as f64 / rate / 24.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    #[test]
    fn what_is_missing_is_told_in_bytes_and_in_inodes() {
        let room = Room { bytes: 10 * MIB, reserve: 64 * MIB, inodes: None, inodes_reserve: 100 };
        let e = room.check(Path::new("/srv/relay")).unwrap_err();
        assert_eq!(e.kind(), Kind::Full);
        assert!(e.message().contains("/srv/relay has 10 MiB free and 64 MiB are kept in reserve: 54 MiB are missing"), "{e}");
        let few = Room { bytes: 100 * MIB, inodes: Some(40), ..room };
        assert!(few.check(Path::new("/x")).unwrap_err().message().contains("40 inodes free and 100 are kept in reserve: 60 are missing"));
        assert!(Room { inodes: Some(100), ..few }.check(Path::new("/x")).is_ok());
    }

    #[test]
    fn the_forecast_follows_the_rate_of_the_samples() {
        let at = |hours: i64| Timestamp::from_second(1_700_000_000 + hours * 3600).unwrap();
        let samples = [Sample { at: at(0), free: 1000 * MIB }, Sample { at: at(24), free: 900 * MIB }];
        let days = days_left(&samples, 100 * MIB).unwrap();
        assert!((days - 8.0).abs() < 1e-9, "{days}");
        assert_eq!(days_left(&[samples[0], Sample { at: at(24), free: 1000 * MIB }], 0), None);
        assert_eq!(days_left(&samples[..1], 0), None);
    }
}
