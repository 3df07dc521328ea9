//! Values of the contract as Luau values and back. The rules are few: names in snake_case, ids as UUID text, time in seconds, a missing field is zero,
//! `nil` only ever comes with a reason. What a function does with the values is not here.

mod data;
mod pass;
mod records;
mod variants;

use bytes::Bytes;
use cohnect_capabilities::{ClientId, InstanceId};
use mlua::{FromLua, Lua, Table, Value};

use crate::binding::Unfit;
use crate::host::Host;

pub(crate) use data::{Params, ParamsEach};
pub(crate) use pass::Pass;
pub(crate) use records::record;
pub(crate) use variants::{close_reason, delivery, error_of, single};

/// Whole numbers up to here are exact in Luau.
pub(crate) const EXACT_MAX: u64 = 1 << 53;

/// Why a value does not fit: what was expected.
pub(crate) struct Mismatch(pub(crate) String);

impl Mismatch {
    pub(crate) fn expected(what: &str, found: &Value) -> Self {
        Self(format!("expected {what}, got {}", describe(found)))
    }

    fn within(self, place: &str) -> Self {
        Self(format!("`{place}`: {}", self.0))
    }
}

impl From<mlua::Error> for Mismatch {
    fn from(error: mlua::Error) -> Self {
        Self(error.to_string())
    }
}

/// A value as an error names it.
pub(crate) fn describe(value: &Value) -> String {
    match value {
        Value::String(text) => {
            let text = text.to_string_lossy();
            let cut = text.floor_char_boundary(40);
            format!(
                "\"{}\"{}",
                &text[..cut],
                if cut < text.len() { "…" } else { "" }
            )
        }
        Value::Number(number) => format!("{number}"),
        Value::Integer(number) => format!("{number}"),
        other => other.type_name().to_owned(),
    }
}

/// Made from a Luau value. `nil` is zero wherever zero is sensible: in a field, and in an argument that may be left out.
pub(crate) trait FromLuau: Sized {
    /// What is expected where it may not be `nil`.
    const WHAT: &'static str;

    fn from_luau(value: &Value) -> Result<Self, Mismatch>;

    /// About how many bytes it copies, known before it does.
    fn weight(value: &Value) -> usize {
        weight(value)
    }
}

/// What a number takes.
const NUMBER_BYTES: usize = 8;

/// The bytes of a value that is no table.
pub(crate) fn weight(value: &Value) -> usize {
    NUMBER_BYTES
        + match value {
            Value::String(text) => text.as_bytes().len(),
            Value::Buffer(buffer) => buffer.len(),
            _ => 0,
        }
}

/// The bytes of one list that is passed to the host; a copy of it is none of the replica's memory. As much as a call may send in all, and 10,000 rows of a
/// batch with ten numbers each.
pub(crate) const LIST_BYTES_MAX: usize = 1024 * 1024;

/// What a list may still copy.
pub(crate) struct Budget(usize);

impl Default for Budget {
    fn default() -> Self {
        Self(LIST_BYTES_MAX)
    }
}

impl Budget {
    /// The next item is about to be copied.
    pub(crate) fn take(&mut self, bytes: usize) -> Result<(), Mismatch> {
        self.0 = self.0.checked_sub(bytes).ok_or_else(|| {
            Mismatch(format!(
                "a list has at most {LIST_BYTES_MAX} bytes in all its items"
            ))
        })?;
        Ok(())
    }
}

/// Longest text of one argument in bytes: above each bound that the host knows for one, so that the copy of what it refuses is small.
const TEXT_BYTES_MAX: usize = 1024 * 1024;

/// Becomes a Luau value.
pub(crate) trait IntoLuau {
    fn into_luau(self, lua: &Lua, host: &Host) -> mlua::Result<Value>;
}

/// An argument of a function of the contract.
pub(crate) struct Arg<T>(pub(crate) T);

impl<T: FromLuau> FromLua for Arg<T> {
    fn from_lua(value: Value, lua: &Lua) -> mlua::Result<Self> {
        T::from_luau(&value)
            .map(Self)
            .map_err(|mismatch| mlua::Error::external(Unfit::new(lua, mismatch.0)))
    }
}

/// An argument that may not be left out: `nil` is no zero there, but a variable that was misspelled, or a number that was none.
pub(crate) struct Need<T>(pub(crate) T);

impl<T: FromLuau> FromLua for Need<T> {
    fn from_lua(value: Value, lua: &Lua) -> mlua::Result<Self> {
        if value.is_nil() {
            let text = Mismatch::expected(T::WHAT, &value).0;
            return Err(mlua::Error::external(Unfit::new(lua, text)));
        }
        Arg::from_lua(value, lua).map(|argument| Self(argument.0))
    }
}

/// Microseconds in the contract, seconds in Luau.
#[derive(Clone, Copy)]
pub(crate) struct Seconds(pub(crate) u64);

