//! Modules that are closures, and how a site lists them: on shards, on the worker, broken.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use cohnect_host::calls::Exchange;
use cohnect_host::catalog::{Catalog, Copy, Module, OnFailure, Placement, Stage};
use cohnect_host::context::{Capabilities, Charter, Context};
use cohnect_host::export::{Export, Exports, Outcome as Ran, StartReason};
use cohnect_host::function::Interface;
use cohnect_host::mail::{Address, HomeId, Mail};
use cohnect_host::now::Clock;
use cohnect_host::order::{Install, Order};
use cohnect_host::replica::{LoadError, Prepared, Replica, WaitingReplica};

use super::Site;

/// The body of a fake module.
type Run = dyn Fn(&mut Context, &Export) -> Ran + Send + Sync;

/// What a test says of a module; the rest is as usual.
pub(in crate::shard::tests) struct Plan {
    pub(in crate::shard::tests) exports: Exports,
    /// None: a copy on every shard.
    pub(in crate::shard::tests) shard: Option<u16>,
    pub(in crate::shard::tests) on_failure: OnFailure,
    pub(in crate::shard::tests) queue_max: u32,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            exports: Exports::default(),
            shard: Some(0),
            on_failure: OnFailure::Reject,
            queue_max: 1_024,
        }
    }
}

impl Site {
    /// Loads a module whose every call runs a closure.
    pub(in crate::shard::tests) fn load(
        &mut self,
        name: &str,
        plan: Plan,
        run: impl Fn(&mut Context, &Export) -> Ran + Send + Sync + 'static,
    ) {
        let count = self.shards.len() as u16;
        let homes: Vec<u16> = match plan.shard {
            Some(n) => vec![n % count],
            None => (0..count).collect(),
        };
        let prepared: Arc<dyn Prepared> = Arc::new(Closure {
            exports: plan.exports.clone(),
            run: Arc::new(run),
        });
        let mut copies = Vec::new();
        for (number, home) in homes.iter().enumerate() {
            let healthy = Arc::new(AtomicBool::new(true));
            let copy = Copy {
                home: HomeId(*home),
                number: number as u32,
                taken: Arc::default(),
                told: Arc::default(),
                asked: Arc::default(),
                healthy: Arc::clone(&healthy),
            };
            let charter = self.charter(name, &copy);
            copies.push(copy);
            let install = Install {
                copy: Address {
                    module: name.into(),
                    copy: number as u32,
                },
                prepared: Arc::clone(&prepared),
                charter,
                seed: [7; 32],
                healthy,
                replicas_max: 1,
                reason: StartReason::Loaded,
                snapshot: None,
                done: tokio::sync::oneshot::channel().0,
            };
            let order = Mail::Order(Order::Install(Box::new(install)));
            let control = self.post.layout().control();
            self.post.deliver(control, HomeId(*home), &mut vec![order]);
        }
        let actions = plan.exports.actions.iter();
        self.modules.push(Arc::new(Module {
            name: name.into(),
            generation: 1,
            version: String::new(),
            placement: plan
                .shard
                .map_or(Placement::PerShard, |_| Placement::Single),
            waits: false,
            copies,
            queue_max: plan.queue_max,
            on_failure: plan.on_failure,
            healthy: Arc::new(AtomicBool::new(true)),
            actions: actions.map(|a| (Arc::clone(&a.name), a.clone())).collect(),
            exports: plan.exports,
        }));
        self.publish();
    }

    /// A copy of a module, as those who call it see it.
    pub(in crate::shard::tests) fn copy(&self, module: &str, number: u32) -> Copy {
        let catalog = self.catalogs.newest();
        catalog.modules[module].copy(number).unwrap().clone()
    }

    /// Lists a module that has no copy: it is broken.
    pub(in crate::shard::tests) fn load_broken(&mut self, name: &str) {
        self.modules.push(Arc::new(Module {
            name: name.into(),
            generation: 0,
            version: String::new(),
            placement: Placement::Single,
            waits: false,
            copies: Vec::new(),
            queue_max: 1,
            on_failure: OnFailure::Reject,
            healthy: Arc::new(AtomicBool::new(false)),
            actions: std::collections::BTreeMap::new(),
            exports: Exports::default(),
        }));
        self.publish();
    }

