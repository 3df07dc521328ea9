//! What a component may call: one file for each interface of the contract, each function there converting its arguments, going through the context, and
//! converting back. No function here decides anything.

mod clients;
mod clock;
mod config;
pub(crate) mod db;
mod feature_flags;
mod logging;
mod mailbox;
mod modules;
mod random;
mod signals;
mod state;
mod streams;
mod tags;
mod timers;

use wasmtime::component::{HasSelf, Linker};

use crate::contract::bindings::Imports;
use crate::store::Host;

/// Every interface of the contract, for a component to be linked with. Which of them one may import was checked before.
pub(crate) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    Imports::add_to_linker::<_, HasSelf<Host>>(linker, |host| host)
}
