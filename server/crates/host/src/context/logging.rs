//! `logging`: what modules say to the people who run them, as much of it as people can read.

use core::cell::Cell;

use cohnect_capabilities::logging::{Level, Record};
use cohnect_capabilities::{Field, Scalar};

use super::Entered;
use super::clients::cut;
use crate::limits::{LOG_BYTES_MAX, LOG_FIELDS_MAX};

/// Bytes that one replica may say in a second: some hundred lines, beyond which nobody reads, and 5 GB a day if it never stops.
const BYTES_PER_SECOND: u64 = 64 * 1024;
/// Bytes that it may say at once: what it does at its start, or when something goes wrong.
const BYTES_AT_ONCE: u64 = 1024 * 1024;
/// What a line costs beside its text.
const LINE_BYTES: u64 = 64;
/// What a number takes, or the length of bytes.
const NUMBER_BYTES: usize = 24;

/// What a replica may still say: a bucket that fills with time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    bytes: u64,
    /// When it was filled last, in microseconds of the monotonic clock.
    at_us: u64,
    /// Lines that found it empty since one was said.
    left_out: u64,
}

impl Default for Allowance {
    fn default() -> Self {
        Self {
            bytes: BYTES_AT_ONCE,
            at_us: 0,
            left_out: 0,
        }
    }
}

impl Allowance {
    /// Whether a line of this length may be said, and how many were left out before it.
    fn take(&mut self, now_us: u64, bytes: u64) -> Option<u64> {
        let since_us = now_us.saturating_sub(self.at_us);
        let filled = since_us.saturating_mul(BYTES_PER_SECOND) / 1_000_000;
        // What is less than a byte fills it later.
        if filled > 0 {
            self.at_us = now_us;
            self.bytes = self.bytes.saturating_add(filled).min(BYTES_AT_ONCE);
        }
        let Some(left) = self.bytes.checked_sub(bytes.saturating_add(LINE_BYTES)) else {
            self.left_out += 1;
            return None;
        };
        self.bytes = left;
        Some(core::mem::take(&mut self.left_out))
    }
}

impl Entered<'_> {
    /// `logging.enabled`
    #[must_use]
    pub fn logging_enabled(&self, level: Level) -> bool {
        self.capabilities().logging.enabled(level)
    }

    /// `logging.log`: what is longer than the log takes is cut, and what is more than people read is counted.
    pub fn logging_log(&self, level: Level, message: &str, fields: &[Field]) {
        let identity = &self.context.charter.identity;
        let logging = &self.capabilities().logging;
        let message = cut(message, LOG_BYTES_MAX);
        let fields = &fields[..fields.len().min(LOG_FIELDS_MAX)];
        let bytes = message.len() + fields.iter().map(field_bytes).sum::<usize>();
        let mut allowance = self.context.allowance.get();
        let taken = allowance.take(self.context.arming.monotonic_us, bytes as u64);
        self.context.allowance.set(allowance);
        let Some(left_out) = taken else {
            return;
        };
        let say = |level, message: &str, fields| {
            logging.log(&Record {
                module: &identity.module,
                generation: identity.generation,
                level,
                message,
                fields,
            });
        };
        if left_out > 0 {
            let text = format!(
                "{left_out} lines of this module were left out: it says more than {BYTES_PER_SECOND} bytes a second"
            );
            say(Level::Warn, &text, &[]);
        }
        say(level, message, fields);
    }
}

/// What a field takes in the log, where its name and its text are each cut as a message is.
fn field_bytes(field: &Field) -> usize {
    let value = match &field.value {
        Scalar::Text(text) => text.len().min(LOG_BYTES_MAX),
        Scalar::Boolean(_) | Scalar::Integer(_) | Scalar::Number(_) | Scalar::Blob(_) => {
            NUMBER_BYTES
        }
    };
    field.key.len().min(LOG_BYTES_MAX) + value
}

/// A full allowance.
pub(super) fn allowance() -> Cell<Allowance> {
    Cell::new(Allowance::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_count_as_they_are_shown() {
        let field = |key: &str, value| Field {
            key: key.to_owned(),
            value,
        };
        let long = "x".repeat(1_000_000);
        assert_eq!(
            field_bytes(&field("n", Scalar::Integer(5))),
            1 + NUMBER_BYTES
        );
        assert_eq!(field_bytes(&field("n", Scalar::Text("four".into()))), 5);
        assert_eq!(
            field_bytes(&field(&long, Scalar::Text(long.clone()))),
            2 * LOG_BYTES_MAX
        );
    }

    #[test]
    fn a_module_that_says_too_much_is_cut_short_and_that_is_said_once() {
        let mut allowance = Allowance::default();
        let line = 1_000;
        let mut said = 0;
        while allowance.take(5, line).is_some() {
            said += 1;
        }
        assert_eq!(said, BYTES_AT_ONCE / (line + LINE_BYTES));
        assert_eq!(allowance.take(10, line), None);
        // A tenth of a second later six more find room.
        let later: Vec<_> = (0..8).map(|_| allowance.take(100_010, line)).collect();
        assert_eq!(
            later[..6],
            [Some(2), Some(0), Some(0), Some(0), Some(0), Some(0)]
        );
        assert!(later[7].is_none(), "{later:?}");
        // After a pause it has everything again, and no more.
        assert!(
            allowance
                .take(1_000_000_000_000, BYTES_AT_ONCE - LINE_BYTES)
                .is_some()
        );
        assert!(allowance.take(1_000_000_000_000, 0).is_none());
    }
}
