//! The server's end: datagrams in, events and datagrams out, for all sessions of one shard. HELLOs are `hello`'s; what a session does with what
//! it gets is `session`'s.

mod answers;
mod config;
mod hello;
#[cfg(test)]
mod tests;

use core::fmt;
use std::net::SocketAddr;

use self::answers::{Allowance, Answers};
pub use self::config::{Availability, ServerConfig};
use self::hello::ServerIdentity;
use super::SessionHandle;
use super::connections::{Connection, Connections, Opened};
use super::counters::{Counter, Counters};
use super::half_opens::{Peers, PendingKeys};
use super::transmit::{Batch, Transmit};
use crate::handshake::cookie::CookieMint;
use crate::ops::Outcome;
use crate::{
    ASSOCIATED_LEN, AesPacketKey, CloseCode, DATAGRAM_LEN_MAX, Entropy, Header, Monotonic, Now,
    Opcode, Outgoing, PacketKey, PeerId, ProtectedPrefix, RequestContext, RequestId, Role,
    SendError, Session, SessionEvent, SessionSetup, TAG_LEN, VERSION,
};

/// Something that a server's endpoint tells.
#[derive(Debug)]
pub enum ServerEvent {
    /// A client proved who it is, and its session is open.
    Connected {
        /// The client.
        peer: PeerId,
        /// Where it is.
        address: SocketAddr,
    },
    /// Something that a session tells. After [`SessionEvent::Closed`] its handle finds nothing.
    Session(SessionEvent),
}

/// Many sessions behind one socket.
pub struct ServerEndpoint<K: PacketKey = AesPacketKey> {
    config: ServerConfig,
    entropy: Box<dyn Entropy>,
    identities: Vec<ServerIdentity>,
    mint: CookieMint,
    availability: Availability,
    handshakes: Allowance,
    version_hints: Allowance,
    peers: Peers<K>,
    connections: Connections<K>,
    answers: Answers,
    batch: Batch,
    counters: Counters,
}

impl<K: PacketKey> ServerEndpoint<K> {
    /// An endpoint without sessions. `entropy` is drawn from for session numbers, ephemeral keys and the secrets of maps.
    #[must_use]
    pub fn new(config: ServerConfig, mut entropy: Box<dyn Entropy>) -> Self {
        let identities = config
            .previous_keys
            .iter()
            .fold(vec![&config.keys], |mut all, previous| {
                all.push(previous);
                all
            })
            .into_iter()
            .map(ServerIdentity::new)
            .collect();
        Self {
            identities,
            mint: CookieMint::new(config.cookie_secret.clone()),
            availability: Availability::Open,
            handshakes: Allowance::new(config.handshakes_per_second),
            version_hints: Allowance::new(VERSION_HINTS_PER_SECOND),
            peers: Peers::new(config.half_opens_max, &mut *entropy),
            connections: Connections::new(),
            answers: Answers::new(),
            batch: Batch::new(),
            counters: Counters::new(),
            entropy,
            config,
        }
    }

    /// Takes one datagram, whatever it contains. Its bytes are decrypted in place.
    pub fn handle_datagram(&mut self, now: Now, from: SocketAddr, datagram: &mut [u8]) {
        self.counters.add(Counter::Received);
        let Some(header) = Header::parse(datagram).filter(|_| datagram.len() <= DATAGRAM_LEN_MAX)
        else {
            self.counters.add(Counter::Malformed);
            return;
        };
        if header.opcode == Opcode::HELLO {
            self.handle_hello(now, from, header, datagram);
        } else if header.version != VERSION {
            self.counters.add(Counter::UnknownVersion);
        } else if header.opcode.is_handshake() {
            self.counters.add(Counter::UnexpectedOpcode);
        } else {
            self.handle_protected(now.monotonic, header, datagram);
        }
    }

