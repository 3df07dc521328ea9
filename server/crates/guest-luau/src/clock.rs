//! `clock` for scripts: written from `wit/clock.wit` by `module-sdk/generator`. Do not edit.

use cohnect_host::function::HostFunction;

use crate::binding::Binder;
use crate::convert::{Arg, Need, Pass, Seconds};

pub(crate) fn bind(binder: &Binder<'_>) -> mlua::Result<()> {
    binder.plain("now", HostFunction::ClockNow, &[], |entered, (): ()| {
        Seconds(entered.clock_now())
    })?;
    binder.plain(
        "monotonic",
        HostFunction::ClockMonotonic,
        &[],
        |entered, (): ()| Seconds(entered.clock_monotonic()),
    )?;
    binder.plain(
        "remaining",
        HostFunction::ClockRemaining,
        &[],
        |entered, (): ()| Seconds(entered.clock_remaining()),
    )?;
    binder.fallible(
        "civil",
        HostFunction::ClockCivil,
        &["at", "zone"],
        |entered, (Need(mut at), Arg(mut zone)): (Need<Seconds>, Arg<String>)| {
            entered.clock_civil(at.pass(), zone.pass())
        },
    )?;
    binder.fallible(
        "next_due",
        HostFunction::ClockNextDue,
        &["schedule", "zone", "after"],
        |entered,
         (Need(mut schedule), Need(mut zone), Need(mut after)): (
            Need<String>,
            Need<String>,
            Need<Seconds>,
        )| {
            entered
                .clock_next_due(schedule.pass(), zone.pass(), after.pass())
                .map(Seconds)
        },
    )?;
    Ok(())
}
