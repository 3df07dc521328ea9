//! WebAssembly components as cohnect modules: compiling, linking, calling and ending them. It decides nothing about what a module may do; that is the
//! host's context, which every function here goes through.
//!
//! `unsafe_code` is denied rather than forbidden: `artefact` loads machine code that this server compiled, which no checker can vouch for.
#![deny(unsafe_code)]

mod artefact;
mod call;
mod contract;
mod engine;
mod exports;
mod imports;
mod language;
mod prepared;
mod replica;
mod store;
mod wasi;

pub use artefact::ArtefactError;
pub use language::{Wasm, WasmError};