/// The field of a table, as a type of the contract; a missing one is zero.
pub(crate) fn field<T: FromLuau>(table: &Table, name: &str) -> Result<T, Mismatch> {
    let value: Value = table.raw_get(name)?;
    T::from_luau(&value).map_err(|mismatch| mismatch.within(name))
}

impl IntoLuau for () {
    fn into_luau(self, _lua: &Lua, _host: &Host) -> mlua::Result<Value> {
        Ok(Value::Boolean(true))
    }
}

impl FromLuau for bool {
    const WHAT: &'static str = "a boolean";

    fn from_luau(value: &Value) -> Result<Self, Mismatch> {
        match value {
            Value::Nil => Ok(false),
            Value::Boolean(on) => Ok(*on),
            other => Err(Mismatch::expected(Self::WHAT, other)),
        }
    }
}

impl IntoLuau for bool {
    fn into_luau(self, _lua: &Lua, _host: &Host) -> mlua::Result<Value> {
        Ok(Value::Boolean(self))
    }
}

/// A whole number of Luau, exact.
pub(crate) fn whole(value: &Value) -> Result<i64, Mismatch> {
    match value {
        Value::Nil => Ok(0),
        Value::Integer(number) if number.unsigned_abs() <= EXACT_MAX => Ok(*number),
        Value::Number(number) if number.fract() == 0.0 && number.abs() <= EXACT_MAX as f64 => {
            Ok(*number as i64)
        }
        other => Err(Mismatch::expected("a whole number up to 2^53", other)),
    }
}

macro_rules! whole_numbers {
    ($($type:ty),*) => {$(
        impl FromLuau for $type {
            const WHAT: &'static str = "a whole number";

            fn from_luau(value: &Value) -> core::result::Result<Self, Mismatch> {
                Self::try_from(whole(value)?).map_err(|_| {
                    Mismatch::expected(
                        &format!("a whole number from {} to {}", Self::MIN, Self::MAX),
                        value,
                    )
                })
            }
        }
    )*};
}

whole_numbers!(u8, u16, u32, u64, i32, i64);

macro_rules! small_numbers {
    ($($type:ty),*) => {$(
        impl IntoLuau for $type {
            fn into_luau(self, _lua: &Lua, _host: &Host) -> mlua::Result<Value> {
                Ok(Value::Number(f64::from(self)))
            }
        }
    )*};
}

small_numbers!(u8, u16, u32, i32, f64);

impl IntoLuau for u64 {
    fn into_luau(self, _lua: &Lua, _host: &Host) -> mlua::Result<Value> {
        if self > EXACT_MAX {
            return Err(too_large(self));
        }
        Ok(Value::Number(self as f64))
    }
}

impl IntoLuau for i64 {
    fn into_luau(self, _lua: &Lua, _host: &Host) -> mlua::Result<Value> {
        if self.unsigned_abs() > EXACT_MAX {
            return Err(too_large(self));
        }
        Ok(Value::Number(self as f64))
    }
}

fn too_large(number: impl core::fmt::Display) -> mlua::Error {
    mlua::Error::runtime(format!(
        "{number} is beyond 2^53, where Luau's numbers are no longer exact"
    ))
}

impl FromLuau for f64 {
    const WHAT: &'static str = "a number";

    fn from_luau(value: &Value) -> Result<Self, Mismatch> {
        match value {
            Value::Nil => Ok(0.0),
            Value::Number(number) => Ok(*number),
            Value::Integer(number) => Ok(*number as Self),
            other => Err(Mismatch::expected(Self::WHAT, other)),
        }
    }
}

impl FromLuau for Seconds {
    const WHAT: &'static str = "seconds, 0 or more";

    fn from_luau(value: &Value) -> Result<Self, Mismatch> {
        let seconds = f64::from_luau(value)?;
        // To the nearest microsecond, so that what came out goes in again unchanged.
        let us = (seconds * 1e6).round();
        if us >= 0.0 && us <= EXACT_MAX as f64 {
            Ok(Self(us as u64))
        } else {
            Err(Mismatch::expected(Self::WHAT, value))
        }
    }
}

impl IntoLuau for Seconds {
    fn into_luau(self, _lua: &Lua, _host: &Host) -> mlua::Result<Value> {
        Ok(Value::Number(seconds(self.0)))
    }
}

/// Microseconds as Luau's seconds.
pub(crate) const fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

impl FromLuau for String {
    const WHAT: &'static str = "a string";

    fn from_luau(value: &Value) -> Result<Self, Mismatch> {
        match value {
            Value::Nil => Ok(Self::new()),
            Value::String(text) if text.as_bytes().len() > TEXT_BYTES_MAX => Err(Mismatch(
                format!("a text has at most {TEXT_BYTES_MAX} bytes"),
            )),
            Value::String(text) => match text.to_str() {
                Ok(text) => Ok((*text).to_owned()),
                Err(_) => Err(Mismatch(
                    "expected text, got bytes that are no UTF-8".to_owned(),
                )),
            },
            other => Err(Mismatch::expected(Self::WHAT, other)),
        }
    }
}

