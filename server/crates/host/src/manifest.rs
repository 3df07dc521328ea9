//! The manifest of a module: `NAME.toml` beside a lone file, `module.toml` in a folder, or the `manifest` that its code returns. Everything in it is
//! optional; what it does not know, it refuses, with file, line and what would be right. Defaults that depend on the lane are the custodian's.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path};
use std::time::Duration;

use crate::catalog::{OnFailure, Placement};
use crate::context::Grants;
use crate::load::{NAME_BYTES_MAX, is_name};
use crate::nearest::{nearest, suggestion, within};
use crate::replica::LoadError;

/// What a manifest says; none where it says nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Manifest {
    /// The module's name; else its file's or folder's.
    pub name: Option<String>,
    /// The file that is run.
    pub entry: Option<String>,
    /// For people, and for other modules to read.
    pub version: Option<String>,
    /// How many copies.
    pub placement: Option<Placement>,
    /// On which shard its only copy lives.
    pub shard: Option<u16>,
    /// CPU for one call.
    pub deadline: Option<Duration>,
    /// Memory of one replica.
    pub memory_mib: Option<u32>,
    /// Copies on workers.
    pub instances_max: Option<u32>,
    /// Ceiling of the ticker.
    pub tick_hz_max: Option<u32>,
    /// Calls that wait for one replica.
    pub queue_max: Option<u32>,
    /// How long a swap waits for the running call; zero forces the swap.
    pub swap_wait: Option<Duration>,
    /// What a failing stage means.
    pub on_failure: Option<OnFailure>,
    /// What it may reach beyond what can do no harm.
    pub grants: Grants,
    /// What of its exports holds.
    pub narrow: Narrow,
    /// What `config.get` reads.
    pub config: toml::Table,
}

/// What of a module's exports holds; none: all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Narrow {
    /// Actions by name.
    pub actions: Option<BTreeSet<String>>,
    /// Opcodes.
    pub opcodes: Option<BTreeSet<u16>>,
    /// Topics of BROADCAST, as they are claimed.
    pub topics: Option<BTreeSet<String>>,
    /// Topics of STREAM, as they are claimed.
    pub streams: Option<BTreeSet<String>>,
}

