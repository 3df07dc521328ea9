//! What modules were not told because too much waits for them: counted, and said in the log now and then. It decides nothing about who is told.

use crate::export::Export;

/// Counts what modules were not told, so that the log says it now and then and is not filled by it.
#[derive(Debug, Default)]
pub struct Untold {
    since: u64,
    next_us: u64,
}

impl Untold {
    /// Between two lines in the log, in microseconds.
    const PERIOD_US: u64 = 10_000_000;

    /// Counts one more, at this moment of the monotonic clock.
    pub fn note(&mut self, now_us: u64, module: &str, export: &Export) {
        self.since += 1;
        if now_us < self.next_us {
            return;
        }
        self.next_us = now_us.saturating_add(Self::PERIOD_US);
        tracing::warn!(
            module,
            export = export.name(),
            "{} event(s) were lost on modules that are too far behind, this one the last",
            core::mem::take(&mut self.since)
        );
    }
}
