//! Both ends of a handshake with whatever may come: a server that strangers talk to, payloads that a proven peer makes up, a client that anybody answers.

use core::time::Duration;
use std::net::SocketAddr;

use super::{Fixed, Input};
use crate::handshake::cookie::COOKIE_LEN;
use crate::handshake::exchange::{Initiator, MESSAGE_1_OVERHEAD, Responder};
use crate::handshake::messages::{
    Hello, HelloId, MESSAGE_1_LEN_MAX, Mac1Key, ServerMessage, accept, hello as hello_datagram,
    hello_head, prologue,
};
use crate::handshake::payload::{ClientPayload, SERVER_PAYLOAD_LEN, ServerPayload};
use crate::{
    ASSOCIATED_LEN, AesPacketKey, ClientConfig, ClientEndpoint, ClientEvent, CookieSecret,
    DATAGRAM_LEN_MAX, HEADER_LEN, Header, Monotonic, Now, Opcode, PacketKey, PeerId,
    ProtectedPrefix, ServerConfig, ServerEndpoint, StaticKeys, VERSION,
};

/// Steps of one input: enough for every order of few, and soon over.
const STEPS_MAX: usize = 32;
/// Timers that may be due before something must have happened.
const TIMERS_MAX: usize = 200;

const START: Now = Now {
    monotonic: Monotonic(5_000_000),
    wall_us: 1_700_000_000_000_000,
};

fn server_keys() -> StaticKeys {
    StaticKeys::from_secret([0x11; 32])
}

fn client_keys() -> StaticKeys {
    StaticKeys::from_secret([0x44; 32])
}

fn here() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 9], 4_242))
}

fn there() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 7_777))
}

fn server() -> ServerEndpoint {
    let config = ServerConfig::new(server_keys(), CookieSecret::new(&mut Fixed(1)));
    ServerEndpoint::new(config, Box::new(Fixed(2)))
}

/// Hands a datagram in and answers what comes back, which is never more than came.
fn ask(server: &mut ServerEndpoint, now: Now, datagram: &[u8]) -> Option<Vec<u8>> {
    server.handle_datagram(now, here(), &mut datagram.to_vec());
    let mut out = Vec::new();
    let transmit = server.poll_transmit(now, &mut out)?;
    assert_eq!((transmit.to, transmit.len), (here(), out.len()));
    assert!(out.len() <= datagram.len(), "an answer reflects nothing");
    Some(out)
}

/// The cookie that the server gives to this attempt.
fn cookie(server: &mut ServerEndpoint, now: Now, hello_id: &HelloId) -> [u8; COOKIE_LEN] {
    let head = hello_head(client_keys().peer_id(), &[0; COOKIE_LEN], 0, hello_id);
    let datagram = hello_datagram(&head, &Mac1Key::of(&server_keys().public()), &[]);
    let answer = ask(server, now, &datagram);
    let answer = answer.as_deref().unwrap_or_default();
    let parsed = Header::parse(answer).and_then(|header| ServerMessage::parse(header, answer));
    match parsed {
        Some((_, ServerMessage::Retry(cookie))) => *cookie,
        other => unreachable!("a server asks back: {other:?}"),
    }
}

/// A HELLO with a cookie whose key exchange is right and carries this payload.
fn proven_hello(
    hello_id: &HelloId,
    cookie: &[u8; COOKIE_LEN],
    payload: &[u8],
) -> Option<(Vec<u8>, Initiator)> {
    let (client, server) = (client_keys(), server_keys().public());
    let mut message = vec![0; MESSAGE_1_OVERHEAD + payload.len()];
    let len = u16::try_from(message.len()).ok()?;
    let head = hello_head(client.peer_id(), cookie, len, hello_id);
    let initiator = Initiator::begin(
        &client,
        &server,
        &[0; 32],
        &prologue(server.peer_id(), &head),
        &mut Fixed(3),
        payload,
        &mut message,
    )?;
    let datagram = hello_datagram(&head, &Mac1Key::of(&server), &message);
    Some((datagram.to_vec(), initiator))
}

