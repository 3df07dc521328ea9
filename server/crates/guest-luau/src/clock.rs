//! `clock` for scripts: written from `wit/clock.wit` by `module-sdk/generator`. Do not edit.

use cohnect_host::function::HostFunction;

use crate::binding::Binder;
use crate::convert::{Arg, Pass, Seconds};

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
        |entered, (Arg(mut at), Arg(mut zone)): (Arg<Seconds>, Arg<String>)| {
            entered.clock_civil(at.pass(), zone.pass())
        },
    )?;
    binder.fallible(
        "next_due",
        HostFunction::ClockNextDue,
        &["schedule", "zone", "after"],
        |entered,
         (Arg(mut schedule), Arg(mut zone), Arg(mut after)): (
            Arg<String>,
            Arg<String>,
            Arg<Seconds>,
        )| {
            entered
                .clock_next_due(schedule.pass(), zone.pass(), after.pass())
                .map(Seconds)
        },
    )?;
    Ok(())
}
