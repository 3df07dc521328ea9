//! The server that is measured: this very binary as a process of its own, in a scratch folder, with the echo modules.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use cohnect_protocol::{ClientConfig, PublicKey, StaticKeys, SteeringKeys};

use crate::cpu;
use crate::peers::SystemEntropy;

/// The echo in Luau.
pub(crate) const ECHO_LUAU: &str = include_str!("../modules/echo_luau.luau");
/// The echo as a component, built from `benches/echo`.
pub(crate) const ECHO_WASM: &[u8] = include_bytes!("../echo/echo.wasm");

/// Fixed, so that a client can be put where a row wants it.
pub(crate) const STEERING: SteeringKeys = SteeringKeys::new(0x9e37_79b9, 0x85eb_ca6b);

/// A running server.
#[derive(Debug)]
pub(crate) struct Subject {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Its key.
    pub(crate) key: PublicKey,
    /// Its process.
    pub(crate) pid: u32,
    /// Its shards.
    pub(crate) shards: u16,
    process: Option<Child>,
    folder: Option<tempfile::TempDir>,
    /// From its start until its ready file was there.
    pub(crate) start: Duration,
}

impl Subject {
    /// Starts a server with the echo modules; `folder` may hold files of a former run, such as compiled artefacts.
    pub(crate) fn start(binary: &Path, shards: u16, folder: Option<tempfile::TempDir>) -> anyhow::Result<Self> {
        let folder = match folder {
            Some(folder) => folder,
            None => prepare(shards)?,
        };
        let ready = folder.path().join("ready.json");
        drop(std::fs::remove_file(&ready));
        let log = std::fs::File::create(folder.path().join("log"))?;
        let began = Instant::now();
        let mut process = Command::new(binary)
            .args(["dev", ".", "--listen", "127.0.0.1:0", "--ready-file", "ready.json"])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("{} cannot be started", binary.display()))?;
        while !ready.is_file() {
            if let Some(status) = process.try_wait()? {
                bail!("the server ended with {status}: {}", std::fs::read_to_string(folder.path().join("log")).unwrap_or_default());
            }
            if began.elapsed() > Duration::from_secs(60) {
                drop(process.kill());
                bail!("the server was not ready after a minute");
            }
            std::thread::park_timeout(Duration::from_micros(500));
        }
        let start = began.elapsed();
        let (address, key, pid, shards) = read_ready(&ready)?;
        Ok(Self { address, key, pid, shards, process: Some(process), folder: Some(folder), start })
    }

    /// A server that runs already.
    pub(crate) fn running(ready: &Path) -> anyhow::Result<Self> {
        let (address, key, pid, shards) = read_ready(ready)?;
        Ok(Self { address, key, pid, shards, process: None, folder: None, start: Duration::ZERO })
    }

    /// A client of it with an identity of its own, in this shard if one is named.
    pub(crate) fn client(&self, shard: Option<u32>) -> anyhow::Result<ClientConfig> {
        let keys = match shard {
            Some(shard) => StaticKeys::for_shard(&mut SystemEntropy, STEERING, shard, u32::from(self.shards)).context("no such shard")?,
            None => StaticKeys::generate(&mut SystemEntropy),
        };
        Ok(ClientConfig::new(keys, self.address, self.key))
    }

    /// CPU of the threads that serve, in nanoseconds.
    pub(crate) fn cpu_ns(&self) -> u64 {
        cpu::of_threads(self.pid, |_| true)
    }

    /// Resident memory in KiB.
    pub(crate) fn resident_kib(&self) -> u64 {
        cpu::resident_kib(self.pid)
    }

    /// Writes a file of a module; none when the server runs elsewhere.
    pub(crate) fn save(&self, name: &str, bytes: &[u8]) -> Option<()> {
        let modules = self.folder.as_ref()?.path().join("modules");
        let temporary = modules.join(format!(".{name}.new"));
        std::fs::write(&temporary, bytes).and_then(|()| std::fs::rename(&temporary, modules.join(name))).ok()
    }

    /// Ends it, and keeps its folder for the next.
    pub(crate) fn end(mut self) -> Option<tempfile::TempDir> {
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

fn prepare(shards: u16) -> anyhow::Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    let modules = folder.path().join("modules");
    std::fs::create_dir(&modules)?;
    let per_shard = "placement = \"per-shard\"\n";
    for (name, code) in [("echo_luau.luau", ECHO_LUAU.as_bytes()), ("echo_wasm.wasm", ECHO_WASM)] {
        std::fs::write(modules.join(name), code)?;
        let manifest = modules.join(name).with_extension("toml");
        std::fs::write(manifest, per_shard)?;
    }
    // The same code on the second shard alone, for the rows whose clients live on the first.
    if shards > 1 {
        for (name, code) in [("far_luau.luau", ECHO_LUAU.as_bytes()), ("far_wasm.wasm", ECHO_WASM)] {
            std::fs::write(modules.join(name), code)?;
            std::fs::write(modules.join(name).with_extension("toml"), "shard = 1\n")?;
        }
    }
    std::fs::write(modules.join("runaway.luau"), include_str!("../modules/runaway.luau"))?;
    let (k1, k2) = STEERING.factors();
    std::fs::write(
        folder.path().join("cohnect.toml"),
        format!(
            "[server]\nshards = {shards}\nsteering_keys = [{k1}, {k2}]\n[log]\nlevel = \"warn\"\n"
        ),
    )?;
    Ok(folder)
}

fn read_ready(file: &Path) -> anyhow::Result<(SocketAddr, PublicKey, u32, u16)> {
    let text = std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let ready: serde_json::Value = serde_json::from_str(&text)?;
    let text = |key: &str| ready[key].as_str().with_context(|| format!("{} has no `{key}`", file.display()));
    let number = |key: &str| ready[key].as_u64().with_context(|| format!("{} has no `{key}`", file.display()));
    Ok((text("udp")?.parse()?, text("server_key")?.parse()?, u32::try_from(number("pid")?)?, u16::try_from(number("shards")?)?))
}
