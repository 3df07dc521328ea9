//! Values of the configuration: numbers in a range, and what is said of those that are not.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, de::Error as _};

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
        let key = key.map_or_else(String::new, |key| format!("`{key}`: "));
        Self {
            file: file.to_owned(),
            line: Some(number),
            message: format!("{key}{}", error.message()),
        }
    }
}

impl core::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file.display(), self.message),
            None => write!(f, "{}: {}", self.file.display(), self.message),
        }
    }
}

impl core::error::Error for ConfigError {}

/// A whole number from `MIN` to `MAX`.
pub(super) fn number<'de, D: Deserializer<'de>, const MIN: u64, const MAX: u64>(
    value: D,
) -> Result<u64, D::Error> {
    let found = i64::deserialize(value)?;
    u64::try_from(found)
        .ok()
        .filter(|n| (MIN..=MAX).contains(n))
        .ok_or_else(|| {
            D::Error::custom(format!(
                "{found} is out of range: {MIN} to {MAX} would be right"
            ))
        })
}

/// As [`number`], for a key that may be absent.
pub(super) fn between<'de, D: Deserializer<'de>, const MIN: u64, const MAX: u64>(
    value: D,
) -> Result<Option<u64>, D::Error> {
    number::<D, MIN, MAX>(value).map(Some)
}
