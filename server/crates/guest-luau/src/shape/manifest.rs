//! What a module's table says about itself. Grants and limits stand only in the file, where an operator reads them.

use mlua::{Table, Value};

use super::{Wrong, entries};
use crate::convert::{describe, whole};
use crate::nearest::{nearest, suggestion};

/// Keys and values as the manifest file would have them.
pub(crate) type Manifest = Vec<(String, toml::Value)>;

const KEYS: [&str; 3] = ["placement", "version", "shard"];
/// Those that an operator reads and writes.
const KEYS_OF_FILE: [&str; 12] = [
    "name",
    "entry",
    "deadline_ms",
    "memory_mib",
    "instances_max",
    "tick_hz_max",
    "queue_max",
    "swap_wait_s",
    "on_failure",
    "grants",
    "narrow",
    "config",
];
/// Those of a later version; the host says so.
const KEYS_LATER: [&str; 3] = ["create", "idle_s", "persist"];

pub(super) fn read(table: &Table) -> Result<Manifest, Wrong> {
    let mut manifest = Manifest::new();
    for (key, value) in entries(table, "the manifest")? {
        if !KEYS.contains(&key.as_str()) && !KEYS_LATER.contains(&key.as_str()) {
            return Err(misplaced(&key).into());
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

/// What is said of a key that has no place in a script.
fn misplaced(key: &str) -> String {
    if KEYS_OF_FILE.contains(&key) {
        return format!(
            "`{key}` stands only in the manifest file; a script may say {}",
            KEYS.join(", ")
        );
    }
    // The nearest key may be one of the file's, which a suggestion alone would send its author to write here.
    match nearest(key, KEYS.into_iter().chain(KEYS_OF_FILE)) {
        Some(found) if KEYS_OF_FILE.contains(&found) => format!(
            "there is no key `{key}`; did you mean `{found}`? It stands only in the manifest file"
        ),
        Some(_) | None => format!("there is no key `{key}`; {}", suggestion(key, &KEYS)),
    }
}
