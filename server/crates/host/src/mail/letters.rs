//! What goes from home to home. How it gets there, and how much of it may be under way, is not here.

use std::sync::Arc;

use bytes::Bytes;
use cohnect_capabilities::clients::SendOptions;
use cohnect_capabilities::mailbox::{Place, Share};
use cohnect_capabilities::{ClientId, CloseReason, Delivery, Effect, Opcode};
use roaring::RoaringBitmap;
use tokio::sync::oneshot;

use super::HomeId;
use crate::catalog::Stage;
use crate::export::{Export, Message, Outcome, TopicClaim};
use crate::order::Order;

/// One copy of a module: where it is, and its number among the copies on this server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// The module's name.
    pub module: Arc<str>,
    /// Which copy.
    pub copy: u32,
}

/// A call on its way to a replica.
#[derive(Debug)]
pub struct Call {
    /// To which copy.
    pub to: Address,
    /// What is called.
    pub export: Export,
    /// Who gets what comes of it.
    pub answer: Answer,
    /// The modules on this chain of calls.
    pub chain: Vec<Arc<str>>,
    /// When nobody waits for it any more, on the server's monotonic clock: what is left of its caller's time. None: its own wall limit.
    pub expires_us: Option<u64>,
    /// Its place in the replica's queue; given back when the call has run. None for what the home itself queues.
    pub place: Option<Place>,
}

impl Call {
    /// A call that a home makes by itself: nobody waits for it, and it takes no place.
    #[must_use]
    pub const fn own(to: Address, export: Export) -> Self {
        Self {
            to,
            export,
            answer: Answer::Nobody,
            chain: Vec::new(),
            expires_us: None,
            place: None,
        }
    }
}

/// Who gets what comes of a call.
#[derive(Debug)]
pub enum Answer {
    /// Nobody waits.
    Nobody,
    /// A home; the ticket is that home's own.
    Home(HomeId, u64),
    /// A task that waits for it.
    Waiter(oneshot::Sender<Answered>),
}

/// What came of a call.
#[derive(Debug)]
pub struct Answered {
    /// The outcome, or why the call was never begun.
    pub outcome: Result<Outcome, NotRun>,
    /// Which load of the module ran it; 0 when none did.
    pub generation: u64,
}

impl Answered {
    /// The answer of a call that was never begun.
    #[must_use]
    pub const fn not_run(why: NotRun) -> Self {
        Self {
            outcome: Err(why),
            generation: 0,
        }
    }
}

/// Why a call was never begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotRun {
    /// No such module.
    Unknown,
    /// Its queue is full.
    Busy,
    /// Its circuit is open, or it is going, or has gone to another home while the call was on its way. It may be asked again.
    Unavailable,
}

/// What goes from home to home.
#[derive(Debug)]
pub enum Mail {
    /// A call for a replica there.
    Call(Call),
    /// What came of a call that this home made.
    Reply(u64, Answered),
    /// What a call on a worker left; the shard carries it out. All of one replica's go to one shard, so their order stays.
    Effects(Arc<str>, Vec<Effect>),
    /// What came of a call on a worker, for that same shard to pass on.
    Relay(Relay),
    /// Something for clients of that shard.
    Fanout(Fanout),
    /// A BROADCAST for the stage that lives there, and from there on. Only shards have stages: a worker answers *unavailable*.
    Walk(Box<Walk>),
    /// A word of the custodian.
    Order(Order),
}

/// The answer to a call, on its way through the shard that carries out what the call's home leaves: it stays behind what earlier calls left, and ahead of
/// what later ones do.
#[derive(Debug)]
pub struct Relay {
    /// Who asked to have which topic open, if that was asked: if he is admitted, he has it before the answer goes on.
    pub subscriber: Option<(ClientId, Arc<str>)>,
    /// Who gets it.
    pub answer: Answer,
    /// What came of the call.
    pub answered: Answered,
}

/// A BROADCAST on its way through the stages of its topic. From a stage of which there is one, it goes on at that stage's home, so that the topic has
/// one order for everybody.
#[derive(Debug)]
pub struct Walk {
    /// The message, as the stages before have left it.
    pub message: Message,
    /// How it travels.
    pub options: SendOptions,
    /// Who does not get it.
    pub except: Option<ClientId>,
    /// All stages of the topic.
    pub stages: Arc<[Stage<TopicClaim>]>,
    /// Which of them is next.
    pub next: usize,
    /// Who gets the count of its recipients, as the body of BROADCAST's response.
    pub answer: Answer,
    /// That it is among the calls that its sender has under way, until it is at its end.
    pub share: Option<Share>,
}

/// One message, with its bytes once, for clients of one shard.
#[derive(Debug)]
pub struct Fanout {
    /// For whom.
    pub to: Recipients,
    /// What.
    pub what: Outgoing,
}

/// Clients of one shard.
#[derive(Debug)]
pub enum Recipients {
    /// One.
    One(ClientId),
    /// The clients in these slots of the shard's part of the directory; slots given out after `removals` are skipped.
    Slots {
        /// Which slots.
        slots: RoaringBitmap,
        /// The part's count of removals when it was asked.
        removals: u64,
    },
    /// All of them, without this one.
    Everyone {
        /// Not this one.
        except: Option<ClientId>,
    },
}

/// What clients get.
#[derive(Clone, Debug)]
pub enum Outgoing {
    /// A module's packet.
    Packet {
        /// Its command.
        opcode: Opcode,
        /// Its body.
        payload: Bytes,
        /// How it travels.
        options: SendOptions,
    },
    /// A BROADCAST.
    Broadcast {
        /// Who sent it; zero is the server.
        sender: ClientId,
        /// Its topic.
        topic: Arc<str>,
        /// Its body.
        payload: Bytes,
        /// How it travels.
        options: SendOptions,
    },
    /// An item of a stream.
    Item {
        /// The topic.
        topic: Arc<str>,
        /// The item.
        payload: Bytes,
        /// How it travels.
        delivery: Delivery,
    },
    /// The end of a topic.
    Finish {
        /// The topic.
        topic: Arc<str>,
        /// What is said.
        reason: String,
    },
    /// A stream that the server begins.
    Attach {
        /// The topic.
        topic: Arc<str>,
    },
    /// A stream that the server takes back.
    Detach {
        /// The topic.
        topic: Arc<str>,
    },
    /// The session's end.
    Disconnect {
        /// Why.
        reason: CloseReason,
        /// What is said.
        message: String,
    },
}
