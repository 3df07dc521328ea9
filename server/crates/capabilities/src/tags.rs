//! `tags`: the tags that the server gives. What a client says of itself is not written here.

use crate::{ClientId, Result};

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
