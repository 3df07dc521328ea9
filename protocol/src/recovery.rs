//! Loss recovery after RFC 9002 with the timers of PROTOCOL.md 6.4: what is in flight, what is lost, when to probe. Congestion control has its
//! place here; until then a fixed window stands in for it. It knows datagrams and references to frames, never their content.

mod arrivals;
mod numbers;
mod rtt;
mod sent;

use core::time::Duration;

pub(crate) use arrivals::Arrivals;
pub(crate) use numbers::PacketNumbers;
use rtt::RoundTrip;
use sent::SentDatagrams;
pub(crate) use sent::{Carried, FrameRef, Probe};

use crate::Monotonic;
use crate::limits::{IN_FLIGHT_MAX, PROBE_INTERVAL_MAX, SENT_MAX};
use crate::wire::Ack;

/// What was sent and is not acknowledged, and the timers that follow from it.
#[derive(Debug)]
pub(crate) struct Recovery {
    sent: SentDatagrams,
    round_trip: RoundTrip,
    peer_max_ack_delay: Duration,
    /// Probes in a row that nothing answered: the exponent of the back-off.
    probes: u32,
    probes_due: u8,
    last_eliciting: Monotonic,
    /// When the oldest datagram below an acknowledged one counts as lost by time.
    loss_at: Option<Monotonic>,
}

/// What an ACK brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Acknowledged {
    /// The largest number reported by an ACK of ours that is now known to have arrived; 0 for none.
    pub(crate) ack_largest: u64,
}

impl Recovery {
    pub(crate) fn new(
        now: Monotonic,
        handshake: Option<Duration>,
        peer_max_ack_delay: Duration,
    ) -> Self {
        Self {
            sent: SentDatagrams::default(),
            round_trip: RoundTrip::new(handshake),
            peer_max_ack_delay,
            probes: 0,
            probes_due: 0,
            last_eliciting: now,
            loss_at: None,
        }
    }

    /// The smoothed round trip.
    pub(crate) const fn rtt(&self) -> Duration {
        self.round_trip.smoothed()
    }

    /// Probes in a row without an answer.
    pub(crate) const fn unanswered_probes(&self) -> u32 {
        self.probes
    }

    pub(crate) const fn in_flight(&self) -> usize {
        self.sent.in_flight()
    }

    /// When the oldest datagram without an acknowledgement was sent.
    pub(crate) fn oldest_at(&self) -> Option<Monotonic> {
        self.sent.oldest_at()
    }

    /// Whether the window has room for a datagram that wants an acknowledgement. A due probe always has.
    pub(crate) const fn may_send(&self) -> bool {
        self.probes_due > 0 || self.sent.in_flight() < IN_FLIGHT_MAX
    }

    pub(crate) const fn is_probe_due(&self) -> bool {
        self.probes_due > 0
    }

    /// Notes that `frame` stands in the datagram that [`Self::on_sent`] will name.
    pub(crate) fn note(&mut self, frame: FrameRef) {
        self.sent.note(frame);
    }

    /// A datagram that wants an acknowledgement was sent; it carried what was noted since the last one.
    pub(crate) fn on_sent(&mut self, now: Monotonic, number: u64, carried: Carried) {
        self.sent.record(now, number, carried);
        self.last_eliciting = now;
        self.probes_due = self.probes_due.saturating_sub(1);
    }

    /// The oldest datagram in flight that was not probed; after this it is. Its frames are read by [`Self::frame_at`].
    pub(crate) fn next_probe(&mut self) -> Option<Probe> {
        self.sent.next_probe()
    }

    pub(crate) fn frame_at(&self, at: u64) -> Option<FrameRef> {
        self.sent.frame_at(at)
    }

    /// Applies an ACK whose numbers were all sent. `acknowledged` hears of every frame of every datagram that it settles.
    pub(crate) fn on_ack(
        &mut self,
        now: Monotonic,
        ack: &Ack<'_>,
        acknowledged: impl FnMut(FrameRef),
    ) -> Acknowledged {
        let settled = self.sent.acknowledge(ack, acknowledged);
        if let Some((number, sent_at)) = settled.newest {
            if number == ack.largest {
                let delay = Duration::from_micros(u64::from(ack.delay) * 32);
                self.round_trip
                    .sample(now.since(sent_at), delay.min(self.peer_max_ack_delay));
            }
            self.probes = 0;
            self.probes_due = 0;
        }
        Acknowledged {
            ack_largest: settled.ack_largest,
        }
    }

    /// Finds what is lost now; `lost` hears of each of its frames and of the datagram it was in. True when a WINDOW was among it.
    pub(crate) fn detect_losses(
        &mut self,
        now: Monotonic,
        lost: impl FnMut(FrameRef, u64),
    ) -> bool {
        let delay = self.round_trip.loss_delay();
        let (window, next) = self.sent.lose(now, delay, lost);
        self.loss_at = next;
        window
    }

    /// Makes room when probes have filled the memory of what was sent: the oldest datagram then counts as lost.
    pub(crate) fn make_room(&mut self, lost: impl FnMut(FrameRef, u64)) -> bool {
        self.sent.len() >= SENT_MAX && self.sent.lose_oldest(lost)
    }

    /// When [`Self::handle_timeout`] wants to be called. `probing` is false while probes would be wasted.
    pub(crate) fn poll_timeout(&self, probing: bool) -> Option<Monotonic> {
        self.loss_at.or_else(|| {
            let armed = probing && self.probes_due == 0 && self.sent.in_flight() > 0;
            armed.then(|| self.last_eliciting.plus(self.probe_interval()))
        })
    }

    /// True when the losses have to be looked for; a probe becomes due by itself.
    pub(crate) fn handle_timeout(&mut self, now: Monotonic, probing: bool) -> bool {
        match self.poll_timeout(probing) {
            Some(at) if at <= now => {
                if self.loss_at.is_none() {
                    // Where one probe found no answer, two leave: at the longest interval each round trip counts.
                    self.probes_due = if self.probes == 0 { 1 } else { 2 };
                    self.probes = self.probes.saturating_add(1);
                }
                self.loss_at.is_some()
            }
            _ => false,
        }
    }

    /// The peer is heard again after *away*: probe at once, without the back-off of the silence.
    pub(crate) fn restart(&mut self) {
        self.probes = 0;
        self.probes_due = u8::from(self.sent.in_flight() > 0);
    }

    /// Gives back the memory of a burst.
    pub(crate) fn rest(&mut self) {
        self.sent.rest();
    }

    #[cfg(test)]
    pub(crate) fn heap_len(&self) -> usize {
        self.sent.heap_len()
    }

    fn probe_interval(&self) -> Duration {
        let first = self.round_trip.probe_interval() + self.peer_max_ack_delay;
        // The exponent is bounded by the interval's own bound: a probe interval is at least 1 ms, so 2^11 of them exceed 2 s.
        first
            .saturating_mul(1 << self.probes.min(11))
            .min(PROBE_INTERVAL_MAX)
    }
}