impl IntoLuau for String {
    fn into_luau(self, lua: &Lua, _host: &Host) -> mlua::Result<Value> {
        Ok(Value::String(lua.create_string(self)?))
    }
}

impl IntoLuau for &str {
    fn into_luau(self, lua: &Lua, _host: &Host) -> mlua::Result<Value> {
        Ok(Value::String(lua.create_string(self)?))
    }
}

impl FromLuau for Bytes {
    const WHAT: &'static str = "a string or a buffer";

    fn from_luau(value: &Value) -> Result<Self, Mismatch> {
        match value {
            Value::Nil => Ok(Self::new()),
            Value::String(text) => Ok(Self::copy_from_slice(&text.as_bytes())),
            Value::Buffer(buffer) => Ok(Self::from(buffer.to_vec())),
            other => Err(Mismatch::expected(Self::WHAT, other)),
        }
    }
}

impl IntoLuau for Bytes {
    fn into_luau(self, lua: &Lua, _host: &Host) -> mlua::Result<Value> {
        Ok(Value::String(lua.create_string(self)?))
    }
}

/// Random bytes and the like: bytes whose Rust type is a vector.
pub(crate) struct Blob(pub(crate) Vec<u8>);

impl IntoLuau for Blob {
    fn into_luau(self, lua: &Lua, _host: &Host) -> mlua::Result<Value> {
        Ok(Value::String(lua.create_string(self.0)?))
    }
}

impl FromLuau for ClientId {
    const WHAT: &'static str = "a client's id";

    fn from_luau(value: &Value) -> Result<Self, Mismatch> {
        let id = match value {
            Value::String(text) => core::str::from_utf8(&text.as_bytes())
                .ok()
                .and_then(Self::parse),
            _ => None,
        };
        id.ok_or_else(|| Mismatch::expected(Self::WHAT, value))
    }
}

impl IntoLuau for ClientId {
    fn into_luau(self, lua: &Lua, _host: &Host) -> mlua::Result<Value> {
        Ok(Value::String(lua.create_string(self.text())?))
    }
}

impl IntoLuau for InstanceId {
    fn into_luau(self, lua: &Lua, _host: &Host) -> mlua::Result<Value> {
        Ok(Value::String(lua.create_string(self.text())?))
    }
}

impl<T: FromLuau> FromLuau for Option<T> {
    const WHAT: &'static str = T::WHAT;

    fn from_luau(value: &Value) -> Result<Self, Mismatch> {
        if value.is_nil() {
            return Ok(None);
        }
        T::from_luau(value).map(Some)
    }
}

impl<T: IntoLuau> IntoLuau for Option<T> {
    fn into_luau(self, lua: &Lua, host: &Host) -> mlua::Result<Value> {
        match self {
            Some(value) => value.into_luau(lua, host),
            None => Ok(Value::Nil),
        }
    }
}

/// Items of a list that a script may pass: what a page of the contract holds, ten times.
const LIST_MAX: usize = 10_000;

impl<T: FromLuau> FromLuau for Vec<T> {
    const WHAT: &'static str = "a list";

    fn from_luau(value: &Value) -> Result<Self, Mismatch> {
        let table = match value {
            Value::Nil => return Ok(Self::new()),
            Value::Table(table) => table,
            other => return Err(Mismatch::expected(Self::WHAT, other)),
        };
        let length = table.raw_len();
        if length > LIST_MAX {
            return Err(Mismatch(format!(
                "a list has at most {LIST_MAX} items, this one {length}"
            )));
        }
        let (mut list, mut budget) = (Self::with_capacity(length), Budget::default());
        for n in 1..=length {
            let item: Value = table.raw_get(n)?;
            budget.take(T::weight(&item))?;
            list.push(T::from_luau(&item).map_err(|mismatch| mismatch.within(&n.to_string()))?);
        }
        Ok(list)
    }
}

/// Of a function that has no error to return: it is raised.
impl<T: IntoLuau> IntoLuau for cohnect_capabilities::Result<T> {
    fn into_luau(self, lua: &Lua, host: &Host) -> mlua::Result<Value> {
        match self {
            Ok(value) => value.into_luau(lua, host),
            Err(error) => Err(mlua::Error::runtime(error)),
        }
    }
}

impl<T: IntoLuau> IntoLuau for Vec<T> {
    fn into_luau(self, lua: &Lua, host: &Host) -> mlua::Result<Value> {
        let table = lua.create_table_with_capacity(self.len(), 0)?;
        for (n, item) in self.into_iter().enumerate() {
            table.raw_set(n + 1, item.into_luau(lua, host)?)?;
        }
        Ok(Value::Table(table))
    }
}
