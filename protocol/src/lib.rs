//! The cohnect wire, sans-IO: what two endpoints say to each other, byte for byte.
//!
//! This crate opens no socket, reads no clock and draws no randomness: datagrams, [`Now`] and [`Entropy`] are passed in, datagrams and events are
//! polled out. Section numbers in comments cite `PROTOCOL.md`, the normative text.
#![forbid(unsafe_code)]

mod entropy;
mod steering;
mod time;

pub use entropy::Entropy;
pub use steering::{SteeringKeys, shard_of};
pub use time::{Monotonic, Now};
