//! How a server answers a HELLO (PROTOCOL.md 3): the checks in their order, the cheapest first, and the key exchange at their end. Until the
//! cookie has proved the sender's address nothing is stored; what is stored then is bounded in `half_opens`.

use core::time::Duration;
use std::net::SocketAddr;

use super::super::counters::Counter;
use super::super::half_opens::{Answered, PendingKeys};
use super::{Availability, ServerEndpoint};
use crate::handshake::cookie::CookieSubject;
use crate::handshake::exchange::{Responder, Secrets};
use crate::handshake::messages::{
    ACCEPT_LEN, HELLO_LEN, Hello, MESSAGE_2_LEN, Mac1Key, RejectCode, accept, prologue, reject,
    retry, versions,
};
use crate::handshake::payload::{ClientPayload, ServerPayload};
use crate::ops::{Detail, Outcome, Status};
use crate::{Header, Now, PacketKey, PeerId, StaticKeys, VERSION};

/// Every version that this server speaks, the newest first.
const SUPPORTED_VERSIONS: &[u8] = &[VERSION];
/// The only shared key that there is; others will have other numbers.
const PSK_ID: u8 = 0;
/// The least silence that makes a client away, so that one lost keep-alive does not.
const IDLE_TIMEOUT_MIN: Duration = Duration::from_secs(3);

/// One of the server's keys with what follows from it.
pub(super) struct ServerIdentity {
    keys: StaticKeys,
    id: PeerId,
    mac1_key: Mac1Key,
}

impl ServerIdentity {
    pub(super) fn new(keys: &StaticKeys) -> Self {
        Self {
            id: keys.peer_id(),
            mac1_key: Mac1Key::of(&keys.public()),
            keys: keys.clone(),
        }
    }
}

/// What is known of a client makes of its HELLO.
enum Freshness {
    New,
    Stale,
    /// It was answered with this, and the answer is sent again.
    Repeated(Box<[u8; ACCEPT_LEN]>),
    /// It was answered, and the session is open.
    Settled,
}

/// A HELLO whose sender's address is proven.
struct Proven<'a> {
    hello: Hello<'a>,
    from: SocketAddr,
    cookie_us: u64,
    noise: &'a [u8],
    /// Which of the server's keys it was made for.
    key: usize,
}

impl<K: PacketKey> ServerEndpoint<K> {
    pub(super) fn handle_hello(
        &mut self,
        now: Now,
        from: SocketAddr,
        header: Header,
        datagram: &[u8],
    ) {
        if datagram.len() != HELLO_LEN {
            return self.counters.add(Counter::Malformed);
        }
        let Some(hello) = Hello::parse(header.sender, datagram) else {
            return self.counters.add(Counter::Malformed);
        };
        if header.version != VERSION {
            return self.hint_versions(now, from, header, &hello);
        }
        let Some(key) = self
            .identities
            .iter()
            .position(|each| hello.mac_fits(&each.mac1_key))
        else {
            return self.counters.add(Counter::WrongServerKey);
        };
        let Some(server) = self.identities.get(key).map(|each| each.id) else {
            return;
        };
        let subject = CookieSubject {
            address: from,
            client: hello.client,
            hello_id: hello.hello_id,
        };
        let Some(cookie_us) = self.mint.check(now.monotonic, hello.cookie, subject) else {
            self.counters.add(Counter::Retried);
            let cookie = self.mint.issue(now.monotonic, subject);
            return self.answer(from, &retry(server, hello.hello_id, &cookie));
        };
        let Some(noise) = hello.noise() else {
            return self.counters.add(Counter::HelloWithoutExchange);
        };
        let proven = Proven {
            hello,
            from,
            cookie_us,
            noise,
            key,
        };
        self.handle_proven(now, &proven);
    }

    fn handle_proven(&mut self, now: Now, proven: &Proven<'_>) {
        if let Some(code) = self.no_room_for(proven.hello.client) {
            return self.reject(proven, code);
        }
        match self.freshness(proven) {
            Freshness::Stale => return self.counters.add(Counter::StaleHello),
            Freshness::Settled => return self.counters.add(Counter::RepeatedHello),
            Freshness::Repeated(accept) => {
                self.peers.repeat(proven.hello.client);
                self.counters.add(Counter::RepeatedHello);
                return self.answer(proven.from, &accept[..]);
            }
            Freshness::New => {}
        }
        let start = (self.entropy.next_u64() >> 32) as u8;
        let number = self.peers.free_number(proven.hello.client, start);
        let Some(number) = number.filter(|_| self.handshakes.take(now.monotonic)) else {
            return self.reject(proven, RejectCode::SlowDown);
        };
        if self.exchange(now, proven, number).is_none() {
            self.counters.add(Counter::ExchangeFailed);
        }
    }

    fn hint_versions(&mut self, now: Now, from: SocketAddr, header: Header, hello: &Hello<'_>) {
        self.counters.add(Counter::UnknownVersion);
        // A datagram of version 0 is itself such a hint: it is not answered, or two servers could talk for ever.
        if header.version != 0
            && self.version_hints.take(now.monotonic)
            && let Some(current) = self.identities.first()
        {
            let hint = versions(current.id, hello.hello_id, SUPPORTED_VERSIONS);
            self.answer(from, &hint);
        }
    }

    fn no_room_for(&self, client: PeerId) -> Option<RejectCode> {
        if self.availability == Availability::Offline {
            return Some(RejectCode::Offline);
        }
        // Who is here already takes no room: a new session replaces the old one. Handshakes that are under way have a bound of their own: if they counted here,
        // whoever begins many and ends none would keep everybody else out.
        let known = self.peers.find(client).is_some();
        (!known && self.connections.len() >= self.config.sessions_max).then_some(RejectCode::Full)
    }

