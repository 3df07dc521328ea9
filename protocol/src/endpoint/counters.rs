//! What an endpoint counts: every datagram that it did not take, by reason, and how handshakes went. It is the only trace that an
//! unauthenticated peer leaves.

use core::fmt;

use crate::Dropped;

macro_rules! counters {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// Something that an endpoint counts.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Counter {
            $($(#[$doc])* $variant,)*
        }

        impl Counter {
            /// Every counter, in a fixed order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// A name for metrics: words joined by underscores.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

counters! {
    /// Datagrams that came, whatever became of them.
    Received = "received",
    /// No header, an impossible length, or a UUID outside its canonical form.
    Malformed = "malformed",
    /// A version that this endpoint does not speak.
    UnknownVersion = "unknown_version",
    /// An opcode that this side does not take in a clear header.
    UnexpectedOpcode = "unexpected_opcode",
    /// A datagram from another address than the server's.
    UnexpectedAddress = "unexpected_address",
    /// A protected datagram of no session that is held here.
    UnknownSession = "unknown_session",
    /// A protected datagram that was taken before, or is too old to tell.
    Replayed = "replayed",
    /// A protected datagram that does not authenticate.
    Forged = "forged",
    /// A protected datagram that authenticates and breaks the protocol.
    ProtocolError = "protocol_error",
    /// A protected datagram that came too late, or under another key.
    SessionDropped = "session_dropped",
    /// A protected datagram that did not open under a handshake's key.
    Unconfirmed = "unconfirmed",
    /// A handshake that was confirmed when as many sessions were open as may be.
    NoRoom = "no_room",
    /// A HELLO whose mac fits none of the server's keys.
    WrongServerKey = "wrong_server_key",
    /// A HELLO answered with RETRY: without a cookie, or with one that is not valid.
    Retried = "retried",
    /// A HELLO with a cookie and no possible key exchange.
    HelloWithoutExchange = "hello_without_exchange",
    /// A HELLO older than what is known of its client, or of the same time and another attempt.
    StaleHello = "stale_hello",
    /// A HELLO that was answered before.
    RepeatedHello = "repeated_hello",
    /// A HELLO answered with REJECT.
    Rejected = "rejected",
    /// A key exchange that did not open, or whose payload was not understood.
    ExchangeFailed = "exchange_failed",
    /// A key exchange that ended in a refusal.
    Refused = "refused",
    /// A key exchange that was answered with keys.
    Accepted = "accepted",
    /// A handshake that became a session.
    Connected = "connected",
    /// A handshake that ended without becoming a session: too old, or the oldest when the table was full.
    HalfOpenExpired = "half_open_expired",
    /// An answer to a handshake that had no room in the queue.
    AnswerDropped = "answer_dropped",
}

impl Counter {
    /// What a session's refusal of a datagram counts as.
    pub(super) const fn of(dropped: Dropped) -> Self {
        match dropped {
            Dropped::Replayed => Self::Replayed,
            Dropped::Forged => Self::Forged,
            Dropped::Protocol(_) => Self::ProtocolError,
            Dropped::Malformed => Self::Malformed,
            Dropped::Session | Dropped::Epoch | Dropped::Closed => Self::SessionDropped,
        }
    }
}

/// The counts of one endpoint since it was made.
#[derive(Clone)]
pub struct Counters([u64; Counter::ALL.len()]);

impl Counters {
    pub(super) const fn new() -> Self {
        Self([0; Counter::ALL.len()])
    }

    pub(super) fn add(&mut self, counter: Counter) {
        if let Some(count) = self.0.get_mut(counter as usize) {
            *count = count.saturating_add(1);
        }
    }

    /// One count.
    #[must_use]
    pub fn count(&self, counter: Counter) -> u64 {
        self.0.get(counter as usize).copied().unwrap_or_default()
    }

    /// All counts with their names.
    pub fn iter(&self) -> impl Iterator<Item = (Counter, u64)> + '_ {
        Counter::ALL.iter().map(|&each| (each, self.count(each)))
    }
}

impl fmt::Debug for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(
                self.iter()
                    .filter(|(_, count)| *count > 0)
                    .map(|(each, count)| (each.name(), count)),
            )
            .finish()
    }
}
