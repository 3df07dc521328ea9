//! The middle of the server, sans-IO: sessions, operations and their answers in the [`Shard`](shard), and the two structures that all shards share,
//! the [`Directory`] of clients and the [`State`] of values. It opens no socket, reads no clock and names no guest language.
#![forbid(unsafe_code)]

mod directory;
mod state;

pub use directory::{Card, Directory, Fan, OwnTagsError, Seat};
pub use state::{Gate, State};
