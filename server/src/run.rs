//! Runs a server from its start to its end: opens the door, starts the threads, and joins them when it ends. What the control thread does in between is
//! `control`'s.

use core::time::Duration;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::Context as _;
use cohnect_engine::{Policy, ShardSetup};
use cohnect_host::mail::{HomeId, Layout, Waker};
use cohnect_host::worker::{self, Bell, WorkerSetup};
use cohnect_net::{Clock, Door};
use cohnect_protocol::{CookieSecret, Psk, ServerConfig, StaticKeys};
use tokio::sync::oneshot;

use crate::assemble::{Parts, Surroundings, assemble, steering};
use crate::config::Config;
use crate::control::Control;
use crate::ending::Ending;
use crate::keys::{self, SystemEntropy, unhex};
use crate::ready::Ready;

/// How much workers stand back behind shards.
const WORKER_NICE: i32 = 5;

/// What differs between `dev` and `serve`.
#[derive(Clone, Debug)]
pub struct Manner {
    /// What clients may do.
    pub policy: Policy,
    /// Whether each shard keeps a core for itself.
    pub pin: bool,
    /// Whether a module that cannot be loaded at start ends the server, or is left out.
    pub broken_modules_stop: bool,
    /// Files to write once clients are answered.
    pub ready_files: Vec<PathBuf>,
}

/// Runs a server until it is told to end.
///
/// # Errors
/// Why it cannot start: names the file, key, address or module.
pub fn run(config: &Config, manner: &Manner) -> anyhow::Result<()> {
    // Declared first, so that it is dropped last: what everything else takes to end counts.
    let ending;
    let keys = keys::read_or_make(&config.server.key_file)?;
    let secrets = EndpointSecrets {
        keys: keys.clone(),
        psk: psk(config)?,
        cookies: CookieSecret::new(&mut SystemEntropy),
    };
    let clock = Clock::new();
    let steering = steering(config);
    let wanted = u16::try_from(config.server.shards.unwrap_or(1))?;
    let door = Door::open(config.server.listen, wanted, steering)?;
    let layout = Layout {
        shards: door.shards(),
        workers: u16::try_from(config.server.workers.unwrap_or(1))?,
    };
    let bells: Vec<_> = (0..layout.workers)
        .map(|_| Arc::new(Bell::default()))
        .collect();
    // The control thread waits for answers by other ways than its box, so it has no waker.
    let own = (0..layout.shards).filter_map(|n| door.waker(n));
    let wakers = own
        .chain(bells.iter().map(|bell| Arc::clone(bell) as Arc<dyn Waker>))
        .collect();
    let parts = assemble(
        config,
        layout,
        Surroundings {
            clock: Arc::new(clock),
            steering,
            wakers,
        },
    )?;
    let address = door.address();
    let setups = (0..layout.shards)
        .map(|n| shard(config, manner, &parts, &secrets, n))
        .collect();
    let shards = door
        .run(setups, parts.ticker.clone(), clock, manner.pin)
        .context("the shards cannot be started")?;
    let workers = Workers::start(&parts, bells, clock)?;
    let ready = Ready {
        version: env!("CARGO_PKG_VERSION").into(),
        pid: std::process::id(),
        udp: address,
        server_key: keys.public().to_string(),
        server_uuid: keys.peer_id().to_string(),
        shards: layout.shards,
    };
    ending = Ending::listen()?;
    // This thread is the control thread: it compiles, swaps and watches.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the control thread cannot be started")?;
    let control = Control {
        config,
        manner,
        parts: &parts,
        clock,
        ready: &ready,
        shards: &shards,
        workers: &workers,
        ending: &ending,
    };
    let done = runtime.block_on(control.run());
    let stopped = shards.stop();
    workers.stop();
    for file in manner
        .ready_files
        .iter()
        .filter(|file| Ready::read(file).is_ok_and(|found| found.pid == ready.pid))
    {
        // It is nobody's address any more.
        drop(std::fs::remove_file(file));
    }
    done?;
    stopped?;
    Ok(())
}

/// What the endpoints of all shards share.
struct EndpointSecrets {
    keys: StaticKeys,
    psk: [u8; 32],
    cookies: CookieSecret,
}

fn psk(config: &Config) -> anyhow::Result<[u8; 32]> {
    let Some(file) = &config.server.psk_file else {
        return Ok([0; 32]);
    };
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("server.psk_file: {} cannot be read", file.display()))?;
    unhex(text.trim())
        .with_context(|| format!("server.psk_file: {} holds no 64 hex digits", file.display()))
}

fn shard(
    config: &Config,
    manner: &Manner,
    parts: &Parts,
    secrets: &EndpointSecrets,
    n: u16,
) -> ShardSetup {
    let EndpointSecrets { keys, psk, cookies } = secrets;
    let session = &config.session;
    let mut endpoint = ServerConfig::new(keys.clone(), cookies.clone());
    endpoint.psk = Psk::new(*psk);
    endpoint.idle_timeout = Duration::from_secs(session.idle_timeout_s);
    endpoint.away = Duration::from_secs(session.away_s);
    endpoint.keepalive = Duration::from_secs(session.keepalive_s.unwrap_or(5));
    endpoint.max_ack_delay = Duration::from_millis(session.max_ack_delay_ms);
    // Shards fill evenly, not exactly; a tenth more for each keeps the whole close to what was asked for.
    let share = session.sessions_max / u64::from(parts.layout.shards);
    endpoint.sessions_max = usize::try_from(share + share / 10 + 1).unwrap_or(usize::MAX);
    ShardSetup {
        id: HomeId(n),
        endpoint,
        entropy: Box::new(SystemEntropy),
        directory: Arc::clone(&parts.directory),
        state: Arc::clone(&parts.state),
        catalogs: Arc::clone(&parts.catalogs),
        post: Arc::clone(&parts.post),
        ticker: parts.ticker.clone(),
        policy: manner.policy,
    }
}

/// The threads of the workers.
pub(crate) struct Workers {
    ends: Vec<oneshot::Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    fn start(parts: &Parts, bells: Vec<Arc<Bell>>, clock: Clock) -> anyhow::Result<Self> {
        let mut workers = Self {
            ends: Vec::new(),
            threads: Vec::new(),
        };
        for (n, bell) in bells.into_iter().enumerate() {
            let (end, ended) = oneshot::channel();
            let setup = WorkerSetup {
                id: parts.layout.worker(n as u16),
                post: Arc::clone(&parts.post),
                bell,
                clock: Arc::new(clock),
                ticker: parts.ticker.clone(),
            };
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .context("a worker's runtime cannot be started")?;
            let body = move || {
                // Workers stand back where shards want the same core; a system that does not allow it loses nothing else.
                let _ = rustix::process::setpriority_process(None, WORKER_NICE);
                let stop = async move { drop(ended.await) };
                tokio::task::LocalSet::new().block_on(&runtime, worker::run(setup, stop));
            };
            let thread = std::thread::Builder::new()
                .name(format!("worker-{n}"))
                .spawn(body);
            workers
                .threads
                .push(thread.context("the system gives no thread to a worker")?);
            workers.ends.push(end);
        }
        Ok(workers)
    }

    /// The first worker whose thread has ended, though nobody told it to.
    pub(crate) fn panicked(&self) -> Option<String> {
        let ended = self.threads.iter().position(JoinHandle::is_finished);
        ended.map(|n| format!("worker {n} panicked"))
    }

    fn stop(self) {
        // A worker that is gone needs no word.
        drop(self.ends);
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a worker has panicked");
            }
        }
    }
}
