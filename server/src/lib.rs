//! The server as a library: configuration, assembly, command line. The binary is a thin `main`.
#![forbid(unsafe_code)]

pub mod assemble;
pub mod cli;
pub mod config;
mod control;
mod ending;
pub mod keys;
pub mod lock;
mod output;
pub mod ready;
pub mod run;
pub mod telemetry;
mod watcher;
