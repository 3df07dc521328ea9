//! One call into a component: from the host's value to the export's arguments, and from what it returns, or how it ended, to the host's outcome.

use std::sync::Arc;

use cohnect_capabilities::Error;
use cohnect_host::export::{Admission, MessageVerdict};
use cohnect_host::export::{Ending, Export, Fault, Next, Outcome, PacketVerdict, Returned};
use wasmtime::Store;

use crate::exports::Functions;
use crate::store::{Host, Stop};

/// The body of a call, once for each lane: `$run!(function, arguments)` is a plain call or an awaited one. An export that the component does not have
/// returns what doing nothing returns.
macro_rules! dispatch {
    ($export:ident, $functions:ident, $run:ident) => {
        match $export {
            Export::Execute(request) => Returned::Answer(match &$functions.execute {
                Some(execute) => plain($run!(execute, (request.into(),)).0),
                None => Err(Error::NotFound),
            }),
            Export::Handle(packet) => Returned::Verdict(match &$functions.handle {
                Some(handle) => $run!(handle, (packet.into(),)).0.into(),
                None => PacketVerdict::Pass,
            }),
            Export::Broadcast(message) => Returned::Ruling(match &$functions.broadcast {
                Some(handle) => $run!(handle, (message.into(),)).0.into(),
                None => MessageVerdict::Pass,
            }),
            Export::Step(wake) => Returned::Next(match &$functions.step {
                Some(step) => plain($run!(step, (wake.into(),)).0).map(Into::into),
                None => Ok(Next::Finished),
            }),
            Export::Start(info) => Returned::Done(match &$functions.start {
                Some(start) => plain($run!(start, (info.into(),)).0),
                None => Ok(()),
            }),
            Export::Stop(reason) => nothing!($run, &$functions.stop, ((*reason).into(),)),
            Export::Save => Returned::Saved(match &$functions.save {
                Some(save) => plain($run!(save, ()).0).map(Into::into),
                None => Err(Error::Unsupported),
            }),
            Export::Restore(snapshot) => Returned::Done(match &$functions.restore {
                Some(restore) => plain($run!(restore, (snapshot.into(),)).0),
                None => Ok(()),
            }),
            Export::Tick(tick) => nothing!($run, &$functions.tick, ((*tick).into(),)),
            Export::Timer { name, data, due_at } => nothing!(
                $run,
                &$functions.timer,
                (Arc::clone(name), data.clone(), *due_at)
            ),
            Export::Connecting(newcomer) => Returned::Admission(match &$functions.connecting {
                Some(connecting) => plain($run!(connecting, (newcomer.into(),)).0).map(Into::into),
                None => Ok(Admission::default()),
            }),
            Export::Connected(client) => {
                nothing!($run, &$functions.connected, (client.clone().into(),))
            }
            Export::Disconnected(client, reason) => nothing!(
                $run,
                &$functions.disconnected,
                (client.clone().into(), (*reason).into())
            ),
            Export::Alive(client, rtt) => {
                nothing!($run, &$functions.alive, (client.clone().into(), *rtt))
            }
            Export::Away(client) => nothing!($run, &$functions.away, (client.clone().into(),)),
            Export::Back(client) => nothing!($run, &$functions.back, (client.clone().into(),)),
            Export::Event(event) => nothing!($run, &$functions.event, (event.into(),)),
            Export::Subscribe {
                topic,
                client,
                arguments,
            } => Returned::Subscribed(match &$functions.subscribe {
                Some(subscribe) => plain(
                    $run!(
                        subscribe,
                        (Arc::clone(topic), client.clone().into(), arguments.clone())
                    )
                    .0,
                ),
                None => Ok(None),
            }),
            Export::Unsubscribe {
                topic,
                client,
                reason,
            } => nothing!(
                $run,
                &$functions.unsubscribe,
                (Arc::clone(topic), client.clone().into(), (*reason).into())
            ),
            Export::Reply { tag, answer } => nothing!(
                $run,
                &$functions.reply,
                (tag.clone(), answer.clone().map_err(Into::into))
            ),
        }
    };
}

/// A call of an export without a result.
macro_rules! nothing {
    ($run:ident, $function:expr, $arguments:expr) => {{
        if let Some(function) = $function {
            $run!(function, $arguments);
        }
        Returned::Nothing
    }};
}

/// A call on a shard: it runs to its end.
pub(crate) fn call(store: &mut Store<Host>, functions: &Functions, export: &Export) -> Outcome {
    begin(store);
    let ended = run(store, functions, export);
    finish(store, ended)
}

fn run(
    store: &mut Store<Host>,
    functions: &Functions,
    export: &Export,
) -> wasmtime::Result<Returned> {
    macro_rules! at_once {
        ($function:expr, $arguments:expr) => {
            $function.call(&mut *store, $arguments)?
        };
    }
    Ok(dispatch!(export, functions, at_once))
}

/// A call on a worker: it may wait, and gives its turn up at each tick.
pub(crate) async fn call_waiting(
    store: &mut Store<Host>,
    functions: &Functions,
    export: &Export,
) -> Outcome {
    begin(store);
    let ended = run_waiting(store, functions, export).await;
    store.data_mut().pause();
    finish(store, ended)
}

async fn run_waiting(
    store: &mut Store<Host>,
    functions: &Functions,
    export: &Export,
) -> wasmtime::Result<Returned> {
    macro_rules! awaited {
        ($function:expr, $arguments:expr) => {
            $function.call_async(&mut *store, $arguments).await?
        };
    }
    Ok(dispatch!(export, functions, awaited))
}

fn begin(store: &mut Store<Host>) {
    store.set_epoch_deadline(1);
    store.data_mut().begin();
}

fn finish(store: &mut Store<Host>, ended: wasmtime::Result<Returned>) -> Outcome {
    let host = store.data_mut();
    host.finish();
    ended.map_err(|error| fault(&error, host.bounds.refused))
}

/// What ended a replica. The text, with the trace of the component's own functions, is for the log alone.
pub(crate) fn fault(error: &wasmtime::Error, memory_refused: bool) -> Fault {
    let ending = match error.downcast_ref::<Stop>() {
        Some(stop) => stop.ending(),
        // A program that gets no memory aborts by a trap; a program that goes on without it never comes here.
        None if memory_refused => Ending::Memory,
        None => Ending::Trap,
    };
    // The causes one after the other, and behind them where it was: whoever shows one line shows the reason. The host's own stack, which the error may
    // hold as well, helps nobody.
    let causes = error.chain().map(ToString::to_string);
    let (traces, causes): (Vec<_>, Vec<_>) =
        causes.partition(|cause| cause.starts_with("error while executing"));
    let text = [causes.join(": ")].into_iter().chain(traces);
    Fault::Ended(ending, text.collect::<Vec<_>>().join("\n"))
}

fn plain<T>(result: Result<T, crate::contract::types::Error>) -> Result<T, Error> {
    result.map_err(Error::from)
}
