//! What arrived and has to be reported: the ranges of an ACK, and when it has to leave (PROTOCOL.md 5, 6.4). Whether a datagram arrived twice is
//! the replay window's to know.

use core::time::Duration;

use crate::Monotonic;
use crate::limits::ACK_PAIRS_MAX;
use crate::wire::{PnRange, encode_ack};

/// When the next ACK has to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Never,
    By(Monotonic),
    Now,
}

/// The packet numbers that arrived and that the peer may not know of yet.
#[derive(Debug)]
pub(crate) struct Arrivals {
    /// Ascending and apart from each other, at most as many as one ACK reports.
    ranges: Vec<PnRange>,
    /// The highest number that ever arrived.
    newest: u64,
    /// When the highest of `ranges` arrived.
    largest_at: Monotonic,
    /// Datagrams that want an acknowledgement since the last ACK.
    unanswered: u8,
    due: Due,
    max_ack_delay: Duration,
}

impl Arrivals {
    pub(crate) const fn new(max_ack_delay: Duration) -> Self {
        Self {
            ranges: Vec::new(),
            newest: 0,
            largest_at: Monotonic(0),
            unanswered: 0,
            due: Due::Never,
            max_ack_delay,
        }
    }

    /// Datagram `number` arrived for the first time. `eliciting`: it wants an acknowledgement; `at_once`: and does not want to wait.
    pub(crate) fn record(&mut self, now: Monotonic, number: u64, eliciting: bool, at_once: bool) {
        let in_order = number == self.newest + 1;
        self.newest = self.newest.max(number);
        self.insert(now, number);
        if !eliciting {
            return;
        }
        self.unanswered = self.unanswered.saturating_add(1);
        self.due = match self.due {
            _ if at_once || !in_order || self.unanswered >= 2 => Due::Now,
            Due::Never => Due::By(now.plus(self.max_ack_delay)),
            by @ (Due::By(_) | Due::Now) => by,
        };
    }

    /// Whether an ACK has to leave even if nothing else does.
    pub(crate) fn is_due(&self, now: Monotonic) -> bool {
        match self.due {
            Due::Never => false,
            Due::By(at) => at <= now,
            Due::Now => true,
        }
    }

    /// When it has to; [`Monotonic`] zero for at once.
    pub(crate) const fn due_at(&self) -> Option<Monotonic> {
        match self.due {
            Due::Never => None,
            Due::By(at) => Some(at),
            Due::Now => Some(Monotonic(0)),
        }
    }

    /// Whether there are gaps to report, which only an acknowledged ACK ever removes.
    pub(crate) const fn has_gaps(&self) -> bool {
        self.ranges.len() > 1
    }

    /// Appends an ACK of at most `room` bytes if something waits for one, or if it is `wanted` all the same; answers the largest number in it.
    pub(crate) fn encode(
        &mut self,
        now: Monotonic,
        wanted: bool,
        out: &mut Vec<u8>,
        room: usize,
    ) -> Option<u64> {
        if self.due == Due::Never && !wanted {
            return None;
        }
        // As it is: the peer subtracts no more than the delay that we announced (6.4).
        let delay = now.since(self.largest_at).as_micros() / 32;
        let delay = u16::try_from(delay).unwrap_or(u16::MAX);
        let largest = encode_ack(out, delay, self.ranges.iter().rev().copied(), room);
        if largest.is_some() || self.ranges.is_empty() {
            self.due = Due::Never;
            self.unanswered = 0;
        }
        largest
    }

    /// The peer has an ACK of ours that reported up to `largest`: it knows all below.
    pub(crate) fn forget_up_to(&mut self, largest: u64) {
        let known = self.ranges.partition_point(|range| range.high <= largest);
        self.ranges.drain(..known);
        if let Some(range) = self.ranges.first_mut() {
            range.low = range.low.max(largest + 1);
        }
    }

    /// Gives back the memory of a lossy time.
    pub(crate) fn rest(&mut self) {
        self.ranges.shrink_to(1);
    }

    #[cfg(test)]
    pub(crate) fn heap_len(&self) -> usize {
        self.ranges.capacity() * size_of::<PnRange>()
    }

