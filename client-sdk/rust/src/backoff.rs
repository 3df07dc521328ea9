//! How long to wait before the next attempt to connect (PROTOCOL.md 3.5): full jitter, so that a thousand clients of a restarted server do
//! not come back at once. It knows no clock.

use std::time::Duration;

/// Counts failures in a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    pub(crate) const fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            failures: 0,
        }
    }

    /// The pause after one more failure: `fraction`, in 0..1, of what has been doubled with each failure up to the longest.
    pub(crate) fn next(&mut self, fraction: f64) -> Duration {
        // Beyond 2^16 times the first pause the longest has long been reached.
        let doubled = self.first.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        doubled.min(self.longest).mul_f64(fraction.clamp(0.0, 1.0))
    }

    /// Back to the first pause, after a success.
    pub(crate) const fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_start_again() {
        let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));
        let pauses: Vec<_> = (0..9).map(|_| backoff.next(1.0).as_millis()).collect();
        let expected = [
            500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000,
        ];
        assert_eq!(pauses, expected);
        for _ in 0..100 {
            backoff.next(1.0);
        }
        assert_eq!(backoff.next(0.5).as_millis(), 15_000);
        backoff.reset();
        assert_eq!(backoff.next(0.5).as_millis(), 250);
    }
}
