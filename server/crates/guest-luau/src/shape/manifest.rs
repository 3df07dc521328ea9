//! What a module's table says about itself. Grants and limits stand only in the file, where an operator reads them.

use mlua::{Table, Value};

use super::{Wrong, entries};
use crate::convert::{describe, whole};
use crate::nearest::suggestion;

/// Keys and values as the manifest file would have them.
pub(crate) type Manifest = Vec<(String, toml::Value)>;

const KEYS: [&str; 3] = ["placement", "version", "shard"];
/// Those of a later version; the host says so.
const KEYS_LATER: [&str; 3] = ["create", "idle_s", "persist"];

pub(super) fn read(table: &Table) -> Result<Manifest, Wrong> {
    let mut manifest = Manifest::new();
    for (key, value) in entries(table, "the manifest")? {
        if !KEYS.contains(&key.as_str()) && !KEYS_LATER.contains(&key.as_str()) {
            return Err(format!(
                "`{key}` does not stand in a script (grants and limits stand in the manifest file); {}",
                suggestion(&key, &KEYS)
            )
            .into());
        }
        let value = match &value {
            Value::Boolean(on) => toml::Value::Boolean(*on),
            Value::String(text) => toml::Value::String(text.to_string_lossy()),
            Value::Integer(_) | Value::Number(_) => match whole(&value) {
                Ok(number) => toml::Value::Integer(number),
                Err(_) => toml::Value::Float(value.as_number().unwrap_or(0.0)),
            },
            other => {
                return Err(format!(
                    "`{key}` is text, a number or a boolean, not {}",
                    describe(other)
                )
                .into());
            }
        };
        manifest.push((key, value));
    }
    Ok(manifest)
}
