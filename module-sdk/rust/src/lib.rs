//! Write modules for cohnect in Rust: what a module may call is a module here ([`state`], [`clients`], [`db`] ..), what it may export is a trait
//! ([`Action`], [`Ticker`], [`Migration`] ..), and [`export!`] says which of them it does. What the functions mean and what they cost stands in the
//! contract, in the folder `wit` beside this crate.
//!
//! A module is a value: the host calls it one call at a time, from the first to the last, so `&mut self` is all the state it needs. It is made by
//! `Default` when it is first called. `cohnect build` compiles it to a component.
//!
//! ```
//! use cohnect_module::prelude::*;
//!
//! #[derive(Default)]
//! struct Hello {
//!     greeted: u64,
//! }
//!
//! impl Action for Hello {
//!     fn describe() -> Vec<ActionInfo> {
//!         vec![ActionInfo::named("greet").for_clients()]
//!     }
//!
//!     fn execute(&mut self, request: Request) -> Result<Vec<u8>, Error> {
//!         self.greeted += 1;
//!         let visits = state::add(&Scope::Shared, "visits", 1, 0)?;
//!         let name = str::from_utf8(&request.input)?;
//!         if name.is_empty() {
//!             return Err(Error::refused(7, "say who you are"));
//!         }
//!         Ok(format!("hello {name}, visitor {visits}").into_bytes())
//!     }
//! }
//!
//! impl Lifecycle for Hello {}
//!
//! cohnect_module::export!(Hello: action, lifecycle);
//! # fn main() {}
//! ```
//!
//! A panic ends the module's copy, with everything in it; its text goes to the server's log. A refusal that the caller should read is an
//! [`Error::refused`].
#![deny(unsafe_code)]
#![warn(missing_docs, unreachable_pub, missing_debug_implementations)]

#[doc(hidden)]
pub mod bindings;
mod defaults;
mod error;
mod exports;
mod id;
#[cfg(feature = "json")]
pub mod json;
mod log;
#[cfg(feature = "messagepack")]
pub mod messagepack;
pub mod prelude;

pub use bindings::cohnect::module::types::{
    Audience, Caller, Client, ClientId, ClientParts, CloseReason, Delivery, Detail, DurationUs,
    Error, Failure, Field, InstanceId, LimitInfo, Opcode, Payload, Scalar, Scope, TimestampUs,
};
pub use bindings::cohnect::module::{
    clients, clock, config, db, feature_flags, logging, mailbox, modules, random, signals, state,
    streams, tags, timers,
};
pub use exports::{
    Action, Background, Broadcast, ClientEvents, Lifecycle, Migration, Pipeline, ReplyHandler,
    ServerEvents, StreamHandler, Ticker, TimerHandler,
};
pub use exports::{
    action, background, broadcast, client_events, lifecycle, migration, pipeline, server_events,
    stream_handler, ticker,
};

#[doc(hidden)]
pub use log::{module, say_panics};
