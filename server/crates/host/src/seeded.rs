//! The generator behind a replica's `random`: a keyed hash read as a stream. Nobody who lacks the seed can predict it, and with one seed it repeats.

use cohnect_capabilities::random::Random;

/// Bytes drawn at once: one block of the hash.
const BLOCK_BYTES: usize = 64;

/// A generator of one replica.
pub struct Seeded {
    stream: blake3::OutputReader,
    block: [u8; BLOCK_BYTES],
    used: usize,
}

impl core::fmt::Debug for Seeded {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Seeded").finish_non_exhaustive()
    }
}

impl Seeded {
    /// The generator that belongs to this seed and this replica.
    #[must_use]
    pub fn new(seed: &[u8; 32], replica: u64) -> Self {
        let mut hasher = blake3::Hasher::new_keyed(seed);
        hasher.update(&replica.to_le_bytes());
        Self {
            stream: hasher.finalize_xof(),
            block: [0; BLOCK_BYTES],
            used: BLOCK_BYTES,
        }
    }
}

impl Random for Seeded {
    fn next(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn fill(&mut self, out: &mut [u8]) {
        for byte in out {
            if self.used >= BLOCK_BYTES {
                self.stream.fill(&mut self.block);
                self.used = 0;
            }
            *byte = self.block[self.used];
            self.used += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_and_replicas_differ() {
        let draw = |replica| {
            let mut random = Seeded::new(&[7; 32], replica);
            (0..20).map(|_| random.next()).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }
}