/// A server that strangers and copiers talk to: it never gets a session from it, and holds one handshake at most, because one client asks.
pub fn hello(bytes: &[u8]) {
    let mut input = Input(bytes);
    let mut server = server();
    let mut now = START;
    let mut held = [0; COOKIE_LEN];
    let key = Mac1Key::of(&server_keys().public());
    for _ in 0..STEPS_MAX {
        if input.is_empty() {
            break;
        }
        let hello_id = [input.u8() % 4; 16];
        match input.u8() % 7 {
            0 => {
                let len = usize::from(input.u16()) % 1_600;
                ask(&mut server, now, input.bytes(len));
            }
            1 => held = cookie(&mut server, now, &hello_id),
            2 => {
                let len = input.u16();
                let noise = input.bytes(usize::from(len).min(MESSAGE_1_LEN_MAX));
                let head = hello_head(client_keys().peer_id(), &held, len, &hello_id);
                ask(&mut server, now, &hello_datagram(&head, &key, noise));
            }
            3 => {
                let (at, bits) = (usize::from(input.u16()), input.u8());
                if let Some((mut datagram, _)) = proven_hello(&hello_id, &held, &wishes()) {
                    let at = at % datagram.len();
                    datagram[at] ^= bits;
                    ask(&mut server, now, &datagram);
                }
            }
            4 => {
                now = now.plus(Duration::from_millis(u64::from(input.u16())));
                server.handle_timeout(now);
            }
            5 => {
                let prefix = ProtectedPrefix {
                    epoch: 0,
                    session: input.u8() % 64,
                    packet_number: input.u64() >> 2,
                };
                let opcode = Opcode(input.u16());
                let header = header(VERSION, client_keys().peer_id(), opcode);
                let len = usize::from(input.u16()) % 1_200;
                let datagram = [&header[..], &prefix.encode(), input.bytes(len)].concat();
                ask(&mut server, now, &datagram);
            }
            _ => {
                let header = header(input.u8(), client_keys().peer_id(), Opcode::HELLO);
                let mut datagram = header.to_vec();
                datagram.extend_from_slice(input.bytes(DATAGRAM_LEN_MAX - HEADER_LEN));
                datagram.resize(DATAGRAM_LEN_MAX, 0);
                ask(&mut server, now, &datagram);
            }
        }
        assert_eq!(server.sessions(), 0);
        assert!(server.half_opens() <= 1);
    }
}

/// What a proven client wishes, or a proven server answers, byte for byte as it likes.
pub fn noise_payload(bytes: &[u8]) {
    let Some((side, payload)) = bytes.split_first() else {
        return;
    };
    if side % 2 == 0 {
        let payload = &payload[..payload.len().min(MESSAGE_1_LEN_MAX - MESSAGE_1_OVERHEAD)];
        wished(payload);
    } else {
        let mut answer = [0; SERVER_PAYLOAD_LEN];
        let len = payload.len().min(SERVER_PAYLOAD_LEN);
        answer[..len].copy_from_slice(&payload[..len]);
        let read = ServerPayload::decode(&answer);
        assert_eq!(ServerPayload::decode(&read.encode()), read);
        answered(&answer);
    }
}

fn wished(payload: &[u8]) {
    if let Some(read) = ClientPayload::decode(payload) {
        let mut again = read.encode();
        // Neither the flags, nor versions above eight, nor what later revisions append are written again.
        let known = again.len().min(payload.len());
        again[..2].copy_from_slice(&payload[..2]);
        if read.versions.len() <= 8 {
            assert_eq!(again[..known], payload[..known]);
        }
    }
    let mut server = server();
    let cookie = cookie(&mut server, START, &[7; 16]);
    let Some((datagram, initiator)) = proven_hello(&[7; 16], &cookie, payload) else {
        unreachable!("the payload fits");
    };
    let Some(answer) = ask(&mut server, START, &datagram) else {
        return;
    };
    let parsed = Header::parse(&answer).and_then(|header| ServerMessage::parse(header, &answer));
    let Some((_, ServerMessage::Accept(message))) = parsed else {
        return;
    };
    let mut read = [0; SERVER_PAYLOAD_LEN];
    let Ok(secrets) = initiator.finish(message, &mut read) else {
        unreachable!("the server wrote it");
    };
    let granted = ServerPayload::decode(&read);
    if granted.status != 1 {
        return;
    }
    // Confirmed by its first datagram, a PING, the session lives and its timers move on.
    let prefix = ProtectedPrefix {
        epoch: 0,
        session: granted.session,
        packet_number: 1,
    };
    let header = header(VERSION, client_keys().peer_id(), Opcode::CONTROL);
    let mut datagram = [&header[..], &prefix.encode(), &[1]].concat();
    let (clear, frames) = datagram.split_at_mut(ASSOCIATED_LEN);
    let tag = AesPacketKey::derive(&secrets.client_to_server).seal(1, clear, frames);
    datagram.extend(tag);
    server.handle_datagram(START, here(), &mut datagram);
    assert_eq!((server.sessions(), server.half_opens()), (1, 0));
    let mut now = START;
    let mut out = Vec::new();
    for _ in 0..TIMERS_MAX {
        while server.poll_event().is_some() {}
        while server.poll_transmit(now, &mut out).is_some() {
            out.clear();
        }
        let Some(next) = server.poll_timeout() else {
            break;
        };
        now = now.plus(next.since(now.monotonic));
        server.handle_timeout(now);
    }
    assert_eq!(server.sessions(), 0, "a silent client is gone after all");
}

