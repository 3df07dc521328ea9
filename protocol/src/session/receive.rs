//! A datagram from the wire to its events (PROTOCOL.md 4, 5): checked, opened once, parsed whole, then applied.

use bytes::Bytes;

use super::Session;
use super::credit::cost;
use super::message::{Dropped, RequestContext, RequestId, SessionEvent};
use super::receive_spaces::Verdict;
use super::send_queue::Message;
use crate::header::{ASSOCIATED_LEN, HEADER_LEN, TAG_LEN};
use crate::limits::{DATAGRAMS_PER_KEY_MAX, EVENTS_MAX, REQUESTS_MAX};
use crate::ops::{Detail, Outcome};
use crate::wire::{Ack, CloseCode, Contents, FrameError, OpFrame, OpKind};
use crate::{Monotonic, Opcode, PacketKey, ProtectedPrefix};

impl<K: PacketKey> Session<K> {
    /// Takes a datagram whose clear header was found to belong to this session. It is decrypted in place.
    ///
    /// # Errors
    /// [`Dropped`] says why it had no effect, for a counter; only [`Dropped::Protocol`] changes the session, which then is closing.
    pub fn handle_datagram(&mut self, now: Monotonic, datagram: &mut [u8]) -> Result<(), Dropped> {
        if self.life.is_closed() {
            return Err(Dropped::Closed);
        }
        let prefix = ProtectedPrefix::parse(datagram).ok_or(Dropped::Malformed)?;
        let number = prefix.packet_number;
        if prefix.session != self.number {
            return Err(Dropped::Session);
        }
        if prefix.epoch != 0 {
            return Err(Dropped::Epoch);
        }
        if number == 0 || !self.replay.is_fresh(number) {
            return Err(Dropped::Replayed);
        }
        let (clear, sealed) = datagram
            .split_at_mut_checked(ASSOCIATED_LEN)
            .ok_or(Dropped::Malformed)?;
        let (frames, tag) = sealed
            .split_last_chunk_mut::<TAG_LEN>()
            .ok_or(Dropped::Malformed)?;
        if !self.open.open(number, clear, frames, tag) {
            return Err(Dropped::Forged);
        }
        self.replay.mark(number);
        self.opened += 1;
        let opcode = Opcode(u16::from_be_bytes([
            clear[HEADER_LEN - 2],
            clear[HEADER_LEN - 1],
        ]));
        let contents = match Contents::parse(frames, opcode) {
            Ok(contents) if contents.ack.is_none_or(|ack| self.numbers.were_sent(&ack)) => contents,
            Ok(_) => return self.fail(now, FrameError::Ack),
            Err(error) => return self.fail(now, error),
        };
        if let Err(error) = self.apply(now, number, &contents) {
            return self.fail(now, error);
        }
        if self.opened >= DATAGRAMS_PER_KEY_MAX {
            self.close_now(now, CloseCode::KEY_USED_UP, "");
        }
        Ok(())
    }

    fn apply(
        &mut self,
        now: Monotonic,
        number: u64,
        contents: &Contents<'_>,
    ) -> Result<(), FrameError> {
        self.heard(now);
        self.arrivals
            .record(now, number, contents.is_eliciting(), contents.ping);
        if let Some(ack) = &contents.ack {
            self.apply_ack(now, ack);
        }
        if let Some(total) = contents.window {
            self.queue.raise_credit(total);
        }
        if contents.has_operations() {
            self.life.busy(now);
            for op in contents.ops() {
                self.apply_operation(now, &op)?;
                if self.life.is_closed() {
                    return Ok(());
                }
            }
        } else {
            self.rest_if_quiet(now);
        }
        if let Some((code, text)) = contents.close {
            self.closed_by_peer(code, text);
            return Ok(());
        }
        self.check_deaf(now);
        self.finish_lingering(now);
        Ok(())
    }

    fn apply_ack(&mut self, now: Monotonic, ack: &Ack<'_>) {
        let acknowledged = self
            .recovery
            .on_ack(now, ack, |frame| self.queue.acknowledged(frame));
        if acknowledged.ack_largest > 0 {
            self.arrivals.forget_up_to(acknowledged.ack_largest);
        }
        self.detect_losses(now);
    }

    pub(super) fn detect_losses(&mut self, now: Monotonic) {
        self.window_due |= self
            .recovery
            .detect_losses(now, |frame, number| self.queue.lost(frame, number));
    }

    fn apply_operation(&mut self, now: Monotonic, op: &OpFrame<'_>) -> Result<(), FrameError> {
        let verdict = self.spaces.see(op)?;
        let reliable = op.mode.is_reliable();
        if verdict == Verdict::Drop || (!reliable && self.events.len() >= EVENTS_MAX) {
            return Ok(());
        }
        if reliable {
            self.receive_credit.receive(cost(op.body.len()))?;
        }
        let message = Message {
            mode: op.mode,
            channel: op.channel,
            version: op.version,
            opcode: op.opcode,
            kind: op.kind,
            body: Bytes::copy_from_slice(op.body),
        };
        if verdict == Verdict::Hold {
            self.spaces.hold(op.message_id, message);
            return Ok(());
        }
        let ordered = op.mode == crate::Mode::ReliableOrdered;
        self.deliver(now, message);
        while ordered && let Some(message) = self.spaces.next_in_order(op.channel) {
            self.deliver(now, message);
        }
        Ok(())
    }

    fn deliver(&mut self, now: Monotonic, message: Message) {
        let credit = if message.mode.is_reliable() {
            cost(message.body.len())
        } else {
            0
        };
        let request = match message.kind {
            OpKind::Message => None,
            OpKind::Request { id } => {
                let request = RequestContext {
                    id: RequestId(id),
                    opcode: Opcode(message.opcode),
                    version: message.version,
                    channel: message.channel,
                    mode: message.mode,
                };
                if !self.admits_request() {
                    self.consume(credit);
                    self.refuse(now, request);
                    return;
                }
                self.unanswered += 1;
                Some(request)
            }
            OpKind::Response { id, outcome } => {
                let request = RequestId(id);
                if self.requests.close(request) {
                    let body = message.body;
                    let response = SessionEvent::Response {
                        request,
                        outcome,
                        body,
                    };
                    self.events.push_back((credit, response));
                } else {
                    self.consume(credit);
                }
                return;
            }
        };
        let event = SessionEvent::Message {
            opcode: Opcode(message.opcode),
            version: message.version,
            channel: message.channel,
            mode: message.mode,
            request,
            body: message.body,
        };
        self.events.push_back((credit, event));
    }

    /// Whether a request of the peer is handed out: its answer must find room, and not too many wait already.
    const fn admits_request(&self) -> bool {
        self.unanswered < REQUESTS_MAX && self.queue.has_room(0)
    }

    /// Answers *busy* before any work is done, like any answer beyond the queue's bound.
    fn refuse(&mut self, now: Monotonic, request: RequestContext) {
        self.answer(now, request, Outcome::Err(Detail::BUSY), Bytes::new());
    }

    /// A protocol error: nothing of the datagram is acknowledged, CLOSE 1.
    fn fail(&mut self, now: Monotonic, error: FrameError) -> Result<(), Dropped> {
        self.close_now(now, CloseCode::PROTOCOL_ERROR, "");
        Err(Dropped::Protocol(error))
    }
}
