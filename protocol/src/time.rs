//! Time as the protocol sees it: values passed in by whoever drives an endpoint. It owns no clock.

use core::time::Duration;

/// A moment of a clock that never goes back, in microseconds since an origin that one process fixes (its start).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Monotonic(pub u64);

impl Monotonic {
    /// The time from `earlier` to this moment; zero when `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// This moment moved on by `duration`; it stops at the end of the range instead of wrapping.
    #[must_use]
    pub const fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(micros(duration)))
    }
}

/// The time of one batch of work: taken once, then passed down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// For intervals and timers.
    pub monotonic: Monotonic,
    /// Microseconds since the Unix epoch, for people and for `server_time_ms`.
    pub wall_us: u64,
}

impl Now {
    /// Both clocks moved on by `duration`.
    #[must_use]
    pub const fn plus(self, duration: Duration) -> Self {
        Self {
            monotonic: self.monotonic.plus(duration),
            wall_us: self.wall_us.saturating_add(micros(duration)),
        }
    }
}

const fn micros(duration: Duration) -> u64 {
    duration
        .as_secs()
        .saturating_mul(1_000_000)
        .saturating_add(duration.subsec_micros() as u64)
}
