//! A session after its handshake: protected datagrams in, messages out, and back (PROTOCOL.md 4 to 6). It knows no address, no handshake and no
//! operation's meaning, and reads no clock.

mod credit;
mod life;
mod message;
mod packing;
mod receive;
mod receive_spaces;
mod replay;
mod requests;
mod send_queue;
mod transmit;

#[cfg(test)]
mod tests;

use core::fmt;
use core::time::Duration;
use std::collections::VecDeque;

use bytes::Bytes;

use credit::ReceiveCredit;
use life::Life;
pub use message::{
    Dropped, Outgoing, RequestContext, RequestId, Role, SendError, SessionEvent, SessionSetup,
};
use receive_spaces::ReceiveSpaces;
use replay::ReplayWindow;
use requests::OpenRequests;
use send_queue::{Message, SendQueue};

use crate::header::HEADER_LEN;
use crate::limits::{BODY_LEN_MAX, CHANNELS, MESSAGE_LEN_MAX, WINDOW_TO_CLIENT, WINDOW_TO_SERVER};
use crate::ops::{Detail, Outcome};
use crate::recovery::{Arrivals, PacketNumbers, Recovery};
use crate::wire::{CloseCode, Mode, OpKind};
use crate::{AesPacketKey, Header, Monotonic, Opcode, PacketKey, PeerId, ProtectedPrefix, VERSION};

/// One session of one client with one server.
///
/// Whoever drives it calls, in this order and whenever there is cause: [`Self::handle_datagram`] for each datagram and
/// [`Self::handle_timeout`] when [`Self::poll_timeout`] has come; [`Self::poll_event`] until it is empty; the verbs that send; and
/// [`Self::poll_transmit`] until it answers false. Answers that are given before `poll_transmit` share datagrams and carry the
/// acknowledgements with them. Every verb may change what `poll_transmit` and `poll_timeout` say next, `poll_event` too: it raises the credit.
pub struct Session<K = AesPacketKey> {
    role: Role,
    local: PeerId,
    peer: PeerId,
    number: u8,
    /// The clear header and flags of everything that is sent.
    clear: [u8; HEADER_LEN + 1],
    seal: K,
    open: K,
    message_len_max: usize,

    replay: ReplayWindow,
    arrivals: Arrivals,
    spaces: ReceiveSpaces,
    receive_credit: ReceiveCredit,
    /// With the credit that each gives back when it is taken.
    events: VecDeque<(u64, SessionEvent)>,
    /// Requests of the peer that were handed out and not answered.
    unanswered: usize,
    opened: u64,

    numbers: PacketNumbers,
    recovery: Recovery,
    queue: SendQueue,
    requests: OpenRequests,
    window_due: bool,
    ping_due: bool,
    /// Datagrams in a row that wanted no acknowledgement.
    silent_acks: u8,
    sealed: u64,

    life: Life,
}

impl<K: PacketKey> Session<K> {
    /// The session of a finished handshake. A client's says PING at once, unless something else
    /// is to be said, which confirms the keys.
    #[must_use]
    pub fn new(setup: SessionSetup<K>, now: Monotonic) -> Self {
        let header = Header {
            version: VERSION,
            sender: setup.local,
            opcode: Opcode::CONTROL,
        };
        let prefix = ProtectedPrefix {
            epoch: 0,
            session: setup.number,
            packet_number: 0,
        };
        let mut clear = [0; HEADER_LEN + 1];
        clear[..HEADER_LEN].copy_from_slice(&header.encode());
        clear[HEADER_LEN] = prefix.encode()[0];
        let (send, receive) = match setup.role {
            Role::Client => (WINDOW_TO_SERVER, WINDOW_TO_CLIENT),
            Role::Server => (WINDOW_TO_CLIENT, WINDOW_TO_SERVER),
        };
        Self {
            role: setup.role,
            local: setup.local,
            peer: setup.peer,
            number: setup.number,
            clear,
            message_len_max: message_len_max(setup.peer_max_message),
            replay: ReplayWindow::new(),
            arrivals: Arrivals::new(setup.max_ack_delay),
            spaces: ReceiveSpaces::new(),
            receive_credit: ReceiveCredit::new(receive),
            events: VecDeque::new(),
            unanswered: 0,
            opened: 0,
            numbers: PacketNumbers::new(setup.skip_seed),
            recovery: Recovery::new(now, setup.handshake_rtt, setup.peer_max_ack_delay),
            queue: SendQueue::new(send),
            requests: OpenRequests::new(),
            window_due: false,
            ping_due: setup.role == Role::Client,
            silent_acks: 0,
            sealed: 0,
            life: Life::new(now, setup.idle_timeout, setup.keepalive, setup.away),
            seal: setup.seal,
            open: setup.open,
        }
    }

