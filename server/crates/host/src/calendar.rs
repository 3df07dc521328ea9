//! `clock`'s calendars: wall-clock time in a zone, and when a cron expression is due next. Pure: the moment is an argument, and the zones are those that
//! were compiled in.

use core::cell::Cell;
use std::str::FromStr as _;

use cohnect_capabilities::clock::{Calendar, CivilTime};
use cohnect_capabilities::{Error, Result, TimestampUs};
use croner::errors::CronError;
use croner::{CivilDateTime, Cron, CronDateTime, Resolution, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

/// Longest cron expression or zone in bytes: several times what the longest sensible one has.
const TEXT_BYTES_MAX: usize = 255;

/// Years that a search looks ahead. Eight reach from the 29 February before 2100, which has none, to the one after it; croner itself would search until
/// the year 5000, for a third of a second.
const YEARS_AHEAD: i32 = 8;
/// Days of as many years.
const DAYS_AHEAD: usize = 8 * 366;
/// Moments that a search tries, at about a tenth of a microsecond each. It goes second by second through an hour or two that a clock leaves out, and
/// otherwise tries a few for each month.
const TRIES_MAX: u32 = 8_192;

/// The calendar of the zones database that was compiled in.
#[derive(Clone, Copy, Debug, Default)]
pub struct Zones;

impl Calendar for Zones {
    fn civil(&self, at: TimestampUs, zone: &str) -> Result<CivilTime> {
        let at = zoned(at, zone)?;
        Ok(CivilTime {
            year: i32::from(at.year()),
            month: at.month().unsigned_abs(),
            day: at.day().unsigned_abs(),
            hour: at.hour().unsigned_abs(),
            minute: at.minute().unsigned_abs(),
            second: at.second().unsigned_abs(),
            weekday: at.weekday().to_monday_one_offset().unsigned_abs(),
            offset_seconds: at.offset().seconds(),
        })
    }

    fn next_due(&self, schedule: &str, zone: &str, after: TimestampUs) -> Result<TimestampUs> {
        if schedule.len() > TEXT_BYTES_MAX {
            return Err(Error::invalid(format!(
                "a schedule has at most {TEXT_BYTES_MAX} bytes, this one {}",
                schedule.len()
            )));
        }
        let cron = Cron::from_str(schedule).map_err(|e| Error::invalid(e.to_string()))?;
        let after = zoned(after, zone)?;
        if !has_day(&cron, &after) {
            return Err(Error::NotFound);
        }
        let tries = Cell::new(TRIES_MAX);
        let after = Bounded {
            year_max: i32::from(after.year()) + YEARS_AHEAD,
            at: after,
            tries: &tries,
        };
        match cron.find_next_occurrence(&after, false) {
            Ok(due) => u64::try_from(due.at.timestamp().as_microsecond())
                .map_err(|_| Error::invalid("the next due moment lies before 1970")),
            Err(
                CronError::TimeSearchLimitExceeded
                | CronError::InvalidDate
                | CronError::InvalidTime,
            ) => Err(Error::NotFound),
            Err(
                e @ (CronError::EmptyPattern
                | CronError::InvalidPattern(_)
                | CronError::IllegalCharacters(_)
                | CronError::ComponentError(_)),
            ) => Err(Error::invalid(e.to_string())),
        }
    }
}

/// Whether the days of a schedule, whatever its months, come at all: between two moments that it tries, croner goes from day to day.
fn has_day(cron: &Cron, after: &Zoned) -> bool {
    let days = core::iter::successors(Some(after.date()), |day| day.tomorrow().ok());
    days.take(DAYS_AHEAD).any(|day| {
        let weekday = day.weekday().to_sunday_zero_offset().unsigned_abs();
        cron.pattern
            .day_match(
                day.year().into(),
                day.month().unsigned_abs().into(),
                day.day().unsigned_abs().into(),
                Weekday::from_days_from_sunday(weekday.into()),
            )
            .unwrap_or(false)
    })
}

/// A moment from which a search goes only so far.
#[derive(Clone, Debug)]
struct Bounded<'a> {
    at: Zoned,
    year_max: i32,
    /// How many moments may still be tried.
    tries: &'a Cell<u32>,
}

impl Bounded<'_> {
    fn with(&self, at: Zoned) -> Self {
        Self { at, ..*self }
    }
}

