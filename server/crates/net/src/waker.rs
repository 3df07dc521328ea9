//! Wakes a shard's thread that sleeps in `poll`: an eventfd, written by whoever has mail for it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use cohnect_host::mail::Waker;
use rustix::event::{EventfdFlags, eventfd};

/// One thread's waker.
#[derive(Debug)]
pub(crate) struct EventWaker {
    fd: OwnedFd,
}

impl EventWaker {
    pub(crate) fn new() -> std::io::Result<Self> {
        let flags = EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC;
        Ok(Self {
            fd: eventfd(0, flags)?,
        })
    }

    /// Takes the wakes that have come, so that the next sleep lasts.
    pub(crate) fn clear(&self) {
        // Nothing to take is no error worth a word.
        rustix::io::read(&self.fd, &mut [0; 8]).ok();
    }
}

impl Waker for EventWaker {
    fn wake(&self) {
        // The only failure is a counter that is full: then a wake is on its way already.
        rustix::io::write(&self.fd, &1_u64.to_ne_bytes()).ok();
    }
}

impl AsFd for EventWaker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
