//! The replay window: which packet numbers were opened (PROTOCOL.md 4). It is moved only after a datagram opened.

use crate::limits::REPLAY_WINDOW;

const WORDS: usize = (REPLAY_WINDOW / 64) as usize;

/// A ring of bits over the newest 2,048 numbers up to `highest`.
#[derive(Debug)]
pub(super) struct ReplayWindow {
    highest: u64,
    bits: [u64; WORDS],
}

impl ReplayWindow {
    pub(super) const fn new() -> Self {
        Self {
            highest: 0,
            bits: [0; WORDS],
        }
    }

    /// Whether a datagram with this number may be opened: it is neither seen nor too old to tell.
    pub(super) const fn is_fresh(&self, number: u64) -> bool {
        if number > self.highest {
            return true;
        }
        // Subtraction, never `number + window`: nothing near the top of the counter can wrap.
        if self.highest - number >= REPLAY_WINDOW {
            return false;
        }
        let (word, bit) = Self::place(number);
        self.bits[word] & bit == 0
    }

    /// Marks a number whose datagram opened.
    pub(super) fn mark(&mut self, number: u64) {
        if number > self.highest {
            if number - self.highest >= REPLAY_WINDOW {
                self.bits = [0; WORDS];
            } else {
                self.clear(self.highest + 1, number);
            }
            self.highest = number;
        }
        let (word, bit) = Self::place(number);
        self.bits[word] |= bit;
    }

    const fn place(number: u64) -> (usize, u64) {
        ((number / 64) as usize % WORDS, 1 << (number % 64))
    }

    /// Clears the bits of `from` to `to`, fewer than the window has, a word at a time.
    fn clear(&mut self, from: u64, to: u64) {
        let mut at = from;
        while at <= to {
            let (word, first) = Self::place(at);
            let count = (64 - at % 64).min(to - at + 1);
            let ones = u64::MAX >> (64 - count);
            self.bits[word] &= !(ones * first);
            at += count;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const TOP: u64 = (1 << 62) - 1;

    fn check(numbers: impl IntoIterator<Item = u64>) {
        let (mut window, mut naive) = (ReplayWindow::new(), BTreeSet::new());
        for number in numbers {
            let highest: u64 = naive.last().copied().unwrap_or(0);
            let old = highest.saturating_sub(number) >= REPLAY_WINDOW;
            let fresh = !old && !naive.contains(&number);
            assert_eq!(
                window.is_fresh(number),
                fresh,
                "{number} after up to {highest}"
            );
            if fresh {
                window.mark(number);
                naive.insert(number);
                assert!(!window.is_fresh(number));
            }
        }
    }

    #[test]
    fn edges_of_the_window_are_exact() {
        check([1, 1, 2_048, 1, 2_049, 1, 2, 2_050, 2, 3]);
        check([1, 4_096, 2_048, 2_049, 4_095, 6_143, 6_144, 4_096, 4_097]);
        check([TOP, TOP, TOP - 2_047, TOP - 2_048, 1]);
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_naive_set(steps in proptest::collection::vec((0..4_u8, 0..2_200_u64), 1..400), base in 0..TOP / 2) {
            let mut highest = base;
            check(steps.into_iter().map(|(kind, by)| {
                let number = match kind {
                    0 => highest + by,
                    1 => highest + 1,
                    _ => highest.saturating_sub(by).max(1),
                };
                highest = highest.max(number);
                number.max(1)
            }));
        }
    }
}
