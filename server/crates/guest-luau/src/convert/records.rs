//! Records: tables with the fields' names in snake_case. Passed in, every field may be missing; an unknown one is an error.

use cohnect_capabilities::clients::{Addressed, ClientInfo, SendOptions};
use cohnect_capabilities::clock::CivilTime;
use cohnect_capabilities::feature_flags::Subject;
use cohnect_capabilities::modules::{ModuleInfo, ModuleKinds};
use cohnect_capabilities::state::{Entry, Item};
use cohnect_capabilities::{Client, ClientParts, Field};
use mlua::{Lua, Table, Value};

use super::{Budget, FromLuau, IntoLuau, Mismatch, field, seconds, weight};
use crate::host::Host;
use cohnect_host::nearest::suggestion;

/// The table of a record, whose keys are all known.
pub(crate) fn record<'a>(
    value: &'a Value,
    what: &str,
    known: &[&str],
) -> Result<Option<&'a Table>, Mismatch> {
    let table = match value {
        Value::Nil => return Ok(None),
        Value::Table(table) => table,
        other => return Err(Mismatch::expected(what, other)),
    };
    for pair in table.pairs::<Value, Value>() {
        let (key, _) = pair?;
        let name = match &key {
            Value::String(name) => name.to_string_lossy(),
            other => {
                return Err(Mismatch(format!(
                    "{what} has named fields, not [{}]",
                    super::describe(other)
                )));
            }
        };
        if !known.contains(&name.as_str()) {
            return Err(Mismatch(format!(
                "{what} has no field `{name}`; {}",
                suggestion(&name, known)
            )));
        }
    }
    Ok(Some(table))
}

impl FromLuau for SendOptions {
    const WHAT: &'static str = "the options of a packet";

    fn from_luau(value: &Value) -> Result<Self, Mismatch> {
        let fields = &["delivery", "channel", "version"];
        let Some(table) = record(value, Self::WHAT, fields)? else {
            return Ok(Self::default());
        };
        Ok(Self {
            delivery: field(table, "delivery")?,
            channel: field(table, "channel")?,
            version: field(table, "version")?,
        })
    }
}

impl FromLuau for Addressed {
    const WHAT: &'static str = "an item such as { to = id, payload = bytes }";

    fn from_luau(value: &Value) -> Result<Self, Mismatch> {
        match record(value, Self::WHAT, &["to", "payload"])? {
            Some(table) => Ok(Self {
                to: field(table, "to")?,
                payload: field(table, "payload")?,
            }),
            None => Err(Mismatch::expected("an item", value)),
        }
    }

    fn weight(value: &Value) -> usize {
        let payload = match value {
            Value::Table(table) => table.raw_get("payload").unwrap_or(Value::Nil),
            _ => Value::Nil,
        };
        weight(value) + weight(&payload)
    }
}

impl FromLuau for Subject {
    const WHAT: &'static str = "a subject";

    fn from_luau(value: &Value) -> Result<Self, Mismatch> {
        let fields = &["client", "user", "attributes"];
        let Some(table) = record(value, Self::WHAT, fields)? else {
            return Ok(Self::default());
        };
        Ok(Self {
            client: field(table, "client")?,
            user: field(table, "user")?,
            attributes: field(table, "attributes")?,
        })
    }
}

/// Fields beside a log line, labels, attributes: what a call can name of them.
const FIELDS_MAX: usize = 256;

impl FromLuau for Vec<Field> {
    const WHAT: &'static str = "a map of fields";

    fn from_luau(value: &Value) -> Result<Self, Mismatch> {
        let table = match value {
            Value::Nil => return Ok(Self::new()),
            Value::Table(table) => table,
            other => return Err(Mismatch::expected(Self::WHAT, other)),
        };
        let (mut fields, mut budget) = (Self::new(), Budget::default());
        for pair in table.pairs::<Value, Value>() {
            let (key, value) = pair?;
            let Value::String(key) = key else {
                return Err(Mismatch::expected("a field's name", &key));
            };
            if fields.len() == FIELDS_MAX {
                return Err(Mismatch(format!("more than {FIELDS_MAX} fields")));
            }
            budget.take(key.as_bytes().len() + weight(&value))?;
            let key = key.to_string_lossy();
            let value = FromLuau::from_luau(&value).map_err(|m: Mismatch| m.within(&key))?;
            fields.push(Field { key, value });
        }
        // A map has no order; a log line that reads the same each time has.
        fields.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(fields)
    }
}

