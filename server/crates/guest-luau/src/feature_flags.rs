//! `feature-flags` for scripts: written from `wit/feature-flags.wit` by `module-sdk/generator`. Do not edit.

use cohnect_capabilities::feature_flags::Subject;
use cohnect_host::function::HostFunction;

use crate::binding::Binder;
use crate::convert::{Arg, Need, Pass};

pub(crate) fn bind(binder: &Binder<'_>) -> mlua::Result<()> {
    binder.plain(
        "enabled",
        HostFunction::FeatureFlagsEnabled,
        &["name", "fallback"],
        |entered, (Need(mut name), Arg(mut fallback)): (Need<String>, Arg<bool>)| {
            entered.feature_flags_enabled(name.pass(), fallback.pass())
        },
    )?;
    binder.plain(
        "enabled_for",
        HostFunction::FeatureFlagsEnabledFor,
        &["name", "who", "fallback"],
        |entered,
         (Need(mut name), Arg(mut who), Arg(mut fallback)): (
            Need<String>,
            Arg<Subject>,
            Arg<bool>,
        )| { entered.feature_flags_enabled_for(name.pass(), who.pass(), fallback.pass()) },
    )?;
    binder.plain(
        "value",
        HostFunction::FeatureFlagsValue,
        &["name", "who"],
        |entered, (Need(mut name), Arg(mut who)): (Need<String>, Arg<Subject>)| {
            entered.feature_flags_value(name.pass(), who.pass())
        },
    )?;
    Ok(())
}
