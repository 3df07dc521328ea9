//! What goes into a session and what comes out of it: messages, requests, answers and the session's own fate. No behaviour.

use core::fmt;
use core::time::Duration;

use bytes::Bytes;
use thiserror::Error;

use crate::ops::Outcome;
use crate::wire::{CloseCode, FrameError, Mode};
use crate::{Opcode, PeerId};

/// Which end of a session this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The end that said HELLO.
    Client,
    /// The end that answered.
    Server,
}

/// What a handshake hands to a session.
#[derive(Debug)]
pub struct SessionSetup<K> {
    /// Which end this is.
    pub role: Role,
    /// Our UUID, which stands in the header of what we send.
    pub local: PeerId,
    /// The peer's UUID.
    pub peer: PeerId,
    /// Which of the client's sessions, below 64.
    pub number: u8,
    /// Protects what we send.
    pub seal: K,
    /// Opens what the peer sends.
    pub open: K,
    /// The longest message that the peer takes, in bytes.
    pub peer_max_message: u32,
    /// How long the peer holds back an acknowledgement at most.
    pub peer_max_ack_delay: Duration,
    /// How long we hold one back at most.
    pub max_ack_delay: Duration,
    /// After this silence of the peer the session is *away*.
    pub idle_timeout: Duration,
    /// After this silence of its own a client sends PING.
    pub keepalive: Duration,
    /// This long after it became *away* the session ends.
    pub away: Duration,
    /// The round trip of the handshake, where each HELLO was sent once.
    pub handshake_rtt: Option<Duration>,
    /// Decides which packet numbers are skipped; from a source that nobody predicts.
    pub skip_seed: u64,
}

/// A message or a request to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// What it is about.
    pub opcode: Opcode,
    /// The version of the command; sent as 0 for opcodes that are not the modules'.
    pub version: u8,
    /// 0 to 31.
    pub channel: u8,
    /// How it travels; a request cannot be sequenced.
    pub mode: Mode,
    /// At most the peer's `max_message` bytes.
    pub body: Bytes,
}

/// The id of a request, chosen by the side that asks, below 2^31 for all that this crate sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u32);

/// What an answer needs of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestContext {
    /// The asker's id.
    pub id: RequestId,
    /// As in the request.
    pub opcode: Opcode,
    /// As in the request.
    pub version: u8,
    /// As in the request.
    pub channel: u8,
    /// As in the request.
    pub mode: Mode,
}

/// What a session tells its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionEvent {
    /// The peer sent a message, or a request that must be answered once.
    Message {
        /// What it is about; not necessarily an operation that exists.
        opcode: Opcode,
        /// The version of the command, ignored for opcodes that are not the modules'.
        version: u8,
        /// 0 to 31.
        channel: u8,
        /// How it came.
        mode: Mode,
        /// What an answer needs; none where nobody waits for one.
        request: Option<RequestContext>,
        /// The body.
        body: Bytes,
    },
    /// The peer answered a request that was open.
    Response {
        /// Which.
        request: RequestId,
        /// How it ended.
        outcome: Outcome,
        /// The body.
        body: Bytes,
    },
    /// The peer was heard for the first time: both sides have the keys.
    Alive {
        /// The round trip as far as it is known.
        rtt: Duration,
    },
    /// Nothing was heard for the idle timeout.
    Away,
    /// Something was heard again.
    Back,
    /// The session ended; nothing follows. Comes once in every session that ends.
    Closed {
        /// Whether the peer said so.
        by_peer: bool,
        /// Why.
        code: CloseCode,
        /// The peer's words, or ours.
        text: String,
    },
}

/// Why something was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SendError {
    /// The send queue holds 1 MiB, or 256 requests are open: again after a pause.
    #[error("busy: too much waits to be sent or answered")]
    Busy,
    /// The body is longer than the peer takes.
    #[error("the message is larger than the peer takes")]
    TooLarge,
    /// The session has ended or is ending.
    #[error("the session is closed")]
    Closed,
    /// A channel above 31, or a request in the sequenced mode: a mistake of the caller's.
    #[error("no message can have this channel and mode")]
    Form,
}

/// Why a datagram had no effect, for a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Dropped {
    /// Too short, too long, or a packet number out of range.
    #[error("not a protected datagram")]
    Malformed,
    /// Another session's number.
    #[error("for another session")]
    Session,
    /// An epoch without a key.
    #[error("under an unknown key")]
    Epoch,
    /// Opened before, or too old to tell.
    #[error("replayed, or too old to tell")]
    Replayed,
    /// It does not authenticate.
    #[error("does not authenticate")]
    Forged,
    /// It authenticates and breaks the protocol; the session is closing.
    #[error("protocol error: {0}")]
    Protocol(FrameError),
    /// The session has ended.
    #[error("the session is closed")]
    Closed,
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
