//! Which shard of a server a client's datagrams belong to: one formula, computed alike by the kernel's filter and by the server itself.

/// Two odd factors drawn when a server starts, so that nobody can choose a shard by trying keys; fixed in tests.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SteeringKeys {
    k1: u32,
    k2: u32,
}

impl SteeringKeys {
    /// Takes any two numbers and makes them odd (an even factor would throw bits of the identity away).
    #[must_use]
    pub const fn new(k1: u32, k2: u32) -> Self {
        Self {
            k1: k1 | 1,
            k2: k2 | 1,
        }
    }

    /// The two factors, as the kernel's filter needs them.
    #[must_use]
    pub const fn factors(self) -> (u32, u32) {
        (self.k1, self.k2)
    }
}

impl core::fmt::Debug for SteeringKeys {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("SteeringKeys")
    }
}

/// The shard of the client whose UUID has this text, of `shards` in all (0 counts as 1).
///
/// `((((a × k1 + b) × k2) mod 2^32) >> 16) mod shards`, where `a` and `b` are the big-endian words of bytes 28..32 and 32..36 of the
/// hyphenated text, so that a classic BPF program can compute the same from a datagram (bytes 29..33 and 33..37).
#[must_use]
pub const fn shard_of(uuid_text: &[u8; 36], keys: SteeringKeys, shards: u32) -> u32 {
    let a = u32::from_be_bytes([uuid_text[28], uuid_text[29], uuid_text[30], uuid_text[31]]);
    let b = u32::from_be_bytes([uuid_text[32], uuid_text[33], uuid_text[34], uuid_text[35]]);
    let mixed = a
        .wrapping_mul(keys.k1)
        .wrapping_add(b)
        .wrapping_mul(keys.k2);
    if shards == 0 {
        0
    } else {
        (mixed >> 16) % shards
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shard_gets_its_share() {
        let keys = SteeringKeys::new(0x9e37_79b8, 0x85eb_ca6b);
        for shards in 1..=16_u32 {
            let mut counts = vec![0_u32; shards as usize];
            for n in 0..16_000_u64 {
                let id = uuid::Uuid::from_u64_pair(1, n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
                let mut text = [0; 36];
                id.hyphenated().encode_lower(&mut text);
                counts[shard_of(&text, keys, shards) as usize] += 1;
            }
            let fair = 16_000 / shards;
            assert!(
                counts.iter().all(|&n| n > fair / 2 && n < fair * 2),
                "{shards}: {counts:?}"
            );
        }
    }
}
