//! `logging`: what modules say to the people who run them.

use cohnect_capabilities::Field;
use cohnect_capabilities::logging::{Level, Record};

use super::Entered;
use super::clients::cut;
use crate::limits::{LOG_BYTES_MAX, LOG_FIELDS_MAX};

impl Entered<'_> {
    /// `logging.enabled`
    #[must_use]
    pub fn logging_enabled(&self, level: Level) -> bool {
        self.capabilities().logging.enabled(level)
    }

    /// `logging.log`: what is longer than the log takes is cut.
    pub fn logging_log(&self, level: Level, message: &str, fields: &[Field]) {
        let identity = &self.context.charter.identity;
        self.capabilities().logging.log(&Record {
            module: &identity.module,
            generation: identity.generation,
            level,
            message: cut(message, LOG_BYTES_MAX),
            fields: &fields[..fields.len().min(LOG_FIELDS_MAX)],
        });
    }
}
