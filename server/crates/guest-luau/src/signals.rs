//! `signals` for scripts: written from `wit/signals.wit` by `module-sdk/generator`. Do not edit.

use cohnect_capabilities::Payload;
use cohnect_host::function::HostFunction;

use crate::binding::Binder;
use crate::convert::{Arg, Need, Pass};

pub(crate) fn bind(binder: &Binder<'_>) -> mlua::Result<()> {
    binder.fallible(
        "raise",
        HostFunction::SignalsRaise,
        &["name", "body"],
        |entered, (Need(mut name), Arg(mut body)): (Need<String>, Arg<Payload>)| {
            entered.signals_raise(name.pass(), body.pass())
        },
    )?;
    Ok(())
}
