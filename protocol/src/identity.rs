//! Who a peer is: X25519 keys and the UUIDs that follow from them (PROTOCOL.md 2). It stores nothing and asks nobody: an identity proves
//! itself in the handshake.

use core::fmt;
use core::str::FromStr;

use sha2::{Digest, Sha256};
use x25519_dalek::{PublicKey as DhPublic, StaticSecret};
use zeroize::Zeroizing;

use crate::{Entropy, SteeringKeys, shard_of};

/// The UUID of a key: nobody claims another's without its private key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PeerId([u8; 16]);

impl PeerId {
    /// The identity with these 16 bytes, whatever they are.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The binary UUID.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The UUID as one number, most significant byte first.
    #[must_use]
    pub const fn to_u128(self) -> u128 {
        u128::from_be_bytes(self.0)
    }

    /// The UUID of this number.
    #[must_use]
    pub const fn from_u128(number: u128) -> Self {
        Self(number.to_be_bytes())
    }

    /// The UUID as two numbers: the upper and the lower 64 bits.
    #[must_use]
    pub const fn halves(self) -> (u64, u64) {
        let number = self.to_u128();
        ((number >> 64) as u64, number as u64)
    }

    /// The UUID of these upper and lower 64 bits.
    #[must_use]
    pub const fn from_halves(high: u64, low: u64) -> Self {
        Self::from_u128(((high as u128) << 64) | low as u128)
    }

    /// The canonical text: lower-case hexadecimal digits with hyphens.
    #[must_use]
    pub fn text(&self) -> [u8; 36] {
        let mut out = [b'-'; 36];
        for (byte, at) in self.0.iter().zip(DIGITS_AT) {
            out[at] = HEX[usize::from(byte >> 4)];
            out[at + 1] = HEX[usize::from(byte & 0x0f)];
        }
        out
    }

    /// Reads the canonical text; none for every other form, upper-case digits included.
    #[must_use]
    pub fn from_text(text: &[u8; 36]) -> Option<Self> {
        let mut out = [0; 16];
        // Digits are below 16; everything else sets a high bit, seen once at the end, so the loop has no branch.
        let mut seen = 0;
        for (byte, at) in out.iter_mut().zip(DIGITS_AT) {
            let high = DIGIT[usize::from(text[at])];
            let low = DIGIT[usize::from(text[at + 1])];
            seen |= high | low;
            *byte = (high << 4) | (low & 0x0f);
        }
        let hyphens = [text[8], text[13], text[18], text[23]] == *b"----";
        (seen < 16 && hyphens).then_some(Self(out))
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.text();
        f.write_str(core::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PeerId {
    type Err = ParseIdentityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.as_bytes()
            .try_into()
            .ok()
            .and_then(Self::from_text)
            .ok_or(ParseIdentityError::Uuid)
    }
}

/// An X25519 public key: what a client pins, and what a UUID is made from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// The key with these 32 bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The key's 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The UUID that follows from this key: the first 16 bytes of a hash, marked as UUID version 8.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        let digest = Sha256::new()
            .chain_update(b"cohnect uuid v1")
            .chain_update(self.0)
            .finalize();
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        id[6] = (id[6] & 0x0f) | 0x80;
        id[8] = (id[8] & 0x3f) | 0x80;
        PeerId(id)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PublicKey {
    type Err = ParseIdentityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        decode_hex(text).map(Self).ok_or(ParseIdentityError::Key)
    }
}

/// A private key with its public half. The private half is wiped when it is dropped and never printed.
#[derive(Clone)]
pub struct StaticKeys {
    secret: Zeroizing<[u8; 32]>,
    public: PublicKey,
}

impl StaticKeys {
    /// The pair of this private key.
    #[must_use]
    pub fn from_secret(secret: [u8; 32]) -> Self {
        let secret = Zeroizing::new(secret);
        let public = DhPublic::from(&StaticSecret::from(*secret));
        Self {
            secret,
            public: PublicKey(public.to_bytes()),
        }
    }

    /// A fresh pair.
    #[must_use]
    pub fn generate(entropy: &mut dyn Entropy) -> Self {
        let mut secret = Zeroizing::new([0; 32]);
        entropy.fill(&mut *secret);
        Self::from_secret(*secret)
    }

