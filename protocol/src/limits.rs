//! The numbers that bound a session, each with its reason (PROTOCOL.md 5, 6.4, 6.5, 6.6). The sizes of datagrams are in `header.rs`, those of
//! handshakes beside the handshake.

use core::time::Duration;

use crate::header::{ASSOCIATED_LEN, DATAGRAM_LEN_MAX, TAG_LEN};

/// Bytes of frames in one datagram: what its clear fields and its tag leave.
pub const FRAMES_LEN_MAX: usize = DATAGRAM_LEN_MAX - ASSOCIATED_LEN - TAG_LEN;

/// The longest body of one OP frame: with the longest fields in front of it, an ACK of one run still fits the same datagram.
pub const BODY_LEN_MAX: usize = 1_100;

/// The longest message, which both sides announce as `max_message`: one frame, until fragments are announced.
pub const MESSAGE_LEN_MAX: u32 = BODY_LEN_MAX as u32;

/// Channels of each mode; more would buy nothing but state.
pub const CHANNELS: u8 = 32;

/// A client pads what wants an acknowledgement to this, so that an idle one can answer for its address later (7).
pub const CLIENT_ELICITING_LEN_MIN: usize = 73;

/// Gap and run pairs in one ACK: 142 bytes in all, and a receiver remembers no more.
pub const ACK_PAIRS_MAX: usize = 32;

/// Bytes of text in a CLOSE: a reason, not a story.
pub const CLOSE_TEXT_LEN_MAX: usize = 64;

/// Packet numbers that a receiver tells apart behind the highest: 256 bytes, and more than any network reorders.
pub const REPLAY_WINDOW: u64 = 2_048;

/// Ids of one reliable space that may be open at once: bounds what a receiver remembers to stay exactly-once.
pub const MESSAGE_WINDOW: u32 = 1_024;

/// Datagrams that want an acknowledgement and have none yet. It stands in for congestion control: 64 datagrams a round trip are 3 MB/s at 25 ms,
/// and 77 kB are less than any socket buffer.
pub const IN_FLIGHT_MAX: usize = 64;

/// Datagrams that recovery remembers: those in flight and as many probes; beyond it the oldest counts as lost.
pub const SENT_MAX: usize = 2 * IN_FLIGHT_MAX;

/// Skipped packet numbers that are remembered to catch a peer that acknowledges what it cannot have received.
pub const SKIPS_REMEMBERED: usize = 16;

/// The fewest datagrams between two skipped packet numbers; the most are four times as many.
pub const SKIP_EVERY_MIN: u64 = 256;

/// Datagrams under one key; then the session ends with CLOSE 8. AES-256-GCM keeps its margin of 2^-68 up to here.
pub const DATAGRAMS_PER_KEY_MAX: u64 = 1 << 23;

/// What a sender leaves of its key for the CLOSE that says so, three times, with room to spare.
pub const DATAGRAMS_KEPT_FOR_CLOSE: u64 = 16;

/// Bytes that a message costs beside its body, in the credit and in the send queue. Both sides count alike, so it is a number of the wire. What a message
/// occupies beside its body, measured as resident memory of 400,000 messages each: 60 to 100 bytes in the queues, where the allocator's rounding makes the
/// difference, and 117 to 132 in the map of those that came too early; so messages without a body take up to twice what they cost.
pub const MESSAGE_OVERHEAD: u64 = 64;

/// Credit towards the server at the start: 256 KiB a client, so that 10,000 clients cannot make a server hold more than 2.5 GiB; how many clients there
/// may be is configured.
pub const WINDOW_TO_SERVER: u64 = 256 * 1024;

/// Credit towards the client at the start: a client has one server.
pub const WINDOW_TO_CLIENT: u64 = 2 * 1024 * 1024;

/// Bytes that wait in a session to be sent or acknowledged; above it senders hear *busy* before work is done.
pub const SEND_QUEUE_MAX: u64 = 1024 * 1024;

/// Where the send queue ends even for answers, which are always taken: a peer that goes on asking without taking its answers is closed here.
/// Half a mebibyte above the other bound, so that the answers to `REQUESTS_MAX` requests always fit.
pub const SEND_QUEUE_HARD_MAX: u64 = SEND_QUEUE_MAX + 512 * 1024;

/// Requests of one direction that wait for their answers.
pub const REQUESTS_MAX: usize = 256;

/// Request ids stay below this: the upper half names the streams that a server begins (6.2).
pub const REQUEST_ID_END: u32 = 1 << 31;

/// Events that wait to be polled, above which unreliable messages are dropped: reliable ones are bounded by the credit.
pub const EVENTS_MAX: usize = 4_096;

/// How long an unreliable message waits for a place in a datagram: older state of a game is worth nothing.
pub const UNRELIABLE_WAIT_MAX: Duration = Duration::from_secs(1);

/// A datagram this many numbers below the largest acknowledged one is lost (RFC 9002 6.1.1).
pub const PACKET_THRESHOLD: u64 = 3;

/// The resolution of timers, and the least that four mean deviations count (RFC 9002 6.1.2).
pub const GRANULARITY: Duration = Duration::from_millis(1);

/// The round trip assumed before the first sample (RFC 9002 6.2.2).
pub const INITIAL_RTT: Duration = Duration::from_millis(333);

/// The longest time between two probes: backing off further would only delay the return of a peer.
pub const PROBE_INTERVAL_MAX: Duration = Duration::from_secs(2);

/// A peer that sends but acknowledges nothing for this long is closed: it would hold the send queue full for ever.
pub const DEAF_MAX: Duration = Duration::from_secs(15);

/// How long a graceful close waits for acknowledgements.
pub const LINGER_MAX: Duration = Duration::from_secs(1);

/// How often CLOSE is sent.
pub const CLOSE_COUNT: u8 = 3;

/// The time between two of the three CLOSE datagrams: all within 100 ms.
pub const CLOSE_INTERVAL: Duration = Duration::from_millis(50);

/// Datagrams in a row without anything to acknowledge, after which a receiver that reports gaps adds a PING: only its acknowledgement lets the
/// reported ranges shrink.
pub const SILENT_ACKS_MAX: u8 = 16;
