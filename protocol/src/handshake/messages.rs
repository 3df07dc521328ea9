//! The datagrams of the handshake, byte for byte (PROTOCOL.md 3): HELLO, RETRY, ACCEPT, REJECT, VERSIONS. It decides nothing and keeps
//! nothing.

use hkdf::Hkdf;
use hmac::Mac;
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::cookie::{COOKIE_LEN, first_half, keyed};
use super::exchange::{MESSAGE_1_OVERHEAD, MESSAGE_2_OVERHEAD};
use super::payload::SERVER_PAYLOAD_LEN;
use crate::{DATAGRAM_LEN_MAX, HEADER_LEN, Header, Opcode, PeerId, PublicKey, VERSION};

/// Bytes of every HELLO, so that no answer is longer than its question.
pub(crate) const HELLO_LEN: usize = DATAGRAM_LEN_MAX;
/// Bytes of a HELLO that its mac covers and the prologue repeats.
pub(crate) const HELLO_HEAD_LEN: usize = 81;
/// Where Noise message 1 begins.
const NOISE_AT: usize = 97;
/// The longest Noise message 1 that fits behind the fields.
pub(crate) const MESSAGE_1_LEN_MAX: usize = HELLO_LEN - NOISE_AT;
/// Bytes of a RETRY.
pub(crate) const RETRY_LEN: usize = HEADER_LEN + 16 + COOKIE_LEN;
/// Bytes of a REJECT.
pub(crate) const REJECT_LEN: usize = HEADER_LEN + 16 + 2;
/// Bytes of Noise message 2.
pub(crate) const MESSAGE_2_LEN: usize = MESSAGE_2_OVERHEAD + SERVER_PAYLOAD_LEN;
/// Bytes of an ACCEPT.
pub(crate) const ACCEPT_LEN: usize = HEADER_LEN + 16 + 2 + MESSAGE_2_LEN;
/// The most versions that a VERSIONS names.
const VERSIONS_MAX: usize = 8;

/// Bytes of the prologue: a label, the server's UUID, and the head of the HELLO.
const PROLOGUE_LEN: usize = 9 + 36 + HELLO_HEAD_LEN;

/// Names one attempt to connect.
pub(crate) type HelloId = [u8; 16];

/// The key of the mac with which a client shows that it knows the server's public key.
#[derive(Clone, Debug)]
pub(crate) struct Mac1Key([u8; 32]);

impl Mac1Key {
    pub(crate) fn of(server: &PublicKey) -> Self {
        let mut key = [0; 32];
        Hkdf::<Sha256>::new(Some(&[0; 32]), server.as_bytes())
            .expand(b"cohnect mac1 v1", &mut key)
            .expect("invariant: 32 bytes are fewer than 255 blocks");
        Self(key)
    }

    #[cfg(test)]
    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn mac(&self, head: &[u8; HELLO_HEAD_LEN]) -> [u8; 16] {
        let whole: [u8; 32] = keyed(&self.0)
            .chain_update(head)
            .finalize()
            .into_bytes()
            .into();
        first_half(&whole)
    }
}

/// What binds a key exchange to one server and one HELLO.
pub(crate) fn prologue(server: PeerId, head: &[u8; HELLO_HEAD_LEN]) -> [u8; PROLOGUE_LEN] {
    let mut out = [0; PROLOGUE_LEN];
    out[..9].copy_from_slice(b"cohnect/1");
    out[9..45].copy_from_slice(&server.text());
    out[45..].copy_from_slice(head);
    out
}

/// A HELLO as the server reads it; nothing of it is authenticated yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hello<'a> {
    pub(crate) client: PeerId,
    pub(crate) head: &'a [u8; HELLO_HEAD_LEN],
    pub(crate) cookie: &'a [u8; COOKIE_LEN],
    pub(crate) hello_id: &'a HelloId,
    mac1: &'a [u8; 16],
    noise: Option<&'a [u8]>,
}

impl<'a> Hello<'a> {
    /// Takes a datagram apart whose header said HELLO; none unless it has exactly the length of one.
    pub(crate) fn parse(client: PeerId, datagram: &'a [u8]) -> Option<Self> {
        let datagram: &[u8; HELLO_LEN] = datagram.try_into().ok()?;
        let (head, rest) = datagram.split_first_chunk::<HELLO_HEAD_LEN>()?;
        let (mac1, rest) = rest.split_first_chunk::<16>()?;
        let (cookie, fields) = head.get(HEADER_LEN..)?.split_first_chunk::<COOKIE_LEN>()?;
        let (noise_len, fields) = fields.split_first_chunk::<2>()?;
        let noise_len = usize::from(u16::from_be_bytes(*noise_len));
        Some(Self {
            client,
            head,
            cookie,
            hello_id: fields.first_chunk()?,
            mac1,
            noise: rest
                .get(..noise_len)
                .filter(|noise| noise.len() >= MESSAGE_1_OVERHEAD),
        })
    }

