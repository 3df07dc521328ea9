//! What a guest language gives the host: code that recognises its files, prepares them, and makes replicas. The host names no language; it meets all
//! of them through these traits, by `dyn` (1–2 ns against calls of 110 ns and more).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::LocalBoxFuture;

use crate::context::Context;
use crate::export::{Export, Exports, Outcome};
use crate::function::Interface;

/// The files of one module, as they were when the host read them.
#[derive(Clone, Debug)]
pub struct Source {
    /// The module's name.
    pub name: Arc<str>,
    /// The file that is run.
    pub entry: PathBuf,
    /// Its bytes.
    pub code: bytes::Bytes,
    /// The module's own folder, inside which `require("./…")` stays; none for a lone file.
    pub folder: Option<PathBuf>,
    /// The other files of the folder that the language may want, by path relative to it, as they were when the entry was read.
    pub files: std::collections::BTreeMap<PathBuf, bytes::Bytes>,
    /// Memory of one replica in bytes.
    pub memory_bytes: usize,
}

/// Why code cannot be loaded. The text is for the author: it names the file, and the line where there is one, what was found and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct LoadError {
    /// The text.
    pub message: String,
}

impl LoadError {
    /// An error with this text.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
        }
    }
}

/// A guest language.
pub trait Language: Send + Sync {
    /// Its name: `luau`, `wasm`.
    fn name(&self) -> &'static str;
    /// The endings of its files, without the dot, in the order of preference.
    fn endings(&self) -> &'static [&'static str];
    /// Memory of one replica in MiB where the manifest says nothing.
    fn memory_mib(&self) -> u32;
    /// Whether this file of a module's folder belongs to the code (and so is hashed and passed in [`Source::files`]).
    fn belongs(&self, file: &Path) -> bool;
    /// What makes the file that is run where it is not there yet, if this folder of a module shows it; a clause for its author.
    fn maker(&self, _folder: &Path) -> Option<String> {
        None
    }
    /// Compiles, checks the form, links, and reads the exports from one throw-away replica, with `probe` as its context (made by
    /// [`Context::new`] and not armed, in which every import but `logging`, `config` and `feature-flags` is refused).
    ///
    /// # Errors
    /// What is wrong with the code, for its author.
    fn prepare(&self, source: &Source, probe: Context) -> Result<Arc<dyn Prepared>, LoadError>;
}

/// Code that is ready to become replicas.
pub trait Prepared: Send + Sync {
    /// The interfaces it imports; the host compares them with the grants and chooses the lane.
    fn imports(&self) -> &[Interface];
    /// What it exports and declares.
    fn exports(&self) -> &Exports;
    /// What the code itself says of its placement (a Luau table `manifest`), as key and value; the manifest file wins.
    fn manifest(&self) -> &[(String, toml::Value)];
    /// Makes a replica for a shard, on the thread that will run it.
    ///
    /// # Errors
    /// What went wrong, for the log.
    fn replica(&self, context: Context) -> Result<Box<dyn Replica>, LoadError>;
    /// Makes a replica for a worker, on the thread that will run it.
    ///
    /// # Errors
    /// What went wrong, for the log.
    fn waiting_replica(&self, context: Context) -> Result<Box<dyn WaitingReplica>, LoadError>;
}

/// One copy of a module on a shard. It runs one call at a time, to its end, and never waits.
///
/// The home arms the context ([`Context::arm`]) before each call and takes the outbox after it. A replica that returned [`crate::export::Fault::Ended`]
/// is dropped and not called again.
pub trait Replica {
    /// What its calls may touch.
    fn context(&mut self) -> &mut Context;
    /// Runs one call. An export that the module does not have returns what doing nothing returns (`Done(Ok)`, `Nothing`, `Pass`).
    ///
    /// # Errors
    /// The fault that ended the call, or the replica.
    fn call(&mut self, export: &Export) -> Outcome;
}

/// One copy of a module on a worker. It runs one call at a time, to its end, and may wait in between.
pub trait WaitingReplica {
    /// What its calls may touch.
    fn context(&mut self) -> &mut Context;
    /// Runs one call. Dropping the future ends the call; the replica is dropped with it.
    fn call<'a>(&'a mut self, export: &'a Export) -> LocalBoxFuture<'a, Outcome>;
}
