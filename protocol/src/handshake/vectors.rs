//! The golden values of `vectors/handshake.json` and `vectors/rekey.json`, computed again with this crate's code. They were made by an independent implementation of
//! PROTOCOL.md.

use serde_json::Value;

use super::cookie::{COOKIE_LEN, CookieSubject, mac_of};
use super::exchange::{Initiator, Responder};
use super::messages::{
    Hello, MESSAGE_2_LEN, Mac1Key, RejectCode, ServerMessage, accept, hello, hello_head, prologue,
    reject, retry, versions,
};
use super::payload::{ClientPayload, SERVER_PAYLOAD_LEN, ServerPayload};
use crate::{
    ASSOCIATED_LEN, AesPacketKey, DATAGRAM_LEN_MAX, Entropy, Header, PacketKey, PeerId,
    ProtectedPrefix, PublicKey, StaticKeys,
};

struct Fixed([u8; 32]);

impl Entropy for Fixed {
    fn fill(&mut self, out: &mut [u8]) {
        out.copy_from_slice(&self.0[..out.len()]);
    }
}

struct Vectors(Value);

impl Vectors {
    fn load() -> Self {
        Self(serde_json::from_str(include_str!("../../vectors/handshake.json")).unwrap())
    }

    fn of_rekey() -> Self {
        Self(serde_json::from_str(include_str!("../../vectors/rekey.json")).unwrap())
    }

    fn text(&self, path: &str) -> &str {
        self.0.pointer(path).and_then(Value::as_str).unwrap()
    }

    fn bytes(&self, path: &str) -> Vec<u8> {
        unhex(self.text(path))
    }

    fn array<const N: usize>(&self, path: &str) -> [u8; N] {
        self.bytes(path).try_into().unwrap()
    }

    fn padded(&self, path: &str) -> Vec<u8> {
        let mut whole = self.bytes(&format!("{path}/beginning"));
        whole.resize(DATAGRAM_LEN_MAX, 0);
        whole
    }

    fn server(&self) -> StaticKeys {
        StaticKeys::from_secret(self.array("/server/private"))
    }

    fn client(&self) -> StaticKeys {
        StaticKeys::from_secret(self.array("/client/private"))
    }
}

fn unhex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2));
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

#[test]
fn identities_come_out_the_same() {
    let vectors = Vectors::load();
    for side in ["server", "client"] {
        let keys = StaticKeys::from_secret(vectors.array(&format!("/{side}/private")));
        let public = PublicKey::from_bytes(vectors.array(&format!("/{side}/public")));
        assert_eq!(keys.public(), public);
        assert_eq!(
            keys.peer_id().to_string(),
            vectors.text(&format!("/{side}/uuid"))
        );
    }
}

#[test]
fn cookie_and_its_retry_come_out_the_same() {
    let vectors = Vectors::load();
    let hello_id = vectors.array("/hello_id");
    let ip: std::net::IpAddr = vectors.text("/cookie/ip").parse().unwrap();
    let port = vectors.0["cookie"]["port"].as_u64().unwrap();
    let issued_us = vectors.0["cookie"]["issued_us"].as_u64().unwrap();
    let mac = mac_of(
        &vectors.array("/cookie/slot_secret"),
        issued_us,
        CookieSubject {
            address: (ip, u16::try_from(port).unwrap()).into(),
            client: vectors.client().peer_id(),
            hello_id: &hello_id,
        },
    );
    let mut cookie = [0; COOKIE_LEN];
    cookie[..8].copy_from_slice(&issued_us.to_be_bytes());
    cookie[8..].copy_from_slice(&mac);
    assert_eq!(cookie, vectors.array("/cookie/cookie"));
    assert_eq!(
        retry(vectors.server().peer_id(), &hello_id, &cookie)[..],
        vectors.bytes("/retry")
    );
}

