//! `@cohnect/json`: JSON for scripts. Decoding never raises; encoding raises on what JSON cannot say, and names its path.

use std::rc::Rc;

use cohnect_capabilities::Error;
use mlua::{Lua, LuaString, Table, Value};
use serde_json::Value as Json;

use crate::host::Host;
use crate::tables::{Form, NODES_MAX, Unwritten, Walk, look};

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
            // A metamethod may call this again and again where Luau does not look.
            look(0)?;
            let mut writer = Writer {
                host: &shared,
                text: Vec::new(),
                depth: 0,
                count: 0,
                walk: Walk::bounded(),
            };
            writer.value(&value).map_err(|unwritten| match unwritten {
                Unwritten::Whole(text) => mlua::Error::runtime(format!("json.encode: {text}")),
                Unwritten::Part(keys, text) => mlua::Error::runtime(format!(
                    "json.encode: value{} {text}",
                    Unwritten::path(keys)
                )),
                Unwritten::Luau(error) => error,
            })?;
            lua.create_string(writer.text)
        })?,
    )?;
    let shared = Rc::clone(host);
    table.raw_set(
        "decode",
        lua.create_function(move |lua, text: Value| {
            look(0)?;
            let (Value::String(_) | Value::Buffer(_)) = text else {
                return Err(mlua::Error::runtime(format!(
                    "json.decode: expected a string, got {}",
                    crate::convert::describe(&text)
                )));
            };
            // What is too long is not copied.
            let length = match &text {
                Value::String(text) => text.as_bytes().len(),
                Value::Buffer(buffer) => buffer.len(),
                _ => 0,
            };
            if length > TEXT_BYTES_MAX {
                let error = Error::limit("json-bytes", TEXT_BYTES_MAX as u64, length as u64);
                return Ok(Err(shared.error(lua, &error)?));
            }
            let bytes = match &text {
                Value::String(text) => text.as_bytes().to_vec(),
                Value::Buffer(buffer) => buffer.to_vec(),
                _ => Vec::new(),
            };
            let nodes = nodes(&bytes);
            if nodes > NODES_MAX {
                let error = Error::limit("json-values", NODES_MAX as u64, nodes as u64);
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

/// What is being written.
struct Writer<'a> {
    host: &'a Host,
    text: Vec<u8>,
    depth: usize,
    count: usize,
    walk: Walk,
}

impl Writer<'_> {
    fn value(&mut self, value: &Value) -> Result<(), Unwritten> {
        self.check_length(0)?;
        self.count += 1;
        look(self.count)?;
        if self.depth > DEPTH_MAX {
            return Err(Unwritten::Whole(format!(
                "deeper than {DEPTH_MAX} tables, or a circle"
            )));
        }
        match value {
            Value::Nil => self.text.extend_from_slice(b"null"),
            value if *value == Value::NULL => self.text.extend_from_slice(b"null"),
            Value::Boolean(on) => self
                .text
                .extend_from_slice(if *on { b"true" } else { b"false" }),
            Value::Integer(_) | Value::Number(_) => self.number(value)?,
            Value::String(string) => self.string(string)?,
            Value::Table(table) => {
                self.depth += 1;
                self.table(table)?;
                self.depth -= 1;
            }
            other => {
                return Err(Unwritten::here(format!(
                    "is a {}, which JSON cannot say",
                    other.type_name()
                )));
            }
        }
        Ok(())
    }

    /// Whether this much more still fits.
    fn check_length(&self, more: usize) -> Result<(), Unwritten> {
        if self.text.len().saturating_add(more) > TEXT_BYTES_MAX {
            return Err(Unwritten::Whole(format!(
                "more than {TEXT_BYTES_MAX} bytes"
            )));
        }
        Ok(())
    }

    fn number(&mut self, value: &Value) -> Result<(), Unwritten> {
        if let Ok(number) = crate::convert::whole(value) {
            self.text.extend_from_slice(number.to_string().as_bytes());
            return Ok(());
        }
        let number = value.as_number().unwrap_or(f64::NAN);
        match serde_json::Number::from_f64(number) {
            Some(number) => {
                self.text.extend_from_slice(number.to_string().as_bytes());
                Ok(())
            }
            None => Err(Unwritten::here(format!(
                "is {number}, which JSON cannot say"
            ))),
        }
    }

    fn string(&mut self, string: &LuaString) -> Result<(), Unwritten> {
        self.check_length(string.as_bytes().len())?;
        let string = string
            .to_str()
            .map_err(|_| Unwritten::here("is bytes that are no UTF-8".to_owned()))?;
        serde_json::to_writer(&mut self.text, &*string)
            .map_err(|error| Unwritten::Whole(error.to_string()))
    }

    fn table(&mut self, table: &Table) -> Result<(), Unwritten> {
        let marked = table.metatable();
        let as_object = marked.as_ref() == Some(&self.host.constants()?.object);
        let form = self.walk.form(table, as_object)?;
        match &*form {
            Form::List(length) => self.list(table, *length),
            Form::Map(pairs) => self.map(pairs),
        }
    }

    fn list(&mut self, table: &Table, length: usize) -> Result<(), Unwritten> {
        self.text.push(b'[');
        for n in 1..=length {
            if n > 1 {
                self.text.push(b',');
            }
            self.value(&table.raw_get::<Value>(n)?)
                .map_err(|unwritten| unwritten.under(&Value::Integer(n as i64)))?;
        }
        self.text.push(b']');
        Ok(())
    }

    fn map(&mut self, pairs: &[(Value, Value)]) -> Result<(), Unwritten> {
        self.text.push(b'{');
        for (n, (key, value)) in pairs.iter().enumerate() {
            if n > 0 {
                self.text.push(b',');
            }
            self.key(key)
                .and_then(|()| {
                    self.text.push(b':');
                    self.value(value)
                })
                .map_err(|unwritten| unwritten.under(key))?;
        }
        self.text.push(b'}');
        Ok(())
    }

    fn key(&mut self, key: &Value) -> Result<(), Unwritten> {
        match key {
            Value::String(name) => self.string(name),
            Value::Integer(_) | Value::Number(_) => {
                self.text.push(b'"');
                self.number(key)?;
                self.text.push(b'"');
                Ok(())
            }
            other => Err(Unwritten::here(format!(
                "has a {} for a key",
                other.type_name()
            ))),
        }
    }
}

/// At least as many values as a text holds, found without reading it: each but the first stands behind one of three signs, outside strings.
fn nodes(text: &[u8]) -> usize {
    let (mut count, mut quoted, mut escaped) = (1_usize, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' | b'[' | b'{' if !quoted => count += 1,
            _ => {}
        }
    }
    count
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

#[cfg(test)]
mod tests {
    use super::nodes;

    #[test]
    fn signs_in_strings_are_no_values() {
        for (text, count) in [
            ("1", 1),
            ("[[],[]]", 5),
            (r#"{"a,b":[1]}"#, 3),
            (r#"["\"[,", "\\", 1]"#, 4),
            (r#"["["#, 2),
        ] {
            assert_eq!(nodes(text.as_bytes()), count, "{text}");
        }
    }
}
