//! `signals`: wake-ups of the calling instance's background step.

use bytes::Bytes;
use cohnect_capabilities::mailbox::Place;
use cohnect_capabilities::signals::PENDING_MAX;
use cohnect_capabilities::timers::NAME_BYTES_MAX;
use cohnect_capabilities::{Effect, Error, Result};

use super::Entered;
use crate::limits::MAIL_BYTES_MAX;

impl Entered<'_> {
    /// `signals.raise`
    ///
    /// # Errors
    /// `Busy` when as many wait as may wait, `LimitExceeded` for a body that is too large.
    pub fn signals_raise(&mut self, name: &str, body: Bytes) -> Result<()> {
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Err(Error::invalid(format!(
                "a signal's name has 1 to {NAME_BYTES_MAX} bytes, this one {}",
                name.len()
            )));
        }
        if body.len() > MAIL_BYTES_MAX {
            return Err(Error::limit(
                "signal-bytes",
                MAIL_BYTES_MAX as u64,
                body.len() as u64,
            ));
        }
        let place =
            Place::take(&self.context.charter.signals, PENDING_MAX as u32).ok_or(Error::Busy)?;
        self.leave(Effect::Signal {
            name: name.to_owned(),
            body,
            place,
        })
    }
}
