//! `clock`: what time it is for a call, and calendars.

use cohnect_capabilities::clock::CivilTime;
use cohnect_capabilities::{DurationUs, Result, TimestampUs};

use super::Entered;

impl Entered<'_> {
    /// `clock.now`: the same all through a call, but for where it waits.
    #[must_use]
    pub const fn clock_now(&self) -> TimestampUs {
        self.context.arming.wall_us
    }

    /// `clock.monotonic`: runs on within a call.
    #[must_use]
    pub fn clock_monotonic(&self) -> DurationUs {
        (self.capabilities().stopwatch)()
    }

    /// `clock.remaining`: what is left of the CPU budget, and on a worker at most of the wall time.
    #[must_use]
    pub fn clock_remaining(&self) -> DurationUs {
        let cpu = self
            .context
            .deadline
            .remaining(&*self.capabilities().cpu)
            .as_micros() as u64;
        match self.context.arming.wall_limit_us {
            None => cpu,
            Some(limit) => limit.saturating_sub(self.clock_monotonic()),
        }
    }

    /// `clock.civil`
    ///
    /// # Errors
    /// `NotFound` for an unknown zone.
    pub fn clock_civil(&self, at: TimestampUs, zone: &str) -> Result<CivilTime> {
        self.capabilities().calendar.civil(at, zone)
    }

    /// `clock.next-due`
    ///
    /// # Errors
    /// `InvalidArgument` for a schedule that is none.
    pub fn clock_next_due(
        &self,
        schedule: &str,
        zone: &str,
        after: TimestampUs,
    ) -> Result<TimestampUs> {
        self.capabilities().calendar.next_due(schedule, zone, after)
    }
}
