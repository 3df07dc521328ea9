//! The contract as wasmtime sees it: the types that cross, and the traits that it generates for what modules import.

pub(crate) mod bindings;
#[allow(
    unreachable_pub,
    unnameable_types,
    reason = "the generated bindings export what they are given"
)]
pub mod types;
