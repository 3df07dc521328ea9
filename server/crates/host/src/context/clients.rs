//! `clients`: packets to clients, and who is connected.

use std::sync::Arc;

use bytes::Bytes;
use cohnect_capabilities::clients::{Addressed, ClientInfo, SendOptions};
use cohnect_capabilities::{
    Audience, ClientId, CloseReason, Delivery, Effect, Error, Opcode, Result, streams,
};

use super::Entered;
use crate::limits::{BROADCAST_OVERHEAD, MESSAGE_BYTES_MAX};

/// The highest channel.
const CHANNEL_MAX: u8 = 31;
/// Opcodes below this one are the server's own.
const OPCODE_MIN: Opcode = 0x0100;
/// The most text that a CLOSE carries, in bytes.
const CLOSE_BYTES_MAX: usize = 64;

impl Entered<'_> {
    /// `clients.send`
    ///
    /// # Errors
    /// `Closed` when the client is not connected, `Busy` when too much waits for it, `LimitExceeded` for a body that is too large.
    pub fn clients_send(
        &mut self,
        to: ClientId,
        opcode: Opcode,
        payload: Bytes,
        options: SendOptions,
    ) -> Result<()> {
        check_packet(opcode, payload.len(), options)?;
        let admitted = self.capabilities().clients.admits(to);
        match (admitted, options.delivery) {
            (Err(Error::Busy), Delivery::Unreliable | Delivery::UnreliableSequenced) => {
                return Ok(());
            }
            (admitted, _) => admitted?,
        }
        self.leave(Effect::Send {
            to,
            opcode,
            payload,
            options,
        })
    }

    /// `clients.send-to`
    ///
    /// # Errors
    /// As [`Entered::clients_send`], and `InvalidArgument` for a malformed expression.
    pub fn clients_send_to(
        &mut self,
        to: Audience,
        opcode: Opcode,
        payload: Bytes,
        options: SendOptions,
        except: Option<ClientId>,
    ) -> Result<u32> {
        check_packet(opcode, payload.len(), options)?;
        let count = self.capabilities().clients.reach(&to, except)?;
        if count > 0 {
            self.leave(Effect::SendTo {
                to,
                opcode,
                payload,
                options,
                except,
            })?;
        }
        Ok(count)
    }

    /// `clients.send-each`
    ///
    /// # Errors
    /// As [`Entered::clients_send`]; a client that left is skipped.
    pub fn clients_send_each(
        &mut self,
        mut items: Vec<Addressed>,
        opcode: Opcode,
        options: SendOptions,
    ) -> Result<u32> {
        for item in &items {
            check_packet(opcode, item.payload.len(), options)?;
        }
        let clients = Arc::clone(&self.capabilities().clients);
        items.retain(|item| clients.admits(item.to).is_ok());
        let count = items.len() as u32;
        if count > 0 {
            self.leave(Effect::SendEach {
                items,
                opcode,
                options,
            })?;
        }
        Ok(count)
    }

    /// `clients.broadcast`
    ///
    /// # Errors
    /// As [`Entered::clients_send_to`].
    pub fn clients_broadcast(
        &mut self,
        topic: &str,
        to: Audience,
        payload: Bytes,
        options: SendOptions,
    ) -> Result<u32> {
        check_topic(topic)?;
        check_packet(
            OPCODE_MIN,
            BROADCAST_OVERHEAD + topic.len() + payload.len(),
            options,
        )?;
        let count = self.capabilities().clients.reach(&to, None)?;
        if count > 0 {
            self.leave(Effect::Broadcast {
                topic: topic.into(),
                to,
                payload,
                options,
            })?;
        }
        Ok(count)
    }

    /// `clients.online`
    #[must_use]
    pub fn clients_online(&self, id: ClientId) -> bool {
        self.capabilities().clients.online(id)
    }

    /// `clients.online-users`
    #[must_use]
    pub fn clients_online_users(&self, users: &[String]) -> Vec<String> {
        self.capabilities().clients.online_users(users)
    }

    /// `clients.info`
    ///
    /// # Errors
    /// `NotFound` when it is not connected.
    pub fn clients_info(&self, id: ClientId) -> Result<ClientInfo> {
        self.capabilities().clients.info(id)
    }

    /// `clients.ids`
    ///
    /// # Errors
    /// `InvalidArgument` for a malformed expression.
    pub fn clients_ids(
        &self,
        who: &Audience,
        after: Option<ClientId>,
        limit: u32,
    ) -> Result<Vec<ClientId>> {
        self.capabilities().clients.ids(who, after, limit)
    }

    /// `clients.infos`
    ///
    /// # Errors
    /// `InvalidArgument` for a malformed expression.
    pub fn clients_infos(
        &self,
        who: &Audience,
        after: Option<ClientId>,
        limit: u32,
    ) -> Result<Vec<ClientInfo>> {
        self.capabilities().clients.infos(who, after, limit)
    }

    /// `clients.count`
    ///
    /// # Errors
    /// `InvalidArgument` for a malformed expression.
    pub fn clients_count(&self, who: &Audience) -> Result<u32> {
        self.capabilities().clients.count(who)
    }

    /// `clients.disconnect`
    ///
    /// # Errors
    /// `Closed` when it is not connected.
    pub fn clients_disconnect(
        &mut self,
        id: ClientId,
        reason: CloseReason,
        message: &str,
    ) -> Result<()> {
        if !self.capabilities().clients.online(id) {
            return Err(Error::Closed);
        }
        let message = cut(message, CLOSE_BYTES_MAX).to_owned();
        self.leave(Effect::Disconnect {
            id,
            reason,
            message,
        })
    }
}

