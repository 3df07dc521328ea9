//! What a server's endpoint is told when it is made, and whether it takes clients. It reads no file.

use core::time::Duration;

use crate::limits::MESSAGE_LEN_MAX;
use crate::{CookieSecret, Psk, StaticKeys};

/// Whether a server takes clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Availability {
    /// It does.
    Open,
    /// It is going away: clients are told so, authenticated, and go elsewhere.
    Draining,
    /// It does not, and spends no key exchange on saying so.
    Offline,
}

/// What a server's endpoint is made of. All shards of one server have the same.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// The server's identity.
    pub keys: StaticKeys,
    /// The identity that clients of an older build may still have pinned.
    pub previous_keys: Option<StaticKeys>,
    /// The deployment's shared key; zeros where there is none.
    pub psk: Psk,
    /// The root of the cookies' secrets, drawn when the process starts.
    pub cookie_secret: CookieSecret,
    /// After how much silence a client is away, unless it wished for less.
    pub idle_timeout: Duration,
    /// How often a client that has nothing to say says so; at most a third of `idle_timeout`.
    pub keepalive: Duration,
    /// How long a client may be away before its session ends.
    pub away: Duration,
    /// How long an acknowledgement may wait for something to travel with; at most 255 ms.
    pub max_ack_delay: Duration,
    /// The longest message that this server takes, in bytes.
    pub max_message: u32,
    /// Sessions that are held at once; each costs some kilobytes and up to its credit in messages.
    pub sessions_max: usize,
    /// Handshakes that wait for their first protected datagram; each costs about a kilobyte and a half for at most five seconds.
    pub half_opens_max: usize,
    /// Key exchanges that this endpoint computes in a second; each costs some 150 µs.
    pub handshakes_per_second: u32,
}

impl ServerConfig {
    /// The defaults of PROTOCOL.md for this identity.
    #[must_use]
    pub const fn new(keys: StaticKeys, cookie_secret: CookieSecret) -> Self {
        Self {
            keys,
            previous_keys: None,
            psk: Psk::new([0; 32]),
            cookie_secret,
            idle_timeout: Duration::from_secs(15),
            keepalive: Duration::from_secs(5),
            away: Duration::from_secs(60),
            max_ack_delay: Duration::from_millis(20),
            max_message: MESSAGE_LEN_MAX,
            sessions_max: 100_000,
            half_opens_max: 4_096,
            handshakes_per_second: 5_000,
        }
    }
}
