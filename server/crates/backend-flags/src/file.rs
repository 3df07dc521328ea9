//! The flag file: from its text to a value for each flag that is on, or to the one complaint that its author can act on. It keeps nothing.

use core::fmt;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use cohnect_capabilities::Scalar;
use serde_json::Value;

use crate::json::{Item, Keys};

/// The largest flag file. It is read whole on every change, and ten thousand flags fit into it.
pub const FILE_BYTES_MAX: usize = 4 << 20;

/// What is wrong with a flag file, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{place}: found {found}; expected {expected}", file.display())]
pub struct FlagFileError {
    /// The file.
    pub file: PathBuf,
    /// Where in it.
    pub place: Place,
    /// What is there.
    pub found: String,
    /// What would be right.
    pub expected: String,
}

/// A place in a flag file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The file as a whole.
    File,
    /// Where it stops being JSON; both count from 1.
    Line(usize, usize),
    /// A key at its top.
    Key(String),
    /// A flag, by its name.
    Flag(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File => Ok(()),
            Self::Line(line, column) => write!(f, ", line {line}, column {column}"),
            Self::Key(key) => write!(f, ", key {key:?}"),
            Self::Flag(flag) => write!(f, ", flag {flag:?}"),
        }
    }
}

/// The values of the flags in this file that are on.
///
/// # Errors
/// The file cannot be read, or something in it is wrong.
pub(crate) fn read(file: &Path) -> Result<BTreeMap<String, Scalar>, FlagFileError> {
    bytes(file)
        .and_then(|bytes| document(&bytes))
        .and_then(|document| parse(&document))
        .map_err(|wrong| wrong.of(file))
}

/// A complaint before it has its file.
struct Wrong {
    place: Place,
    found: String,
    expected: String,
}

impl Wrong {
    fn new(place: Place, found: impl Into<String>, expected: impl Into<String>) -> Self {
        Self {
            place,
            found: found.into(),
            expected: expected.into(),
        }
    }

    fn of(self, file: &Path) -> FlagFileError {
        FlagFileError {
            file: file.to_owned(),
            place: self.place,
            found: self.found,
            expected: self.expected,
        }
    }
}

fn bytes(file: &Path) -> Result<Vec<u8>, Wrong> {
    let unreadable = |error: std::io::Error| {
        Wrong::new(
            Place::File,
            error.to_string(),
            "a flag file that can be read",
        )
    };
    let mut bytes = Vec::new();
    let most = FILE_BYTES_MAX as u64 + 1;
    File::open(file)
        .map_err(unreadable)?
        .take(most)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() > FILE_BYTES_MAX {
        let expected = format!("at most {} MiB", FILE_BYTES_MAX >> 20);
        return Err(Wrong::new(
            Place::File,
            format!("more than {FILE_BYTES_MAX} bytes"),
            expected,
        ));
    }
    Ok(bytes)
}

fn document(bytes: &[u8]) -> Result<Keys, Wrong> {
    let expected = "flagd's JSON: {\"flags\": {…}}";
    match serde_json::from_slice(bytes) {
        Ok(Item::Keys(keys)) => Ok(keys),
        Ok(other @ Item::Value(_)) => Err(Wrong::new(Place::File, other.kind(), expected)),
        Err(error) => {
            let text = error.to_string();
            // The place stands by itself, so it is cut from the text.
            let text = text.split(" at line ").next().unwrap_or_default();
            let place = Place::Line(error.line(), error.column());
            let text = if error.is_data() {
                text.to_owned()
            } else {
                format!("what is no JSON ({text})")
            };
            Err(Wrong::new(place, text, expected))
        }
    }
}

fn parse(document: &Keys) -> Result<BTreeMap<String, Scalar>, Wrong> {
    let mut flags = None;
    for (key, value) in &document.0 {
        match key.as_str() {
            "flags" => flags = Some(value),
            // For editors, for rules that nothing refers to yet, and for whoever reads the file.
            "$schema" | "$evaluators" | "metadata" => {}
            _ => {
                let expected = "one of flags, metadata, $schema, $evaluators";
                return Err(Wrong::new(
                    Place::Key(key.clone()),
                    "a key that is not known",
                    expected,
                ));
            }
        }
    }
    let Some(flags) = flags else {
        return Err(Wrong::new(
            Place::File,
            "no key \"flags\"",
            "{\"flags\": {…}}",
        ));
    };
    let Item::Keys(flags) = flags else {
        let expected = "an object with a flag under each name";
        return Err(Wrong::new(
            Place::Key("flags".into()),
            flags.kind(),
            expected,
        ));
    };
    let mut values = BTreeMap::new();
    for (name, flag) in &flags.0 {
        let value = self::flag(flag)
            .map_err(|(found, expected)| Wrong::new(Place::Flag(name.clone()), found, expected))?;
        if let Some(value) = value {
            values.insert(name.clone(), value);
        }
    }
    Ok(values)
}

