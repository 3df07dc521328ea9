//! A call of the contract as a call of Luau, and what came back as the host's outcome. It owns the rules of what a handler may return; how a call is run,
//! plainly or in a coroutine, is the replicas' affair.

mod fault;
mod verdict;

use cohnect_capabilities::{Caller, Error};
use cohnect_host::context::Unhandled;
use cohnect_host::export::{
    Admission, Export, Message, MessageVerdict, Newcomer, Packet, PacketVerdict, Request, Returned,
    ServerEvent, Snapshot, StartInfo, StartReason, StopReason,
};
use mlua::{Function, IntoLuaMulti, Lua, MultiValue, Table, Value};

use crate::convert::{IntoLuau, close_reason, delivery, seconds};
use crate::host::Host;
use crate::shape::{Handlers, by_prefix};
use crate::vm::Vm;

pub(crate) use fault::{is_memory, outcome, text};
pub(crate) use verdict::{interpret, refused};

/// What is to be run for a call.
pub(crate) enum Job {
    /// Nothing: the module has no handler for it.
    Done(Returned),
    /// This function with these arguments.
    Run(Function, MultiValue),
}

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
    let found = match export {
        Export::Execute(request) => execute(vm, handlers, request)?,
        Export::Handle(packet) => handle(vm, handlers, packet)?,
        Export::Broadcast(message) => broadcast(vm, handlers, message)?,
        Export::Start(info) => match &handlers.start {
            Some(handler) => run(handler, start_info(lua, host, info)?.into_lua_multi(lua))?,
            None => None,
        },
        Export::Stop(reason) => match &handlers.stop {
            Some(handler) => run(handler, stop_reason(*reason).into_lua_multi(lua))?,
            None => None,
        },
        Export::Tick(tick) => match &handlers.on_tick {
            Some(handler) => {
                let (due_at, step) = (seconds(tick.due_at), seconds(tick.step));
                let arguments = (handler, tick.number as f64, due_at, step, tick.skipped);
                run(&core.tick, arguments.into_lua_multi(lua))?
            }
            None => None,
        },
        Export::Timer { name, data, due_at } => match by_prefix(&handlers.timers, name) {
            Some(handler) => {
                let arguments = (handler, &**name, lua.create_string(data)?, seconds(*due_at));
                run(&core.timer, arguments.into_lua_multi(lua))?
            }
            None => {
                host.with_context(|context| context.unhandled(Unhandled::Timer, name));
                None
            }
        },
        Export::Reply { tag, answer } => match by_prefix(&handlers.replies, tag) {
            Some(handler) => {
                let (answer, problem) = match answer {
                    Ok(payload) => (Value::String(lua.create_string(payload)?), Value::Nil),
                    Err(error) => (Value::Nil, host.error(lua, error)?),
                };
                run(handler, (tag.as_str(), answer, problem).into_lua_multi(lua))?
            }
            None => {
                host.with_context(|context| context.unhandled(Unhandled::Reply, tag));
                None
            }
        },
        Export::Connecting(_)
        | Export::Connected(_)
        | Export::Disconnected(..)
        | Export::Alive(..)
        | Export::Away(_)
        | Export::Back(_) => client_event(lua, host, handlers, export)?,
        Export::Event(event) => server_event(lua, host, handlers, event)?,
        Export::Subscribe { .. } | Export::Unsubscribe { .. } => stream(vm, handlers, export)?,
        Export::Save | Export::Restore(_) | Export::Step(_) => None,
    };
    Ok(found.unwrap_or_else(|| Job::Done(nothing(export))))
}

/// A handler that was found.
fn run(function: &Function, arguments: mlua::Result<MultiValue>) -> mlua::Result<Option<Job>> {
    Ok(Some(Job::Run(function.clone(), arguments?)))
}

fn execute(vm: &Vm, handlers: &Handlers, request: &Request) -> mlua::Result<Option<Job>> {
    let Some(action) = handlers.actions.get(&request.name) else {
        return Ok(None);
    };
    let (slot, caller) = caller(&vm.lua, &vm.host, &request.caller)?;
    let arguments = (
        &action.function,
        request.id as f64,
        &action.name,
        seconds(request.received_at),
        vm.string(&request.input)?,
        slot,
        caller,
    );
    run(&vm.core.execute, arguments.into_lua_multi(&vm.lua))
}

