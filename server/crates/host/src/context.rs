//! What one call may touch. A replica owns one `Context`; its home arms it before each call and takes the outbox after it. A guest crate reaches a
//! capability only through [`Context::enter`], which checks the phase and the grant and charges the call; what it returns has one method for each
//! function of the contract, in a file of the interface's name below this one.
//!
//! A `Context` is plain `Send` data: it holds no reference to a session, a shard or a virtual machine, and a capability never calls into a guest.

mod charter;
mod clients;
mod clock;
mod config;
mod db;
mod feature_flags;
mod logging;
mod mailbox;
mod mistakes;
mod modules;
mod random;
mod signals;
mod state;
mod streams;
mod tags;
mod timers;

use std::sync::{Arc, PoisonError};

use cohnect_capabilities::{Effect, Error, Result, TimestampUs, random::Random};

use self::mistakes::Refused;
use crate::deadline::{CpuClock, Deadline};
use crate::function::{HostFunction, Interface, Sort};
use crate::limits::{self, Limits};
use crate::lost_mail::LostMail;
use crate::mail::weight;
use crate::now::Now;

pub use mistakes::Unhandled;

pub use charter::{
    Arming, Calls, Capabilities, Charter, Grants, Identity, Origin, Outlet, Phase, Timer, Timers,
};

/// What one call may touch, and what it leaves.
pub struct Context {
    charter: Charter,
    random: Box<dyn Random>,
    arming: Arming,
    deadline: Deadline,
    calls_left: u32,
    bytes_left: u64,
    quota_refusals: u32,
    /// What capabilities refused during this call that a caller could take for his own mistake.
    mistakes: Vec<Refused>,
    /// The database that the call named last.
    database: String,
    /// The beginning of the statement that it gave there last; empty where that is not known.
    statement: String,
    /// Secrets that were asked for in vain and said so in the log, so that a loop does not fill it.
    secrets_missed: Vec<String>,
    /// What came and had no handler, the same.
    unhandled: Vec<String>,
    /// Its mail that could not be sent, the same.
    lost: LostMail,
    /// What it may still say in the log.
    allowance: core::cell::Cell<logging::Allowance>,
    /// The call has waited since it last asked for anything, so its moment has passed.
    waited: bool,
    outbox: Vec<Effect>,
    pending_timers: timers::PendingTimers,
}

impl core::fmt::Debug for Context {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Context")
            .field("identity", &self.charter.identity)
            .field("arming", &self.arming)
            .finish_non_exhaustive()
    }
}

impl Context {
    /// A context that refuses everything until it is armed.
    #[must_use]
    pub fn new(charter: Charter, random: Box<dyn Random>) -> Self {
        let deadline = Deadline::new(charter.limits.setup_deadline);
        Self {
            calls_left: charter.limits.host_calls,
            bytes_left: charter.limits.sent_bytes,
            charter,
            random,
            arming: Arming::default(),
            deadline,
            quota_refusals: 0,
            mistakes: Vec::new(),
            database: String::new(),
            statement: String::new(),
            secrets_missed: Vec::new(),
            unhandled: Vec::new(),
            allowance: logging::allowance(),
            lost: LostMail::default(),
            waited: false,
            outbox: Vec::new(),
            pending_timers: timers::PendingTimers::default(),
        }
    }

    /// Prepares for one call: a fresh budget, an empty outbox.
    pub fn arm(&mut self, arming: Arming) {
        let limits = &self.charter.limits;
        self.deadline = Deadline::new(match arming.phase {
            Phase::Probe | Phase::Load | Phase::Transfer => limits.setup_deadline,
            Phase::Call if arming.setup => limits.setup_deadline,
            Phase::Call => limits.deadline,
        });
        self.calls_left = limits.host_calls;
        self.bytes_left = limits.sent_bytes;
        self.quota_refusals = 0;
        self.mistakes.clear();
        self.outbox.clear();
        self.pending_timers.clear();
        self.waited = false;
        self.arming = arming;
    }

