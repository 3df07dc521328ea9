//! The server that is measured: this very binary as a process of its own, in a scratch folder, with the echo modules.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use cohnect_protocol::{ClientConfig, PublicKey, StaticKeys, SteeringKeys};
use tempfile::TempDir;

use crate::cpu;
use crate::peers::{Question, WirePeer};
use crate::seed::Seeded;

/// The echo in Luau.
pub(crate) const ECHO_LUAU: &str = include_str!("../modules/echo_luau.luau");
/// The echo as a component, built from `benches/echo`.
pub(crate) const ECHO_WASM: &[u8] = include_bytes!("../echo/echo.wasm");
/// A call that never ends.
const RUNAWAY: &str = include_str!("../modules/runaway.luau");

/// Fixed, so that a client can be put where a row wants it.
const STEERING: SteeringKeys = SteeringKeys::new(0x9e37_79b9, 0x85eb_ca6b);
/// A server that needs longer to start is broken.
const START_MAX: Duration = Duration::from_secs(60);

/// A running server.
#[derive(Debug)]
pub(crate) struct Subject {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// From its start until its ready file was there.
    pub(crate) start: Duration,
    key: PublicKey,
    pid: u32,
    shards: u16,
    seed: u64,
    /// Clients that were made, each with a stream of randomness of its own.
    clients: AtomicU64,
    process: Option<Child>,
    folder: Option<TempDir>,
}

impl Subject {
    /// Starts a server with the echo modules in a new folder.
    pub(crate) fn start(binary: &Path, shards: u16, seed: u64) -> anyhow::Result<Self> {
        Self::start_in(prepare(shards)?, binary, seed)
    }

    /// Starts a server in a folder of a former one, whose components are compiled already.
    pub(crate) fn start_in(folder: TempDir, binary: &Path, seed: u64) -> anyhow::Result<Self> {
        let ready = folder.path().join("ready.json");
        drop(std::fs::remove_file(&ready));
        let log = folder.path().join("log");
        let began = Instant::now();
        let mut process = Command::new(binary)
            .args(["dev", ".", "--listen", "127.0.0.1:0"])
            .args(["--ready-file", "ready.json"])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(std::fs::File::create(&log)?)
            .stderr(std::fs::File::options().append(true).open(&log)?)
            .spawn()
            .with_context(|| format!("{} cannot be started", binary.display()))?;
        let said = || std::fs::read_to_string(&log).unwrap_or_default();
        while !ready.is_file() {
            if let Some(status) = process.try_wait()? {
                bail!("the server ended with {status}: {}", said());
            }
            if began.elapsed() > START_MAX {
                drop(process.kill());
                drop(process.wait());
                bail!("the server was not ready after {START_MAX:?}: {}", said());
            }
            std::thread::sleep(Duration::from_micros(500));
        }
        let start = began.elapsed();
        let mut subject = Self::running(&ready, seed)?;
        subject.start = start;
        subject.process = Some(process);
        subject.folder = Some(folder);
        Ok(subject)
    }

    /// A server that runs already.
    pub(crate) fn running(ready: &Path, seed: u64) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(ready)
            .with_context(|| format!("{} cannot be read", ready.display()))?;
        let told: serde_json::Value = serde_json::from_str(&text)?;
        let missing = |key| format!("{} has no `{key}`", ready.display());
        let text = |key| told[key].as_str().with_context(|| missing(key));
        let number = |key| told[key].as_u64().with_context(|| missing(key));
        Ok(Self {
            address: text("udp")?.parse()?,
            start: Duration::ZERO,
            key: text("server_key")?.parse()?,
            pid: u32::try_from(number("pid")?)?,
            shards: u16::try_from(number("shards")?)?,
            seed,
            clients: AtomicU64::new(0),
            process: None,
            folder: None,
        })
    }

    /// A client of it with an identity of its own, in this shard if one is named. `question` is what it asks again and again, `in_flight` times at once.
    pub(crate) fn client(
        &self,
        shard: Option<u32>,
        question: Option<Question>,
        in_flight: u32,
    ) -> anyhow::Result<WirePeer> {
        let number = self.clients.fetch_add(1, Ordering::Relaxed);
        let mut entropy = Seeded::new(self.seed, number);
        let keys = match shard {
            Some(shard) => {
                StaticKeys::for_shard(&mut entropy, STEERING, shard, u32::from(self.shards))
                    .context("the server has no such shard")?
            }
            None => StaticKeys::generate(&mut entropy),
        };
        let config = ClientConfig::new(keys, self.address, self.key);
        Ok(WirePeer::new(
            config,
            Box::new(entropy),
            question,
            in_flight,
        ))
    }

    /// CPU of all its threads, in nanoseconds.
    pub(crate) fn cpu_ns(&self) -> u64 {
        cpu::of_process(self.pid)
    }

    /// Resident memory in KiB.
    pub(crate) fn resident_kib(&self) -> u64 {
        cpu::resident_kib(self.pid)
    }

    /// The folder of its modules; none when it was started by somebody else.
    pub(crate) fn modules(&self) -> Option<PathBuf> {
        Some(self.folder.as_ref()?.path().join("modules"))
    }

    /// Ends it, and keeps its folder for the next.
    pub(crate) fn end(mut self) -> Option<TempDir> {
        self.stop();
        self.folder.take()
    }

    fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            drop(process.kill());
            drop(process.wait());
        }
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A scratch folder with the modules and a configuration.
fn prepare(shards: u16) -> anyhow::Result<TempDir> {
    let folder = tempfile::tempdir()?;
    let modules = folder.path().join("modules");
    std::fs::create_dir(&modules)?;
    let place = |name: &str, code: &[u8], manifest: &str| {
        let file = modules.join(name);
        std::fs::write(&file, code)?;
        std::fs::write(file.with_extension("toml"), manifest)
    };
    place(
        "echo_luau.luau",
        ECHO_LUAU.as_bytes(),
        "placement = \"per-shard\"\n",
    )?;
    place("echo_wasm.wasm", ECHO_WASM, "placement = \"per-shard\"\n")?;
    // The same code on the second shard alone, for the rows whose clients live on the first.
    if shards > 1 {
        place("far_luau.luau", ECHO_LUAU.as_bytes(), "shard = 1\n")?;
        place("far_wasm.wasm", ECHO_WASM, "shard = 1\n")?;
    }
    std::fs::write(modules.join("runaway.luau"), RUNAWAY)?;
    let (k1, k2) = STEERING.factors();
    std::fs::write(
        folder.path().join("cohnect.toml"),
        format!(
            "[server]\nshards = {shards}\nsteering_keys = [{k1}, {k2}]\n\n[log]\nlevel = \"warn\"\n"
        ),
    )?;
    Ok(folder)
}
