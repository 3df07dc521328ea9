//! The Luau guest: scripts as modules. It owns the virtual machines, the mapping between the contract and Luau values, and what a script sees of it; what
//! stands behind the contract belongs to the host, and where a replica lives is its home's affair.
#![deny(unsafe_code)]
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "a script may pass any of Luau's values: what fits is listed, and everything else is refused"
)]
#![allow(
    dead_code,
    reason = "the interfaces that use the rest are generated next"
)]
#![allow(
    clippy::type_complexity,
    reason = "in the written bindings a tuple type is the list of a function's parameters"
)]

mod background;
mod binding;
mod call;
mod convert;
mod host;
mod json;
mod keep;
mod language;
mod load;
mod msgpack;
mod place;
mod polls;
mod replica;
mod require;
mod resource;
mod safepoint;
mod shape;
mod vm;
mod waiting;

mod clients;
mod clock;
mod config;
mod db;
mod feature_flags;
mod logging;
mod mailbox;
mod modules;
mod random;
mod signals;
mod state;
mod streams;
mod tables;
mod tags;
mod timers;

pub use language::Luau;
