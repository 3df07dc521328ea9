//! How a command ends: the exit codes, and which mistakes are those of whoever called it.

use core::fmt;
use std::process::ExitCode;

/// The server, a module or the system said no.
pub(crate) const SAID_NO: u8 = 1;
/// What was asked for has no form.
pub(crate) const USAGE: u8 = 2;
/// There is no connection.
pub(crate) const NO_CONNECTION: u8 = 3;

/// What was asked for has no form: a name that is none, a folder or file that is not there.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for Usage {}

/// The exit code that belongs to an error.
pub(crate) fn code_of(error: &anyhow::Error) -> ExitCode {
    ExitCode::from(if error.is::<Usage>() { USAGE } else { SAID_NO })
}
