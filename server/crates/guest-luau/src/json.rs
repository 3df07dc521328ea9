//! `@cohnect/json`: JSON for scripts. Decoding never raises; encoding raises on what JSON cannot say, and names its path.

use std::rc::Rc;

use cohnect_capabilities::Error;
use mlua::{Lua, LuaString, Table, Value};
use serde_json::Value as Json;

use crate::host::Host;

/// Largest text in bytes, either way: sixteen messages; a text is worked on without a look at the clock.
const TEXT_BYTES_MAX: usize = 1024 * 1024;
/// Deepest nesting, either way.
const DEPTH_MAX: usize = 64;

/// A metatable that says what an empty table is.
pub(crate) fn marker(lua: &Lua, name: &str) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("__metatable", name)?;
    table.set_readonly(true);
    Ok(table)
}

/// The table that `require("@cohnect/json")` returns.
pub(crate) fn module(lua: &Lua, host: &Rc<Host>) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    let shared = Rc::clone(host);
    table.raw_set(
        "encode",
        lua.create_function(move |lua, value: Value| {
            let mut text = Vec::new();
            encode(&shared, &value, &mut text, &mut Path::default())?;
            lua.create_string(text)
        })?,
    )?;
    let shared = Rc::clone(host);
    table.raw_set(
        "decode",
        lua.create_function(move |lua, text: Value| {
            let (Value::String(_) | Value::Buffer(_)) = text else {
                return Err(mlua::Error::runtime(format!(
                    "json.decode: expected a string, got {}",
                    crate::convert::describe(&text)
                )));
            };
            let bytes = match &text {
                Value::String(text) => text.as_bytes().to_vec(),
                Value::Buffer(buffer) => buffer.to_vec(),
                _ => Vec::new(),
            };
            if bytes.len() > TEXT_BYTES_MAX {
                let error = Error::limit("json-bytes", TEXT_BYTES_MAX as u64, bytes.len() as u64);
                return Ok(Err(shared.error(lua, &error)?));
            }
            match serde_json::from_slice::<Json>(&bytes) {
                Ok(json) => Ok(Ok(decode(&shared, lua, &json)?)),
                Err(error) => Ok(Err(
                    shared.error(lua, &Error::invalid(format!("not JSON: {error}")))?
                )),
            }
        })?,
    )?;
    for name in ["array", "object"] {
        let shared = Rc::clone(host);
        table.raw_set(
            name,
            lua.create_function(move |_, table: Table| {
                let constants = shared.constants()?;
                let marker = if name == "array" {
                    &constants.array
                } else {
                    &constants.object
                };
                table.set_metatable(Some(marker.clone()))?;
                Ok(table)
            })?,
        )?;
    }
    table.raw_set("null", Value::NULL)?;
    table.set_readonly(true);
    Ok(table)
}

/// Where in a value an error is.
#[derive(Default)]
pub(crate) struct Path(Vec<String>);

impl Path {
    pub(crate) fn push(&mut self, key: &Value) {
        self.0.push(match key {
            Value::String(key) => format!(".{}", key.to_string_lossy()),
            other => format!("[{}]", crate::convert::describe(other)),
        });
    }

    pub(crate) fn pop(&mut self) {
        self.0.pop();
    }

    pub(crate) const fn depth(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn show(&self) -> String {
        self.0.concat()
    }
}

/// Whether a table is a list: its keys are 1 to n.
pub(crate) fn is_list(table: &Table) -> mlua::Result<Option<usize>> {
    let length = table.raw_len();
    let mut count = 0_usize;
    for pair in table.pairs::<Value, Value>() {
        let (key, _) = pair?;
        match key {
            Value::Integer(n) if n >= 1 && n as usize <= length => count += 1,
            Value::Number(n) if n.fract() == 0.0 && n >= 1.0 && n <= length as f64 => count += 1,
            _ => return Ok(None),
        }
    }
    Ok((count == length).then_some(length))
}

fn encode(host: &Host, value: &Value, text: &mut Vec<u8>, path: &mut Path) -> mlua::Result<()> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(mlua::Error::runtime(format!(
            "json.encode: more than {TEXT_BYTES_MAX} bytes"
        )));
    }
    if path.depth() > DEPTH_MAX {
        return Err(mlua::Error::runtime(format!(
            "json.encode: deeper than {DEPTH_MAX} tables, or a circle"
        )));
    }
    match value {
        Value::Nil => text.extend_from_slice(b"null"),
        value if *value == Value::NULL => text.extend_from_slice(b"null"),
        Value::Boolean(on) => text.extend_from_slice(if *on { b"true" } else { b"false" }),
        Value::Integer(_) | Value::Number(_) => encode_number(value, text, path)?,
        Value::String(string) => encode_text(string, text, path)?,
        Value::Table(table) => encode_table(host, table, text, path)?,
        other => {
            return Err(mlua::Error::runtime(format!(
                "json.encode: value{} is a {}, which JSON cannot say",
                path.show(),
                other.type_name()
            )));
        }
    }
    Ok(())
}

