//! `logging`: what modules say to the people who run them.

use cohnect_capabilities::logging::Level;
use cohnect_host::function::HostFunction as F;
use wasmtime::Result as Call;

use crate::contract::bindings::cohnect::module::logging as wit;
use crate::contract::types::{Field, all};
use crate::store::Host;

impl wit::Host for Host {
    fn enabled(&mut self, level: wit::Level) -> Call<bool> {
        self.plain(F::LoggingEnabled, |c| c.logging_enabled(level.into()))
    }

    fn log(&mut self, level: wit::Level, message: String, fields: Vec<Field>) -> Call<()> {
        let fails = matches!(level, wit::Level::Error);
        self.plain(F::LoggingLog, |c| {
            c.logging_log(level.into(), &message, &all(fields));
        })?;
        if fails {
            // The last words of a panic come this way.
            crate::wasi::remember(self, &message);
        }
        Ok(())
    }
}

impl From<wit::Level> for Level {
    fn from(value: wit::Level) -> Self {
        match value {
            wit::Level::Trace => Self::Trace,
            wit::Level::Debug => Self::Debug,
            wit::Level::Info => Self::Info,
            wit::Level::Warn => Self::Warn,
            wit::Level::Error => Self::Error,
        }
    }
}
