//! The AEAD of every simulation: it fails on the second use of a key and nonce, whoever holds the key.

use std::cell::RefCell;
use std::collections::BTreeSet;

use cohnect_protocol::{AesPacketKey, PacketKey, TAG_LEN};

thread_local! {
    /// What was sealed on this thread, that is in this test: secret and packet number.
    static SEALED: RefCell<BTreeSet<([u8; 32], u64)>> = const { RefCell::new(BTreeSet::new()) };
}

/// Forgets what was sealed: a simulation that is run again with its seed draws its keys again.
pub(crate) fn begin() {
    SEALED.with_borrow_mut(BTreeSet::clear);
}

pub(crate) struct RecordingKey {
    secret: [u8; 32],
    key: AesPacketKey,
}

impl PacketKey for RecordingKey {
    fn derive(secret: &[u8; 32]) -> Self {
        Self {
            secret: *secret,
            key: AesPacketKey::derive(secret),
        }
    }

    fn seal(&self, packet_number: u64, associated: &[u8], buffer: &mut [u8]) -> [u8; TAG_LEN] {
        let first = SEALED.with_borrow_mut(|sealed| sealed.insert((self.secret, packet_number)));
        assert!(
            first,
            "packet number {packet_number} was sealed twice under one key"
        );
        self.key.seal(packet_number, associated, buffer)
    }

    fn open(
        &self,
        packet_number: u64,
        associated: &[u8],
        buffer: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> bool {
        self.key.open(packet_number, associated, buffer, tag)
    }
}

#[test]
fn a_key_and_nonce_are_never_used_twice() {
    begin();
    let seal = |secret: u8, number: u64| {
        std::panic::catch_unwind(|| RecordingKey::derive(&[secret; 32]).seal(number, &[], &mut []))
    };
    assert!(seal(1, 1).is_ok());
    assert!(seal(1, 2).is_ok());
    assert!(seal(2, 1).is_ok());
    assert!(seal(1, 1).is_err(), "the repeat was not noticed");
}
