//! The control thread: loads the modules, watches their files and the flags, and drains the server when a signal, or a home that has fallen, ends it.
//! Compiling and swapping may take their time; while it waits for them, it listens for its end.

use core::time::Duration;

use anyhow::{Context as _, bail};
use cohnect_engine::Policy;
use cohnect_host::custodian::{Change, Custodian, Report};
use cohnect_host::escaped::Escaped;
use cohnect_host::export::ServerEvent;
use cohnect_host::load::{self, Scan};
use cohnect_host::replica::LoadError;
use cohnect_host::watch::Watch;
use cohnect_net::{Clock, Running};
use notify::RecursiveMode;

use crate::assemble::Parts;
use crate::config::Config;
use crate::ending::Ending;
use crate::ready::Ready;
use crate::run::{Manner, Workers};
use crate::watcher::{FileWatcher, folder_of};

/// How long a server that ends waits for its modules, and then once more for its clients.
const DRAIN: Duration = Duration::from_secs(2);

/// How often a server that ends looks whether the next step has come: nothing of its end takes less.
const LOOK: Duration = Duration::from_millis(5);

/// How long after one look whether a module is compiled the next one comes.
const COMPILED: Duration = Duration::from_millis(50);

/// How long the modules' end waits for shards to say goodbye, which takes them a turn: one that is stuck keeps no module from its end.
const GOODBYES: Duration = Duration::from_millis(500);

/// How often the control thread looks whether every home still lives. A home that has fallen costs its clients this much more silence.
const PULSE: Duration = Duration::from_millis(500);

/// What the control thread works with.
pub(crate) struct Control<'a> {
    pub(crate) config: &'a Config,
    pub(crate) manner: &'a Manner,
    pub(crate) parts: &'a Parts,
    pub(crate) clock: Clock,
    pub(crate) ready: &'a Ready,
    pub(crate) shards: &'a Running,
    pub(crate) workers: &'a Workers,
    pub(crate) ending: &'a Ending,
}

impl Control<'_> {
    /// Runs until the server ends: by a signal, because not every module can be loaded where that matters, or because a home has fallen.
    ///
    /// # Errors
    /// Why it ended, unless it was told to.
    pub(crate) async fn run(&self) -> anyhow::Result<()> {
        let mut custodian = Custodian::new(self.parts.custodian.clone());
        // Loading and swapping wait for the homes' answers; a home that has fallen gives none, and nobody should have to wait for a module to be heard.
        let ended = tokio::select! {
            biased;
            () = self.ending.told() => Ok(()),
            fault = self.fallen() => Err(fault),
            problem = self.tend(&mut custodian) => problem.map(|never| match never {}),
        };
        self.ending.begin();
        self.drain(&mut custodian).await;
        ended
    }

    /// Loads what there is, then follows the files for ever.
    async fn tend(&self, custodian: &mut Custodian) -> anyhow::Result<core::convert::Infallible> {
        // The watcher comes first, so that nothing that is saved meanwhile is missed.
        let mut watcher = self.watcher()?;
        let scan = self.scan(&Scan::default())?;
        let reports = custodian.load_all(&scan).await;
        if self.manner.broken_modules_stop {
            refuse_broken(&reports)?;
        }
        for file in &self.manner.ready_files {
            self.ready.write(file)?;
        }
        custodian.announce(&ServerEvent::Started);
        self.say_hello();
        let mut watch = Watch::new(scan);
        let mut doubt = Doubt::default();
        loop {
            let again = watch
                .next_us()
                .into_iter()
                .chain(doubt.again_us)
                .min()
                .map(|at| Duration::from_micros(at.saturating_sub(self.clock.monotonic_us())));
            let compiled = custodian.is_compiling().then_some(COMPILED);
            tokio::select! {
                biased;
                () = pause(again) => {}
                () = watcher.changed() => {}
                () = pause(compiled) => {
                    // The folder is as it was: only its code may be further.
                    custodian.apply(watch.settled()).await;
                    continue;
                }
            }
            self.reload_flags(custodian, &mut doubt);
            if !self.config.server.watch {
                continue;
            }
            match self.scan(watch.settled()) {
                Ok(scan) => {
                    if watch.observe(self.clock.monotonic_us(), &scan).is_some() {
                        custodian.apply(watch.settled()).await;
                    }
                }
                Err(e) => {
                    tracing::warn!(
                        "the modules folder cannot be read; what runs goes on: {}",
                        Escaped(&e)
                    );
                }
            }
        }
    }

    /// Tells clients and modules goodbye, each with a bounded patience: a module that does not stop, or a home that cannot answer, ends with the process.
    async fn drain(&self, custodian: &mut Custodian) {
        tracing::info!("ending: clients are told, modules are stopped");
        self.shards.drain();
        self.shards.close_sessions();
        // Modules hear of every client that it has gone before they hear that they go themselves.
        let closed = async {
            while !self.shards.has_closed() {
                tokio::time::sleep(LOOK).await;
            }
        };
        drop(tokio::time::timeout(GOODBYES, closed).await);
        let left = u64::try_from(DRAIN.as_micros()).unwrap_or(u64::MAX);
        let stopping = custodian.shut_down(left);
        if tokio::time::timeout(DRAIN, stopping).await.is_err() {
            tracing::warn!("not every module stopped within {DRAIN:?}");
        }
        let gone = async {
            while self.shards.sessions() > 0 {
                tokio::time::sleep(LOOK).await;
            }
        };
        // Whoever does not say goodbye by then finds out by himself.
        drop(tokio::time::timeout(DRAIN, gone).await);
    }

    /// Waits until a shard or a worker has panicked: who waits for it would wait for ever, so the server ends, and whoever watches it starts it again.
    async fn fallen(&self) -> anyhow::Error {
        loop {
            let shard = self.shards.panicked().map(|shard| shard.to_string());
            if let Some(home) = shard.or_else(|| self.workers.panicked()) {
                return anyhow::anyhow!(
                    "{home}: a fault of the server, whose log says more; nothing stored is lost"
                );
            }
            tokio::time::sleep(PULSE).await;
        }
    }

    fn scan(&self, before: &Scan) -> Result<Scan, LoadError> {
        load::scan(
            &self.config.server.modules_dir,
            &self.parts.custodian.languages,
            before,
        )
    }

    fn say_hello(&self) {
        let ready = self.ready;
        tracing::info!(
            "cohnect {} answers on {} with {} shard(s); key {}",
            ready.version,
            ready.udp,
            ready.shards,
            ready.server_key
        );
        if matches!(self.manner.policy, Policy::Dev) {
            tracing::info!("this is a server for development: every client may do everything");
        }
    }

    fn watcher(&self) -> anyhow::Result<FileWatcher> {
        let modules = &self.config.server.modules_dir;
        let mut watcher = FileWatcher::new(modules)?;
        if self.config.server.watch {
            let modules = std::fs::canonicalize(modules)
                .with_context(|| format!("{} cannot be read", modules.display()))?;
            watcher.add(&modules, RecursiveMode::Recursive)?;
        }
        if let Some(file) = self.parts.flags.file() {
            watcher.add(&folder_of(file), RecursiveMode::NonRecursive)?;
        }
        Ok(watcher)
    }

    fn reload_flags(&self, custodian: &Custodian, doubt: &mut Doubt) {
        let flags = &self.parts.flags;
        if flags.file().is_none() {
            return;
        }
        match flags.reload() {
            Ok(changed) => {
                *doubt = Doubt::default();
                for flag in changed {
                    tracing::info!("flag {flag} has changed");
                    custodian.announce(&ServerEvent::FlagChanged(flag));
                }
            }
            Err(e) => {
                if let Some(e) = doubt.about(self.clock.monotonic_us(), e.to_string()) {
                    tracing::warn!("the flags stay as they were: {e}");
                }
            }
        }
    }
}

