//! `mailbox`: messages to other modules, without waiting.

use bytes::Bytes;
use cohnect_capabilities::mailbox::{Awaited, Place, Reserved, Sender, TAG_BYTES_MAX};
use cohnect_capabilities::{DurationUs, Effect, Error, Result};

use super::Entered;
use crate::limits::{MAIL_BYTES_MAX, WALL_LIMIT};
use crate::lost_mail::{Letter, Loss};

impl Entered<'_> {
    /// `mailbox.send`
    ///
    /// # Errors
    /// `NotFound` for an unknown module, or an action that it does not answer to or its manifest does not admit; `Busy` when its queue is full,
    /// `LimitExceeded` for an input that is too large.
    pub fn mailbox_send(&mut self, module: &str, action: &str, input: Bytes) -> Result<()> {
        self.mail(module, action, input, None)
    }

    /// `mailbox.request`
    ///
    /// # Errors
    /// As [`Entered::mailbox_send`], and `Busy` when there is no place for the answer.
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
        // A place for the answer is taken with the question, so that it always fits.
        let charter = &self.context.charter;
        let place = Place::take(&charter.asked, charter.limits.queue).ok_or(Error::Busy)?;
        let to = Reserved {
            copy: charter.identity.copy,
            place,
        };
        let awaited = Awaited { tag, timeout, to };
        self.mail(module, action, input, Some(Box::new(awaited)))
    }

    fn mail(
        &mut self,
        module: &str,
        action: &str,
        input: Bytes,
        answer: Option<Box<Awaited>>,
    ) -> Result<()> {
        if input.len() > MAIL_BYTES_MAX {
            return Err(Error::limit(
                "mail-bytes",
                MAIL_BYTES_MAX as u64,
                input.len() as u64,
            ));
        }
        let from = Sender {
            module: &self.context.charter.identity.module,
            shard: self.context.charter.carrier.0,
        };
        let reserved = self.capabilities().mailboxes.reserve(from, module, action);
        let to = reserved.inspect_err(|error| {
            let context = &mut *self.context;
            let letter = Letter {
                from: &context.charter.identity.module,
                to: module,
                action,
            };
            // Few look at what comes back, since so little of it does.
            let now_us = context.arming.monotonic_us;
            context.lost.note(now_us, letter, Loss::Unsent(error));
        })?;
        self.leave(Effect::Mail {
            module: module.into(),
            action: action.into(),
            input,
            answer,
            to,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::context::Context;
    use crate::function::HostFunction;
    use crate::limits::TOLD_MAX;
    use crate::seeded::Seeded;
    use crate::testing::World;

    use super::*;

    #[test]
    fn a_request_without_a_place_for_its_answer_is_busy() {
        let world = World::new();
        let mut charter = world.charter("a", false);
        charter.limits.queue = 2;
        let (told, asked) = (Arc::clone(&charter.told), Arc::clone(&charter.asked));
        let mut context = Context::new(charter, Box::new(Seeded::new(&[7; 32], 0)));
        context.arm(world.arming(false));
        let mut ask = || {
            let mut entered = context.enter(HostFunction::MailboxRequest).unwrap();
            entered.mailbox_request("b", "x", Bytes::new(), "tag".into(), 0)
        };
        let crowd: Vec<_> = (0..5_000).map(|_| Place::take(&told, TOLD_MAX)).collect();
        let waiting = Place::take(&asked, 2);
        assert_eq!(ask(), Ok(()), "what it is told takes no place of answers");
        assert_eq!(ask(), Err(Error::Busy), "two answers are on their way");
        drop(crowd);
        assert_eq!(ask(), Err(Error::Busy));
        drop(waiting);
        assert_eq!(ask(), Ok(()));
    }
}
