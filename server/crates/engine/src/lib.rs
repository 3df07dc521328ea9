//! The middle of the server, sans-IO: sessions, operations and their answers in the [`Shard`], and the two structures that all shards share, the
//! [`Directory`] of clients and the [`State`] of values. It opens no socket, reads no clock and names no guest language.
#![forbid(unsafe_code)]

mod directory;
mod ops;
mod outcome;
mod policy;
mod shard;
mod state;

pub use directory::{Card, Directory, Fan, OwnTagsError, Seat};
pub use policy::Policy;
pub use shard::{Shard, ShardCounters, ShardSetup};
pub use state::{Gate, State};
