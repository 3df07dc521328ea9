//! From a guest crate to a component: cargo compiles it, the encoder wraps it. Nothing is left half-written.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{fs, io};

use wit_component::ComponentEncoder;

/// What guests are compiled for: a machine without an operating system, so that a component imports what its author calls and nothing else.
const TARGET: &str = "wasm32-unknown-unknown";

/// Why a module was not built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The folder holds no crate.
    #[error("{}: no crate is there; `cohnect new NAME --lang rust` makes one", .0.display())]
    NoCrate(PathBuf),
    /// Its manifest says something that cannot be built.
    #[error("{}: {problem}", .file.display())]
    Manifest {
        /// Which file.
        file: PathBuf,
        /// What it says, and what would be right.
        problem: String,
    },
    /// A program did not start.
    #[error("`{program}` cannot be run: {source}; Rust is installed from https://rustup.rs")]
    Program {
        /// Which.
        program: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The compiler knows no WebAssembly, and it could not be taught.
    #[error("the compiler lacks the target {TARGET}; `rustup target add {TARGET}` installs it")]
    Target,
    /// The crate does not compile; cargo has said why.
    #[error("{}: the crate does not compile", .0.display())]
    Compile(PathBuf),
    /// The crate is compiled to something else.
    #[error("{}: the crate makes no library for a component; `[lib]` needs `crate-type = [\"cdylib\"]`", .0.display())]
    NoLibrary(PathBuf),
    /// What was compiled is no module.
    #[error("{}: {problem}", .file.display())]
    Encode {
        /// The crate's folder.
        file: PathBuf,
        /// What is missing.
        problem: String,
    },
    /// A file.
    #[error("{}: {source}", .file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Builds the crate in `folder` and writes the component as `NAME.wasm` there, where NAME is what the module's manifest names as its `entry`, or else the
/// crate's name. What cargo makes on the way stays in `folder/target`.
///
/// # Errors
/// What is missing, and how to get it.
pub fn build(folder: &Path) -> Result<PathBuf, BuildError> {
    build_with(folder, &folder.join("target"))
}

/// As [`build`], with cargo's own files elsewhere, such as one folder for many modules.
///
/// # Errors
/// As [`build`].
pub fn build_with(folder: &Path, target: &Path) -> Result<PathBuf, BuildError> {
    let name = component_name(folder)?;
    let component = component_of(folder, target)?;
    let file = folder.join(&name);
    write_whole(folder, &file, &component)?;
    Ok(file)
}

/// The component of the crate in `folder`, with cargo's files in `target`; nothing is written beside the crate.
///
/// # Errors
/// As [`build`].
pub fn component_of(folder: &Path, target: &Path) -> Result<Vec<u8>, BuildError> {
    let folder = &fs::canonicalize(folder).map_err(|_| BuildError::NoCrate(folder.to_owned()))?;
    // Cargo runs in the crate's folder, where a relative path would mean another.
    let target = &std::path::absolute(target).map_err(|source| BuildError::File {
        file: target.to_owned(),
        source,
    })?;
    ensure_target(folder)?;
    let core = compile(folder, target)?;
    let code = fs::read(&core).map_err(|source| BuildError::File { file: core, source })?;
    component(&code).map_err(|problem| BuildError::Encode {
        file: folder.clone(),
        problem,
    })
}

/// Makes a component of a core module that says, as all bindings do, which parts of the contract it uses.
///
/// # Errors
/// What is missing in it.
pub fn component(core: &[u8]) -> Result<Vec<u8>, String> {
    ComponentEncoder::default()
        .validate(true)
        .module(core)
        .and_then(|mut encoder| encoder.encode())
        .map_err(|error| {
            format!(
                "no component can be made of it: {error:#}; does it call `cohnect_module::export!`?"
            )
        })
}

/// The file's name: what `module.toml` names as its entry, else the crate's.
fn component_name(folder: &Path) -> Result<String, BuildError> {
    let manifest = folder.join("Cargo.toml");
    let text = fs::read_to_string(&manifest).map_err(|_| BuildError::NoCrate(folder.to_owned()))?;
    let wrong = |file: &Path, problem: String| BuildError::Manifest {
        file: file.to_owned(),
        problem,
    };
    let table: toml::Table = text
        .parse()
        .map_err(|error: toml::de::Error| wrong(&manifest, error.to_string()))?;
    let package = table
        .get("package")
        .and_then(|package| package.get("name"))
        .and_then(toml::Value::as_str)
        .ok_or_else(|| {
            wrong(
                &manifest,
                "it names no package; build the folder of one crate, not of a workspace".into(),
            )
        })?;
    let own = folder.join("module.toml");
    let entry = match fs::read_to_string(&own) {
        Err(_) => None,
        Ok(text) => text
            .parse::<toml::Table>()
            .map_err(|error| wrong(&own, error.to_string()))?
            .get("entry")
            .and_then(toml::Value::as_str)
            .filter(|entry| entry.ends_with(".wasm"))
            .map(str::to_owned),
    };
    match entry {
        None => Ok(format!("{package}.wasm")),
        Some(entry) if Path::new(&entry).file_name() == Some(entry.as_ref()) => Ok(entry),
        Some(entry) => Err(wrong(
            &own,
            format!(
                "`entry = \"{entry}\"` is no file of this folder; a component is written beside its crate"
            ),
        )),
    }
}

/// Sees to it that the compiler has the target: looks for it, and installs it where rustup is there.
fn ensure_target(folder: &Path) -> Result<(), BuildError> {
    let output = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", TARGET])
        .current_dir(folder)
        .stderr(Stdio::null())
        .output()
        .map_err(|source| BuildError::Program {
            program: "rustc",
            source,
        })?;
    let libraries = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    if output.status.success() && libraries.is_dir() {
        return Ok(());
    }
    let added = Command::new("rustup")
        .args(["target", "add", TARGET])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if added {
        Ok(())
    } else {
        Err(BuildError::Target)
    }
}

/// Compiles the crate; what the compiler says goes to the terminal.
fn compile(folder: &Path, target: &Path) -> Result<PathBuf, BuildError> {
    let manifest = folder.join("Cargo.toml");
    let failed = |source| BuildError::Program {
        program: "cargo",
        source,
    };
    let mut cargo = Command::new("cargo")
        .args(["build", "--release", "--lib", "--target", TARGET])
        .args(["--message-format", "json-render-diagnostics"])
        .arg("--target-dir")
        .arg(target)
        .arg("--manifest-path")
        .arg(&manifest)
        .current_dir(folder)
        // Flags for the machine at hand, such as a choice of processor, mean nothing to the guest.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let mut library = None;
    if let Some(messages) = cargo.stdout.take() {
        for line in BufReader::new(messages).lines() {
            let line = line.map_err(failed)?;
            library = artefact(&line, &manifest).or(library);
        }
    }
    if !cargo.wait().map_err(failed)?.success() {
        return Err(BuildError::Compile(folder.to_owned()));
    }
    library.ok_or_else(|| BuildError::NoLibrary(folder.to_owned()))
}

/// The module that one message of cargo speaks of, if it is this crate's.
fn artefact(message: &str, manifest: &Path) -> Option<PathBuf> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    let ours = message.get("reason")? == "compiler-artifact"
        && Path::new(message.get("manifest_path")?.as_str()?) == manifest;
    if !ours {
        return None;
    }
    message
        .get("filenames")?
        .as_array()?
        .iter()
        .filter_map(serde_json::Value::as_str)
        .find(|file| file.ends_with(".wasm"))
        .map(PathBuf::from)
}

