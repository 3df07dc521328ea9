//! The binary: parses the command line and carries it out.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    cohnect_server::cli::carry_out(cohnect_server::cli::Cli::parse())
}
