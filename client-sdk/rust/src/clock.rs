//! The client's clock: the one place where it asks what time it is. The protocol gets the time passed in.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cohnect_protocol::{Monotonic, Now};

/// Counts from the moment at which it was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self {
            origin: Instant::now(),
        }
    }

    pub(crate) fn now(self) -> Now {
        Now {
            monotonic: Monotonic(micros(self.origin.elapsed())),
            wall_us: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, micros),
        }
    }

    /// The moment at which a timer for `at` fires.
    pub(crate) fn instant(self, at: Monotonic) -> Instant {
        self.origin + Duration::from_micros(at.0.min(FAR_US))
    }
}

/// A century: beyond it the arithmetic of `Instant` would not hold everywhere.
const FAR_US: u64 = 100 * 365 * 86_400 * 1_000_000;

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
