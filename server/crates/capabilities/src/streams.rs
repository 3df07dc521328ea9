//! `streams`: server-to-client topics. Who has one open is asked here; what goes out on them is an [`crate::Effect`].

use crate::ClientId;

/// Longest topic in bytes: what a `name8` of the wire holds.
pub const TOPIC_BYTES_MAX: usize = 255;

/// The topics that clients have open, for every home.
pub trait Streams: Send + Sync {
    /// How many clients have it open.
    fn subscribers(&self, topic: &str) -> u32;
    /// Whether this client has it open.
    fn is_open(&self, topic: &str, client: ClientId) -> bool;
}