const KEYS: [&str; 15] = [
    "name",
    "entry",
    "version",
    "placement",
    "shard",
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
const KEYS_LATER: [&str; 4] = ["create", "idle_s", "persist", "checkpoint_s"];
/// What code may say of itself; grants and limits stand only in the file.
const KEYS_OF_CODE: [&str; 3] = ["placement", "version", "shard"];
/// Grants of one module: more than this is a mistake of whoever writes them.
const GRANTS_MAX: usize = 256;

impl Manifest {
    /// Reads a manifest file.
    ///
    /// # Errors
    /// File, line, what was found and what would be right.
    pub fn parse(file: &Path, text: &str) -> Result<Self, LoadError> {
        let table: toml::Table = text.parse().map_err(|e: toml::de::Error| {
            let line = e.span().map_or(1, |span| line_of(text, span.start));
            LoadError::new(format!("{}:{line}: {}", file.display(), e.message()))
        })?;
        let lines = key_lines(text);
        let mut manifest = Self::default();
        for (key, value) in &table {
            manifest.set(key, value).map_err(|(inner, problem)| {
                let path = inner.map_or_else(|| key.clone(), |inner| format!("{key}.{inner}"));
                let line = lines
                    .get(&path)
                    .or_else(|| lines.get(key))
                    .copied()
                    .unwrap_or(1);
                LoadError::new(format!("{}:{line}: {problem}", file.display()))
            })?;
        }
        Ok(manifest)
    }

    /// What a manifest calls its module, also where other words in it are refused.
    pub(crate) fn name_in(text: &str) -> Option<String> {
        let table: toml::Table = text.parse().ok()?;
        name(table.get("name")?).ok()
    }

    /// Takes over what the code says of itself, where the file says nothing.
    ///
    /// # Errors
    /// What was found and what would be right.
    pub fn adopt(&mut self, said: &[(String, toml::Value)]) -> Result<(), LoadError> {
        for (key, value) in said {
            let problem = check_key_of_code(key).and_then(|()| {
                let mut own = Self::default();
                own.set(key, value).map_err(|(_, problem)| problem)?;
                self.placement = self.placement.or(own.placement);
                self.shard = self.shard.or(own.shard);
                self.version = self.version.take().or(own.version);
                Ok(())
            });
            problem
                .map_err(|problem| LoadError::new(format!("manifest in the code: {problem}")))?;
        }
        Ok(())
    }

    /// Sets one key; an error names the key inside a table, if it lies there.
    fn set(&mut self, key: &str, value: &toml::Value) -> Result<(), (Option<String>, String)> {
        let plain = |problem: String| (None, problem);
        match key {
            "name" => self.name = Some(name(value).map_err(plain)?),
            "entry" => self.entry = Some(entry(value).map_err(plain)?),
            "version" => self.version = Some(text(key, value).map_err(plain)?),
            "placement" => self.placement = Some(placement(value).map_err(plain)?),
            "on_failure" => self.on_failure = Some(on_failure(value).map_err(plain)?),
            "shard" => {
                // Which shards there are is known only where it is placed.
                let n = number(key, value, 0, u64::from(u16::MAX)).map_err(plain)?;
                self.shard = Some(n as u16);
            }
            "deadline_ms" => {
                let ms = number(key, value, 1, 5_000).map_err(plain)?;
                self.deadline = Some(Duration::from_millis(ms));
            }
            "swap_wait_s" => {
                let s = number(key, value, 0, 300).map_err(plain)?;
                self.swap_wait = Some(Duration::from_secs(s));
            }
            "memory_mib" => {
                self.memory_mib = Some(number(key, value, 1, 4_096).map_err(plain)? as u32);
            }
            "instances_max" => {
                self.instances_max = Some(number(key, value, 1, 256).map_err(plain)? as u32);
            }
            "tick_hz_max" => {
                self.tick_hz_max = Some(number(key, value, 1, 1_000).map_err(plain)? as u32);
            }
            "queue_max" => {
                self.queue_max = Some(number(key, value, 1, 65_536).map_err(plain)? as u32);
            }
            "grants" => self.grants = grants(value).map_err(plain)?,
            "narrow" => self.narrow = narrow(value)?,
            "config" => {
                let Some(table) = value.as_table() else {
                    return Err(plain(format!("`config` is a table, not `{value}`")));
                };
                self.config = table.clone();
            }
            later if KEYS_LATER.contains(&later) => {
                return Err(plain(format!("`{later}` is not in this version")));
            }
            unknown => return Err(plain(unknown_key(unknown, &KEYS))),
        }
        Ok(())
    }
}

fn text(key: &str, value: &toml::Value) -> Result<String, String> {
    value
        .as_str()
        .filter(|text| !text.is_empty() && text.len() <= 255)
        .map(str::to_owned)
        .ok_or_else(|| format!("`{key}` is a text of 1 to 255 bytes, not `{value}`"))
}

fn name(value: &toml::Value) -> Result<String, String> {
    value
        .as_str()
        .filter(|name| is_name(name))
        .map(str::to_owned)
        .ok_or_else(|| {
            format!(
                "`name` has 1 to {NAME_BYTES_MAX} letters, digits, `-` or `_`; `{value}` has not"
            )
        })
}

fn entry(value: &toml::Value) -> Result<String, String> {
    let entry = text("entry", value)?;
    let inside = Path::new(&entry)
        .components()
        .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if inside {
        Ok(entry)
    } else {
        Err(format!(
            "`entry` stays inside the module's folder, `{entry}` does not"
        ))
    }
}

fn number(key: &str, value: &toml::Value, low: u64, high: u64) -> Result<u64, String> {
    value
        .as_integer()
        .and_then(|n| u64::try_from(n).ok())
        .filter(|n| (low..=high).contains(n))
        .ok_or_else(|| format!("`{key}` is a whole number from {low} to {high}, not `{value}`"))
}

fn placement(value: &toml::Value) -> Result<Placement, String> {
    match value.as_str() {
        Some("single") => Ok(Placement::Single),
        Some("per-shard") => Ok(Placement::PerShard),
        Some(later @ ("keyed" | "per-call")) => {
            Err(format!("placement `{later}` is not in this version"))
        }
        Some(_) | None => Err(format!(
            "`placement` is \"single\" or \"per-shard\", not `{value}`"
        )),
    }
}

fn on_failure(value: &toml::Value) -> Result<OnFailure, String> {
    match value.as_str() {
        Some("reject") => Ok(OnFailure::Reject),
        Some("pass") => Ok(OnFailure::Pass),
        Some("drop") => Ok(OnFailure::Drop),
        Some(_) | None => Err(format!(
            "`on_failure` is \"pass\", \"drop\" or \"reject\", not `{value}`"
        )),
    }
}

fn grants(value: &toml::Value) -> Result<Grants, String> {
    let mut grants = Grants::default();
    for grant in texts("grants", value, GRANTS_MAX)? {
        let (kind, name) = grant.split_once(':').unwrap_or((&grant, ""));
        let names = match kind {
            "db" => &mut grants.databases,
            "secret" => &mut grants.secrets,
            "storage" | "cache" | "mq" | "http" | "fleet" | "clients" => {
                return Err(format!(
                    "the grant `{grant}` is not in this version; `db:NAME` and `secret:NAME` are"
                ));
            }
            _ => {
                return Err(format!(
                    "there is no grant `{grant}`; there are `db:NAME` and `secret:NAME`"
                ));
            }
        };
        if name.is_empty() {
            return Err(format!(
                "the grant `{grant}` names nothing; write `{kind}:NAME`"
            ));
        }
        names.insert(name.to_owned());
    }
    Ok(grants)
}

fn narrow(value: &toml::Value) -> Result<Narrow, (Option<String>, String)> {
    const KEYS: [&str; 4] = ["actions", "opcodes", "topics", "streams"];
    const NAMES_MAX: usize = 4_096;
    let Some(table) = value.as_table() else {
        return Err((None, format!("`narrow` is a table, not `{value}`")));
    };
    let mut narrow = Narrow::default();
    for (key, value) in table {
        let inner = |problem| (Some(key.clone()), problem);
        match key.as_str() {
            "actions" => narrow.actions = Some(texts(key, value, NAMES_MAX).map_err(inner)?),
            "topics" => narrow.topics = Some(texts(key, value, NAMES_MAX).map_err(inner)?),
            "streams" => narrow.streams = Some(texts(key, value, NAMES_MAX).map_err(inner)?),
            "opcodes" => narrow.opcodes = Some(opcodes(value).map_err(inner)?),
            unknown => return Err(inner(unknown_key(unknown, &KEYS))),
        }
    }
    Ok(narrow)
}

fn texts(key: &str, value: &toml::Value, max: usize) -> Result<BTreeSet<String>, String> {
    value
        .as_array()
        .filter(|items| items.len() <= max)
        .and_then(|items| {
            items
                .iter()
                .map(|item| item.as_str().map(str::to_owned))
                .collect::<Option<BTreeSet<_>>>()
        })
        .ok_or_else(|| format!("`{key}` is a list of at most {max} texts, not `{value}`"))
}

fn opcodes(value: &toml::Value) -> Result<BTreeSet<u16>, String> {
    value
        .as_array()
        .and_then(|items| {
            items
                .iter()
                .map(|item| u16::try_from(item.as_integer()?).ok())
                .collect::<Option<BTreeSet<_>>>()
        })
        .ok_or_else(|| format!("`opcodes` is a list of numbers below 65536, not `{value}`"))
}

/// Whether code may say this of itself: a language asks where it reads that, so that it can name the place.
///
/// # Errors
/// What is wrong with the key, and what would be right.
pub fn check_key_of_code(key: &str) -> Result<(), String> {
    // Those of a later version are refused with their value, by that name.
    if KEYS_OF_CODE.contains(&key) || KEYS_LATER.contains(&key) {
        return Ok(());
    }
    if KEYS.contains(&key) {
        return Err(format!(
            "`{key}` stands only in the manifest file; code may say {}",
            listed(&KEYS_OF_CODE)
        ));
    }
    // The nearest key may be one of the file's, which a suggestion alone would send its author to write here.
    Err(match nearest(key, KEYS) {
        Some(found) if !KEYS_OF_CODE.contains(&found) => format!(
            "there is no key `{key}`; did you mean `{found}`? It stands only in the manifest file"
        ),
        Some(_) | None => format!(
            "there is no key `{key}`; {}",
            suggestion(key, &KEYS_OF_CODE)
        ),
    })
}

fn unknown_key(found: &str, known: &[&str]) -> String {
    // The keys of a manifest are few and long.
    within(2, found, known.iter().copied()).map_or_else(
        || format!("unknown key `{found}`; there are {}", listed(known)),
        |key| format!("unknown key `{found}`; is `{key}` meant?"),
    )
}

fn listed(keys: &[&str]) -> String {
    keys.join(", ")
}

fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|b| *b == b'\n').count() + 1
}

