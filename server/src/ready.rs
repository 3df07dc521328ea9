//! The ready file: written, atomically, once the server can answer, and read by whoever wants to speak to it.

use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

/// The file's content, JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// The server's version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Where it listens: `IP:PORT`.
    pub udp: SocketAddr,
    /// Its public key, 64 hex digits.
    pub server_key: String,
    /// The UUID of that key.
    pub server_uuid: String,
    /// How many shards it has.
    pub shards: u16,
}

impl Ready {
    /// Writes the file so that nobody ever sees half of it.
    ///
    /// # Errors
    /// Names the file that cannot be written.
    pub fn write(&self, file: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(self)
            .context("the ready file cannot be written as JSON")?;
        write_atomically(file, text.as_bytes())
    }

    /// Reads the file.
    ///
    /// # Errors
    /// Names the file, and what is wrong with it.
    pub fn read(file: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("{} cannot be read", file.display()))?;
        serde_json::from_str(&text)
            .with_context(|| format!("{} is no ready file of a cohnect server", file.display()))
    }

    /// Whether the server that wrote the file has certainly ended: the system knows its processes, and this one is not there or is another program.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        let name = |pid: &str| std::fs::read_to_string(format!("/proc/{pid}/comm"));
        let Ok(own) = name("self") else {
            return false;
        };
        !name(&self.pid.to_string()).is_ok_and(|name| name == own || name.trim() == "cohnect")
    }

    /// The file that a development server wrote: `.cohnect/server.json` in `from` or the nearest folder above it.
    #[must_use]
    pub fn find(from: &Path) -> Option<PathBuf> {
        from.ancestors()
            .map(|folder| folder.join(".cohnect/server.json"))
            .find(|file| file.is_file())
    }
}

/// Makes a folder that only its owner may enter, and those above it that are missing; one that is there keeps its mode.
///
/// # Errors
/// The system's.
pub fn make_folder(folder: &Path) -> std::io::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
}

/// Writes a file beside itself and renames it into its place.
///
/// # Errors
/// Names the file that cannot be written.
pub fn write_atomically(file: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    make_folder(folder)
        .with_context(|| format!("the folder {} cannot be made", folder.display()))?;
    let name = file
        .file_name()
        .with_context(|| format!("{} names no file", file.display()))?;
    let temporary = folder.join(format!(
        ".{}.{}.tmp",
        name.to_string_lossy(),
        std::process::id()
    ));
    std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|mut out| out.write_all(bytes))
        .and_then(|()| std::fs::rename(&temporary, file))
        .with_context(|| format!("{} cannot be written", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_whose_process_is_not_there_is_gone() {
        let ready = |pid| Ready {
            version: "0.1.0".into(),
            pid,
            udp: "127.0.0.1:4000".parse().unwrap(),
            server_key: "00".repeat(32),
            server_uuid: "u".into(),
            shards: 1,
        };
        // Beyond the largest number that Linux gives a process.
        assert!(ready(u32::MAX).is_gone());
        assert!(!ready(std::process::id()).is_gone());
    }

    #[test]
    fn the_file_is_found_from_a_folder_below() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("a/b");
        std::fs::create_dir_all(&deep).unwrap();
        assert_eq!(Ready::find(&deep), None);
        let ready = Ready {
            version: "0.1.0".into(),
            pid: 7,
            udp: "127.0.0.1:4000".parse().unwrap(),
            server_key: "00".repeat(32),
            server_uuid: "u".into(),
            shards: 1,
        };
        let file = folder.path().join(".cohnect/server.json");
        ready.write(&file).unwrap();
        assert_eq!(Ready::find(&deep), Some(file.clone()));
        assert_eq!(Ready::read(&file).unwrap(), ready);
        assert_eq!(
            std::fs::read_dir(folder.path().join(".cohnect"))
                .unwrap()
                .count(),
            1,
            "no temporary file stays"
        );
        let mode = |path: &Path| {
            use std::os::unix::fs::PermissionsExt as _;
            std::fs::metadata(path).unwrap().permissions().mode() & 0o777
        };
        assert_eq!(mode(&file), 0o600);
        assert_eq!(mode(&folder.path().join(".cohnect")), 0o700);
    }
}
