//! `mailbox`: messages to other modules, without waiting. Sending one is an [`crate::Effect`]; a place in the receiver's queue is taken at once.

use std::sync::Arc;

use crate::{DurationUs, Result};

/// Longest tag of a request in bytes: it comes back with the answer, so it is carried twice.
pub const TAG_BYTES_MAX: usize = 255;

/// The queues of all modules, as a sender sees them.
pub trait Mailboxes: Send + Sync {
    /// Takes a place in the queue of the copy that is to get the mail: always the same copy for one sender, so that its mail stays in order. The place
    /// is given back when its holder is dropped, or when the call has run.
    ///
    /// # Errors
    /// `NotFound` for an unknown module, or an action that it does not answer to; `Busy` when its queue is full, `Unavailable` when it is not well.
    fn reserve(&self, from: Sender<'_>, module: &str, action: &str) -> Result<Reserved>;
}

/// Who sends mail: what decides which copy gets it.
#[derive(Clone, Copy, Debug)]
pub struct Sender<'a> {
    /// The sending module.
    pub module: &'a str,
    /// The shard that hands its mail over.
    pub shard: u16,
}

/// A place in the queue of one copy of a module.
#[derive(Debug)]
pub struct Reserved {
    /// Which copy.
    pub copy: u32,
    /// The place.
    pub place: Place,
}

/// An answer to mail that its sender wants.
#[derive(Debug)]
pub struct Awaited {
    /// The tag that it comes back with.
    pub tag: String,
    /// The time for it.
    pub timeout: DurationUs,
    /// Where it goes: the copy that asks, and a place there.
    pub to: Reserved,
}

/// One place in a bounded queue; dropping it gives it back.
#[derive(Debug)]
pub struct Place {
    taken: Arc<core::sync::atomic::AtomicU32>,
    /// Its taker's share of all places.
    share: Option<Share>,
}

/// One of those that somebody has under way; dropping it takes it off the count.
#[derive(Debug)]
pub struct Share(Arc<core::sync::atomic::AtomicU32>);

impl Share {
    /// Counts one more.
    #[must_use]
    pub fn of(count: &Arc<core::sync::atomic::AtomicU32>) -> Self {
        count.fetch_add(1, core::sync::atomic::Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.0.fetch_sub(1, core::sync::atomic::Ordering::Relaxed);
    }
}

impl Place {
    /// Takes a place if fewer than `capacity` are taken.
    #[must_use]
    pub fn take(taken: &Arc<core::sync::atomic::AtomicU32>, capacity: u32) -> Option<Self> {
        use core::sync::atomic::Ordering::Relaxed;
        taken
            .fetch_update(Relaxed, Relaxed, |n| (n < capacity).then_some(n + 1))
            .ok()
            .map(|_| Self {
                taken: Arc::clone(taken),
                share: None,
            })
    }

    /// Counts this place among those that its taker has.
    #[must_use]
    pub fn counted(mut self, share: Share) -> Self {
        self.share = Some(share);
        self
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.taken
            .fetch_sub(1, core::sync::atomic::Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_has_no_place_until_one_is_given_back() {
        let taken = Arc::default();
        let first = Place::take(&taken, 1);
        assert!(first.is_some());
        assert!(Place::take(&taken, 1).is_none());
        drop(first);
        assert!(Place::take(&taken, 1).is_some());
    }
}