/// The line of each key, and of each key of a table below the top.
fn key_lines(text: &str) -> BTreeMap<String, usize> {
    let mut lines = BTreeMap::new();
    let Ok(table) = toml::de::DeTable::parse(text) else {
        return lines;
    };
    for (key, value) in table.get_ref() {
        let name = key.get_ref().to_string();
        if let toml::de::DeValue::Table(inner) = value.get_ref() {
            for key in inner.keys() {
                let path = format!("{name}.{}", key.get_ref());
                lines.insert(path, line_of(text, key.span().start));
            }
        }
        lines.insert(name, line_of(text, key.span().start));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Manifest, String> {
        Manifest::parse(Path::new("arena.toml"), text).map_err(|e| e.message)
    }

    #[test]
    fn every_key_is_read() {
        let manifest = parse(
            r#"
name = "arena"
entry = "arena.luau"
version = "1.2"
placement = "per-shard"
deadline_ms = 20
memory_mib = 64
instances_max = 4
tick_hz_max = 60
queue_max = 16
swap_wait_s = 3
shard = 1
grants = ["db:main", "secret:token"]
on_failure = "pass"
[narrow]
actions = ["join"]
opcodes = [0x0101, 258]
topics = ["chat/*"]
streams = []
[config]
speed = 3
"#,
        )
        .unwrap();
        assert_eq!(manifest.placement, Some(Placement::PerShard));
        assert_eq!(manifest.deadline, Some(Duration::from_millis(20)));
        assert_eq!(manifest.on_failure, Some(OnFailure::Pass));
        assert!(manifest.grants.databases.contains("main"));
        assert!(manifest.grants.secrets.contains("token"));
        assert_eq!(
            manifest.narrow.opcodes,
            Some(BTreeSet::from([0x0101, 0x0102]))
        );
        assert_eq!(manifest.narrow.streams, Some(BTreeSet::new()));
        assert_eq!(manifest.config["speed"].as_integer(), Some(3));
        assert_eq!(parse(""), Ok(Manifest::default()));
    }

    #[test]
    fn a_swap_that_may_not_wait_is_no_mistake() {
        let forced = parse("swap_wait_s = 0").unwrap();
        assert_eq!(forced.swap_wait, Some(Duration::ZERO));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, problem) in [
            (
                "\nplacment = \"single\"",
                "arena.toml:2: unknown key `placment`; is `placement` meant?",
            ),
            (
                "placement = \"keyed\"",
                "arena.toml:1: placement `keyed` is not in this version",
            ),
            (
                "placement = 3",
                "arena.toml:1: `placement` is \"single\" or \"per-shard\", not `3`",
            ),
            (
                "persist = true",
                "arena.toml:1: `persist` is not in this version",
            ),
            (
                "queue_max = 0",
                "arena.toml:1: `queue_max` is a whole number from 1 to 65536, not `0`",
            ),
            (
                "version = \"1\"\n\ngrants = [\"http:api.example.com\"]",
                "arena.toml:3: the grant `http:api.example.com` is not in this version; `db:NAME` and `secret:NAME` are",
            ),
            (
                "grants = [\"db\"]",
                "arena.toml:1: the grant `db` names nothing; write `db:NAME`",
            ),
            (
                "grants = [\"root\"]",
                "arena.toml:1: there is no grant `root`; there are `db:NAME` and `secret:NAME`",
            ),
            (
                "[narrow]\nactions = [\"a\"]\naction = []",
                "arena.toml:3: unknown key `action`; is `actions` meant?",
            ),
            ("config = 3", "arena.toml:1: `config` is a table, not `3`"),
            (
                "narrow = \"a\"",
                "arena.toml:1: `narrow` is a table, not `\"a\"`",
            ),
            (
                "\nname = \"a b\"",
                "arena.toml:2: `name` has 1 to 64 letters, digits, `-` or `_`; `\"a b\"` has not",
            ),
            (
                "\nentry = \"../b.luau\"",
                "arena.toml:2: `entry` stays inside the module's folder, `../b.luau` does not",
            ),
            (
                "deadline_ms = \"soon\"",
                "arena.toml:1: `deadline_ms` is a whole number from 1 to 5000, not `\"soon\"`",
            ),
            (
                "grants = \"db:main\"",
                "arena.toml:1: `grants` is a list of at most 256 texts, not `\"db:main\"`",
            ),
            (
                "[narrow]\nopcodes = [70000]",
                "arena.toml:2: `opcodes` is a list of numbers below 65536, not `[70000]`",
            ),
        ] {
            assert_eq!(parse(text), Err(problem.to_owned()), "{text}");
        }
        let broken = parse("a = 1\nb = = 2").unwrap_err();
        assert!(broken.starts_with("arena.toml:2: "), "{broken}");
        let far = parse("zzzzzz = 1").unwrap_err();
        assert!(far.contains("there are name, entry"), "{far}");
    }

    #[test]
    fn the_file_wins_over_the_code_and_grants_stand_only_in_it() {
        let mut manifest = parse("placement = \"single\"").unwrap();
        let says = |key: &str, value: &str| vec![(key.to_owned(), toml::Value::from(value))];
        manifest.adopt(&says("placement", "per-shard")).unwrap();
        manifest.adopt(&says("version", "7")).unwrap();
        assert_eq!(manifest.placement, Some(Placement::Single));
        assert_eq!(manifest.version.as_deref(), Some("7"));
        assert_eq!(
            manifest
                .adopt(&says("grants", "db:main"))
                .unwrap_err()
                .message,
            "manifest in the code: `grants` stands only in the manifest file; code may say placement, version, shard"
        );
        assert_eq!(
            manifest.adopt(&says("persist", "x")).unwrap_err().message,
            "manifest in the code: `persist` is not in this version"
        );
    }
}
