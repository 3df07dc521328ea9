//! `timers`: wake-ups of the calling instance, by name. Setting and cancelling are effects, so a look goes through the outbox first.

use bytes::Bytes;
use cohnect_capabilities::timers::{DATA_BYTES_MAX, NAME_BYTES_MAX, PERIOD_US_MIN, TIMERS_MAX};
use cohnect_capabilities::{DurationUs, Effect, Error, Result, TimestampUs};

use super::Entered;

impl Entered<'_> {
    /// `timers.set`
    ///
    /// # Errors
    /// `LimitExceeded` for too many timers or too much data, `InvalidArgument` for a name of the wrong length.
    pub fn timers_set(&mut self, name: &str, delay: DurationUs, data: Bytes) -> Result<()> {
        self.timer(name, delay, false, data)
    }

    /// `timers.every`
    ///
    /// # Errors
    /// As [`Entered::timers_set`], and `InvalidArgument` for a period below a millisecond.
    pub fn timers_every(&mut self, name: &str, period: DurationUs, data: Bytes) -> Result<()> {
        if period < PERIOD_US_MIN {
            return Err(Error::invalid(format!(
                "a period is at least {PERIOD_US_MIN} µs, this one is {period} µs"
            )));
        }
        self.timer(name, period, true, data)
    }

    /// `timers.cancel`: true when it was set.
    pub fn timers_cancel(&mut self, name: &str) -> bool {
        let set = self.timers_due(name).is_ok();
        if set {
            self.keep(Effect::TimerCancel { name: name.into() });
        }
        set
    }

    /// `timers.due`
    ///
    /// # Errors
    /// `NotFound` when it is not set.
    pub fn timers_due(&self, name: &str) -> Result<TimestampUs> {
        let pending = self.context.outbox.iter().rev().find_map(|effect| {
            if let Effect::TimerSet { name: n, delay, .. } = effect {
                (**n == *name).then(|| Ok(self.context.arming.wall_us.saturating_add(*delay)))
            } else if let Effect::TimerCancel { name: n } = effect {
                (**n == *name).then_some(Err(Error::NotFound))
            } else {
                None
            }
        });
        if let Some(due) = pending {
            return due;
        }
        self.timers()
            .get(name)
            .map(|timer| timer.due_at)
            .ok_or(Error::NotFound)
    }

    /// `timers.set-tick-rate`
    ///
    /// # Errors
    /// `LimitExceeded` above the manifest's ceiling.
    pub fn timers_set_tick_rate(&mut self, hz: u32) -> Result<()> {
        let ceiling = self.context.charter.limits.tick_hz;
        if hz > ceiling {
            return Err(Error::limit("tick-hz", u64::from(ceiling), u64::from(hz)));
        }
        self.keep(Effect::TickRate { hz });
        Ok(())
    }

    fn timer(&mut self, name: &str, delay: DurationUs, periodic: bool, data: Bytes) -> Result<()> {
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Err(Error::invalid(format!(
                "a timer's name has 1 to {NAME_BYTES_MAX} bytes, this one {}",
                name.len()
            )));
        }
        if data.len() > DATA_BYTES_MAX {
            return Err(Error::limit(
                "timer-bytes",
                DATA_BYTES_MAX as u64,
                data.len() as u64,
            ));
        }
        let pending = self
            .context
            .outbox
            .iter()
            .filter(|effect| matches!(effect, Effect::TimerSet { .. }))
            .count();
        let set = self.timers().len() + pending;
        if set >= TIMERS_MAX && !self.timers().contains_key(name) {
            return Err(Error::limit("timers", TIMERS_MAX as u64, set as u64 + 1));
        }
        self.leave(Effect::TimerSet {
            name: name.into(),
            delay,
            periodic,
            data,
        })
    }
}
