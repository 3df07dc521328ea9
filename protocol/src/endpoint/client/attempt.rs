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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handshake::exchange::Responder;
    use crate::handshake::messages::{Hello, accept, reject, retry, versions};
    use crate::handshake::payload::ClientPayload;

    struct Counting(u64);

    impl Entropy for Counting {
        fn fill(&mut self, out: &mut [u8]) {
            for chunk in out.chunks_mut(8) {
                self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
                chunk.copy_from_slice(&self.0.to_le_bytes()[..chunk.len()]);
            }
        }
    }

    struct Bench {
        now: Monotonic,
        client: StaticKeys,
        servers: Vec<StaticKeys>,
        entropy: Counting,
        attempt: Attempt,
    }

    impl Bench {
        fn new(servers: u8) -> Self {
            let servers: Vec<_> = (1..=servers)
                .map(|secret| StaticKeys::from_secret([secret; 32]))
                .collect();
            let pins: Vec<_> = servers.iter().map(StaticKeys::public).collect();
            let client = StaticKeys::from_secret([0xcc; 32]);
            let mut entropy = Counting(1);
            let now = Monotonic(9_000_000);
            let mut attempt = Attempt::new(now, &client, &pins, &mut entropy);
            assert!(attempt.handle_timeout(now, &mut entropy));
            Self {
                now,
                client,
                servers,
                entropy,
                attempt,
            }
        }

        /// Lets time pass until something is due; false when the attempt is over.
        fn next(&mut self) -> bool {
            self.now = self.attempt.poll_timeout().max(self.now);
            self.attempt.handle_timeout(self.now, &mut self.entropy)
        }

        fn sent(&mut self) -> Option<Vec<u8>> {
            let mut out = Vec::new();
            self.attempt
                .poll_transmit(self.now, &mut out)
                .then_some(out)
        }

        fn hear(&mut self, datagram: &[u8]) -> Option<Accepted> {
            let payload = ClientPayload {
                idle_timeout_s: 0,
                max_ack_delay_ms: 20,
                max_message: 1_100,
                psk_id: 0,
                versions: vec![crate::VERSION],
            };
            self.attempt.handle(
                self.now,
                Header::parse(datagram)?,
                datagram,
                Ingredients {
                    keys: &self.client,
                    psk: &[0; 32],
                    payload: &payload.encode(),
                },
                &mut self.entropy,
            )
        }

        fn hello_id(&mut self) -> HelloId {
            self.attempt.tries[0].hello_id
        }

        fn retry(&mut self, cookie: u8) {
            let (server, id) = (self.servers[0].peer_id(), self.hello_id());
            assert!(
                self.hear(&retry(server, &id, &[cookie; COOKIE_LEN]))
                    .is_none()
            );
        }

        /// The server's answer to a HELLO with a cookie.
        fn accepted(&self, sent: &[u8]) -> Vec<u8> {
            let server = &self.servers[0];
            let hello = Hello::parse(self.client.peer_id(), sent).unwrap();
            let responder = Responder::read(
                server,
                &[0; 32],
                &prologue(server.peer_id(), hello.head),
                &mut Counting(5),
                hello.noise().unwrap(),
                &mut Vec::new(),
            )
            .unwrap();
            let mut out = accept(server.peer_id(), hello.hello_id);
            responder.write(&[0; SERVER_PAYLOAD_LEN], &mut out[57..]);
            out.to_vec()
        }
    }

    #[test]
    fn a_hello_is_repeated_identically_and_the_attempt_ends() {
        let mut bench = Bench::new(1);
        let start = bench.now;
        let first = bench.sent().unwrap();
        let mut times = vec![];
        while bench.next() {
            assert_eq!(bench.sent().as_ref(), Some(&first));
            times.push(bench.now.since(start).as_millis());
        }
        assert_eq!(bench.now.since(start), ATTEMPT_LIFE);
        assert_eq!(times.len(), 4);
        for (at, about) in times.into_iter().zip([250, 750, 1_750, 3_750]) {
            assert!(at.abs_diff(about) <= about / 10, "{at} ms, not {about} ms");
        }
    }

    #[test]
    fn every_pin_has_its_turn_and_its_own_name() {
        let mut bench = Bench::new(2);
        let mut ids = vec![];
        ids.push(bench.sent().unwrap()[65..81].to_vec());
        while bench.next() {
            ids.extend(bench.sent().map(|hello| hello[65..81].to_vec()));
        }
        assert_eq!(ids.len(), 5);
        assert_ne!(ids[0], ids[1]);
        assert!(ids[0] == ids[2] && ids[1] == ids[3]);
    }

    #[test]
    fn another_retry_counts_only_after_a_second_and_at_most_three_do() {
        let mut bench = Bench::new(1);
        let mut seen = vec![bench.sent().unwrap()];
        bench.retry(1);
        seen.push(bench.sent().unwrap());
        bench.retry(2);
        assert_eq!(bench.sent(), None, "too soon");
        for cookie in 2..=5 {
            bench.now = bench.now.plus(RETRY_PATIENCE);
            bench.retry(cookie);
            seen.extend(bench.sent());
        }
        let cookies: Vec<_> = seen.iter().map(|hello| hello[39]).collect();
        assert_eq!(cookies, [0, 1, 2, 3]);
        let ephemerals: std::collections::BTreeSet<_> =
            seen[1..].iter().map(|hello| &hello[97..129]).collect();
        assert_eq!(ephemerals.len(), 3, "an ephemeral key was used twice");
    }

    #[test]
    fn only_an_accept_to_the_newest_hello_counts() {
        let mut bench = Bench::new(1);
        bench.retry(1);
        let old = bench.sent().unwrap();
        bench.now = bench.now.plus(RETRY_PATIENCE);
        bench.retry(2);
        let new = bench.sent().unwrap();
        let (late, right) = (bench.accepted(&old), bench.accepted(&new));
        assert!(bench.hear(&late).is_none());
        let accepted = bench.hear(&right).unwrap();
        assert_eq!(accepted.server, bench.servers[0].peer_id());
        assert!(bench.hear(&right).is_none(), "once");
    }

    #[test]
    fn a_bent_accept_leaves_the_attempt_as_it_was() {
        let mut bench = Bench::new(1);
        bench.retry(1);
        let sent = bench.sent().unwrap();
        let right = bench.accepted(&sent);
        for at in 39..right.len() {
            let mut bent = right.clone();
            bent[at] ^= 4;
            assert!(bench.hear(&bent).is_none(), "byte {at}");
        }
        assert!(bench.hear(&right).is_some());
    }

    #[test]
    fn the_round_trip_is_known_only_when_nothing_was_repeated() {
        for repeated in [false, true] {
            let mut bench = Bench::new(1);
            bench.retry(1);
            let sent = bench.sent().unwrap();
            if repeated {
                assert!(bench.next());
                assert_eq!(bench.sent().as_ref(), Some(&sent));
            }
            bench.now = bench.now.plus(Duration::from_millis(70));
            let right = bench.accepted(&sent);
            let rtt = bench.hear(&right).unwrap().rtt;
            assert_eq!(rtt, (!repeated).then_some(Duration::from_millis(70)));
        }
    }

    #[test]
    fn hints_are_kept_and_end_nothing() {
        let mut bench = Bench::new(1);
        let (server, id) = (bench.servers[0].peer_id(), bench.hello_id());
        for (datagram, hint) in [
            (
                reject(server, &id, RejectCode::Full).to_vec(),
                ConnectHint::Rejected(RejectCode::Full),
            ),
            (
                versions(server, &id, &[7, 8]),
                ConnectHint::Versions(vec![7, 8]),
            ),
        ] {
            assert!(bench.hear(&datagram).is_none());
            assert_eq!(bench.attempt.hint(), Some(&hint));
            assert!(bench.next());
        }
        // A list that holds the version in use is not believed, and neither is another server or attempt.
        bench.hear(&versions(server, &id, &[1]));
        bench.hear(&reject(server, &[0; 16], RejectCode::Offline));
        bench.hear(&reject(bench.client.peer_id(), &id, RejectCode::Offline));
        let last = ConnectHint::Versions(vec![7, 8]);
        assert_eq!(bench.attempt.hint(), Some(&last));
    }
}
