//! New modules: a folder with the smallest one that works, and beside it what its author needs, so that nothing needs to be published anywhere: for Rust the
//! SDK and the contract, for Luau the types, which all modules of a folder share.

use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::sdk;

/// Longest name of a module, in bytes: it stands in log lines, addresses and file names.
const NAME_BYTES_MAX: usize = 64;
/// Where the types for Luau lie, beside the modules; the server passes over what begins with a dot.
const TYPES: &str = ".luau-types";
/// What the templates are called until they have a name.
const PLACEHOLDER: &str = "my-module";
const PLACEHOLDER_TYPE: &str = "MyModule";

/// What a module is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// One file that the server runs as it is.
    Luau,
    /// A crate that [`build`](crate::build()) makes a component of.
    Rust,
}

/// Why there is no new module.
#[derive(Debug, thiserror::Error)]
pub enum NewError {
    /// The name cannot be one.
    #[error(
        "`{0}` is no name for a module; it has 1 to {NAME_BYTES_MAX} lower-case letters, digits and hyphens, and begins with a letter"
    )]
    Name(String),
    /// Something is there already.
    #[error("{} is there already", .0.display())]
    Exists(PathBuf),
    /// A file cannot be written.
    #[error("{}: {source}", .file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Writes a new module into the folder `into`, as a folder of its own, and returns that folder. A Luau module's types, which are ours, are written anew
/// beside it; a `.luaurc` that is there already is its author's and stays.
///
/// # Errors
/// A name that is none, something in the way, a folder that cannot be written.
pub fn new_module(name: &str, language: Language, into: &Path) -> Result<PathBuf, NewError> {
    if !is_name(name) {
        return Err(NewError::Name(name.to_owned()));
    }
    let folder = into.join(name);
    fs::create_dir_all(into)
        .and_then(|()| fs::create_dir(&folder))
        .map_err(|source| {
            if source.kind() == io::ErrorKind::AlreadyExists {
                NewError::Exists(folder.clone())
            } else {
                NewError::File {
                    file: folder.clone(),
                    source,
                }
            }
        })?;
    match language {
        Language::Luau => {
            for (path, text) in sdk::LUAU_TEMPLATE {
                write(
                    &folder,
                    &path.replace(PLACEHOLDER, name),
                    &named(text, name),
                )?;
            }
            for (path, text) in sdk::LUAU_TYPES {
                write(into, &format!("{TYPES}/{path}"), text)?;
            }
            if !into.join(".luaurc").exists() {
                write(into, ".luaurc", sdk::LUAURC)?;
            }
        }
        Language::Rust => {
            for (path, text) in sdk::RUST_TEMPLATE {
                write(&folder, path, &named(text, name))?;
            }
            for (path, text) in sdk::RUST_SDK {
                write(&folder, &format!("sdk/{path}"), text)?;
            }
        }
    }
    Ok(folder)
}

fn is_name(name: &str) -> bool {
    name.len() <= NAME_BYTES_MAX
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-')
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// A template with the module's name in it, and in Rust the type's.
fn named(text: &str, name: &str) -> String {
    text.replace(PLACEHOLDER, name)
        .replace(PLACEHOLDER_TYPE, &type_name(name))
}

fn type_name(name: &str) -> String {
    name.split('-')
        .flat_map(|word| {
            let mut letters = word.chars();
            letters
                .next()
                .map(|first| first.to_ascii_uppercase())
                .into_iter()
                .chain(letters)
        })
        .collect()
}

fn write(folder: &Path, path: &str, text: &str) -> Result<(), NewError> {
    let file = folder.join(path);
    file.parent()
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| fs::write(&file, text))
        .map_err(|source| NewError::File { file, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_luau_module_is_one_file_with_its_types_beside_it() {
        let into = tempfile::tempdir().unwrap();
        let folder = new_module("hello", Language::Luau, into.path()).unwrap();
        assert_eq!(folder, into.path().join("hello"));
        let text = fs::read_to_string(folder.join("hello.luau")).unwrap();
        assert!(text.contains("greet = function"), "{text}");
        let settings = fs::read_to_string(into.path().join(".luaurc")).unwrap();
        let settings: serde_json::Value = serde_json::from_str(&settings).unwrap();
        let alias = settings["aliases"]["cohnect"].as_str().unwrap();
        let state = into.path().join(alias).join("state.luau");
        assert_eq!(
            fs::read_to_string(&state).unwrap(),
            include_str!("../../luau/state.luau")
        );

        fs::write(into.path().join(".luaurc"), "{}").unwrap();
        fs::write(&state, "-- of an older version").unwrap();
        new_module("second", Language::Luau, into.path()).unwrap();
        assert_eq!(
            fs::read_to_string(into.path().join(".luaurc")).unwrap(),
            "{}"
        );
        assert!(fs::read_to_string(&state).unwrap().contains("--!strict"));
    }

    #[test]
    fn a_rust_module_has_its_name_and_the_sdk_beside_it() {
        let into = tempfile::tempdir().unwrap();
        let folder = new_module("rate-limit", Language::Rust, into.path()).unwrap();
        let source = fs::read_to_string(folder.join("src/lib.rs")).unwrap();
        assert!(source.contains("export!(RateLimit: action"), "{source}");
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        assert!(manifest.contains("name = \"rate-limit\""), "{manifest}");
        for file in [
            "sdk/Cargo.toml",
            "sdk/src/lib.rs",
            "sdk/wit/worlds.wit",
            ".gitignore",
        ] {
            assert!(folder.join(file).is_file(), "{file}");
        }
    }

    #[test]
    fn nothing_is_written_over_and_no_name_leads_elsewhere() {
        let into = tempfile::tempdir().unwrap();
        new_module("hello", Language::Luau, into.path()).unwrap();
        assert!(matches!(
            new_module("hello", Language::Rust, into.path()),
            Err(NewError::Exists(_))
        ));
        for name in [
            "",
            "Hello",
            "../hello",
            "a/b",
            "-a",
            "a-",
            "1a",
            "é",
            &"a".repeat(65),
        ] {
            assert!(
                matches!(
                    new_module(name, Language::Luau, into.path()),
                    Err(NewError::Name(_))
                ),
                "{name}"
            );
        }
    }
}
