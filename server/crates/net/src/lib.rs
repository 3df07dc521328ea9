//! The door: sockets and the steering between them, batched system calls, one thread for each shard, and the real clock. It drives [`cohnect_engine`]'s
//! shards and knows nothing of what they do. Linux's batches, its classic BPF and its eventfd come through safe wrappers.
#![forbid(unsafe_code)]

mod clock;
mod door;
mod driver;
mod receive;
mod send;
mod steering;
mod threads;
mod waker;

pub use clock::Clock;
pub use door::{Door, DoorError};
pub use driver::{NetCounters, Report};
pub use threads::{Running, ShardPanicked};
