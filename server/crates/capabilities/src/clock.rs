//! `clock`: what time it is for a call, and calendars.

use crate::{Result, TimestampUs};

/// A moment in a zone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CivilTime {
    /// The year.
    pub year: i32,
    /// 1..=12.
    pub month: u8,
    /// 1..=31.
    pub day: u8,
    /// 0..=23.
    pub hour: u8,
    /// 0..=59.
    pub minute: u8,
    /// 0..=59.
    pub second: u8,
    /// 1 Monday ..= 7 Sunday.
    pub weekday: u8,
    /// East of UTC.
    pub offset_seconds: i32,
}

/// Zones and schedules. Pure: the moment is an argument.
pub trait Calendar: Send + Sync {
    /// Wall-clock time in an IANA zone; "" is UTC.
    ///
    /// # Errors
    /// `NotFound` for an unknown zone, `InvalidArgument` for a moment outside the calendar.
    fn civil(&self, at: TimestampUs, zone: &str) -> Result<CivilTime>;
    /// When a cron expression is due next, strictly after `after`.
    ///
    /// # Errors
    /// `InvalidArgument` for a schedule that is none, `NotFound` for an unknown zone or a schedule that is never due.
    fn next_due(&self, schedule: &str, zone: &str, after: TimestampUs) -> Result<TimestampUs>;
}
