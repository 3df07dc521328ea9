//! The walk through folders that people and tools write: how much one look comes by, which files are a module's, and how one is read without ever waiting
//! for it. What the files mean is not here.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::FileType;
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::names::hidden;
use crate::escaped::{OneLine, is_hidden};
use crate::replica::{Language, LoadError};

/// Largest file that is read: an interpreter in a component takes 18 MB.
pub(super) const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// How deep a module's folder is read.
const DEPTH_MAX: usize = 8;
/// What a module's files may take together.
const MODULE_BYTES_MAX: u64 = 128 * 1024 * 1024;
/// Folders, and files of its language, below one module's folder, and in the modules folder itself: each is asked for its kind at each look, which takes
/// some microseconds. What else lies there costs its name alone, and counts only among all names.
pub(super) const ENTRIES_MAX: usize = 4_096;
/// What one look comes by in all modules. Looks follow each other while somebody saves, and the control thread has more to do; this is a few tenths of a
/// second, and room for a thousand modules of 60 files.
const ALL_ENTRIES_MAX: usize = 65_536;

/// Names that one look comes by, of whatever: reading so many takes a tenth of a second.
const ALL_NAMES_MAX: usize = 262_144;

/// One look at the modules folder.
pub(super) struct Walk {
    left: Cell<usize>,
    names: Cell<usize>,
    /// There was more.
    cut: Cell<bool>,
}

impl Default for Walk {
    fn default() -> Self {
        Self::of(ALL_ENTRIES_MAX, ALL_NAMES_MAX)
    }
}

impl Walk {
    const fn of(entries: usize, names: usize) -> Self {
        Self {
            left: Cell::new(entries),
            names: Cell::new(names),
            cut: Cell::new(false),
        }
    }

    /// The walk through one folder of its own.
    pub(super) const fn folder<'a>(&'a self, root: &'a Path) -> Folder<'a> {
        Folder {
            walk: self,
            root,
            entries: ENTRIES_MAX,
            bytes: MODULE_BYTES_MAX,
        }
    }

    /// Whether all of it was seen.
    ///
    /// # Errors
    /// Names the folder of the modules, when there is too much in all of them together: which are too many is for people to say.
    pub(super) fn check(&self, modules: &Path) -> Result<(), LoadError> {
        if self.cut.get() {
            return Err(too_much(modules, ALL_ENTRIES_MAX));
        }
        Ok(())
    }
}

/// One folder, and what is still read of it.
pub(super) struct Folder<'a> {
    walk: &'a Walk,
    root: &'a Path,
    entries: usize,
    bytes: u64,
}

impl Folder<'_> {
    /// What lies in a folder here and `matters` by its name and kind, in order of the names; what is ignored everywhere does not.
    ///
    /// # Errors
    /// Names the folder: when it cannot be read, or there is too much below the root.
    pub(super) fn entries(
        &mut self,
        folder: &Path,
        matters: impl Fn(&str, FileType) -> bool,
    ) -> Result<Vec<PathBuf>, LoadError> {
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(|e| failed(folder, &e))? {
            let entry = entry.map_err(|e| failed(folder, &e))?;
            let Some(names) = self.walk.names.get().checked_sub(1) else {
                self.walk.cut.set(true);
                return Err(too_much(folder, ALL_NAMES_MAX));
            };
            self.walk.names.set(names);
            // Most systems say the kind beside the name, so that nobody has to be asked.
            let (name, kind) = (entry.file_name(), entry.file_type());
            let counts = |name: &str| {
                !is_ignored(name) && kind.as_ref().is_ok_and(|kind| matters(name, *kind))
            };
            if !name.to_str().is_some_and(counts) {
                continue;
            }
            let left = self.walk.left.get();
            if self.entries == 0 || left == 0 {
                self.walk.cut.set(self.walk.cut.get() || left == 0);
                return Err(too_much(self.root, ENTRIES_MAX));
            }
            self.entries -= 1;
            self.walk.left.set(left - 1);
            paths.push(entry.path());
        }
        paths.sort();
        Ok(paths)
    }

    /// The files that belong to a module's code, by their paths from its folder.
    ///
    /// # Errors
    /// Names what cannot be read, or is too large.
    pub(super) fn collect(
        mut self,
        language: &dyn Language,
    ) -> Result<BTreeMap<PathBuf, Bytes>, LoadError> {
        let mut files = BTreeMap::new();
        self.collect_in(self.root, language, DEPTH_MAX, &mut files)?;
        Ok(files)
    }

    fn collect_in(
        &mut self,
        folder: &Path,
        language: &dyn Language,
        depth: usize,
        files: &mut BTreeMap<PathBuf, Bytes>,
    ) -> Result<(), LoadError> {
        let root = self.root;
        let is_code = |path: &Path| {
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            !stem.is_some_and(is_test)
                && path
                    .strip_prefix(root)
                    .is_ok_and(|relative| language.belongs(relative))
        };
        let matters = |name: &str, kind: FileType| {
            kind.is_dir() || is_code(&folder.join(name)) && !kind.is_symlink()
        };
        for path in self.entries(folder, matters)? {
            if path.is_dir() {
                if depth > 0 {
                    self.collect_in(&path, language, depth - 1, files)?;
                }
                continue;
            }
            let Ok(relative) = path.strip_prefix(root) else {
                continue;
            };
            if relative.to_string_lossy().contains(is_hidden) {
                return Err(hidden(&path));
            }
            let bytes = read(&path, self.bytes.min(FILE_BYTES_MAX))?;
            self.bytes = self.bytes.saturating_sub(bytes.len() as u64);
            files.insert(relative.to_owned(), bytes);
        }
        Ok(())
    }
}