impl FromLuau for ClientParts {
    const WHAT: &'static str = "`wants`";

    fn from_luau(value: &Value) -> Result<Self, Mismatch> {
        let Some(table) = record(value, Self::WHAT, &["user", "tags"])? else {
            return Ok(Self::default());
        };
        Ok(Self {
            user: field(table, "user")?,
            tags: field(table, "tags")?,
        })
    }
}

impl IntoLuau for &Client {
    fn into_luau(self, lua: &Lua, host: &Host) -> mlua::Result<Value> {
        let constants = host.constants()?;
        if self.user.is_none() && self.tags.is_empty() {
            return constants.recall.call(host.slot(lua, self.id)?);
        }
        let tags = lua.create_table_with_capacity(self.tags.len(), 0)?;
        for (n, tag) in self.tags.iter().enumerate() {
            tags.raw_set(n + 1, &**tag)?;
        }
        let id = lua.create_string(self.id.text())?;
        constants.full_client.call((id, self.user.as_deref(), tags))
    }
}

impl IntoLuau for ClientInfo {
    fn into_luau(self, lua: &Lua, host: &Host) -> mlua::Result<Value> {
        let table = lua.create_table_with_capacity(0, 8)?;
        table.raw_set("id", self.id.into_luau(lua, host)?)?;
        table.raw_set("user", self.user)?;
        table.raw_set("tags", self.tags)?;
        table.raw_set("address", self.address)?;
        table.raw_set("connected_at", seconds(self.connected_at))?;
        table.raw_set("last_seen_at", seconds(self.last_seen_at))?;
        table.raw_set("rtt", seconds(self.rtt))?;
        table.raw_set("protocol_version", self.protocol_version)?;
        Ok(Value::Table(table))
    }
}

impl IntoLuau for CivilTime {
    fn into_luau(self, lua: &Lua, _host: &Host) -> mlua::Result<Value> {
        let table = lua.create_table_with_capacity(0, 8)?;
        table.raw_set("year", self.year)?;
        table.raw_set("month", self.month)?;
        table.raw_set("day", self.day)?;
        table.raw_set("hour", self.hour)?;
        table.raw_set("minute", self.minute)?;
        table.raw_set("second", self.second)?;
        table.raw_set("weekday", self.weekday)?;
        table.raw_set("offset_seconds", self.offset_seconds)?;
        Ok(Value::Table(table))
    }
}

impl IntoLuau for Entry {
    fn into_luau(self, lua: &Lua, host: &Host) -> mlua::Result<Value> {
        let table = lua.create_table_with_capacity(0, 2)?;
        table.raw_set("value", self.value.into_luau(lua, host)?)?;
        table.raw_set("version", self.version.into_luau(lua, host)?)?;
        Ok(Value::Table(table))
    }
}

impl IntoLuau for Item {
    fn into_luau(self, lua: &Lua, host: &Host) -> mlua::Result<Value> {
        let table = lua.create_table_with_capacity(0, 3)?;
        table.raw_set("key", self.key)?;
        table.raw_set("value", self.value.into_luau(lua, host)?)?;
        table.raw_set("version", self.version.into_luau(lua, host)?)?;
        Ok(Value::Table(table))
    }
}

impl IntoLuau for ModuleKinds {
    fn into_luau(self, lua: &Lua, _host: &Host) -> mlua::Result<Value> {
        let table = lua.create_table()?;
        let flags = [
            ("pipeline", self.pipeline),
            ("action", self.action),
            ("background", self.background),
            ("cron", self.cron),
        ];
        for (name, on) in flags {
            if on {
                table.raw_set(name, true)?;
            }
        }
        Ok(Value::Table(table))
    }
}

impl IntoLuau for ModuleInfo {
    fn into_luau(self, lua: &Lua, host: &Host) -> mlua::Result<Value> {
        let table = lua.create_table_with_capacity(0, 5)?;
        table.raw_set("name", &*self.name)?;
        table.raw_set("kinds", self.kinds.into_luau(lua, host)?)?;
        table.raw_set("version", self.version)?;
        table.raw_set("generation", self.generation.into_luau(lua, host)?)?;
        table.raw_set("healthy", self.healthy)?;
        Ok(Value::Table(table))
    }
}