    fn handle_protected(&mut self, now: Monotonic, header: Header, datagram: &mut [u8]) {
        let Some(prefix) = ProtectedPrefix::parse(datagram) else {
            self.counters.add(Counter::Malformed);
            return;
        };
        let Some(peer) = self.peers.find(header.sender) else {
            self.counters.add(Counter::UnknownSession);
            return;
        };
        if let Some(handle) = peer.session(prefix.session) {
            if let Some(connection) = self.connections.find_mut(handle)
                && let Err(dropped) = connection.session.handle_datagram(now, datagram)
            {
                self.counters.add(Counter::of(dropped));
            }
            self.touch(handle);
            return;
        }
        let pending = peer.half_open.as_ref().and_then(|each| each.keys.as_ref());
        match pending.filter(|keys| keys.number == prefix.session) {
            None => self.counters.add(Counter::UnknownSession),
            Some(keys) if opens(keys, prefix, datagram) => {
                self.confirm(now, header.sender, prefix.packet_number, datagram);
            }
            Some(_) => self.counters.add(Counter::Unconfirmed),
        }
    }

    /// Makes a session of a handshake whose first protected datagram opened (3, ACCEPT). What does not parse ends the handshake, and an older
    /// session of the same client lives on.
    fn confirm(&mut self, now: Monotonic, peer: PeerId, packet_number: u64, datagram: &mut [u8]) {
        let Some(half_open) = self.peers.take_half_open(peer) else {
            return;
        };
        let Some(keys) = half_open.keys else {
            return;
        };
        // Others may have been quicker since its HELLO was taken.
        let is_new = self.peers.find(peer).is_none_or(|peer| peer.live.is_none());
        if is_new && self.connections.len() >= self.config.sessions_max {
            self.counters.add(Counter::NoRoom);
            self.peers.forget(peer);
            return;
        }
        // The first packet number leaves at once; a later one may be the repeat of one that was lost.
        let handshake_rtt = (half_open.measures_rtt && packet_number == FIRST_PACKET_NUMBER)
            .then(|| now.since(half_open.opened_at));
        let mut session = Session::new(
            SessionSetup {
                role: Role::Server,
                local: keys.server,
                peer,
                number: keys.number,
                seal: keys.seal,
                open: keys.open,
                peer_max_message: keys.wishes.max_message,
                peer_max_ack_delay: millis(keys.wishes.max_ack_delay_ms),
                max_ack_delay: self.config.max_ack_delay,
                idle_timeout: keys.idle_timeout,
                keepalive: self.config.keepalive,
                away: self.config.away,
                handshake_rtt,
                skip_seed: self.entropy.next_u64(),
            },
            now,
        );
        if let Err(dropped) = session.handle_datagram(now, datagram) {
            self.counters.add(Counter::of(dropped));
            self.peers.forget(peer);
            return;
        }
        let handle = self.connections.insert(Opened {
            session,
            peer,
            address: half_open.address,
            live: keys.live,
            cookie_us: half_open.cookie_us,
            hello_id: half_open.hello_id,
        });
        self.counters.add(Counter::Connected);
        // The older session is told first and queued first, so that the caller hears of its end before it hears of the new one.
        if let Some(before) = self.peers.open(peer, keys.number, handle) {
            if let Some(connection) = self.connections.find_mut(before) {
                connection
                    .session
                    .close_now(now, CloseCode::SUPERSEDED, "superseded");
            }
            self.touch(before);
        }
        self.touch(handle);
    }

    /// The next thing that happened, with the session it happened to.
    pub fn poll_event(&mut self) -> Option<(SessionHandle, ServerEvent)> {
        while let Some(handle) = self.connections.ready() {
            if let Some(connection) = self.connections.find_mut(handle) {
                if !connection.announced {
                    connection.announced = true;
                    let event = ServerEvent::Connected {
                        peer: connection.peer,
                        address: connection.address,
                    };
                    return Some((handle, event));
                }
                if let Some(event) = connection.session.poll_event() {
                    connection.ended |= matches!(event, SessionEvent::Closed { .. });
                    // Taking a message may raise the credit, which the peer must hear.
                    self.connections.touch(handle);
                    return Some((handle, ServerEvent::Session(event)));
                }
            }
            self.connections.silence(handle);
            self.reap(handle);
        }
        None
    }