/// A flag file that cannot be read, which may only be half-written: a plain save empties the file first.
#[derive(Debug, Default)]
struct Doubt {
    /// When to look again.
    again_us: Option<u64>,
    /// What the log says of the file already, so that a change elsewhere does not repeat it.
    said: Option<String>,
}

impl Doubt {
    /// As patient as with the modules' files.
    const PATIENCE_US: u64 = 100_000;

    /// What is to be said of the file now: nothing at the first look, nor twice.
    fn about(&mut self, now_us: u64, problem: String) -> Option<String> {
        if self.said.as_ref() == Some(&problem) {
            self.again_us = None;
            return None;
        }
        match self.again_us {
            Some(at) if now_us >= at => {
                self.again_us = None;
                self.said = Some(problem.clone());
                Some(problem)
            }
            Some(_) => None,
            None => {
                self.again_us = Some(now_us.saturating_add(Self::PATIENCE_US));
                None
            }
        }
    }
}

fn refuse_broken(reports: &[Report]) -> anyhow::Result<()> {
    let broken: Vec<_> = reports
        .iter()
        .filter_map(|report| match &report.change {
            Change::Refused(problem) => Some(format!("{}: {}", report.module, Escaped(problem))),
            Change::Loaded(_) | Change::Swapped(_) | Change::Unloaded => None,
        })
        .collect();
    if !broken.is_empty() {
        bail!("not every module can be loaded:\n{}", broken.join("\n"));
    }
    Ok(())
}

/// Waits for this long; for ever without.
async fn pause(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => core::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_half_written_for_a_moment_is_not_complained_of() {
        let mut doubt = Doubt::default();
        assert_eq!(doubt.about(1_000, "half".into()), None);
        assert_eq!(doubt.again_us, Some(101_000));
        assert_eq!(doubt.about(50_000, "half".into()), None, "too early");
        assert_eq!(doubt.about(101_000, "half".into()), Some("half".into()));
        assert_eq!(doubt.again_us, None, "nothing more to look for");
        assert_eq!(doubt.about(900_000, "half".into()), None, "said already");
        assert_eq!(doubt.about(950_000, "other".into()), None);
        assert_eq!(doubt.again_us, Some(1_050_000));
    }
}
