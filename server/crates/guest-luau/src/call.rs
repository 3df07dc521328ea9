//! A call of the contract as a call of Luau, and what came back as the host's outcome. It owns the rules of what a handler may return; how a call is run,
//! plainly or in a coroutine, is the replicas' affair.

use bytes::Bytes;
use cohnect_capabilities::{Caller, Error, Failure};
use cohnect_host::export::{
    Admission, Ending, Export, Fault, MessageVerdict, Outcome, PacketVerdict, Returned,
    ServerEvent, Snapshot, StartInfo, StartReason, StopReason,
};
use mlua::{Function, IntoLuaMulti, Lua, MultiValue, Table, Value};

use crate::convert::{
    FromLuau, IntoLuau, Mismatch, close_reason, delivery, describe, error_of, failure, field,
    seconds, single,
};
use crate::host::{Host, Refusal, kind};
use crate::shape::{Handlers, by_prefix};
use crate::vm::Vm;

/// What is to be run for a call.
pub(crate) enum Job {
    /// Nothing: the module has no handler for it.
    Done(Returned),
    /// This function with these arguments.
    Run(Function, MultiValue),
}

/// Longest text of a fault in bytes: a log line and a traceback.
const FAULT_BYTES_MAX: usize = 4 * 1024;

/// What doing nothing returns.
pub(crate) fn nothing(export: &Export) -> Returned {
    match export {
        Export::Execute(_) => Returned::Answer(Err(Error::NotFound)),
        Export::Handle(_) => Returned::Verdict(PacketVerdict::Pass),
        Export::Broadcast(_) => Returned::Ruling(MessageVerdict::Pass),
        Export::Step(_) => Returned::Next(Ok(cohnect_host::export::Next::Finished)),
        Export::Start(_) | Export::Restore(_) => Returned::Done(Ok(())),
        Export::Save => Returned::Saved(Ok(Snapshot::default())),
        Export::Connecting(_) => Returned::Admission(Ok(Admission::default())),
        Export::Subscribe { .. } => Returned::Subscribed(Ok(None)),
        Export::Stop(_)
        | Export::Tick(_)
        | Export::Timer { .. }
        | Export::Connected(_)
        | Export::Disconnected(..)
        | Export::Alive(..)
        | Export::Away(_)
        | Export::Back(_)
        | Export::Event(_)
        | Export::Unsubscribe { .. }
        | Export::Reply { .. } => Returned::Nothing,
    }
}