    /// The next datagrams to send, appended to `out`; none when there are none now.
    pub fn poll_transmit(&mut self, now: Now, out: &mut Vec<u8>) -> Option<Transmit> {
        let waiting = self.answers.pop(out).or_else(|| self.batch.carry(out));
        if waiting.is_some() {
            return waiting;
        }
        while let Some(handle) = self.connections.dirty() {
            let filled = self.connections.find_mut(handle).and_then(|connection| {
                let to = connection.address;
                self.batch
                    .fill(now.monotonic, to, &mut connection.session, out)
            });
            self.connections.sent(handle, filled.is_some());
            self.notice_end(handle);
            if filled.is_some() {
                return filled;
            }
            self.reap(handle);
        }
        None
    }

    /// When [`Self::handle_timeout`] is to be called next; it may be a little early, never late.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Monotonic> {
        [self.connections.poll_timeout(), self.peers.poll_timeout()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Now) {
        while self.peers.expire_one(now.monotonic) {
            self.counters.add(Counter::HalfOpenExpired);
        }
        for handle in self.connections.due(now.monotonic) {
            if let Some(connection) = self.connections.find_mut(handle) {
                connection.session.handle_timeout(now.monotonic);
            }
            self.touch(handle);
        }
    }

    /// Sends a message without an answer.
    ///
    /// # Errors
    /// The session's refusal; [`SendError::Closed`] when the handle finds nothing.
    pub fn send(
        &mut self,
        now: Now,
        handle: SessionHandle,
        message: Outgoing,
    ) -> Result<(), SendError> {
        self.with(handle, |session| session.send(now.monotonic, message))
    }

    /// Sends what the client has to hear also where its 1 MiB is full.
    ///
    /// # Errors
    /// As [`Self::send`], though never [`SendError::Busy`].
    pub fn send_owed(
        &mut self,
        now: Now,
        handle: SessionHandle,
        message: Outgoing,
    ) -> Result<(), SendError> {
        self.with(handle, |session| session.send_owed(now.monotonic, message))
    }

