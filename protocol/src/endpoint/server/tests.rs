//! HELLOs that no honest client sends, and what a server makes of them. What happens between two honest ends is in `tests/endpoints`.

use core::time::Duration;
use std::net::SocketAddr;

use proptest::prelude::*;

use super::super::half_opens::HALF_OPEN_LIFE;
use super::*;
use crate::handshake::cookie::COOKIE_LEN;
use crate::handshake::exchange::Initiator;
use crate::handshake::messages::{
    HELLO_LEN, HelloId, Mac1Key, RejectCode, ServerMessage, hello, hello_head, prologue,
};
use crate::handshake::payload::{ClientPayload, SERVER_PAYLOAD_LEN, ServerPayload};
use crate::{CookieSecret, PublicKey, StaticKeys};

struct Counting(u64);

impl Entropy for Counting {
    fn fill(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (self.0 ^ (self.0 >> 31)).wrapping_mul(0x94d0_49bb_1331_11eb);
            chunk.copy_from_slice(&mixed.to_le_bytes()[..chunk.len()]);
        }
    }
}

/// A HELLO of which everything can be wrong.
#[derive(Clone)]
struct Craft {
    keys: StaticKeys,
    claimed: PeerId,
    pin: PublicKey,
    cookie: [u8; COOKIE_LEN],
    hello_id: HelloId,
    payload: ClientPayload,
}

impl Craft {
    fn new(secret: u8) -> Self {
        let keys = StaticKeys::from_secret([secret; 32]);
        Self {
            claimed: keys.peer_id(),
            keys,
            pin: server_keys().public(),
            cookie: [0; COOKIE_LEN],
            hello_id: [secret; 16],
            payload: ClientPayload {
                idle_timeout_s: 0,
                max_ack_delay_ms: 20,
                max_message: 1_100,
                psk_id: 0,
                versions: vec![VERSION],
            },
        }
    }

    fn without_cookie(&self) -> [u8; HELLO_LEN] {
        let head = hello_head(self.claimed, &[0; COOKIE_LEN], 0, &self.hello_id);
        hello(&head, &Mac1Key::of(&self.pin), &[])
    }

    fn with_cookie(&self) -> ([u8; HELLO_LEN], Initiator) {
        let payload = self.payload.encode();
        let mut message = vec![0; 96 + payload.len()];
        let head = hello_head(
            self.claimed,
            &self.cookie,
            message.len() as u16,
            &self.hello_id,
        );
        let initiator = Initiator::begin(
            &self.keys,
            &self.pin,
            &[0; 32],
            &prologue(self.pin.peer_id(), &head),
            &mut Counting(77),
            &payload,
            &mut message,
        )
        .unwrap();
        (hello(&head, &Mac1Key::of(&self.pin), &message), initiator)
    }
}

struct Bench {
    server: ServerEndpoint,
    now: Now,
}

impl Bench {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut ServerConfig)) -> Self {
        let mut config = ServerConfig::new(server_keys(), CookieSecret::new(&mut Counting(1)));
        change(&mut config);
        Self {
            server: ServerEndpoint::new(config, Box::new(Counting(2))),
            now: Now {
                monotonic: Monotonic(5_000_000),
                wall_us: 0,
            },
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now.plus(time);
        self.server.handle_timeout(self.now);
    }

    /// Hands a datagram in and answers what comes back, which goes only to the sender.
    fn ask(&mut self, from: SocketAddr, datagram: &[u8]) -> Option<Vec<u8>> {
        self.server
            .handle_datagram(self.now, from, &mut datagram.to_vec());
        let mut out = Vec::new();
        let transmit = self.server.poll_transmit(self.now, &mut out)?;
        assert_eq!(transmit, Transmit::single(from, out.len()));
        assert!(out.len() <= ACCEPTED_LEN, "{}", out.len());
        assert_eq!(self.server.poll_transmit(self.now, &mut out), None);
        Some(out)
    }

    fn fetch_cookie(&mut self, craft: &mut Craft) {
        let answer = self.ask(here(), &craft.without_cookie()).unwrap();
        let (_, ServerMessage::Retry(cookie)) = read(&answer) else {
            panic!("not a RETRY");
        };
        craft.cookie = *cookie;
    }

    /// Hands in a HELLO with a fresh cookie and answers the ACCEPT's payload.
    fn accept(&mut self, craft: &mut Craft) -> ServerPayload {
        self.fetch_cookie(craft);
        let (datagram, initiator) = craft.with_cookie();
        let answer = self.ask(here(), &datagram).unwrap();
        open(&answer, initiator)
    }

