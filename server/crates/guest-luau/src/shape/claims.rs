//! Actions, opcodes and topics with their options: the parts of a module's table that the host routes by.

use std::sync::Arc;

use cohnect_capabilities::{ClientParts, Field};
use cohnect_host::catalog::PACKET_CLAIMS_MAX;
use cohnect_host::export::{Access, ActionInfo, PacketClaim, TopicClaim};
use mlua::{Function, Table, Value};

use super::{Action, ENTRIES_MAX, Shape, Topics, Wrong, entries, function, topic_entries};
use crate::convert::{FromLuau, Mismatch, describe, field};
use crate::place::Place;
use cohnect_host::nearest::suggestion;

/// What was said about handlers with `define`; none when it was never required.
pub(super) struct Options(pub(super) Option<Function>);

/// What was said about one handler.
struct Declared {
    kind: String,
    options: Option<Table>,
    place: Option<Place>,
}

impl Options {
    fn declared(&self, handler: &Function) -> mlua::Result<Option<Declared>> {
        let Some(lookup) = &self.0 else {
            return Ok(None);
        };
        let (kind, options, source, line): (_, _, Option<String>, _) = lookup.call(handler)?;
        let kind: Option<String> = kind;
        Ok(kind.map(|kind| Declared {
            kind,
            options,
            place: Place::new(source.as_deref(), line),
        }))
    }

    /// The options of a handler, if they were given with `define.KIND`.
    fn of(&self, handler: &Function, kind: &str) -> Result<Option<Table>, Wrong> {
        match self.declared(handler)? {
            None => Ok(None),
            Some(found) if found.kind == kind => Ok(found.options),
            Some(found) => Err(format!(
                "made with define.{}, where define.{kind} belongs",
                found.kind
            )
            .into()),
        }
    }

    /// Where a value stands: a handler where its options were given or else where it begins, and a table where the first of its handlers does.
    pub(super) fn place(&self, value: &Value) -> Option<Place> {
        match value {
            Value::Function(handler) => self
                .declared(handler)
                .ok()
                .flatten()
                .and_then(|declared| declared.place)
                .or_else(|| Place::of_function(handler)),
            Value::Table(table) => table
                .pairs::<Value, Value>()
                .take(ENTRIES_MAX)
                .filter_map(|pair| match pair {
                    Ok((_, value @ Value::Function(_))) => self.place(&value),
                    _ => None,
                })
                .min(),
            _ => None,
        }
    }
}

/// Longest name of an action in bytes: what a `name8` of the wire holds.
const NAME_BYTES_MAX: usize = 255;

impl FromLuau for Access {
    const WHAT: &'static str = "an access by name";

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
        let (key, _) = pair?;
        if !matches!(key, Value::String(_)) {
            return Err(format!("an action has a name, not {}", describe(&key)).into());
        }
    }
    for (name, value) in entries(table, "actions")? {
        action(shape, options, table, &name, &value).map_err(|wrong| {
            wrong
                .within(format_args!("`{name}`"))
                .at(|| options.place(&value))
        })?;
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
        return Err(format!("an action's name has 1 to {NAME_BYTES_MAX} bytes").into());
    }
    let handler = function(value)?;
    let name: Arc<str> = name.into();
    let mut info = ActionInfo {
        name: Arc::clone(&name),
        ..ActionInfo::default()
    };
    if let Some(options) = options.of(&handler, "action")? {
        info.access = field(&options, "access")?;
        info.requires = field(&options, "requires")?;
        info.wants = field::<ClientParts>(&options, "wants")?;
        info.media_type = field(&options, "media_type")?;
        info.input_schema = field(&options, "input_schema")?;
        info.output_schema = field(&options, "output_schema")?;
        info.options = field::<Vec<Field>>(&options, "options")?;
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
        let (key, value) = pair?;
        if claims.len() == PACKET_CLAIMS_MAX {
            return Err(format!("more than {PACKET_CLAIMS_MAX} opcodes").into());
        }
        let opcode: u16 = match &key {
            Value::Integer(_) | Value::Number(_) => FromLuau::from_luau(&key)?,
            other => return Err(format!("an opcode is a number, not {}", describe(other)).into()),
        };
        if opcode < 0x0100 {
            let text = format!("opcodes of modules begin at 0x0100, this one is {opcode:#06x}");
            return Err(Wrong::from(text).at(|| options.place(&value)));
        }
        let place = |wrong: Wrong| {
            wrong
                .within(format_args!("[{opcode:#06x}]"))
                .at(|| options.place(&value))
        };
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
        claim.version = field(&options, "version")?;
        claim.order = field(&options, "order")?;
        claim.requires = field(&options, "requires")?;
        claim.wants = field(&options, "wants")?;
        claim.options = field::<Vec<Field>>(&options, "options")?;
    }
    Ok(claim)
}

pub(super) fn broadcasts(shape: &mut Shape, options: &Options, table: &Table) -> Result<(), Wrong> {
    (shape.exports.broadcasts, shape.handlers.broadcasts) = topics(options, table, "broadcast")?;
    Ok(())
}

pub(super) fn streams(shape: &mut Shape, options: &Options, table: &Table) -> Result<(), Wrong> {
    (shape.exports.streams, shape.handlers.streams) = topics(options, table, "stream")?;
    Ok(())
}

fn topics(
    options: &Options,
    table: &Table,
    kind: &str,
) -> Result<(Vec<TopicClaim>, Topics), Wrong> {
    let (mut claims, mut handlers) = (Vec::new(), Vec::new());
    for (topic, value) in topic_entries(table)? {
        let (claim, handler) = topic_claim(options, kind, &topic, &value).map_err(|wrong| {
            wrong
                .within(format_args!("\"{topic}\""))
                .at(|| options.place(&value))
        })?;
        claims.push(claim);
        handlers.push((topic, handler));
    }
    Ok((claims, handlers.into_iter().collect()))
}

fn topic_claim(
    options: &Options,
    kind: &str,
    topic: &str,
    value: &Value,
) -> Result<(TopicClaim, Function), Wrong> {
    let handler = function(value)?;
    let mut claim = TopicClaim {
        topic: topic.to_owned(),
        ..TopicClaim::default()
    };
    if let Some(options) = options.of(&handler, kind)? {
        claim.order = field(&options, "order")?;
        claim.requires = field(&options, "requires")?;
        claim.wants = field(&options, "wants")?;
        claim.options = field::<Vec<Field>>(&options, "options")?;
    }
    Ok((claim, handler))
}
