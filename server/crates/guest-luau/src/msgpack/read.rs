//! MessagePack as Luau's values. Total: any bytes are a value or an error.

use mlua::{Lua, Table, Value};
use rmp::Marker;

use super::{BUFFER, DEPTH_MAX, SHARED};
use crate::convert::{EXACT_MAX, describe};
use crate::tables::{NODES_MAX, look};

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

pub(super) struct Reader<'a> {
    lua: &'a Lua,
    bytes: &'a [u8],
    depth: usize,
    count: usize,
    /// Values that may still come, where they are not what was kept.
    left: usize,
    /// The table that the outermost one is read into.
    pub(super) root: Option<Table>,
    /// What was read, by its number, where it may be shared.
    seen: Option<Vec<Value>>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(lua: &'a Lua, bytes: &'a [u8], shared: bool) -> Self {
        Self {
            lua,
            bytes,
            depth: 0,
            count: 0,
            left: if shared { usize::MAX } else { NODES_MAX },
            root: None,
            seen: shared.then(Vec::new),
        }
    }

    pub(super) fn whole(&mut self) -> Result<Value, Bad> {
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
        self.count += 1;
        look(self.count)?;
        self.left = self
            .left
            .checked_sub(1)
            .ok_or_else(|| Bad::Form(format!("more than {NODES_MAX} values")))?;
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