fn too_much(folder: &Path, allowed: usize) -> LoadError {
    LoadError::new(format!(
        "{}: more than {allowed} files and folders lie below it, and each is looked at whenever one changes; what does not belong to modules should lie \
         elsewhere",
        OneLine(folder.display())
    ))
}

pub(super) fn read(path: &Path, bytes_max: u64) -> Result<Bytes, LoadError> {
    // Opening alone can wait for ever (a FIFO) or do something (a device), so the look comes first. The open does not wait either, and what it got is
    // looked at again: the name may stand for another file by then.
    let found = std::fs::metadata(path).map_err(|e| failed(path, &e))?;
    check_regular(path, found.file_type())?;
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::CLOEXEC;
    let file = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
        .map_err(|e| failed(path, &e))?;
    let found = file.metadata().map_err(|e| failed(path, &e))?;
    check_regular(path, found.file_type())?;
    let mut bytes = Vec::new();
    file.take(bytes_max + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| failed(path, &e))?;
    if bytes.len() as u64 > bytes_max {
        return Err(LoadError::new(format!(
            "{}: more than {bytes_max} bytes",
            path.display()
        )));
    }
    Ok(bytes.into())
}

/// Links are followed before this asks, so a link is judged by what it leads to.
fn check_regular(path: &Path, found: FileType) -> Result<(), LoadError> {
    if found.is_file() {
        return Ok(());
    }
    let what = if found.is_fifo() {
        "a FIFO"
    } else if found.is_socket() {
        "a socket"
    } else if found.is_char_device() || found.is_block_device() {
        "a device"
    } else {
        "a folder"
    };
    Err(LoadError::new(format!(
        "{}: {what}, where only a regular file is read",
        path.display()
    )))
}

/// What editors, version control and build tools leave behind.
pub(super) fn is_ignored(name: &str) -> bool {
    name.starts_with('.') || name.ends_with('~') || matches!(name, "target" | "node_modules")
}

pub(super) fn is_test(stem: &str) -> bool {
    stem.ends_with(".test")
}

fn failed(path: &Path, e: &io::Error) -> LoadError {
    LoadError::new(format!("{}: {e}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_all_modules_hold_together_is_bounded_too() {
        let root = tempfile::tempdir().unwrap();
        for name in ["a", "b", "c"] {
            std::fs::write(root.path().join(name), "").unwrap();
        }
        for (entries, names, whole) in [(3, 3, true), (2, 3, false), (3, 2, false)] {
            let walk = Walk::of(entries, names);
            let listed = walk.folder(root.path()).entries(root.path(), |_, _| true);
            let checked = walk.check(Path::new("modules")).map_err(|e| e.message);
            assert_eq!((listed.is_ok(), checked.is_ok()), (whole, whole));
            if let Err(text) = checked {
                assert!(text.starts_with("modules: more than"), "{text}");
            }
        }
    }
}