type Complaint = (String, String);

fn complain<T>(found: impl Into<String>, expected: impl Into<String>) -> Result<T, Complaint> {
    Err((found.into(), expected.into()))
}

/// A flag's value; none when it is off or has no default. What is off is checked all the same: it will be turned on in a hurry.
fn flag(flag: &Item) -> Result<Option<Scalar>, Complaint> {
    let Item::Keys(keys) = flag else {
        return complain(
            flag.kind(),
            "an object with state, variants and defaultVariant",
        );
    };
    let (mut state, mut variants, mut chosen) = (None, None, None);
    for (key, value) in &keys.0 {
        match key.as_str() {
            "state" => state = Some(value),
            "variants" => variants = Some(value),
            "defaultVariant" => chosen = Some(value),
            "metadata" => {}
            "targeting" => no_targeting(value)?,
            _ => {
                let expected = "one of state, variants, defaultVariant, targeting, metadata";
                return complain(format!("the key {key:?}, which is not known"), expected);
            }
        }
    }
    let on = match state {
        Some(Item::Value(Value::String(state))) if state == "ENABLED" => true,
        Some(Item::Value(Value::String(state))) if state == "DISABLED" => false,
        Some(other) => {
            return complain(
                format!("the state {}", other.text()),
                "\"ENABLED\" or \"DISABLED\"",
            );
        }
        None => return complain("no state", "\"state\": \"ENABLED\" or \"DISABLED\""),
    };
    let variants = self::variants(variants)?;
    let value = match chosen {
        // flagd leaves the choice to the code then, which is what no value means here.
        None | Some(Item::Value(Value::Null)) => None,
        Some(Item::Value(Value::String(chosen))) => match variants.get(chosen.as_str()) {
            Some(value) => Some(value.clone()),
            None => {
                let names: Vec<_> = variants.keys().map(|name| format!("{name:?}")).collect();
                return complain(
                    format!("the defaultVariant {chosen:?}"),
                    format!("one of {}", names.join(", ")),
                );
            }
        },
        Some(other) => {
            return complain(
                format!("the defaultVariant {}", other.text()),
                "the name of a variant",
            );
        }
    };
    Ok(value.filter(|_| on))
}

fn no_targeting(rules: &Item) -> Result<(), Complaint> {
    match rules {
        Item::Value(Value::Null) => Ok(()),
        Item::Keys(rules) if rules.0.is_empty() => Ok(()),
        Item::Keys(_) | Item::Value(_) => complain(
            "targeting rules",
            "none: this version does not evaluate them, so the flag would lie",
        ),
    }
}

