//! `random` for scripts: written from `wit/random.wit` by `module-sdk/generator`. Do not edit.

use cohnect_host::function::HostFunction;

use crate::binding::Binder;
use crate::convert::{Blob, Need, Pass};

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
        |entered, (Need(mut low), Need(mut high)): (Need<i64>, Need<i64>)| {
            entered.random_integer(low.pass(), high.pass())
        },
    )?;
    binder.plain(
        "bytes",
        HostFunction::RandomBytes,
        &["len"],
        |entered, Need(mut len): Need<u32>| entered.random_bytes(len.pass()).map(Blob),
    )?;
    Ok(())
}
