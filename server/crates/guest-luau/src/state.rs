//! `state`: generated from `wit/state.wit`. Do not edit.

use cohnect_capabilities::Scope;
use cohnect_host::function::HostFunction;

use crate::binding::Binder;
use crate::convert::{Arg, Pass, Seconds};

pub(crate) fn bind(binder: &Binder<'_>) -> mlua::Result<()> {
    binder.fallible(
        "add",
        HostFunction::StateAdd,
        |entered,
         (Arg(mut scope), Arg(mut key), Arg(mut delta), Arg(mut ttl)): (
            Arg<Scope>,
            Arg<String>,
            Arg<i64>,
            Arg<Seconds>,
        )| { entered.state_add(scope.pass(), key.pass(), delta.pass(), ttl.pass()) },
    )?;
    Ok(())
}