    fn count(&self, counter: Counter) -> u64 {
        self.server.counters().count(counter)
    }
}

const ACCEPTED_LEN: usize = 136;

fn server_keys() -> StaticKeys {
    StaticKeys::from_secret([0x11; 32])
}

fn here() -> SocketAddr {
    "192.0.2.9:4242".parse().unwrap()
}

fn read(answer: &[u8]) -> (&HelloId, ServerMessage<'_>) {
    ServerMessage::parse(Header::parse(answer).unwrap(), answer).unwrap()
}

fn open(answer: &[u8], initiator: Initiator) -> ServerPayload {
    let (_, ServerMessage::Accept(message)) = read(answer) else {
        panic!("not an ACCEPT");
    };
    let mut payload = [0; SERVER_PAYLOAD_LEN];
    initiator.finish(message, &mut payload).unwrap();
    ServerPayload::decode(&payload)
}

#[test]
fn nothing_is_stored_for_an_address_that_proved_nothing() {
    let mut bench = Bench::new();
    for n in 0..200_u8 {
        let answer = bench
            .ask(here(), &Craft::new(n.max(1)).without_cookie())
            .unwrap();
        assert_eq!(answer.len(), 79);
    }
    assert_eq!((bench.server.half_opens(), bench.server.sessions()), (0, 0));
    assert_eq!(bench.count(Counter::Retried), 200);
}

#[test]
fn only_one_length_is_a_hello() {
    let mut bench = Bench::new();
    let mut whole = Craft::new(1).without_cookie().to_vec();
    whole.resize(1_500, 0);
    for len in (0..=1_500).filter(|len| *len != HELLO_LEN) {
        assert_eq!(bench.ask(here(), &whole[..len]), None, "length {len}");
    }
    assert!(bench.ask(here(), &whole[..HELLO_LEN]).is_some());
}

#[test]
fn a_cookie_of_somebody_else_gets_another_retry() {
    let mut bench = Bench::new();
    let mut craft = Craft::new(1);
    bench.fetch_cookie(&mut craft);
    let elsewhere = "192.0.2.9:4243".parse().unwrap();
    let (datagram, _) = craft.with_cookie();
    assert_eq!(bench.ask(elsewhere, &datagram).unwrap().len(), 79);

    let mut other_attempt = craft.clone();
    other_attempt.hello_id = [9; 16];
    let mut other_client = Craft::new(2);
    other_client.cookie = craft.cookie;
    other_client.hello_id = craft.hello_id;
    for wrong in [other_attempt, other_client] {
        let (datagram, _) = wrong.with_cookie();
        assert_eq!(bench.ask(here(), &datagram).unwrap().len(), 79);
    }
    bench.pass(Duration::from_secs(11));
    let (datagram, _) = craft.with_cookie();
    assert_eq!(bench.ask(here(), &datagram).unwrap().len(), 79, "too old");
    assert_eq!(bench.server.half_opens(), 0);
}

#[test]
fn a_wrong_server_key_gets_silence() {
    let mut bench = Bench::new();
    let mut craft = Craft::new(1);
    craft.pin = StaticKeys::from_secret([0x22; 32]).public();
    assert_eq!(bench.ask(here(), &craft.without_cookie()), None);
    assert_eq!(bench.count(Counter::WrongServerKey), 1);
}

#[test]
fn a_previous_server_key_is_taken_and_answers_under_its_own_name() {
    let previous = StaticKeys::from_secret([0x22; 32]);
    let mut bench = Bench::with(|config| config.previous_keys = Some(previous.clone()));
    let mut craft = Craft::new(1);
    craft.pin = previous.public();
    assert_eq!(bench.accept(&mut craft).status, 1);
    let answer = bench.ask(here(), &craft.without_cookie()).unwrap();
    assert_eq!(Header::parse(&answer).unwrap().sender, previous.peer_id());
}

#[test]
fn other_versions_get_a_hint_and_version_0_gets_none() {
    let mut bench = Bench::new();
    let mut datagram = Craft::new(1).without_cookie();
    datagram[0] = 2;
    let answer = bench.ask(here(), &datagram).unwrap();
    assert!(answer.len() < 64);
    assert_eq!(read(&answer).1, ServerMessage::Versions(&[1]));
    datagram[0] = 0;
    assert_eq!(bench.ask(here(), &datagram), None);

    datagram[0] = 9;
    let hints = (0..1_000)
        .filter(|_| bench.ask(here(), &datagram).is_some())
        .count();
    assert!((1..=100).contains(&hints), "{hints}");
}

