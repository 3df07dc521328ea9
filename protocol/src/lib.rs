//! The cohnect wire, sans-IO: what two endpoints say to each other, byte for byte.
//!
//! This crate opens no socket, reads no clock and draws no randomness: datagrams, [`Now`] and [`Entropy`] are passed in, datagrams and events are
//! polled out. Section numbers in comments cite `PROTOCOL.md`, the normative text.
#![forbid(unsafe_code)]

mod crypto;
mod endpoint;
mod entropy;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod handshake;
mod header;
mod identity;
pub mod limits;
pub mod ops;
mod psk;
mod recovery;
mod session;
mod steering;
mod time;
mod wire;

pub use crypto::{AesPacketKey, KeyedState, PacketKey};
pub use endpoint::{
    Availability, ClientConfig, ClientEndpoint, ClientEvent, ConnectFailure, ConnectHint, Counter,
    Counters, ServerConfig, ServerEndpoint, ServerEvent, SessionHandle, Transmit,
};
pub use entropy::Entropy;
pub use handshake::cookie::CookieSecret;
pub use handshake::messages::RejectCode;
pub use header::{
    ASSOCIATED_LEN, DATAGRAM_LEN_MAX, HEADER_LEN, Header, Opcode, PROTECTED_LEN_MIN,
    ProtectedPrefix, TAG_LEN, VERSION,
};
pub use identity::{ParseIdentityError, PeerId, PublicKey, StaticKeys};
pub use psk::Psk;
pub use session::{
    Dropped, Outgoing, RequestContext, RequestId, Role, SendError, Session, SessionEvent,
    SessionSetup,
};
pub use steering::{SteeringKeys, shard_of};
pub use time::{Monotonic, Now};
pub use wire::{CloseCode, FrameError, Mode};
