//! A client's attempt to get a session (PROTOCOL.md 3): which HELLO is sent when, and which answers count. It ends after five seconds, whatever
//! anybody says; what becomes of the result is `client`'s.

use core::fmt;
use core::time::Duration;

use crate::handshake::cookie::COOKIE_LEN;
use crate::handshake::exchange::{Initiator, MESSAGE_1_OVERHEAD, Secrets};
use crate::handshake::messages::{
    HELLO_LEN, HelloId, MESSAGE_2_LEN, Mac1Key, RejectCode, ServerMessage, hello, hello_head,
    prologue,
};
use crate::handshake::payload::{SERVER_PAYLOAD_LEN, ServerPayload};
use crate::{Entropy, Header, Monotonic, PeerId, PublicKey, StaticKeys};

/// What a server said without proving who it is: it explains, and decides nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectHint {
    /// It takes no session now.
    Rejected(RejectCode),
    /// It speaks these versions, and not the one that was used.
    Versions(Vec<u8>),
    /// It answered, but the key exchange did not come to an end.
    Cookie,
}

/// What every HELLO of an attempt is made from.
#[derive(Clone, Copy)]
pub(super) struct Ingredients<'a> {
    pub(super) keys: &'a StaticKeys,
    pub(super) psk: &'a [u8; 32],
    pub(super) payload: &'a [u8],
}

/// A server that proved its identity, and what it answered.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) server: PeerId,
    pub(super) secrets: Secrets,
    pub(super) answer: ServerPayload,
    /// Known when no HELLO was sent twice.
    pub(super) rtt: Option<Duration>,
}

/// One attempt: a HELLO for each pinned key.
pub(super) struct Attempt {
    started: Monotonic,
    tries: Vec<Try>,
    turn: usize,
    intervals: usize,
    next_send: Option<Monotonic>,
    /// The try whose HELLO is to be sent now.
    outgoing: Option<usize>,
    retries: u8,
    hint: Option<ConnectHint>,
}

struct Try {
    key: PublicKey,
    server: PeerId,
    mac1_key: Mac1Key,
    hello_id: HelloId,
    hello: Box<[u8; HELLO_LEN]>,
    /// The key exchange that the HELLO with a cookie began.
    initiator: Option<Initiator>,
    cookie_at: Option<Monotonic>,
    sent_at: Option<Monotonic>,
    repeated: bool,
}

impl Attempt {
    /// Begins; the first HELLO is to be sent at once.
    pub(super) fn new(
        now: Monotonic,
        keys: &StaticKeys,
        pins: &[PublicKey],
        entropy: &mut dyn Entropy,
    ) -> Self {
        let client = keys.peer_id();
        let tries = pins
            .iter()
            .map(|pin| {
                let mut hello_id = [0; 16];
                entropy.fill(&mut hello_id);
                let mac1_key = Mac1Key::of(pin);
                let head = hello_head(client, &[0; COOKIE_LEN], 0, &hello_id);
                Try {
                    key: *pin,
                    server: pin.peer_id(),
                    hello: Box::new(hello(&head, &mac1_key, &[])),
                    mac1_key,
                    hello_id,
                    initiator: None,
                    cookie_at: None,
                    sent_at: None,
                    repeated: false,
                }
            })
            .collect();
        Self {
            started: now,
            tries,
            turn: 0,
            intervals: 0,
            next_send: Some(now),
            outgoing: None,
            retries: 0,
            hint: None,
        }
    }

    pub(super) fn hint(&self) -> Option<&ConnectHint> {
        self.hint.as_ref()
    }

    /// Takes a datagram whose header says that it belongs to a handshake.
    pub(super) fn handle(
        &mut self,
        now: Monotonic,
        header: Header,
        datagram: &[u8],
        ingredients: Ingredients<'_>,
        entropy: &mut dyn Entropy,
    ) -> Option<Accepted> {
        let (hello_id, message) = ServerMessage::parse(header, datagram)?;
        let place = self
            .tries
            .iter()
            .position(|each| each.hello_id == *hello_id && each.server == header.sender)?;
        match message {
            ServerMessage::Accept(message) => return self.accept(now, place, message),
            ServerMessage::Retry(cookie) => self.retry(now, place, cookie, ingredients, entropy),
            ServerMessage::Reject(code) => self.hint = Some(ConnectHint::Rejected(code)),
            // A list that holds the version that was used is a lie, or a datagram of another time.
            ServerMessage::Versions(list) if !list.contains(&crate::VERSION) => {
                self.hint = Some(ConnectHint::Versions(list.to_vec()));
            }
            ServerMessage::Versions(_) => {}
        }
        None
    }

