//! What a client's endpoint is told when it is made, and what it tells. It reads no file.

use core::time::Duration;
use std::net::SocketAddr;

use super::attempt::ConnectHint;
use crate::limits::MESSAGE_LEN_MAX;
use crate::ops::Outcome;
use crate::{PeerId, Psk, PublicKey, SessionEvent, StaticKeys};

/// What a client's endpoint is made of.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Who the client is.
    pub keys: StaticKeys,
    /// Where the server is; datagrams from elsewhere are ignored.
    pub server: SocketAddr,
    /// The keys that the server may have, tried in turn; only the first eight count.
    pub pins: Vec<PublicKey>,
    /// The deployment's shared key; zeros where there is none.
    pub psk: Psk,
    /// After how much silence this client wants to count as away; none leaves it to the server.
    pub idle_timeout: Option<Duration>,
    /// How long the server may be silent after that before the session ends.
    pub away: Duration,
    /// How long an acknowledgement may wait for something to travel with; at most 255 ms.
    pub max_ack_delay: Duration,
    /// The longest message that this client takes, in bytes.
    pub max_message: u32,
}

impl ClientConfig {
    /// The defaults of PROTOCOL.md for this server with this key.
    #[must_use]
    pub fn new(keys: StaticKeys, server: SocketAddr, pin: PublicKey) -> Self {
        Self {
            keys,
            server,
            pins: vec![pin],
            psk: Psk::default(),
            idle_timeout: None,
            away: Duration::from_secs(60),
            max_ack_delay: Duration::from_millis(20),
            max_message: MESSAGE_LEN_MAX,
        }
    }
}

/// Something that a client's endpoint tells.
#[derive(Debug)]
pub enum ClientEvent {
    /// The server proved who it is, and there is a session. When there was one before, its end was told first.
    Connected {
        /// The server.
        server: PeerId,
        /// The server's clock when it answered, in milliseconds since the Unix epoch.
        server_time_ms: u64,
    },
    /// The attempt to connect is over, without a session.
    Failed(ConnectFailure),
    /// Something that the session tells.
    Session(SessionEvent),
}

/// Why an attempt ended without a session.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectFailure {
    /// Five seconds passed. The hint is what somebody said meanwhile, perhaps the server.
    #[error("no answer from the server")]
    NoAnswer {
        /// What was heard, unproven.
        hint: Option<ConnectHint>,
    },
    /// The server proved who it is and said no.
    #[error("the server refused the session: {0:?}")]
    Refused(Outcome),
    /// The server proved who it is and answered what the protocol does not allow.
    #[error("the server's answer is outside the protocol")]
    ServerMisbehaved,
}