    pub(crate) fn mac_fits(&self, key: &Mac1Key) -> bool {
        key.mac(self.head).ct_eq(self.mac1).into()
    }

    /// Noise message 1, if its length is possible.
    pub(crate) fn noise(&self) -> Option<&'a [u8]> {
        self.noise
    }
}

/// The head of a HELLO: everything before its mac. `noise_len` is 0 without a cookie.
pub(crate) fn hello_head(
    client: PeerId,
    cookie: &[u8; COOKIE_LEN],
    noise_len: u16,
    hello_id: &HelloId,
) -> [u8; HELLO_HEAD_LEN] {
    let mut head = [0; HELLO_HEAD_LEN];
    head[..39].copy_from_slice(&header(VERSION, client, Opcode::HELLO));
    head[39..63].copy_from_slice(cookie);
    head[63..65].copy_from_slice(&noise_len.to_be_bytes());
    head[65..].copy_from_slice(hello_id);
    head
}

/// The whole HELLO, padded.
pub(crate) fn hello(head: &[u8; HELLO_HEAD_LEN], key: &Mac1Key, noise: &[u8]) -> [u8; HELLO_LEN] {
    debug_assert!(noise.len() <= MESSAGE_1_LEN_MAX);
    let mut out = [0; HELLO_LEN];
    out[..HELLO_HEAD_LEN].copy_from_slice(head);
    out[HELLO_HEAD_LEN..NOISE_AT].copy_from_slice(&key.mac(head));
    out[NOISE_AT..NOISE_AT + noise.len()].copy_from_slice(noise);
    out
}

/// The server's request to come back with this cookie.
pub(crate) fn retry(
    server: PeerId,
    hello_id: &HelloId,
    cookie: &[u8; COOKIE_LEN],
) -> [u8; RETRY_LEN] {
    let mut out = [0; RETRY_LEN];
    out[..39].copy_from_slice(&header(VERSION, server, Opcode::RETRY));
    out[39..55].copy_from_slice(hello_id);
    out[55..].copy_from_slice(cookie);
    out
}

/// Why a server takes no session now. Unauthenticated, so only a hint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejectCode {
    /// It is going away, or is not there for players yet.
    Offline,
    /// Something that the client wants is in use.
    Taken,
    /// It holds as many sessions as it may.
    Full,
    /// It has more to do than it can.
    SlowDown,
}

impl RejectCode {
    const fn number(self) -> u16 {
        match self {
            Self::Offline => 1,
            Self::Taken => 2,
            Self::Full => 3,
            Self::SlowDown => 4,
        }
    }

    const fn of(number: u16) -> Option<Self> {
        match number {
            1 => Some(Self::Offline),
            2 => Some(Self::Taken),
            3 => Some(Self::Full),
            4 => Some(Self::SlowDown),
            _ => None,
        }
    }
}

/// The server's hint that it takes no session now.
pub(crate) fn reject(server: PeerId, hello_id: &HelloId, code: RejectCode) -> [u8; REJECT_LEN] {
    let mut out = [0; REJECT_LEN];
    out[..39].copy_from_slice(&header(VERSION, server, Opcode::REJECT));
    out[39..55].copy_from_slice(hello_id);
    out[55..].copy_from_slice(&code.number().to_be_bytes());
    out
}

/// The server's hint which versions it speaks; only the first eight of `versions` are named.
pub(crate) fn versions(server: PeerId, hello_id: &HelloId, versions: &[u8]) -> Vec<u8> {
    let versions = versions.get(..VERSIONS_MAX).unwrap_or(versions);
    let mut out = header(0, server, Opcode::VERSIONS).to_vec();
    out.extend_from_slice(hello_id);
    out.push(versions.len() as u8);
    out.extend_from_slice(versions);
    out
}

/// The server's half of the exchange. The header, to be followed by message 2 in the last [`MESSAGE_2_LEN`] bytes.
pub(crate) fn accept(server: PeerId, hello_id: &HelloId) -> [u8; ACCEPT_LEN] {
    let mut out = [0; ACCEPT_LEN];
    out[..39].copy_from_slice(&header(VERSION, server, Opcode::ACCEPT));
    out[39..55].copy_from_slice(hello_id);
    out[55..57].copy_from_slice(&(MESSAGE_2_LEN as u16).to_be_bytes());
    out
}

