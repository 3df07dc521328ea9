//! Looks at files when the system says that something has changed: the modules folder and the flag file. It decides nothing: what a change means is
//! `host::watch`'s and the custodian's.

use std::path::{Component, Path, PathBuf};

use anyhow::Context as _;
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

/// Tells when something below the watched folders has changed.
pub(crate) struct FileWatcher {
    watcher: RecommendedWatcher,
    changes: mpsc::Receiver<()>,
}

impl FileWatcher {
    /// Watches nothing yet. What is ignored is so by its path below `root`.
    ///
    /// # Errors
    /// When the system has no watcher left to give.
    pub(crate) fn new(root: &Path) -> anyhow::Result<Self> {
        let root = std::fs::canonicalize(root).unwrap_or_else(|_| root.to_owned());
        // One place: any number of changes is one reason to look.
        let (tell, changes) = mpsc::channel(1);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let matters = match &event {
                Ok(event) => {
                    !event.kind.is_access()
                        && (event.paths.is_empty()
                            || event.paths.iter().any(|path| !is_ignored(&root, path)))
                }
                // The system lost track: look.
                Err(_) => true,
            };
            if matters {
                // A full channel has a look under way already.
                let _ = tell.try_send(());
            }
        })
        .context("files cannot be watched")?;
        Ok(Self { watcher, changes })
    }

    /// Watches a folder and what is below it.
    ///
    /// # Errors
    /// Names the folder that cannot be watched.
    pub(crate) fn add(&mut self, folder: &Path, mode: RecursiveMode) -> anyhow::Result<()> {
        self.watcher
            .watch(folder, mode)
            .with_context(|| format!("{} cannot be watched", folder.display()))
    }

    /// Waits for a change.
    pub(crate) async fn changed(&mut self) {
        if self.changes.recv().await.is_none() {
            // The watcher is gone with its thread; nothing will ever change again.
            core::future::pending().await
        }
    }
}

/// Compilers write thousands of files into `target`, and the server its own into hidden folders.
fn is_ignored(root: &Path, path: &Path) -> bool {
    path.strip_prefix(root)
        .unwrap_or(path)
        .components()
        .any(|part| match part {
            Component::Normal(name) => name == "target" || name == ".cohnect" || name == ".git",
            Component::Prefix(_)
            | Component::RootDir
            | Component::CurDir
            | Component::ParentDir => false,
        })
}

/// The folder of a file, for a watcher that must see the file come and go.
pub(crate) fn folder_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_compilers_and_the_server_write_is_no_change() {
        for (path, ignored) in [
            ("/target/modules/arena/target/debug/x.rs", true),
            ("/target/modules/.cohnect/main.db-wal", true),
            ("/target/modules/hello.luau", false),
            ("/target/modules/target.luau", false),
        ] {
            assert_eq!(
                is_ignored(Path::new("/target/modules"), Path::new(path)),
                ignored,
                "{path}"
            );
        }
    }

    #[test]
    fn a_saved_file_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut watcher = FileWatcher::new(folder.path()).unwrap();
            watcher
                .add(
                    &std::fs::canonicalize(folder.path()).unwrap(),
                    RecursiveMode::Recursive,
                )
                .unwrap();
            std::fs::write(folder.path().join("hello.luau"), "return {}").unwrap();
            tokio::time::timeout(core::time::Duration::from_secs(30), watcher.changed())
                .await
                .unwrap();
        });
    }
}
