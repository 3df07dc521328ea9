//! Whose turn it is on a shard: fair queuing of its replicas by what they have used of it. The next call is the first of the replica that has used least; of
//! those that have used the same, the one whose call came first. So behind replicas that always have more to do, however many they are, another waits for
//! one call to end, and replicas whose calls cost next to nothing take turns.
//!
//! What is used is counted in calls, and in ticks of a millisecond that fall into them, since a look at the CPU's clock would cost a part of most calls. What
//! is counted only decides who waits, never who ends.

use core::cmp::Reverse;
use std::collections::BinaryHeap;

/// What a tick costs in calls: a call in which none falls takes some microseconds, or a part of a millisecond that the next tick finds sooner or later.
const TICK: u64 = 64;

/// What one replica has used of its shard, and whether it stands in the queue.
#[derive(Debug, Default)]
pub(crate) struct Share {
    /// Calls, a tick being [`TICK`] of them. One that had nothing to do saves no more than one call up: it goes on from where the others are (the *virtual
    /// time* of fair queuing), before those that were there all the time.
    used: u64,
    waits: bool,
}

impl Share {
    /// A call ended, and so many ticks fell into it.
    pub(crate) const fn charge(&mut self, ticks: u64) {
        self.used = self
            .used
            .saturating_add(1)
            .saturating_add(ticks.saturating_mul(TICK));
    }
}

/// The seats of a shard that have something to do.
#[derive(Debug, Default)]
pub(crate) struct FairQueue {
    /// What the seat has used, when its first call came, and which it is. One entry for each seat at most.
    seats: BinaryHeap<Reverse<(u64, u64, u32)>>,
    arrivals: u64,
    /// The most that a seat had used when its turn came.
    reached: u64,
}

impl FairQueue {
    /// The number of a call that comes now.
    pub(crate) const fn arrive(&mut self) -> u64 {
        self.arrivals += 1;
        self.arrivals
    }

    /// A seat has something to do; its first call is the one with this number.
    pub(crate) fn wait(&mut self, seat: u32, share: &mut Share, first: u64) {
        if !core::mem::replace(&mut share.waits, true) {
            share.used = share.used.max(self.reached.saturating_sub(1));
            self.seats.push(Reverse((share.used, first, seat)));
        }
    }

    /// The seat whose turn it is. It is told so by [`FairQueue::turn`], and waits again if it has more to do.
    pub(crate) fn next(&mut self) -> Option<u32> {
        let Reverse((used, _, seat)) = self.seats.pop()?;
        self.reached = self.reached.max(used);
        Some(seat)
    }

    /// A seat's turn has come.
    pub(crate) const fn turn(share: &mut Share) {
        share.waits = false;
    }

    /// A seat is gone.
    pub(crate) fn forget(&mut self, seat: u32) {
        self.seats.retain(|Reverse((_, _, other))| *other != seat);
    }

    /// Whether no seat has anything to do.
    pub(crate) fn is_empty(&self) -> bool {
        self.seats.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seats that always have more to do, and what a call of each costs. Which seats had the first turns.
    fn turns(costs: &[u64], count: usize) -> Vec<u32> {
        let mut queue = FairQueue::default();
        let mut shares: Vec<Share> = costs.iter().map(|_| Share::default()).collect();
        for (seat, share) in shares.iter_mut().enumerate() {
            let first = queue.arrive();
            queue.wait(seat as u32, share, first);
        }
        let next = || {
            let seat = queue.next()?;
            let share = &mut shares[seat as usize];
            FairQueue::turn(share);
            share.charge(costs[seat as usize]);
            let first = queue.arrive();
            queue.wait(seat, share, first);
            Some(seat)
        };
        core::iter::from_fn(next).take(count).collect()
    }

    #[test]
    fn those_whose_calls_cost_nothing_take_turns() {
        assert_eq!(turns(&[0, 0, 0], 6), [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn each_gets_the_same_time_whatever_its_calls_cost() {
        let turns = turns(&[3, 1], 40);
        let dear = turns.iter().filter(|seat| **seat == 0).count();
        assert_eq!(dear, 10, "a third as many calls: {turns:?}");
    }

    #[test]
    fn whoever_comes_rarely_waits_for_one_call_however_many_are_busy() {
        let mut queue = FairQueue::default();
        let mut busy: Vec<Share> = (0..40).map(|_| Share::default()).collect();
        let mut rare = Share::default();
        for (seat, share) in busy.iter_mut().enumerate() {
            let first = queue.arrive();
            queue.wait(seat as u32, share, first);
        }
        for round in 0..400_u64 {
            let seat = queue.next().unwrap();
            let share = &mut busy[seat as usize];
            FairQueue::turn(share);
            share.charge(u64::from(round.is_multiple_of(3)));
            // Some have more to do at once, some only when the next one has run.
            let first = queue.arrive();
            queue.wait(seat, share, first);
            if round % 50 == 49 {
                let first = queue.arrive();
                queue.wait(99, &mut rare, first);
                assert_eq!(queue.next(), Some(99), "round {round}");
                FairQueue::turn(&mut rare);
                rare.charge(0);
            }
        }
    }

    #[test]
    fn whoever_comes_later_has_no_debt_and_saves_nothing_up() {
        let mut queue = FairQueue::default();
        let (mut busy, mut idle) = (Share::default(), Share::default());
        for _ in 0..100 {
            let first = queue.arrive();
            queue.wait(0, &mut busy, first);
            assert_eq!(queue.next(), Some(0));
            FairQueue::turn(&mut busy);
            busy.charge(3);
        }
        let first = queue.arrive();
        queue.wait(0, &mut busy, first);
        let mut before = 0;
        loop {
            let first = queue.arrive();
            queue.wait(1, &mut idle, first);
            if queue.next() == Some(0) {
                break;
            }
            FairQueue::turn(&mut idle);
            idle.charge(2);
            before += 1;
        }
        assert!((1..=3).contains(&before), "{before} turns before the other");
    }

    #[test]
    fn a_seat_that_is_gone_has_no_turn() {
        let mut queue = FairQueue::default();
        let (mut a, mut b) = (Share::default(), Share::default());
        queue.wait(0, &mut a, 1);
        queue.wait(0, &mut a, 2);
        queue.wait(1, &mut b, 3);
        queue.forget(0);
        assert_eq!(queue.next(), Some(1));
        assert!(queue.is_empty());
    }
}
