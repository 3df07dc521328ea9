//! What survives a swap: `keep`, written as MessagePack and read back into the same table, so that every closure over it stays right; or what the
//! module's own `save` and `restore` say.

use std::sync::Arc;

use bytes::Bytes;
use cohnect_capabilities::Error;
use cohnect_host::export::{Returned, Snapshot};
use mlua::{Lua, MultiValue, Table, Value};

use crate::call::refused;
use crate::convert::FromLuau;
use crate::msgpack::{self, Bad};
use crate::shape::Handlers;
use crate::tables::look;

/// Writes what is kept; none when the module saves by itself, or not at all.
pub(crate) fn save(handlers: &Handlers) -> Option<mlua::Result<Returned>> {
    let keep = handlers.keep.as_ref()?;
    let saved = match msgpack::encode_kept(keep) {
        Ok(bytes) => Ok(Snapshot {
            schema: handlers.schema,
            data: bytes.into(),
            declared: handlers.declared.clone(),
        }),
        Err(text) => Err(Error::invalid(text)),
    };
    Some(Ok(Returned::Saved(saved)))
}

/// What the module's own `save` returned.
pub(crate) fn saved(handlers: &Handlers, value: &Value, problem: &Value) -> mlua::Result<Returned> {
    let read = || {
        Ok(match refused(value, problem)? {
            Some(error) => Err(error),
            None => Ok(Snapshot {
                schema: handlers.schema,
                data: Bytes::from_luau(value)?,
                declared: None,
            }),
        })
    };
    read()
        .map(Returned::Saved)
        .map_err(|mismatch: crate::convert::Mismatch| {
            mlua::Error::runtime(format!("`save` returned something else: {}", mismatch.0))
        })
}

/// Names of one kept table that are told apart: a table that declares more of them is a list of things rather than what a person wrote down.
const DECLARED_MAX: usize = 1_024;

/// The names that a table has; none if there are too many.
pub(crate) fn names(table: &Table) -> mlua::Result<Option<Arc<[String]>>> {
    let mut names = Vec::new();
    for (n, pair) in table.pairs::<Value, Value>().enumerate() {
        look(n + 1)?;
        if let (Value::String(key), _) = pair?
            && let Ok(key) = key.to_str()
        {
            if names.len() == DECLARED_MAX {
                return Ok(None);
            }
            names.push(key.to_owned());
        }
    }
    names.sort_unstable();
    Ok(Some(names.into()))
}

/// What the file's table began with under names that the snapshot's code did not know: they are new, and keep their first values.
fn first_values(handlers: &Handlers, snapshot: &Snapshot) -> mlua::Result<Vec<(String, Value)>> {
    let (Some(keep), Some(own), Some(known)) =
        (&handlers.keep, &handlers.declared, &snapshot.declared)
    else {
        return Ok(Vec::new());
    };
    own.iter()
        .filter(|name| known.binary_search(name).is_err())
        .map(|name| Ok((name.clone(), keep.raw_get(name.as_str())?)))
        .collect()
}

/// Puts first values where the snapshot had none.
fn complete(keep: &Table, new: Vec<(String, Value)>) -> mlua::Result<()> {
    for (name, value) in new {
        if keep.raw_get::<Value>(name.as_str())?.is_nil() {
            keep.raw_set(name, value)?;
        }
    }
    Ok(())
}

/// Puts a snapshot back into the kept table. What the new code declares and the old one did not know keeps its first value. Older data goes through `upgrade`
/// first, which `call` runs.
pub(crate) fn restore(
    lua: &Lua,
    handlers: &Handlers,
    snapshot: &Snapshot,
    call: impl FnOnce(&mlua::Function, MultiValue) -> mlua::Result<(Value, Value)>,
) -> mlua::Result<Returned> {
    let Some(keep) = &handlers.keep else {
        return Ok(Returned::Done(Ok(())));
    };
    let refuse = |text: String| Ok(Returned::Done(Err(Error::invalid(text))));
    let new = first_values(handlers, snapshot)?;
    if snapshot.schema == handlers.schema {
        return match msgpack::decode_kept(lua, &snapshot.data, Some(keep)) {
            Ok(Value::Table(_)) => {
                complete(keep, new)?;
                Ok(Returned::Done(Ok(())))
            }
            Ok(other) => refuse(format!(
                "the snapshot is {}, not a table",
                crate::convert::describe(&other)
            )),
            Err(Bad::Form(text)) => refuse(format!("the snapshot cannot be read: {text}")),
            Err(Bad::Luau(error)) => Err(error),
        };
    }
    let Some(upgrade) = &handlers.upgrade else {
        return refuse(format!(
            "the snapshot has schema {}, the module {}; `upgrade = function(old, schema) … end` turns one into the other",
            snapshot.schema, handlers.schema
        ));
    };
    let old = match msgpack::decode_kept(lua, &snapshot.data, None) {
        Ok(old) => old,
        Err(Bad::Form(text)) => return refuse(format!("the snapshot cannot be read: {text}")),
        Err(Bad::Luau(error)) => return Err(error),
    };
    let arguments = MultiValue::from_iter([old.clone(), Value::Number(snapshot.schema.into())]);
    let (value, problem) = call(upgrade, arguments)?;
    match refused(&value, &problem) {
        Ok(Some(error)) => return Ok(Returned::Done(Err(error))),
        Ok(None) => {}
        Err(mismatch) => return Err(mlua::Error::runtime(mismatch.0)),
    }
    // Without a result it changed what it was given.
    match if value.is_nil() { old } else { value } {
        Value::Table(upgraded) => {
            refill(keep, &upgraded)?;
            complete(keep, new)?;
            Ok(Returned::Done(Ok(())))
        }
        other => refuse(format!(
            "`upgrade` returned {}, not a table",
            crate::convert::describe(&other)
        )),
    }
}

/// The same table with other contents.
fn refill(keep: &Table, new: &Table) -> mlua::Result<()> {
    if keep == new {
        return Ok(());
    }
    keep.clear()?;
    for (n, pair) in new.pairs::<Value, Value>().enumerate() {
        look(n + 1)?;
        let (key, value) = pair?;
        keep.raw_set(key, value)?;
    }
    Ok(())
}
