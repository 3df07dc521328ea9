//! `cohnect dev` and `cohnect serve`: reads the configuration, starts a server, and says to people what went wrong if it does not start.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use cohnect_engine::Policy;

use crate::cli::exit::{Usage, code_of};
use crate::cli::{Dev, Serve};
use crate::config::{Config, HOMES_MAX};
use crate::lock;
use crate::output;
use crate::run::{Manner, run};
use crate::telemetry::{self, Log};

/// Where a server for development says how it is reached, from where it was started.
const OWN: &str = ".cohnect";

/// `cohnect dev`
pub(crate) fn dev(dev: &Dev) -> ExitCode {
    report(|log| start_dev(dev, log))
}

/// `cohnect serve`
pub(crate) fn serve(serve: &Serve) -> ExitCode {
    report(|log| start_serve(serve, log))
}

/// The configuration of a folder for development: its `cohnect.toml`, if there is one, with paths from the folder.
pub(crate) fn configuration_of(folder: &Path) -> anyhow::Result<Config> {
    if !folder.is_dir() {
        bail!(Usage(format!("{} is no folder", folder.display())));
    }
    let file = folder.join("cohnect.toml");
    let mut config = if file.is_file() {
        Config::read(&file)?
    } else {
        let mut config = Config::default();
        config.anchor(folder);
        config
    };
    let flags = folder.join("flags.json");
    if config.flags.file.is_none() && flags.is_file() {
        config.flags.file = Some(flags);
    }
    if !config.server.modules_dir.is_dir() {
        bail!(Usage(format!(
            "{} is not there. A folder for development holds `modules/`; `mkdir {}` makes one, `cohnect new hello --lang luau` a first module",
            config.server.modules_dir.display(),
            config.server.modules_dir.display()
        )));
    }
    Ok(config)
}

fn start_dev(dev: &Dev, log: &mut Option<Log>) -> anyhow::Result<()> {
    let mut config = configuration_of(&dev.dir)?;
    let server = &mut config.server;
    if let Some(listen) = dev.listen {
        server.listen = listen;
    }
    server.shards = dev.shards.map(u64::from).or(server.shards).or(Some(1));
    server.workers = dev.workers.map(u64::from).or(server.workers).or(Some(1));
    // The modules' databases lie in one folder, the file by which commands find the server in the other; most often they are the same.
    let _locks = lock::take_all(&[server.data_dir.as_path(), Path::new(OWN)])?;
    *log = Some(telemetry::start(&config.log, true)?);
    for missing in config.check_secrets(&dev.dir.join("cohnect.toml")) {
        tracing::warn!("{missing}; modules find this secret absent");
    }
    if !config.server.listen.ip().is_loopback() {
        tracing::warn!(
            "{} can be reached from other machines, and this server lets everybody do everything",
            config.server.listen
        );
    }
    let ready_files = core::iter::once(Path::new(OWN).join("server.json"))
        .chain(dev.ready_file.clone())
        .collect();
    run(
        &config,
        &Manner {
            policy: Policy::Dev,
            pin: false,
            broken_modules_stop: false,
            ready_files,
        },
    )
}

fn start_serve(serve: &Serve, log: &mut Option<Log>) -> anyhow::Result<()> {
    let mut config = Config::read(&serve.config).map_err(|e| {
        if serve.config.exists() {
            anyhow::Error::from(e)
        } else {
            Usage(e.to_string()).into()
        }
    })?;
    if !config.access.anonymous {
        bail!(
            "{}: [access] anonymous = true is needed: this version has no tokens yet, so a server either admits everybody or nobody",
            serve.config.display()
        );
    }
    if let Some(missing) = config.check_secrets(&serve.config).into_iter().next() {
        bail!(missing);
    }
    let server = &mut config.server;
    if !server.modules_dir.is_dir() {
        bail!(
            "{}: server.modules_dir: {} is no folder",
            serve.config.display(),
            server.modules_dir.display()
        );
    }
    let cores = std::thread::available_parallelism()
        .context("the number of cores is not to be had")?
        .get() as u64;
    server.shards = server.shards.or_else(|| Some(cores.min(HOMES_MAX)));
    server.workers = server
        .workers
        .or_else(|| Some((cores / 4).clamp(1, HOMES_MAX)));
    let _locks = lock::take_all(&[&server.data_dir])?;
    *log = Some(telemetry::start(&config.log, false)?);
    tracing::warn!("clients are admitted without a token ([access] anonymous = true)");
    let ready_files = serve.ready_file.clone().into_iter().collect();
    run(
        &config,
        &Manner {
            policy: Policy::Serve,
            pin: true,
            broken_modules_stop: true,
            ready_files,
        },
    )
}

/// Carries out what starts the log at some point, and says why it failed where the log is said, if there is one: standard error itself may have no reader.
fn report(carry_out: impl FnOnce(&mut Option<Log>) -> anyhow::Result<()>) -> ExitCode {
    let mut log = None;
    let Err(e) = carry_out(&mut log) else {
        return ExitCode::SUCCESS;
    };
    let why = format!("{e:#}");
    match &log {
        Some(log) => log.note(why),
        None => output::note(why),
    }
    code_of(&e)
}
