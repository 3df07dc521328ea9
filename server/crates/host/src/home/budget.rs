//! Half of a shard: what one module may use of it over a tenth of a second. It is counted in ticks that fall into the module's calls, since a look at
//! the CPU's clock would cost more than most calls; what is counted only decides who waits, never who ends.

/// The window, in microseconds.
const WINDOW_US: u64 = 100_000;
/// Ticks of a millisecond that a module may use in it: half.
const TICKS_MAX: u64 = 50;

/// What one module has used of its shard.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    window: u64,
    ticks: u64,
}

impl Budget {
    /// The window that a moment falls into; the same for all modules.
    pub(crate) const fn window(now_us: u64) -> u64 {
        now_us / WINDOW_US
    }

    /// Ticks fell into a call.
    pub(crate) const fn charge(&mut self, window: u64, ticks: u64) {
        self.settle(window);
        self.ticks = self.ticks.saturating_add(ticks);
    }

    /// Whether its calls wait behind the others'.
    pub(crate) const fn is_spent(&mut self, window: u64) -> bool {
        self.settle(window);
        self.ticks > TICKS_MAX
    }

    const fn settle(&mut self, window: u64) {
        if window != self.window {
            self.window = window;
            self.ticks = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_window_is_allowed_and_the_next_window_is_new() {
        let mut budget = Budget::default();
        for ms in 0..50 {
            budget.charge(Budget::window(ms * 1_000), 1);
        }
        assert!(!budget.is_spent(Budget::window(60_000)));
        budget.charge(Budget::window(60_000), 1);
        assert!(budget.is_spent(Budget::window(99_999)));
        assert!(!budget.is_spent(Budget::window(100_000)));
    }
}
