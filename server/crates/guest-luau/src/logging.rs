//! `logging` for scripts: written from `wit/logging.wit` by `module-sdk/generator`. Do not edit.

use cohnect_capabilities::{Field, logging::Level};
use cohnect_host::function::HostFunction;

use crate::binding::Binder;
use crate::convert::{Arg, Need, Pass};

pub(crate) fn bind(binder: &Binder<'_>) -> mlua::Result<()> {
    binder.plain(
        "enabled",
        HostFunction::LoggingEnabled,
        &["level"],
        |entered, Arg(mut level): Arg<Level>| entered.logging_enabled(level.pass()),
    )?;
    binder.silent(
        "log",
        HostFunction::LoggingLog,
        &["level", "message", "fields"],
        |entered,
         (Need(mut level), Arg(mut message), Arg(mut fields)): (
            Need<Level>,
            Arg<String>,
            Arg<Vec<Field>>,
        )| { entered.logging_log(level.pass(), message.pass(), fields.pass()) },
    )?;
    Ok(())
}
