//! `config` for scripts: written from `wit/config.wit` by `module-sdk/generator`. Do not edit.

use cohnect_host::function::HostFunction;

use crate::binding::Binder;
use crate::convert::{Need, Pass};

pub(crate) fn bind(binder: &Binder<'_>) -> mlua::Result<()> {
    binder.plain(
        "get",
        HostFunction::ConfigGet,
        &["key"],
        |entered, Need(mut key): Need<String>| entered.config_get(key.pass()),
    )?;
    binder.plain(
        "secret",
        HostFunction::ConfigSecret,
        &["name"],
        |entered, Need(mut name): Need<String>| entered.config_secret(name.pass()),
    )?;
    Ok(())
}
