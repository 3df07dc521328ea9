//! The threads of a server's shards and its ticker: started, named, pinned where there are cores enough, and ended together.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::thread::{Builder, JoinHandle};

use cohnect_engine::{Shard, ShardSetup};
use cohnect_host::deadline::Ticker;
use cohnect_host::mail::Waker as _;

use crate::driver::{Driver, NetCounters, Report, Shared, phase};
use crate::receive::Receiver;
use crate::send::Sender;
use crate::waker::EventWaker;
use crate::{Clock, Door};

/// A shard's thread panicked: a bug of the server's, after which it does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("shard {0} panicked")]
pub struct ShardPanicked(pub u16);

/// The running threads of a door.
#[derive(Debug)]
pub struct Running {
    shards: Vec<Thread>,
    ticker: Ticker,
    tick: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Thread {
    shared: Arc<Shared>,
    waker: Arc<EventWaker>,
    handle: Option<JoinHandle<()>>,
}

impl Door {
    /// Starts a thread for each shard, and one for the ticker. `setups` are those of the shards in their order, as many as [`Door::shards`]. With `pin`
    /// each shard keeps to a core of its own, if there are as many.
    ///
    /// # Errors
    /// When the system starts no thread.
    pub fn run(
        self,
        setups: Vec<ShardSetup>,
        ticker: Ticker,
        clock: Clock,
        pin: bool,
    ) -> io::Result<Running> {
        let cores = core_affinity::get_core_ids().unwrap_or_default();
        let pin = pin && cores.len() >= setups.len();
        let mut running = Running {
            shards: Vec::new(),
            ticker: ticker.clone(),
            tick: None,
        };
        let tick = Builder::new().name("ticker".into());
        running.tick = Some(tick.spawn(move || ticker.run(std::thread::sleep))?);
        for (n, (setup, (socket, waker))) in setups.into_iter().zip(self.into_parts()).enumerate() {
            let shared = Arc::new(Shared::default());
            let core = cores.get(n).copied().filter(|_| pin);
            let (mine, its_waker) = (Arc::clone(&shared), Arc::clone(&waker));
            let body = move || {
                if let Some(core) = core {
                    core_affinity::set_for_current(core);
                }
                // A shard is made where it lives: its modules never change threads.
                let driver = Driver {
                    shard: Shard::new(setup),
                    socket,
                    waker: its_waker,
                    clock,
                    shared: mine,
                    receiver: Receiver::new(),
                    sender: Sender::new(),
                    counters: NetCounters::default(),
                };
                driver.run();
            };
            let handle = Builder::new().name(format!("shard-{n}")).spawn(body)?;
            running.shards.push(Thread {
                shared,
                waker,
                handle: Some(handle),
            });
        }
        Ok(running)
    }
}

impl Running {
    /// From now on new clients are told to go elsewhere.
    pub fn drain(&self) {
        self.enter(phase::DRAINING);
    }

    /// Tells every client goodbye. Modules go on, so that they hear of it; [`Running::sessions`] says when everybody has gone.
    pub fn close_sessions(&self) {
        self.enter(phase::CLOSING);
    }

    /// Whether every shard has told its clients goodbye and the modules of it: what is sent to a home from now on comes after that. One that has panicked
    /// tells nobody any more.
    #[must_use]
    pub fn has_closed(&self) -> bool {
        let closed = |thread: &Thread| {
            let handle = thread.handle.as_ref();
            handle.is_none_or(JoinHandle::is_finished)
                || thread.shared.reached.load(Ordering::Acquire) >= phase::CLOSING
        };
        self.shards.iter().all(closed)
    }

    /// Sessions that are held now, on all shards.
    #[must_use]
    pub fn sessions(&self) -> usize {
        let held = |thread: &Thread| thread.shared.sessions.load(Ordering::Acquire);
        self.shards.iter().map(held).sum()
    }

    /// What each shard has counted; none for one that has just started.
    #[must_use]
    pub fn reports(&self) -> Vec<Option<Report>> {
        let report = |thread: &Thread| {
            let report = thread.shared.report.lock();
            report.unwrap_or_else(PoisonError::into_inner).clone()
        };
        self.shards.iter().map(report).collect()
    }

    /// The first shard whose thread has ended, though nobody told it to.
    #[must_use]
    pub fn panicked(&self) -> Option<ShardPanicked> {
        let ended = |thread: &Thread| {
            let handle = thread.handle.as_ref();
            handle.is_some_and(JoinHandle::is_finished)
                && thread.shared.phase.load(Ordering::Acquire) < phase::STOPPED
        };
        self.shards
            .iter()
            .position(ended)
            .map(|n| ShardPanicked(n as u16))
    }

    /// Ends all threads, whoever is still there, and waits for them.
    ///
    /// # Errors
    /// When one of them had panicked.
    pub fn stop(mut self) -> Result<(), ShardPanicked> {
        self.end()
    }

    fn enter(&self, phase: u8) {
        for thread in &self.shards {
            thread.shared.phase.fetch_max(phase, Ordering::AcqRel);
            thread.waker.wake();
        }
    }

    fn end(&mut self) -> Result<(), ShardPanicked> {
        self.enter(phase::STOPPED);
        let mut outcome = Ok(());
        for (n, thread) in self.shards.iter_mut().enumerate() {
            if let Some(handle) = thread.handle.take()
                && handle.join().is_err()
            {
                outcome = outcome.and(Err(ShardPanicked(n as u16)));
            }
        }
        self.ticker.stop();
        if let Some(tick) = self.tick.take() {
            // It runs nothing that could panic but the runtimes' hooks; the shards matter.
            tick.join().ok();
        }
        outcome
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Whoever drops it instead of stopping it is on the way out after an error of its own.
        self.end().ok();
    }
}