    /// Asks the client something; the answer is a [`SessionEvent::Response`] with this id.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn request(
        &mut self,
        now: Now,
        handle: SessionHandle,
        message: Outgoing,
    ) -> Result<RequestId, SendError> {
        self.with(handle, |session| session.request(now.monotonic, message))
    }

    /// Answers a client's request.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn respond(
        &mut self,
        now: Now,
        handle: SessionHandle,
        request: RequestContext,
        outcome: Outcome,
        body: bytes::Bytes,
    ) -> Result<(), SendError> {
        self.with(handle, |session| {
            session.respond(now.monotonic, request, outcome, body)
        })
    }

    /// Gives a request up: an answer that still comes is dropped. False when it was not open.
    pub fn forget(&mut self, handle: SessionHandle, request: RequestId) -> bool {
        self.connections
            .find_mut(handle)
            .is_some_and(|connection| connection.session.forget(request))
    }

    /// Ends a session, as soon as all that was sent is acknowledged and at the latest after a second, and tells the client why. A handle that
    /// finds nothing is ignored.
    pub fn close(&mut self, now: Now, handle: SessionHandle, code: CloseCode, text: &str) {
        if let Some(connection) = self.connections.find_mut(handle) {
            connection.session.close(now.monotonic, code, text);
            self.touch(handle);
        }
    }

    /// Ends every session like [`Self::close`], for the end of the server, and takes no more.
    pub fn close_all(&mut self, now: Now, code: CloseCode) {
        self.availability = Availability::Offline;
        self.peers.forget_half_opens();
        let all: Vec<_> = self.connections.handles().collect();
        for handle in all {
            self.close(now, handle, code, "");
        }
    }

    /// From now on handshakes are answered like this.
    pub fn set_availability(&mut self, availability: Availability) {
        self.availability = availability;
    }

    /// One session, to look at.
    #[must_use]
    pub fn session(&self, handle: SessionHandle) -> Option<&Session<K>> {
        self.connections.find(handle).map(|each| &each.session)
    }

    /// The client of a session.
    #[must_use]
    pub fn peer(&self, handle: SessionHandle) -> Option<PeerId> {
        self.connections.find(handle).map(|each| each.peer)
    }

    /// Where the client of a session is.
    #[must_use]
    pub fn address(&self, handle: SessionHandle) -> Option<SocketAddr> {
        self.connections.find(handle).map(|each| each.address)
    }

    /// The open session of a client.
    #[must_use]
    pub fn find(&self, peer: PeerId) -> Option<SessionHandle> {
        self.peers.find(peer)?.live.map(|(_, handle)| handle)
    }

    /// Sessions that are held, those that still say goodbye included.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.connections.len()
    }

    /// Handshakes that were answered and not yet confirmed.
    #[must_use]
    pub fn half_opens(&self) -> usize {
        self.peers.half_opens()
    }

    /// What was counted so far.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    fn with<T>(
        &mut self,
        handle: SessionHandle,
        act: impl FnOnce(&mut Session<K>) -> Result<T, SendError>,
    ) -> Result<T, SendError> {
        let connection = self.connections.find_mut(handle).ok_or(SendError::Closed)?;
        let done = act(&mut connection.session);
        self.touch(handle);
        done
    }

    fn touch(&mut self, handle: SessionHandle) {
        self.notice_end(handle);
        self.connections.touch(handle);
    }

    /// A session that ended is no longer its client's open one, and has that to tell.
    fn notice_end(&mut self, handle: SessionHandle) {
        if let Some(connection) = self.connections.find(handle)
            && connection.session.is_closed()
            && !connection.ended
        {
            self.peers.close(connection.peer, handle);
            self.connections.wake(handle);
        }
    }

    /// Lets go of a session that has nothing left to say to anybody.
    fn reap(&mut self, handle: SessionHandle) {
        let finished = |each: &Connection<K>| each.ended && each.session.is_drained();
        if let Some(connection) = self.connections.find(handle)
            && finished(connection)
        {
            self.peers.remove(connection.peer, handle);
            self.connections.remove(handle);
        }
    }
}

impl<K: PacketKey> fmt::Debug for ServerEndpoint<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerEndpoint")
            .field("sessions", &self.sessions())
            .field("half_opens", &self.half_opens())
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

/// Whether a datagram opens under the keys of a handshake, tried on a copy: the session that is made of it opens the datagram itself.
fn opens<K: PacketKey>(keys: &PendingKeys<K>, prefix: ProtectedPrefix, datagram: &[u8]) -> bool {
    let mut copy = [0; DATAGRAM_LEN_MAX];
    let Some(copy) = copy.get_mut(..datagram.len()) else {
        return false;
    };
    copy.copy_from_slice(datagram);
    let Some((associated, sealed)) = copy.split_at_mut_checked(ASSOCIATED_LEN) else {
        return false;
    };
    let Some((body, tag)) = sealed.split_last_chunk_mut::<TAG_LEN>() else {
        return false;
    };
    prefix.epoch == 0 && keys.open.open(prefix.packet_number, associated, body, tag)
}

fn millis(ms: u8) -> core::time::Duration {
    core::time::Duration::from_millis(u64::from(ms))
}

const FIRST_PACKET_NUMBER: u64 = 1;

/// VERSIONS answers anybody who can spell HELLO, so they are few.
const VERSION_HINTS_PER_SECOND: u32 = 100;
