//! The moment that something is handled in, as whoever owns the clock passes it in. The host reads no clock.

use cohnect_capabilities::TimestampUs;

/// One moment, on both clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Microseconds since the server's start; never goes back.
    pub monotonic_us: u64,
    /// Microseconds since the Unix epoch; an operator may set it back.
    pub wall_us: TimestampUs,
}

impl Now {
    /// The monotonic moment at which the wall clock will show `at`, if nobody sets it.
    #[must_use]
    pub const fn monotonic_of(self, at: TimestampUs) -> u64 {
        if at >= self.wall_us {
            self.monotonic_us.saturating_add(at - self.wall_us)
        } else {
            self.monotonic_us.saturating_sub(self.wall_us - at)
        }
    }

    /// What the wall clock showed, or will show, at a monotonic moment.
    #[must_use]
    pub const fn wall_of(self, at_us: u64) -> TimestampUs {
        if at_us >= self.monotonic_us {
            self.wall_us.saturating_add(at_us - self.monotonic_us)
        } else {
            self.wall_us.saturating_sub(self.monotonic_us - at_us)
        }
    }
}

/// A clock that a task may look at more than once. On a shard it stands still for the length of a turn.
pub trait Clock: Send + Sync {
    /// What time it is.
    fn now(&self) -> Now;
}

/// A clock that stands still.
impl Clock for Now {
    fn now(&self) -> Now {
        *self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_clocks_are_told_apart_and_put_together() {
        let now = Now {
            monotonic_us: 50,
            wall_us: 1_000,
        };
        assert_eq!(now.monotonic_of(1_020), 70);
        assert_eq!(now.monotonic_of(980), 30);
        assert_eq!(now.monotonic_of(0), 0);
        assert_eq!(now.wall_of(70), 1_020);
        assert_eq!(now.wall_of(30), 980);
    }
}
