//! The functions for events of clients and of the server: those that are there are described.

use cohnect_host::export::{ClientEvents, ServerEvents};
use mlua::{Function, Table};

use super::{Shape, Wrong, entries, function, place_of};
use cohnect_host::nearest::suggestion;

const CLIENT_EVENTS: [&str; 6] = [
    "on_connecting",
    "on_connected",
    "on_disconnected",
    "on_alive",
    "on_away",
    "on_back",
];
const SERVER_EVENTS: [&str; 10] = [
    "on_event",
    "on_started",
    "on_stopping",
    "on_config_changed",
    "on_flag_changed",
    "on_module_loaded",
    "on_module_unloading",
    "on_instance_joined",
    "on_instance_left",
    "on_other",
];

pub(super) fn client_events(shape: &mut Shape, table: &Table) -> Result<(), Wrong> {
    let mut events = ClientEvents::default();
    for (name, function) in event_functions(table, &CLIENT_EVENTS)? {
        match name {
            "on_connecting" => events.connecting = true,
            "on_connected" => events.connected = true,
            "on_disconnected" => events.disconnected = true,
            "on_alive" => events.alive = true,
            "on_away" => events.away = true,
            _ => events.back = true,
        }
        shape.handlers.client_events.insert(name, function);
    }
    shape.exports.client_events = events;
    Ok(())
}

pub(super) fn server_events(shape: &mut Shape, table: &Table) -> Result<(), Wrong> {
    let functions = event_functions(table, &SERVER_EVENTS)?;
    let all = functions.iter().any(|(name, _)| *name == "on_event");
    let has = |name: &str| all || functions.iter().any(|(known, _)| *known == name);
    shape.exports.server_events = ServerEvents {
        started: has("on_started"),
        stopping: has("on_stopping"),
        config_changed: has("on_config_changed"),
        flag_changed: has("on_flag_changed"),
        module_loaded: has("on_module_loaded"),
        module_unloading: has("on_module_unloading"),
        instance_joined: has("on_instance_joined"),
        instance_left: has("on_instance_left"),
        other: has("on_other"),
    };
    shape.handlers.server_events.extend(functions);
    Ok(())
}

fn event_functions(
    table: &Table,
    known: &'static [&'static str],
) -> Result<Vec<(&'static str, Function)>, Wrong> {
    let mut functions = Vec::new();
    for (name, value) in entries(table, "events")? {
        let Some(event) = known.iter().find(|event| **event == name) else {
            let text = format!("there is no event `{name}`; {}", suggestion(&name, known));
            return Err(Wrong::from(text).at(|| place_of(&value)));
        };
        functions.push((
            *event,
            function(&value).map_err(|wrong| wrong.within(format_args!("`{name}`")))?,
        ));
    }
    Ok(functions)
}
