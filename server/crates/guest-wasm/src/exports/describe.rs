//! What a component says of itself: its `describe` functions, called once per load in a throw-away replica.

use cohnect_host::export::Exports;
use wasmtime::Store;
use wasmtime::component::{ComponentNamedList, Lift, TypedFunc};

use super::Functions;
use crate::contract::types::all;
use crate::store::Host;

/// Claims, actions and topics that one module may declare: more would be a table and not a program, and each is looked up on every packet.
const DECLARATIONS_MAX: usize = 1_024;

/// Calls every `describe` that the component has.
///
/// # Errors
/// A trap, or more declarations than a module may have.
pub(crate) async fn describe(
    functions: &Functions,
    store: &mut Store<Host>,
) -> wasmtime::Result<Exports> {
    Ok(Exports {
        actions: list(functions.action_describe, store, "action").await?,
        packets: list(functions.pipeline_describe, store, "pipeline").await?,
        broadcasts: list(functions.broadcast_describe, store, "broadcast").await?,
        streams: list(functions.stream_describe, store, "stream-handler").await?,
        ticker: one(functions.ticker_describe, store).await?.map(Into::into),
        client_events: one(functions.client_events_describe, store)
            .await?
            .map(Into::into)
            .unwrap_or_default(),
        server_events: one(functions.server_events_describe, store)
            .await?
            .map(Into::into)
            .unwrap_or_default(),
        background: functions.step.is_some(),
        lifecycle: functions.start.is_some(),
        migration: functions.save.is_some(),
        declared: None,
        timers: functions.timer.is_some(),
        replies: functions.reply.is_some(),
    })
}

async fn one<T>(
    function: Option<TypedFunc<(), (T,)>>,
    store: &mut Store<Host>,
) -> wasmtime::Result<Option<T>>
where
    T: 'static,
    (T,): ComponentNamedList + Lift,
{
    match function {
        None => Ok(None),
        Some(function) => function
            .call_async(&mut *store, ())
            .await
            .map(|(described,)| Some(described)),
    }
}

async fn list<T, U>(
    function: Option<TypedFunc<(), (Vec<T>,)>>,
    store: &mut Store<Host>,
    interface: &str,
) -> wasmtime::Result<Vec<U>>
where
    T: 'static,
    U: From<T>,
    (Vec<T>,): ComponentNamedList + Lift,
{
    let declared = one(function, store).await?.unwrap_or_default();
    if declared.len() > DECLARATIONS_MAX {
        return Err(wasmtime::Error::msg(format!(
            "`{interface}.describe` declares {} entries, at most {DECLARATIONS_MAX} are allowed",
            declared.len()
        )));
    }
    Ok(all(declared))
}
