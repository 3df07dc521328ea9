//! What every home must know at once about every client: who is here, which tags and topics he has. One part for each shard, each behind a lock that
//! is held for one look-up or one set operation. It sends nothing and knows no session; shards keep theirs by the slot that is given out here.

mod audience;
mod capabilities;
mod card;
mod expressions;
mod part;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cohnect_capabilities::ClientId;
use cohnect_protocol::ops::{Tag, tags::Mode};
use cohnect_protocol::{SteeringKeys, shard_of};

pub use audience::Fan;
pub use card::Card;
use expressions::Expressions;
use part::Part;
pub use part::{OwnTagsError, Seat};

/// All connected clients of a server.
pub struct Directory {
    steering: SteeringKeys,
    parts: Vec<Locked>,
    expressions: Expressions,
}

#[derive(Default)]
struct Locked {
    /// How many clients the part holds, read without its lock.
    count: AtomicU32,
    part: Mutex<Part>,
}

impl core::fmt::Debug for Directory {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Directory")
            .field("clients", &self.len())
            .finish_non_exhaustive()
    }
}

impl Directory {
    /// An empty directory of a server with this many shards.
    #[must_use]
    pub fn new(shards: u16, steering: SteeringKeys) -> Self {
        Self {
            steering,
            parts: (0..shards.max(1)).map(|_| Locked::default()).collect(),
            expressions: Expressions::default(),
        }
    }

    /// The shard that this client's session lives in.
    #[must_use]
    pub fn shard_of(&self, id: ClientId) -> u16 {
        shard_of(&id.text(), self.steering, self.parts.len() as u32) as u16
    }

    /// How many clients are here.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.parts
            .iter()
            .map(|part| part.count.load(Ordering::Relaxed))
            .sum()
    }

    /// Whether nobody is here.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes a client in, with the tags that it was given so far (what is outside the grammar or beyond the bound is left out). One that is still here
    /// with this id is released first.
    pub fn admit(&self, card: Arc<Card>, given: &[String]) -> Seat {
        let locked = self.locked(card.id);
        let mut part = locked.lock();
        let seat = part.admit(card, given);
        locked.count.store(part.len(), Ordering::Relaxed);
        seat
    }

    /// Lets a client go; returns the tags that it had.
    pub fn release(&self, id: ClientId) -> Option<Arc<[Arc<str>]>> {
        let locked = self.locked(id);
        let mut part = locked.lock();
        let tags = part.release(id);
        locked.count.store(part.len(), Ordering::Relaxed);
        tags
    }

    /// All tags of a client, sorted, its own with their `~`; none when it is not here.
    #[must_use]
    pub fn listed_tags(&self, id: ClientId) -> Option<Arc<[Arc<str>]>> {
        self.part(id).find(id).map(part::Member::listed)
    }

    /// Changes the tags that a client set for itself; returns all of its tags. Nothing changes when it fails.
    ///
    /// # Errors
    /// When it has too many, when their list would not fit an answer, or when the client is not here.
    pub fn change_own_tags(
        &self,
        id: ClientId,
        mode: Mode,
        tags: &[Tag<'_>],
    ) -> Result<Arc<[Arc<str>]>, OwnTagsError> {
        self.part(id).change_own(id, mode, tags)
    }

    /// Notes that a client has a topic open. False when it is not here.
    pub fn subscribe(&self, id: ClientId, topic: &Arc<str>) -> bool {
        self.part(id).subscribe(id, topic)
    }

    /// Notes that a client has a topic open no more.
    pub fn unsubscribe(&self, id: ClientId, topic: &str) {
        self.part(id).unsubscribe(id, topic);
    }

    /// Whether a client's tags fit an expression; an empty one fits everybody, one outside the grammar nobody.
    #[must_use]
    pub fn fits(&self, id: ClientId, expression: &str) -> bool {
        if expression.is_empty() {
            return true;
        }
        let Ok(compiled) = self.expressions.compiled(expression) else {
            return false;
        };
        self.part(id)
            .find(id)
            .is_some_and(|member| compiled.holds(&mut |pattern| member.has_tag_like(pattern)))
    }

    fn locked(&self, id: ClientId) -> &Locked {
        // `shard_of` is below the number of parts.
        &self.parts[usize::from(self.shard_of(id))]
    }

    fn part(&self, id: ClientId) -> MutexGuard<'_, Part> {
        self.locked(id).lock()
    }
}

impl Locked {
    fn lock(&self) -> MutexGuard<'_, Part> {
        self.part.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