    /// What happened, oldest first. Taking a reliable message gives its sender credit for another.
    pub fn poll_event(&mut self) -> Option<SessionEvent> {
        let (credit, event) = self.events.pop_front()?;
        self.consume(credit);
        Some(event)
    }

    /// Queues a message that nobody answers. While the peer is away an unreliable one is dropped.
    ///
    /// # Errors
    /// [`SendError`]; nothing is queued then.
    pub fn send(&mut self, now: Monotonic, message: Outgoing) -> Result<(), SendError> {
        self.check(&message)?;
        self.enqueue(now, message, OpKind::Message);
        Ok(())
    }

    /// Queues what the peer has to hear, such as the end of what it relies on, also where its 1 MiB is full: it counts like an answer, and a peer that takes
    /// none of them is closed.
    ///
    /// # Errors
    /// [`SendError`], though never [`SendError::Busy`]; nothing is queued then.
    pub fn send_owed(&mut self, now: Monotonic, message: Outgoing) -> Result<(), SendError> {
        match self.check(&message) {
            Ok(()) | Err(SendError::Busy) => {}
            Err(refused) => return Err(refused),
        }
        self.enqueue(now, message, OpKind::Message);
        self.close_if_deaf(now);
        Ok(())
    }

    /// Queues a request. Its answer comes as [`SessionEvent::Response`]; whoever stops waiting says so with [`Self::forget`].
    ///
    /// # Errors
    /// [`SendError`]; nothing is queued then.
    pub fn request(&mut self, now: Monotonic, message: Outgoing) -> Result<RequestId, SendError> {
        if message.mode == Mode::UnreliableSequenced {
            return Err(SendError::Form);
        }
        self.check(&message)?;
        let id = self.requests.open().ok_or(SendError::Busy)?;
        self.enqueue(now, message, OpKind::Request { id: id.0 });
        Ok(id)
    }

    /// Gives a request up: an answer that still comes is dropped. False when it was not open.
    pub fn forget(&mut self, request: RequestId) -> bool {
        self.requests.close(request)
    }

    /// Answers a request. Each one that [`SessionEvent::Message`] handed out is answered exactly once, whatever becomes of it: 256 without an
    /// answer make the next *busy*. The answer is queued even when the queue is full, and a body that is longer than the peer takes becomes
    /// BAD 0x0104 (too large).
    ///
    /// # Errors
    /// [`SendError::Closed`].
    pub fn respond(
        &mut self,
        now: Monotonic,
        request: RequestContext,
        outcome: Outcome,
        body: Bytes,
    ) -> Result<(), SendError> {
        if !self.life.is_open() {
            return Err(SendError::Closed);
        }
        self.unanswered = self.unanswered.saturating_sub(1);
        if body.len() > self.message_len_max {
            self.answer(now, request, Outcome::Bad(Detail::TOO_LARGE), Bytes::new());
        } else {
            self.answer(now, request, outcome, body);
        }
        Ok(())
    }

    /// Asks the peer for a sign of life: a PING leaves with the next datagram.
    pub const fn ping(&mut self) {
        self.ping_due = true;
    }

    /// The smoothed round trip; 333 ms before the first sample.
    #[must_use]
    pub const fn rtt(&self) -> Duration {
        self.recovery.rtt()
    }

    /// When a datagram of the peer last opened; the start of the session before the first.
    #[must_use]
    pub const fn last_heard(&self) -> Monotonic {
        self.life.last_heard()
    }

    /// Whether the peer was silent for longer than the idle timeout.
    #[must_use]
    pub const fn is_away(&self) -> bool {
        self.life.is_away()
    }

