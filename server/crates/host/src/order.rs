//! The custodian's word to a home: install, switch, remove, stop. Each is answered on the oneshot that comes with it.

use core::sync::atomic::AtomicBool;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::context::Charter;
use crate::export::{ServerEvent, Snapshot, StartReason, StopReason};
use crate::mail::Address;
use crate::replica::Prepared;

/// What a home is told.
#[derive(Debug)]
pub enum Order {
    /// Make a replica of code that is not here yet.
    Install(Box<Install>),
    /// Put new code into the place of the old: `save`, make, `restore`, `start`, and only then is the old one `stop`ped.
    Switch(Box<Install>),
    /// End a replica.
    Remove {
        /// Which.
        copy: Address,
        /// What it is told.
        reason: StopReason,
        /// Says that it is gone.
        done: oneshot::Sender<()>,
    },
    /// Tell the replicas that want to know.
    Event(ServerEvent),
}

/// New code for one copy.
pub struct Install {
    /// Which copy.
    pub copy: Address,
    /// The code.
    pub prepared: Arc<dyn Prepared>,
    /// What its context is made from.
    pub charter: Charter,
    /// Its generator's seed.
    pub seed: [u8; 32],
    /// Whether its circuit is closed, for those who look at the catalog.
    pub healthy: Arc<AtomicBool>,
    /// How many replicas the copy may have: one, which carries its state over a swap, or on a worker several, made on demand.
    pub replicas_max: u32,
    /// Why it starts.
    pub reason: StartReason,
    /// What to restore when the old code cannot save (a roll-back), or there is none.
    pub snapshot: Option<Snapshot>,
    /// Says what came of it: the snapshot that went over, or why nothing has changed.
    pub done: oneshot::Sender<Result<Option<Snapshot>, String>>,
}

impl Install {
    /// Whether the swap waits for nothing: it ends the running call, and goes on without what cannot be saved. The manifest's `swap_wait_s = 0` says so.
    #[must_use]
    pub const fn is_forced(&self) -> bool {
        self.charter.limits.swap_wait.is_zero()
    }

    /// The same code once more, for a replica of whose making nobody is told.
    #[must_use]
    pub fn again(&self, reason: StartReason) -> Self {
        let (done, _) = oneshot::channel();
        Self {
            copy: self.copy.clone(),
            prepared: Arc::clone(&self.prepared),
            charter: self.charter.clone(),
            seed: self.seed,
            healthy: Arc::clone(&self.healthy),
            replicas_max: self.replicas_max,
            reason,
            snapshot: None,
            done,
        }
    }
}

impl core::fmt::Debug for Install {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Install")
            .field("copy", &self.copy)
            .field("reason", &self.reason)
            .finish_non_exhaustive()
    }
}