/// The handler of a call and its arguments. `Save`, `Restore` and `Step` have their own ways.
pub(crate) fn job(vm: &Vm, handlers: &Handlers, export: &Export) -> mlua::Result<Job> {
    let (lua, host, core) = (&vm.lua, &*vm.host, &vm.core);
    let run = |function: &Function, arguments: mlua::Result<MultiValue>| {
        Ok(Job::Run(function.clone(), arguments?))
    };
    let client_event = |name: &str| handlers.client_events.get(name);
    match export {
        Export::Execute(request) => {
            if let Some(action) = handlers.actions.get(&request.name) {
                let (slot, caller) = caller(lua, host, &request.caller)?;
                let input = lua.create_string(&request.input)?;
                let at = seconds(request.received_at);
                let arguments = (
                    &action.function,
                    request.id as f64,
                    &action.name,
                    at,
                    input,
                    slot,
                    caller,
                );
                return run(&core.execute, arguments.into_lua_multi(lua));
            }
        }
        Export::Handle(packet) => {
            if let Some(handler) = handlers.packets.get(&packet.opcode) {
                let sender = packet.sender.into_luau(lua, host)?;
                let arguments = (
                    (handler, Value::Nil, sender, packet.opcode, packet.version),
                    (
                        delivery(packet.delivery),
                        packet.channel,
                        packet.wants_reply,
                    ),
                    (
                        seconds(packet.received_at),
                        lua.create_string(&packet.payload)?,
                    ),
                );
                let mut all = arguments.0.into_lua_multi(lua)?;
                all.extend(arguments.1.into_lua_multi(lua)?);
                all.extend(arguments.2.into_lua_multi(lua)?);
                return Ok(Job::Run(core.handle.clone(), all));
            }
        }
        Export::Broadcast(message) => {
            if let Some(handler) = handlers.broadcasts.find(&message.topic) {
                let arguments = (
                    handler,
                    message.sender.into_luau(lua, host)?,
                    &*message.topic,
                    message.to.into_luau(lua, host)?,
                    seconds(message.received_at),
                    lua.create_string(&message.payload)?,
                );
                return run(&core.broadcast, arguments.into_lua_multi(lua));
            }
        }
        Export::Start(info) => {
            if let Some(handler) = &handlers.start {
                return run(handler, start_info(lua, host, info)?.into_lua_multi(lua));
            }
        }
        Export::Stop(reason) => {
            if let Some(handler) = &handlers.stop {
                return run(handler, stop_reason(*reason).into_lua_multi(lua));
            }
        }
        Export::Tick(tick) => {
            if let Some(handler) = &handlers.on_tick {
                let arguments = (
                    handler,
                    tick.number as f64,
                    seconds(tick.due_at),
                    seconds(tick.step),
                    tick.skipped,
                );
                return run(&core.tick, arguments.into_lua_multi(lua));
            }
        }
        Export::Timer { name, data, due_at } => {
            if let Some(handler) = by_prefix(&handlers.timers, name) {
                let arguments = (handler, &**name, lua.create_string(data)?, seconds(*due_at));
                return run(&core.timer, arguments.into_lua_multi(lua));
            }
        }
        Export::Connecting(newcomer) => {
            if let Some(handler) = client_event("on_connecting") {
                return run(
                    handler,
                    newcomer_table(lua, host, newcomer)?.into_lua_multi(lua),
                );
            }
        }
        Export::Connected(client) => {
            if let Some(handler) = client_event("on_connected") {
                return run(handler, client.into_luau(lua, host)?.into_lua_multi(lua));
            }
        }
        Export::Disconnected(client, reason) => {
            if let Some(handler) = client_event("on_disconnected") {
                return run(
                    handler,
                    (client.into_luau(lua, host)?, close_reason(*reason)).into_lua_multi(lua),
                );
            }
        }
        Export::Alive(client, rtt) => {
            if let Some(handler) = client_event("on_alive") {
                return run(
                    handler,
                    (client.into_luau(lua, host)?, seconds(*rtt)).into_lua_multi(lua),
                );
            }
        }
        Export::Away(client) => {
            if let Some(handler) = client_event("on_away") {
                return run(handler, client.into_luau(lua, host)?.into_lua_multi(lua));
            }
        }
        Export::Back(client) => {
            if let Some(handler) = client_event("on_back") {
                return run(handler, client.into_luau(lua, host)?.into_lua_multi(lua));
            }
        }
        Export::Event(event) => return server_event(lua, host, handlers, event),
        Export::Subscribe {
            topic,
            client,
            arguments,
        } => {
            if let Some(handler) = handlers.streams.find(topic) {
                let arguments = (
                    handler,
                    &**topic,
                    client.into_luau(lua, host)?,
                    lua.create_string(arguments)?,
                );
                return run(&core.subscription, arguments.into_lua_multi(lua));
            }
        }
        Export::Unsubscribe {
            topic,
            client,
            reason,
        } => {
            if let Some(handler) = handlers.closed.find(topic) {
                let arguments = (
                    handler,
                    &**topic,
                    client.into_luau(lua, host)?,
                    Value::Nil,
                    close_reason(*reason),
                );
                return run(&core.subscription, arguments.into_lua_multi(lua));
            }
        }
        Export::Reply { tag, answer } => {
            if let Some(handler) = by_prefix(&handlers.replies, tag) {
                let (answer, problem) = match answer {
                    Ok(payload) => (Value::String(lua.create_string(payload)?), Value::Nil),
                    Err(error) => (Value::Nil, host.error(lua, error)?),
                };
                return run(handler, (tag.as_str(), answer, problem).into_lua_multi(lua));
            }
        }
        Export::Save | Export::Restore(_) | Export::Step(_) => {}
    }
    Ok(Job::Done(nothing(export)))
}

/// The slot of a calling client whose parts are read when touched, or else the caller as a value.
pub(crate) fn caller(
    lua: &Lua,
    host: &Host,
    caller: &Caller,
) -> mlua::Result<(Option<u32>, Value)> {
    match caller {
        Caller::Client(client) if client.user.is_none() && client.tags.is_empty() => {
            Ok((Some(host.slot(lua, client.id)?), Value::Nil))
        }
        Caller::Client(_) | Caller::Module(_) | Caller::Operator(_) | Caller::System(_) => {
            Ok((None, caller.into_luau(lua, host)?))
        }
    }
}

