//! Machine code that this server compiled, kept in a folder of its own so that the next start need not compile again. A file is found by the hash of the
//! component and of everything that decides how it is compiled, and is believed only with its checksum. The folder belongs to this user alone; an artefact
//! from anywhere else is never loaded.

use std::fs;
use std::hash::{Hash, Hasher};
use std::io::Write as _;
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use wasmtime::Engine;
use wasmtime::component::Component;

/// Files in the folder: modules of a large server in a few generations each, at some hundred kilobytes.
const FILES_MAX: usize = 256;
/// Bytes of the checksum before the code.
const SUM_BYTES: usize = blake3::OUT_LEN;
const ENDING: &str = "cwasm";

/// Why the folder for machine code cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ArtefactError {
    /// It cannot be made or looked at.
    #[error("the folder {} for compiled modules: {source}", .folder.display())]
    Folder {
        /// Which.
        folder: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It belongs to another user, who could put any machine code there.
    #[error("the folder {} for compiled modules belongs to another user", .folder.display())]
    Foreign {
        /// Which.
        folder: PathBuf,
    },
}

/// The folder of compiled components.
#[derive(Clone, Debug)]
pub(crate) struct Artefacts {
    folder: PathBuf,
}

impl Artefacts {
    /// Opens the folder, makes it if need be, and shuts everybody else out of it.
    pub(crate) fn open(folder: &Path) -> Result<Self, ArtefactError> {
        let failed = |source| ArtefactError::Folder {
            folder: folder.to_path_buf(),
            source,
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(failed)?;
        let found = fs::symlink_metadata(folder).map_err(failed)?;
        if !found.is_dir() || found.uid() != rustix::process::geteuid().as_raw() {
            return Err(ArtefactError::Foreign {
                folder: folder.to_path_buf(),
            });
        }
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).map_err(failed)?;
        Ok(Self {
            folder: folder.to_path_buf(),
        })
    }

    /// The compiled component: from the folder, or compiled now and kept there.
    ///
    /// # Errors
    /// What is wrong with the component.
    pub(crate) fn component(&self, engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
        let path = self.folder.join(format!("{}.{ENDING}", key(engine, code)));
        if let Some(component) = load(engine, &path) {
            return Ok(component);
        }
        let compiled = engine.precompile_component(code)?;
        // A folder that cannot be written costs the next start its time and nothing else.
        if let Err(error) = self.keep(&path, &compiled) {
            tracing::warn!(%error, folder = %self.folder.display(), "a compiled module is not kept");
        }
        trusted(engine, &compiled)
    }

    fn keep(&self, path: &Path, compiled: &[u8]) -> std::io::Result<()> {
        self.prune()?;
        let part = path.with_extension(format!("{}.part", std::process::id()));
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&part)?;
        let written = file
            .write_all(blake3::hash(compiled).as_bytes())
            .and_then(|()| file.write_all(compiled))
            .and_then(|()| fs::rename(&part, path));
        if written.is_err() {
            let _gone = fs::remove_file(&part);
        }
        written
    }

    /// Removes the oldest files, so that there is room for one more.
    fn prune(&self) -> std::io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            files.push((entry.metadata()?.modified()?, entry.path()));
        }
        files.sort();
        let surplus = (files.len() + 1).saturating_sub(FILES_MAX);
        for (_age, path) in files.iter().take(surplus) {
            fs::remove_file(path)?;
        }
        Ok(())
    }
}

/// What names an artefact: the component, and everything that decides how it is compiled.
fn key(engine: &Engine, code: &[u8]) -> blake3::Hash {
    let mut hasher = Blake(blake3::Hasher::new());
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.0.update(blake3::hash(code).as_bytes());
    hasher.0.finalize()
}

/// A hasher whose result is the same in every process.
struct Blake(blake3::Hasher);

impl Hasher for Blake {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let hash = self.0.finalize();
        u64::from_le_bytes(*hash.as_bytes().first_chunk().unwrap_or(&[0; 8]))
    }
}

/// The component in this file; none when it is absent, cut, altered, or made for something else.
fn load(engine: &Engine, path: &Path) -> Option<Component> {
    let file = fs::read(path).ok()?;
    let (sum, compiled) = file.split_at_checked(SUM_BYTES)?;
    if blake3::hash(compiled).as_bytes() != sum {
        tracing::warn!(file = %path.display(), "a compiled module is damaged; it is compiled again");
        return None;
    }
    match trusted(engine, compiled) {
        Ok(component) => Some(component),
        Err(error) => {
            tracing::warn!(file = %path.display(), %error, "a compiled module cannot be used; it is compiled again");
            None
        }
    }
}

/// Loads machine code that this server made.
#[allow(
    unsafe_code,
    reason = "machine code cannot be checked; where it comes from is what makes it safe"
)]
fn trusted(engine: &Engine, compiled: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: the bytes come from `precompile_component` of this engine's configuration: either just now, or from a file below a folder that only this
    // user can write, under a name that this server gave it, with its checksum whole.
    unsafe { Component::deserialize(engine, compiled) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

    fn only_file(folder: &Path) -> PathBuf {
        let mut files: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        assert_eq!(files.len(), 1, "{files:?}");
        files.remove(0)
    }

    #[test]
    fn a_component_is_compiled_once() {
        let folder = tempfile::tempdir().unwrap();
        let engine = crate::engine::engine().unwrap();
        let artefacts = Artefacts::open(folder.path()).unwrap();
        artefacts.component(&engine, EMPTY).unwrap();
        let file = only_file(folder.path());
        let mode = fs::metadata(folder.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        assert!(load(&engine, &file).is_some());
        artefacts.component(&engine, EMPTY).unwrap();
        assert_eq!(only_file(folder.path()), file);
    }

    #[test]
    fn a_damaged_artefact_is_compiled_again() {
        let folder = tempfile::tempdir().unwrap();
        let engine = crate::engine::engine().unwrap();
        let artefacts = Artefacts::open(folder.path()).unwrap();
        artefacts.component(&engine, EMPTY).unwrap();
        let path = only_file(folder.path());
        let whole = fs::read(&path).unwrap();
        let mut flipped = whole.clone();
        let middle = flipped.len() / 2;
        flipped[middle] ^= 1;
        for damaged in [&flipped[..], &whole[..whole.len() / 2], &whole[..7], b""] {
            fs::write(&path, damaged).unwrap();
            assert!(load(&engine, &path).is_none());
            artefacts.component(&engine, EMPTY).unwrap();
            assert_eq!(fs::read(&path).unwrap(), whole);
        }
    }

    #[test]
    fn the_folder_does_not_grow_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let artefacts = Artefacts::open(folder.path()).unwrap();
        for n in 0..FILES_MAX + 5 {
            artefacts
                .keep(&folder.path().join(format!("{n}.{ENDING}")), b"code")
                .unwrap();
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), FILES_MAX);
    }

    #[test]
    fn a_file_in_place_of_the_folder_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, b"").unwrap();
        assert!(Artefacts::open(&path).is_err());
    }
}
