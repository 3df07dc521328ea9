//! `clock`'s calendars: wall-clock time in a zone, and when a cron expression is due next. Pure: the moment is an argument, and the zones are those that
//! were compiled in.

use std::str::FromStr as _;

use cohnect_capabilities::clock::{Calendar, CivilTime};
use cohnect_capabilities::{Error, Result, TimestampUs};
use croner::Cron;
use croner::errors::CronError;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

/// Longest cron expression or zone in bytes: several times what the longest sensible one has.
const TEXT_BYTES_MAX: usize = 255;

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
        match cron.find_next_occurrence(&after, false) {
            Ok(due) => u64::try_from(due.timestamp().as_microsecond())
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
    fn a_schedule_that_is_never_due_says_so() {
        assert_eq!(Zones.next_due("0 0 30 2 *", "", 0), Err(Error::NotFound));
    }
}
