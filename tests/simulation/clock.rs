//! The one clock of a simulation: tokio's, which stands still while there is anything to do and then jumps to the next timer.

use std::time::Duration;

use cohnect_host::now::{Clock, Now};
use cohnect_protocol::Monotonic;
use tokio::time::Instant;

/// What the wall clock shows at the beginning.
const EPOCH_US: u64 = 1_700_000_000_000_000;

/// Time since the simulation began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SimClock {
    began: Instant,
}

impl SimClock {
    /// A clock that begins now, on a paused runtime.
    pub(crate) fn begin() -> Self {
        Self {
            began: Instant::now(),
        }
    }

    /// Microseconds since the beginning.
    pub(crate) fn us(self) -> u64 {
        self.began.elapsed().as_micros() as u64
    }

    /// The moment, as the wire has it.
    pub(crate) fn moment(self) -> cohnect_protocol::Now {
        let us = self.us();
        cohnect_protocol::Now {
            monotonic: Monotonic(us),
            wall_us: EPOCH_US + us,
        }
    }

    /// Sleeps until this many microseconds after the beginning, or for ever.
    pub(crate) async fn sleep_until(self, us: Option<u64>) {
        match us {
            Some(us) => tokio::time::sleep_until(self.began + Duration::from_micros(us)).await,
            None => core::future::pending().await,
        }
    }
}

impl Clock for SimClock {
    fn now(&self) -> Now {
        let us = self.us();
        Now {
            monotonic_us: us,
            wall_us: EPOCH_US + us,
        }
    }
}
