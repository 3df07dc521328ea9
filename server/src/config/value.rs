//! Values of the configuration: what each may be, and what is said of one that is something else. People read it: it names what was found and what would
//! be right, in their words and not in those of the parser.

use core::fmt;
use core::str::FromStr as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::de::{Error as _, Unexpected, Visitor};
use serde::{Deserialize as _, Deserializer};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use super::LogFormat;

/// Why a configuration is refused.
#[derive(Debug)]
pub struct ConfigError {
    file: PathBuf,
    line: Option<usize>,
    message: String,
}

impl ConfigError {
    pub(super) fn unreadable(file: &Path, error: &std::io::Error) -> Self {
        Self {
            file: file.to_owned(),
            line: None,
            message: format!("it cannot be read: {error}"),
        }
    }

    pub(super) fn malformed(file: &Path, text: &str, error: &toml::de::Error) -> Self {
        let at = error.span().map_or(0, |span| span.start.min(text.len()));
        let before = &text.as_bytes()[..at];
        let number = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let line = text.lines().nth(number - 1).unwrap_or_default();
        // The key alone: a value may be a secret in the wrong place.
        let key = line
            .split_once('=')
            .map(|(key, _)| key.trim())
            .filter(|key| !key.is_empty() && !key.starts_with('#'));
        let problem = in_words(error.message());
        let named = key.is_some_and(|key| problem.starts_with(&format!("`{key}`")));
        let key = key
            .filter(|_| !named)
            .map_or_else(String::new, |key| format!("`{key}`: "));
        Self {
            file: file.to_owned(),
            line: Some(number),
            message: format!("{key}{problem}"),
        }
    }

    /// As [`Self::at_key`], of a key in this table.
    pub(super) fn at_key_of(
        file: &Path,
        text: &str,
        table: &str,
        key: &str,
        problem: String,
    ) -> Self {
        let header = text
            .lines()
            .position(|line| line.trim() == format!("[{table}]"));
        // A table that is written in another way has no line of its own to begin at.
        let before = header.unwrap_or(0);
        let mut own = Self::at_key(
            file,
            &text.lines().skip(before).collect::<Vec<_>>().join("\n"),
            key,
            problem,
        );
        own.line = own.line.map(|line| before + line);
        own
    }

    /// Says what is wrong with a key whose value is wrong only beside others.
    pub(super) fn at_key(file: &Path, text: &str, key: &str, problem: String) -> Self {
        let line = text.lines().position(|line| {
            line.split_once('=')
                .is_some_and(|(found, _)| found.trim() == key)
        });
        Self {
            file: file.to_owned(),
            line: line.map(|at| at + 1),
            message: format!("`{key}`: {problem}"),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file.display(), self.message),
            None => write!(f, "{}: {}", self.file.display(), self.message),
        }
    }
}

impl core::error::Error for ConfigError {}

/// What the parser says, in the words of people.
fn in_words(message: &str) -> String {
    if let Some((found, known)) = message
        .strip_prefix("unknown field ")
        .and_then(|rest| rest.split_once(", expected "))
    {
        let known = known
            .trim_start_matches("one of ")
            .replace("` or `", "`, `");
        if found.contains("datetime") {
            // The parser hands a date over as a table with this one key.
            return "a table would be right, not a date".into();
        }
        let are = if known.contains(',') { "are" } else { "is" };
        return format!("{found} is no key here; there {are} {known}");
    }
    if let Some(missing) = message.strip_prefix("missing field ") {
        return format!("{missing} is missing");
    }
    let mistaken = message
        .strip_prefix("invalid type: ")
        .or_else(|| message.strip_prefix("invalid value: "))
        .and_then(|rest| rest.rsplit_once(", expected "));
    if let Some((found, wanted)) = mistaken {
        return format!("{} would be right, not {}", noun(wanted), noun(found));
    }
    let short = message
        .strip_prefix("invalid length ")
        .and_then(|rest| rest.split_once(", expected "));
    if let Some((length, wanted)) = short {
        return format!("{} would be right, not a list of {length}", noun(wanted));
    }
    // What is wrong with the form of the file itself may come in several lines.
    message.lines().collect::<Vec<_>>().join(", ")
}

