//! `state` for scripts: written from `wit/state.wit` by `module-sdk/generator`. Do not edit.

use cohnect_capabilities::{Payload, Scope};
use cohnect_host::function::HostFunction;

use crate::binding::Binder;
use crate::convert::{Arg, Pass, Seconds};

pub(crate) fn bind(binder: &Binder<'_>) -> mlua::Result<()> {
    binder.fallible(
        "get",
        HostFunction::StateGet,
        &["scope", "key"],
        |entered, (Arg(mut scope), Arg(mut key)): (Arg<Scope>, Arg<String>)| {
            entered.state_get(scope.pass(), key.pass())
        },
    )?;
    binder.fallible(
        "get_many",
        HostFunction::StateGetMany,
        &["scope", "keys"],
        |entered, (Arg(mut scope), Arg(mut keys)): (Arg<Scope>, Arg<Vec<String>>)| {
            entered.state_get_many(scope.pass(), keys.pass())
        },
    )?;
    binder.fallible(
        "scan",
        HostFunction::StateScan,
        &["scope", "prefix", "after", "limit"],
        |entered,
         (Arg(mut scope), Arg(mut prefix), Arg(mut after), Arg(mut limit)): (
            Arg<Scope>,
            Arg<String>,
            Arg<Option<String>>,
            Arg<u32>,
        )| { entered.state_scan(scope.pass(), prefix.pass(), after.pass(), limit.pass()) },
    )?;
    binder.fallible(
        "set",
        HostFunction::StateSet,
        &["scope", "key", "value", "ttl"],
        |entered,
         (Arg(mut scope), Arg(mut key), Arg(mut value), Arg(mut ttl)): (
            Arg<Scope>,
            Arg<String>,
            Arg<Payload>,
            Arg<Seconds>,
        )| { entered.state_set(scope.pass(), key.pass(), value.pass(), ttl.pass()) },
    )?;
    binder.fallible(
        "compare_and_set",
        HostFunction::StateCompareAndSet,
        &["scope", "key", "expected", "value", "ttl"],
        |entered,
         (Arg(mut scope), Arg(mut key), Arg(mut expected), Arg(mut value), Arg(mut ttl)): (
            Arg<Scope>,
            Arg<String>,
            Arg<u64>,
            Arg<Payload>,
            Arg<Seconds>,
        )| {
            entered.state_compare_and_set(
                scope.pass(),
                key.pass(),
                expected.pass(),
                value.pass(),
                ttl.pass(),
            )
        },
    )?;
    binder.fallible(
        "add",
        HostFunction::StateAdd,
        &["scope", "key", "delta", "ttl"],
        |entered,
         (Arg(mut scope), Arg(mut key), Arg(mut delta), Arg(mut ttl)): (
            Arg<Scope>,
            Arg<String>,
            Arg<i64>,
            Arg<Seconds>,
        )| { entered.state_add(scope.pass(), key.pass(), delta.pass(), ttl.pass()) },
    )?;
    binder.fallible(
        "remove",
        HostFunction::StateRemove,
        &["scope", "key"],
        |entered, (Arg(mut scope), Arg(mut key)): (Arg<Scope>, Arg<String>)| {
            entered.state_remove(scope.pass(), key.pass())
        },
    )?;
    binder.fallible("apply", HostFunction::StateApply, &[], |entered, (): ()| {
        entered.state_apply()
    })?;
    Ok(())
}