#[test]
fn a_uuid_of_another_key_is_refused_and_leaves_no_trace() {
    let mut bench = Bench::new();
    let mut victim = Craft::new(1);
    assert_eq!(bench.accept(&mut victim).status, 1);

    bench.pass(Duration::from_millis(5));
    let mut thief = Craft::new(2);
    thief.claimed = victim.claimed;
    let answer = bench.accept(&mut thief);
    assert_eq!((answer.status, answer.detail), (4, 0x0208));
    assert_eq!((answer.session, answer.live), (0, [0; 8]));
    // The victim's handshake is untouched: its HELLO is still the one that was answered.
    let (again, initiator) = victim.with_cookie();
    let answer = bench.ask(here(), &again).unwrap();
    assert_eq!(open(&answer, initiator).status, 1);
    assert_eq!(bench.server.half_opens(), 1);
}

#[test]
fn a_repeated_hello_gets_the_same_answer_and_an_older_one_none() {
    let mut bench = Bench::new();
    let mut first = Craft::new(1);
    bench.fetch_cookie(&mut first);
    let mut same_moment = first.clone();
    same_moment.hello_id = [8; 16];
    bench.fetch_cookie(&mut same_moment);
    bench.pass(Duration::from_millis(3));
    let mut newer = first.clone();
    newer.hello_id = [7; 16];
    bench.fetch_cookie(&mut newer);

    let (datagram, _) = first.with_cookie();
    let answer = bench.ask(here(), &datagram).unwrap();
    assert_eq!(bench.ask(here(), &datagram), Some(answer));
    // A client that begins anew within one moment is not left to wait for its next attempt.
    assert!(bench.ask(here(), &same_moment.with_cookie().0).is_some());
    assert_eq!(bench.ask(here(), &datagram), None, "older by a moment");

    assert!(bench.ask(here(), &newer.with_cookie().0).is_some());
    assert_eq!(bench.ask(here(), &datagram), None, "older than the newest");
    assert_eq!(bench.server.half_opens(), 1, "one per UUID");
    assert_eq!(bench.count(Counter::StaleHello), 2);
    assert_eq!(bench.count(Counter::RepeatedHello), 1);
}

#[test]
fn half_opens_are_bounded_in_number_and_age() {
    let mut bench = Bench::with(|config| config.half_opens_max = 8);
    for n in 1..=20 {
        assert_eq!(bench.accept(&mut Craft::new(n)).status, 1);
        assert!(bench.server.half_opens() <= 8);
    }
    assert_eq!(bench.count(Counter::HalfOpenExpired), 12);
    assert!(bench.server.poll_timeout().is_some());
    bench.pass(HALF_OPEN_LIFE);
    assert_eq!(bench.server.half_opens(), 0);
    assert_eq!(bench.server.poll_timeout(), None);
}

#[test]
fn a_bit_flipped_anywhere_in_a_hello_is_never_accepted() {
    let mut bench = Bench::new();
    let mut craft = Craft::new(1);
    bench.fetch_cookie(&mut craft);
    let (datagram, initiator) = craft.with_cookie();
    let meaningful = 97 + 96 + craft.payload.encode().len();
    for at in 0..meaningful {
        let mut bent = datagram;
        bent[at] ^= 1 << (at % 8);
        if let Some(answer) = bench.ask(here(), &bent) {
            assert_ne!(
                Header::parse(&answer).unwrap().opcode,
                Opcode::ACCEPT,
                "{at}"
            );
        }
        assert_eq!(bench.server.half_opens(), 0, "byte {at}");
    }
    // What follows is padding, which nobody inspects.
    let mut bent = datagram;
    bent[HELLO_LEN - 1] ^= 1;
    let answer = bench.ask(here(), &bent).unwrap();
    assert_eq!(open(&answer, initiator).status, 1);
}

#[test]
fn an_exchange_of_an_impossible_length_is_dropped() {
    let mut bench = Bench::new();
    let mut craft = Craft::new(1);
    bench.fetch_cookie(&mut craft);
    for len in [0, 1, 95, 1_104, u16::MAX] {
        let head = hello_head(craft.claimed, &craft.cookie, len, &craft.hello_id);
        let datagram = hello(&head, &Mac1Key::of(&craft.pin), &[]);
        assert_eq!(bench.ask(here(), &datagram), None, "length {len}");
    }
    assert_eq!(bench.count(Counter::HelloWithoutExchange), 5);
}

