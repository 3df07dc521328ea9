//! The client's end: one server, its pinned keys, and at most one session with it, which a new handshake may take over when the server has
//! fallen silent (PROTOCOL.md 3, 6.6). It does not reconnect by itself; that is the SDK's.

mod attempt;
mod config;
mod held;

use core::fmt;
use core::time::Duration;
use std::collections::VecDeque;
use std::net::SocketAddr;

use bytes::Bytes;

pub use self::attempt::ConnectHint;
use self::attempt::{Accepted, Attempt, Ingredients};
pub use self::config::{ClientConfig, ClientEvent, ConnectFailure};
use self::held::{Held, Waiting};
use super::counters::{Counter, Counters};
use super::transmit::{Batch, Transmit};
use crate::handshake::payload::ClientPayload;
use crate::ops::{Detail, Outcome, Status};
use crate::{
    AesPacketKey, CloseCode, DATAGRAM_LEN_MAX, Entropy, Header, Monotonic, Now, Opcode, Outgoing,
    PacketKey, PeerId, ProtectedPrefix, RequestContext, RequestId, SendError, Session,
    SessionEvent, VERSION,
};

/// One client of one server.
pub struct ClientEndpoint<K: PacketKey = AesPacketKey> {
    config: ClientConfig,
    entropy: Box<dyn Entropy>,
    payload: Vec<u8>,
    attempt: Option<Attempt>,
    /// When the next attempt beside a silent session may begin, and how long the pause after it will be.
    beside: Option<(Monotonic, Duration)>,
    session: Option<Held<K>>,
    /// A handshake whose server says that it holds our session: it is confirmed only if that stays silent.
    waiting: Option<Waiting>,
    /// The names of the latest sessions of this endpoint: a server that names one of them, because it never saw the confirmation of its
    /// successor, speaks of nobody else.
    own: VecDeque<[u8; 8]>,
    /// A session that ended and still says goodbye.
    closing: Option<Held<K>>,
    events: Events,
    batch: Batch,
    counters: Counters,
}

/// What is to be told before the session's own events, in this order.
#[derive(Default)]
struct Events {
    ended: Option<SessionEvent>,
    connected: Option<(PeerId, u64)>,
    failed: Option<ConnectFailure>,
}

impl<K: PacketKey> ClientEndpoint<K> {
    /// An endpoint without a session.
    #[must_use]
    pub fn new(mut config: ClientConfig, entropy: Box<dyn Entropy>) -> Self {
        config.pins.truncate(PINS_MAX);
        let wish = config.idle_timeout.map_or(0, |wish| {
            u16::try_from(wish.as_secs()).unwrap_or(u16::MAX).max(1)
        });
        let payload = ClientPayload {
            idle_timeout_s: wish,
            max_ack_delay_ms: u8::try_from(config.max_ack_delay.as_millis()).unwrap_or(u8::MAX),
            max_message: config.max_message,
            psk_id: 0,
            versions: vec![VERSION],
        };
        Self {
            payload: payload.encode(),
            config,
            entropy,
            attempt: None,
            beside: None,
            session: None,
            waiting: None,
            own: VecDeque::new(),
            closing: None,
            events: Events::default(),
            batch: Batch::new(),
            counters: Counters::new(),
        }
    }

    /// Begins an attempt to get a session, unless there is one or an attempt is under way.
    pub fn connect(&mut self, now: Now) {
        if self.attempt.is_none() && self.session.is_none() {
            self.begin(now.monotonic);
        }
    }

    /// Ends the session, and any attempt to get one.
    pub fn disconnect(&mut self, now: Now, code: CloseCode, text: &str) {
        self.attempt = None;
        self.waiting = None;
        self.beside = None;
        if let Some(held) = &mut self.session {
            held.session.close(now.monotonic, code, text);
        }
    }