    /// Lists a module that lives on the worker, whose mail a test answers itself.
    pub(in crate::shard::tests) fn load_on_worker(&mut self, name: &str, exports: Exports) {
        let actions = exports.actions.iter();
        self.modules.push(Arc::new(Module {
            name: name.into(),
            generation: 1,
            version: String::new(),
            placement: Placement::Single,
            waits: true,
            copies: vec![Copy {
                home: self.post.layout().worker(0),
                number: 0,
                taken: Arc::default(),
                told: Arc::default(),
                asked: Arc::default(),
                healthy: Arc::new(AtomicBool::new(true)),
            }],
            queue_max: 1_024,
            on_failure: OnFailure::Reject,
            healthy: Arc::new(AtomicBool::new(true)),
            actions: actions.map(|a| (Arc::clone(&a.name), a.clone())).collect(),
            exports,
        }));
        self.publish();
    }

    fn publish(&mut self) {
        let mut catalog = Catalog::default();
        for module in &self.modules {
            let all = &module.exports;
            catalog
                .modules
                .insert(Arc::clone(&module.name), Arc::clone(module));
            let stage = |claim| Stage {
                module: Arc::clone(module),
                claim,
            };
            catalog
                .packet_stages
                .extend(all.packets.iter().map(|claim| Stage {
                    module: Arc::clone(module),
                    claim: claim.clone(),
                }));
            catalog
                .broadcast_stages
                .extend(all.broadcasts.iter().cloned().map(stage));
            catalog
                .stream_claims
                .extend(all.streams.iter().cloned().map(stage));
        }
        catalog.packet_stages.sort_by_key(|stage| stage.claim.order);
        catalog
            .broadcast_stages
            .sort_by_key(|stage| stage.claim.order);
        self.catalogs.publish(catalog);
    }

    fn charter(&self, name: &str, copy: &Copy) -> Charter {
        let mut charter = self.world.charter(name, false);
        charter.identity.copy = copy.number;
        charter.told = Arc::clone(&copy.told);
        charter.asked = Arc::clone(&copy.asked);
        charter.carrier = copy.home;
        let clock = Arc::clone(&self.world) as Arc<dyn Clock>;
        let (catalogs, post) = (Arc::clone(&self.catalogs), Arc::clone(&self.post));
        charter.capabilities = Capabilities {
            clients: Arc::clone(&self.directory) as _,
            tags: Arc::clone(&self.directory) as _,
            streams: Arc::clone(&self.directory) as _,
            state: Arc::clone(&self.state) as _,
            mailboxes: Exchange::new(catalogs, post, clock),
            ..charter.capabilities
        };
        charter
    }
}

struct Closure {
    exports: Exports,
    run: Arc<Run>,
}

impl Prepared for Closure {
    fn imports(&self) -> &[Interface] {
        &[]
    }

    fn exports(&self) -> &Exports {
        &self.exports
    }

    fn manifest(&self) -> &[(String, toml::Value)] {
        &[]
    }

    fn replica(&self, context: Context) -> Result<Box<dyn Replica>, LoadError> {
        let run = Arc::clone(&self.run);
        Ok(Box::new(Running { run, context }))
    }

    fn waiting_replica(&self, _context: Context) -> Result<Box<dyn WaitingReplica>, LoadError> {
        Err(LoadError::new("there is no worker here"))
    }
}

struct Running {
    run: Arc<Run>,
    context: Context,
}

impl Replica for Running {
    fn context(&mut self) -> &mut Context {
        &mut self.context
    }

    fn call(&mut self, export: &Export) -> Ran {
        (self.run)(&mut self.context, export)
    }
}

/// Lines that modules of a test write.
#[derive(Clone, Default)]
pub(in crate::shard::tests) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub(in crate::shard::tests) fn add(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }

    pub(in crate::shard::tests) fn take(&self) -> Vec<String> {
        core::mem::take(&mut self.0.lock().unwrap())
    }
}