#[test]
fn versions_that_do_not_fit_are_refused() {
    // The other version is one that this server does not speak, so the best common one is still the one in use.
    for (versions, expected) in [
        (vec![], (4, 0x0207)),
        (vec![2, 3], (4, 0x0207)),
        (vec![2, 1], (1, 0)),
    ] {
        let mut bench = Bench::new();
        let mut craft = Craft::new(1);
        craft.payload.versions = versions;
        let answer = bench.accept(&mut craft);
        assert_eq!((answer.status, answer.detail), expected);
    }
}

#[test]
fn a_server_that_takes_nobody_says_so() {
    let mut bench = Bench::new();
    bench.server.set_availability(Availability::Draining);
    let answer = bench.accept(&mut Craft::new(1));
    assert_eq!((answer.status, answer.detail), (5, 0x0108));

    let refused = |bench: &mut Bench| {
        let mut craft = Craft::new(3);
        bench.fetch_cookie(&mut craft);
        let answer = bench.ask(here(), &craft.with_cookie().0).unwrap();
        let (_, ServerMessage::Reject(code)) = read(&answer) else {
            panic!("not a REJECT");
        };
        code
    };
    bench.server.set_availability(Availability::Offline);
    assert_eq!(refused(&mut bench), RejectCode::Offline);
    let mut full = Bench::with(|config| config.sessions_max = 0);
    assert_eq!(refused(&mut full), RejectCode::Full);
    // Whoever has not confirmed keeps nobody out.
    let mut opening = Bench::with(|config| config.sessions_max = 1);
    for n in 1..=3 {
        assert_eq!(opening.accept(&mut Craft::new(n)).status, 1);
    }
    let mut slow = Bench::with(|config| config.handshakes_per_second = 1);
    slow.accept(&mut Craft::new(1));
    assert_eq!(refused(&mut slow), RejectCode::SlowDown);
}

#[test]
fn a_server_that_ended_takes_no_late_confirmation() {
    let mut bench = Bench::new();
    bench.accept(&mut Craft::new(1));
    bench.server.close_all(bench.now, CloseCode::SHUTTING_DOWN);
    assert_eq!((bench.server.half_opens(), bench.server.sessions()), (0, 0));
    assert_eq!(bench.server.poll_timeout(), None);
}

#[test]
fn wishes_are_granted_within_the_servers_bounds() {
    for (wish, granted) in [(0, 15), (1, 3), (10, 10), (600, 15)] {
        let mut bench = Bench::new();
        let mut craft = Craft::new(1);
        craft.payload.idle_timeout_s = wish;
        let answer = bench.accept(&mut craft);
        assert_eq!(answer.idle_timeout_s, granted);
        assert!(answer.keepalive_s * 3 <= granted.max(3));
        assert!(answer.session < 64);
    }
}

#[test]
fn a_forged_first_datagram_leaves_the_handshake_as_it_was() {
    let mut bench = Bench::new();
    let mut craft = Craft::new(1);
    let number = bench.accept(&mut craft).session;
    for session in 0..64 {
        let mut forged = Header {
            version: VERSION,
            sender: craft.claimed,
            opcode: Opcode::CONTROL,
        }
        .encode()
        .to_vec();
        forged.extend_from_slice(
            &ProtectedPrefix {
                epoch: 0,
                session,
                packet_number: 1,
            }
            .encode(),
        );
        forged.resize(80, 0xaa);
        assert_eq!(bench.ask(here(), &forged), None);
    }
    assert_eq!((bench.server.half_opens(), bench.server.sessions()), (1, 0));
    assert_eq!(bench.count(Counter::Unconfirmed), 1, "number {number}");
    assert_eq!(bench.count(Counter::UnknownSession), 63);
}

proptest! {
    #[test]
    fn any_bytes_are_taken_without_panic_and_without_trace(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..1500),
        opcode in prop_oneof![Just(0_u16), Just(0xE0), 0xE0_u16..0xF0, any::<u16>()],
        canonical: bool,
        exact: bool,
    ) {
        if exact {
            bytes.resize(HELLO_LEN, 3);
        }
        if canonical && bytes.len() >= 39 {
            let header = Header { version: VERSION, sender: PeerId::default(), opcode: Opcode(opcode) };
            bytes[..39].copy_from_slice(&header.encode());
        }
        let mut bench = Bench::new();
        let _ = bench.ask(here(), &bytes);
        prop_assert_eq!((bench.server.half_opens(), bench.server.sessions()), (0, 0));
    }
}