#[test]
fn hints_come_out_the_same() {
    let vectors = Vectors::load();
    let (server, hello_id) = (vectors.server().peer_id(), vectors.array("/hello_id"));
    assert_eq!(
        reject(server, &hello_id, RejectCode::SlowDown)[..],
        vectors.bytes("/reject_slow_down")
    );
    assert_eq!(
        versions(server, &hello_id, &[1]),
        vectors.bytes("/versions")
    );
}

#[test]
fn a_hello_without_cookie_comes_out_the_same() {
    let vectors = Vectors::load();
    let key = Mac1Key::of(&vectors.server().public());
    assert_eq!(key.as_bytes(), &vectors.array("/mac1_key"));
    let head = hello_head(
        vectors.client().peer_id(),
        &[0; COOKIE_LEN],
        0,
        &vectors.array("/hello_id"),
    );
    assert_eq!(
        hello(&head, &key, &[])[..],
        vectors.padded("/hello_without_cookie")
    );
}

#[test]
fn the_whole_exchange_comes_out_the_same() {
    let vectors = Vectors::load();
    let (server, client) = (vectors.server(), vectors.client());
    let psk = vectors.array("/psk");
    let payload = vectors.bytes("/hello_payload");
    assert_eq!(ClientPayload::decode(&payload).unwrap().encode(), payload);

    let message_1_len = u16::try_from(payload.len() + 96).unwrap();
    let head = hello_head(
        client.peer_id(),
        &vectors.array("/cookie/cookie"),
        message_1_len,
        &vectors.array("/hello_id"),
    );
    let prologue = prologue(server.peer_id(), &head);
    assert_eq!(prologue[..], vectors.bytes("/prologue"));
    let mut message_1 = vec![0; usize::from(message_1_len)];
    let initiator = Initiator::begin(
        &client,
        &server.public(),
        &psk,
        &prologue,
        &mut Fixed(vectors.array("/client/ephemeral")),
        &payload,
        &mut message_1,
    )
    .unwrap();
    assert_eq!(message_1, vectors.bytes("/noise_message_1"));
    let sent = hello(&head, &Mac1Key::of(&server.public()), &message_1);
    assert_eq!(sent[..], vectors.padded("/hello_with_cookie"));

    let received = Hello::parse(Header::parse(&sent).unwrap().sender, &sent).unwrap();
    let mut read = Vec::new();
    let responder = Responder::read(
        &server,
        &psk,
        &prologue,
        &mut Fixed(vectors.array("/server/ephemeral")),
        received.noise().unwrap(),
        &mut read,
    )
    .unwrap();
    assert_eq!(responder.client, client.public());
    assert_eq!(read, payload);

    let answer: [u8; SERVER_PAYLOAD_LEN] = vectors.array("/accept_payload");
    assert_eq!(ServerPayload::decode(&answer).encode(), answer);
    let mut accepted = accept(server.peer_id(), received.hello_id);
    let theirs = responder.write(&answer, &mut accepted[57..]).unwrap();
    assert_eq!(accepted[..], vectors.bytes("/accept"));

    let (_, message) = ServerMessage::parse(Header::parse(&accepted).unwrap(), &accepted).unwrap();
    let ServerMessage::Accept(message_2) = message else {
        panic!("not an ACCEPT");
    };
    let ours = finish_after_forgeries(initiator, message_2, &answer);
    for secrets in [theirs, ours] {
        assert_eq!(secrets.hash, vectors.array("/handshake_hash"));
        assert_eq!(*secrets.client_to_server, vectors.array("/k_c2s"));
        assert_eq!(*secrets.server_to_client, vectors.array("/k_s2c"));
    }
}

