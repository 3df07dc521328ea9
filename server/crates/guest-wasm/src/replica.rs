//! A component's replicas: one instance each, with its own memory, called on a shard or on a worker.

use cohnect_host::context::Context;
use cohnect_host::export::{Export, Outcome};
use cohnect_host::replica;
use futures_util::future::LocalBoxFuture;
use wasmtime::Store;

use crate::call;
use crate::exports::Functions;
use crate::store::Host;

/// One instance of a component.
pub(crate) struct Instance {
    pub(crate) store: Store<Host>,
    pub(crate) functions: Functions,
}

/// An instance on a shard.
pub(crate) struct Replica(pub(crate) Instance);

impl replica::Replica for Replica {
    fn context(&mut self) -> &mut Context {
        &mut self.0.store.data_mut().context
    }

    fn call(&mut self, export: &Export) -> Outcome {
        call::call(&mut self.0.store, &self.0.functions, export)
    }
}

/// An instance on a worker.
pub(crate) struct WaitingReplica(pub(crate) Instance);

impl replica::WaitingReplica for WaitingReplica {
    fn context(&mut self) -> &mut Context {
        &mut self.0.store.data_mut().context
    }

    fn call<'a>(&'a mut self, export: &'a Export) -> LocalBoxFuture<'a, Outcome> {
        Box::pin(call::call_waiting(
            &mut self.0.store,
            &self.0.functions,
            export,
        ))
    }
}