/// A type or a value of the parser's, as people call it.
fn noun(word: &str) -> String {
    match word {
        "map" | "a map" => "a table".into(),
        "sequence" => "a list".into(),
        "a boolean" => "true or false".into(),
        "a string" => "a text".into(),
        "path string" => "a path".into(),
        other => ["string ", "integer ", "floating point ", "boolean "]
            .iter()
            .find_map(|kind| other.strip_prefix(kind))
            .unwrap_or(other)
            .to_owned(),
    }
}

/// A whole number from `MIN` to `MAX`.
pub(super) fn number<'de, D: Deserializer<'de>, const MIN: u64, const MAX: u64>(
    value: D,
) -> Result<u64, D::Error> {
    value.deserialize_i64(Range { min: MIN, max: MAX })
}

/// As [`number`], for a key that may be absent.
pub(super) fn between<'de, D: Deserializer<'de>, const MIN: u64, const MAX: u64>(
    value: D,
) -> Result<Option<u64>, D::Error> {
    number::<D, MIN, MAX>(value).map(Some)
}

/// Two odd numbers of 32 bits.
pub(super) fn odd_pair<'de, D: Deserializer<'de>>(value: D) -> Result<Option<[u32; 2]>, D::Error> {
    let odd = |n: &i64| u32::try_from(*n).ok().filter(|n| n % 2 == 1);
    let found = Vec::<i64>::deserialize(value).ok();
    found
        .and_then(|found| match &found[..] {
            [first, second] => odd(first).zip(odd(second)),
            _ => None,
        })
        .map(|(first, second)| Some([first, second]))
        .ok_or_else(|| {
            D::Error::custom("two odd numbers such as [1, 3], below 2^32, would be right")
        })
}

/// An address to listen on.
pub(super) fn address<'de, D: Deserializer<'de>>(value: D) -> Result<SocketAddr, D::Error> {
    value.deserialize_str(Text {
        wanted: "an address with its port such as \"127.0.0.1:4433\"",
        read: |text| text.parse().ok(),
    })
}

/// A form of log lines.
pub(super) fn format<'de, D: Deserializer<'de>>(value: D) -> Result<LogFormat, D::Error> {
    value.deserialize_str(Text {
        wanted: "\"text\" or \"json\"",
        read: |text| match text {
            "text" => Some(LogFormat::Text),
            "json" => Some(LogFormat::Json),
            _ => None,
        },
    })
}

/// Which lines are logged: a level, or levels by target. A word that is no level would count as a target, and everything else would fall silent.
pub(super) fn level<'de, D: Deserializer<'de>>(value: D) -> Result<String, D::Error> {
    value.deserialize_str(Text {
        wanted: "\"off\", \"error\", \"warn\", \"info\", \"debug\" or \"trace\", or levels by target as in \"info,module=debug\"",
        read: |text| {
            let fits = text.split(',').all(|part| {
                let (target, level) = part.rsplit_once('=').unwrap_or(("any", part));
                let [target, level] = [target, level].map(str::trim);
                !target.is_empty() && !level.is_empty() && LevelFilter::from_str(level).is_ok()
            });
            (fits && EnvFilter::from_str(text).is_ok()).then(|| text.to_owned())
        },
    })
}

struct Range {
    min: u64,
    max: u64,
}

impl Visitor<'_> for Range {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a whole number from {} to {}", self.min, self.max)
    }

    fn visit_i64<E: serde::de::Error>(self, found: i64) -> Result<u64, E> {
        u64::try_from(found)
            .ok()
            .filter(|n| (self.min..=self.max).contains(n))
            .ok_or_else(|| E::invalid_value(Unexpected::Signed(found), &self))
    }
}

struct Text<T> {
    wanted: &'static str,
    read: fn(&str) -> Option<T>,
}