    /// Takes one datagram, whatever it contains. Its bytes are decrypted in place.
    pub fn handle_datagram(&mut self, now: Now, from: SocketAddr, datagram: &mut [u8]) {
        self.counters.add(Counter::Received);
        if from != self.config.server {
            return self.counters.add(Counter::UnexpectedAddress);
        }
        let Some(header) = Header::parse(datagram).filter(|_| datagram.len() <= DATAGRAM_LEN_MAX)
        else {
            return self.counters.add(Counter::Malformed);
        };
        if header.opcode == Opcode::HELLO {
            self.counters.add(Counter::UnexpectedOpcode);
        } else if header.opcode.is_handshake() {
            self.handle_handshake(now.monotonic, header, datagram);
        } else if header.version != VERSION {
            self.counters.add(Counter::UnknownVersion);
        } else {
            self.handle_protected(now.monotonic, header, datagram);
        }
    }

    fn handle_handshake(&mut self, now: Monotonic, header: Header, datagram: &[u8]) {
        let ingredients = Ingredients {
            keys: &self.config.keys,
            psk: self.config.psk.bytes(),
            payload: &self.payload,
        };
        let accepted = self.attempt.as_mut().and_then(|attempt| {
            attempt.handle(now, header, datagram, ingredients, &mut *self.entropy)
        });
        if let Some(accepted) = accepted {
            self.attempt = None;
            self.judge(now, accepted);
        }
    }

    fn handle_protected(&mut self, now: Monotonic, header: Header, datagram: &mut [u8]) {
        let Some(prefix) = ProtectedPrefix::parse(datagram) else {
            return self.counters.add(Counter::Malformed);
        };
        let mut held = [self.session.as_mut(), self.closing.as_mut()]
            .into_iter()
            .flatten();
        match held.find(|each| each.server == header.sender && each.number == prefix.session) {
            None => self.counters.add(Counter::UnknownSession),
            Some(held) => {
                if let Err(dropped) = held.session.handle_datagram(now, datagram) {
                    self.counters.add(Counter::of(dropped));
                }
            }
        }
    }

    /// What a server's authenticated answer means (3, ACCEPT and `live`).
    fn judge(&mut self, now: Monotonic, accepted: Accepted) {
        let answer = accepted.answer;
        let outcome = Status::from_u8(answer.status)
            .map(|status| Outcome::from_parts(status, Detail(answer.detail)));
        match outcome {
            Some(Outcome::Done) if answer.session < 64 => {}
            Some(refused @ (Outcome::Bad(_) | Outcome::Err(_))) => {
                return self.fail(ConnectFailure::Refused(refused));
            }
            Some(Outcome::Done) | None => return self.fail(ConnectFailure::ServerMisbehaved),
        }
        let Some(held) = self.session.as_ref().filter(|_| answer.live != [0; 8]) else {
            return self.confirm(now, accepted);
        };
        if answer.live == held.live {
            self.waiting = Some(Waiting::new(now, accepted));
            self.handle_waiting(now);
        } else if self.own.contains(&answer.live) {
            self.confirm(now, accepted);
        } else {
            // Another device with this identity took over. The server does not know our session any more, so nobody is told.
            self.session = None;
            self.events.ended = Some(SessionEvent::Closed {
                by_peer: true,
                code: CloseCode::SUPERSEDED,
                text: "superseded".to_owned(),
            });
        }
    }

    /// Makes a session of an accepted handshake. Its first datagram, which leaves at once, opens the session on the server.
    fn confirm(&mut self, now: Monotonic, accepted: Accepted) {
        if self.session.take().is_some() {
            self.events.ended = Some(SessionEvent::Closed {
                by_peer: false,
                code: CloseCode::IDLE,
                text: String::new(),
            });
        }
        let connected = (accepted.server, accepted.answer.server_time_ms);
        let held = Held::new(now, &self.config, &accepted, self.entropy.next_u64());
        self.counters.add(Counter::Connected);
        self.events.connected = Some(connected);
        self.beside = None;
        if self.own.len() >= OWN_MAX {
            self.own.pop_front();
        }
        self.own.push_back(held.live);
        self.session = Some(held);
    }

    fn begin(&mut self, now: Monotonic) {
        self.attempt = Some(Attempt::new(
            now,
            &self.config.keys,
            &self.config.pins,
            &mut *self.entropy,
        ));
        self.handle_attempt(now);
    }

