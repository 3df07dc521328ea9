//! `random` for scripts: written from `wit/random.wit` by `module-sdk/generator`. Do not edit.

use cohnect_host::function::HostFunction;

use crate::binding::Binder;
use crate::convert::{Arg, Blob, Pass};

pub(crate) fn bind(binder: &Binder<'_>) -> mlua::Result<()> {
    binder.plain("next", HostFunction::RandomNext, &[], |entered, (): ()| {
        entered.random_next()
    })?;
    binder.plain(
        "number",
        HostFunction::RandomNumber,
        &[],
        |entered, (): ()| entered.random_number(),
    )?;
    binder.plain(
        "integer",
        HostFunction::RandomInteger,
        &["low", "high"],
        |entered, (Arg(mut low), Arg(mut high)): (Arg<i64>, Arg<i64>)| {
            entered.random_integer(low.pass(), high.pass())
        },
    )?;
    binder.plain(
        "bytes",
        HostFunction::RandomBytes,
        &["len"],
        |entered, Arg(mut len): Arg<u32>| Blob(entered.random_bytes(len.pass())),
    )?;
    Ok(())
}