fn start_info(lua: &Lua, host: &Host, info: &StartInfo) -> mlua::Result<Table> {
    let table = lua.create_table_with_capacity(0, 8)?;
    table.raw_set("module", &*info.module)?;
    table.raw_set("generation", info.generation.into_luau(lua, host)?)?;
    table.raw_set("key", &*info.key)?;
    table.raw_set("arguments", lua.create_string(&info.arguments)?)?;
    table.raw_set("creator", info.creator.into_luau(lua, host)?)?;
    table.raw_set("replica", info.replica)?;
    table.raw_set("instance", info.instance.into_luau(lua, host)?)?;
    let reason = match info.reason {
        StartReason::Boot => "boot",
        StartReason::Loaded => "loaded",
        StartReason::Created => "created",
        StartReason::Resumed => "resumed",
        StartReason::Swapped => "swapped",
        StartReason::RolledBack => "rolled_back",
        StartReason::Restarted => "restarted",
    };
    table.raw_set("reason", reason)?;
    Ok(table)
}

const fn stop_reason(reason: StopReason) -> &'static str {
    match reason {
        StopReason::Shutdown => "shutdown",
        StopReason::Unloaded => "unloaded",
        StopReason::Swapped => "swapped",
        StopReason::Idle => "idle",
        StopReason::Finished => "finished",
        StopReason::RolledBack => "rolled_back",
    }
}

fn newcomer_table(
    lua: &Lua,
    host: &Host,
    newcomer: &cohnect_host::export::Newcomer,
) -> mlua::Result<Table> {
    let table = lua.create_table_with_capacity(0, 6)?;
    table.raw_set("id", newcomer.id.into_luau(lua, host)?)?;
    table.raw_set("address", newcomer.address.as_str())?;
    table.raw_set("protocol_version", newcomer.protocol_version)?;
    table.raw_set("user", newcomer.user.as_deref())?;
    table.raw_set("claims", newcomer.claims.as_str())?;
    table.raw_set("token", lua.create_string(&newcomer.token)?)?;
    Ok(table)
}

/// The function for an event of the server: its own, else the one for all, which gets the event as a variant.
fn server_event(
    lua: &Lua,
    host: &Host,
    handlers: &Handlers,
    event: &ServerEvent,
) -> mlua::Result<Job> {
    let (name, value) = match event {
        ServerEvent::Started => ("on_started", Value::Nil),
        ServerEvent::Stopping(left) => ("on_stopping", Value::Number(seconds(*left))),
        ServerEvent::ConfigChanged(part) => {
            ("on_config_changed", part.as_str().into_luau(lua, host)?)
        }
        ServerEvent::FlagChanged(flag) => ("on_flag_changed", flag.as_str().into_luau(lua, host)?),
        ServerEvent::ModuleLoaded(module) => {
            ("on_module_loaded", module.as_str().into_luau(lua, host)?)
        }
        ServerEvent::ModuleUnloading(module) => {
            ("on_module_unloading", module.as_str().into_luau(lua, host)?)
        }
        ServerEvent::InstanceJoined(id) => ("on_instance_joined", id.into_luau(lua, host)?),
        ServerEvent::InstanceLeft(id) => ("on_instance_left", id.into_luau(lua, host)?),
        ServerEvent::Other(name, data) => {
            let table = lua.create_table_with_capacity(0, 2)?;
            table.raw_set("name", name.as_str())?;
            table.raw_set("data", lua.create_string(data)?)?;
            ("on_other", Value::Table(table))
        }
    };
    if let Some(handler) = handlers.server_events.get(name) {
        return Ok(Job::Run(handler.clone(), value.into_lua_multi(lua)?));
    }
    let Some(handler) = handlers.server_events.get("on_event") else {
        return Ok(Job::Done(Returned::Nothing));
    };
    let case = name.trim_start_matches("on_");
    let event = if value.is_nil() {
        case.into_luau(lua, host)?
    } else {
        let table = lua.create_table_with_capacity(0, 1)?;
        table.raw_set(case, value)?;
        Value::Table(table)
    };
    Ok(Job::Run(handler.clone(), event.into_lua_multi(lua)?))
}

