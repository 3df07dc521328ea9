//! What one call and one replica may use. Each number stands beside its reason; the manifest changes those that depend on the game.

use core::time::Duration;

/// Host calls of one call, weighted by their cost: at about 50 ns each half a millisecond, a sixth of the fast deadline.
pub const HOST_CALLS_MAX: u32 = 10_000;
/// Bytes that one call may send, publish, mail and leave with timers in all, with 128 for each time and 16 to some 50 for each recipient in a list: four
/// times what a 60 Hz room of 64 players needs in a tick.
pub const SENT_BYTES_MAX: u64 = 1024 * 1024;
/// Largest body of one message to a client, in bytes: what fits one datagram, until messages travel in fragments.
pub const MESSAGE_BYTES_MAX: usize = 1_100;
/// What stands before a BROADCAST's payload on its way to a client: the sender and the topic's length byte.
pub const BROADCAST_OVERHEAD: usize = 17;
/// What stands before a stream's item on its way to a client: the stream's id and the kind.
pub const ITEM_OVERHEAD: usize = 5;
/// Largest answer or input between modules in bytes: the largest message that a client may ever send.
pub const MAIL_BYTES_MAX: usize = 64 * 1024;
/// Largest log line in bytes; what is longer is cut: one module must not fill the log's reader.
pub const LOG_BYTES_MAX: usize = 8 * 1024;
/// Fields beside one log line.
pub const LOG_FIELDS_MAX: usize = 32;
/// Most random bytes of one call of `random.bytes`.
pub const RANDOM_BYTES_MAX: u32 = 64 * 1024;
/// Deepest chain of calls between modules: deeper ones are loops that the table of waits did not see.
pub const CALL_DEPTH_MAX: u8 = 8;
/// CPU that a call may use on a shard: a fifth of a 60 Hz frame.
pub const FAST_DEADLINE: Duration = Duration::from_millis(3);
/// CPU that a call may use on a worker, and for loading, saving and restoring anywhere.
pub const SLOW_DEADLINE: Duration = Duration::from_millis(50);
/// Wall time of a call on a worker, waiting included.
pub const WALL_LIMIT: Duration = Duration::from_secs(5);
/// Waiting calls end this long before the wall limit, so that a slow database costs an error and not the replica.
pub const WALL_MARGIN: Duration = Duration::from_millis(50);
/// Calls that wait for one replica.
pub const QUEUE_MAX: u32 = 1_024;
/// What one copy may be told without anybody waiting for an answer, before it hears no more: one event for each of the 100,000 clients of a full server, and
/// a third more. Each client that leaves gives one more for each stream of the module that it had open, so a whole crowd that leaves at once may lose some,
/// which are logged. At about 300 bytes each, a copy that is stalled costs 40 MB. Answers to its mail, up to [`MAIL_BYTES_MAX`] each, come on top; they have
/// places of their own, as many as calls have.
pub const TOLD_MAX: u32 = 131_072;
/// Memory of a Luau replica: its C functions are not interrupted, and 30 MB in one of them held a thread for 41 ms.
pub const LUAU_MEMORY_MIB: u32 = 16;
/// Memory of a Wasm replica.
pub const WASM_MEMORY_MIB: u32 = 32;
/// Fastest ticker without a word in the manifest.
pub const TICK_HZ_MAX: u32 = 128;
/// Copies of a `per-shard` module on workers.
pub const INSTANCES_MAX: u32 = 16;
/// Wall time of each call around a replica's life on a worker: `save`, `restore`, `start`, `stop`.
pub const SETUP_WALL: Duration = Duration::from_secs(1);
/// How long a swap waits for the running call.
pub const SWAP_WAIT: Duration = Duration::from_secs(10);

/// The limits of one module, from its manifest and the defaults of its lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// CPU for one call.
    pub deadline: Duration,
    /// CPU for loading, `describe`, `save` and `restore`.
    pub setup_deadline: Duration,
    /// Wall time for one call on a worker.
    pub wall: Duration,
    /// Memory of one replica in bytes.
    pub memory_bytes: usize,
    /// Weighted host calls of one call.
    pub host_calls: u32,
    /// Bytes sent by one call.
    pub sent_bytes: u64,
    /// Calls that wait for one replica.
    pub queue: u32,
    /// Fastest ticker.
    pub tick_hz: u32,
    /// Copies on workers.
    pub instances: u32,
    /// How long a swap waits for the running call; zero forces the swap.
    pub swap_wait: Duration,
}

impl Limits {
    /// The defaults of a module on a shard (`waits` false) or on a worker, with this much memory.
    #[must_use]
    pub const fn of(waits: bool, memory_mib: u32) -> Self {
        Self {
            deadline: if waits { SLOW_DEADLINE } else { FAST_DEADLINE },
            setup_deadline: SLOW_DEADLINE,
            wall: WALL_LIMIT,
            memory_bytes: memory_mib as usize * 1024 * 1024,
            host_calls: HOST_CALLS_MAX,
            sent_bytes: SENT_BYTES_MAX,
            queue: QUEUE_MAX,
            tick_hz: TICK_HZ_MAX,
            instances: INSTANCES_MAX,
            swap_wait: SWAP_WAIT,
        }
    }
}
