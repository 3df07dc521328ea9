//! The clear header in front of every datagram (PROTOCOL.md 1) and the five clear fields that follow it in a protected one (4). It knows
//! nothing of what a body contains.

use crate::PeerId;

/// The version of the wire that this crate speaks.
pub const VERSION: u8 = 1;
/// Bytes of the clear header: version, UUID text, opcode.
pub const HEADER_LEN: usize = 39;
/// Bytes of a protected datagram that stay clear and are authenticated: the header, flags and packet number.
pub const ASSOCIATED_LEN: usize = 48;
/// Bytes of the AEAD's tag at the end of a protected datagram.
pub const TAG_LEN: usize = 16;
/// The longest datagram that either side sends or accepts.
pub const DATAGRAM_LEN_MAX: usize = 1_200;
/// The shortest protected datagram: nothing between the clear fields and the tag.
pub const PROTECTED_LEN_MIN: usize = ASSOCIATED_LEN + TAG_LEN;

/// What a datagram or an operation is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Opcode(pub u16);

impl Opcode {
    /// A protected datagram without an operation.
    pub const CONTROL: Self = Self(0x0000);
    /// Reads a value.
    pub const GET: Self = Self(0x0001);
    /// Writes or deletes a value.
    pub const SET: Self = Self(0x0002);
    /// Changes the sender's own tags.
    pub const SET_CLIENT_TAGS: Self = Self(0x0003);
    /// Calls an action of a module.
    pub const EXECUTE: Self = Self(0x0004);
    /// Opens, closes or carries a stream.
    pub const STREAM: Self = Self(0x0005);
    /// Sends to many clients.
    pub const BROADCAST: Self = Self(0x0006);
    /// Presents a token.
    pub const AUTH: Self = Self(0x0007);
    /// Something that the server tells a user.
    pub const NOTIFICATION: Self = Self(0x0008);
    /// A protected datagram with two operations or more.
    pub const BATCH: Self = Self(0x0010);
    /// A client asks for a session.
    pub const HELLO: Self = Self(0x00E0);
    /// The server hands out a cookie.
    pub const RETRY: Self = Self(0x00E1);
    /// The server's half of the key exchange.
    pub const ACCEPT: Self = Self(0x00E2);
    /// A hint that the server takes no session now.
    pub const REJECT: Self = Self(0x00E3);
    /// A hint which versions the server speaks.
    pub const VERSIONS: Self = Self(0x00E4);
    /// The first opcode that belongs to modules.
    pub const MODULES_FIRST: Self = Self(0x0100);

    /// Whether this opcode appears only in the clear headers of a handshake.
    #[must_use]
    pub const fn is_handshake(self) -> bool {
        self.0 >= 0x00E0 && self.0 <= 0x00EF
    }

    /// Whether a module gives this opcode its meaning.
    #[must_use]
    pub const fn belongs_to_modules(self) -> bool {
        self.0 >= Self::MODULES_FIRST.0
    }

    /// Whether an OP frame may carry this opcode: one of the operations, or a module's. Anything else is answered as unknown (5).
    #[must_use]
    pub const fn is_operation(self) -> bool {
        (self.0 >= Self::GET.0 && self.0 <= Self::NOTIFICATION.0) || self.belongs_to_modules()
    }
}

/// The clear header of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The wire's version; 0 only in VERSIONS.
    pub version: u8,
    /// Who sent it: towards the server the client's UUID, towards a client the server's.
    pub sender: PeerId,
    /// What the body is.
    pub opcode: Opcode,
}

impl Header {
    /// Reads the header of `datagram`; none when it is too short or its UUID is not in canonical text form.
    #[must_use]
    pub fn parse(datagram: &[u8]) -> Option<Self> {
        let (header, _) = datagram.split_first_chunk::<HEADER_LEN>()?;
        let (version, rest) = header.split_first()?;
        let (text, rest) = rest.split_first_chunk::<36>()?;
        let opcode = rest.first_chunk::<2>()?;
        Some(Self {
            version: *version,
            sender: PeerId::from_text(text)?,
            opcode: Opcode(u16::from_be_bytes(*opcode)),
        })
    }

