//! The arena's client: joins a running arena with a terminal view, as bots, or as plain lines when there is no terminal. The rules are the server's.
#![forbid(unsafe_code)]

mod bots;
mod game;
mod lines;
mod view;
mod world;

use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Parser;
use cohnect_client::{Config, Identity, PublicKey};
use tokio::signal::unix::{SignalKind, signal};

/// Play the arena, watch it, or fill it with bots.
#[derive(Debug, Parser)]
struct Arguments {
    /// Join under this name; without it you watch.
    #[arg(long)]
    name: Option<String>,
    /// How many bots to run beside it.
    #[arg(long, default_value_t = 0)]
    bots: u32,
    /// Print lines instead of drawing, also on a terminal.
    #[arg(long)]
    lines: bool,
    /// End after so many seconds.
    #[arg(long)]
    seconds: Option<f64>,
    /// The file that the server wrote when it was ready; by default `.cohnect/server.json`, here or above.
    #[arg(long)]
    ready: Option<PathBuf>,
    /// The server's address, instead of a ready file.
    #[arg(long, requires = "key")]
    server: Option<SocketAddr>,
    /// Its public key, 64 hex digits.
    #[arg(long, requires = "server")]
    key: Option<PublicKey>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match play().await {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read the lines has enough of them.
        Err(e) if is_broken_pipe(&e) => ExitCode::SUCCESS,
        Err(e) => {
            drop(writeln!(std::io::stderr(), "error: {e:#}"));
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
}

/// How long saying goodbye may take.
const LEAVE_MAX: Duration = Duration::from_secs(2);

async fn play() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let (server, key) = address(&arguments)?;
    let config = Config::new(server, key)
        .identity(Identity::generate())
        .patience(Duration::from_secs(20));
    let bots = bots::start(&config, arguments.bots);
    let mut game = game::join(config, arguments.name.as_deref()).await?;
    let end = async {
        match arguments.seconds {
            Some(seconds) => tokio::time::sleep(Duration::from_secs_f64(seconds.max(0.0))).await,
            None => std::future::pending().await,
        }
    };
    let shown = async {
        if arguments.lines || !std::io::stdout().is_terminal() {
            lines::show(&mut game).await
        } else {
            view::show(&mut game).await
        }
    };
    let mut terminated = signal(SignalKind::terminate())?;
    let done = tokio::select! {
        done = shown => done,
        () = end => Ok(()),
        _ = tokio::signal::ctrl_c() => Ok(()),
        _ = terminated.recv() => Ok(()),
    };
    view::restore();
    // However it ends, nobody's figure stays behind; a server that is gone is not waited for.
    drop(tokio::time::timeout(LEAVE_MAX, game.leave()).await);
    bots.leave().await;
    done
}

#[derive(serde::Deserialize)]
struct Ready {
    udp: SocketAddr,
    server_key: String,
}

fn address(arguments: &Arguments) -> anyhow::Result<(SocketAddr, PublicKey)> {
    if let (Some(server), Some(key)) = (arguments.server, arguments.key) {
        return Ok((server, key));
    }
    let file = match &arguments.ready {
        Some(file) => file.clone(),
        None => {
            let here = std::env::current_dir()?;
            let found = here
                .ancestors()
                .map(|folder| folder.join(".cohnect/server.json"))
                .find(|file| file.is_file());
            let Some(found) = found else {
                bail!(
                    "no server is running here: start the arena with `make run`, or give --server ADDR --key HEX"
                );
            };
            found
        }
    };
    let text = std::fs::read_to_string(&file)
        .with_context(|| format!("{} cannot be read", file.display()))?;
    let ready: Ready = serde_json::from_str(&text)
        .with_context(|| format!("{} is no ready file", file.display()))?;
    let key = ready
        .server_key
        .parse()
        .with_context(|| format!("{}: server_key", file.display()))?;
    Ok((ready.udp, key))
}
