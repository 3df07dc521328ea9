//! The server as a library: configuration, assembly, command line. The binary is a thin `main`.
#![forbid(unsafe_code)]

pub mod config;