    /// An attempt beside a session that lives on has nothing to tell.
    fn fail(&mut self, failure: ConnectFailure) {
        if self.session.is_none() {
            self.events.failed = Some(failure);
        }
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<ClientEvent> {
        if let Some(event) = self.events.ended.take() {
            return Some(ClientEvent::Session(event));
        }
        if let Some((server, server_time_ms)) = self.events.connected.take() {
            return Some(ClientEvent::Connected {
                server,
                server_time_ms,
            });
        }
        if let Some(failure) = self.events.failed.take() {
            return Some(ClientEvent::Failed(failure));
        }
        let event = self.session.as_mut()?.session.poll_event()?;
        if matches!(event, SessionEvent::Closed { .. }) {
            self.closing = self.session.take();
            self.attempt = None;
            self.waiting = None;
            self.beside = None;
        }
        Some(ClientEvent::Session(event))
    }

    /// The next datagrams to send, appended to `out`; none when there are none now.
    pub fn poll_transmit(&mut self, now: Now, out: &mut Vec<u8>) -> Option<Transmit> {
        let now = now.monotonic;
        if let Some(carried) = self.batch.carry(out) {
            return Some(carried);
        }
        let to = self.config.server;
        let before = out.len();
        if let Some(attempt) = &mut self.attempt
            && attempt.poll_transmit(now, out)
        {
            return Some(Transmit::single(to, out.len() - before));
        }
        for held in [self.session.as_mut(), self.closing.as_mut()] {
            if let Some(held) = held
                && let Some(filled) = self.batch.fill(now, to, &mut held.session, out)
            {
                return Some(filled);
            }
        }
        self.closing.take_if(|held| held.session.is_drained());
        None
    }

    /// When [`Self::handle_timeout`] is to be called next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Monotonic> {
        let sessions = [&self.session, &self.closing]
            .map(|held| held.as_ref().and_then(|held| held.session.poll_timeout()));
        let waiting = self.waiting.as_ref().map(Waiting::poll_timeout);
        let attempt = self.attempt.as_ref().map(Attempt::poll_timeout);
        let beside = self.beside.filter(|_| self.may_begin_beside());
        let unconfirmed = self.session.as_ref().and_then(|held| {
            let end = held
                .unconfirmed_until()
                .filter(|_| self.beside.is_none())
                .into_iter();
            end.chain(held.next_nudge()).min()
        });
        sessions
            .into_iter()
            .chain([waiting, attempt, beside.map(|(at, _)| at), unconfirmed])
            .flatten()
            .min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Now) {
        let now = now.monotonic;
        for held in [&mut self.session, &mut self.closing].into_iter().flatten() {
            if held.session.poll_timeout().is_some_and(|at| at <= now) {
                held.session.handle_timeout(now);
            }
        }
        self.closing.take_if(|held| held.session.is_drained());
        if let Some(held) = &mut self.session {
            held.nudge(now);
        }
        self.handle_attempt(now);
        self.handle_waiting(now);
        self.handle_silence(now);
    }

    fn handle_attempt(&mut self, now: Monotonic) {
        let Some(attempt) = &mut self.attempt else {
            return;
        };
        if !attempt.handle_timeout(now, &mut *self.entropy) {
            let hint = attempt.hint().cloned();
            self.attempt = None;
            self.fail(ConnectFailure::NoAnswer { hint });
        }
    }

    /// The server holds our session and yet it is silent: after three seconds the new handshake takes its place (3, `live`).
    fn handle_waiting(&mut self, now: Monotonic) {
        let Some(waiting) = &mut self.waiting else {
            return;
        };
        let Some(held) = &mut self.session else {
            self.waiting = None;
            return;
        };
        if held.session.last_heard() > waiting.since {
            self.waiting = None;
        } else if waiting.ends_at() <= now {
            if let Some(waiting) = self.waiting.take() {
                self.confirm(now, waiting.accepted);
            }
        } else if waiting.wants_ping(now) {
            held.session.ping();
        }
    }

