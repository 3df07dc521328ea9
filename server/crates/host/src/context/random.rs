//! `random`: the replica's own generator.

use super::Entered;
use crate::limits::RANDOM_BYTES_MAX;

impl Entered<'_> {
    /// `random.next`
    pub fn random_next(&mut self) -> u64 {
        self.context.random.next()
    }

    /// `random.number`
    pub fn random_number(&mut self) -> f64 {
        self.context.random.number()
    }

    /// `random.integer`
    pub fn random_integer(&mut self, low: i64, high: i64) -> i64 {
        self.context.random.integer(low, high)
    }

    /// `random.bytes`: at most 64 KiB.
    pub fn random_bytes(&mut self, len: u32) -> Vec<u8> {
        let mut bytes = vec![0; len.min(RANDOM_BYTES_MAX) as usize];
        self.context.random.fill(&mut bytes);
        bytes
    }
}
