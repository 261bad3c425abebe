//! When a route is looked at: cron or every so often. Pure: the time is an argument.

use std::str::FromStr;
use std::time::Duration;

use croner::Cron;
use jiff::Zoned;

/// A schedule of a route.
#[derive(Clone, Debug)]
pub enum Schedule {
    /// Cron, in local time.
    Cron(Box<Cron>),
    /// So often.
    Every(Duration),
}

impl Schedule {
    /// A schedule by cron, or why it is none.
    pub fn cron(text: &str) -> Result<Self, String> {
        Cron::from_str(text).map(|c| Schedule::Cron(Box::new(c))).map_err(|e| e.to_string())
    }

    /// How long after `now` the next look is due. A schedule that never comes again gives none.
    pub fn next(&self, now: &Zoned) -> Option<Duration> {
        match self {
            Schedule::Every(time) => Some(*time),
            Schedule::Cron(cron) => {
                let next = cron.find_next_occurrence(now, false).ok()?;
                Duration::try_from(next.duration_since(now)).ok()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cron_is_local_time_and_strictly_later() {
        let now: Zoned = "2025-12-31T23:58:30+01:00[Europe/Paris]".parse().unwrap();
        assert_eq!(Schedule::cron("*/5 * * * *").unwrap().next(&now), Some(Duration::from_secs(90)));
        assert_eq!(Schedule::cron("0 8 * * 1-5").unwrap().next(&now), Some(Duration::from_secs(8 * 3600 + 90)));
        assert!(Schedule::cron("every day").is_err());
    }
}
