//! Whole datagrams of `protocol/vectors/datagrams.json`, as two sessions say them. A failure means that the wire changed.

use serde_json::Value;

use super::*;

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../../vectors/datagrams.json")).unwrap()
}

fn bytes(hex: &Value) -> Vec<u8> {
    let digits = hex.as_str().unwrap().as_bytes().chunks_exact(2);
    digits
        .map(|pair| u8::from_str_radix(core::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// Both ends of the session that the datagrams belong to.
fn ends(vectors: &Value, golden: &[Vec<u8>]) -> (Session, Session) {
    let key = |name: &str| AesPacketKey::derive(&bytes(&vectors[name]).try_into().unwrap());
    let sender = |n: usize| Header::parse(&golden[n]).unwrap().sender;
    let setup = |role, local, peer, seal, open| SessionSetup {
        role,
        local: sender(local),
        peer: sender(peer),
        number: 37,
        seal: key(seal),
        open: key(open),
        peer_max_message: 1_100,
        peer_max_ack_delay: Duration::from_millis(20),
        max_ack_delay: Duration::from_millis(20),
        idle_timeout: 15 * SECOND,
        keepalive: 5 * SECOND,
        away: 60 * SECOND,
        handshake_rtt: None,
        skip_seed: 0,
    };
    let client = setup(Role::Client, 0, 1, "k_c2s", "k_s2c");
    let server = setup(Role::Server, 1, 0, "k_s2c", "k_c2s");
    (Session::new(client, at(0)), Session::new(server, at(0)))
}

#[test]
fn two_sessions_say_the_golden_datagrams() {
    let vectors = vectors();
    let golden: Vec<Vec<u8>> = vectors["datagrams"]
        .as_array()
        .unwrap()
        .iter()
        .map(|vector| bytes(&vector["datagram"]))
        .collect();
    let (mut client, mut server) = ends(&vectors, &golden);
    let now = at(0);
    let get = Outgoing {
        opcode: Opcode::GET,
        version: 0,
        channel: 0,
        mode: Mode::ReliableOrdered,
        body: Bytes::from_static(b"\x00\x01k"),
    };
    let request = client.request(now, get).unwrap();
    let mut out = Vec::new();
    assert!(client.poll_transmit(now, &mut out));
    assert_eq!(out, golden[0]);

    assert_eq!(server.handle_datagram(now, &mut out), Ok(()));
    assert!(matches!(
        server.poll_event(),
        Some(SessionEvent::Alive { .. })
    ));
    let Some(SessionEvent::Message {
        request: Some(context),
        ..
    }) = server.poll_event()
    else {
        panic!("no request")
    };
    let outcome = Outcome::of(Detail::NOT_FOUND);
    server.respond(now, context, outcome, Bytes::new()).unwrap();
    let mut out = Vec::new();
    assert!(server.poll_transmit(now, &mut out));
    assert_eq!(out, golden[1]);

    assert_eq!(client.handle_datagram(now, &mut out), Ok(()));
    assert!(matches!(
        client.poll_event(),
        Some(SessionEvent::Alive { .. })
    ));
    let response = SessionEvent::Response {
        request,
        outcome,
        body: Bytes::new(),
    };
    assert_eq!(client.poll_event(), Some(response));
}
