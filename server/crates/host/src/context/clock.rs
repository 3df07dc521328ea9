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

    /// `clock.remaining`: what is left of the CPU budget, and on a worker of the wall time, if that is less.
    #[must_use]
    pub fn clock_remaining(&self) -> DurationUs {
        let cpu = self
            .context
            .deadline
            .remaining(&*self.capabilities().cpu)
            .as_micros() as u64;
        match self.context.arming.wall_limit_us {
            None => cpu,
            Some(limit) => cpu.min(limit.saturating_sub(self.clock_monotonic())),
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

#[cfg(test)]
mod tests {
    use crate::context::{Arming, Context};
    use crate::function::HostFunction;
    use crate::limits::SLOW_DEADLINE;
    use crate::seeded::Seeded;
    use crate::testing::World;

    #[test]
    fn on_a_worker_what_is_left_is_the_less_of_cpu_and_wall_time() {
        let world = World::new();
        let random = Box::new(Seeded::new(&[7; 32], 0));
        let mut context = Context::new(world.charter("a", true), random);
        let cpu_us = SLOW_DEADLINE.as_micros() as u64;
        for (wall_us, left_us) in [(5_000_000, cpu_us), (2_000, 2_000)] {
            let arming = world.arming(true);
            context.arm(Arming {
                wall_limit_us: Some(arming.monotonic_us + wall_us),
                ..arming
            });
            let entered = context.enter(HostFunction::ClockRemaining).unwrap();
            assert_eq!(entered.clock_remaining(), left_us);
        }
    }
}
