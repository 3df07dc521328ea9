//! What a context is made from and armed with: who the replica is, what it may reach and use, and what a call is for. It decides nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use cohnect_capabilities::{
    BoxFuture, Effect, InstanceId, Payload, Result, TimestampUs, clients::Clients, clock::Calendar,
    config::Config, config::Secrets, db::Databases, feature_flags::FeatureFlags, logging::Logging,
    mailbox::Mailboxes, modules::Modules, state::State, streams::Streams, tags::Tags,
};

use crate::deadline::CpuClock;
use crate::limits::Limits;
use crate::mail::HomeId;
use crate::now::Now;

/// What stands behind the contract, shared by every replica of a server.
#[derive(Clone)]
pub struct Capabilities {
    /// Who is connected.
    pub clients: Arc<dyn Clients>,
    /// Their tags.
    pub tags: Arc<dyn Tags>,
    /// The in-memory values.
    pub state: Arc<dyn State>,
    /// The flags.
    pub feature_flags: Arc<dyn FeatureFlags>,
    /// The log.
    pub logging: Arc<dyn Logging>,
    /// Who has which topic open.
    pub streams: Arc<dyn Streams>,
    /// The queues of the modules.
    pub mailboxes: Arc<dyn Mailboxes>,
    /// What is loaded.
    pub modules: Arc<dyn Modules>,
    /// Calls to modules that wait.
    pub calls: Arc<dyn Calls>,
    /// Zones and schedules.
    pub calendar: Arc<dyn Calendar>,
    /// The databases.
    pub databases: Arc<dyn Databases>,
    /// The secrets.
    pub secrets: Arc<dyn Secrets>,
    /// The CPU of the running thread.
    pub cpu: Arc<dyn CpuClock>,
    /// A monotonic clock that runs on within a call, in microseconds since the server's start.
    pub stopwatch: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl core::fmt::Debug for Capabilities {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Capabilities").finish_non_exhaustive()
    }
}

/// Calls from a waiting module to another, through the callee's queue.
pub trait Calls: Send + Sync {
    /// The callee's answer. Dropping the future gives it up; the callee's call goes on.
    fn call(
        &self,
        origin: &Origin,
        module: &str,
        action: &str,
        input: Payload,
    ) -> BoxFuture<'static, Result<Payload>>;
}

/// Where a call between modules comes from.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The calling replica.
    pub caller: Arc<str>,
    /// Which replica of the caller it is, unique on this server; the table of waits goes by it.
    pub replica: u64,
    /// The modules on this chain of calls, the first caller first.
    pub chain: Vec<Arc<str>>,
    /// What is left of the call's wall time.
    pub remaining: core::time::Duration,
}

/// Who a replica is; the same in each of its log lines.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The module's name.
    pub module: Arc<str>,
    /// Its full address: the name, or `name#key`.
    pub address: Arc<str>,
    /// Which load of it; a new one with each swap.
    pub generation: u64,
    /// Which copy on this server, from 0.
    pub copy: u32,
    /// Unique on this server among all replicas that ever were.
    pub replica: u64,
    /// Which server.
    pub instance: InstanceId,
}

/// The grants of a manifest beyond what can do no harm.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// `db:NAME`
    pub databases: BTreeSet<String>,
    /// `secret:NAME`
    pub secrets: BTreeSet<String>,
}

/// What a replica's context is made from.
#[derive(Clone)]
pub struct Charter {
    /// Who it is.
    pub identity: Identity,
    /// What it may reach.
    pub grants: Arc<Grants>,
    /// What it may use.
    pub limits: Limits,
    /// Its section of the manifest.
    pub config: Arc<dyn Config>,
    /// What stands behind the contract.
    pub capabilities: Capabilities,
    /// Its timers; they go over a swap, so the home owns them too.
    pub timers: Arc<Mutex<Timers>>,
    /// How many signals wait for its step.
    pub signals: Arc<core::sync::atomic::AtomicU32>,
    /// Places taken by what its copy is told without anybody waiting for an answer; the catalog's [`crate::catalog::Copy`] shows the same.
    pub told: Arc<core::sync::atomic::AtomicU32>,
    /// Places taken by the answers that its copy waits for, shown the same.
    pub asked: Arc<core::sync::atomic::AtomicU32>,
    /// The shard that carries its effects out.
    pub carrier: HomeId,
    /// Takes effects while a call waits (workers only).
    pub outlet: Option<Arc<dyn Outlet>>,
}

impl core::fmt::Debug for Charter {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Charter")
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

/// Where the effects of a call go when it waits, in order, before its end.
pub trait Outlet: Send + Sync {
    /// Carries them out; `now` is when they left.
    fn release(&self, identity: &Identity, now: Now, effects: Vec<Effect>);
}

/// The timers of one instance, by name.
pub type Timers = BTreeMap<Arc<str>, Timer>;

/// One timer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timer {
    /// When it is due, by the server's wall clock.
    pub due_at: TimestampUs,
    /// Its period; none when it comes once.
    pub period_us: Option<u64>,
    /// What comes back with it.
    pub data: Payload,
}

/// What a call is for; it decides what is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Loading and `describe` in a throw-away replica: only `logging`, `config` and `feature-flags` answer.
    #[default]
    Probe,
    /// The module's code runs for the first time in a real replica: as in `Probe`, but that effects and writes are only refused, not fatal.
    Load,
    /// `save` and `restore`: nothing may wait.
    Transfer,
    /// Any other call.
    Call,
}

/// What a home arms a context with for one call.
#[derive(Clone, Debug, Default)]
pub struct Arming {
    /// What the call is for.
    pub phase: Phase,
    /// Whether it has the budget of the calls around a replica's life: `start` and `stop`. `Load` and `Transfer` have it anyway.
    pub setup: bool,
    /// The wall clock of what is being handled, microseconds since the Unix epoch.
    pub wall_us: TimestampUs,
    /// The monotonic clock, microseconds since the server's start.
    pub monotonic_us: u64,
    /// When a call on a worker must have ended, on the monotonic clock; none on a shard.
    pub wall_limit_us: Option<u64>,
    /// The modules on this chain of calls.
    pub chain: Vec<Arc<str>>,
}
