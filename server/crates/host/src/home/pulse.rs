//! The beat of one ticker: when its next tick is due, and which ticks are left out when it cannot keep up. It reads no clock.

use crate::export::{Tick, TickPlan};
use crate::now::Now;

const SECOND_US: u64 = 1_000_000;

/// The beat of one ticker.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    /// The rate now; 0 rests.
    hz: u32,
    /// The rate of the plan, to see whether new code has another one.
    plan_hz: Option<u32>,
    catch_up_max: Option<u32>,
    /// Where the beat began; tick `k` of it is due at `base + k × second / hz`, so that nothing drifts.
    base_us: u64,
    /// The next tick, counted from `base_us`.
    beat: u64,
    /// The next tick's number, which counts on over swaps and changes of the rate.
    number: u64,
    /// One is in the queue, or running.
    queued: bool,
}

impl Pulse {
    /// Takes a plan: its rate, unless it is the plan that was there before.
    pub(crate) fn plan(&mut self, plan: &TickPlan, hz_max: u32, now: Now) {
        self.catch_up_max = plan.catch_up_max.map(|max| max.max(1));
        let hz = plan.hz.min(hz_max);
        if self.plan_hz != Some(hz) {
            self.plan_hz = Some(hz);
            self.set_rate(hz, now);
        }
    }

    /// From now on at this rate; the first tick comes after one period.
    pub(crate) fn set_rate(&mut self, hz: u32, now: Now) {
        if hz != self.hz {
            self.hz = hz;
            self.base_us = now.monotonic_us;
            self.beat = 1;
        }
    }

    /// When the next tick is due; none while it rests or one is queued.
    pub(crate) fn next_us(&self) -> Option<u64> {
        (self.hz > 0 && !self.queued).then(|| self.due_us(self.beat))
    }

    /// True when a tick is due, which counts as queued from now on.
    pub(crate) fn poll(&mut self, now: Now) -> bool {
        let due = self.next_us().is_some_and(|due| due <= now.monotonic_us);
        self.queued |= due;
        due
    }

    /// The tick that runs now.
    pub(crate) fn take(&mut self, now: Now) -> Tick {
        if self.hz == 0 {
            // It was put to rest while this one was in the queue.
            self.number += 1;
            return Tick {
                number: self.number - 1,
                due_at: now.wall_us,
                step: SECOND_US,
                skipped: 0,
            };
        }
        let passed = u128::from(now.monotonic_us.saturating_sub(self.base_us))
            * u128::from(self.hz)
            / u128::from(SECOND_US);
        let newest = u64::try_from(passed).unwrap_or(u64::MAX).max(self.beat);
        let kept = u64::from(self.catch_up_max.unwrap_or(1));
        let beat = self.beat.max((newest + 1).saturating_sub(kept));
        let skipped = beat - self.beat;
        self.beat = beat + 1;
        self.number += skipped + 1;
        Tick {
            number: self.number - 1,
            due_at: now.wall_of(self.due_us(beat)),
            step: SECOND_US / u64::from(self.hz),
            skipped: u32::try_from(skipped).unwrap_or(u32::MAX),
        }
    }

    /// The queued tick has run.
    pub(crate) const fn ran(&mut self) {
        self.queued = false;
    }

    fn due_us(&self, beat: u64) -> u64 {
        let offset = u128::from(beat) * u128::from(SECOND_US) / u128::from(self.hz.max(1));
        self.base_us
            .saturating_add(u64::try_from(offset).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(ms: u64) -> Now {
        Now {
            monotonic_us: ms * 1_000,
            wall_us: 1_000_000_000 + ms * 1_000,
        }
    }

    fn pulse(hz: u32, catch_up_max: Option<u32>) -> Pulse {
        let mut pulse = Pulse::default();
        pulse.plan(&TickPlan { hz, catch_up_max }, 128, at(0));
        pulse
    }

    /// Runs whatever is due at this moment, each tick at once: (number, skipped).
    fn run(pulse: &mut Pulse, now: Now) -> Vec<(u64, u32)> {
        let mut ticks = Vec::new();
        while pulse.poll(now) {
            let tick = pulse.take(now);
            ticks.push((tick.number, tick.skipped));
            pulse.ran();
        }
        ticks
    }

    #[test]
    fn it_beats_without_drift() {
        let mut pulse = pulse(60, None);
        let mut ticks = 0;
        for ms in 0..=60_000 {
            ticks += run(&mut pulse, at(ms)).len();
        }
        assert_eq!(ticks, 3_600);
    }

    #[test]
    fn missed_ticks_are_skipped_and_counted() {
        let mut pulse = pulse(20, None);
        assert_eq!(run(&mut pulse, at(50)), [(0, 0)]);
        assert_eq!(run(&mut pulse, at(275)), [(4, 3)]);
        assert_eq!(run(&mut pulse, at(300)), [(5, 0)]);
    }

    #[test]
    fn ticks_are_caught_up_to_their_number_and_the_rest_is_dropped() {
        let mut pulse = pulse(20, Some(3));
        assert_eq!(
            run(&mut pulse, at(500)),
            [(7, 7), (8, 0), (9, 0)],
            "ten were due"
        );
        assert_eq!(run(&mut pulse, at(550)), [(10, 0)]);
    }

    #[test]
    fn a_new_rate_counts_from_now_and_the_numbers_go_on() {
        let mut pulse = pulse(20, None);
        run(&mut pulse, at(50));
        pulse.set_rate(100, at(60));
        assert_eq!(pulse.next_us(), Some(70_000));
        assert_eq!(run(&mut pulse, at(70)), [(1, 0)]);
        pulse.set_rate(0, at(71));
        assert_eq!(pulse.next_us(), None);
    }

    #[test]
    fn a_swap_keeps_the_rate_unless_its_plan_is_another() {
        let mut pulse = pulse(0, None);
        pulse.set_rate(20, at(0));
        let plan = |hz| TickPlan {
            hz,
            catch_up_max: None,
        };
        pulse.plan(&plan(0), 128, at(10));
        assert_eq!(pulse.next_us(), Some(50_000));
        pulse.plan(&plan(500), 100, at(10));
        assert_eq!(pulse.next_us(), Some(20_000), "never above the ceiling");
    }

    #[test]
    fn a_tick_says_when_it_was_due_and_how_long_it_stands_for() {
        let mut pulse = pulse(20, None);
        assert!(pulse.poll(at(53)));
        let tick = pulse.take(at(53));
        assert_eq!(tick.due_at, at(50).wall_us);
        assert_eq!(tick.step, 50_000);
    }
}
