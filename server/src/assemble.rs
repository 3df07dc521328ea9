//! Puts the server together: the only file that names guest languages and backends. What it makes is driven by `run`; what it reads is the configuration.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use cohnect_backend_flags::Flags;
use cohnect_backend_sql::{DatabaseConfig, SqlDatabases};
use cohnect_capabilities::InstanceId;
use cohnect_capabilities::config::Secrets;
use cohnect_engine::{Directory, State};
use cohnect_guest_luau::Luau;
use cohnect_guest_wasm::Wasm;
use cohnect_host::calendar::Zones;
use cohnect_host::calls::Exchange;
use cohnect_host::catalog::Catalogs;
use cohnect_host::context::Capabilities;
use cohnect_host::custodian::Setup;
use cohnect_host::deadline::{ThreadCpuClock, Ticker};
use cohnect_host::mail::{Layout, Post, Waker};
use cohnect_host::now::Clock;
use cohnect_host::replica::Language;
use cohnect_protocol::{Entropy as _, SteeringKeys};

use crate::config::Config;
use crate::keys::SystemEntropy;
use crate::telemetry::ModuleLog;

/// Everything that homes and the custodian share.
#[derive(Debug)]
pub struct Parts {
    /// Which homes there are.
    pub layout: Layout,
    /// Their boxes.
    pub post: Arc<Post>,
    /// What is loaded.
    pub catalogs: Arc<Catalogs>,
    /// The clients.
    pub directory: Arc<Directory>,
    /// The values.
    pub state: Arc<State>,
    /// The tick.
    pub ticker: Ticker,
    /// The feature flags, to be read again when their file changes.
    pub flags: Arc<Flags>,
    /// What the custodian works with.
    pub custodian: Setup,
    /// Where everything waits that waits for a database; it ends with this.
    pub backends: Backends,
}

/// The runtime of the backends. It ends with a second of patience for what still runs.
#[derive(Debug)]
pub struct Backends(Option<tokio::runtime::Runtime>);

impl Drop for Backends {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_timeout(core::time::Duration::from_secs(1));
        }
    }
}

/// Wakes nobody: for a home that does not sleep on its box.
struct NoWaker;

impl Waker for NoWaker {
    fn wake(&self) {}
}

/// What differs between a server that runs and a look at what would run.
pub struct Surroundings {
    /// The real clock.
    pub clock: Arc<dyn Clock>,
    /// Which client lives in which shard.
    pub steering: SteeringKeys,
    /// What wakes each home: shards, workers, control.
    pub wakers: Vec<Arc<dyn Waker>>,
}

impl core::fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Surroundings").finish_non_exhaustive()
    }
}

/// Makes the parts of a server. Opens the databases and reads the flags; binds no port and starts no module.
///
/// # Errors
/// Names the file or key that is wrong.
pub fn assemble(
    config: &Config,
    layout: Layout,
    surroundings: Surroundings,
) -> anyhow::Result<Parts> {
    let data = &config.server.data_dir;
    crate::ready::make_folder(data)
        .with_context(|| format!("the data folder {} cannot be made", data.display()))?;
    let backends = Backends(Some(
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("backend")
            .enable_all()
            .build()
            .context("the backends' runtime cannot be started")?,
    ));
    let runtime = backends
        .0
        .as_ref()
        .context("the backends' runtime is gone")?;
    let databases = runtime.block_on(SqlDatabases::open(
        runtime.handle().clone(),
        databases(config, data),
    ))?;
    let flags = Arc::new(flags(config)?);
    let secrets = Arc::new(SecretStore::read(config));
    let ticker = Ticker::default();
    let wasm = Wasm::new(&ticker, Some(&data.join("artefacts")))?;
    // Luau first: where a module has both files and does not say which, the scan refuses it; nothing depends on the order.
    let languages: Vec<Arc<dyn Language>> =
        vec![Arc::new(Luau::new(ticker.clone())), Arc::new(wasm)];
    let (seed, instance) = chance();
    let wakers = surroundings.wakers;
    let post = Post::new(layout, |home| {
        wakers
            .get(usize::from(home.0))
            .map_or_else(|| Arc::new(NoWaker) as _, Arc::clone)
    });
    let catalogs = Arc::new(Catalogs::default());
    let exchange = Exchange::new(
        Arc::clone(&catalogs),
        Arc::clone(&post),
        Arc::clone(&surroundings.clock),
    );
    let directory = Arc::new(Directory::new(layout.shards, surroundings.steering));
    let state = Arc::new(State::new());
    let clock = surroundings.clock;
    let capabilities = Capabilities {
        clients: Arc::clone(&directory) as _,
        tags: Arc::clone(&directory) as _,
        state: Arc::clone(&state) as _,
        feature_flags: Arc::clone(&flags) as _,
        logging: Arc::new(ModuleLog),
        streams: Arc::clone(&directory) as _,
        mailboxes: Arc::clone(&exchange) as _,
        modules: Arc::clone(&exchange) as _,
        calls: exchange,
        calendar: Arc::new(Zones),
        databases: Arc::new(databases),
        secrets,
        cpu: Arc::new(ThreadCpuClock),
        stopwatch: Arc::new(move || clock.now().monotonic_us),
    };
    let custodian = Setup {
        post: Arc::clone(&post),
        catalogs: Arc::clone(&catalogs),
        capabilities,
        languages,
        ticker: ticker.clone(),
        instance,
        seed,
        aside: true,
    };
    Ok(Parts {
        layout,
        post,
        catalogs,
        directory,
        state,
        ticker,
        flags,
        custodian,
        backends,
    })
}

/// What the modules' generators are derived from, and the server's own id: drawn at each start.
fn chance() -> ([u8; 32], InstanceId) {
    let (mut seed, mut instance) = ([0; 32], [0; 16]);
    SystemEntropy.fill(&mut seed);
    SystemEntropy.fill(&mut instance);
    (seed, InstanceId::from_bytes(instance))
}

/// Which client lives in which shard: as configured for tests, drawn otherwise, so that nobody can choose his shard.
#[must_use]
pub fn steering(config: &Config) -> SteeringKeys {
    let drawn = SystemEntropy.next_u64();
    let [k1, k2] = config
        .server
        .steering_keys
        .unwrap_or([(drawn >> 32) as u32, drawn as u32]);
    SteeringKeys::new(k1, k2)
}

fn databases(config: &Config, data: &Path) -> Vec<DatabaseConfig> {
    let mut databases: Vec<_> = config
        .database
        .iter()
        .map(|(name, database)| DatabaseConfig {
            size_max_mib: database.size_max_mib,
            ..DatabaseConfig::new(name, &database.file)
        })
        .collect();
    if !config.database.contains_key("main") {
        databases.push(DatabaseConfig::new("main", data.join("main.db")));
    }
    databases
}

fn flags(config: &Config) -> anyhow::Result<Flags> {
    match &config.flags.file {
        Some(file) => Ok(Flags::load(file)?),
        None => Ok(Flags::none()),
    }
}

/// The secrets that modules were granted, read once at start.
struct SecretStore(std::collections::BTreeMap<String, String>);

impl SecretStore {
    /// Those that have a value; `Config::check_secrets` says what of the others.
    fn read(config: &Config) -> Self {
        let read = config.secrets.iter();
        let known = read.filter_map(|(name, source)| Some((name.clone(), source.value().ok()?)));
        Self(known.collect())
    }
}

impl Secrets for SecretStore {
    fn secret(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }
}
