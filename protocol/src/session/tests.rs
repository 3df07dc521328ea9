//! Two sessions over a network in memory, under virtual time: exactly once, in order, and small, whatever the network does.

mod delivery;
mod golden;
mod hostile;
mod life;
mod network;

use core::time::Duration;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use super::*;
use crate::TAG_LEN;

/// A key that hides nothing, checks everything, and fails when a number is sealed twice.
#[derive(Clone, Debug, Default)]
struct RecordingKey {
    sealed: Arc<Mutex<BTreeSet<u64>>>,
}

impl RecordingKey {
    fn tag(number: u64, clear: &[u8], frames: &[u8]) -> [u8; TAG_LEN] {
        let bytes = number.to_be_bytes();
        let all = bytes.iter().chain(clear).chain(frames);
        let mixed = all.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let mut tag = [0x5a; TAG_LEN];
        tag[..8].copy_from_slice(&mixed.to_be_bytes());
        tag
    }
}

impl PacketKey for RecordingKey {
    fn derive(_: &[u8; 32]) -> Self {
        Self::default()
    }

    fn seal(&self, number: u64, clear: &[u8], frames: &mut [u8]) -> [u8; TAG_LEN] {
        assert!(
            self.sealed.lock().unwrap().insert(number),
            "number {number} sealed twice"
        );
        Self::tag(number, clear, frames)
    }

    fn open(&self, number: u64, clear: &[u8], frames: &mut [u8], tag: &[u8; TAG_LEN]) -> bool {
        Self::tag(number, clear, frames) == *tag
    }
}

type TestSession = Session<RecordingKey>;

const SECOND: Duration = Duration::from_secs(1);

fn at(ms: u64) -> Monotonic {
    Monotonic(ms * 1_000)
}

fn session(role: Role, handshake_rtt: Option<Duration>) -> TestSession {
    let ids = [PeerId::from_bytes([1; 16]), PeerId::from_bytes([2; 16])];
    let [local, peer] = match role {
        Role::Client => ids,
        Role::Server => [ids[1], ids[0]],
    };
    let setup = SessionSetup {
        role,
        local,
        peer,
        number: 37,
        seal: RecordingKey::default(),
        open: RecordingKey::default(),
        peer_max_message: 1_100,
        peer_max_ack_delay: Duration::from_millis(20),
        max_ack_delay: Duration::from_millis(20),
        idle_timeout: 15 * SECOND,
        keepalive: 5 * SECOND,
        away: 60 * SECOND,
        handshake_rtt,
        skip_seed: 99,
    };
    Session::new(setup, Monotonic(0))
}

fn outgoing(mode: Mode, channel: u8, body: &[u8]) -> Outgoing {
    Outgoing {
        opcode: Opcode(0x0123),
        version: 1,
        channel,
        mode,
        body: Bytes::copy_from_slice(body),
    }
}

/// A datagram of the client with these frames, sealed as its session would.
fn sealed(number: u64, opcode: Opcode, frames: &[u8]) -> Vec<u8> {
    let header = Header {
        version: VERSION,
        sender: PeerId::from_bytes([1; 16]),
        opcode,
    };
    let prefix = ProtectedPrefix {
        epoch: 0,
        session: 37,
        packet_number: number,
    };
    let mut datagram = [&header.encode()[..], &prefix.encode(), frames].concat();
    let tag = RecordingKey::tag(number, &datagram[..48], frames);
    datagram.extend(tag);
    datagram
}

/// Everything that `session` has to send now, one datagram each.
fn transmit(session: &mut TestSession, now: Monotonic) -> Vec<Vec<u8>> {
    let mut datagrams = Vec::new();
    let mut out = Vec::new();
    while session.poll_transmit(now, &mut out) {
        assert!((64..=1_200).contains(&out.len()), "{} bytes", out.len());
        datagrams.push(core::mem::take(&mut out));
        assert!(datagrams.len() < 10_000, "it never ends");
    }
    assert!(out.is_empty());
    datagrams
}

fn deliver(session: &mut TestSession, now: Monotonic, datagrams: Vec<Vec<u8>>) {
    for mut datagram in datagrams {
        assert_eq!(session.handle_datagram(now, &mut datagram), Ok(()));
    }
}

fn events(session: &mut TestSession) -> Vec<SessionEvent> {
    core::iter::from_fn(|| session.poll_event()).collect()
}

fn bodies(events: &[SessionEvent]) -> Vec<&[u8]> {
    let bodies = events.iter().filter_map(|event| match event {
        SessionEvent::Message { body, .. } | SessionEvent::Response { body, .. } => Some(&body[..]),
        SessionEvent::Alive { .. }
        | SessionEvent::Away
        | SessionEvent::Back
        | SessionEvent::Closed { .. } => None,
    });
    bodies.collect()
}

/// A client and a server that have heard each other, `now` at a second, nothing in flight.
fn pair() -> (TestSession, TestSession) {
    let mut client = session(Role::Client, Some(Duration::from_millis(10)));
    let mut server = session(Role::Server, Some(Duration::from_millis(10)));
    deliver(&mut server, at(990), transmit(&mut client, at(985)));
    deliver(&mut client, at(1_000), transmit(&mut server, at(995)));
    assert_eq!(events(&mut client).len() + events(&mut server).len(), 2);
    assert_eq!(client.in_flight() + server.in_flight(), 0);
    (client, server)
}
