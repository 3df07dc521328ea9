//! `timers`: wake-ups of the calling instance, by name. Setting one is an [`crate::Effect`].

/// Longest name in bytes.
pub const NAME_BYTES_MAX: usize = 255;
/// Timers of one instance: enough for one per player of a large room; each costs its name and data in memory.
pub const TIMERS_MAX: usize = 4_096;
/// Shortest period in microseconds: the host looks at timers once a millisecond at the most.
pub const PERIOD_US_MIN: u64 = 1_000;
/// Largest data in bytes that a timer carries: what it has to remember is a name or a few numbers, and all timers of one instance hold no more than the memory
/// that a replica has without a word, 16 MiB. More belongs into `state`.
pub const DATA_BYTES_MAX: usize = 4 * 1024;