fn handle(vm: &Vm, handlers: &Handlers, packet: &Packet) -> mlua::Result<Option<Job>> {
    let Some(handler) = handlers.packets.get(&packet.opcode) else {
        return Ok(None);
    };
    let arguments = (
        handler,
        None::<u32>,
        packet.sender.into_luau(&vm.lua, &vm.host)?,
        packet.opcode,
        packet.version,
        delivery(packet.delivery),
        packet.channel,
        packet.wants_reply,
        seconds(packet.received_at),
        vm.string(&packet.payload)?,
    );
    run(&vm.core.handle, arguments.into_lua_multi(&vm.lua))
}

fn broadcast(vm: &Vm, handlers: &Handlers, message: &Message) -> mlua::Result<Option<Job>> {
    let Some(handler) = handlers.broadcasts.find(&message.topic) else {
        return Ok(None);
    };
    let arguments = (
        handler,
        message.sender.into_luau(&vm.lua, &vm.host)?,
        &*message.topic,
        message.to.into_luau(&vm.lua, &vm.host)?,
        seconds(message.received_at),
        vm.string(&message.payload)?,
    );
    run(&vm.core.broadcast, arguments.into_lua_multi(&vm.lua))
}

/// The first item of a topic, or the end of a subscription.
fn stream(vm: &Vm, handlers: &Handlers, export: &Export) -> mlua::Result<Option<Job>> {
    let (handler, topic, client, arguments, reason) = match export {
        Export::Subscribe {
            topic,
            client,
            arguments,
        } => {
            let arguments = Value::String(vm.lua.create_string(arguments)?);
            (handlers.streams.find(topic), topic, client, arguments, None)
        }
        Export::Unsubscribe {
            topic,
            client,
            reason,
        } => {
            let reason = Some(close_reason(*reason));
            (
                handlers.closed.find(topic),
                topic,
                client,
                Value::Nil,
                reason,
            )
        }
        _ => return Ok(None),
    };
    let Some(handler) = handler else {
        return Ok(None);
    };
    let client = client.into_luau(&vm.lua, &vm.host)?;
    let arguments = (handler, &**topic, client, arguments, reason);
    run(&vm.core.subscription, arguments.into_lua_multi(&vm.lua))
}

fn client_event(
    lua: &Lua,
    host: &Host,
    handlers: &Handlers,
    export: &Export,
) -> mlua::Result<Option<Job>> {
    let (name, client, more) = match export {
        Export::Connecting(newcomer) => {
            return match handlers.client_events.get("on_connecting") {
                Some(handler) => {
                    let table = newcomer_table(lua, host, newcomer)?;
                    run(handler, table.into_lua_multi(lua))
                }
                None => Ok(None),
            };
        }
        Export::Connected(client) => ("on_connected", client, Value::Nil),
        Export::Disconnected(client, reason) => {
            let reason = close_reason(*reason).into_luau(lua, host)?;
            ("on_disconnected", client, reason)
        }
        Export::Alive(client, rtt) => ("on_alive", client, Value::Number(seconds(*rtt))),
        Export::Away(client) => ("on_away", client, Value::Nil),
        Export::Back(client) => ("on_back", client, Value::Nil),
        _ => return Ok(None),
    };
    let Some(handler) = handlers.client_events.get(name) else {
        return Ok(None);
    };
    let client = client.into_luau(lua, host)?;
    run(handler, (client, more).into_lua_multi(lua))
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

fn newcomer_table(lua: &Lua, host: &Host, newcomer: &Newcomer) -> mlua::Result<Table> {
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
) -> mlua::Result<Option<Job>> {
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
        return run(handler, value.into_lua_multi(lua));
    }
    let Some(handler) = handlers.server_events.get("on_event") else {
        return Ok(None);
    };
    let case = name.trim_start_matches("on_");
    let event = if value.is_nil() {
        case.into_luau(lua, host)?
    } else {
        let table = lua.create_table_with_capacity(0, 1)?;
        table.raw_set(case, value)?;
        Value::Table(table)
    };
    run(handler, event.into_lua_multi(lua))
}
