//! Actions, opcodes and topics with their options: the parts of a module's table that the host routes by.

use std::sync::Arc;

use cohnect_capabilities::{ClientParts, Field};
use cohnect_host::export::{Access, ActionInfo, PacketClaim, TopicClaim};
use mlua::{Function, Table, Value};

use super::{Action, Shape, Topics, Wrong, entries, function, wrong};
use crate::convert::{FromLuau, Mismatch, describe, field};
use crate::nearest::suggestion;

/// What was said about handlers with `define`; none when it was never required.
pub(super) struct Options(pub(super) Option<Function>);

impl Options {
    /// The options of a handler, if they were given with `define.KIND`.
    fn of(&self, handler: &Function, kind: &str) -> Result<Option<Table>, Wrong> {
        let Some(lookup) = &self.0 else {
            return Ok(None);
        };
        let (found, options): (Option<String>, Option<Table>) =
            lookup.call(handler).map_err(|error| error.to_string())?;
        match found {
            None => Ok(None),
            Some(found) if found == kind => Ok(options),
            Some(found) => Err(format!(
                "made with define.{found}, where define.{kind} belongs"
            )),
        }
    }
}

/// Longest name of an action in bytes: what a `name8` of the wire holds.
const NAME_BYTES_MAX: usize = 255;

impl FromLuau for Access {
    fn from_luau(value: &Value) -> Result<Self, Mismatch> {
        let name: Option<String> = FromLuau::from_luau(value)?;
        Ok(match name.as_deref() {
            None | Some("internal") => Self::Internal,
            Some("members") => Self::Members,
            Some("users") => Self::Users,
            Some("clients") => Self::Clients,
            Some(other) => {
                return Err(Mismatch(format!(
                    "there is no access \"{other}\"; {}",
                    suggestion(other, &["internal", "members", "users", "clients"])
                )));
            }
        })
    }
}

pub(super) fn actions(shape: &mut Shape, options: &Options, table: &Table) -> Result<(), Wrong> {
    for pair in table.pairs::<Value, Value>() {
        let (key, _) = pair.map_err(|error| error.to_string())?;
        if !matches!(key, Value::String(_)) {
            return Err(format!("an action has a name, not {}", describe(&key)));
        }
    }
    for (name, value) in entries(table, "actions")? {
        action(shape, options, table, &name, &value)
            .map_err(|wrong| format!("`{name}`: {wrong}"))?;
    }
    Ok(())
}

fn action(
    shape: &mut Shape,
    options: &Options,
    table: &Table,
    name: &str,
    value: &Value,
) -> Result<(), Wrong> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(format!("an action's name has 1 to {NAME_BYTES_MAX} bytes"));
    }
    let handler = function(value)?;
    let name: Arc<str> = name.into();
    let mut info = ActionInfo {
        name: Arc::clone(&name),
        ..ActionInfo::default()
    };
    if let Some(options) = options.of(&handler, "action")? {
        info.access = field(&options, "access").map_err(wrong)?;
        info.requires = field(&options, "requires").map_err(wrong)?;
        info.wants = field::<ClientParts>(&options, "wants").map_err(wrong)?;
        info.media_type = field(&options, "media_type").map_err(wrong)?;
        info.input_schema = field(&options, "input_schema").map_err(wrong)?;
        info.output_schema = field(&options, "output_schema").map_err(wrong)?;
        info.options = field::<Vec<Field>>(&options, "options").map_err(wrong)?;
    }
    shape.exports.actions.push(info);
    // The key itself is the string that the request carries: nothing is made anew for a call.
    let key = table
        .pairs::<Value, Value>()
        .filter_map(Result::ok)
        .find_map(|(key, _)| match key {
            Value::String(key) if key.as_bytes() == name.as_bytes() => Some(key),
            _ => None,
        })
        .ok_or("its name is no text")?;
    shape.handlers.actions.insert(
        name,
        Action {
            name: key,
            function: handler,
        },
    );
    Ok(())
}

pub(super) fn packets(shape: &mut Shape, options: &Options, table: &Table) -> Result<(), Wrong> {
    let mut claims = Vec::new();
    for pair in table.pairs::<Value, Value>() {
        let (key, value) = pair.map_err(|error| error.to_string())?;
        let opcode: u16 = match &key {
            Value::Integer(_) | Value::Number(_) => FromLuau::from_luau(&key).map_err(wrong)?,
            other => return Err(format!("an opcode is a number, not {}", describe(other))),
        };
        if opcode < 0x0100 {
            return Err(format!(
                "opcodes of modules begin at 0x0100, this one is {opcode:#06x}"
            ));
        }
        let place = |wrong: Wrong| format!("[{opcode:#06x}]: {wrong}");
        let handler = function(&value).map_err(place)?;
        claims.push(packet(options, opcode, &handler).map_err(place)?);
        shape.handlers.packets.insert(opcode, handler);
    }
    claims.sort_by_key(|claim| claim.first);
    shape.exports.packets = claims;
    Ok(())
}

fn packet(options: &Options, opcode: u16, handler: &Function) -> Result<PacketClaim, Wrong> {
    let mut claim = PacketClaim {
        first: opcode,
        last: opcode,
        ..PacketClaim::default()
    };
    if let Some(options) = options.of(handler, "packet")? {
        claim.version = field(&options, "version").map_err(wrong)?;
        claim.order = field(&options, "order").map_err(wrong)?;
        claim.requires = field(&options, "requires").map_err(wrong)?;
        claim.wants = field(&options, "wants").map_err(wrong)?;
        claim.options = field::<Vec<Field>>(&options, "options").map_err(wrong)?;
    }
    Ok(claim)
}

pub(super) fn broadcasts(shape: &mut Shape, options: &Options, table: &Table) -> Result<(), Wrong> {
    shape.exports.broadcasts = topics(&mut shape.handlers.broadcasts, options, table, "broadcast")?;
    Ok(())
}

pub(super) fn streams(shape: &mut Shape, options: &Options, table: &Table) -> Result<(), Wrong> {
    shape.exports.streams = topics(&mut shape.handlers.streams, options, table, "stream")?;
    Ok(())
}

fn topics(
    into: &mut Topics,
    options: &Options,
    table: &Table,
    kind: &str,
) -> Result<Vec<TopicClaim>, Wrong> {
    let mut claims = Vec::new();
    for (topic, value) in entries(table, "topics")? {
        let place = |wrong: Wrong| format!("\"{topic}\": {wrong}");
        let handler = function(&value).map_err(place)?;
        let mut claim = TopicClaim {
            topic: topic.clone(),
            ..TopicClaim::default()
        };
        if let Some(options) = options.of(&handler, kind).map_err(place)? {
            claim.order = field(&options, "order").map_err(|m| place(wrong(m)))?;
            claim.requires = field(&options, "requires").map_err(|m| place(wrong(m)))?;
            claim.wants = field(&options, "wants").map_err(|m| place(wrong(m)))?;
            claim.options =
                field::<Vec<Field>>(&options, "options").map_err(|m| place(wrong(m)))?;
        }
        claims.push(claim);
        into.insert(&topic, handler);
    }
    Ok(claims)
}
