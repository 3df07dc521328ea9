//! `state` for scripts: written from `wit/state.wit` by `module-sdk/generator`. Do not edit.

use cohnect_capabilities::{Payload, Scope};
use cohnect_host::function::HostFunction;

use crate::binding::Binder;
use crate::convert::{Arg, Need, Pass, Seconds};

pub(crate) fn bind(binder: &Binder<'_>) -> mlua::Result<()> {
    binder.fallible(
        "get",
        HostFunction::StateGet,
        &["scope", "key"],
        |entered, (Need(mut scope), Need(mut key)): (Need<Scope>, Need<String>)| {
            entered.state_get(scope.pass(), key.pass())
        },
    )?;
    binder.fallible(
        "get_many",
        HostFunction::StateGetMany,
        &["scope", "keys"],
        |entered, (Need(mut scope), Need(mut keys)): (Need<Scope>, Need<Vec<String>>)| {
            entered.state_get_many(scope.pass(), keys.pass())
        },
    )?;
    binder.fallible(
        "scan",
        HostFunction::StateScan,
        &["scope", "prefix", "after", "limit"],
        |entered,
         (Need(mut scope), Need(mut prefix), Arg(mut after), Arg(mut limit)): (
            Need<Scope>,
            Need<String>,
            Arg<Option<String>>,
            Arg<u32>,
        )| { entered.state_scan(scope.pass(), prefix.pass(), after.pass(), limit.pass()) },
    )?;
    binder.fallible(
        "set",
        HostFunction::StateSet,
        &["scope", "key", "value", "ttl"],
        |entered,
         (Need(mut scope), Need(mut key), Need(mut value), Arg(mut ttl)): (
            Need<Scope>,
            Need<String>,
            Need<Payload>,
            Arg<Seconds>,
        )| { entered.state_set(scope.pass(), key.pass(), value.pass(), ttl.pass()) },
    )?;
    binder.fallible(
        "compare_and_set",
        HostFunction::StateCompareAndSet,
        &["scope", "key", "expected", "value", "ttl"],
        |entered,
         (Need(mut scope), Need(mut key), Need(mut expected), Need(mut value), Arg(mut ttl)): (
            Need<Scope>,
            Need<String>,
            Need<u64>,
            Need<Payload>,
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
         (Need(mut scope), Need(mut key), Need(mut delta), Arg(mut ttl)): (
            Need<Scope>,
            Need<String>,
            Need<i64>,
            Arg<Seconds>,
        )| { entered.state_add(scope.pass(), key.pass(), delta.pass(), ttl.pass()) },
    )?;
    binder.fallible(
        "remove",
        HostFunction::StateRemove,
        &["scope", "key"],
        |entered, (Need(mut scope), Need(mut key)): (Need<Scope>, Need<String>)| {
            entered.state_remove(scope.pass(), key.pass())
        },
    )?;
    binder.fallible("apply", HostFunction::StateApply, &[], |entered, (): ()| {
        entered.state_apply()
    })?;
    Ok(())
}
