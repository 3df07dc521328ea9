//! Clients that were not let in because a module did not say yes, though it did not say no either: counted, and said in the log now and then. It decides
//! nothing about who comes in.

/// Between two lines in the log, in microseconds: clients knock again and again, and each costs such a line.
const PERIOD_US: u64 = 10_000_000;

/// Counts them, so that the log says it now and then and is not filled by it.
#[derive(Debug, Default)]
pub(super) struct TurnedAway {
    since: u64,
    next_us: u64,
}

impl TurnedAway {
    /// Counts one more, at this moment of the monotonic clock; `why` goes on after the module's name.
    pub(super) fn note(&mut self, now_us: u64, module: &str, why: &str) {
        if let Some(clients) = self.count(now_us) {
            tracing::warn!(
                module,
                "{clients} client(s) were not let in, the last because `on_connecting` {why}"
            );
        }
    }

    /// How many there were since the last line, when it is time for another.
    const fn count(&mut self, now_us: u64) -> Option<u64> {
        self.since += 1;
        if now_us < self.next_us {
            return None;
        }
        self.next_us = now_us.saturating_add(PERIOD_US);
        Some(core::mem::replace(&mut self.since, 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_said_at_once_and_a_crowd_after_it_in_one_line() {
        let mut away = TurnedAway::default();
        assert_eq!(away.count(5), Some(1));
        for n in 0..1_000 {
            assert_eq!(away.count(6 + n), None);
        }
        assert_eq!(away.count(5 + PERIOD_US), Some(1_001));
    }
}
