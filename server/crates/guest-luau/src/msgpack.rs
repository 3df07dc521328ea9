//! MessagePack: `@cohnect/msgpack` for scripts, and the form in which `keep` goes over a swap.
//!
//! Without shared tables both are plain MessagePack that serde reads: lists are arrays, other tables are maps (an empty table is an empty array), whole
//! numbers up to 2^53 are integers, text is str, strings that are no UTF-8 are bin. `keep` adds two extension types:
//! - **1**: a table or buffer that was written before. Its four bytes are a number, big-endian: arrays, maps and buffers are counted from 0 in the order in
//!   which they begin, the kept table itself being 0. So circles and shared tables come back as they were.
//! - **2**: a Luau buffer's bytes.

mod read;
mod write;

use std::rc::Rc;

use cohnect_capabilities::Error;
use mlua::{Lua, Table, Value};

use crate::convert::describe;
use crate::host::Host;
use crate::tables::look;
use read::Reader;
use write::Writer;

pub(crate) use read::Bad;

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
            // A metamethod may call this again and again where Luau does not look.
            look(0)?;
            let mut writer = Writer::new("value", BYTES_MAX, false);
            writer
                .whole(&value)
                .map_err(|text| mlua::Error::runtime(format!("msgpack.encode: {text}")))?;
            lua.create_string(writer.out)
        })?,
    )?;
    let host = Rc::clone(host);
    table.raw_set(
        "decode",
        lua.create_function(move |lua, bytes: Value| {
            look(0)?;
            // What is too long is not copied.
            let length = match &bytes {
                Value::String(text) => text.as_bytes().len(),
                Value::Buffer(buffer) => buffer.len(),
                other => {
                    return Err(mlua::Error::runtime(format!(
                        "msgpack.decode: expected a string, got {}",
                        describe(other)
                    )));
                }
            };
            if length > BYTES_MAX {
                let error = Error::limit("msgpack-bytes", BYTES_MAX as u64, length as u64);
                return Ok(Err(host.error(lua, &error)?));
            }
            let bytes = match &bytes {
                Value::String(text) => text.as_bytes().to_vec(),
                Value::Buffer(buffer) => buffer.to_vec(),
                _ => Vec::new(),
            };
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
    writer.whole(&Value::Table(table.clone()))?;
    Ok(writer.out)
}

/// The value that bytes of [`encode_kept`], or of a component's serde, mean. With `root`, the outermost table is that one, emptied before.
pub(crate) fn decode_kept(lua: &Lua, bytes: &[u8], root: Option<&Table>) -> Result<Value, Bad> {
    let mut reader = Reader::new(lua, bytes, true);
    reader.root = root.cloned();
    reader.whole()
}
