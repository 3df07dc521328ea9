//! `logging`: what modules say to the people who run them.

use std::sync::Arc;

use crate::Field;

/// How much it matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Every step.
    #[default]
    Trace,
    /// For whoever looks for a fault.
    Debug,
    /// For whoever watches.
    Info,
    /// Something is off.
    Warn,
    /// Something is wrong.
    Error,
}

/// One line, with the module that said it.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    /// The module's name.
    pub module: &'a Arc<str>,
    /// Which load of it.
    pub generation: u64,
    /// How much it matters.
    pub level: Level,
    /// The text, as the module wrote it: untrusted.
    pub message: &'a str,
    /// Names and values beside it.
    pub fields: &'a [Field],
}

/// Where the lines go. Writing one must not wait for a slow reader.
pub trait Logging: Send + Sync {
    /// Whether anybody reads this level.
    fn enabled(&self, level: Level) -> bool;
    /// Takes one line.
    fn log(&self, record: &Record<'_>);
}
