//! `tags`: the tags that the server gives. What a client says of itself is not written here.

use crate::{ClientId, Error, Result};

/// Longest tag in bytes, as on the wire.
const BYTES_MAX: usize = 64;

/// Whether a text has the form of a tag, which is the same for whoever writes one (PROTOCOL.md 6.2).
///
/// # Errors
/// `InvalidArgument`, with the text.
pub fn check(tag: &str) -> Result<()> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:/-".contains(&byte);
    if (1..=BYTES_MAX).contains(&tag.len()) && tag.bytes().all(fits) {
        return Ok(());
    }
    let cut = tag.floor_char_boundary(BYTES_MAX);
    Err(Error::invalid(format!(
        "\"{}{}\" is not a tag: 1 to {BYTES_MAX} of A-Z a-z 0-9 _ . : / -",
        &tag[..cut],
        if cut < tag.len() { "…" } else { "" }
    )))
}

/// Writes take effect at once, for every home.
pub trait Tags: Send + Sync {
    /// True when the tag was not there before.
    ///
    /// # Errors
    /// `Closed` when the client is not connected, `InvalidArgument` for a tag outside the grammar, `LimitExceeded` for too many.
    fn add(&self, id: ClientId, tag: &str) -> Result<bool>;
    /// True when it was there.
    ///
    /// # Errors
    /// As [`Tags::add`].
    fn remove(&self, id: ClientId, tag: &str) -> Result<bool>;
    /// Every tag that the server gave, at once.
    ///
    /// # Errors
    /// As [`Tags::add`].
    fn replace(&self, id: ClientId, tags: &[String]) -> Result<()>;
    /// Whether it has this tag; a client's own are asked with their `~`.
    fn has(&self, id: ClientId, tag: &str) -> bool;
    /// All of them, sorted.
    ///
    /// # Errors
    /// `NotFound` when the client is not connected.
    fn of(&self, id: ClientId) -> Result<Vec<String>>;
}