/// What a handler returned, as the contract has it.
pub(crate) fn interpret(export: &Export, value: &Value, problem: &Value) -> mlua::Result<Returned> {
    let read = || -> Result<Returned, Mismatch> {
        Ok(match export {
            Export::Execute(_) => Returned::Answer(match refused(value, problem)? {
                Some(error) => Err(error),
                None => Ok(Bytes::from_luau(value)?),
            }),
            Export::Handle(_) => Returned::Verdict(packet_verdict(value, problem)?),
            Export::Broadcast(_) => Returned::Ruling(message_verdict(value, problem)?),
            Export::Start(_) | Export::Restore(_) => {
                Returned::Done(refused(value, problem)?.map_or(Ok(()), Err))
            }
            Export::Connecting(_) => Returned::Admission(match refused(value, problem)? {
                Some(error) => Err(error),
                None => Ok(admission(value)?),
            }),
            Export::Subscribe { .. } => Returned::Subscribed(match refused(value, problem)? {
                Some(error) => Err(error),
                None => Ok(FromLuau::from_luau(value)?),
            }),
            Export::Save
            | Export::Step(_)
            | Export::Stop(_)
            | Export::Tick(_)
            | Export::Timer { .. }
            | Export::Connected(_)
            | Export::Disconnected(..)
            | Export::Alive(..)
            | Export::Away(_)
            | Export::Back(_)
            | Export::Event(_)
            | Export::Unsubscribe { .. }
            | Export::Reply { .. } => nothing(export),
        })
    };
    read().map_err(|mismatch| {
        mlua::Error::runtime(format!(
            "the handler of {} returned something else: {}",
            label(export),
            mismatch.0
        ))
    })
}

/// A call as an error names it.
fn label(export: &Export) -> String {
    match export {
        Export::Execute(request) => format!("the action `{}`", request.name),
        Export::Handle(packet) => format!("the opcode {:#06x}", packet.opcode),
        Export::Broadcast(message) => format!("the topic \"{}\"", message.topic),
        Export::Subscribe { topic, .. } => format!("the topic \"{topic}\""),
        other @ (Export::Step(_)
        | Export::Start(_)
        | Export::Stop(_)
        | Export::Save
        | Export::Restore(_)
        | Export::Tick(_)
        | Export::Timer { .. }
        | Export::Connecting(_)
        | Export::Connected(_)
        | Export::Disconnected(..)
        | Export::Alive(..)
        | Export::Away(_)
        | Export::Back(_)
        | Export::Event(_)
        | Export::Unsubscribe { .. }
        | Export::Reply { .. }) => other.name().to_owned(),
    }
}

/// `nil, problem` refuses.
pub(crate) fn refused(value: &Value, problem: &Value) -> Result<Option<Error>, Mismatch> {
    if value.is_nil() && !problem.is_nil() {
        return error_of(problem).map(Some);
    }
    Ok(None)
}

/// A refusal where only the module's own words have a place.
fn rejection(error: &Error) -> Failure {
    match error {
        Error::Failed(failure) => failure.clone(),
        other => Failure {
            code: 0,
            message: kind(other).to_owned(),
        },
    }
}

fn packet_verdict(value: &Value, problem: &Value) -> Result<PacketVerdict, Mismatch> {
    if let Some(error) = refused(value, problem)? {
        return Ok(PacketVerdict::Reject(rejection(&error)));
    }
    match value {
        Value::Nil => Ok(PacketVerdict::Pass),
        Value::String(text) => match &*text.as_bytes() {
            b"pass" => Ok(PacketVerdict::Pass),
            b"drop" => Ok(PacketVerdict::Drop),
            _ => Err(not_a_verdict(value)),
        },
        Value::Table(table) => {
            let (case, value) = single(table)?;
            match case.as_str() {
                "replace" => FromLuau::from_luau(&value).map(PacketVerdict::Replace),
                "reply" => FromLuau::from_luau(&value).map(PacketVerdict::Reply),
                "reject" => failure(&value).map(PacketVerdict::Reject),
                _ => Err(not_a_verdict(&Value::Table(table.clone()))),
            }
        }
        other => Err(not_a_verdict(other)),
    }
}

fn not_a_verdict(value: &Value) -> Mismatch {
    Mismatch(format!(
        "expected \"pass\", \"drop\", {{ replace = … }}, {{ reply = … }}, {{ reject = {{ code = 1, message = \"no\" }} }}, got {}",
        describe(value)
    ))
}

fn message_verdict(value: &Value, problem: &Value) -> Result<MessageVerdict, Mismatch> {
    if let Some(error) = refused(value, problem)? {
        return Ok(MessageVerdict::Reject(rejection(&error)));
    }
    match value {
        Value::Nil => Ok(MessageVerdict::Pass),
        Value::String(text) => match &*text.as_bytes() {
            b"pass" => Ok(MessageVerdict::Pass),
            b"drop" => Ok(MessageVerdict::Drop),
            _ => Err(not_a_ruling(value)),
        },
        Value::Table(table) => {
            let (case, value) = single(table)?;
            match (case.as_str(), &value) {
                ("replace", _) => FromLuau::from_luau(&value).map(MessageVerdict::Replace),
                ("reject", _) => failure(&value).map(MessageVerdict::Reject),
                ("redirect", Value::Table(redirection)) => Ok(MessageVerdict::Redirect(
                    field(redirection, "to")?,
                    field(redirection, "payload")?,
                )),
                _ => Err(not_a_ruling(&Value::Table(table.clone()))),
            }
        }
        other => Err(not_a_ruling(other)),
    }
}

