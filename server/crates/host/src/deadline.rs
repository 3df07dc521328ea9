//! The tick, and how it ends a call that uses too much CPU. One thread of the server advances the tick once a millisecond while any guest runs; guests
//! look at it in their own way (an interrupt of Luau, an epoch of Wasm) and then ask [`Deadline::on_tick`]. Wall time never kills: a process that is
//! merely not scheduled loses nothing.

use core::time::Duration;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// The period of the tick.
pub const TICK_PERIOD: Duration = Duration::from_millis(1);
/// Ticks without a running guest after which the ticker parks.
pub const TICKS_IDLE_MAX: u32 = 100;

/// Reads how much CPU the calling thread has used. Real in the server, counted in steps in a simulation.
pub trait CpuClock: Send + Sync {
    /// CPU time of the calling thread in microseconds, since any origin.
    fn thread_us(&self) -> u64;
}

/// The operating system's clock of the calling thread (about 0.5 µs a look, at most once a tick).
#[derive(Clone, Copy, Debug, Default)]
pub struct ThreadCpuClock;

impl CpuClock for ThreadCpuClock {
    fn thread_us(&self) -> u64 {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        u64::try_from(time.tv_sec)
            .unwrap_or(0)
            .saturating_mul(1_000_000)
            + u64::try_from(time.tv_nsec).unwrap_or(0) / 1_000
    }
}

/// A number that grows by one a millisecond while guests run, and what wakes the thread that advances it.
#[derive(Clone, Default)]
pub struct Ticker {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    ticks: Arc<AtomicU64>,
    /// Homes that are running guests now.
    running: AtomicU32,
    parked: AtomicBool,
    stopped: Mutex<bool>,
    wake: Condvar,
    hooks: Mutex<Vec<Box<dyn Fn() + Send>>>,
}

impl core::fmt::Debug for Ticker {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Ticker")
            .field("ticks", &self.ticks())
            .finish_non_exhaustive()
    }
}

/// Held by a home while it runs guests; the tick goes on as long as one exists.
#[derive(Debug)]
pub struct Running {
    ticker: Ticker,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.ticker.shared.running.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Ticker {
    /// The tick now.
    #[must_use]
    pub fn ticks(&self) -> u64 {
        self.shared.ticks.load(Ordering::Relaxed)
    }

    /// The counter itself, for a guest that looks at it in every loop turn.
    #[must_use]
    pub fn counter(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.shared.ticks)
    }

    /// Something to do at each tick, such as advancing a runtime's epoch. It must return at once.
    pub fn at_each_tick(&self, hook: impl Fn() + Send + 'static) {
        self.shared
            .hooks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Box::new(hook));
    }

    /// Guests begin to run in this home: once for a batch of calls, since it costs a fence.
    #[must_use]
    pub fn running(&self) -> Running {
        self.shared.running.fetch_add(1, Ordering::SeqCst);
        // The thread sets `parked`, then looks at `running` once more before it sleeps; one of the two sees the other.
        if self.shared.parked.load(Ordering::SeqCst) {
            let _held = self.lock();
            self.shared.parked.store(false, Ordering::SeqCst);
            self.shared.wake.notify_all();
        }
        Running {
            ticker: self.clone(),
        }
    }

    /// Advances the tick once and runs the hooks. The thread does this; a simulation does it by itself.
    pub fn advance(&self) {
        self.shared.ticks.fetch_add(1, Ordering::Relaxed);
        for hook in &*self
            .shared
            .hooks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
        {
            hook();
        }
    }

    /// The body of the ticker's thread: ticks until [`Ticker::stop`], parked while no guest runs. `wait` waits for one period; the caller owns the clock.
    pub fn run(&self, mut wait: impl FnMut(Duration)) {
        let mut idle = 0;
        while !*self.lock() {
            idle = if self.shared.running.load(Ordering::SeqCst) == 0 {
                idle + 1
            } else {
                0
            };
            if idle > TICKS_IDLE_MAX {
                self.park();
                idle = 0;
            }
            wait(TICK_PERIOD);
            self.advance();
        }
    }

    /// Ends [`Ticker::run`].
    pub fn stop(&self) {
        *self.lock() = true;
        self.shared.wake.notify_all();
    }

    /// Ends [`Ticker::run`] when the answer is dropped, also by a panic: whoever waits for the ticker's thread on his way out would wait for ever.
    #[must_use]
    pub const fn stop_when_dropped(&self) -> StopWhenDropped<'_> {
        StopWhenDropped(self)
    }

    fn park(&self) {
        let mut stopped = self.lock();
        self.shared.parked.store(true, Ordering::SeqCst);
        while self.shared.parked.load(Ordering::SeqCst)
            && self.shared.running.load(Ordering::SeqCst) == 0
            && !*stopped
        {
            stopped = self
                .shared
                .wake
                .wait(stopped)
                .unwrap_or_else(PoisonError::into_inner);
        }
        self.shared.parked.store(false, Ordering::SeqCst);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, bool> {
        self.shared
            .stopped
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// See [`Ticker::stop_when_dropped`].
#[derive(Debug)]
pub struct StopWhenDropped<'a>(&'a Ticker);

impl Drop for StopWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// What a guest does after a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The call goes on.
    GoOn,
    /// The call has used its CPU: it ends.
    Interrupt,
}