fn answered(answer: &[u8; SERVER_PAYLOAD_LEN]) {
    let (mut client, mut server) = (client(), server());
    client.connect(START);
    let mut out = Vec::new();
    assert!(client.poll_transmit(START, &mut out).is_some());
    if let Some(mut retry) = ask(&mut server, START, &out) {
        client.handle_datagram(START, there(), &mut retry);
    }
    out.clear();
    assert!(client.poll_transmit(START, &mut out).is_some());
    // Another server of the same key answers, and says what it likes.
    let Some((noise, hello)) =
        Hello::parse(client_keys().peer_id(), &out).and_then(|hello| Some((hello.noise()?, hello)))
    else {
        unreachable!("the client has a cookie");
    };
    let keys = server_keys();
    let responder = Responder::read(
        &keys,
        &[0; 32],
        &prologue(keys.peer_id(), hello.head),
        &mut Fixed(5),
        noise,
        &mut Vec::new(),
    );
    let mut accepted = accept(keys.peer_id(), hello.hello_id);
    let message = &mut accepted[HEADER_LEN + 18..];
    if responder
        .and_then(|responder| responder.write(answer, message))
        .is_none()
    {
        unreachable!("the client wrote it");
    }
    client.handle_datagram(START, there(), &mut accepted);
    let mut now = START;
    for _ in 0..TIMERS_MAX {
        while client.poll_event().is_some() {}
        out.clear();
        while client.poll_transmit(now, &mut out).is_some() {
            out.clear();
        }
        let Some(next) = client.poll_timeout() else {
            break;
        };
        now = now.plus(next.since(now.monotonic));
        client.handle_timeout(now);
    }
}

fn client() -> ClientEndpoint {
    let config = ClientConfig::new(client_keys(), there(), server_keys().public());
    ClientEndpoint::new(config, Box::new(Fixed(9)))
}

/// A client that anybody answers: without the server's key nobody gets it a session, and nobody ends its attempt before its time.
pub fn retry_accept(bytes: &[u8]) {
    let mut input = Input(bytes);
    let mut client = client();
    let mut now = START;
    client.connect(now);
    let mut hello_id = [0; 16];
    let mut out = Vec::new();
    for _ in 0..STEPS_MAX {
        while client.poll_transmit(now, &mut out).is_some() {
            assert_eq!(out.len(), DATAGRAM_LEN_MAX);
            hello_id.copy_from_slice(&out[65..81]);
            out.clear();
        }
        if input.is_empty() {
            break;
        }
        let kind = input.u8();
        let opcode = Opcode(0x00E0 + u16::from(kind & 7));
        let version = if kind & 0x08 == 0 { VERSION } else { 0 };
        let mut datagram = header(version, server_keys().peer_id(), opcode).to_vec();
        match kind >> 4 {
            0 => {
                now = now.plus(Duration::from_millis(u64::from(input.u16()) % 2_000));
                client.handle_timeout(now);
                continue;
            }
            1 => datagram = input.bytes(1_500).to_vec(),
            2 => datagram.extend_from_slice(input.bytes(200)),
            kind => {
                datagram.extend_from_slice(&hello_id);
                // As long as a message of this kind is, or of another length.
                let len = match (opcode, kind % 2) {
                    (Opcode::RETRY, 0) => 24,
                    (Opcode::ACCEPT, 0) => {
                        datagram.extend_from_slice(&79_u16.to_be_bytes());
                        79
                    }
                    (Opcode::REJECT, 0) => 2,
                    _ => usize::from(input.u8()),
                };
                datagram.extend_from_slice(input.bytes(len));
            }
        }
        client.handle_datagram(now, there(), &mut datagram);
        while let Some(event) = client.poll_event() {
            let lasted = now.monotonic.since(START.monotonic);
            let over = matches!(event, ClientEvent::Failed(_)) && lasted >= Duration::from_secs(5);
            assert!(over, "{event:?} after {lasted:?}");
        }
    }
}

/// What an honest client of ours says of itself.
fn wishes() -> Vec<u8> {
    let wishes = ClientPayload {
        idle_timeout_s: 0,
        max_ack_delay_ms: 20,
        max_message: 1_100,
        psk_id: 0,
        versions: vec![VERSION],
    };
    wishes.encode()
}

fn header(version: u8, sender: PeerId, opcode: Opcode) -> [u8; HEADER_LEN] {
    let header = Header {
        version,
        sender,
        opcode,
    };
    header.encode()
}
