//! What the whole-system tests share. It owns no truth itself; each file beside this folder holds one.
#![forbid(unsafe_code)]

mod server;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub use server::{Said, Server, binary};

/// The repository's top folder.
#[must_use]
pub fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map_or_else(PathBuf::new, Path::to_path_buf)
}

/// Longest time that anything in these tests may take: a machine with two busy cores still gets there.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Looks again and again until `found` finds something.
///
/// # Panics
/// After [`PATIENCE`], saying what was waited for.
pub fn eventually<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(value) = found() {
            return value;
        }
        assert!(
            began.elapsed() < PATIENCE,
            "waited {PATIENCE:?} in vain for {what}"
        );
        std::thread::park_timeout(Duration::from_millis(5));
    }
}