/// How much CPU one call may still use. The clock is read only when a tick falls into the call: most calls never pay for it, and a call may run up to
/// one tick longer than its budget.
#[derive(Clone, Copy, Debug, Default)]
pub struct Deadline {
    budget_us: u64,
    /// CPU used in slices that have ended; a call on a worker is resumed many times, on a thread that runs others in between.
    spent_us: u64,
    /// The thread's CPU when a tick first fell into this slice.
    began_us: Option<u64>,
}

impl Deadline {
    /// A fresh budget.
    #[must_use]
    pub fn new(budget: Duration) -> Self {
        Self {
            budget_us: u64::try_from(budget.as_micros()).unwrap_or(u64::MAX),
            spent_us: 0,
            began_us: None,
        }
    }

    /// Judges the call at a tick.
    pub fn on_tick(&mut self, cpu: &dyn CpuClock) -> Verdict {
        let now = cpu.thread_us();
        let began = *self.began_us.get_or_insert(now);
        if self.spent_us.saturating_add(now.saturating_sub(began)) >= self.budget_us {
            Verdict::Interrupt
        } else {
            Verdict::GoOn
        }
    }

    /// The slice began when the thread's CPU stood here: for a guest that gives its turn up at every tick, so that no tick would ever fall into a slice.
    pub fn resume_at(&mut self, cpu_us: u64) {
        self.began_us.get_or_insert(cpu_us);
    }

    /// The slice ends: the guest waits, or gave its turn up. What it used counts if a tick fell into it.
    pub fn pause(&mut self, cpu: &dyn CpuClock) {
        if let Some(began) = self.began_us.take() {
            self.spent_us = self
                .spent_us
                .saturating_add(cpu.thread_us().saturating_sub(began));
        }
    }

    /// What is left of the budget, as far as the ticks have shown.
    #[must_use]
    pub fn remaining(&self, cpu: &dyn CpuClock) -> Duration {
        let slice = self
            .began_us
            .map_or(0, |began| cpu.thread_us().saturating_sub(began));
        Duration::from_micros(
            self.budget_us
                .saturating_sub(self.spent_us)
                .saturating_sub(slice),
        )
    }

    /// Microseconds used beyond the budget, as far as the ticks have shown; for the circuit.
    #[must_use]
    pub fn overrun_us(&self, cpu: &dyn CpuClock) -> u64 {
        let slice = self
            .began_us
            .map_or(0, |began| cpu.thread_us().saturating_sub(began));
        self.spent_us
            .saturating_add(slice)
            .saturating_sub(self.budget_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counted(AtomicU64);

    impl CpuClock for Counted {
        fn thread_us(&self) -> u64 {
            self.0.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn a_call_that_is_not_scheduled_loses_nothing() {
        let cpu = Counted(AtomicU64::new(5_000));
        let mut deadline = Deadline::new(Duration::from_millis(3));
        for _tick in 0..1_000 {
            assert_eq!(deadline.on_tick(&cpu), Verdict::GoOn);
        }
    }

    #[test]
    fn a_call_that_computes_ends_after_its_budget() {
        let cpu = Counted(AtomicU64::new(0));
        let mut deadline = Deadline::new(Duration::from_millis(3));
        let ticks = (0..100)
            .take_while(|_| {
                let verdict = deadline.on_tick(&cpu);
                cpu.0.fetch_add(1_000, Ordering::Relaxed);
                verdict == Verdict::GoOn
            })
            .count();
        assert_eq!(ticks, 3);
    }

    #[test]
    fn slices_add_up_and_what_others_used_between_them_does_not() {
        let cpu = Counted(AtomicU64::new(0));
        let mut deadline = Deadline::new(Duration::from_millis(3));
        for _slice in 0..2 {
            assert_eq!(deadline.on_tick(&cpu), Verdict::GoOn);
            cpu.0.fetch_add(1_000, Ordering::Relaxed);
            deadline.pause(&cpu);
            cpu.0.fetch_add(50_000, Ordering::Relaxed);
        }
        assert_eq!(deadline.remaining(&cpu), Duration::from_millis(1));
        assert_eq!(deadline.on_tick(&cpu), Verdict::GoOn);
        cpu.0.fetch_add(1_000, Ordering::Relaxed);
        assert_eq!(deadline.on_tick(&cpu), Verdict::Interrupt);
    }

    #[test]
    fn a_panic_beside_the_ticker_ends_it() {
        let ticker = Ticker::default();
        let fell = std::panic::catch_unwind(|| {
            std::thread::scope(|threads| {
                threads.spawn(|| ticker.run(|_| std::thread::yield_now()));
                let _stop = ticker.stop_when_dropped();
                panic!("the work beside it fell");
            });
        });
        assert!(fell.is_err(), "and the scope did not wait for ever");
    }

    #[test]
    fn the_ticker_ticks_while_guests_run_and_parks_when_none_does() {
        let ticker = Ticker::default();
        std::thread::scope(|threads| {
            threads.spawn(|| ticker.run(|_| std::thread::yield_now()));
            for _turn in 0..3 {
                let running = ticker.running();
                let begun = ticker.ticks();
                while ticker.ticks() < begun + 500 {
                    std::thread::yield_now();
                }
                drop(running);
                while !ticker.shared.parked.load(Ordering::SeqCst) {
                    std::thread::yield_now();
                }
            }
            ticker.stop();
        });
    }
}