    /// The header as it stands on the wire.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut out = [0; HEADER_LEN];
        out[0] = self.version;
        out[1..37].copy_from_slice(&self.sender.text());
        out[37..].copy_from_slice(&self.opcode.0.to_be_bytes());
        out
    }
}

/// The clear fields between header and ciphertext of a protected datagram (PROTOCOL.md 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProtectedPrefix {
    /// The key epoch modulo 4; 0 until keys are renewed.
    pub epoch: u8,
    /// Which of the client's sessions, 0 to 63.
    pub session: u8,
    /// The packet number, below 2^62.
    pub packet_number: u64,
}

impl ProtectedPrefix {
    /// The largest packet number.
    pub const PACKET_NUMBER_MAX: u64 = (1 << 62) - 1;

    /// Reads bytes 39 to 48; none unless `datagram` has the length of a protected one and a packet number in range.
    #[must_use]
    pub fn parse(datagram: &[u8]) -> Option<Self> {
        if datagram.len() < PROTECTED_LEN_MIN || datagram.len() > DATAGRAM_LEN_MAX {
            return None;
        }
        let (fields, _) = datagram
            .get(HEADER_LEN..)?
            .split_first_chunk::<{ ASSOCIATED_LEN - HEADER_LEN }>()?;
        let (flags, number) = fields.split_first()?;
        let packet_number = u64::from_be_bytes(*number.first_chunk()?);
        (packet_number <= Self::PACKET_NUMBER_MAX).then_some(Self {
            epoch: flags & 0b11,
            session: flags >> 2,
            packet_number,
        })
    }

    /// The nine bytes as they stand on the wire.
    #[must_use]
    pub fn encode(&self) -> [u8; ASSOCIATED_LEN - HEADER_LEN] {
        let mut out = [0; ASSOCIATED_LEN - HEADER_LEN];
        out[0] = (self.epoch & 0b11) | (self.session << 2);
        out[1..].copy_from_slice(&self.packet_number.to_be_bytes());
        out
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_canonical_uuid_text_is_read() {
        let good = Header {
            version: 1,
            sender: PeerId::from_bytes([0xab; 16]),
            opcode: Opcode::EXECUTE,
        }
        .encode();
        assert!(Header::parse(&good).is_some());
        for (at, byte) in [
            (1, b'A'),
            (9, b'0'),
            (2, b'-'),
            (36, b'g'),
            (14, b'_'),
            (5, 0xff),
        ] {
            let mut bad = good;
            bad[at] = byte;
            assert_eq!(Header::parse(&bad), None, "byte {at}");
        }
    }

    #[test]
    fn short_datagrams_have_no_header() {
        let whole = Header {
            version: 1,
            sender: PeerId::from_bytes([1; 16]),
            opcode: Opcode::HELLO,
        }
        .encode();
        for len in 0..HEADER_LEN {
            assert_eq!(Header::parse(&whole[..len]), None);
        }
    }

    #[test]
    fn packet_numbers_above_the_range_are_refused() {
        let mut datagram = [0; PROTECTED_LEN_MIN];
        datagram[40..48].copy_from_slice(&(1_u64 << 62).to_be_bytes());
        assert_eq!(ProtectedPrefix::parse(&datagram), None);
    }

    proptest! {
        #[test]
        fn headers_come_back(version: u8, id: [u8; 16], opcode: u16) {
            let header = Header { version, sender: PeerId::from_bytes(id), opcode: Opcode(opcode) };
            prop_assert_eq!(Header::parse(&header.encode()), Some(header));
        }

        #[test]
        fn prefixes_come_back(epoch in 0..4_u8, session in 0..64_u8, packet_number in 0..=ProtectedPrefix::PACKET_NUMBER_MAX) {
            let prefix = ProtectedPrefix { epoch, session, packet_number };
            let mut datagram = [0; PROTECTED_LEN_MIN];
            datagram[HEADER_LEN..ASSOCIATED_LEN].copy_from_slice(&prefix.encode());
            prop_assert_eq!(ProtectedPrefix::parse(&datagram), Some(prefix));
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..1500)) {
            if let Some(header) = Header::parse(&bytes) {
                prop_assert_eq!(&header.encode()[..], &bytes[..HEADER_LEN]);
            }
            let _ = ProtectedPrefix::parse(&bytes);
        }
    }
}
