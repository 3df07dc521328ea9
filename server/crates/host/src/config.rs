//! A module's own `[config]`: what `config.get` reads, by dotted key. Arrays and tables are read as JSON text.

use cohnect_capabilities::Scalar;
use cohnect_capabilities::config::Config;

/// The `[config]` table of a manifest.
#[derive(Clone, Debug, Default)]
pub struct Section(pub toml::Table);

impl Config for Section {
    fn value(&self, key: &str) -> Option<Scalar> {
        let mut table = &self.0;
        let mut parts = key.split('.').peekable();
        while let Some(part) = parts.next() {
            let value = table.get(part)?;
            if parts.peek().is_none() {
                return Some(scalar(value));
            }
            table = value.as_table()?;
        }
        None
    }
}

fn scalar(value: &toml::Value) -> Scalar {
    match value {
        toml::Value::String(text) => Scalar::Text(text.clone()),
        toml::Value::Integer(number) => Scalar::Integer(*number),
        toml::Value::Float(number) => Scalar::Number(*number),
        toml::Value::Boolean(on) => Scalar::Boolean(*on),
        toml::Value::Datetime(at) => Scalar::Text(at.to_string()),
        toml::Value::Array(_) | toml::Value::Table(_) => Scalar::Text(json(value).to_string()),
    }
}

fn json(value: &toml::Value) -> serde_json::Value {
    match value {
        toml::Value::String(text) => text.clone().into(),
        toml::Value::Integer(number) => (*number).into(),
        toml::Value::Float(number) => (*number).into(),
        toml::Value::Boolean(on) => (*on).into(),
        toml::Value::Datetime(at) => at.to_string().into(),
        toml::Value::Array(items) => items.iter().map(json).collect(),
        toml::Value::Table(table) => table
            .iter()
            .map(|(key, value)| (key.clone(), json(value)))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_dotted_keys() {
        let section = Section(
            toml::from_str(
                "speed = 3\nname = \"x\"\n[map]\nsize = 1.5\nspawns = [1, { x = true }]",
            )
            .unwrap(),
        );
        for (key, value) in [
            ("speed", Some(Scalar::Integer(3))),
            ("name", Some(Scalar::Text("x".into()))),
            ("map.size", Some(Scalar::Number(1.5))),
            ("map.spawns", Some(Scalar::Text("[1,{\"x\":true}]".into()))),
            ("map.nothing", None),
            ("speed.more", None),
            ("", None),
        ] {
            assert_eq!(section.value(key), value, "{key}");
        }
    }
}