    fn freshness(&self, proven: &Proven<'_>) -> Freshness {
        let Some(peer) = self.peers.find(proven.hello.client) else {
            return Freshness::New;
        };
        let ours = (proven.cookie_us, proven.hello.hello_id);
        if let Some(half_open) = &peer.half_open {
            if ours == (half_open.cookie_us, &half_open.hello_id) {
                return Freshness::Repeated(Box::new(half_open.accept));
            }
            if proven.cookie_us <= half_open.cookie_us {
                return Freshness::Stale;
            }
        }
        if let Some(open) = peer
            .live
            .and_then(|(_, handle)| self.connections.find(handle))
        {
            if ours == (open.cookie_us, &open.hello_id) {
                return Freshness::Settled;
            }
            if proven.cookie_us <= open.cookie_us {
                return Freshness::Stale;
            }
        }
        Freshness::New
    }

    /// Reads message 1 and answers it; none when it does not open or says nothing that can be understood.
    fn exchange(&mut self, now: Now, proven: &Proven<'_>, number: u8) -> Option<()> {
        let identity = self.identities.get(proven.key)?;
        let server = identity.id;
        let mut payload = Vec::new();
        let responder = Responder::read(
            &identity.keys,
            self.config.psk.bytes(),
            &prologue(server, proven.hello.head),
            &mut *self.entropy,
            proven.noise,
            &mut payload,
        )?;
        let wishes = ClientPayload::decode(&payload).filter(|each| each.psk_id == PSK_ID)?;
        let client = responder.client.peer_id();
        let refusal = self.refusal(client == proven.hello.client, &wishes);
        let answer = match refusal {
            Some(detail) => ServerPayload {
                status: Outcome::of(detail).status() as u8,
                detail: detail.0,
                ..ServerPayload::default()
            },
            None => self.welcome(now, client, number, &wishes),
        };
        let mut datagram = accept(server, proven.hello.hello_id);
        let secrets = responder.write(
            &answer.encode(),
            datagram.last_chunk_mut::<MESSAGE_2_LEN>()?,
        )?;
        self.counters.add(if refusal.is_some() {
            Counter::Refused
        } else {
            Counter::Accepted
        });
        self.answer(proven.from, &datagram);
        // A refusal because of the UUID is not stored: it would stand under the name of somebody who did not ask.
        if client == proven.hello.client {
            let keys = refusal
                .is_none()
                .then(|| self.pending_keys(server, number, &secrets, wishes, &answer));
            let answered = Answered {
                address: proven.from,
                cookie_us: proven.cookie_us,
                hello_id: *proven.hello.hello_id,
                accept: datagram,
                measures_rtt: answer.live == [0; 8],
                keys,
            };
            if self.peers.remember(now.monotonic, client, answered) {
                self.counters.add(Counter::HalfOpenExpired);
            }
        }
        Some(())
    }

    fn refusal(&self, uuid_fits: bool, wishes: &ClientPayload) -> Option<Detail> {
        let best = SUPPORTED_VERSIONS
            .iter()
            .find(|version| wishes.versions.contains(version));
        if !uuid_fits {
            Some(Detail::UUID_MISMATCH)
        } else if best != Some(&VERSION) {
            // None in common, or a better one that somebody on the path kept the client from using.
            Some(Detail::NO_COMMON_VERSION)
        } else if self.availability == Availability::Draining {
            Some(Detail::DRAINING)
        } else {
            None
        }
    }

    fn welcome(
        &self,
        now: Now,
        client: PeerId,
        number: u8,
        wishes: &ClientPayload,
    ) -> ServerPayload {
        let live = self
            .find(client)
            .and_then(|handle| self.connections.find(handle))
            .map(|open| open.live)
            .unwrap_or_default();
        let ours = self.config.idle_timeout.max(IDLE_TIMEOUT_MIN);
        let idle_timeout = match wishes.idle_timeout_s {
            0 => ours,
            wish => Duration::from_secs(wish.into()).clamp(IDLE_TIMEOUT_MIN, ours),
        };
        let keepalive = self.config.keepalive.min(idle_timeout / 3);
        ServerPayload {
            status: Status::Ok as u8,
            detail: 0,
            session: number,
            live,
            max_message: self.config.max_message,
            idle_timeout_s: whole_seconds(idle_timeout),
            keepalive_s: whole_seconds(keepalive),
            max_ack_delay_ms: u8::try_from(self.config.max_ack_delay.as_millis())
                .unwrap_or(u8::MAX),
            server_time_ms: now.wall_us / 1_000,
        }
    }

    fn pending_keys(
        &self,
        server: PeerId,
        number: u8,
        secrets: &Secrets,
        wishes: ClientPayload,
        answer: &ServerPayload,
    ) -> PendingKeys<K> {
        PendingKeys {
            server,
            number,
            live: secrets.live(),
            seal: K::derive(&secrets.server_to_client),
            open: K::derive(&secrets.client_to_server),
            wishes,
            idle_timeout: Duration::from_secs(answer.idle_timeout_s.into()),
        }
    }

    fn reject(&mut self, proven: &Proven<'_>, code: RejectCode) {
        self.counters.add(Counter::Rejected);
        if let Some(server) = self.identities.get(proven.key).map(|each| each.id) {
            self.answer(proven.from, &reject(server, proven.hello.hello_id, code));
        }
    }

    fn answer(&mut self, to: SocketAddr, datagram: &[u8]) {
        if !self.answers.push(to, datagram) {
            self.counters.add(Counter::AnswerDropped);
        }
    }
}

/// At least one: zero would mean something else.
fn whole_seconds(duration: Duration) -> u16 {
    u16::try_from(duration.as_secs()).unwrap_or(u16::MAX).max(1)
}
