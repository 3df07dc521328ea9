//! `feature-flags` from one file in flagd's JSON format. It answers with each flag's default variant: rules that look at who asks (`targeting`) are
//! refused by the flag's name until there is an evaluator for them. When to read the file again is the server's business.
#![forbid(unsafe_code)]

mod file;
mod json;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use cohnect_capabilities::Scalar;
use cohnect_capabilities::feature_flags::{FeatureFlags, Subject};

pub use crate::file::{FILE_BYTES_MAX, FlagFileError, Place};

type Values = BTreeMap<String, Scalar>;

/// The flags of one file, as it was when it was last read without error.
#[derive(Debug, Default)]
pub struct Flags {
    file: Option<PathBuf>,
    /// The flags that are on, with their values. The lock is held for one look, or for the exchange of the whole map.
    values: RwLock<Values>,
}

impl Flags {
    /// No flags, and no file: every look finds none.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Reads the file.
    ///
    /// # Errors
    /// It cannot be read, or something in it is wrong; the error says where, what was found and what would be right.
    pub fn load(file: impl Into<PathBuf>) -> Result<Self, FlagFileError> {
        let file = file.into();
        let values = RwLock::new(file::read(&file)?);
        Ok(Self {
            file: Some(file),
            values,
        })
    }

    /// Reads the file again. Answers the names of the flags whose value is another now, new and gone ones among them, in order.
    ///
    /// # Errors
    /// As for [`Self::load`]; the flags stay as they were, all of them.
    pub fn reload(&self) -> Result<Vec<String>, FlagFileError> {
        let Some(file) = &self.file else {
            return Ok(Vec::new());
        };
        let new = file::read(file)?;
        let old = {
            let mut values = self.values.write().unwrap_or_else(PoisonError::into_inner);
            core::mem::replace(&mut *values, new.clone())
        };
        let names: BTreeSet<_> = old.keys().chain(new.keys()).collect();
        let changed = names
            .into_iter()
            .filter(|name| old.get(*name) != new.get(*name));
        Ok(changed.cloned().collect())
    }

    /// Its file; none if there is none.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }
}

impl FeatureFlags for Flags {
    fn value(&self, name: &str, _who: &Subject) -> Option<Scalar> {
        // A map is only ever exchanged whole, so one that a panic left behind is as good as any.
        let values = self.values.read().unwrap_or_else(PoisonError::into_inner);
        values.get(name).cloned()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn write(file: &Path, flags: &str) {
        fs::write(file, format!(r#"{{"flags": {{{flags}}}}}"#)).unwrap();
    }

    fn flag(name: &str, state: &str, chosen: &str) -> String {
        format!(
            r#""{name}": {{"state": "{state}", "variants": {{"on": true, "off": false}}, "defaultVariant": "{chosen}"}}"#
        )
    }

    #[test]
    fn a_reload_names_what_has_changed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("flags.json");
        let four = [
            ("kept", "on"),
            ("turned", "on"),
            ("gone", "on"),
            ("stopped", "on"),
        ];
        write(
            &file,
            &four
                .map(|(name, chosen)| flag(name, "ENABLED", chosen))
                .join(","),
        );
        let flags = Flags::load(&file).unwrap();
        assert_eq!(flags.file(), Some(file.as_path()));
        assert_eq!(flags.reload().unwrap(), Vec::<String>::new());

        let four = [
            flag("kept", "ENABLED", "on"),
            flag("turned", "ENABLED", "off"),
            flag("stopped", "DISABLED", "on"),
            flag("added", "ENABLED", "off"),
        ];
        write(&file, &four.join(","));
        assert_eq!(
            flags.reload().unwrap(),
            ["added", "gone", "stopped", "turned"]
        );
        let who = Subject::default();
        assert_eq!(flags.value("turned", &who), Some(Scalar::Boolean(false)));
        assert_eq!(flags.value("gone", &who), None);
        assert_eq!(flags.value("stopped", &who), None);
        assert!(flags.enabled("kept", &who, false));
        assert!(
            flags.enabled("stopped", &who, true),
            "off is not false: the module's fallback holds"
        );
    }

    #[test]
    fn a_bad_file_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("flags.json");
        write(&file, &flag("a", "ENABLED", "on"));
        let flags = Flags::load(&file).unwrap();
        for bad in ["", "{", r#"{"flags": {"b": {}}}"#, "\u{0}"] {
            fs::write(&file, bad).unwrap();
            assert!(flags.reload().is_err(), "{bad:?}");
            assert!(flags.enabled("a", &Subject::default(), false), "{bad:?}");
        }
        fs::remove_file(&file).unwrap();
        assert!(flags.reload().is_err());
        assert!(flags.enabled("a", &Subject::default(), false));
    }

    #[test]
    fn without_a_file_there_are_no_flags() {
        let flags = Flags::none();
        assert_eq!(flags.value("a", &Subject::default()), None);
        assert_eq!(flags.reload().unwrap(), Vec::<String>::new());
    }
}
