//! `signals`: wake-ups of the calling instance's background step. Raising one is an [`crate::Effect`].

use crate::Payload;

/// Signals that wait for one step: as many as calls may wait for one replica.
pub const PENDING_MAX: usize = 1_024;

/// One signal, as the step gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signal {
    /// Its name.
    pub name: String,
    /// What came with it.
    pub body: Payload,
}
