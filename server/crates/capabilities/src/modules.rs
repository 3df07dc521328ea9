//! `modules`: what is loaded, and calls that wait for their answer.

use std::sync::Arc;

/// The kinds of a module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ModuleKinds {
    /// It has stages.
    pub pipeline: bool,
    /// It has actions.
    pub action: bool,
    /// It runs by itself.
    pub background: bool,
    /// It has jobs.
    pub cron: bool,
}

/// A loaded module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleInfo {
    /// Its name.
    pub name: Arc<str>,
    /// What it does.
    pub kinds: ModuleKinds,
    /// From its manifest, or empty.
    pub version: String,
    /// Which load of it.
    pub generation: u64,
    /// False while its circuit is open.
    pub healthy: bool,
}

/// The modules of this server.
pub trait Modules: Send + Sync {
    /// All that are loaded, by name.
    fn loaded(&self) -> Vec<ModuleInfo>;
}