impl<T> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.wanted)
    }

    fn visit_str<E: serde::de::Error>(self, found: &str) -> Result<T, E> {
        (self.read)(found).ok_or_else(|| E::invalid_value(Unexpected::Str(found), &self))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::Config;

    fn complaint(text: &str) -> String {
        Config::parse(Path::new("cohnect.toml"), text)
            .map(|config| format!("{text:?} is taken: {config:?}"))
            .unwrap_err()
            .to_string()
    }

    /// Every key, and what may stand there.
    const KEYS: [(&str, &str, &[&str]); 21] = [
        ("server", "listen", &["\"127.0.0.1:0\""]),
        ("server", "shards", &["1", "64"]),
        ("server", "workers", &["1", "64"]),
        ("server", "modules_dir", &["\"m\""]),
        ("server", "data_dir", &["\"m\""]),
        ("server", "key_file", &["\"m\""]),
        ("server", "psk_file", &["\"m\""]),
        ("server", "steering_keys", &["[1, 4294967295]"]),
        ("server", "watch", &["true"]),
        ("access", "anonymous", &["false"]),
        ("session", "idle_timeout_s", &["15", "600"]),
        ("session", "away_s", &["0", "3600"]),
        ("session", "keepalive_s", &["1", "5"]),
        ("session", "max_ack_delay_ms", &["1", "255"]),
        ("session", "sessions_max", &["1", "1000000"]),
        (
            "database",
            "main",
            &[
                "{ file = \"m\" }",
                "{ file = \"m\", size_max_mib = 1048576 }",
            ],
        ),
        ("database.main", "file", &["\"m\""]),
        ("flags", "file", &["\"m\""]),
        ("secrets", "key", &["{ file = \"m\" }", "{ env = \"M\" }"]),
        ("log", "format", &["\"text\"", "\"json\""]),
        (
            "log",
            "level",
            &["\"info\"", "\"INFO,module=debug\"", "\"warn,a::b=off\""],
        ),
    ];

    #[test]
    fn no_complaint_speaks_the_parsers_language() {
        let wrong = [
            "\"no such\"",
            "-1",
            "1000001",
            "1.5",
            "true",
            "[]",
            "[1, \"2\"]",
            "{}",
            "{ listn = 3 }",
            "1979-05-27",
        ];
        for (table, key, right) in KEYS {
            for value in right {
                let text = format!("[{table}]\n{key} = {value}\n");
                Config::parse(Path::new("cohnect.toml"), &text).unwrap();
            }
            let mut complaints = 0;
            for value in wrong {
                let text = format!("[{table}]\n\n{key} = {value}\n");
                let Err(error) = Config::parse(Path::new("cohnect.toml"), &text) else {
                    continue;
                };
                complaints += 1;
                let complaint = error.to_string();
                assert!(
                    complaint.starts_with("cohnect.toml:3: ") && complaint.contains(key),
                    "{complaint}"
                );
                for word in [
                    "invalid", "expected", "field", "variant", "struct", "sequence", " map", "i64",
                    "u32", "enum", "custom", "$",
                ] {
                    assert!(!complaint.contains(word), "{complaint}");
                }
            }
            assert!(complaints >= 8, "{key}: {complaints}");
        }
    }

    #[test]
    fn what_would_be_right_is_said() {
        for (text, wanted) in [
            (
                "[session]\nidle_timeout_s = 2\n",
                "cohnect.toml:2: `idle_timeout_s`: a whole number from 3 to 600 would be right, not `2`",
            ),
            (
                "[session]\nidle_timeout_s = 12\n\nkeepalive_s = 5\n",
                "cohnect.toml:4: `keepalive_s`: 5 is more than a third of `idle_timeout_s`, which is 12: 1 to 4 would be right",
            ),
            (
                "[log]\nlevel = \"inof\"\n",
                "cohnect.toml:2: `level`: \"off\", \"error\", \"warn\", \"info\", \"debug\" or \"trace\", or levels by target as in \"info,module=debug\" would be right, not \"inof\"",
            ),
            (
                "[log]\nlevl = \"info\"\n",
                "cohnect.toml:2: `levl` is no key here; there are `format`, `level`",
            ),
            (
                "[server]\nlisten = 4433\n",
                "cohnect.toml:2: `listen`: an address with its port such as \"127.0.0.1:4433\" would be right, not `4433`",
            ),
            (
                "server = 3\n",
                "cohnect.toml:1: `server`: a table would be right, not `3`",
            ),
            ("[database.main]\n", "cohnect.toml:1: `file` is missing"),
            (
                "[server]\nwatch = 1\n",
                "cohnect.toml:2: `watch`: true or false would be right, not `1`",
            ),
        ] {
            assert_eq!(complaint(text), wanted);
        }
        for level in ["", "module=loud", "=info", "info,", "info;debug", "chatty"] {
            let said = complaint(&format!("[log]\nlevel = \"{level}\"\n"));
            assert!(said.contains("would be right"), "{level}: {said}");
        }
        // Less silence than the default leaves room for less than the default's ping.
        Config::parse(Path::new("c"), "[session]\nidle_timeout_s = 3\n").unwrap();
    }
}
