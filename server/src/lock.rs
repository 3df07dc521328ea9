//! The lock on a folder that one server alone may write in. An open file holds it, so that it goes with the process, however that ends, and what an earlier
//! one left behind refuses nobody.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context as _, bail};

use crate::ready::make_folder;

/// What the file is called, in the folder that it stands for.
const NAME: &str = "lock";

/// The lock on one folder, as long as this lives.
#[derive(Debug)]
#[must_use = "the folder is free again without it"]
pub struct FolderLock {
    _file: File,
}

/// Takes these folders, each once however it is named; what is not there is made.
///
/// # Errors
/// Names the folder that is not to be had, and the process of the server that has it.
pub fn take_all(folders: &[&Path]) -> anyhow::Result<Vec<FolderLock>> {
    let mut own = BTreeSet::new();
    for folder in folders {
        let found = make_folder(folder).and_then(|()| folder.canonicalize());
        own.insert(
            found.with_context(|| format!("the folder {} cannot be made", folder.display()))?,
        );
    }
    // In one order, so that of two servers that start together one gets both.
    own.iter().map(|folder| FolderLock::take(folder)).collect()
}

impl FolderLock {
    fn take(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join(NAME);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("{} cannot be opened", path.display()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!(
                "another server{} has the folder {}; end it first, or give this one another folder",
                said_by(&path),
                folder.display()
            ),
            Err(TryLockError::Error(e)) => {
                return Err(e).with_context(|| format!("{} cannot be locked", path.display()));
            }
        }
        // The number is for people alone: where it cannot be written, the lock holds all the same.
        drop(
            file.set_len(0)
                .and_then(|()| writeln!(file, "{}", std::process::id())),
        );
        Ok(Self { _file: file })
    }
}

/// Which process has the lock, as far as it has said so already.
fn said_by(path: &Path) -> String {
    std::fs::read_to_string(path)
        .ok()
        .and_then(|text| text.trim().parse::<u32>().ok())
        .map_or_else(String::new, |pid| format!(" (process {pid})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_server_and_is_free_after_it() {
        let top = tempfile::tempdir().unwrap();
        let folder = top.path().join("data");
        let first = take_all(&[&folder]).unwrap();
        let again = top.path().join("data/../data");
        let refused = take_all(&[&again]).unwrap_err().to_string();
        let pid = format!("process {}", std::process::id());
        for part in [folder.canonicalize().unwrap().to_str().unwrap(), &pid] {
            assert!(refused.contains(part), "{part}: {refused}");
        }
        drop(first);
        assert_eq!(take_all(&[&folder, &again]).unwrap().len(), 1);
    }

    #[test]
    fn what_a_crashed_server_left_refuses_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(NAME);
        // A process that is there, one that is none, and what was never written to its end.
        for left in ["1\n", "4294967295\n", "", "no number"] {
            std::fs::write(&file, left).unwrap();
            let _locks = take_all(&[folder.path()]).unwrap();
            let said = std::fs::read_to_string(&file).unwrap();
            assert_eq!(said, format!("{}\n", std::process::id()), "{left:?}");
        }
    }
}
