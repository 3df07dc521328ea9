//! What a module's table says about itself. Grants and limits stand only in the file, where an operator reads them.

use cohnect_host::manifest::check_key_of_code;
use mlua::{Table, Value};

use super::{Wrong, entries};
use crate::convert::{describe, whole};

/// Keys and values as the manifest file would have them.
pub(crate) type Manifest = Vec<(String, toml::Value)>;

pub(super) fn read(table: &Table) -> Result<Manifest, Wrong> {
    let mut manifest = Manifest::new();
    for (key, value) in entries(table, "the manifest")? {
        check_key_of_code(&key)?;
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
