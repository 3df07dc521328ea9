//! Packet numbers (PROTOCOL.md 4): each is used once, some are skipped on purpose, so that a peer that acknowledges what it did not receive
//! gives itself away.

use crate::limits::{SKIP_EVERY_MIN, SKIPS_REMEMBERED};
use crate::wire::Ack;

/// The numbers of one direction. They never start again within a session.
#[derive(Debug)]
pub(crate) struct PacketNumbers {
    next: u64,
    skip_at: u64,
    state: u64,
    /// The newest skipped numbers, a ring; 0 where there is none yet.
    skipped: [u64; SKIPS_REMEMBERED],
    skips: usize,
}

impl PacketNumbers {
    /// `seed` decides which numbers are skipped; it must not be predictable.
    pub(crate) const fn new(seed: u64) -> Self {
        let mut numbers = Self {
            next: 1,
            skip_at: 0,
            state: seed,
            skipped: [0; SKIPS_REMEMBERED],
            skips: 0,
        };
        numbers.skip_at = numbers.next + numbers.draw();
        numbers
    }

    /// The number that the next datagram has.
    pub(crate) const fn peek(&self) -> u64 {
        self.next
    }

    /// The number of [`Self::peek`] is used.
    pub(crate) const fn advance(&mut self) {
        self.next += 1;
        if self.next == self.skip_at {
            self.skipped[self.skips % SKIPS_REMEMBERED] = self.next;
            self.skips += 1;
            self.next += 1;
            self.skip_at = self.next + self.draw();
        }
    }

    /// Whether everything that `ack` reports can have arrived: it was sent, and not skipped.
    pub(crate) fn were_sent(&self, ack: &Ack<'_>) -> bool {
        ack.largest < self.next
            && ack.ranges().all(|range| {
                self.skipped
                    .iter()
                    .all(|&number| number < range.low || number > range.high)
            })
    }

    /// 256 to 1,024, by one step of splitmix64.
    const fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        SKIP_EVERY_MIN + (z ^ (z >> 31)) % (3 * SKIP_EVERY_MIN + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Contents, PnRange, encode_ack};

    fn were_sent(numbers: &PacketNumbers, low: u64, high: u64) -> bool {
        let mut out = Vec::new();
        encode_ack(&mut out, 0, [PnRange { low, high }], 100);
        let contents = Contents::parse(&out, crate::Opcode::CONTROL).unwrap();
        numbers.were_sent(&contents.ack.unwrap())
    }

    #[test]
    fn numbers_grow_and_skip_one_now_and_then() {
        let mut numbers = PacketNumbers::new(7);
        let (mut before, mut skipped) = (0, Vec::new());
        for _ in 0..20_000 {
            let number = numbers.peek();
            assert!(number == before + 1 || number == before + 2);
            if number == before + 2 {
                skipped.push(number - 1);
            }
            before = number;
            numbers.advance();
        }
        assert!(
            skipped
                .windows(2)
                .all(|pair| (257..=1_025).contains(&(pair[1] - pair[0])))
        );
        assert!(skipped.len() > 20);
        for &number in skipped.iter().rev().take(SKIPS_REMEMBERED) {
            assert!(!were_sent(&numbers, number, number));
            assert!(!were_sent(&numbers, number - 3, number + 3));
            assert!(were_sent(&numbers, number - 3, number - 1));
        }
        assert!(were_sent(&numbers, numbers.peek() - 1, numbers.peek() - 1));
        assert!(!were_sent(&numbers, numbers.peek(), numbers.peek()));
    }
}
