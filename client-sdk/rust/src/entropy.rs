//! Randomness from the operating system, as the protocol wants it. It seeds nothing and keeps nothing.

use cohnect_protocol::Entropy;

/// The operating system's generator.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    fn fill(&mut self, out: &mut [u8]) {
        // Without entropy no key is safe, and no caller could go on: this is the one failure that ends the task.
        getrandom::fill(out).expect("invariant: the operating system has entropy");
    }
}

/// A random fraction in 0..1, for back-off.
pub(crate) fn fraction() -> f64 {
    let bits = OsEntropy.next_u64() >> 11;
    bits as f64 / (1_u64 << 53) as f64
}
