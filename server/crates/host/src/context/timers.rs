//! `timers`: wake-ups of the calling instance, by name. Setting and cancelling are effects, so a look goes to what the call has left first.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use cohnect_capabilities::timers::{DATA_BYTES_MAX, NAME_BYTES_MAX, PERIOD_US_MIN, TIMERS_MAX};
use cohnect_capabilities::{DurationUs, Effect, Error, Result, TimestampUs};

use super::Entered;

/// What the timers in the outbox change. The outbox holds them in order; a look through it for each timer would cost the square of their number.
#[derive(Debug, Default)]
pub(super) struct PendingTimers {
    /// By name, when it is due; none: it was cancelled.
    by_name: BTreeMap<Arc<str>, Option<TimestampUs>>,
    /// How many times one was set that was not.
    added: usize,
    /// How many times one was cancelled.
    cancelled: usize,
}

impl PendingTimers {
    /// The outbox has been emptied.
    pub(super) fn clear(&mut self) {
        self.by_name.clear();
        (self.added, self.cancelled) = (0, 0);
    }
}

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
            let name: Arc<str> = name.into();
            let pending = &mut self.context.pending_timers;
            pending.by_name.insert(Arc::clone(&name), None);
            pending.cancelled += 1;
            self.keep(Effect::TimerCancel { name });
        }
        set
    }

    /// `timers.due`
    ///
    /// # Errors
    /// `NotFound` when it is not set.
    pub fn timers_due(&self, name: &str) -> Result<TimestampUs> {
        if let Some(pending) = self.context.pending_timers.by_name.get(name) {
            return pending.ok_or(Error::NotFound);
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
        let is_set = self.timers_due(name).is_ok();
        let set = self.timers().len() + self.context.pending_timers.added;
        let set = set.saturating_sub(self.context.pending_timers.cancelled);
        if !is_set && set >= TIMERS_MAX {
            return Err(Error::limit("timers", TIMERS_MAX as u64, set as u64 + 1));
        }
        let name: Arc<str> = name.into();
        self.leave(Effect::TimerSet {
            name: Arc::clone(&name),
            delay,
            periodic,
            data,
        })?;
        let due_at = self.context.arming.wall_us.saturating_add(delay);
        let pending = &mut self.context.pending_timers;
        pending.by_name.insert(name, Some(due_at));
        pending.added += usize::from(!is_set);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::{Context, Timer};
    use crate::function::HostFunction;
    use crate::seeded::Seeded;
    use crate::testing::World;

    fn set(context: &mut Context, name: &str) -> Result<()> {
        let mut entered = context.enter(HostFunction::TimersSet)?;
        entered.timers_set(name, 1_000, Bytes::new())
    }

    fn cancel(context: &mut Context, name: &str) -> bool {
        let mut entered = context.enter(HostFunction::TimersCancel).unwrap();
        entered.timers_cancel(name)
    }

    #[test]
    fn only_timers_that_are_set_at_once_count_against_their_number() {
        let world = World::new();
        let charter = world.charter("a", false);
        let timers = Arc::clone(&charter.timers);
        let timer = Timer {
            due_at: 7,
            period_us: None,
            data: Bytes::new(),
        };
        for n in 0..TIMERS_MAX - 2 {
            let name = n.to_string().into();
            timers.lock().unwrap().insert(name, timer.clone());
        }
        let mut context = Context::new(charter, Box::new(Seeded::new(&[7; 32], 0)));
        let refused = Err(Error::limit("timers", 4_096, 4_097));
        for _ in 0..2 {
            context.arm(world.arming(false));
            for _ in 0..10 {
                assert_eq!(set(&mut context, "0"), Ok(()), "it moves");
                assert_eq!(set(&mut context, "a"), Ok(()), "it moves");
            }
            assert!(cancel(&mut context, "a"));
            assert!(!cancel(&mut context, "a"));
            for name in ["b", "c"] {
                assert_eq!(set(&mut context, name), Ok(()));
            }
            assert_eq!(set(&mut context, "d"), refused);
            assert!(cancel(&mut context, "1"));
            assert_eq!(set(&mut context, "1"), Ok(()));
            assert_eq!(set(&mut context, "d"), refused);
            assert!(cancel(&mut context, "c"));
            assert_eq!(set(&mut context, "d"), Ok(()));
            assert_eq!(context.take_outbox().len(), 27);
        }
        let entered = context.enter(HostFunction::TimersDue).unwrap();
        assert_eq!(entered.timers_due("0"), Ok(7), "it is the home's to do");
        assert_eq!(entered.timers_due("d"), Err(Error::NotFound));
    }
}
