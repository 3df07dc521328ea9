//! The seam between a session and its AEAD: AES-256-GCM under the keys of PROTOCOL.md 4. It counts nothing and remembers no packet number;
//! that is the session's work.

use core::fmt;

use aes_gcm::aead::AeadInOut;
use aes_gcm::aes::Aes256Enc;
use aes_gcm::aes::cipher::consts::U12;
use aes_gcm::{AesGcm, KeyInit};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::header::TAG_LEN;

/// The key of one direction of one session in one epoch.
pub trait PacketKey: Send + Sized {
    /// The key of a direction, from the 32 bytes that the key exchange gave it.
    fn derive(secret: &[u8; 32]) -> Self;

    /// Encrypts `buffer` in place and answers its tag. A packet number must never be used twice under one key.
    fn seal(&self, packet_number: u64, associated: &[u8], buffer: &mut [u8]) -> [u8; TAG_LEN];

    /// Decrypts `buffer` in place if `tag` belongs to it. After `false` its content is unspecified: nobody opens a datagram twice.
    #[must_use]
    fn open(
        &self,
        packet_number: u64,
        associated: &[u8],
        buffer: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> bool;
}

/// AES-256-GCM with the nonce of PROTOCOL.md 4. The key is wiped when it is dropped.
pub struct AesPacketKey {
    aead: AesGcm<Aes256Enc, U12>,
    iv: [u8; 12],
}

impl AesPacketKey {
    fn nonce(&self, packet_number: u64) -> aes_gcm::Nonce<U12> {
        let mut nonce = self.iv;
        for (byte, number) in nonce[4..].iter_mut().zip(packet_number.to_be_bytes()) {
            *byte ^= number;
        }
        nonce.into()
    }
}

impl PacketKey for AesPacketKey {
    fn derive(secret: &[u8; 32]) -> Self {
        let (key, iv) = expand(secret);
        Self {
            aead: AesGcm::new(&(*key).into()),
            iv,
        }
    }

    fn seal(&self, packet_number: u64, associated: &[u8], buffer: &mut [u8]) -> [u8; TAG_LEN] {
        self.aead
            .encrypt_inout_detached(&self.nonce(packet_number), associated, buffer.into())
            .expect("invariant: a datagram is shorter than 2^36 bytes")
            .into()
    }

    fn open(
        &self,
        packet_number: u64,
        associated: &[u8],
        buffer: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> bool {
        self.aead
            .decrypt_inout_detached(
                &self.nonce(packet_number),
                associated,
                buffer.into(),
                tag.into(),
            )
            .is_ok()
    }
}

impl fmt::Debug for AesPacketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AesPacketKey")
    }
}

/// HKDF-Expand with the secret as PRK: the key, then the iv.
fn expand(secret: &[u8; 32]) -> (Zeroizing<[u8; 32]>, [u8; 12]) {
    let prk =
        Hkdf::<Sha256>::from_prk(secret).expect("invariant: a PRK has the length of the hash");
    let mut key = Zeroizing::new([0; 32]);
    let mut iv = [0; 12];
    prk.expand(b"cohnect key", &mut *key)
        .expect("invariant: 32 bytes are fewer than 255 blocks");
    prk.expand(b"cohnect iv", &mut iv)
        .expect("invariant: 12 bytes are fewer than 255 blocks");
    (key, iv)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_opens_once_and_only_as_it_was() {
        let key = AesPacketKey::derive(&[3; 32]);
        let plain = *b"forty-two";
        let mut sealed = plain;
        let tag = key.seal(9, b"clear", &mut sealed);
        assert_ne!(sealed, plain);

        let mut opened = sealed;
        assert!(key.open(9, b"clear", &mut opened, &tag));
        assert_eq!(opened, plain);

        for (number, clear) in [(10, &b"clear"[..]), (9, b"cleaR")] {
            assert!(!key.open(number, clear, &mut sealed.clone(), &tag));
        }
        for at in 0..sealed.len() {
            let mut bent = sealed;
            bent[at] ^= 1;
            assert!(!key.open(9, b"clear", &mut bent, &tag));
        }
    }

    #[test]
    fn directions_have_keys_of_their_own() {
        let (one, other) = (
            AesPacketKey::derive(&[1; 32]),
            AesPacketKey::derive(&[2; 32]),
        );
        let mut buffer = [0; 8];
        let tag = one.seal(1, &[], &mut buffer);
        assert!(!other.open(1, &[], &mut buffer, &tag));
    }

    fn unhex(value: &serde_json::Value) -> Vec<u8> {
        let text = value.as_str().unwrap();
        (0..text.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
            .collect()
    }

    #[test]
    fn golden_datagrams_come_out_the_same() {
        let vectors: serde_json::Value =
            serde_json::from_str(include_str!("../../vectors/datagrams.json")).unwrap();
        for (direction, suffix) in [("client to server", "c2s"), ("server to client", "s2c")] {
            let secret = unhex(&vectors[format!("k_{suffix}")]).try_into().unwrap();
            let (key, iv) = expand(&secret);
            assert_eq!(key[..], unhex(&vectors[format!("key_{suffix}")]));
            assert_eq!(iv[..], unhex(&vectors[format!("iv_{suffix}")]));

            let golden = vectors["datagrams"]
                .as_array()
                .unwrap()
                .iter()
                .find(|each| each["direction"] == direction)
                .unwrap();
            let datagram = unhex(&golden["datagram"]);
            let prefix = crate::ProtectedPrefix::parse(&datagram).unwrap();
            assert_eq!(golden["packet_number"], prefix.packet_number);
            assert_eq!(golden["session"], prefix.session);
            assert_eq!(golden["epoch"], prefix.epoch);
            let mut body = unhex(&golden["frames"]);
            let tag = AesPacketKey::derive(&secret).seal(
                prefix.packet_number,
                &datagram[..crate::ASSOCIATED_LEN],
                &mut body,
            );
            body.extend_from_slice(&tag);
            assert_eq!(datagram[crate::ASSOCIATED_LEN..], body);
        }
    }
}
