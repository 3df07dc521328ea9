//! What leaves next: one datagram at a time, as full as can be, sealed under a number that is never used again (PROTOCOL.md 4, 5).

use super::Session;
use super::message::Role;
use super::packing::Packing;
use crate::limits::{
    CLIENT_ELICITING_LEN_MIN, DATAGRAMS_KEPT_FOR_CLOSE, DATAGRAMS_PER_KEY_MAX, SILENT_ACKS_MAX,
};
use crate::recovery::Carried;
use crate::wire::{CloseCode, encode_close, encode_window, frame_type};
use crate::{Monotonic, PacketKey};

/// Bytes of a WINDOW frame.
const WINDOW_LEN: usize = 9;

impl<K: PacketKey> Session<K> {
    /// Appends at most one datagram, of at most 1,200 bytes, to `out`; false when nothing has to leave now. Called until then.
    pub fn poll_transmit(&mut self, now: Monotonic, out: &mut Vec<u8>) -> bool {
        if self.life.is_closed() {
            return self.transmit_close(now, out);
        }
        if self.sealed >= DATAGRAMS_PER_KEY_MAX - DATAGRAMS_KEPT_FOR_CLOSE {
            self.close_now(now, CloseCode::KEY_USED_UP, "");
            return self.transmit_close(now, out);
        }
        let may_send = self.recovery.may_send();
        let wants_send = may_send
            && (self.ping_due
                || self.window_due
                || self.recovery.is_probe_due()
                || self.queue.wants_transmit(now));
        if !wants_send && !self.arrivals.is_due(now) {
            return false;
        }
        let probe = self.recovery.is_probe_due();
        if probe {
            self.window_due |= self
                .recovery
                .make_room(|frame, number| self.queue.lost(frame, number));
        }

        let number = self.numbers.peek();
        let mut packing = Packing::new(out, &self.clear, number);
        let room = packing.room();
        // A probe reports what arrived even if the peer should know: the ACK that said so may be what it is waiting for.
        let ack_largest = self
            .arrivals
            .encode(now, probe, packing.out(), room)
            .unwrap_or(0);
        let mut window = false;
        if may_send {
            window = self.pack_eliciting(now, &mut packing, ack_largest > 0);
        }
        if packing.is_empty() {
            packing.discard();
            return false;
        }
        if packing.is_eliciting() {
            if self.role == Role::Client {
                packing.pad(CLIENT_ELICITING_LEN_MIN);
            }
            self.silent_acks = 0;
            let carried = Carried {
                ack_largest,
                window,
            };
            self.recovery.on_sent(now, number, carried);
        } else {
            self.silent_acks = self.silent_acks.saturating_add(1);
        }
        self.seal(now, packing);
        true
    }

    /// Everything that wants an acknowledgement. True when a WINDOW is among it.
    fn pack_eliciting(
        &mut self,
        now: Monotonic,
        packing: &mut Packing<'_>,
        carries_ack: bool,
    ) -> bool {
        let mut window = false;
        let probe = self.recovery.is_probe_due();
        if probe {
            self.pack_probe(packing);
        }
        if self.window_due {
            let total = self.receive_credit.announce();
            window = packing.eliciting(WINDOW_LEN, |out| encode_window(out, total));
            self.window_due = !window;
        }
        self.queue.pack(now, packing, &mut self.recovery);
        // An ACK that only its acknowledgement would shorten asks for one now and then.
        let asks = carries_ack && self.silent_acks >= SILENT_ACKS_MAX && self.arrivals.has_gaps();
        // Whatever wants an acknowledgement serves as well as a PING.
        if (self.ping_due || probe || asks) && !packing.is_eliciting() {
            packing.eliciting(1, |out| out.push(frame_type::PING));
        }
        self.ping_due &= !packing.is_eliciting();
        if packing.has_operations() {
            self.life.busy(now);
        }
        window
    }

    /// Repeats the oldest frames that are neither acknowledged nor probed. Datagrams that hold nothing worth repeating are passed over.
    fn pack_probe(&mut self, packing: &mut Packing<'_>) {
        while let Some(probe) = self.recovery.next_probe() {
            let mut repeated = probe.window;
            self.window_due |= probe.window;
            for at in probe.frames {
                if let Some(frame) = self.recovery.frame_at(at) {
                    repeated |= self
                        .queue
                        .repeat(frame, probe.number, packing, &mut self.recovery);
                }
            }
            if repeated {
                return;
            }
        }
    }

    fn transmit_close(&mut self, now: Monotonic, out: &mut Vec<u8>) -> bool {
        let Some((code, text)) = self.life.close_due(now) else {
            return false;
        };
        let mut packing = Packing::new(out, &self.clear, self.numbers.peek());
        encode_close(packing.out(), code, text);
        self.life.close_sent(now);
        self.seal(now, packing);
        true
    }

    fn seal(&mut self, now: Monotonic, packing: Packing<'_>) {
        packing.seal(|number, clear, frames| self.seal.seal(number, clear, frames));
        self.numbers.advance();
        self.sealed += 1;
        self.life.sent(now);
    }
}
