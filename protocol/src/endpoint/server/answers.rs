//! The answers to handshakes that wait to be sent, and the allowances that keep expensive ones few. Both are bounded; neither knows what an
//! answer says.

use core::time::Duration;
use std::collections::VecDeque;
use std::net::SocketAddr;

use super::super::transmit::Transmit;
use crate::Monotonic;
use crate::handshake::messages::ACCEPT_LEN;

/// Answers that wait: more than one turn of a shard can produce, and lost ones are asked for again.
const ANSWERS_MAX: usize = 1_024;

struct Answer {
    to: SocketAddr,
    len: usize,
    bytes: [u8; ACCEPT_LEN],
}

/// Answers in the order in which they were made.
pub(super) struct Answers(VecDeque<Answer>);

impl Answers {
    pub(super) const fn new() -> Self {
        Self(VecDeque::new())
    }

    /// Queues an answer no longer than an ACCEPT; false when there is no room.
    pub(super) fn push(&mut self, to: SocketAddr, answer: &[u8]) -> bool {
        let mut bytes = [0; ACCEPT_LEN];
        match bytes.get_mut(..answer.len()) {
            Some(place) if self.0.len() < ANSWERS_MAX => place.copy_from_slice(answer),
            Some(_) | None => return false,
        }
        self.0.push_back(Answer {
            to,
            len: answer.len(),
            bytes,
        });
        true
    }

    /// Appends the next answer to `out`.
    pub(super) fn pop(&mut self, out: &mut Vec<u8>) -> Option<Transmit> {
        let answer = self.0.pop_front()?;
        out.extend(answer.bytes.iter().take(answer.len));
        Some(Transmit::single(answer.to, answer.len))
    }
}

/// So many of something a second, and at most as many at once.
pub(super) struct Allowance {
    per_second: u64,
    /// Millionths of one, so that refilling loses nothing at any rate.
    micros_left: u64,
    refilled: Monotonic,
}

impl Allowance {
    pub(super) const fn new(per_second: u32) -> Self {
        Self {
            per_second: per_second as u64,
            micros_left: per_second as u64 * ONE,
            refilled: Monotonic(0),
        }
    }

    /// Takes one, if there is one.
    pub(super) fn take(&mut self, now: Monotonic) -> bool {
        let passed = now.since(self.refilled).min(Duration::from_secs(1));
        self.refilled = self.refilled.max(now);
        // At most a second and a rate of 2^32: 2^52, which no addition below overflows.
        let gained = passed.as_micros() as u64 * self.per_second;
        self.micros_left = (self.micros_left + gained).min(self.per_second * ONE);
        match self.micros_left.checked_sub(ONE) {
            Some(left) => {
                self.micros_left = left;
                true
            }
            None => false,
        }
    }
}

const ONE: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allowance_is_used_up_and_comes_back() {
        let mut allowance = Allowance::new(10);
        let mut taken = |ms: u64| allowance.take(Monotonic(ms * 1_000));
        assert_eq!((0..20).filter(|_| taken(0)).count(), 10);
        assert!(!taken(99));
        assert!(taken(100));
        assert!(!taken(100));
        assert_eq!((0..20).filter(|_| taken(60_000)).count(), 10);
    }

    #[test]
    fn answers_are_bounded_and_keep_their_order() {
        let mut answers = Answers::new();
        let to = "192.0.2.1:9".parse().unwrap();
        for n in 0..ANSWERS_MAX {
            assert!(answers.push(to, &(n as u32).to_be_bytes()));
        }
        assert!(!answers.push(to, &[0]));
        let mut out = Vec::new();
        for n in 0..ANSWERS_MAX {
            out.clear();
            assert_eq!(answers.pop(&mut out), Some(Transmit::single(to, 4)));
            assert_eq!(out, (n as u32).to_be_bytes());
        }
        assert_eq!(answers.pop(&mut out), None);
    }
}