    /// A fresh pair whose UUID belongs to `shard` of `shards`: for tests and benchmarks that want a client in a certain place. None when
    /// there is no such shard or `entropy` never hits it in a million draws (a source that repeats itself).
    #[must_use]
    pub fn for_shard(
        entropy: &mut dyn Entropy,
        keys: SteeringKeys,
        shard: u32,
        shards: u32,
    ) -> Option<Self> {
        if shard >= shards.max(1) {
            return None;
        }
        (0..1_000_000)
            .map(|_| Self::generate(entropy))
            .find(|pair| shard_of(&pair.peer_id().text(), keys, shards) == shard)
    }

    /// The public half.
    #[must_use]
    pub const fn public(&self) -> PublicKey {
        self.public
    }

    /// The UUID of this pair.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        self.public.peer_id()
    }

    /// The private half, for storing it in a file that nobody else reads.
    #[must_use]
    pub fn secret(&self) -> &[u8; 32] {
        &self.secret
    }
}

impl fmt::Debug for StaticKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StaticKeys")
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}

/// Why a text names no identity. The fault is the writer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseIdentityError {
    /// A UUID in another form than the canonical text.
    #[error("not a UUID in lower-case hyphenated form")]
    Uuid,
    /// A key that is not 64 hexadecimal digits.
    #[error("not a key of 64 hexadecimal digits")]
    Key,
}

fn decode_hex(text: &str) -> Option<[u8; 32]> {
    let digits: &[u8; 64] = text.as_bytes().try_into().ok()?;
    let mut out = [0; 32];
    for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        let high = DIGIT[usize::from(pair[0].to_ascii_lowercase())];
        let low = DIGIT[usize::from(pair[1].to_ascii_lowercase())];
        if (high | low) >= 16 {
            return None;
        }
        *byte = (high << 4) | low;
    }
    Some(out)
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Where the first digit of each byte stands in the text.
const DIGITS_AT: [usize; 16] = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];

/// The value of each lower-case hexadecimal digit; 0xff for everything else.
const DIGIT: [u8; 256] = {
    let mut table = [0xff; 256];
    let mut value = 0;
    while value < 16 {
        table[HEX[value] as usize] = value as u8;
        value += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    struct Counting(u64);

    impl Entropy for Counting {
        fn fill(&mut self, out: &mut [u8]) {
            for chunk in out.chunks_mut(8) {
                self.0 += 1;
                let bytes = self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
                chunk.copy_from_slice(&bytes[..chunk.len()]);
            }
        }
    }

    #[test]
    fn text_is_that_of_the_uuid_crate() {
        for bytes in [[0; 16], [0xff; 16], *b"0123456789abcdef"] {
            let mut text = [0; 36];
            uuid::Uuid::from_bytes(bytes)
                .hyphenated()
                .encode_lower(&mut text);
            assert_eq!(PeerId(bytes).text(), text);
            assert_eq!(PeerId::from_text(&text), Some(PeerId(bytes)));
        }
    }

    #[test]
    fn halves_and_number_come_back() {
        let id = PeerId(*b"0123456789abcdef");
        let (high, low) = id.halves();
        assert_eq!(PeerId::from_halves(high, low), id);
        assert_eq!(PeerId::from_u128(id.to_u128()), id);
    }

    #[test]
    fn uuids_are_marked_as_version_8() {
        let id = StaticKeys::from_secret([7; 32]).peer_id();
        assert_eq!(id.0[6] >> 4, 8);
        assert_eq!(id.0[8] >> 6, 2);
    }

    #[test]
    fn keys_are_read_from_hex_and_printed_as_hex() {
        let key = StaticKeys::from_secret([9; 32]).public();
        let text = key.to_string();
        assert_eq!(text.parse(), Ok(key));
        assert_eq!(text.to_uppercase().parse(), Ok(key));
        assert_eq!(text[1..].parse::<PublicKey>(), Err(ParseIdentityError::Key));
        assert_eq!(
            format!("{}g", &text[1..]).parse::<PublicKey>(),
            Err(ParseIdentityError::Key)
        );
    }

    #[test]
    fn a_private_key_is_not_printed() {
        let pair = StaticKeys::from_secret([0xaa; 32]);
        assert!(!format!("{pair:?}").contains("aaaa"));
    }

    #[test]
    fn pairs_are_found_for_every_shard() {
        let steering = SteeringKeys::new(1, 3);
        let mut entropy = Counting(0);
        for shard in 0..4 {
            let pair = StaticKeys::for_shard(&mut entropy, steering, shard, 4).unwrap();
            assert_eq!(shard_of(&pair.peer_id().text(), steering, 4), shard);
        }
        assert!(StaticKeys::for_shard(&mut entropy, steering, 4, 4).is_none());
    }
}
