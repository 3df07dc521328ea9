//! MessagePack: `@cohnect/msgpack` for scripts, and the form in which `keep` goes over a swap.
//!
//! Without shared tables both are plain MessagePack that serde reads: lists are arrays, other tables are maps (an empty table is an empty array), whole
//! numbers up to 2^53 are integers, text is str, strings that are no UTF-8 are bin. `keep` adds two extension types:
//! - **1**: a table or buffer that was written before. Its four bytes are a number, big-endian: arrays, maps and buffers are counted from 0 in the order in
//!   which they begin, the kept table itself being 0. So circles and shared tables come back as they were.
//! - **2**: a Luau buffer's bytes.

use std::rc::Rc;

use cohnect_capabilities::Error;
use mlua::{Lua, Table, Value};
use rmp::Marker;
use rmp::encode as write;
use rustc_hash::FxHashMap;

use crate::convert::{EXACT_MAX, describe, whole};
use crate::host::Host;
use crate::json::{Path, is_list};

/// Largest text of a script in bytes, either way, as for JSON.
const BYTES_MAX: usize = 1024 * 1024;
/// Largest snapshot in bytes: four times the memory of a replica with the default.
const SNAPSHOT_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Deepest nesting: each level is a frame of ours on a home's stack.
const DEPTH_MAX: usize = 128;

const SHARED: i8 = 1;
const BUFFER: i8 = 2;

/// The table that `require("@cohnect/msgpack")` returns.
pub(crate) fn module(lua: &Lua, host: &Rc<Host>) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.raw_set(
        "encode",
        lua.create_function(|lua, value: Value| {
            let mut writer = Writer::new("value", BYTES_MAX, false);
            writer
                .value(&value)
                .map_err(|text| mlua::Error::runtime(format!("msgpack.encode: {text}")))?;
            lua.create_string(writer.out)
        })?,
    )?;
    let host = Rc::clone(host);
    table.raw_set(
        "decode",
        lua.create_function(move |lua, bytes: Value| {
            let bytes = match &bytes {
                Value::String(text) => text.as_bytes().to_vec(),
                Value::Buffer(buffer) => buffer.to_vec(),
                other => {
                    return Err(mlua::Error::runtime(format!(
                        "msgpack.decode: expected a string, got {}",
                        describe(other)
                    )));
                }
            };
            if bytes.len() > BYTES_MAX {
                let error = Error::limit("msgpack-bytes", BYTES_MAX as u64, bytes.len() as u64);
                return Ok(Err(host.error(lua, &error)?));
            }
            let mut reader = Reader::new(lua, &bytes, false);
            match reader.whole() {
                Ok(value) => Ok(Ok(value)),
                Err(Bad::Form(text)) => Ok(Err(host.error(lua, &Error::invalid(text))?)),
                Err(Bad::Luau(error)) => Err(error),
            }
        })?,
    )?;
    table.set_readonly(true);
    Ok(table)
}

/// A kept table as bytes.
///
/// # Errors
/// What cannot be kept, by its path.
pub(crate) fn encode_kept(table: &Table) -> Result<Vec<u8>, String> {
    let mut writer = Writer::new("keep", SNAPSHOT_BYTES_MAX, true);
    writer.value(&Value::Table(table.clone()))?;
    Ok(writer.out)
}

/// The value that bytes of [`encode_kept`], or of a component's serde, mean. With `root`, the outermost table is that one, emptied before.
pub(crate) fn decode_kept(lua: &Lua, bytes: &[u8], root: Option<&Table>) -> Result<Value, Bad> {
    let mut reader = Reader::new(lua, bytes, true);
    reader.root = root.cloned();
    reader.whole()
}

struct Writer {
    out: Vec<u8>,
    path: Path,
    name: &'static str,
    bytes_max: usize,
    /// The number of each table and buffer that was written, where they may be shared.
    seen: Option<FxHashMap<*const core::ffi::c_void, u32>>,
}

impl Writer {
    fn new(name: &'static str, bytes_max: usize, shared: bool) -> Self {
        Self {
            out: Vec::new(),
            path: Path::default(),
            name,
            bytes_max,
            seen: shared.then(FxHashMap::default),
        }
    }

