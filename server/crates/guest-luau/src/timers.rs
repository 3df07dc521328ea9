//! `timers` for scripts: written from `wit/timers.wit` by `module-sdk/generator`. Do not edit.

use cohnect_capabilities::Payload;
use cohnect_host::function::HostFunction;

use crate::binding::Binder;
use crate::convert::{Arg, Need, Pass, Seconds};

pub(crate) fn bind(binder: &Binder<'_>) -> mlua::Result<()> {
    binder.fallible(
        "set",
        HostFunction::TimersSet,
        &["name", "delay", "data"],
        |entered,
         (Need(mut name), Need(mut delay), Arg(mut data)): (
            Need<String>,
            Need<Seconds>,
            Arg<Payload>,
        )| { entered.timers_set(name.pass(), delay.pass(), data.pass()) },
    )?;
    binder.fallible(
        "every",
        HostFunction::TimersEvery,
        &["name", "period", "data"],
        |entered,
         (Need(mut name), Need(mut period), Arg(mut data)): (
            Need<String>,
            Need<Seconds>,
            Arg<Payload>,
        )| { entered.timers_every(name.pass(), period.pass(), data.pass()) },
    )?;
    binder.plain(
        "cancel",
        HostFunction::TimersCancel,
        &["name"],
        |entered, Need(mut name): Need<String>| entered.timers_cancel(name.pass()),
    )?;
    binder.fallible(
        "due",
        HostFunction::TimersDue,
        &["name"],
        |entered, Need(mut name): Need<String>| entered.timers_due(name.pass()).map(Seconds),
    )?;
    binder.fallible(
        "set_tick_rate",
        HostFunction::TimersSetTickRate,
        &["hz"],
        |entered, Need(mut hz): Need<u32>| entered.timers_set_tick_rate(hz.pass()),
    )?;
    Ok(())
}