/// Writes a file so that a reader meets all of it or nothing.
fn write_whole(folder: &Path, file: &Path, bytes: &[u8]) -> Result<(), BuildError> {
    let part = folder.join(format!(".cohnect-build-{}.part", std::process::id()));
    let written = fs::write(&part, bytes).and_then(|()| fs::rename(&part, file));
    written.map_err(|source| {
        // Nothing to add when even that fails.
        fs::remove_file(&part).ok();
        BuildError::File {
            file: file.to_owned(),
            source,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(cargo: &str, module: Option<&str>) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("Cargo.toml"), cargo).unwrap();
        if let Some(module) = module {
            fs::write(folder.path().join("module.toml"), module).unwrap();
        }
        folder
    }

    #[test]
    fn a_component_has_the_name_of_its_entry_or_of_its_crate() {
        let package = "[package]\nname = \"arena\"\n";
        for (module, name) in [
            (None, "arena.wasm"),
            (Some("placement = \"single\"\n"), "arena.wasm"),
            (Some("entry = \"arena.luau\"\n"), "arena.wasm"),
            (Some("entry = \"game.wasm\"\n"), "game.wasm"),
        ] {
            let folder = folder(package, module);
            assert_eq!(component_name(folder.path()).unwrap(), name, "{module:?}");
        }
        let outside = folder(package, Some("entry = \"../game.wasm\"\n"));
        assert!(matches!(
            component_name(outside.path()),
            Err(BuildError::Manifest { .. })
        ));
    }

    #[test]
    fn what_is_no_crate_is_named() {
        let empty = tempfile::tempdir().unwrap();
        assert!(matches!(build(empty.path()), Err(BuildError::NoCrate(_))));
        assert!(matches!(
            build(&empty.path().join("nowhere")),
            Err(BuildError::NoCrate(_))
        ));
        let workspace = folder("[workspace]\nmembers = []\n", None);
        let error = build(workspace.path()).unwrap_err().to_string();
        assert!(error.contains("names no package"), "{error}");
    }

    #[test]
    fn a_module_without_the_contract_is_no_component_of_ours() {
        assert!(component(b"no module at all").is_err());
    }
}
