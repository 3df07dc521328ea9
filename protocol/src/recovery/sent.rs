//! The datagrams in flight, in the order of their numbers, and references to the frames that each carries. It decides what is lost, and leaves
//! to its caller what that means for a frame.

use core::ops::Range;
use core::time::Duration;
use std::collections::VecDeque;

use crate::Monotonic;
use crate::limits::PACKET_THRESHOLD;
use crate::wire::Ack;

/// A reliable message that stands in a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameRef {
    /// Which of the sender's spaces.
    pub(crate) space: u8,
    /// The message's id there.
    pub(crate) id: u32,
}

/// What a datagram carries beside reliable messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Carried {
    /// The largest number that its ACK reports; 0 without an ACK.
    pub(crate) ack_largest: u64,
    pub(crate) window: bool,
}

/// A datagram whose frames a probe repeats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Probe {
    pub(crate) number: u64,
    pub(crate) frames: Range<u64>,
    pub(crate) window: bool,
}

/// What an ACK settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Settled {
    /// The newest datagram, and when it was sent.
    pub(super) newest: Option<(u64, Monotonic)>,
    /// The largest number that an ACK in one of them reports.
    pub(super) ack_largest: u64,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    number: u64,
    at: Monotonic,
    /// Where its frames start in `frames`, counted from the start of the session.
    frames_from: u64,
    frames: u16,
    carried: Carried,
    probed: bool,
    /// Acknowledged or lost: kept only until everything older is, too.
    settled: bool,
}

/// A ring in the order of the numbers. An acknowledgement finds a datagram by halving, everything else happens at the ends.
#[derive(Debug, Default)]
pub(super) struct SentDatagrams {
    ring: VecDeque<Sent>,
    frames: VecDeque<FrameRef>,
    /// How many frames have left the front of `frames`.
    frames_gone: u64,
    /// How many of the back of `frames` belong to the datagram that is being packed.
    noted: u16,
    in_flight: usize,
    largest_acknowledged: u64,
}

impl SentDatagrams {
    pub(super) fn len(&self) -> usize {
        self.ring.len()
    }

    pub(super) const fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// The front is never settled, so it is the oldest in flight.
    pub(super) fn oldest_at(&self) -> Option<Monotonic> {
        self.ring.front().map(|sent| sent.at)
    }

    pub(super) fn note(&mut self, frame: FrameRef) {
        self.frames.push_back(frame);
        self.noted += 1;
    }

    pub(super) fn record(&mut self, at: Monotonic, number: u64, carried: Carried) {
        let end = self.frames_gone + self.frames.len() as u64;
        self.ring.push_back(Sent {
            number,
            at,
            frames_from: end - u64::from(self.noted),
            frames: self.noted,
            carried,
            probed: false,
            settled: false,
        });
        self.noted = 0;
        self.in_flight += 1;
    }

    pub(super) fn frame_at(&self, at: u64) -> Option<FrameRef> {
        let index = at.checked_sub(self.frames_gone)?;
        self.frames.get(usize::try_from(index).ok()?).copied()
    }

    pub(super) fn next_probe(&mut self) -> Option<Probe> {
        let sent = self
            .ring
            .iter_mut()
            .find(|sent| !sent.settled && !sent.probed)?;
        sent.probed = true;
        Some(Probe {
            number: sent.number,
            frames: sent.frames_from..sent.frames_from + u64::from(sent.frames),
            window: sent.carried.window,
        })
    }

    pub(super) fn acknowledge(
        &mut self,
        ack: &Ack<'_>,
        mut acknowledged: impl FnMut(FrameRef),
    ) -> Settled {
        let mut settled = Settled::default();
        self.largest_acknowledged = self.largest_acknowledged.max(ack.largest);
        let oldest = self.ring.front().map_or(u64::MAX, |sent| sent.number);
        for range in ack.ranges().take_while(|range| range.high >= oldest) {
            let from = self.ring.partition_point(|sent| sent.number < range.low);
            for sent in self.ring.range_mut(from..) {
                if sent.number > range.high {
                    break;
                }
                if sent.settled {
                    continue;
                }
                sent.settled = true;
                self.in_flight -= 1;
                settled.newest = settled.newest.max(Some((sent.number, sent.at)));
                settled.ack_largest = settled.ack_largest.max(sent.carried.ack_largest);
                let start = (sent.frames_from - self.frames_gone) as usize;
                for frame in self.frames.range(start..start + usize::from(sent.frames)) {
                    acknowledged(*frame);
                }
            }
        }
        self.drop_settled();
        settled
    }

    /// What was sent `delay` ago, or lies three numbers back, and before an acknowledged one, is lost. Answers whether a WINDOW is among it, and
    /// when the next is lost by time.
    pub(super) fn lose(
        &mut self,
        now: Monotonic,
        delay: Duration,
        mut lost: impl FnMut(FrameRef, u64),
    ) -> (bool, Option<Monotonic>) {
        let (mut window, mut next) = (false, None);
        for index in 0..self.ring.len() {
            let sent = self.ring[index];
            if sent.number >= self.largest_acknowledged {
                break;
            }
            if sent.settled {
                continue;
            }
            let lost_at = sent.at.plus(delay);
            let behind = self.largest_acknowledged - sent.number;
            if behind < PACKET_THRESHOLD && lost_at > now {
                // Later ones were sent later: this is the next to be lost by time.
                next = next.or(Some(lost_at));
                continue;
            }
            window |= self.settle_as_lost(index, &mut lost);
        }
        self.drop_settled();
        (window, next)
    }

