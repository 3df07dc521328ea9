//! The primitives that `snow` computes the handshake with, taken from the crates that the rest of the wire uses, so that there is no second
//! copy of any of them. It refuses a Diffie-Hellman result of all zeros, and draws no randomness: the ephemeral key is handed in.

use aes_gcm::aead::AeadInOut;
use aes_gcm::aes::Aes256Enc;
use aes_gcm::aes::cipher::consts::U12;
use aes_gcm::{AesGcm, KeyInit};
use sha2::{Digest, Sha256};
use snow::Error;
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::CryptoResolver;
use snow::types::{Cipher, Dh, Hash, Random};
use x25519_dalek::{PublicKey as DhPublic, StaticSecret};
use zeroize::Zeroizing;

use crate::{StaticKeys, TAG_LEN};

/// Resolves X25519, SHA-256 and AES-256-GCM for one handshake of one side.
pub(super) struct Resolver {
    /// The side's own pair, whose public half need not be computed again.
    pub(super) keys: StaticKeys,
    /// The private half of the one ephemeral key that this side will use; wiped with the handshake.
    pub(super) ephemeral: Zeroizing<[u8; 32]>,
}

impl CryptoResolver for Resolver {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(Drawn(Some(self.ephemeral.clone()))))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        (*choice == DHChoice::Curve25519).then(|| {
            Box::new(Curve {
                known: self.keys.clone(),
                secret: Zeroizing::new([0; 32]),
                public: [0; 32],
            }) as Box<dyn Dh>
        })
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        (*choice == HashChoice::SHA256).then(|| Box::new(Sha(Sha256::new())) as Box<dyn Hash>)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        (*choice == CipherChoice::AESGCM)
            .then(|| Box::new(Aes(Zeroizing::new([0; 32]))) as Box<dyn Cipher>)
    }
}

/// The ephemeral key, given out once: an ephemeral under two prologues would repeat a key and nonce.
struct Drawn(Option<Zeroizing<[u8; 32]>>);

impl Random for Drawn {
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), Error> {
        let bytes = self.0.take().ok_or(Error::Rng)?;
        if dest.len() != bytes.len() {
            return Err(Error::Rng);
        }
        dest.copy_from_slice(&*bytes);
        Ok(())
    }
}

struct Curve {
    known: StaticKeys,
    secret: Zeroizing<[u8; 32]>,
    public: [u8; 32],
}

impl Dh for Curve {
    fn name(&self) -> &'static str {
        "25519"
    }

    fn pub_len(&self) -> usize {
        32
    }

    fn priv_len(&self) -> usize {
        32
    }

    fn set(&mut self, privkey: &[u8]) {
        // Only this side's own static key is ever set, and its public half is known: one multiplication less per handshake.
        debug_assert_eq!(privkey, self.known.secret());
        self.secret.copy_from_slice(self.known.secret());
        self.public = *self.known.public().as_bytes();
    }

    fn generate(&mut self, rng: &mut dyn Random) -> Result<(), Error> {
        rng.try_fill_bytes(&mut *self.secret)?;
        self.public = DhPublic::from(&StaticSecret::from(*self.secret)).to_bytes();
        Ok(())
    }

    fn pubkey(&self) -> &[u8] {
        &self.public
    }

    fn privkey(&self) -> &[u8] {
        &*self.secret
    }

    fn dh(&self, pubkey: &[u8], out: &mut [u8]) -> Result<(), Error> {
        let theirs = *pubkey.first_chunk::<32>().ok_or(Error::Dh)?;
        let shared = StaticSecret::from(*self.secret).diffie_hellman(&DhPublic::from(theirs));
        if !shared.was_contributory() {
            return Err(Error::Dh);
        }
        *out.first_chunk_mut().ok_or(Error::Dh)? = *shared.as_bytes();
        Ok(())
    }
}

struct Sha(Sha256);

impl Hash for Sha {
    fn name(&self) -> &'static str {
        "SHA256"
    }

    fn block_len(&self) -> usize {
        64
    }

    fn hash_len(&self) -> usize {
        32
    }

    fn reset(&mut self) {
        self.0.reset();
    }

    fn input(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn result(&mut self, out: &mut [u8]) {
        out[..32].copy_from_slice(&self.0.finalize_reset());
    }
}

/// Noise's AESGCM: the nonce is four zero bytes and the counter, big-endian. The key schedule is computed at use, for most keys of a
/// handshake are used once or never.
struct Aes(Zeroizing<[u8; 32]>);

impl Aes {
    fn aead(&self) -> AesGcm<Aes256Enc, U12> {
        AesGcm::new(&(*self.0).into())
    }
}

fn nonce_of(counter: u64) -> aes_gcm::Nonce<U12> {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&counter.to_be_bytes());
    nonce.into()
}

impl Cipher for Aes {
    fn name(&self) -> &'static str {
        "AESGCM"
    }

    fn set(&mut self, key: &[u8; 32]) {
        *self.0 = *key;
    }

    fn encrypt(&self, nonce: u64, authtext: &[u8], plaintext: &[u8], out: &mut [u8]) -> usize {
        let (body, rest) = out.split_at_mut(plaintext.len());
        body.copy_from_slice(plaintext);
        let tag = self
            .aead()
            .encrypt_inout_detached(&nonce_of(nonce), authtext, body.into())
            .expect("invariant: a handshake message is shorter than 2^36 bytes");
        rest[..TAG_LEN].copy_from_slice(&tag);
        plaintext.len() + TAG_LEN
    }

    fn decrypt(
        &self,
        nonce: u64,
        authtext: &[u8],
        ciphertext: &[u8],
        out: &mut [u8],
    ) -> Result<usize, Error> {
        let (body, tag) = ciphertext
            .split_last_chunk::<TAG_LEN>()
            .ok_or(Error::Decrypt)?;
        let out = out.get_mut(..body.len()).ok_or(Error::Decrypt)?;
        out.copy_from_slice(body);
        self.aead()
            .decrypt_inout_detached(&nonce_of(nonce), authtext, out.into(), tag.into())
            .map_err(|_| Error::Decrypt)?;
        Ok(body.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_of_all_zeros_is_refused() {
        let keys = StaticKeys::from_secret([5; 32]);
        let resolver = Resolver {
            ephemeral: Zeroizing::new([6; 32]),
            keys: keys.clone(),
        };
        let mut dh = resolver.resolve_dh(&DHChoice::Curve25519).unwrap();
        dh.set(keys.secret());
        let mut out = [0; 32];
        // Points of low order: 0, 1 and one of order 8.
        let eighth = [
            0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f,
            0xc4, 0x6a, 0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16,
            0x5f, 0x49, 0xb8, 0x00,
        ];
        let mut one = [0; 32];
        one[0] = 1;
        for point in [[0; 32], one, eighth] {
            assert!(dh.dh(&point, &mut out).is_err(), "{point:02x?}");
        }
        assert!(dh.dh(&[9; 32], &mut out).is_ok());
    }

    #[test]
    fn an_ephemeral_key_is_given_out_once() {
        let resolver = Resolver {
            ephemeral: Zeroizing::new([6; 32]),
            keys: StaticKeys::from_secret([5; 32]),
        };
        let mut random = resolver.resolve_rng().unwrap();
        let mut out = [0; 32];
        assert!(random.try_fill_bytes(&mut out).is_ok());
        assert!(random.try_fill_bytes(&mut out).is_err());
    }
}
