//! A component that is ready to become replicas: compiled, compared with the contract and its grants, linked, and asked what it exports.

use std::path::Path;
use std::sync::Arc;

use cohnect_host::context::Context;
use cohnect_host::deadline::Ticker;
use cohnect_host::export::Exports;
use cohnect_host::function::Interface;
use cohnect_host::replica::{self, LoadError};
use futures_util::FutureExt as _;
use wasmtime::Engine;
use wasmtime::component::{Component, InstancePre, Linker};

use crate::exports::{self, Functions, Indices, describe::describe};
use crate::replica::{Instance, Replica, WaitingReplica};
use crate::store::Host;
use crate::{call, imports, wasi};

/// Interfaces of the contract that hold types alone.
const TYPES_ONLY: [&str; 2] = ["types", "packets"];

/// A loaded component.
pub(crate) struct Prepared {
    name: Arc<str>,
    ticker: Ticker,
    pre: InstancePre<Host>,
    indices: Indices,
    imports: Vec<Interface>,
    exports: Exports,
    memory_bytes: usize,
}

impl Prepared {
    /// Compares, links and describes a compiled component.
    ///
    /// # Errors
    /// What is wrong with it, for its author.
    pub(crate) fn new(
        source: &replica::Source,
        ticker: Ticker,
        engine: &Engine,
        component: &Component,
        probe: Context,
    ) -> Result<Self, LoadError> {
        let refuse = |what: String| LoadError::new(format!("{}: {what}", source.entry.display()));
        let imports = imported(engine, component).map_err(refuse)?;
        for interface in &imports {
            probe.may_import(*interface).map_err(refuse)?;
        }
        let indices = Indices::find(engine, component).map_err(refuse)?;
        let pre = linked(engine, component)
            .map_err(|error| refuse(format!("it cannot be linked: {error:#}")))?;
        let mut prepared = Self {
            name: Arc::clone(&source.name),
            ticker,
            pre,
            indices,
            imports,
            exports: Exports::default(),
            memory_bytes: source.memory_bytes,
        };
        prepared.exports = prepared.describe(&source.entry, probe)?;
        Ok(prepared)
    }

    /// Reads the exports from a replica that is thrown away.
    fn describe(&self, entry: &Path, probe: Context) -> Result<Exports, LoadError> {
        let mut instance = self.instance(probe, self.waits())?;
        let _running = self.ticker.running();
        instance.store.set_epoch_deadline(1);
        let described = at_once(describe(&instance.functions, &mut instance.store));
        let host = instance.store.data_mut();
        host.finish();
        described.map_err(|error| {
            let fault = call::fault(&error, host.bounds.refused).to_string();
            LoadError::new(format!(
                "{}: `describe` failed: {}",
                entry.display(),
                wasi::with_last_words(host, &fault)
            ))
        })
    }

    fn waits(&self) -> bool {
        self.imports.iter().any(|interface| interface.waits())
    }

    /// One instance. Its start runs under the budget of a setup, and on a worker too it runs through.
    fn instance(&self, context: Context, waits: bool) -> Result<Instance, LoadError> {
        let _running = self.ticker.running();
        let mut store = Host::store(self.pre.engine(), context, self.memory_bytes, waits);
        store.set_epoch_deadline(1);
        let made = at_once(async {
            let instance = self.pre.instantiate_async(&mut store).await?;
            Functions::load(&self.indices, &mut store, &instance)
        });
        let host = store.data_mut();
        host.finish();
        match made {
            Ok(functions) => Ok(Instance { store, functions }),
            Err(error) => {
                let fault = call::fault(&error, host.bounds.refused).to_string();
                Err(LoadError::new(format!(
                    "{}: no replica can be made: {}",
                    self.name,
                    wasi::with_last_words(host, &fault)
                )))
            }
        }
    }
}

impl replica::Prepared for Prepared {
    fn imports(&self) -> &[Interface] {
        &self.imports
    }

    fn exports(&self) -> &Exports {
        &self.exports
    }

    fn manifest(&self) -> &[(String, toml::Value)] {
        &[]
    }

    fn replica(&self, context: Context) -> Result<Box<dyn replica::Replica>, LoadError> {
        if self.waits() {
            return Err(LoadError::new(format!(
                "{}: it imports what waits, so it cannot live on a shard",
                self.name
            )));
        }
        Ok(Box::new(Replica(self.instance(context, false)?)))
    }

    fn waiting_replica(
        &self,
        context: Context,
    ) -> Result<Box<dyn replica::WaitingReplica>, LoadError> {
        Ok(Box::new(WaitingReplica(self.instance(context, true)?)))
    }
}

/// The contract's interfaces that a component imports.
///
/// # Errors
/// The name of an import that this server does not have.
fn imported(engine: &Engine, component: &Component) -> Result<Vec<Interface>, String> {
    let mut imported = Vec::new();
    for (name, _import) in component.component_type().imports(engine) {
        if name.starts_with(wasi::NAMESPACE) {
            continue;
        }
        let known = exports::interface(name).and_then(|interface| {
            if TYPES_ONLY.contains(&interface) {
                return Some(None);
            }
            // The contract's names are kebab-case; the spelling of Luau is none of them.
            Interface::named(interface)
                .filter(|found| found.name() == interface)
                .map(Some)
        });
        match known {
            Some(Some(interface)) => imported.push(interface),
            Some(None) => {}
            None => {
                return Err(format!(
                    "it imports `{name}`, which this server does not have"
                ));
            }
        }
    }
    imported.sort_unstable();
    imported.dedup();
    Ok(imported)
}

fn linked(engine: &Engine, component: &Component) -> wasmtime::Result<InstancePre<Host>> {
    let mut linker = Linker::new(engine);
    imports::link(&mut linker)?;
    wasi::link(&mut linker, engine, component)?;
    linker.instantiate_pre(component)
}

/// Runs to its end what has nothing to wait for: in a replica that is being made every capability that waits is refused.
fn at_once<T>(work: impl Future<Output = wasmtime::Result<T>>) -> wasmtime::Result<T> {
    work.now_or_never()
        .unwrap_or_else(|| Err(wasmtime::Error::msg("it waited while it was being made")))
}