    /// Whether something can be sent: nobody has begun to close it.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.life.is_open()
    }

    /// Whether the session has ended for its owner: nothing can be sent, nothing comes.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.life.is_closed()
    }

    /// Whether it has ended altogether, the last CLOSE sent: it can be dropped.
    #[must_use]
    pub const fn is_drained(&self) -> bool {
        self.life.is_drained()
    }

    /// Probes in a row without an answer. A client whose third is unanswered tries a new handshake beside (PROTOCOL.md 6.6).
    #[must_use]
    pub const fn unanswered_probes(&self) -> u32 {
        self.recovery.unanswered_probes()
    }

    /// Datagrams that want an acknowledgement and have none, at most 64 beside probes.
    #[must_use]
    pub const fn in_flight(&self) -> usize {
        self.recovery.in_flight()
    }

    /// Bytes that wait to be sent or acknowledged, 64 beside the body of each message.
    #[must_use]
    pub const fn queued_bytes(&self) -> u64 {
        self.queue.bytes()
    }

    /// Our requests that wait for an answer.
    #[must_use]
    pub const fn open_requests(&self) -> usize {
        self.requests.len()
    }

    /// The longest body that the peer takes, in bytes.
    #[must_use]
    pub const fn message_len_max(&self) -> usize {
        self.message_len_max
    }

    /// Which end this is.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// Our UUID.
    #[must_use]
    pub const fn local(&self) -> PeerId {
        self.local
    }

    /// The peer's UUID.
    #[must_use]
    pub const fn peer(&self) -> PeerId {
        self.peer
    }

    /// Which of the client's sessions.
    #[must_use]
    pub const fn number(&self) -> u8 {
        self.number
    }

    fn check(&self, message: &Outgoing) -> Result<(), SendError> {
        if !self.life.is_open() {
            return Err(SendError::Closed);
        }
        if message.channel >= CHANNELS {
            return Err(SendError::Form);
        }
        if message.body.len() > self.message_len_max {
            return Err(SendError::TooLarge);
        }
        if !self.queue.has_room(message.body.len()) {
            return Err(SendError::Busy);
        }
        Ok(())
    }

    fn enqueue(&mut self, now: Monotonic, message: Outgoing, kind: OpKind) {
        if self.life.is_away() && !message.mode.is_reliable() {
            return;
        }
        let version = if message.opcode.belongs_to_modules() {
            message.version
        } else {
            0
        };
        let message = Message {
            mode: message.mode,
            channel: message.channel,
            version,
            opcode: message.opcode.0,
            kind,
            body: message.body,
        };
        self.queue.push(now, message);
    }

    /// Queues an answer beyond the bound of the queue, up to the one where a peer that takes nothing is closed.
    fn answer(&mut self, now: Monotonic, request: RequestContext, outcome: Outcome, body: Bytes) {
        if self.life.is_away() && !request.mode.is_reliable() {
            return;
        }
        let message = Message {
            mode: request.mode,
            channel: request.channel,
            version: request.version,
            opcode: request.opcode.0,
            kind: OpKind::Response {
                id: request.id.0,
                outcome,
            },
            body,
        };
        self.queue.push(now, message);
        self.close_if_deaf(now);
    }

    fn close_if_deaf(&mut self, now: Monotonic) {
        if self.queue.is_beyond_bound() {
            self.close_now(now, CloseCode::INTERNAL, "answers are not taken");
        }
    }

    fn consume(&mut self, credit: u64) {
        if credit > 0 && self.receive_credit.consume(credit) {
            self.window_due = true;
        }
    }

    /// Gives back the memory of a busy time; called in quiet ones.
    fn rest(&mut self) {
        self.events.shrink_to_fit();
        self.queue.rest();
        self.recovery.rest();
        self.arrivals.rest();
        self.requests.rest();
    }

    /// Bytes of memory, bodies aside.
    #[cfg(test)]
    fn memory_len(&self) -> usize {
        size_of::<Self>()
            + self.events.capacity() * size_of::<(u64, SessionEvent)>()
            + self.queue.heap_len()
            + self.recovery.heap_len()
            + self.arrivals.heap_len()
            + self.spaces.heap_len()
            + self.requests.heap_len()
    }
}

/// What fits one frame is always taken, whatever the peer announces (PROTOCOL.md 3.3). Until fragments exist nothing longer is sent either.
fn message_len_max(announced: u32) -> usize {
    usize::try_from(announced)
        .unwrap_or(usize::MAX)
        .clamp(BODY_LEN_MAX, MESSAGE_LEN_MAX as usize)
}

impl<K> fmt::Debug for Session<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("role", &self.role)
            .field("peer", &self.peer)
            .field("number", &self.number)
            .field("life", &self.life)
            .finish_non_exhaustive()
    }
}
