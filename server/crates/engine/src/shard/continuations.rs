//! What is to be done when an answer comes, by ticket, and what has waited too long. A ticket is never given out twice, so a late answer finds nothing.
//! How many there are is bounded by the places in the modules' queues and the requests of the clients.

use std::collections::BTreeSet;
use std::sync::Arc;

use cohnect_capabilities::ClientId;
use cohnect_capabilities::mailbox::Awaited;
use cohnect_host::mail::{Answer, Walk};
use cohnect_protocol::{RequestContext, SessionHandle};

use crate::ops::packet::PacketWalk;
use crate::ops::stream::Opening;

/// What is to be done when an answer comes.
#[derive(Debug)]
pub(crate) enum Continuation {
    /// A client's request is answered with it.
    Respond {
        client: SessionHandle,
        request: RequestContext,
    },
    /// A packet goes on through its stages.
    Packet(Box<PacketWalk>),
    /// A BROADCAST goes on through its stages.
    Broadcast(Box<Walk>),
    /// The stream of a client here is open, or refused.
    Open(Box<Opening>),
    /// A handler here has admitted a subscriber, or not.
    Subscribed {
        subscriber: (ClientId, Arc<str>),
        answer: Answer,
    },
    /// This module says whether a client may come in.
    Connecting(SessionHandle, Arc<str>),
    /// Nobody has said so in time.
    ConnectingLate(SessionHandle),
    /// A module's mail is answered.
    Mailed {
        module: Arc<str>,
        awaited: Box<Awaited>,
    },
}

/// All that is waited for.
#[derive(Default)]
pub(crate) struct Continuations {
    slots: Vec<Slot>,
    free: Vec<u32>,
    deadlines: BTreeSet<(u64, u64)>,
}

struct Slot {
    generation: u32,
    held: Option<(Continuation, Option<u64>)>,
}

impl Continuations {
    /// Keeps a continuation; with a deadline on the monotonic clock it also comes out of [`Continuations::expired`].
    pub(crate) fn insert(&mut self, continuation: Continuation, deadline_us: Option<u64>) -> u64 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot {
                generation: 0,
                held: None,
            });
            u32::try_from(self.slots.len() - 1)
                .expect("invariant: queues are far shorter than 2^32")
        });
        let slot = &mut self.slots[index as usize];
        slot.generation = slot.generation.wrapping_add(1);
        slot.held = Some((continuation, deadline_us));
        let ticket = (u64::from(slot.generation) << 32) | u64::from(index);
        if let Some(at) = deadline_us {
            self.deadlines.insert((at, ticket));
        }
        ticket
    }

    /// Takes what this ticket stands for, once.
    pub(crate) fn take(&mut self, ticket: u64) -> Option<Continuation> {
        let index = ticket as u32;
        let slot = self.slots.get_mut(index as usize)?;
        if u64::from(slot.generation) != ticket >> 32 {
            return None;
        }
        let (continuation, deadline_us) = slot.held.take()?;
        self.free.push(index);
        if let Some(at) = deadline_us {
            self.deadlines.remove(&(at, ticket));
        }
        Some(continuation)
    }

    /// When the next one has waited too long.
    pub(crate) fn next_deadline_us(&self) -> Option<u64> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// One that has waited too long.
    pub(crate) fn expired(&mut self, now_us: u64) -> Option<Continuation> {
        let (at, ticket) = *self.deadlines.first()?;
        if at > now_us {
            return None;
        }
        self.take(ticket)
    }
}

#[cfg(test)]
mod tests {
    use cohnect_capabilities::mailbox::{Place, Reserved};

    use super::*;

    fn mailed(tag: &str) -> Continuation {
        Continuation::Mailed {
            module: "m".into(),
            awaited: Box::new(Awaited {
                tag: tag.into(),
                timeout: 0,
                to: Reserved {
                    copy: 0,
                    place: Place::take(&Arc::default(), 1).unwrap(),
                },
            }),
        }
    }

    fn tag(continuation: Option<Continuation>) -> Option<String> {
        match continuation {
            Some(Continuation::Mailed { awaited, .. }) => Some(awaited.tag),
            Some(_) | None => None,
        }
    }

    #[test]
    fn a_ticket_is_good_once() {
        let mut all = Continuations::default();
        let first = all.insert(mailed("a"), None);
        assert_eq!(tag(all.take(first)).as_deref(), Some("a"));
        assert_eq!(tag(all.take(first)), None);
        let second = all.insert(mailed("b"), None);
        assert_ne!(first, second, "the slot is the same, the ticket is not");
        assert_eq!(tag(all.take(first)), None);
        assert_eq!(tag(all.take(second)).as_deref(), Some("b"));
    }

    #[test]
    fn what_waits_too_long_comes_out_in_time_and_once() {
        let mut all = Continuations::default();
        let late = all.insert(mailed("late"), Some(20));
        all.insert(mailed("early"), Some(10));
        let answered = all.insert(mailed("answered"), Some(5));
        all.take(answered);
        assert_eq!(all.next_deadline_us(), Some(10));
        assert_eq!(tag(all.expired(15)).as_deref(), Some("early"));
        assert_eq!(tag(all.expired(15)), None);
        assert_eq!(tag(all.expired(20)).as_deref(), Some("late"));
        assert_eq!(tag(all.take(late)), None);
        assert_eq!(all.next_deadline_us(), None);
    }
}
