//! `random`: the replica's own generator.

use cohnect_capabilities::{Error, Result};

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
    ///
    /// # Errors
    /// `InvalidArgument` when no number lies between the two.
    pub fn random_integer(&mut self, low: i64, high: i64) -> Result<i64> {
        if low > high {
            return Err(Error::invalid(format!(
                "`low` is {low}, above `high`, which is {high}"
            )));
        }
        Ok(self.context.random.integer(low, high))
    }

    /// `random.bytes`
    ///
    /// # Errors
    /// `LimitExceeded` above 64 KiB.
    pub fn random_bytes(&mut self, len: u32) -> Result<Vec<u8>> {
        if len > RANDOM_BYTES_MAX {
            return Err(Error::limit(
                "random-bytes",
                RANDOM_BYTES_MAX.into(),
                len.into(),
            ));
        }
        let mut bytes = vec![0; len as usize];
        self.context.random.fill(&mut bytes);
        Ok(bytes)
    }
}
