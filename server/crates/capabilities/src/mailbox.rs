//! `mailbox`: messages to other modules, without waiting. Sending one is an [`crate::Effect`]; a place in the receiver's queue is taken at once.

use std::sync::Arc;

use crate::Result;

/// Longest tag of a request in bytes: it comes back with the answer, so it is carried twice.
pub const TAG_BYTES_MAX: usize = 255;

/// The queues of all modules, as a sender sees them.
pub trait Mailboxes: Send + Sync {
    /// Takes a place in the queue of the replica that would get it. The place is given back when its holder is dropped, or when the call has run.
    ///
    /// # Errors
    /// `NotFound` for an unknown module, `Busy` when its queue is full, `Unavailable` when it is not well.
    fn reserve(&self, module: &str) -> Result<Place>;
}

/// One place in a bounded queue; dropping it gives it back.
#[derive(Debug)]
pub struct Place {
    taken: Arc<core::sync::atomic::AtomicU32>,
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
            })
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