    fn value(&mut self, value: &Value) -> Result<(), String> {
        if self.out.len() > self.bytes_max {
            return Err(format!("more than {} bytes", self.bytes_max));
        }
        if self.path.depth() > DEPTH_MAX {
            return Err(format!(
                "`{}…` is deeper than {DEPTH_MAX} tables{}",
                self.name,
                if self.seen.is_some() {
                    ""
                } else {
                    ", or a circle"
                }
            ));
        }
        // Writing into a vector does not fail.
        let written = match value {
            Value::Nil => write::write_nil(&mut self.out).map_err(drop),
            value if *value == Value::NULL && self.seen.is_none() => {
                write::write_nil(&mut self.out).map_err(drop)
            }
            Value::Boolean(on) => write::write_bool(&mut self.out, *on).map_err(drop),
            Value::Integer(_) | Value::Number(_) => self.number(value),
            Value::String(text) => match text.to_str() {
                Ok(text) => write::write_str(&mut self.out, &text).map_err(drop),
                Err(_) => write::write_bin(&mut self.out, &text.as_bytes()).map_err(drop),
            },
            Value::Buffer(buffer) => {
                if self.again(value) {
                    return Ok(());
                }
                let bytes = buffer.to_vec();
                if self.seen.is_some() {
                    let meta = write::write_ext_meta(&mut self.out, bytes.len() as u32, BUFFER);
                    self.out.extend_from_slice(&bytes);
                    meta.map(drop).map_err(drop)
                } else {
                    write::write_bin(&mut self.out, &bytes).map_err(drop)
                }
            }
            Value::Table(table) => return self.table(value, table),
            other => {
                return Err(format!(
                    "`{}{}` is a {}, which cannot be {}",
                    self.name,
                    self.path.show(),
                    other.type_name(),
                    if self.seen.is_some() {
                        "kept"
                    } else {
                        "encoded"
                    }
                ));
            }
        };
        written.map_err(|()| "out of memory".to_owned())
    }

    fn number(&mut self, value: &Value) -> Result<(), ()> {
        let real = value
            .as_number()
            .or_else(|| value.as_integer().map(|n| n as f64))
            .unwrap_or(0.0);
        match whole(value) {
            // The sign of a zero is part of the number.
            Ok(number) if number != 0 || real.is_sign_positive() => {
                write::write_sint(&mut self.out, number)
                    .map(drop)
                    .map_err(drop)
            }
            _ => write::write_f64(&mut self.out, real).map_err(drop),
        }
    }

    /// Writes where the thing was written before; false when this is the first time.
    fn again(&mut self, value: &Value) -> bool {
        let Some(seen) = &mut self.seen else {
            return false;
        };
        let next = seen.len() as u32;
        match seen.entry(value.to_pointer()) {
            std::collections::hash_map::Entry::Occupied(entry) => {
                let number = *entry.get();
                let _ = write::write_ext_meta(&mut self.out, 4, SHARED);
                self.out.extend_from_slice(&number.to_be_bytes());
                true
            }
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(next);
                false
            }
        }
    }

    fn table(&mut self, value: &Value, table: &Table) -> Result<(), String> {
        if self.again(value) {
            return Ok(());
        }
        let luau = |error: mlua::Error| error.to_string();
        if let Some(length) = is_list(table).map_err(luau)? {
            let _ = write::write_array_len(&mut self.out, length as u32);
            for n in 1..=length {
                self.path.push(&Value::Integer(n as i64));
                self.value(&table.raw_get::<Value>(n).map_err(luau)?)?;
                self.path.pop();
            }
            return Ok(());
        }
        let pairs = table
            .pairs::<Value, Value>()
            .collect::<mlua::Result<Vec<_>>>()
            .map_err(luau)?;
        let _ = write::write_map_len(&mut self.out, pairs.len() as u32);
        for (key, value) in &pairs {
            self.path.push(key);
            if !matches!(
                key,
                Value::String(_) | Value::Integer(_) | Value::Number(_) | Value::Boolean(_)
            ) {
                return Err(format!(
                    "`{}{}` has a {} for its key; keys are text, numbers and booleans",
                    self.name,
                    self.path.show(),
                    key.type_name()
                ));
            }
            self.value(key)?;
            self.value(value)?;
            self.path.pop();
        }
        Ok(())
    }
}

