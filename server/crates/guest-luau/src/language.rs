//! Luau as a guest language of the host: which files are its, how they are prepared, and how replicas are made.

use std::path::Path;
use std::sync::Arc;

use cohnect_host::context::Context;
use cohnect_host::deadline::Ticker;
use cohnect_host::export::Exports;
use cohnect_host::function::Interface;
use cohnect_host::limits::LUAU_MEMORY_MIB;
use cohnect_host::replica::{Language, LoadError, Prepared, Replica, Source, WaitingReplica};

use crate::load;
use crate::replica::{Instance, Plain};
use crate::shape::Manifest;
use crate::waiting::Waiting;

pub(crate) use crate::load::Code;

/// The language. One serves a whole server; its machines look at this server's tick.
#[derive(Clone, Debug)]
pub struct Luau {
    ticker: Ticker,
}

impl Luau {
    /// The language for a server with this tick.
    #[must_use]
    pub const fn new(ticker: Ticker) -> Self {
        Self { ticker }
    }
}

impl Language for Luau {
    fn name(&self) -> &'static str {
        "luau"
    }

    fn endings(&self) -> &'static [&'static str] {
        &["luau", "lua"]
    }

    fn memory_mib(&self) -> u32 {
        LUAU_MEMORY_MIB
    }

    fn belongs(&self, file: &Path) -> bool {
        load::belongs(file)
    }

    fn prepare(&self, source: &Source, probe: Context) -> Result<Arc<dyn Prepared>, LoadError> {
        let code = Arc::new(Code::compile(source)?);
        // A file that never ends is found by the tick, which goes on while somebody runs.
        let _running = self.ticker.running();
        let (instance, shape) = Instance::load(&code, probe, &self.ticker.counter(), None)?;
        let imports = instance.vm.host.imports.borrow().iter().copied().collect();
        Ok(Arc::new(Script {
            code,
            ticker: self.ticker.clone(),
            imports,
            exports: shape.exports,
            manifest: shape.manifest,
        }))
    }
}

/// A script that is ready to become replicas.
struct Script {
    code: Arc<Code>,
    ticker: Ticker,
    imports: Vec<Interface>,
    exports: Exports,
    manifest: Manifest,
}

impl Script {
    fn load(&self, context: Context) -> Result<Instance, LoadError> {
        let _running = self.ticker.running();
        let counter = self.ticker.counter();
        let (instance, _) = Instance::load(&self.code, context, &counter, Some(&self.imports))?;
        Ok(instance)
    }
}

impl Prepared for Script {
    fn imports(&self) -> &[Interface] {
        &self.imports
    }

    fn exports(&self) -> &Exports {
        &self.exports
    }

    fn manifest(&self) -> &[(String, toml::Value)] {
        &self.manifest
    }

    fn replica(&self, context: Context) -> Result<Box<dyn Replica>, LoadError> {
        Ok(Box::new(Plain(self.load(context)?)))
    }

    fn waiting_replica(&self, context: Context) -> Result<Box<dyn WaitingReplica>, LoadError> {
        Ok(Box::new(Waiting::new(self.load(context)?)))
    }
}
