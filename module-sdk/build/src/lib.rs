//! What a module's author needs beside a compiler: [`build`] makes a component of a Rust crate, [`new_module`] makes the crate. It knows no server; what it
//! writes is all that it shares with one.
#![forbid(unsafe_code)]

mod build;
mod new;
mod sdk;

pub use build::{BuildError, build, build_with, component, component_of};
pub use new::{Language, NewError, new_module};