/// What a server says during a handshake, as the client reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServerMessage<'a> {
    Retry(&'a [u8; COOKIE_LEN]),
    Accept(&'a [u8; MESSAGE_2_LEN]),
    Reject(RejectCode),
    Versions(&'a [u8]),
}

impl<'a> ServerMessage<'a> {
    /// Takes a datagram apart whose header was already read; none when it is not one of the four, or not exactly as long.
    pub(crate) fn parse(header: Header, datagram: &'a [u8]) -> Option<(&'a HelloId, Self)> {
        let (hello_id, body) = datagram.get(HEADER_LEN..)?.split_first_chunk::<16>()?;
        let message = match (header.version, header.opcode) {
            (VERSION, Opcode::RETRY) => Self::Retry(body.try_into().ok()?),
            (VERSION, Opcode::ACCEPT) => {
                let (len, message) = body.split_first_chunk::<2>()?;
                if usize::from(u16::from_be_bytes(*len)) != MESSAGE_2_LEN {
                    return None;
                }
                Self::Accept(message.try_into().ok()?)
            }
            (VERSION, Opcode::REJECT) => {
                Self::Reject(RejectCode::of(u16::from_be_bytes(body.try_into().ok()?))?)
            }
            (0, Opcode::VERSIONS) => {
                let (n, versions) = body.split_first()?;
                if usize::from(*n) != versions.len() || versions.len() > VERSIONS_MAX {
                    return None;
                }
                Self::Versions(versions)
            }
            _ => return None,
        };
        Some((hello_id, message))
    }
}

fn header(version: u8, sender: PeerId, opcode: Opcode) -> [u8; HEADER_LEN] {
    Header {
        version,
        sender,
        opcode,
    }
    .encode()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn server() -> PeerId {
        PeerId::from_bytes([2; 16])
    }

    fn read(datagram: &[u8]) -> Option<(&HelloId, ServerMessage<'_>)> {
        ServerMessage::parse(Header::parse(datagram)?, datagram)
    }

    #[test]
    fn lengths_are_those_of_the_text() {
        assert_eq!((RETRY_LEN, REJECT_LEN, ACCEPT_LEN), (79, 57, 136));
        assert_eq!((MESSAGE_1_LEN_MAX, MESSAGE_2_LEN), (1_103, 79));
    }

    #[test]
    fn what_a_server_writes_a_client_reads() {
        let id = [3; 16];
        assert_eq!(
            read(&retry(server(), &id, &[7; 24])),
            Some((&id, ServerMessage::Retry(&[7; 24])))
        );
        assert_eq!(
            read(&accept(server(), &id)),
            Some((&id, ServerMessage::Accept(&[0; MESSAGE_2_LEN])))
        );
        for code in 1..=4 {
            let code = RejectCode::of(code).unwrap();
            assert_eq!(
                read(&reject(server(), &id, code)),
                Some((&id, ServerMessage::Reject(code)))
            );
        }
        assert_eq!(
            read(&versions(server(), &id, &[1, 2])),
            Some((&id, ServerMessage::Versions(&[1, 2])))
        );
    }

    #[test]
    fn other_lengths_are_refused() {
        let id = [3; 16];
        let all = [
            retry(server(), &id, &[7; 24]).to_vec(),
            accept(server(), &id).to_vec(),
            reject(server(), &id, RejectCode::Full).to_vec(),
            versions(server(), &id, &[1, 2]),
        ];
        for whole in all {
            for len in 0..whole.len() {
                assert_eq!(read(&whole[..len]), None);
            }
            let mut longer = whole.clone();
            longer.push(0);
            assert_eq!(read(&longer), None);
        }
    }

    #[test]
    fn a_hello_has_one_length_and_a_bounded_message() {
        let key = Mac1Key::of(&PublicKey::from_bytes([8; 32]));
        let client = PeerId::from_bytes([1; 16]);
        for (said, taken) in [
            (95, None),
            (96, Some(96)),
            (1_103, Some(1_103)),
            (1_104, None),
        ] {
            let head = hello_head(client, &[0; 24], said, &[5; 16]);
            let whole = hello(&head, &key, &[]);
            let parsed = Hello::parse(client, &whole).unwrap();
            assert!(parsed.mac_fits(&key));
            assert_eq!(parsed.noise().map(<[u8]>::len), taken);
            assert!(Hello::parse(client, &whole[..1_199]).is_none());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..1500), opcode in 0xE0_u16..0xE5, version in 0..2_u8) {
            let header = Header { version, sender: server(), opcode: Opcode(opcode) };
            let _ = ServerMessage::parse(header, &bytes);
            let _ = Hello::parse(server(), &bytes);
        }
    }
}