    fn accept(
        &mut self,
        now: Monotonic,
        place: usize,
        message: &[u8; MESSAGE_2_LEN],
    ) -> Option<Accepted> {
        let this = self.tries.get_mut(place)?;
        let mut payload = [0; SERVER_PAYLOAD_LEN];
        match this.initiator.take()?.finish(message, &mut payload) {
            Ok(secrets) => Some(Accepted {
                server: this.server,
                secrets,
                answer: ServerPayload::decode(&payload),
                rtt: this
                    .sent_at
                    .filter(|_| !this.repeated)
                    .map(|sent_at| now.since(sent_at)),
            }),
            Err(unfinished) => {
                this.initiator = Some(unfinished);
                None
            }
        }
    }

    /// Makes the HELLO with a cookie, once for each cookie that counts: an ephemeral key under two prologues would repeat a key and nonce.
    fn retry(
        &mut self,
        now: Monotonic,
        place: usize,
        cookie: &[u8; COOKIE_LEN],
        ingredients: Ingredients<'_>,
        entropy: &mut dyn Entropy,
    ) {
        let Some(this) = self.tries.get_mut(place) else {
            return;
        };
        let too_soon = this
            .cookie_at
            .is_some_and(|at| now.since(at) < RETRY_PATIENCE);
        if too_soon || self.retries >= RETRIES_MAX {
            return;
        }
        let mut message = vec![0; MESSAGE_1_OVERHEAD + ingredients.payload.len()];
        let Ok(message_len) = u16::try_from(message.len()) else {
            return;
        };
        let head = hello_head(
            ingredients.keys.peer_id(),
            cookie,
            message_len,
            &this.hello_id,
        );
        let begun = Initiator::begin(
            ingredients.keys,
            &this.key,
            ingredients.psk,
            &prologue(this.server, &head),
            entropy,
            ingredients.payload,
            &mut message,
        );
        // None only for a pin that is no usable key: it gets no answer, like a wrong one.
        let Some(initiator) = begun else {
            return;
        };
        *this.hello = hello(&head, &this.mac1_key, &message);
        this.initiator = Some(initiator);
        this.cookie_at = Some(now);
        this.sent_at = None;
        self.retries += 1;
        self.hint.get_or_insert(ConnectHint::Cookie);
        self.intervals = 0;
        self.turn = place;
        self.next_send = Some(now);
        self.handle_timeout(now, entropy);
    }

    /// When something is to be done.
    pub(super) fn poll_timeout(&self) -> Monotonic {
        let end = self.started.plus(ATTEMPT_LIFE);
        self.next_send.map_or(end, |at| at.min(end))
    }

    /// Does what is due; false when the attempt is over.
    pub(super) fn handle_timeout(&mut self, now: Monotonic, entropy: &mut dyn Entropy) -> bool {
        if now >= self.started.plus(ATTEMPT_LIFE) {
            return false;
        }
        if self.next_send.is_some_and(|at| at <= now) {
            self.outgoing = Some(self.turn);
            // Every pin has its turn: which of them the server has is not known before it answers.
            self.turn = (self.turn + 1) % self.tries.len().max(1);
            self.next_send = INTERVALS
                .get(self.intervals)
                .map(|interval| now.plus(jittered(*interval, entropy)));
            self.intervals += 1;
        }
        true
    }

    /// Appends the HELLO that is to be sent now, if there is one.
    pub(super) fn poll_transmit(&mut self, now: Monotonic, out: &mut Vec<u8>) -> bool {
        let Some(this) = self
            .outgoing
            .take()
            .and_then(|place| self.tries.get_mut(place))
        else {
            return false;
        };
        this.repeated |= this.sent_at.replace(now).is_some();
        out.extend_from_slice(&this.hello[..]);
        true
    }
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt")
            .field("started", &self.started)
            .field("retries", &self.retries)
            .field("hint", &self.hint)
            .finish_non_exhaustive()
    }
}

/// Between nine and eleven tenths, so that clients that lost one server together do not ask the next one together.
fn jittered(interval: Duration, entropy: &mut dyn Entropy) -> Duration {
    interval * (900 + (entropy.next_u64() % 201) as u32) / 1_000
}

const ATTEMPT_LIFE: Duration = Duration::from_secs(5);
/// How long a HELLO with a cookie is trusted to bring an ACCEPT before another RETRY is believed.
const RETRY_PATIENCE: Duration = Duration::from_secs(1);
/// RETRYs that are believed in one attempt: each costs a key exchange.
const RETRIES_MAX: u8 = 3;
/// The pauses between the sendings of a HELLO.
const INTERVALS: [Duration; 4] = [
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
];
