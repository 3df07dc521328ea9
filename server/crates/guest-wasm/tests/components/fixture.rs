//! A world, a ticker that runs without waiting for any clock, and replicas of the test modules.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use cohnect_capabilities::{Caller, Client, ClientId, Payload};
use cohnect_guest_wasm::Wasm;
use cohnect_host::context::{Arming, Charter, Context, Phase};
use cohnect_host::deadline::Ticker;
use cohnect_host::export::{Export, Outcome, Request, Returned};
use cohnect_host::replica::{Language, LoadError, Prepared, Replica, Source, WaitingReplica};
use cohnect_host::seeded::Seeded;
use cohnect_host::testing::World;

pub(crate) const ADA: ClientId = ClientId { hi: 1, lo: 1 };

/// The ticker of all tests: it ticks as fast as it can while a guest runs.
pub(crate) fn ticker() -> &'static Ticker {
    static TICKER: OnceLock<Ticker> = OnceLock::new();
    TICKER.get_or_init(|| {
        let ticker = Ticker::default();
        let running = ticker.clone();
        std::thread::spawn(move || running.run(|_| std::thread::yield_now()));
        ticker
    })
}

/// The one engine of all tests: each reserves terabytes of addresses.
pub(crate) fn wasm() -> &'static Wasm {
    static WASM: OnceLock<Wasm> = OnceLock::new();
    WASM.get_or_init(|| Wasm::new(ticker(), None).unwrap())
}

fn modules() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/modules")
}

/// What cargo makes of the test modules, out of the way of every other target.
pub(crate) fn guest_target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("guests")
}

fn built(name: &str) -> Payload {
    cohnect_build::component_of(&modules().join(name), &guest_target())
        .unwrap()
        .into()
}

pub(crate) fn probe_folder() -> PathBuf {
    modules().join("probe")
}

/// The component that does what a test tells it, on a shard.
pub(crate) fn probe_code() -> Payload {
    static CODE: OnceLock<Payload> = OnceLock::new();
    CODE.get_or_init(|| built("probe")).clone()
}

/// The component whose calls wait.
pub(crate) fn waiting_code() -> Payload {
    static CODE: OnceLock<Payload> = OnceLock::new();
    CODE.get_or_init(|| built("waiting")).clone()
}

pub(crate) fn source(name: &str, code: Payload) -> Source {
    Source {
        name: name.into(),
        entry: format!("{name}.wasm").into(),
        code,
        folder: None,
        files: BTreeMap::new(),
        memory_bytes: 8 * 1024 * 1024,
    }
}

/// Loads code in a fresh world.
pub(crate) fn load(code: &Payload) -> Result<Arc<dyn Prepared>, LoadError> {
    wasm().prepare(&source("probe", code.clone()), World::new().probe("probe"))
}

pub(crate) fn context(charter: Charter) -> Context {
    Context::new(charter, Box::new(Seeded::new(&[7; 32], 0)))
}

/// The probe, loaded once for all tests.
pub(crate) fn probe() -> Arc<dyn Prepared> {
    static PROBE: OnceLock<Arc<dyn Prepared>> = OnceLock::new();
    Arc::clone(PROBE.get_or_init(|| load(&probe_code()).unwrap()))
}

/// The waiting module, loaded once for all tests.
pub(crate) fn waiting() -> Arc<dyn Prepared> {
    static WAITING: OnceLock<Arc<dyn Prepared>> = OnceLock::new();
    Arc::clone(WAITING.get_or_init(|| load(&waiting_code()).unwrap()))
}

/// A replica on a shard, with its world.
pub(crate) struct OnShard {
    pub(crate) world: Arc<World>,
    pub(crate) replica: Box<dyn Replica>,
}

impl OnShard {
    pub(crate) fn new() -> Self {
        Self::of(&*probe())
    }

    pub(crate) fn of(prepared: &dyn Prepared) -> Self {
        let world = World::new();
        world.connect(ADA, &["red"]);
        let replica = prepared
            .replica(context(world.charter("probe", false)))
            .unwrap();
        Self { world, replica }
    }

    pub(crate) fn call(&mut self, export: &Export) -> Outcome {
        let _running = ticker().running();
        let arming = self.world.arming(false);
        self.replica.context().arm(arming);
        self.replica.call(export)
    }

    pub(crate) fn action(&mut self, name: &str, input: &str) -> Outcome {
        self.call(&request(name, input))
    }

    /// The text of an action's answer.
    pub(crate) fn text(&mut self, name: &str, input: &str) -> String {
        text(self.action(name, input))
    }
}

/// A replica on a worker, with its world.
pub(crate) struct OnWorker {
    pub(crate) world: Arc<World>,
    pub(crate) replica: Box<dyn WaitingReplica>,
}

impl OnWorker {
    pub(crate) fn new() -> Self {
        Self::of(&*waiting())
    }

    pub(crate) fn of(prepared: &dyn Prepared) -> Self {
        let world = World::new();
        world.connect(ADA, &["red"]);
        let mut context = context(world.charter("waiting", true));
        // As a home makes it.
        context.arm(Arming {
            phase: Phase::Load,
            setup: true,
            wall_limit_us: None,
            ..world.arming(true)
        });
        let _running = ticker().running();
        let replica = prepared.waiting_replica(context).unwrap();
        Self { world, replica }
    }

    pub(crate) async fn call(&mut self, phase: Phase, export: &Export) -> Outcome {
        let _running = ticker().running();
        let arming = Arming {
            phase,
            ..self.world.arming(true)
        };
        self.replica.context().arm(arming);
        self.replica.call(export).await
    }

    pub(crate) async fn action(&mut self, name: &str, input: &str) -> Outcome {
        self.call(Phase::Call, &request(name, input)).await
    }
}

pub(crate) fn client() -> Client {
    Client {
        id: ADA,
        user: Some("ada".into()),
        tags: ["red".into(), "~lfg".into()].into(),
    }
}

pub(crate) fn request(name: &str, input: &str) -> Export {
    Export::Execute(Request {
        id: 42,
        name: name.into(),
        caller: Caller::Client(client()),
        received_at: 1_234,
        input: Payload::copy_from_slice(input.as_bytes()),
    })
}

/// The text of an action's answer.
pub(crate) fn text(outcome: Outcome) -> String {
    let Ok(Returned::Answer(Ok(answer))) = outcome else {
        panic!("no answer: {outcome:?}");
    };
    String::from_utf8(answer.to_vec()).unwrap()
}
