//! What a call leaves behind: checked and counted at once, kept in the call's outbox, carried out by the home in order when the call has ended. A call
//! that ends its replica leaves none.

use std::sync::Arc;

use crate::clients::{Addressed, SendOptions};
use crate::{Audience, ClientId, CloseReason, Delivery, DurationUs, Opcode, Payload, mailbox};

/// One effect of a call.
#[derive(Debug)]
pub enum Effect {
    /// A packet to one client.
    Send {
        /// To whom.
        to: ClientId,
        /// Its command.
        opcode: Opcode,
        /// Its body.
        payload: Payload,
        /// How it travels.
        options: SendOptions,
    },
    /// The same packet to an audience.
    SendTo {
        /// To whom.
        to: Audience,
        /// Its command.
        opcode: Opcode,
        /// Its body.
        payload: Payload,
        /// How it travels.
        options: SendOptions,
        /// Not to this one.
        except: Option<ClientId>,
    },
    /// A different payload to each.
    SendEach {
        /// To whom, what.
        items: Vec<Addressed>,
        /// Their command.
        opcode: Opcode,
        /// How they travel.
        options: SendOptions,
    },
    /// A BROADCAST from the server.
    Broadcast {
        /// Its topic.
        topic: Arc<str>,
        /// To whom.
        to: Audience,
        /// Its body.
        payload: Payload,
        /// How it travels.
        options: SendOptions,
    },
    /// A session's end.
    Disconnect {
        /// Whose.
        id: ClientId,
        /// Why.
        reason: CloseReason,
        /// What the client is told, at most 64 bytes.
        message: String,
    },
    /// An item to every subscriber of a topic.
    Publish {
        /// The topic.
        topic: Arc<str>,
        /// The item.
        payload: Payload,
        /// How it travels.
        delivery: Delivery,
    },
    /// An item to one subscriber.
    PublishOne {
        /// The topic.
        topic: Arc<str>,
        /// To whom.
        to: ClientId,
        /// The item.
        payload: Payload,
        /// How it travels.
        delivery: Delivery,
    },
    /// The end of a topic.
    Finish {
        /// The topic.
        topic: Arc<str>,
        /// What its subscribers are told.
        reason: String,
    },
    /// A topic opened for a client.
    Attach {
        /// The topic.
        topic: Arc<str>,
        /// For whom.
        client: ClientId,
    },
    /// A topic closed for a client.
    Detach {
        /// The topic.
        topic: Arc<str>,
        /// For whom.
        client: ClientId,
    },
    /// A message to another module.
    Mail {
        /// Its address.
        module: Arc<str>,
        /// The action.
        action: Arc<str>,
        /// Its input.
        input: Payload,
        /// The answer that is wanted; none when nobody waits.
        answer: Option<Box<mailbox::Awaited>>,
        /// Which copy gets it, and the place that it has there.
        to: mailbox::Reserved,
    },
    /// A timer set or moved.
    TimerSet {
        /// Its name.
        name: Arc<str>,
        /// Until it is due.
        delay: DurationUs,
        /// Whether it comes again each `delay`.
        periodic: bool,
        /// What comes back with it.
        data: Payload,
    },
    /// A timer taken away.
    TimerCancel {
        /// Its name.
        name: Arc<str>,
    },
    /// The rate of the instance's ticker.
    TickRate {
        /// 0 rests it.
        hz: u32,
    },
    /// A wake-up of the instance's background step.
    Signal {
        /// Its name.
        name: String,
        /// What comes with it.
        body: Payload,
        /// The place that it has among the signals that wait.
        place: mailbox::Place,
    },
}