    fn insert(&mut self, now: Monotonic, number: u64) {
        if self.ranges.last().is_none_or(|last| last.high < number) {
            self.largest_at = now;
        }
        let at = self.ranges.partition_point(|range| range.high < number);
        let joins_below = at
            .checked_sub(1)
            .filter(|&below| self.ranges[below].high + 1 == number);
        let joins_above = self
            .ranges
            .get(at)
            .is_some_and(|above| above.low <= number + 1);
        match (joins_below, joins_above) {
            (Some(below), true) => {
                self.ranges[below].high = self.ranges[at].high;
                self.ranges.remove(at);
            }
            (Some(below), false) => self.ranges[below].high = number,
            (None, true) => self.ranges[at].low = self.ranges[at].low.min(number),
            (None, false) => {
                if self.ranges.len() > ACK_PAIRS_MAX {
                    // The oldest gap is given up: what lay below it was reported many times.
                    if at == 0 {
                        return;
                    }
                    self.ranges.remove(0);
                    self.ranges.insert(at - 1, one(number));
                } else {
                    self.ranges.insert(at, one(number));
                }
            }
        }
    }
}

const fn one(number: u64) -> PnRange {
    PnRange {
        low: number,
        high: number,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const DELAY: Duration = Duration::from_millis(20);

    fn at(ms: u64) -> Monotonic {
        Monotonic(ms * 1_000)
    }

    #[test]
    fn an_ack_leaves_late_for_one_and_at_once_for_the_second() {
        let mut arrivals = Arrivals::new(DELAY);
        arrivals.record(at(100), 1, true, false);
        assert!(!arrivals.is_due(at(119)));
        assert_eq!(arrivals.due_at(), Some(at(120)));
        assert!(arrivals.is_due(at(120)));
        arrivals.record(at(101), 2, true, false);
        assert!(arrivals.is_due(at(101)));
        let mut out = Vec::new();
        assert_eq!(arrivals.encode(at(101), false, &mut out, 1_000), Some(2));
        assert!(!arrivals.is_due(at(500)));
        assert_eq!(arrivals.encode(at(101), false, &mut out, 1_000), None);
    }

    #[test]
    fn an_ack_leaves_at_once_for_disorder_and_ping_but_not_for_acks() {
        for (number, eliciting, at_once, due) in [
            (4, true, false, false),
            (5, true, false, true),
            (2, true, false, true),
            (4, true, true, true),
            (5, false, false, false),
        ] {
            let mut arrivals = Arrivals::new(DELAY);
            arrivals.record(at(0), 3, false, false);
            arrivals.record(at(1), number, eliciting, at_once);
            assert_eq!(
                arrivals.is_due(at(1)),
                due,
                "{number} {eliciting} {at_once}"
            );
        }
    }

    #[test]
    fn the_delay_is_told_as_it_is_up_to_what_its_field_holds() {
        for (ms, told) in [(1, 31), (100, 3_125), (2_097, 65_531), (2_098, u16::MAX)] {
            let mut arrivals = Arrivals::new(DELAY);
            arrivals.record(at(0), 1, true, false);
            let mut out = Vec::new();
            arrivals.encode(at(ms), false, &mut out, 1_000);
            assert_eq!(out[9..11], u16::to_be_bytes(told), "{ms} ms");
        }
    }

    #[test]
    fn what_the_peer_knows_is_no_longer_reported() {
        let mut arrivals = Arrivals::new(DELAY);
        for number in [1, 2, 5, 6, 9] {
            arrivals.record(at(0), number, true, false);
        }
        arrivals.forget_up_to(5);
        assert_eq!(arrivals.ranges, [one(6), one(9)]);
        arrivals.forget_up_to(9);
        assert!(arrivals.ranges.is_empty());
        let mut out = Vec::new();
        assert_eq!(arrivals.encode(at(0), false, &mut out, 1_000), None);
        assert!(!arrivals.is_due(at(100)));
    }

    proptest! {
        #[test]
        fn ranges_are_the_newest_of_a_naive_set(numbers in proptest::collection::vec(1..200_u64, 1..300)) {
            let (mut arrivals, mut naive) = (Arrivals::new(DELAY), BTreeSet::new());
            for number in numbers {
                if naive.insert(number) {
                    arrivals.record(at(0), number, true, false);
                }
                prop_assert!(arrivals.ranges.len() <= ACK_PAIRS_MAX + 1);
                prop_assert!(arrivals.ranges.windows(2).all(|pair| pair[0].high + 1 < pair[1].low));
                let lowest = arrivals.ranges[0].low;
                let held: Vec<u64> = arrivals.ranges.iter().flat_map(|range| range.low..=range.high).collect();
                prop_assert!(held.iter().all(|number| naive.contains(number)));
                if arrivals.ranges.len() <= ACK_PAIRS_MAX {
                    continue;
                }
                prop_assert_eq!(held.last(), naive.last());
                prop_assert!(lowest >= 1);
            }
        }
    }
}