/// A topic's form: 1 to 255 bytes.
pub(super) fn check_topic(topic: &str) -> Result<()> {
    if topic.is_empty() || topic.len() > streams::TOPIC_BYTES_MAX {
        return Err(Error::invalid(format!(
            "a topic has 1 to {} bytes, this one {}",
            streams::TOPIC_BYTES_MAX,
            topic.len()
        )));
    }
    Ok(())
}

/// A body's size: what fits one message.
pub(super) fn check_size(bytes: usize) -> Result<()> {
    if bytes > MESSAGE_BYTES_MAX {
        return Err(Error::limit(
            "message-bytes",
            MESSAGE_BYTES_MAX as u64,
            bytes as u64,
        ));
    }
    Ok(())
}

fn check_packet(opcode: Opcode, bytes: usize, options: SendOptions) -> Result<()> {
    if opcode < OPCODE_MIN {
        return Err(Error::invalid(format!(
            "opcodes of modules begin at 0x0100, this one is {opcode:#06x}"
        )));
    }
    if options.channel > CHANNEL_MAX {
        return Err(Error::invalid(format!(
            "channels go from 0 to {CHANNEL_MAX}, this one is {}",
            options.channel
        )));
    }
    check_size(bytes)
}

/// The longest beginning of `text` that has at most `max` bytes and ends between two characters.
pub(super) fn cut(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

#[cfg(test)]
mod tests {
    use crate::context::{Charter, Context};
    use crate::function::HostFunction;
    use crate::seeded::Seeded;
    use crate::testing::World;

    use super::*;

    const ADA: ClientId = ClientId { hi: 1, lo: 1 };
    const OPTIONS: SendOptions = SendOptions {
        delivery: Delivery::ReliableOrdered,
        channel: 0,
        version: 0,
    };

    fn with_context(test: impl FnOnce(&mut Context)) {
        let world = World::new();
        world.connect(ADA, &[]);
        let charter: Charter = world.charter("a", false);
        let mut context = Context::new(charter, Box::new(Seeded::new(&[7; 32], 0)));
        context.arm(world.arming(false));
        test(&mut context);
    }

    fn send_to(context: &mut Context, ids: usize) -> Result<u32> {
        let to = Audience::Clients(vec![ADA; ids]);
        let mut entered = context.enter(HostFunction::ClientsSendTo)?;
        entered.clients_send_to(to, OPCODE_MIN, Bytes::from_static(b"x"), OPTIONS, None)
    }

    #[test]
    fn a_list_of_recipients_counts_against_what_a_call_may_send() {
        with_context(|context| {
            assert!(send_to(context, 1_000).is_ok(), "a crowd may be named");
            for _ in 0..64 {
                assert!(send_to(context, 1_000).is_ok());
            }
            let refused = send_to(context, 1_000);
            assert!(
                matches!(refused, Err(Error::LimitExceeded(_))),
                "{refused:?}"
            );
            assert_eq!(context.take_outbox().len(), 65);
        });
    }

    #[test]
    fn an_effect_without_a_payload_counts_as_well() {
        with_context(|context| {
            let mut left = 0;
            loop {
                let Ok(mut entered) = context.enter(HostFunction::ClientsDisconnect) else {
                    panic!("the host calls were used up first");
                };
                let gone = entered.clients_disconnect(ADA, CloseReason::Left, &"x".repeat(64));
                if gone.is_err() {
                    break;
                }
                left += 1;
            }
            assert_eq!(left, crate::limits::SENT_BYTES_MAX / (128 + 64));
        });
    }
}
