//! `modules` for scripts: written from `wit/modules.wit` by `module-sdk/generator`. Do not edit.

use cohnect_capabilities::Payload;
use cohnect_host::function::HostFunction;

use crate::binding::Binder;
use crate::convert::{Arg, Need, Pass};

pub(crate) fn bind(binder: &Binder<'_>) -> mlua::Result<()> {
    binder.waiting(
        "call",
        HostFunction::ModulesCall,
        &["module", "action", "input"],
        |entered,
         (Need(mut module), Need(mut action), Arg(mut input)): (
            Need<String>,
            Need<String>,
            Arg<Payload>,
        )| { entered.modules_call(module.pass(), action.pass(), input.pass()) },
    )?;
    binder.plain(
        "loaded",
        HostFunction::ModulesLoaded,
        &[],
        |entered, (): ()| entered.modules_loaded(),
    )?;
    Ok(())
}