    /// What the call left, in order. The home takes it when the call has ended; a call that ended its replica leaves none.
    #[must_use]
    pub fn take_outbox(&mut self) -> Vec<Effect> {
        self.pending_timers.clear();
        core::mem::take(&mut self.outbox)
    }

    /// Puts an emptied outbox back, so that the next call need not allocate one.
    pub fn recycle(&mut self, mut outbox: Vec<Effect>) {
        if self.outbox.capacity() == 0 {
            outbox.clear();
            self.outbox = outbox;
        }
    }

    /// Who the replica is.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.charter.identity
    }

    /// What it may use.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.charter.limits
    }

    /// What the running call is for.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.arming.phase
    }

    /// How much CPU the running call was given, and by what, for the log.
    #[must_use]
    pub fn budget(&self) -> String {
        let limits = &self.charter.limits;
        if self.arming.phase == Phase::Call && !self.arming.setup {
            format!(
                "it had {} ms of CPU, its `deadline_ms`",
                limits.deadline.as_millis()
            )
        } else {
            format!(
                "it had {} ms of CPU, as loading, `start`, `stop`, `save` and `restore` have",
                limits.setup_deadline.as_millis()
            )
        }
    }

    /// The CPU budget of the running call.
    pub const fn deadline(&mut self) -> &mut Deadline {
        &mut self.deadline
    }

    /// The CPU clock that judges it.
    #[must_use]
    pub fn cpu(&self) -> Arc<dyn CpuClock> {
        Arc::clone(&self.charter.capabilities.cpu)
    }

    /// Judges the running call at a tick.
    pub fn on_tick(&mut self) -> crate::deadline::Verdict {
        self.deadline.on_tick(&*self.charter.capabilities.cpu)
    }

    /// Microseconds that the running call used beyond its budget, as far as the ticks have shown.
    #[must_use]
    pub fn overrun_us(&self) -> u64 {
        self.deadline.overrun_us(&*self.charter.capabilities.cpu)
    }

    /// A further slice of a call on a worker begins. Its guest gives its turn up at the first tick, so that none would show how long it ran.
    pub fn resume(&mut self) {
        let began_us = self.charter.capabilities.cpu.thread_us();
        self.deadline.resume_at(began_us);
    }

    /// The slice of a call on a worker ends: it waits, or gave its turn up.
    pub fn pause(&mut self) {
        self.deadline.pause(&*self.charter.capabilities.cpu);
    }

    /// The generator for what a guest's standard library draws by itself, such as the seeds of its hash maps; it may do so before any call. A module's own
    /// draws go through [`Context::enter`].
    pub fn library_random(&mut self) -> &mut dyn Random {
        &mut *self.random
    }

    /// The wall clock for a guest's standard library, microseconds since the Unix epoch: the same all through a call.
    #[must_use]
    pub const fn library_wall_us(&self) -> TimestampUs {
        self.arming.wall_us
    }

    /// The monotonic clock for a guest's standard library, microseconds since the server's start.
    #[must_use]
    pub fn library_monotonic_us(&self) -> u64 {
        (self.charter.capabilities.stopwatch)()
    }

    /// Whether the module may import this interface at all: `db` needs a grant for at least one database.
    ///
    /// # Errors
    /// A sentence that names the grant that is missing.
    pub fn may_import(&self, interface: Interface) -> core::result::Result<(), String> {
        if interface == Interface::Db && self.charter.grants.databases.is_empty() {
            return Err("it uses `db`, which needs a grant for each database, such as `grants = [\"db:main\"]` in its manifest".into());
        }
        Ok(())
    }

    /// Opens the way to one function of the contract: checks the phase, charges the call.
    ///
    /// # Errors
    /// `Denied` while the module is only described, `WouldBlock` where waiting is not allowed, `LimitExceeded` when the call's host calls are used up.
    #[inline]
    pub fn enter(&mut self, function: HostFunction) -> Result<Entered<'_>> {
        let row = function.row();
        if self.waited {
            self.refresh();
        }
        if self.arming.phase != Phase::Call {
            self.check_phase(row.interface, row.sort)?;
        }
        match self.calls_left.checked_sub(row.cost) {
            Some(left) => self.calls_left = left,
            None => {
                self.quota_refusals = self.quota_refusals.saturating_add(1);
                return Err(Error::limit(
                    "host-calls",
                    u64::from(self.charter.limits.host_calls),
                    u64::from(self.charter.limits.host_calls) + 1,
                ));
            }
        }
        Ok(Entered { context: self })
    }

    /// `clock.now` is the same all through a call, but for where it waits.
    #[cold]
    fn refresh(&mut self) {
        self.waited = false;
        let now = Now {
            monotonic_us: self.arming.monotonic_us,
            wall_us: self.arming.wall_us,
        };
        let monotonic_us = (self.charter.capabilities.stopwatch)();
        self.arming.wall_us = now.wall_of(monotonic_us);
        self.arming.monotonic_us = monotonic_us;
    }

    fn check_phase(&self, interface: Interface, sort: Sort) -> Result<()> {
        match self.arming.phase {
            Phase::Call => Ok(()),
            Phase::Probe | Phase::Load if interface.answers_at_load() => Ok(()),
            Phase::Probe | Phase::Load => Err(Error::Denied),
            Phase::Transfer => match sort {
                Sort::Wait => Err(Error::WouldBlock),
                Sort::Query | Sort::Write | Sort::Effect => Ok(()),
            },
        }
    }

    /// Whether the call went on after its quota was used up, 1,000 times: such a loop is ended like any other runaway.
    #[must_use]
    pub const fn quota_ignored(&self) -> bool {
        self.quota_refusals >= 1_000
    }
}

