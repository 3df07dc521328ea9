//! The round trip as RFC 9002 5 estimates it, and the intervals that follow from it (PROTOCOL.md 6.4).

use core::time::Duration;

use crate::limits::{GRANULARITY, INITIAL_RTT};

/// A running estimate.
#[derive(Debug)]
pub(super) struct RoundTrip {
    smoothed: Duration,
    variation: Duration,
    latest: Duration,
    /// None before the first sample.
    minimum: Option<Duration>,
}

impl RoundTrip {
    /// Starts from the handshake's round trip, where it is known without doubt, else from 333 ms.
    pub(super) fn new(handshake: Option<Duration>) -> Self {
        let smoothed = handshake.unwrap_or(INITIAL_RTT);
        Self {
            smoothed,
            variation: smoothed / 2,
            latest: smoothed,
            minimum: handshake,
        }
    }

    pub(super) const fn smoothed(&self) -> Duration {
        self.smoothed
    }

    /// Takes the time from sending a datagram to its acknowledgement, of which the peer says that it waited `delay`.
    pub(super) fn sample(&mut self, latest: Duration, delay: Duration) {
        self.latest = latest;
        let Some(minimum) = self.minimum else {
            self.minimum = Some(latest);
            self.smoothed = latest;
            self.variation = latest / 2;
            return;
        };
        let minimum = minimum.min(latest);
        self.minimum = Some(minimum);
        let adjusted = match latest.checked_sub(delay) {
            Some(adjusted) if adjusted >= minimum => adjusted,
            _ => latest,
        };
        let deviation = self.smoothed.abs_diff(adjusted);
        self.variation = (self.variation * 3 + deviation) / 4;
        self.smoothed = (self.smoothed * 7 + adjusted) / 8;
    }

    /// How long after a datagram was sent it counts as lost, once a later one is acknowledged (RFC 9002 6.1.2).
    pub(super) fn loss_delay(&self) -> Duration {
        (self.smoothed.max(self.latest) * 9 / 8).max(GRANULARITY)
    }

    /// The probe interval without the peer's delay and without back-off (RFC 9002 6.2.1).
    pub(super) fn probe_interval(&self) -> Duration {
        self.smoothed + (self.variation * 4).max(GRANULARITY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn the_first_sample_replaces_the_assumption() {
        let mut round_trip = RoundTrip::new(None);
        assert_eq!(round_trip.probe_interval(), ms(999));
        round_trip.sample(ms(40), ms(20));
        assert_eq!(round_trip.smoothed(), ms(40));
        assert_eq!(round_trip.probe_interval(), ms(40 + 80));
        assert_eq!(round_trip.loss_delay(), ms(45));
    }

    #[test]
    fn the_peers_delay_is_taken_off_but_never_below_the_minimum() {
        let mut round_trip = RoundTrip::new(Some(ms(40)));
        round_trip.sample(ms(56), ms(16));
        assert_eq!(round_trip.smoothed(), ms(40));
        round_trip.sample(ms(48), ms(16));
        assert_eq!(round_trip.smoothed(), ms(41));
    }

    #[test]
    fn a_steady_line_leaves_the_granularity() {
        let mut round_trip = RoundTrip::new(Some(Duration::from_micros(100)));
        for _ in 0..100 {
            round_trip.sample(Duration::from_micros(100), Duration::ZERO);
        }
        assert_eq!(
            round_trip.probe_interval(),
            Duration::from_micros(100) + GRANULARITY
        );
        assert_eq!(round_trip.loss_delay(), GRANULARITY);
    }
}