    /// A session whose third probe in a row is unanswered gets an attempt beside it (6.6); one that is being left does not, or its client would come back.
    fn handle_silence(&mut self, now: Monotonic) {
        let silent = self.session.as_ref().is_some_and(|held| {
            let dead = held.session.unanswered_probes() >= PROBES_BEFORE_ATTEMPT
                || held.unconfirmed_until().is_some_and(|end| end <= now);
            dead && held.session.is_open()
        });
        if !silent {
            self.beside = None;
            return;
        }
        let (at, pause) = self.beside.unwrap_or((now, BESIDE_PAUSE_MIN));
        self.beside = Some((at, pause));
        if at <= now && self.may_begin_beside() {
            // Full jitter: clients that lost one server together come back one by one.
            let jittered = pause.mul_f64((self.entropy.next_u64() >> 40) as f64 / JITTER_SCALE);
            let next = now.plus(ATTEMPT_LIFE_AND_CONFIRMATION.saturating_add(jittered));
            self.beside = Some((next, (pause * 2).min(BESIDE_PAUSE_MAX)));
            self.begin(now);
        }
    }

    fn may_begin_beside(&self) -> bool {
        self.attempt.is_none() && self.waiting.is_none()
    }

    /// Sends a message without an answer.
    ///
    /// # Errors
    /// The session's refusal; [`SendError::Closed`] without a session.
    pub fn send(&mut self, now: Now, message: Outgoing) -> Result<(), SendError> {
        self.held()?.send(now.monotonic, message)
    }

    /// Asks the server something; the answer is a [`SessionEvent::Response`] with this id.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn request(&mut self, now: Now, message: Outgoing) -> Result<RequestId, SendError> {
        self.held()?.request(now.monotonic, message)
    }

    /// Answers a server's request.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn respond(
        &mut self,
        now: Now,
        request: RequestContext,
        outcome: Outcome,
        body: Bytes,
    ) -> Result<(), SendError> {
        self.held()?.respond(now.monotonic, request, outcome, body)
    }

    /// Gives a request up: an answer that still comes is dropped. False when it was not open.
    pub fn forget(&mut self, request: RequestId) -> bool {
        self.held().is_ok_and(|session| session.forget(request))
    }

    /// The session, to look at.
    #[must_use]
    pub fn session(&self) -> Option<&Session<K>> {
        self.session.as_ref().map(|held| &held.session)
    }

    /// Whether there is neither a session nor an attempt, and nothing left to send or to tell.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.session.is_none()
            && self.closing.is_none()
            && self.attempt.is_none()
            && self.events.ended.is_none()
            && self.events.connected.is_none()
            && self.events.failed.is_none()
    }

    /// What was counted so far.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The session, for something new. While it has not been told that an earlier one ended there is none for the owner, who would take what belongs to
    /// the new one for the old one's.
    fn held(&mut self) -> Result<&mut Session<K>, SendError> {
        if self.events.ended.is_some() {
            return Err(SendError::Closed);
        }
        self.session
            .as_mut()
            .map(|held| &mut held.session)
            .ok_or(SendError::Closed)
    }
}

impl<K: PacketKey> fmt::Debug for ClientEndpoint<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientEndpoint")
            .field("server", &self.config.server)
            .field("connected", &self.session.is_some())
            .field("attempt", &self.attempt)
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

/// Pins of one server: the one in use, the next one, and room.
const PINS_MAX: usize = 8;
/// Sessions whose names are remembered: more than can follow each other while a server still holds the first.
const OWN_MAX: usize = 16;
const PROBES_BEFORE_ATTEMPT: u32 = 3;
/// An attempt and the silence that may follow it are over before the next one begins.
const ATTEMPT_LIFE_AND_CONFIRMATION: Duration = Duration::from_secs(8);
const BESIDE_PAUSE_MIN: Duration = Duration::from_millis(500);
const BESIDE_PAUSE_MAX: Duration = Duration::from_secs(30);
/// 24 random bits make a fraction of one.
const JITTER_SCALE: f64 = 16_777_216.0;