    pub(super) fn lose_oldest(&mut self, mut lost: impl FnMut(FrameRef, u64)) -> bool {
        let window = !self.ring.is_empty() && self.settle_as_lost(0, &mut lost);
        self.drop_settled();
        window
    }

    pub(super) fn rest(&mut self) {
        self.ring.shrink_to_fit();
        self.frames.shrink_to_fit();
    }

    #[cfg(test)]
    pub(super) fn heap_len(&self) -> usize {
        self.ring.capacity() * size_of::<Sent>() + self.frames.capacity() * size_of::<FrameRef>()
    }

    fn settle_as_lost(&mut self, index: usize, lost: &mut impl FnMut(FrameRef, u64)) -> bool {
        let sent = &mut self.ring[index];
        sent.settled = true;
        self.in_flight -= 1;
        let start = (sent.frames_from - self.frames_gone) as usize;
        for frame in self.frames.range(start..start + usize::from(sent.frames)) {
            lost(*frame, sent.number);
        }
        sent.carried.window
    }

    fn drop_settled(&mut self) {
        while let Some(sent) = self.ring.front()
            && sent.settled
        {
            self.frames.drain(..usize::from(sent.frames));
            self.frames_gone += u64::from(sent.frames);
            self.ring.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Contents, PnRange, encode_ack};

    fn frame(id: u32) -> FrameRef {
        FrameRef { space: 0, id }
    }

    fn at(ms: u64) -> Monotonic {
        Monotonic(ms * 1_000)
    }

    /// Datagrams 1 to `count`, a millisecond apart, each with two frames.
    fn sent(count: u32) -> SentDatagrams {
        let mut sent = SentDatagrams::default();
        for number in 1..=count {
            sent.note(frame(number * 10));
            sent.note(frame(number * 10 + 1));
            sent.record(at(u64::from(number)), u64::from(number), Carried::default());
        }
        sent
    }

    fn acknowledge(sent: &mut SentDatagrams, ranges: &[(u64, u64)]) -> (Settled, Vec<u32>) {
        let mut out = Vec::new();
        let ranges = ranges.iter().map(|&(low, high)| PnRange { low, high });
        encode_ack(&mut out, 0, ranges, 1_000);
        let ack = Contents::parse(&out, crate::Opcode::CONTROL).unwrap().ack;
        let mut ids = Vec::new();
        let settled = sent.acknowledge(&ack.unwrap(), |frame| ids.push(frame.id));
        (settled, ids)
    }

    fn lose(sent: &mut SentDatagrams, now: u64) -> (Vec<(u32, u64)>, Option<Monotonic>) {
        let mut ids = Vec::new();
        let (_, next) = sent.lose(at(now), Duration::from_millis(50), |frame, number| {
            ids.push((frame.id, number));
        });
        (ids, next)
    }

    #[test]
    fn each_frame_is_acknowledged_once() {
        let mut sent = sent(6);
        let (settled, ids) = acknowledge(&mut sent, &[(5, 5), (2, 3)]);
        assert_eq!(settled.newest, Some((5, at(5))));
        assert_eq!(ids, [50, 51, 20, 21, 30, 31]);
        assert_eq!((sent.in_flight(), sent.len()), (3, 6));
        let (settled, ids) = acknowledge(&mut sent, &[(1, 6)]);
        assert_eq!(settled.newest, Some((6, at(6))));
        assert_eq!(ids, [10, 11, 40, 41, 60, 61]);
        assert_eq!((sent.in_flight(), sent.len()), (0, 0));
        assert_eq!(sent.frames.len(), 0);
        assert!(acknowledge(&mut sent, &[(1, 6)]).1.is_empty());
    }

    #[test]
    fn three_numbers_or_time_make_a_loss() {
        let mut sent = sent(6);
        acknowledge(&mut sent, &[(5, 5)]);
        assert_eq!(
            lose(&mut sent, 10),
            (vec![(10, 1), (11, 1), (20, 2), (21, 2)], Some(at(53)))
        );
        assert_eq!(lose(&mut sent, 53), (vec![(30, 3), (31, 3)], Some(at(54))));
        assert_eq!(lose(&mut sent, 54), (vec![(40, 4), (41, 4)], None));
        // Nothing after 6 is acknowledged, so time alone does not make it a loss.
        assert_eq!(lose(&mut sent, 9_000), (vec![], None));
        assert_eq!((sent.in_flight(), sent.len()), (1, 1));
    }

    #[test]
    fn probes_walk_from_the_oldest_and_never_twice() {
        let mut sent = sent(4);
        acknowledge(&mut sent, &[(2, 2)]);
        let numbers: Vec<u64> =
            core::iter::from_fn(|| sent.next_probe().map(|probe| probe.number)).collect();
        assert_eq!(numbers, [1, 3, 4]);
        sent.note(frame(99));
        sent.record(at(9), 9, Carried::default());
        let probe = sent.next_probe().unwrap();
        assert_eq!(probe.number, 9);
        assert_eq!(sent.frame_at(probe.frames.start), Some(frame(99)));
        assert_eq!(sent.frame_at(probe.frames.end), None);
    }

    #[test]
    fn the_oldest_can_be_given_up() {
        let mut sent = sent(2);
        let mut ids = Vec::new();
        sent.lose_oldest(|frame, number| ids.push((frame.id, number)));
        assert_eq!(ids, [(10, 1), (11, 1)]);
        assert_eq!(sent.oldest_at(), Some(at(2)));
        let window = sent.lose_oldest(|_, _| {}) || sent.lose_oldest(|_, _| {});
        assert!(!window && sent.oldest_at().is_none());
    }
}
