//! `mailbox`: messages to other modules, without waiting.

use bytes::Bytes;
use cohnect_capabilities::mailbox::TAG_BYTES_MAX;
use cohnect_capabilities::{DurationUs, Effect, Error, Result};

use super::Entered;
use crate::limits::{MAIL_BYTES_MAX, WALL_LIMIT};

impl Entered<'_> {
    /// `mailbox.send`
    ///
    /// # Errors
    /// `NotFound` for an unknown module, `Busy` when its queue is full, `LimitExceeded` for an input that is too large.
    pub fn mailbox_send(&mut self, module: &str, action: &str, input: Bytes) -> Result<()> {
        self.mail(module, action, input, None)
    }

    /// `mailbox.request`
    ///
    /// # Errors
    /// As [`Entered::mailbox_send`].
    pub fn mailbox_request(
        &mut self,
        module: &str,
        action: &str,
        input: Bytes,
        tag: String,
        timeout: DurationUs,
    ) -> Result<()> {
        if tag.len() > TAG_BYTES_MAX {
            return Err(Error::limit(
                "tag-bytes",
                TAG_BYTES_MAX as u64,
                tag.len() as u64,
            ));
        }
        // An answer that takes longer than any call may run will not come.
        let longest = WALL_LIMIT.as_micros() as u64;
        let timeout = if timeout == 0 {
            longest
        } else {
            timeout.min(longest)
        };
        self.mail(module, action, input, Some((tag, timeout)))
    }

    fn mail(
        &mut self,
        module: &str,
        action: &str,
        input: Bytes,
        answer: Option<(String, DurationUs)>,
    ) -> Result<()> {
        if input.len() > MAIL_BYTES_MAX {
            return Err(Error::limit(
                "mail-bytes",
                MAIL_BYTES_MAX as u64,
                input.len() as u64,
            ));
        }
        let place = self.capabilities().mailboxes.reserve(module)?;
        self.spend(input.len())?;
        self.leave(Effect::Mail {
            module: module.into(),
            action: action.into(),
            input,
            answer,
            place,
        });
        Ok(())
    }
}