fn encode_number(value: &Value, text: &mut Vec<u8>, path: &Path) -> mlua::Result<()> {
    if let Ok(number) = crate::convert::whole(value) {
        text.extend_from_slice(number.to_string().as_bytes());
        return Ok(());
    }
    let number = value.as_number().unwrap_or(f64::NAN);
    match serde_json::Number::from_f64(number) {
        Some(number) => {
            text.extend_from_slice(number.to_string().as_bytes());
            Ok(())
        }
        None => Err(mlua::Error::runtime(format!(
            "json.encode: value{} is {number}, which JSON cannot say",
            path.show()
        ))),
    }
}

fn encode_text(string: &LuaString, text: &mut Vec<u8>, path: &Path) -> mlua::Result<()> {
    let string = string.to_str().map_err(|_| {
        mlua::Error::runtime(format!(
            "json.encode: value{} is bytes that are no UTF-8",
            path.show()
        ))
    })?;
    serde_json::to_writer(text, &*string)
        .map_err(|error| mlua::Error::runtime(format!("json.encode: {error}")))
}

fn encode_table(
    host: &Host,
    table: &Table,
    text: &mut Vec<u8>,
    path: &mut Path,
) -> mlua::Result<()> {
    let constants = host.constants()?;
    let marked = table.metatable();
    let as_object = marked.as_ref() == Some(&constants.object);
    let list = if as_object { None } else { is_list(table)? };
    if let Some(length) = list {
        text.push(b'[');
        for n in 1..=length {
            if n > 1 {
                text.push(b',');
            }
            let key = Value::Integer(n as i64);
            path.push(&key);
            encode(host, &table.raw_get::<Value>(n)?, text, path)?;
            path.pop();
        }
        text.push(b']');
        return Ok(());
    }
    text.push(b'{');
    let mut first = true;
    for pair in table.pairs::<Value, Value>() {
        let (key, value) = pair?;
        path.push(&key);
        if !core::mem::take(&mut first) {
            text.push(b',');
        }
        match &key {
            Value::String(name) => encode_text(name, text, path)?,
            Value::Integer(_) | Value::Number(_) => {
                text.push(b'"');
                encode_number(&key, text, path)?;
                text.push(b'"');
            }
            other => {
                return Err(mlua::Error::runtime(format!(
                    "json.encode: value{} has a {} for a key",
                    path.show(),
                    other.type_name()
                )));
            }
        }
        text.push(b':');
        encode(host, &value, text, path)?;
        path.pop();
    }
    text.push(b'}');
    Ok(())
}

/// JSON as Luau's values: `null` in a list is `json.null`, so that the list keeps its length; elsewhere it is nil. serde_json bounds the depth.
fn decode(host: &Host, lua: &Lua, json: &Json) -> mlua::Result<Value> {
    Ok(match json {
        Json::Null => Value::Nil,
        Json::Bool(on) => Value::Boolean(*on),
        Json::Number(number) => Value::Number(number.as_f64().unwrap_or(f64::NAN)),
        Json::String(text) => Value::String(lua.create_string(text)?),
        Json::Array(items) => {
            let table = lua.create_table_with_capacity(items.len(), 0)?;
            for (n, item) in items.iter().enumerate() {
                let value = match item {
                    Json::Null => Value::NULL,
                    Json::Bool(_)
                    | Json::Number(_)
                    | Json::String(_)
                    | Json::Array(_)
                    | Json::Object(_) => decode(host, lua, item)?,
                };
                table.raw_set(n + 1, value)?;
            }
            if items.is_empty() {
                table.set_metatable(Some(host.constants()?.array.clone()))?;
            }
            Value::Table(table)
        }
        Json::Object(fields) => {
            let table = lua.create_table_with_capacity(0, fields.len())?;
            for (name, value) in fields {
                table.raw_set(name.as_str(), decode(host, lua, value)?)?;
            }
            // Also when all that it had is null, which a table does not hold.
            if fields.values().all(Json::is_null) {
                table.set_metatable(Some(host.constants()?.object.clone()))?;
            }
            Value::Table(table)
        }
    })
}