fn variants(variants: Option<&Item>) -> Result<BTreeMap<&str, Scalar>, Complaint> {
    let Some(Item::Keys(variants)) = variants else {
        let found = variants.map_or_else(
            || "no variants".to_owned(),
            |other| format!("variants that are {}", other.kind()),
        );
        return complain(
            found,
            "\"variants\": an object with a value under each name",
        );
    };
    if variants.0.is_empty() {
        return complain("no variant", "at least one");
    }
    let mut kind = None;
    let mut values = BTreeMap::new();
    for (name, item) in &variants.0 {
        let Some(value) = item.scalar() else {
            return complain(
                format!("variant {name:?}, {}", item.kind()),
                "a boolean, text, number or object",
            );
        };
        let first = *kind.get_or_insert_with(|| item.kind());
        if first != item.kind() {
            let found = format!("variant {name:?}, {}, beside {first}", item.kind());
            return complain(found, "variants of one type");
        }
        values.insert(name.as_str(), value);
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<BTreeMap<String, Scalar>, String> {
        document(text.as_bytes())
            .and_then(|document| parse(&document))
            .map_err(|wrong| wrong.of(Path::new("flags.json")).to_string())
    }

    #[test]
    fn every_kind_of_value_is_read() {
        let values = read_text(
            r##"{
              "$schema": "https://flagd.dev/schema/v0/flags.json",
              "metadata": {"owner": "ops"},
              "$evaluators": {"unused": {"in": ["@a", {"var": ["email"]}]}},
              "flags": {
                "switch": {"state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": "on", "targeting": {}},
                "colour": {"state": "ENABLED", "variants": {"red": "#c05543", "blue": "#5db9b5"}, "defaultVariant": "blue", "metadata": {"a": 1}},
                "speed": {"state": "ENABLED", "variants": {"low": 1, "high": 2.5}, "defaultVariant": "high", "targeting": null},
                "lives": {"state": "ENABLED", "variants": {"few": -3, "many": 9}, "defaultVariant": "few"},
                "shop": {"state": "ENABLED", "variants": {"a": {"price": 3, "tags": ["x"]}}, "defaultVariant": "a"},
                "off": {"state": "DISABLED", "variants": {"on": true}, "defaultVariant": "on"},
                "code": {"state": "ENABLED", "variants": {"on": true}, "defaultVariant": null},
                "silent": {"state": "ENABLED", "variants": {"on": true}}
              }
            }"##,
        )
        .unwrap();
        let expected = [
            ("colour", Scalar::Text("#5db9b5".into())),
            ("lives", Scalar::Integer(-3)),
            ("shop", Scalar::Text(r#"{"price":3,"tags":["x"]}"#.into())),
            ("speed", Scalar::Number(2.5)),
            ("switch", Scalar::Boolean(true)),
        ];
        assert_eq!(
            values,
            expected
                .map(|(name, value)| (name.to_owned(), value))
                .into()
        );
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let flag = |body: &str| format!(r#"{{"flags": {{"x": {body}}}}}"#);
        let rest = r#""state": "ENABLED", "variants": {"on": true, "off": false}"#;
        let cases = [
            (
                "{\n  \"flags\": {,\n}".to_owned(),
                "flags.json, line 2, column 13: found what is no JSON (key must be a string); expected flagd's JSON: {\"flags\": {…}}",
            ),
            (
                "[]".to_owned(),
                "flags.json: found a list; expected flagd's JSON: {\"flags\": {…}}",
            ),
            (
                "{}".to_owned(),
                "flags.json: found no key \"flags\"; expected {\"flags\": {…}}",
            ),
            (
                r#"{"flags": []}"#.to_owned(),
                "flags.json, key \"flags\": found a list; expected an object with a flag under each name",
            ),
            (
                r#"{"flag": {}}"#.to_owned(),
                "flags.json, key \"flag\": found a key that is not known; expected one of flags, metadata, $schema, $evaluators",
            ),
            (
                r#"{"flags": {"x": 1, "x": 2}}"#.to_owned(),
                "flags.json, line 1, column 22: found the key \"x\" for the second time; expected flagd's JSON: {\"flags\": {…}}",
            ),
            (
                flag("true"),
                "flags.json, flag \"x\": found a boolean; expected an object with state, variants and defaultVariant",
            ),
            (
                flag(&format!(
                    r#"{{{rest}, "defaultVariant": "on", "targeting": {{"if": [true, "on"]}}}}"#
                )),
                "flags.json, flag \"x\": found targeting rules; expected none: this version does not evaluate them, so the flag would lie",
            ),
            (
                flag(&format!(r#"{{{rest}, "defaultVariant": "On"}}"#)),
                "flags.json, flag \"x\": found the defaultVariant \"On\"; expected one of \"off\", \"on\"",
            ),
            (
                flag(&format!(r#"{{{rest}, "defaultVariant": true}}"#)),
                "flags.json, flag \"x\": found the defaultVariant true; expected the name of a variant",
            ),
            (
                flag(&format!(r#"{{{rest}, "default": "on"}}"#)),
                "flags.json, flag \"x\": found the key \"default\", which is not known; expected one of state, variants, defaultVariant, targeting, metadata",
            ),
            (
                flag(r#"{"state": "enabled", "variants": {"on": true}, "defaultVariant": "on"}"#),
                "flags.json, flag \"x\": found the state \"enabled\"; expected \"ENABLED\" or \"DISABLED\"",
            ),
            (
                flag(r#"{"variants": {"on": true}}"#),
                "flags.json, flag \"x\": found no state; expected \"state\": \"ENABLED\" or \"DISABLED\"",
            ),
            (
                flag(r#"{"state": "DISABLED"}"#),
                "flags.json, flag \"x\": found no variants; expected \"variants\": an object with a value under each name",
            ),
            (
                flag(r#"{"state": "ENABLED", "variants": {}}"#),
                "flags.json, flag \"x\": found no variant; expected at least one",
            ),
            (
                flag(r#"{"state": "ENABLED", "variants": {"a": [1]}}"#),
                "flags.json, flag \"x\": found variant \"a\", a list; expected a boolean, text, number or object",
            ),
            (
                flag(r#"{"state": "ENABLED", "variants": {"a": 1, "b": "2"}}"#),
                "flags.json, flag \"x\": found variant \"b\", text, beside a number; expected variants of one type",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(read_text(&text).unwrap_err(), expected, "{text}");
        }
    }

    #[test]
    fn a_file_is_bounded_in_size_and_depth() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("flags.json");
        std::fs::write(&file, " ".repeat(FILE_BYTES_MAX + 1)).unwrap();
        let error = read(&file).unwrap_err();
        assert_eq!(
            (error.place, error.expected),
            (Place::File, "at most 4 MiB".to_owned())
        );
        let deep = "{\"flags\":".repeat(100_000);
        assert!(read_text(&deep).is_err());
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = read(Path::new("no/such/flags.json"))
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("no/such/flags.json: found No such file"),
            "{error}"
        );
    }
}