/// The way to one function of the contract, opened by [`Context::enter`].
#[derive(Debug)]
pub struct Entered<'a> {
    context: &'a mut Context,
}

impl Entered<'_> {
    fn capabilities(&self) -> &Capabilities {
        &self.context.charter.capabilities
    }

    /// Leaves something for others, and counts what it weighs: a call is bounded by what it makes others carry, not by its payloads alone.
    fn leave(&mut self, effect: Effect) -> Result<()> {
        let bytes = weight::of(&effect) as u64;
        match self.context.bytes_left.checked_sub(bytes) {
            Some(left) => {
                self.context.bytes_left = left;
                self.keep(effect);
                Ok(())
            }
            None => {
                self.context.quota_refusals = self.context.quota_refusals.saturating_add(1);
                let allowed = self.context.charter.limits.sent_bytes;
                Err(Error::limit(
                    "sent-bytes",
                    allowed,
                    allowed - self.context.bytes_left + bytes,
                ))
            }
        }
    }

    /// Leaves something for the replica itself, whose number other limits bound.
    fn keep(&mut self, effect: Effect) {
        self.context.outbox.push(effect);
    }

    fn timers(&self) -> std::sync::MutexGuard<'_, Timers> {
        self.context
            .charter
            .timers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Prepares to wait: what the call has left so far goes out, the time that is left for waiting comes back.
    fn wait(&mut self) -> Result<core::time::Duration> {
        let Some(limit) = self.context.arming.wall_limit_us else {
            return Err(Error::WouldBlock);
        };
        let effects = self.context.take_outbox();
        if let (false, Some(outlet)) = (effects.is_empty(), &self.context.charter.outlet) {
            let now = Now {
                monotonic_us: self.context.arming.monotonic_us,
                wall_us: self.context.arming.wall_us,
            };
            outlet.release(&self.context.charter.identity, now, effects);
        }
        self.context.waited = true;
        let now = (self.context.charter.capabilities.stopwatch)();
        Ok(core::time::Duration::from_micros(limit.saturating_sub(now))
            .saturating_sub(limits::WALL_MARGIN))
    }
}
