//! The one credit that bounds ordered buffers and events alike (PROTOCOL.md 6.5): what may be started, what was, and what was consumed.

use crate::limits::MESSAGE_OVERHEAD;
use crate::wire::FrameError;

/// What a reliable message with a body of this length takes of the credit, and any message of the send queue.
pub(super) const fn cost(body_len: usize) -> u64 {
    body_len as u64 + MESSAGE_OVERHEAD
}

/// What the peer allows us to start.
#[derive(Debug)]
pub(super) struct SendCredit {
    limit: u64,
    used: u64,
}

impl SendCredit {
    pub(super) const fn new(limit: u64) -> Self {
        Self { limit, used: 0 }
    }

    /// The peer announced a total; an older announcement that arrives late takes nothing back.
    pub(super) fn raise(&mut self, total: u64) {
        self.limit = self.limit.max(total);
    }

    pub(super) const fn covers(&self, cost: u64) -> bool {
        self.limit - self.used >= cost
    }

    pub(super) const fn take(&mut self, cost: u64) {
        self.used += cost;
    }
}

/// What we allow the peer to start.
#[derive(Debug)]
pub(super) struct ReceiveCredit {
    window: u64,
    announced: u64,
    received: u64,
    consumed: u64,
}

impl ReceiveCredit {
    pub(super) const fn new(window: u64) -> Self {
        Self {
            window,
            announced: window,
            received: 0,
            consumed: 0,
        }
    }

    /// A message arrived for the first time.
    pub(super) const fn receive(&mut self, cost: u64) -> Result<(), FrameError> {
        self.received += cost;
        if self.received > self.announced {
            Err(FrameError::Credit)
        } else {
            Ok(())
        }
    }

    /// A message was taken away. True when a quarter of the window is free that the peer does not know of.
    pub(super) const fn consume(&mut self, cost: u64) -> bool {
        self.consumed += cost;
        self.consumed + self.window - self.announced >= self.window / 4
    }

    /// The total to announce now.
    pub(super) const fn announce(&mut self) -> u64 {
        self.announced = self.consumed + self.window;
        self.announced
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::message::SessionEvent;
    use crate::session::send_queue::Message;

    #[test]
    fn credit_is_announced_by_quarters() {
        let mut credit = ReceiveCredit::new(1_000);
        for _ in 0..10 {
            assert!(credit.receive(100).is_ok());
        }
        assert!(credit.receive(1).is_err());

        let mut credit = ReceiveCredit::new(1_000);
        credit.receive(1_000).unwrap();
        assert!(!credit.consume(100) && !credit.consume(149));
        assert!(credit.consume(1));
        assert_eq!(credit.announce(), 1_250);
        assert!(!credit.consume(249));
        assert!(credit.receive(250).is_ok() && credit.receive(1).is_err());
    }

    #[test]
    fn a_message_occupies_at_most_twice_what_it_costs_wherever_it_waits() {
        // What an allocator adds to a body: its own word, and up to the next multiple of 16.
        const ROUNDING: usize = 24;
        for (place, bytes) in [
            ("to be sent", size_of::<Message>() + size_of::<(u64, u64)>()),
            ("to be polled", size_of::<(u64, SessionEvent)>()),
            // A map's nodes are half full where ids only rise.
            ("too early", 2 * (size_of::<u32>() + size_of::<Message>())),
        ] {
            assert!(
                bytes + ROUNDING <= 2 * MESSAGE_OVERHEAD as usize,
                "{place}: {bytes}"
            );
        }
    }

    #[test]
    fn a_sender_keeps_the_largest_total() {
        let mut credit = SendCredit::new(100);
        credit.take(80);
        assert!(credit.covers(20) && !credit.covers(21));
        credit.raise(200);
        credit.raise(150);
        assert!(credit.covers(120) && !credit.covers(121));
        credit.raise(u64::MAX);
        assert!(credit.covers(1 << 40));
    }
}
