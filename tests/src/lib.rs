//! What the whole-system tests share. It owns no truth itself; each file beside this folder holds one.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

/// The repository's top folder.
#[must_use]
pub fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map_or_else(PathBuf::new, Path::to_path_buf)
}
