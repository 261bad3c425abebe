//! When routes with a schedule are looked at next. Waits are monotonic; a wall clock that was set is noticed and followed.
//!
//! Pure: both clocks are arguments.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use jiff::Zoned;

use crate::schedule::Schedule;

/// The wall clock was set, and does not just run a little fast or slow.
const JUMP: Duration = Duration::from_secs(2);

/// The next times of all scheduled routes.
#[derive(Debug)]
pub(super) struct Timetable {
    due: HashMap<String, Instant>,
    /// Both clocks at one moment.
    then: (Instant, Zoned),
}

impl Timetable {
    pub(super) fn new(now: Instant, wall: &Zoned) -> Self {
        Self { due: HashMap::new(), then: (now, wall.clone()) }
    }

    /// Enters a route's next time. A schedule that never comes again has none.
    pub(super) fn enter(&mut self, route: &str, schedule: &Schedule, now: Instant, wall: &Zoned) {
        match schedule.next(wall) {
            Some(wait) => self.due.insert(route.to_owned(), now + wait.max(Duration::from_millis(1))),
            None => self.due.remove(route),
        };
    }

    /// Strikes a route out.
    pub(super) fn strike(&mut self, route: &str) {
        self.due.remove(route);
    }

    /// Whether a route's time has come; its next one is entered then.
    pub(super) fn comes(&mut self, route: &str, schedule: &Schedule, now: Instant, wall: &Zoned) -> bool {
        let comes = self.due.get(route).is_some_and(|due| now >= *due);
        if comes {
            self.enter(route, schedule, now, wall);
        }
        comes
    }

    /// Whether the wall clock was set since the last time this was asked. Routes whose time it jumped over come now; the
    /// times of the others are worked out anew from what it says.
    pub(super) fn follow<'s>(&mut self, routes: impl Iterator<Item = (&'s str, &'s Schedule)>, now: Instant, wall: &Zoned) -> bool {
        let expected = &self.then.1 + now.saturating_duration_since(self.then.0);
        let off = wall.duration_since(&expected);
        if off.unsigned_abs() < JUMP {
            return false;
        }
        for (route, schedule) in routes {
            let cron = matches!(schedule, Schedule::Cron(_));
            if !cron || !self.due.contains_key(route) {
                continue;
            }
            let over = off.is_positive() && schedule.next(&expected).is_some_and(|wait| wait <= off.unsigned_abs());
            if over {
                self.due.insert(route.to_owned(), now);
            } else {
                self.enter(route, schedule, now, wall);
            }
        }
        self.then = (now, wall.clone());
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EIGHT: &str = "0 8 * * *";

    fn at(text: &str) -> Zoned {
        format!("{text}[Europe/Paris]").parse().unwrap()
    }

    #[test]
    fn a_clock_set_back_or_forward_moves_what_is_due_by_the_wall_and_nothing_else() {
        let begin = Instant::now();
        let wall = at("2026-03-10T07:00:00+01:00");
        let (cron, every) = (Schedule::cron(EIGHT).unwrap(), Schedule::Every(Duration::from_secs(600)));
        let mut table = Timetable::new(begin, &wall);
        table.enter("cron", &cron, begin, &wall);
        table.enter("every", &every, begin, &wall);
        let both = || [("cron", &cron), ("every", &every)].into_iter();
        // A second of drift is nothing.
        let later = begin + Duration::from_secs(60);
        assert!(!table.follow(both(), later, &at("2026-03-10T07:01:01+01:00")));
        // One day back: cron waits a day and an hour less a minute; the other goes on as it was.
        let back = at("2026-03-09T07:01:00+01:00");
        assert!(table.follow(both(), later, &back));
        assert!(!table.comes("cron", &cron, later + Duration::from_secs(58 * 60), &back));
        assert!(table.comes("cron", &cron, later + Duration::from_secs(59 * 60), &at("2026-03-09T08:00:00+01:00")));
        assert!(table.comes("every", &every, begin + Duration::from_secs(600), &back));
    }

    #[test]
    fn a_time_that_the_clock_jumped_over_comes_at_once() {
        let begin = Instant::now();
        let wall = at("2026-03-10T07:59:30+01:00");
        let cron = Schedule::cron(EIGHT).unwrap();
        let mut table = Timetable::new(begin, &wall);
        table.enter("r", &cron, begin, &wall);
        let now = begin + Duration::from_secs(1);
        let year = at("2027-03-10T07:59:31+01:00");
        assert!(table.follow([("r", &cron)].into_iter(), now, &year));
        assert!(table.comes("r", &cron, now, &year));
        assert!(!table.comes("r", &cron, now + Duration::from_secs(28), &year));
        assert!(table.comes("r", &cron, now + Duration::from_secs(29), &year));
    }
}
