//! What the fuzz targets of `fuzz/` run, as functions over bytes: each holds a part of this crate against what it promises, and panics when the promise
//! breaks. It is compiled for tests, which run every kept input again, and for the targets (feature `fuzzing`).

mod bodies;
mod handshake;
mod session;

#[cfg(test)]
mod tests;

pub use bodies::{header, operations};
pub use handshake::{hello, noise_payload, retry_accept};
pub use session::{ack_ranges, frames, session_stateful};

use crate::{Entropy, PacketKey, TAG_LEN};

/// A fuzz target: its name, and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 8] = [
    ("header", header),
    ("hello", hello),
    ("noise_payload", noise_payload),
    ("frames", frames),
    ("session_stateful", session_stateful),
    ("ack_ranges", ack_ranges),
    ("retry_accept", retry_accept),
    ("operations", operations),
];

/// The input, taken from the front; zeros when it is used up.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        let taken = self.bytes(N);
        out[..taken.len()].copy_from_slice(taken);
        out
    }

    fn u8(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.array())
    }

    fn u64(&mut self) -> u64 {
        u64::from_be_bytes(self.array())
    }

    /// At most so many.
    fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (head, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        head
    }

    const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The same for every input, so that an input always does the same.
struct Fixed(u64);

impl Entropy for Fixed {
    fn fill(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (self.0 ^ (self.0 >> 31)).wrapping_mul(0x94d0_49bb_1331_11eb);
            chunk.copy_from_slice(&mixed.to_le_bytes()[..chunk.len()]);
        }
    }
}

/// A key that hides nothing and takes everything, so that a fuzzer reaches what lies behind it.
struct Open;

impl PacketKey for Open {
    fn derive(_: &[u8; 32]) -> Self {
        Self
    }

    fn seal(&self, _: u64, _: &[u8], _: &mut [u8]) -> [u8; TAG_LEN] {
        [0; TAG_LEN]
    }

    fn open(&self, _: u64, _: &[u8], _: &mut [u8], _: &[u8; TAG_LEN]) -> bool {
        true
    }
}
