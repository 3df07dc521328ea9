//! `cohnect doctor`: what is missing on this machine, and how to get it.

use std::path::Path;
use std::process::{Command, ExitCode};

use crate::output;

/// Looks at what running, writing and building modules needs.
pub(crate) fn doctor() -> ExitCode {
    let checks = [
        (
            "a UDP port on loopback",
            socket(),
            "the system refuses sockets: a container or firewall rule is in the way",
        ),
        (
            "steering between shards (Linux)",
            Ok::<String, String>(steering()),
            "",
        ),
        (
            "cargo, to build modules in Rust",
            version("cargo"),
            "install Rust with rustup: https://rustup.rs",
        ),
        (
            "the target wasm32-unknown-unknown",
            target(),
            "run `rustup target add wasm32-unknown-unknown`",
        ),
        (
            "a folder for artefacts and data",
            folder(),
            "the current folder cannot be written: run in another one",
        ),
    ];
    let mut missing = 0;
    for (what, found, remedy) in checks {
        match found {
            Ok(found) => output::line(format!("  ok       {what}: {found}")),
            Err(reason) => {
                missing += 1;
                output::line(format!("  missing  {what}: {reason}\n           {remedy}"));
            }
        }
    }
    if missing == 0 {
        output::line("Nothing is missing.");
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn socket() -> Result<String, String> {
    std::net::UdpSocket::bind("127.0.0.1:0")
        .map(|_| "it can be bound".to_owned())
        .map_err(|e| e.to_string())
}

fn steering() -> String {
    if cfg!(target_os = "linux") {
        "the kernel can do it".to_owned()
    } else {
        "not on this system: servers have one shard".to_owned()
    }
}

fn version(program: &str) -> Result<String, String> {
    let output = Command::new(program)
        .arg("--version")
        .output()
        .map_err(|_| format!("`{program}` is not on the PATH"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn target() -> Result<String, String> {
    let output = Command::new("rustc")
        .args(["--print", "sysroot"])
        .output()
        .map_err(|_| "`rustc` is not on the PATH".to_owned())?;
    let sysroot = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let library = Path::new(&sysroot).join("lib/rustlib/wasm32-unknown-unknown/lib");
    if library.is_dir() {
        Ok("it is installed".to_owned())
    } else {
        Err(format!("there is no {}", library.display()))
    }
}

fn folder() -> Result<String, String> {
    let probe = Path::new(".cohnect-doctor");
    std::fs::write(probe, b"")
        .and_then(|()| std::fs::remove_file(probe))
        .map_err(|e| e.to_string())?;
    Ok("it can be written".to_owned())
}
