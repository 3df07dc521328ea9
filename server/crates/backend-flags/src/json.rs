//! JSON as it was written: objects keep the order of their keys, and a key that stands twice is an error. It knows nothing of flags.

use core::fmt;
use std::collections::BTreeSet;

use cohnect_capabilities::Scalar;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// An object with its keys as they were written; a key that stands twice is refused, where `serde_json` would keep the last and say nothing.
pub(crate) struct Keys(pub Vec<(String, Item)>);

/// A value in the file.
pub(crate) enum Item {
    /// An object.
    Keys(Keys),
    /// Anything else.
    Value(Value),
}

impl Item {
    /// What it is, for a complaint.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Keys(_) => "an object",
            Self::Value(value) => match value {
                Value::Null => "null",
                Value::Bool(_) => "a boolean",
                Value::Number(_) => "a number",
                Value::String(_) => "text",
                Value::Array(_) => "a list",
                Value::Object(_) => "an object",
            },
        }
    }

    /// It, for a complaint.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Keys(_) => "{…}".into(),
            Self::Value(value) => value.to_string(),
        }
    }

    /// What a module gets of it; an object as JSON text. None for what no flag can be.
    pub(crate) fn scalar(&self) -> Option<Scalar> {
        match self {
            Self::Keys(_) => Some(Scalar::Text(self.json().to_string())),
            Self::Value(Value::Bool(on)) => Some(Scalar::Boolean(*on)),
            Self::Value(Value::String(text)) => Some(Scalar::Text(text.clone())),
            Self::Value(Value::Number(number)) => number
                .as_i64()
                .map(Scalar::Integer)
                .or_else(|| number.as_f64().map(Scalar::Number)),
            Self::Value(Value::Null | Value::Array(_) | Value::Object(_)) => None,
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Keys(keys) => Value::Object(
                keys.0
                    .iter()
                    .map(|(key, item)| (key.clone(), item.json()))
                    .collect(),
            ),
            Self::Value(value) => value.clone(),
        }
    }
}

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ItemVisitor)
    }
}

struct ItemVisitor;

impl<'de> Visitor<'de> for ItemVisitor {
    type Value = Item;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Item, E> {
        Ok(Item::Value(Value::Null))
    }

    fn visit_bool<E>(self, on: bool) -> Result<Item, E> {
        Ok(Item::Value(on.into()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Item, E> {
        Ok(Item::Value(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Item, E> {
        Ok(Item::Value(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Item, E> {
        Ok(Item::Value(number.into()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Item, E> {
        Ok(Item::Value(text.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Item, A::Error> {
        let mut values = Vec::new();
        while let Some(item) = list.next_element::<Item>()? {
            values.push(item.json());
        }
        Ok(Item::Value(Value::Array(values)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Item, A::Error> {
        let mut keys = BTreeSet::new();
        let mut order = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            if !keys.insert(key.clone()) {
                return Err(serde::de::Error::custom(format!(
                    "the key {key:?} for the second time"
                )));
            }
            order.push((key, map.next_value()?));
        }
        Ok(Item::Keys(Keys(order)))
    }
}