fn not_a_ruling(value: &Value) -> Mismatch {
    Mismatch(format!(
        "expected \"pass\", \"drop\", {{ replace = … }}, {{ redirect = {{ to = …, payload = … }} }}, {{ reject = {{ code = 1, message = \"no\" }} }}, got {}",
        describe(value)
    ))
}

fn admission(value: &Value) -> Result<Admission, Mismatch> {
    match value {
        // Plain agreement.
        Value::Nil | Value::Boolean(true) => Ok(Admission::default()),
        Value::Table(table) => Ok(Admission {
            user: field(table, "user")?,
            tags: field(table, "tags")?,
        }),
        other => Err(Mismatch::expected(
            "an admission such as { tags = { \"new\" } }",
            other,
        )),
    }
}

/// What came of a call, after everything that ends a replica was looked at.
pub(crate) fn outcome(
    ending: Option<Ending>,
    export: &Export,
    result: mlua::Result<Returned>,
) -> Outcome {
    match (ending, result) {
        (None, Ok(returned)) => Ok(returned),
        (Some(ending), Ok(_)) => Err(Fault::Ended(ending, export.name().to_owned())),
        (Some(ending), Err(error)) => Err(Fault::Ended(ending, text(&error))),
        (None, Err(error)) => {
            if is_memory(&error) {
                return Err(Fault::Ended(Ending::Memory, text(&error)));
            }
            match refusal(&error).and_then(|refusal| refusing(export, refusal)) {
                Some(returned) => Ok(returned),
                None => Err(Fault::Raised(text(&error))),
            }
        }
    }
}

/// A raised refusal, as the call returns it; none where the call returns nothing that could refuse.
fn refusing(export: &Export, error: &Error) -> Option<Returned> {
    let error = error.clone();
    match export {
        Export::Execute(_) => Some(Returned::Answer(Err(error))),
        Export::Handle(_) => Some(Returned::Verdict(PacketVerdict::Reject(rejection(&error)))),
        Export::Broadcast(_) => Some(Returned::Ruling(MessageVerdict::Reject(rejection(&error)))),
        Export::Step(_) => Some(Returned::Next(Err(error))),
        Export::Start(_) | Export::Restore(_) => Some(Returned::Done(Err(error))),
        Export::Save => Some(Returned::Saved(Err(error))),
        Export::Connecting(_) => Some(Returned::Admission(Err(error))),
        Export::Subscribe { .. } => Some(Returned::Subscribed(Err(error))),
        Export::Stop(_)
        | Export::Tick(_)
        | Export::Timer { .. }
        | Export::Connected(_)
        | Export::Disconnected(..)
        | Export::Alive(..)
        | Export::Away(_)
        | Export::Back(_)
        | Export::Event(_)
        | Export::Unsubscribe { .. }
        | Export::Reply { .. } => None,
    }
}

/// The refusal that an error of Luau carries.
fn refusal(error: &mlua::Error) -> Option<&Error> {
    match cause(error) {
        mlua::Error::ExternalError(inner) => {
            inner.downcast_ref::<Refusal>().map(|refusal| &refusal.0)
        }
        _ => None,
    }
}

/// The innermost error.
fn cause(error: &mlua::Error) -> &mlua::Error {
    match error {
        mlua::Error::CallbackError { cause: inner, .. }
        | mlua::Error::BadArgument { cause: inner, .. }
        | mlua::Error::WithContext { cause: inner, .. } => cause(inner),
        other => other,
    }
}

/// Whether memory ran out. A coroutine hands the error on as text.
pub(crate) fn is_memory(error: &mlua::Error) -> bool {
    match cause(error) {
        mlua::Error::MemoryError(_) => true,
        mlua::Error::RuntimeError(text) => text
            .lines()
            .next()
            .is_some_and(|line| line.ends_with("not enough memory")),
        _ => false,
    }
}

/// An error as the log shows it.
pub(crate) fn text(error: &mlua::Error) -> String {
    let mut text = match error {
        mlua::Error::RuntimeError(text) | mlua::Error::MemoryError(text) => text.clone(),
        mlua::Error::CallbackError { traceback, .. } => {
            format!("{}\n{traceback}", cause(error))
        }
        other => other.to_string(),
    };
    text.truncate(text.floor_char_boundary(FAULT_BYTES_MAX));
    text
}
