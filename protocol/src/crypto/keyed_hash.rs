//! The hasher of every map whose keys a peer chooses: SipHash under a secret, so that nobody can choose keys that collide. It draws no
//! randomness of its own.

use core::fmt;
use core::hash::BuildHasher;

use siphasher::sip::SipHasher13;

use crate::Entropy;

/// Builds hashers that share one secret.
#[derive(Clone)]
pub struct KeyedState {
    first: u64,
    second: u64,
}

impl KeyedState {
    /// Draws a secret.
    #[must_use]
    pub fn new(entropy: &mut dyn Entropy) -> Self {
        Self {
            first: entropy.next_u64(),
            second: entropy.next_u64(),
        }
    }
}

impl BuildHasher for KeyedState {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.first, self.second)
    }
}

impl fmt::Debug for KeyedState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyedState")
    }
}
