//! Writes what is mechanical from the contract in `wit/`: the bindings of `guest-luau` and the type definitions of `module-sdk/luau`. Its output is
//! committed; a test writes it again and compares. It knows the conventions of the mapping, and nothing of what stands behind the contract.
#![forbid(unsafe_code)]
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "the parser's types are many: what has a word in Luau is listed, and everything else is refused"
)]

mod contract;
mod luau;
mod rust;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

pub use contract::Contract;

/// One file of the output: its path below the repository's top, and its text.
#[derive(Debug)]
pub struct Output {
    /// The path.
    pub path: PathBuf,
    /// The text.
    pub text: String,
}

/// Everything that is written from the contract of the repository at `top`.
///
/// # Errors
/// When the contract does not parse, says something that the conventions have no word for, or `rustfmt` is missing.
pub fn outputs(top: &Path) -> Result<Vec<Output>> {
    let contract = Contract::load(&top.join("wit"))?;
    let mut outputs = Vec::new();
    for interface in contract.imports() {
        let name = contract::snake(interface);
        outputs.push(Output {
            path: format!("server/crates/guest-luau/src/{name}.rs").into(),
            text: format(top, &rust::binding(&contract, interface)?)?,
        });
    }
    let ways = luau::ways(&contract)?;
    for interface in contract.interfaces() {
        outputs.push(Output {
            path: format!("module-sdk/luau/{}.luau", contract::snake(interface)).into(),
            text: luau::definition(&contract, &ways, interface)?,
        });
    }
    Ok(outputs)
}

/// The text as `cargo fmt` would leave it.
fn format(top: &Path, text: &str) -> Result<String> {
    let mut child = Command::new("rustfmt")
        .args(["--edition", "2024", "--config-path"])
        .arg(top)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("rustfmt is needed: rustup component add rustfmt")?;
    child
        .stdin
        .take()
        .context("rustfmt takes no input")?
        .write_all(text.as_bytes())?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "rustfmt refused:\n{text}");
    Ok(String::from_utf8(output.stdout)?)
}
