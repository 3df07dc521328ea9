//! Who a client is: its key pair, kept in a file or made for one run. It connects nothing.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use cohnect_protocol::{PeerId, StaticKeys, SteeringKeys};

use crate::OsEntropy;

/// A client's key pair. The same identity in two running clients makes them supersede each other.
#[derive(Clone, Debug)]
pub struct Identity {
    keys: StaticKeys,
}

impl Identity {
    /// A fresh identity that nobody has met.
    #[must_use]
    pub fn generate() -> Self {
        Self {
            keys: StaticKeys::generate(&mut OsEntropy),
        }
    }

    /// The identity of this key pair.
    #[must_use]
    pub const fn from_keys(keys: StaticKeys) -> Self {
        Self { keys }
    }

    /// A fresh identity whose sessions live in shard `shard` of `shards` at a server that steers by `keys`: for tests and benchmarks that
    /// want a client in a certain place. None when there is no such shard.
    #[must_use]
    pub fn for_shard(keys: SteeringKeys, shard: u32, shards: u32) -> Option<Self> {
        StaticKeys::for_shard(&mut OsEntropy, keys, shard, shards).map(Self::from_keys)
    }

    /// Reads an identity from a file: the private key as 64 hexadecimal digits, as [`save`](Self::save) writes it.
    ///
    /// # Errors
    /// [`IdentityError`] when the file cannot be read or holds something else.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, IdentityError> {
        let path = path.as_ref();
        let text = fs::read_to_string(path).map_err(|source| IdentityError::io(path, source))?;
        let secret = decode_hex(text.trim()).ok_or_else(|| IdentityError::Form {
            path: path.to_owned(),
        })?;
        Ok(Self::from_keys(StaticKeys::from_secret(secret)))
    }

    /// Reads the identity from a file, or makes one and writes it when there is no such file.
    ///
    /// # Errors
    /// [`IdentityError`] when the file cannot be read or written, or holds something else.
    pub fn load_or_create(path: impl AsRef<Path>) -> Result<Self, IdentityError> {
        let path = path.as_ref();
        match Self::load(path) {
            Err(IdentityError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                let identity = Self::generate();
                match identity.save(path) {
                    // Another process was faster: both take its identity.
                    Err(IdentityError::Io { source, .. })
                        if source.kind() == io::ErrorKind::AlreadyExists =>
                    {
                        Self::load(path)
                    }
                    saved => saved.map(|()| identity),
                }
            }
            loaded => loaded,
        }
    }

    /// Writes the identity to a new file that, where the platform can, only its owner reads. The file appears whole or not at all; one that is
    /// there is never overwritten.
    ///
    /// # Errors
    /// [`IdentityError::Io`] when the file is there already or cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), IdentityError> {
        let path = path.as_ref();
        let mut partial = path.as_os_str().to_owned();
        partial.push(format!(".{}.part", std::process::id()));
        let partial = PathBuf::from(partial);
        let saved = self.write_new(&partial).and_then(|()| {
            // A link, unlike a rename, fails where something is.
            fs::hard_link(&partial, path)
        });
        let _ = fs::remove_file(&partial);
        saved.map_err(|source| IdentityError::io(path, source))
    }

    fn write_new(&self, path: &Path) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path)?;
        let digits: String = self
            .keys
            .secret()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        writeln!(file, "{digits}")?;
        file.sync_all()
    }

    /// The UUID by which servers and other clients know this identity.
    #[must_use]
    pub fn id(&self) -> PeerId {
        self.keys.peer_id()
    }

    pub(crate) const fn keys(&self) -> &StaticKeys {
        &self.keys
    }
}

/// Why an identity is not to be had from a file.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file could not be read or written.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The file holds no private key.
    #[error("{path}: not an identity, which is a line of 64 hexadecimal digits", path = path.display())]
    Form {
        /// Which file.
        path: PathBuf,
    },
}

impl IdentityError {
    fn io(path: &Path, source: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            source,
        }
    }
}

fn decode_hex(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut out = [0; 32];
    for (n, byte) in out.iter_mut().enumerate() {
        let pair = text.get(2 * n..2 * n + 2)?;
        // `from_str_radix` would take a sign.
        if !pair.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_outlives_its_process() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("identity");
        let made = Identity::load_or_create(&path).unwrap();
        let loaded = Identity::load_or_create(&path).unwrap();
        assert_eq!(made.id(), loaded.id());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_reads_the_file() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("identity");
        Identity::generate().save(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_is_there_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("identity");
        fs::write(&path, "precious").unwrap();
        assert!(matches!(
            Identity::generate().save(&path),
            Err(IdentityError::Io { .. })
        ));
        assert!(matches!(
            Identity::load_or_create(&path),
            Err(IdentityError::Form { .. })
        ));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn other_texts_are_no_identity() {
        for text in ["", "00", &"0".repeat(63), &"g".repeat(64), &"+1".repeat(32)] {
            assert_eq!(decode_hex(text), None, "{text}");
        }
        assert_eq!(decode_hex(&"0F".repeat(32)), Some([15; 32]));
    }

    #[test]
    fn a_shard_can_be_chosen() {
        let keys = SteeringKeys::new(5, 7);
        let identity = Identity::for_shard(keys, 1, 2).unwrap();
        assert_eq!(
            cohnect_protocol::shard_of(&identity.id().text(), keys, 2),
            1
        );
        assert!(Identity::for_shard(keys, 2, 2).is_none());
    }
}
