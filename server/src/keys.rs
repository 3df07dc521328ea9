//! The server's secret key: made once, kept in a file that only its owner can read, never printed.

use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use anyhow::{Context as _, bail};
use cohnect_protocol::{Entropy, StaticKeys};

/// The operating system's randomness.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&mut self, out: &mut [u8]) {
        // A system that cannot give randomness cannot run a server: there is nothing to fall back to.
        getrandom::fill(out).expect("invariant: the operating system gives randomness");
    }
}

/// Makes a key and writes it; a file that is there is never overwritten.
///
/// # Errors
/// Names the file that is there already, or cannot be written.
pub fn make(file: &Path) -> anyhow::Result<StaticKeys> {
    if let Some(folder) = file
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        crate::ready::make_folder(folder)
            .with_context(|| format!("the folder {} cannot be made", folder.display()))?;
    }
    let keys = StaticKeys::generate(&mut SystemEntropy);
    let mut out = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
        .with_context(|| {
            format!(
                "{} cannot be made (an existing key is never overwritten)",
                file.display()
            )
        })?;
    writeln!(out, "{}", hex(keys.secret()))
        .with_context(|| format!("{} cannot be written", file.display()))?;
    Ok(keys)
}

/// Reads a key; one that others can read is refused.
///
/// # Errors
/// Names the file, and what is wrong with it; never its content.
pub fn read(file: &Path) -> anyhow::Result<StaticKeys> {
    let mode = std::fs::metadata(file)
        .with_context(|| format!("{} cannot be read", file.display()))?
        .permissions()
        .mode();
    if mode & 0o077 != 0 {
        bail!(
            "{} can be read by others (mode {:03o}); `chmod 600 {}` mends it",
            file.display(),
            mode & 0o777,
            file.display()
        );
    }
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("{} cannot be read", file.display()))?;
    let secret = unhex(text.trim()).with_context(|| {
        format!(
            "{} holds no key: 64 hex digits are expected",
            file.display()
        )
    })?;
    Ok(StaticKeys::from_secret(secret))
}

/// Reads the key, or makes it when it is not there.
///
/// # Errors
/// As [`read`] and [`make`].
pub fn read_or_make(file: &Path) -> anyhow::Result<StaticKeys> {
    if file.exists() {
        read(file)
    } else {
        make(file)
    }
}

/// Lower-case hex digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use core::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// 32 bytes from 64 hex digits.
#[must_use]
pub fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    // `from_str_radix` would take a sign.
    if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(core::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_outlives_a_restart_and_only_its_owner_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a/server.key");
        let made = read_or_make(&file).unwrap();
        assert_eq!(read_or_make(&file).unwrap().public(), made.public());
        assert!(
            make(&file)
                .unwrap_err()
                .to_string()
                .contains("never overwritten")
        );
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(read(&file).unwrap_err().to_string().contains("chmod 600"));
    }

    #[test]
    fn what_is_no_key_is_refused_without_being_shown() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("server.key");
        std::fs::write(&file, "secretive").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        let text = format!("{:#}", read(&file).unwrap_err());
        assert!(
            text.contains("64 hex digits") && !text.contains("secretive"),
            "{text}"
        );
        assert_eq!(unhex(&"zz".repeat(32)), None);
        assert_eq!(unhex(&"+f".repeat(32)), None);
    }
}