/// Why bytes could not be read.
pub(crate) enum Bad {
    /// They are not what they should be.
    Form(String),
    /// Luau could not make the values: out of memory.
    Luau(mlua::Error),
}

impl From<mlua::Error> for Bad {
    fn from(error: mlua::Error) -> Self {
        Self::Luau(error)
    }
}

struct Reader<'a> {
    lua: &'a Lua,
    bytes: &'a [u8],
    depth: usize,
    /// The table that the outermost one is read into.
    root: Option<Table>,
    /// What was read, by its number, where it may be shared.
    seen: Option<Vec<Value>>,
}

impl<'a> Reader<'a> {
    fn new(lua: &'a Lua, bytes: &'a [u8], shared: bool) -> Self {
        Self {
            lua,
            bytes,
            depth: 0,
            root: None,
            seen: shared.then(Vec::new),
        }
    }

    fn whole(&mut self) -> Result<Value, Bad> {
        let value = self.value()?;
        if self.bytes.is_empty() {
            Ok(value)
        } else {
            Err(Bad::Form(format!(
                "{} bytes after the MessagePack value",
                self.bytes.len()
            )))
        }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Bad> {
        match self.bytes.split_at_checked(count) {
            Some((taken, rest)) => {
                self.bytes = rest;
                Ok(taken)
            }
            None => Err(Bad::Form("MessagePack that ends too early".to_owned())),
        }
    }

    fn number<const N: usize>(&mut self) -> Result<[u8; N], Bad> {
        self.take(N)?
            .try_into()
            .map_err(|_| Bad::Form("MessagePack that ends too early".to_owned()))
    }

    fn length(&mut self, width: u8) -> Result<usize, Bad> {
        Ok(match width {
            1 => usize::from(u8::from_be_bytes(self.number()?)),
            2 => usize::from(u16::from_be_bytes(self.number()?)),
            _ => u32::from_be_bytes(self.number()?) as usize,
        })
    }

    fn value(&mut self) -> Result<Value, Bad> {
        let marker = Marker::from_u8(u8::from_be_bytes(self.number()?));
        let whole = |number: i128| -> Result<Value, Bad> {
            if number.unsigned_abs() > u128::from(EXACT_MAX) {
                return Err(Bad::Form(format!("{number} is beyond 2^53")));
            }
            Ok(Value::Number(number as f64))
        };
        match marker {
            Marker::Null => Ok(Value::Nil),
            Marker::True => Ok(Value::Boolean(true)),
            Marker::False => Ok(Value::Boolean(false)),
            Marker::FixPos(number) => whole(number.into()),
            Marker::FixNeg(number) => whole(number.into()),
            Marker::U8 => whole(u8::from_be_bytes(self.number()?).into()),
            Marker::U16 => whole(u16::from_be_bytes(self.number()?).into()),
            Marker::U32 => whole(u32::from_be_bytes(self.number()?).into()),
            Marker::U64 => whole(u64::from_be_bytes(self.number()?).into()),
            Marker::I8 => whole(i8::from_be_bytes(self.number()?).into()),
            Marker::I16 => whole(i16::from_be_bytes(self.number()?).into()),
            Marker::I32 => whole(i32::from_be_bytes(self.number()?).into()),
            Marker::I64 => whole(i64::from_be_bytes(self.number()?).into()),
            Marker::F32 => Ok(Value::Number(f32::from_be_bytes(self.number()?).into())),
            Marker::F64 => Ok(Value::Number(f64::from_be_bytes(self.number()?))),
            Marker::FixStr(length) => self.string(length.into()),
            Marker::Str8 | Marker::Bin8 => self.string_of(1),
            Marker::Str16 | Marker::Bin16 => self.string_of(2),
            Marker::Str32 | Marker::Bin32 => self.string_of(4),
            Marker::FixArray(length) => self.array(length.into()),
            Marker::Array16 => self.length(2).and_then(|length| self.array(length)),
            Marker::Array32 => self.length(4).and_then(|length| self.array(length)),
            Marker::FixMap(length) => self.map(length.into()),
            Marker::Map16 => self.length(2).and_then(|length| self.map(length)),
            Marker::Map32 => self.length(4).and_then(|length| self.map(length)),
            Marker::FixExt1 => self.extension(1),
            Marker::FixExt2 => self.extension(2),
            Marker::FixExt4 => self.extension(4),
            Marker::FixExt8 => self.extension(8),
            Marker::FixExt16 => self.extension(16),
            Marker::Ext8 => self.length(1).and_then(|length| self.extension(length)),
            Marker::Ext16 => self.length(2).and_then(|length| self.extension(length)),
            Marker::Ext32 => self.length(4).and_then(|length| self.extension(length)),
            Marker::Reserved => Err(Bad::Form("a byte that is no MessagePack".to_owned())),
        }
    }

    fn string_of(&mut self, width: u8) -> Result<Value, Bad> {
        let length = self.length(width)?;
        self.string(length)
    }

    fn string(&mut self, length: usize) -> Result<Value, Bad> {
        Ok(Value::String(self.lua.create_string(self.take(length)?)?))
    }

    /// A table begins: it gets its number before what is in it.
    fn begin(&mut self, items: usize, list: usize, fields: usize) -> Result<Table, Bad> {
        // Each item is at least one byte, so a length that lies is found before it costs memory.
        if items > self.bytes.len() {
            return Err(Bad::Form("MessagePack that ends too early".to_owned()));
        }
        self.depth += 1;
        if self.depth > DEPTH_MAX + 1 {
            return Err(Bad::Form(format!("deeper than {DEPTH_MAX} tables")));
        }
        let table = match self.root.take() {
            Some(root) => {
                root.clear()?;
                root
            }
            None => self.lua.create_table_with_capacity(list, fields)?,
        };
        if let Some(seen) = &mut self.seen {
            seen.push(Value::Table(table.clone()));
        }
        Ok(table)
    }

    fn array(&mut self, length: usize) -> Result<Value, Bad> {
        let table = self.begin(length, length, 0)?;
        for n in 1..=length {
            let value = match self.value()? {
                // A list of a script keeps its length.
                Value::Nil if self.seen.is_none() => Value::NULL,
                value => value,
            };
            table.raw_set(n, value)?;
        }
        self.depth -= 1;
        Ok(Value::Table(table))
    }

    fn map(&mut self, length: usize) -> Result<Value, Bad> {
        let table = self.begin(length.saturating_mul(2), 0, length)?;
        for _ in 0..length {
            let key = self.value()?;
            let fits = match &key {
                Value::String(_) | Value::Boolean(_) | Value::Integer(_) => true,
                Value::Number(number) => !number.is_nan(),
                _ => false,
            };
            if !fits {
                return Err(Bad::Form(format!("a {} for a key", describe(&key))));
            }
            let value = self.value()?;
            table.raw_set(key, value)?;
        }
        self.depth -= 1;
        Ok(Value::Table(table))
    }

    fn extension(&mut self, length: usize) -> Result<Value, Bad> {
        let kind = i8::from_be_bytes(self.number()?);
        let bytes = self.take(length)?;
        let Some(seen) = &mut self.seen else {
            return Err(Bad::Form(format!("the extension type {kind}")));
        };
        match (kind, <[u8; 4]>::try_from(bytes)) {
            (SHARED, Ok(number)) => seen
                .get(u32::from_be_bytes(number) as usize)
                .cloned()
                .ok_or_else(|| Bad::Form("a reference to what was not written before".to_owned())),
            (BUFFER, _) => {
                let buffer = Value::Buffer(self.lua.create_buffer(bytes)?);
                seen.push(buffer.clone());
                Ok(buffer)
            }
            _ => Err(Bad::Form(format!("the extension type {kind}"))),
        }
    }
}