impl CronDateTime for Bounded<'_> {
    fn to_civil(&self) -> CivilDateTime {
        self.at.to_civil()
    }

    fn civil_weekday(&self) -> Weekday {
        self.at.civil_weekday()
    }

    fn resolve_civil(
        &self,
        civil: CivilDateTime,
    ) -> core::result::Result<Resolution<Self>, CronError> {
        let left = self.tries.get().checked_sub(1);
        self.tries.set(left.unwrap_or_default());
        if left.is_none() || civil.year() > self.year_max {
            return Err(CronError::TimeSearchLimitExceeded);
        }
        Ok(match self.at.resolve_civil(civil)? {
            Resolution::Single(at) => Resolution::Single(self.with(at)),
            Resolution::Ambiguous(earlier, later) => {
                Resolution::Ambiguous(self.with(earlier), self.with(later))
            }
            Resolution::Gap => Resolution::Gap,
        })
    }

    fn checked_add_seconds(&self, seconds: i64) -> Option<Self> {
        self.at.checked_add_seconds(seconds).map(|at| self.with(at))
    }

    fn cmp_instant(&self, other: &Self) -> core::cmp::Ordering {
        self.at.cmp_instant(&other.at)
    }
}

fn zoned(at: TimestampUs, zone: &str) -> Result<Zoned> {
    let zone = if zone.is_empty() {
        TimeZone::UTC
    } else if zone.len() > TEXT_BYTES_MAX {
        return Err(Error::NotFound);
    } else {
        TimeZone::get(zone).map_err(|_| Error::NotFound)?
    };
    let at = i64::try_from(at)
        .ok()
        .and_then(|at| Timestamp::from_microsecond(at).ok())
        .ok_or_else(|| Error::invalid("the moment lies outside the calendar"))?;
    Ok(at.to_zoned(zone))
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000;

    #[test]
    fn civil_time_follows_the_zone() {
        // 2026-07-01 12:34:56 UTC, a Wednesday.
        let at = 1_782_909_296 * S;
        let utc = Zones.civil(at, "").unwrap();
        assert_eq!((utc.year, utc.month, utc.day, utc.weekday), (2026, 7, 1, 3));
        assert_eq!((utc.hour, utc.minute, utc.second), (12, 34, 56));
        let berlin = Zones.civil(at, "Europe/Berlin").unwrap();
        assert_eq!((berlin.hour, berlin.offset_seconds), (14, 7_200));
    }

    #[test]
    fn what_is_no_zone_or_moment_is_refused() {
        assert_eq!(Zones.civil(0, "Europe/Atlantis"), Err(Error::NotFound));
        assert_eq!(Zones.civil(0, &"x".repeat(10_000)), Err(Error::NotFound));
        assert!(matches!(
            Zones.civil(u64::MAX, ""),
            Err(Error::InvalidArgument(_))
        ));
    }

    #[test]
    fn the_next_due_moment_is_after_the_one_given() {
        let due = |schedule: &str, zone: &str, after: u64| {
            Zones.next_due(schedule, zone, after * S).map(|at| at / S)
        };
        assert_eq!(due("*/5 * * * *", "", 0), Ok(300));
        assert_eq!(due("*/10 * * * * *", "", 10), Ok(20), "with seconds");
        assert_eq!(
            due("0 0 * * *", "Europe/Berlin", 0),
            Ok(82_800),
            "midnight there is 23:00 UTC"
        );
        assert!(matches!(
            due("not cron", "", 0),
            Err(Error::InvalidArgument(_))
        ));
        assert!(matches!(due("", "", 0), Err(Error::InvalidArgument(_))));
        assert_eq!(due("0 0 * * *", "Nowhere", 0), Err(Error::NotFound));
    }

    #[test]
    fn a_schedule_that_is_never_due_says_so_at_once() {
        let began = std::time::Instant::now();
        for schedule in [
            "0 0 30 2 *",
            "0 0 31 2,4,6,9,11 *",
            // The second day is never a fifth Tuesday.
            "0 0 2 * +2#5",
            "0 0 0 1 1 * 4999",
            // In Berlin the clock leaves this hour out on each of these Sundays.
            "*/7 2 25-31 3 +0",
        ] {
            for _ in 0..20 {
                // In the middle of 2026.
                assert_eq!(
                    Zones.next_due(schedule, "Europe/Berlin", 1_782_909_296 * S),
                    Err(Error::NotFound),
                    "{schedule}"
                );
            }
        }
        // A search to the end of the calendar would take a hundred times as long.
        assert!(began.elapsed() < std::time::Duration::from_secs(2));
    }

    #[test]
    fn a_leap_day_is_found_over_a_year_that_has_none() {
        // From 29 February 2096 to that of 2104.
        let (before, after) = (3_981_312_000 * S, 4_233_686_400 * S);
        assert_eq!(Zones.next_due("0 0 29 2 *", "", before), Ok(after));
    }
}
