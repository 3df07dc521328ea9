//! `streams`: server-to-client topics.

use bytes::Bytes;
use cohnect_capabilities::{ClientId, Delivery, Effect, Error, Result};

use super::Entered;
use super::clients::{check_size, check_topic, cut};
use crate::limits::ITEM_OVERHEAD;

/// The most text that ends a topic, in bytes: what a message to a person needs.
const REASON_BYTES_MAX: usize = 255;

impl Entered<'_> {
    /// `streams.publish`
    ///
    /// # Errors
    /// `LimitExceeded` for an item that is too large, `InvalidArgument` for a topic of the wrong length.
    pub fn streams_publish(
        &mut self,
        topic: &str,
        payload: Bytes,
        delivery: Delivery,
    ) -> Result<u32> {
        check_topic(topic)?;
        check_size(ITEM_OVERHEAD + payload.len())?;
        let count = self.capabilities().streams.subscribers(topic);
        if count > 0 {
            self.leave(Effect::Publish {
                topic: topic.into(),
                payload,
                delivery,
            })?;
        }
        Ok(count)
    }

    /// `streams.publish-one`
    ///
    /// # Errors
    /// `NotFound` when the client has not opened the topic; as [`Entered::streams_publish`].
    pub fn streams_publish_one(
        &mut self,
        topic: &str,
        to: ClientId,
        payload: Bytes,
        delivery: Delivery,
    ) -> Result<()> {
        check_topic(topic)?;
        check_size(ITEM_OVERHEAD + payload.len())?;
        // A client that this very call attached has it open when the item goes out.
        if !self.will_be_open(topic, to) {
            return Err(Error::NotFound);
        }
        self.leave(Effect::PublishOne {
            topic: topic.into(),
            to,
            payload,
            delivery,
        })
    }

    /// `streams.finish`
    ///
    /// # Errors
    /// `InvalidArgument` for a topic of the wrong length.
    pub fn streams_finish(&mut self, topic: &str, reason: &str) -> Result<u32> {
        check_topic(topic)?;
        let count = self.capabilities().streams.subscribers(topic);
        let reason = cut(reason, REASON_BYTES_MAX).to_owned();
        self.leave(Effect::Finish {
            topic: topic.into(),
            reason,
        })?;
        Ok(count)
    }

    /// `streams.attach`
    ///
    /// # Errors
    /// `Closed` when the client is not connected.
    pub fn streams_attach(&mut self, topic: &str, client: ClientId) -> Result<()> {
        check_topic(topic)?;
        if !self.capabilities().clients.online(client) {
            return Err(Error::Closed);
        }
        self.leave(Effect::Attach {
            topic: topic.into(),
            client,
        })
    }

    /// `streams.detach`: true when it was open.
    ///
    /// # Errors
    /// `InvalidArgument` for a topic of the wrong length.
    pub fn streams_detach(&mut self, topic: &str, client: ClientId) -> Result<bool> {
        check_topic(topic)?;
        let open = self.will_be_open(topic, client);
        if open {
            self.leave(Effect::Detach {
                topic: topic.into(),
                client,
            })?;
        }
        Ok(open)
    }

    /// Whether the client has the topic open once this call's effects are carried out.
    fn will_be_open(&self, topic: &str, client: ClientId) -> bool {
        let pending = self.context.outbox.iter().rev().find_map(|effect| {
            if let Effect::Attach {
                topic: t,
                client: c,
            } = effect
            {
                (**t == *topic && *c == client).then_some(true)
            } else if let Effect::Detach {
                topic: t,
                client: c,
            } = effect
            {
                (**t == *topic && *c == client).then_some(false)
            } else if let Effect::Finish { topic: t, .. } = effect {
                (**t == *topic).then_some(false)
            } else {
                None
            }
        });
        pending.unwrap_or_else(|| self.capabilities().streams.is_open(topic, client))
    }
}
