//! The real clock, the only one of the server: everything else is told what time it is.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use cohnect_protocol::{Monotonic, Now};

/// A clock whose monotonic side counts from one moment, the server's start. Every thread of a server reads a copy of the same one.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock that starts now.
    #[must_use]
    #[expect(
        clippy::new_without_default,
        reason = "starting a clock is an act, not a default"
    )]
    pub fn new() -> Self {
        Self {
            origin: Instant::now(),
        }
    }

    /// What time it is, on both clocks.
    #[must_use]
    pub fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH);
        Now {
            monotonic: Monotonic(self.monotonic_us()),
            wall_us: wall.map_or(0, |wall| micros(wall.as_micros())),
        }
    }

    /// Microseconds since the clock was started.
    #[must_use]
    pub fn monotonic_us(&self) -> u64 {
        micros(self.origin.elapsed().as_micros())
    }
}

impl cohnect_host::now::Clock for Clock {
    fn now(&self) -> cohnect_host::now::Now {
        let now = Self::now(self);
        cohnect_host::now::Now {
            monotonic_us: now.monotonic.0,
            wall_us: now.wall_us,
        }
    }
}

fn micros(micros: u128) -> u64 {
    u64::try_from(micros).unwrap_or(u64::MAX)
}
