//! Luau's values as MessagePack.

use mlua::{Table, Value};
use rmp::encode as write;
use rustc_hash::FxHashMap;

use super::{BUFFER, DEPTH_MAX, SHARED};
use crate::convert::whole;
use crate::tables::{Form, Unwritten, Walk, look};

pub(super) struct Writer {
    pub(super) out: Vec<u8>,
    depth: usize,
    count: usize,
    name: &'static str,
    bytes_max: usize,
    walk: Walk,
    /// The number of each table and buffer that was written, where they may be shared.
    seen: Option<FxHashMap<*const core::ffi::c_void, u32>>,
}

impl Writer {
    pub(super) fn new(name: &'static str, bytes_max: usize, shared: bool) -> Self {
        Self {
            out: Vec::new(),
            depth: 0,
            count: 0,
            name,
            bytes_max,
            walk: if shared {
                Walk::of_kept()
            } else {
                Walk::bounded()
            },
            seen: shared.then(FxHashMap::default),
        }
    }

    /// Writes all of a value.
    ///
    /// # Errors
    /// What cannot be written, by its path; or that the call has to end.
    pub(super) fn whole(&mut self, value: &Value) -> Result<(), String> {
        self.value(value).map_err(|unwritten| match unwritten {
            Unwritten::Whole(text) => text,
            Unwritten::Part(keys, text) => {
                format!("`{}{}` {text}", self.name, Unwritten::path(keys))
            }
            Unwritten::Luau(error) => error.to_string(),
        })
    }

    fn value(&mut self, value: &Value) -> Result<(), Unwritten> {
        self.count += 1;
        look(self.count)?;
        // What is too long is not copied.
        let length = match value {
            Value::String(text) => text.as_bytes().len(),
            Value::Buffer(buffer) => buffer.len(),
            _ => 0,
        };
        if self.out.len().saturating_add(length) > self.bytes_max {
            return Err(Unwritten::Whole(format!(
                "more than {} bytes",
                self.bytes_max
            )));
        }
        if self.depth > DEPTH_MAX {
            let circle = if self.seen.is_some() {
                ""
            } else {
                ", or a circle"
            };
            return Err(Unwritten::Whole(format!(
                "`{}…` is deeper than {DEPTH_MAX} tables{circle}",
                self.name
            )));
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
            Value::Table(table) => {
                self.depth += 1;
                self.table(value, table)?;
                self.depth -= 1;
                return Ok(());
            }
            other => {
                return Err(Unwritten::here(format!(
                    "is a {}, which cannot be {}",
                    other.type_name(),
                    if self.seen.is_some() {
                        "kept"
                    } else {
                        "encoded"
                    }
                )));
            }
        };
        written.map_err(|()| Unwritten::Whole("out of memory".to_owned()))
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

    fn table(&mut self, value: &Value, table: &Table) -> Result<(), Unwritten> {
        if self.again(value) {
            return Ok(());
        }
        let form = self.walk.form(table, false)?;
        let pairs = match &*form {
            Form::List(length) => {
                let _ = write::write_array_len(&mut self.out, *length as u32);
                for n in 1..=*length {
                    self.value(&table.raw_get::<Value>(n)?)
                        .map_err(|unwritten| unwritten.under(&Value::Integer(n as i64)))?;
                }
                return Ok(());
            }
            Form::Map(pairs) => pairs,
        };
        let _ = write::write_map_len(&mut self.out, pairs.len() as u32);
        for (key, value) in pairs {
            self.key(key)
                .and_then(|()| self.value(value))
                .map_err(|unwritten| unwritten.under(key))?;
        }
        Ok(())
    }

    fn key(&mut self, key: &Value) -> Result<(), Unwritten> {
        if !matches!(
            key,
            Value::String(_) | Value::Integer(_) | Value::Number(_) | Value::Boolean(_)
        ) {
            return Err(Unwritten::here(format!(
                "has a {} for its key; keys are text, numbers and booleans",
                key.type_name()
            )));
        }
        self.value(key)
    }
}
