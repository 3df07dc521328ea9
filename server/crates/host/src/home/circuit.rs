//! The circuit of one replica: too many ends or too much overrun in a short time open it, and then nothing runs for a while. It owns the counting; who
//! asks does not run what it forbids.

use std::collections::VecDeque;

/// Ends within the window that are tolerated: a module that crashes on one input in a thousand goes on, one that crashes on each does not.
const ENDS_MAX: usize = 5;
/// Overrun within the window that is tolerated, in microseconds: half a percent of a shard.
const OVERRUN_US_MAX: u64 = 50_000;
/// The window.
const WINDOW_US: u64 = 10_000_000;
/// The first pause; each further one is twice as long.
const PAUSE_US_MIN: u64 = 1_000_000;
/// The longest pause.
const PAUSE_US_MAX: u64 = 30_000_000;
/// The window's overrun is added up by the second.
const BUCKET_US: u64 = 1_000_000;

#[derive(Debug, Default)]
enum State {
    #[default]
    Closed,
    /// Nothing runs until then.
    Open { until_us: u64 },
    /// It runs again; one more end opens it for longer.
    Trying { since_us: u64 },
}

/// The circuit of one replica.
#[derive(Debug, Default)]
pub(crate) struct Circuit {
    state: State,
    pause_us: u64,
    /// When replicas ended; at most one more than is tolerated.
    ends: VecDeque<u64>,
    /// Overrun by bucket; at most one bucket for each second of the window and one more.
    overruns: VecDeque<(u64, u64)>,
}

impl Circuit {
    /// A replica ended. True when that opened the circuit.
    pub(crate) fn ended(&mut self, now_us: u64) -> bool {
        self.settle(now_us);
        self.ends.push_back(now_us);
        let trying = matches!(self.state, State::Trying { .. });
        if trying || self.ends.len() > ENDS_MAX {
            self.open(now_us);
            return true;
        }
        false
    }

    /// A call used more than it may. True when that opened the circuit.
    pub(crate) fn overran(&mut self, now_us: u64, by_us: u64) -> bool {
        self.settle(now_us);
        let bucket = now_us / BUCKET_US;
        match self.overruns.back_mut() {
            Some((b, sum)) if *b == bucket => *sum = sum.saturating_add(by_us),
            Some(_) | None => self.overruns.push_back((bucket, by_us)),
        }
        let total = self
            .overruns
            .iter()
            .fold(0_u64, |sum, (_, us)| sum.saturating_add(*us));
        if total > OVERRUN_US_MAX && !self.is_open() {
            self.open(now_us);
            return true;
        }
        false
    }

    /// Whether nothing may run.
    pub(crate) const fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }

    /// When it is to be tried again; none while it is closed.
    pub(crate) const fn retry_us(&self) -> Option<u64> {
        match self.state {
            State::Open { until_us } => Some(until_us),
            State::Closed | State::Trying { .. } => None,
        }
    }

    /// True when the pause is over with this moment, and it may run again.
    pub(crate) fn retry(&mut self, now_us: u64) -> bool {
        match self.state {
            State::Open { until_us } if until_us <= now_us => {
                self.state = State::Trying { since_us: now_us };
                true
            }
            State::Open { .. } | State::Closed | State::Trying { .. } => false,
        }
    }

    /// New code came: what the old one did is forgotten.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }

    fn open(&mut self, now_us: u64) {
        self.pause_us = if self.pause_us == 0 {
            PAUSE_US_MIN
        } else {
            self.pause_us.saturating_mul(2).min(PAUSE_US_MAX)
        };
        self.state = State::Open {
            until_us: now_us.saturating_add(self.pause_us),
        };
        self.ends.clear();
        self.overruns.clear();
    }

    fn settle(&mut self, now_us: u64) {
        let begin = now_us.saturating_sub(WINDOW_US);
        while self.ends.front().is_some_and(|end| *end < begin) {
            self.ends.pop_front();
        }
        while self
            .overruns
            .front()
            .is_some_and(|(bucket, _)| *bucket < begin / BUCKET_US)
        {
            self.overruns.pop_front();
        }
        if let State::Trying { since_us } = self.state
            && since_us < begin
        {
            self.state = State::Closed;
            self.pause_us = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000;

    #[test]
    fn the_sixth_end_in_ten_seconds_opens_it() {
        let mut circuit = Circuit::default();
        for n in 0..5 {
            assert!(!circuit.ended(n * S));
        }
        assert!(circuit.ended(5 * S));
        assert!(circuit.is_open());
    }

    #[test]
    fn ends_that_are_far_apart_do_not_add_up() {
        let mut circuit = Circuit::default();
        for n in 0..100 {
            assert!(!circuit.ended(n * 3 * S), "{n}");
        }
    }

    #[test]
    fn overrun_adds_up_within_the_window() {
        let mut circuit = Circuit::default();
        for n in 0..50 {
            assert!(!circuit.overran(n * S / 10, 1_000), "{n}");
        }
        assert!(circuit.overran(5 * S, 1_000));
        let mut slow = Circuit::default();
        for n in 0..100 {
            assert!(!slow.overran(n * S, 4_000), "{n}");
        }
    }

    #[test]
    fn each_pause_is_twice_as_long_up_to_thirty_seconds() {
        let mut circuit = Circuit::default();
        let mut now = 0;
        for _ in 0..6 {
            circuit.ended(now);
        }
        let mut pauses = Vec::new();
        for _ in 0..7 {
            let until = circuit.retry_us().unwrap();
            pauses.push((until - now) / S);
            assert!(!circuit.retry(until - 1));
            assert!(circuit.retry(until));
            now = until;
            assert!(circuit.ended(now), "one end while it is tried");
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
    }

    #[test]
    fn ten_good_seconds_forgive_it() {
        let mut circuit = Circuit::default();
        for _ in 0..6 {
            circuit.ended(0);
        }
        assert!(circuit.retry(S));
        assert!(!circuit.ended(12 * S));
        for _ in 0..5 {
            circuit.ended(12 * S);
        }
        assert_eq!(circuit.retry_us(), Some(13 * S), "the pauses begin anew");
    }
}
