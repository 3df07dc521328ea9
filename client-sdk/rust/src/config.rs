//! What a client is told before it connects. It reads no file.

use std::net::SocketAddr;
use std::time::Duration;

use cohnect_protocol::{ClientConfig, Mode, Psk, PublicKey};

use crate::Identity;

/// Where the server is, who the client is, and how patient it is.
///
/// ```
/// use std::time::Duration;
/// use cohnect_client::{Config, Identity};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pin = "8f40c5adb68f25624ae5b214ea767a6ec94d829d3d7b5e1ad1ba6f3e2138285f".parse()?;
/// let config = Config::new("127.0.0.1:4433".parse()?, pin)
///     .identity(Identity::generate())
///     .timeout(Duration::from_secs(2));
/// # let _ = config;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    pub(crate) server: SocketAddr,
    pin: PublicKey,
    more_pins: Vec<PublicKey>,
    pub(crate) identity: Identity,
    psk: Psk,
    pub(crate) bind: Option<SocketAddr>,
    pub(crate) patience: Duration,
    pub(crate) reconnect: bool,
    idle_timeout: Option<Duration>,
    max_ack_delay: Duration,
    pub(crate) queue: usize,
    pub(crate) options: Options,
}

/// How one handle sends its requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    pub(crate) timeout: Duration,
    pub(crate) mode: Mode,
    pub(crate) channel: u8,
}

impl Config {
    /// The defaults for this server with this pinned key: a fresh identity, requests that are reliable and ordered and time out after 5 s,
    /// one attempt to connect, and reconnecting when a session that was there is lost.
    #[must_use]
    pub fn new(server: SocketAddr, pin: PublicKey) -> Self {
        Self {
            server,
            pin,
            more_pins: Vec::new(),
            identity: Identity::generate(),
            psk: Psk::default(),
            bind: None,
            patience: Duration::ZERO,
            reconnect: true,
            idle_timeout: None,
            max_ack_delay: Duration::from_millis(20),
            queue: 1_024,
            options: Options {
                timeout: Duration::from_secs(5),
                mode: Mode::ReliableOrdered,
                channel: 0,
            },
        }
    }

    /// Another key that the server may have, for the time in which it changes; at most eight count.
    #[must_use]
    pub fn pin(mut self, pin: PublicKey) -> Self {
        self.more_pins.push(pin);
        self
    }

    /// Who the client is; by default a fresh identity.
    #[must_use]
    pub fn identity(mut self, identity: Identity) -> Self {
        self.identity = identity;
        self
    }

    /// The deployment's shared key; by default zeros.
    #[must_use]
    pub const fn psk(mut self, psk: [u8; 32]) -> Self {
        self.psk = Psk::new(psk);
        self
    }

    /// The local address to send from; by default any.
    #[must_use]
    pub const fn bind(mut self, local: SocketAddr) -> Self {
        self.bind = Some(local);
        self
    }

    /// For how long the first connection is tried again and again; by default zero, which is one attempt (of 5 s).
    #[must_use]
    pub const fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Whether a lost session is replaced by a new one, after a random pause of at most 0.5 s that doubles up to 30 s; by default it is. After
    /// *superseded* and *kicked* a client never comes back by itself.
    #[must_use]
    pub const fn reconnect(mut self, reconnect: bool) -> Self {
        self.reconnect = reconnect;
        self
    }

    /// After how much silence the server should count this client as away, in whole seconds (a rest is cut off), at least 3 and at most what the server
    /// likes; by default what it likes.
    #[must_use]
    pub const fn idle_timeout(mut self, idle_timeout: Duration) -> Self {
        self.idle_timeout = Some(idle_timeout);
        self
    }

    /// How long an acknowledgement may wait for something to travel with; at most 255 ms, by default 20 ms. Fast games take 5 ms.
    #[must_use]
    pub const fn max_ack_delay(mut self, delay: Duration) -> Self {
        self.max_ack_delay = delay;
        self
    }

    /// How many messages wait for a slow reader, in each stream and in [`Incoming`](crate::Incoming); by default 1,024, each up to 1,100 bytes.
    /// What does not fit is dropped, and the reader hears how many.
    #[must_use]
    pub const fn queue(mut self, messages: usize) -> Self {
        self.queue = messages;
        self
    }

    /// How long a request waits for its answer; by default 5 s.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout = timeout;
        self
    }

    /// How requests and messages travel; by default reliable and ordered, on channel 0. Channels are 0 to 31.
    #[must_use]
    pub const fn delivery(mut self, mode: Mode, channel: u8) -> Self {
        self.options.mode = mode;
        self.options.channel = channel;
        self
    }

    pub(crate) fn endpoint(&self) -> ClientConfig {
        let mut config = ClientConfig::new(self.identity.keys().clone(), self.server, self.pin);
        config.pins.extend(&self.more_pins);
        config.psk = self.psk;
        config.idle_timeout = self.idle_timeout;
        config.max_ack_delay = self.max_ack_delay;
        config
    }
}