/// The exchange under which a later revision renews its keys is this one, without payloads and under another prologue.
#[test]
fn the_exchange_of_a_rekey_comes_out_the_same() {
    let (first, rekey) = (Vectors::load(), Vectors::of_rekey());
    let (server, client) = (first.server(), first.client());
    let psk = first.array("/psk");
    let epoch = 1_u32.to_be_bytes();
    let hash = first.bytes("/handshake_hash");
    let prologue = [b"cohnect/1 rekey", &hash[..], &epoch].concat();
    assert_eq!(prologue, rekey.bytes("/prologue"));
    let mut message_1 = [0; 96];
    let initiator = Initiator::begin(
        &client,
        &server.public(),
        &psk,
        &prologue,
        &mut Fixed(rekey.array("/client_ephemeral")),
        &[],
        &mut message_1,
    )
    .unwrap();
    assert_eq!(message_1[..], rekey.bytes("/noise_message_1"));
    let responder = Responder::read(
        &server,
        &psk,
        &prologue,
        &mut Fixed(rekey.array("/server_ephemeral")),
        &message_1,
        &mut Vec::new(),
    )
    .unwrap();
    let mut message_2 = [0; 48];
    let theirs = responder.write(&[], &mut message_2).unwrap();
    assert_eq!(message_2[..], rekey.bytes("/noise_message_2"));
    let ours = initiator.finish(&message_2, &mut []).unwrap();
    for secrets in [&theirs, &ours] {
        assert_eq!(secrets.hash, rekey.array("/handshake_hash"));
        assert_eq!(*secrets.client_to_server, rekey.array("/k_c2s"));
        assert_eq!(*secrets.server_to_client, rekey.array("/k_s2c"));
    }
    for (place, secret) in [ours.client_to_server, ours.server_to_client]
        .iter()
        .enumerate()
    {
        let golden = rekey.bytes(&format!("/datagrams/{place}/datagram"));
        let prefix = ProtectedPrefix::parse(&golden).unwrap();
        let about = &rekey.0["datagrams"][place];
        assert_eq!(about["epoch"], prefix.epoch);
        assert_eq!(about["session"], prefix.session);
        assert_eq!(about["packet_number"], prefix.packet_number);
        let (clear, sealed) = golden.split_at(ASSOCIATED_LEN);
        let (frames, tag) = sealed.split_last_chunk().unwrap();
        let key = AesPacketKey::derive(secret);
        let mut opened = frames.to_vec();
        assert!(key.open(prefix.packet_number, clear, &mut opened, tag));
        assert_eq!(opened, rekey.bytes(&format!("/datagrams/{place}/frames")));
        assert_eq!(key.seal(prefix.packet_number, clear, &mut opened), *tag);
        assert_eq!(opened, frames);
    }
}

/// Messages that do not open leave the client's half as it was, so the right one still counts.
fn finish_after_forgeries(
    mut initiator: Initiator,
    message_2: &[u8; MESSAGE_2_LEN],
    payload: &[u8; SERVER_PAYLOAD_LEN],
) -> super::exchange::Secrets {
    let mut read = [0; SERVER_PAYLOAD_LEN];
    for at in 0..message_2.len() {
        let mut bent = *message_2;
        bent[at] ^= 0x10;
        initiator = initiator.finish(&bent, &mut read).unwrap_err();
    }
    let secrets = initiator.finish(message_2, &mut read).unwrap();
    assert_eq!(&read, payload);
    secrets
}

#[test]
fn a_message_that_was_bent_anywhere_is_not_read() {
    let vectors = Vectors::load();
    let prologue = vectors.bytes("/prologue");
    let message = vectors.bytes("/noise_message_1");
    for at in 0..message.len() {
        let mut bent = message.clone();
        bent[at] ^= 1;
        let read = Responder::read(
            &vectors.server(),
            &vectors.array("/psk"),
            &prologue,
            &mut Fixed([1; 32]),
            &bent,
            &mut Vec::new(),
        );
        assert!(read.is_none(), "byte {at}");
    }
}

#[test]
fn names_of_other_servers_and_clients_do_not_fit() {
    let vectors = Vectors::load();
    let other = StaticKeys::from_secret([0x77; 32]);
    let hello_bytes = vectors.padded("/hello_with_cookie");
    let parsed = Hello::parse(PeerId::default(), &hello_bytes).unwrap();
    assert!(parsed.mac_fits(&Mac1Key::of(&vectors.server().public())));
    assert!(!parsed.mac_fits(&Mac1Key::of(&other.public())));
}
