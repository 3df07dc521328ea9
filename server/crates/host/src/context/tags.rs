//! `tags`: the tags that the server gives.

use cohnect_capabilities::{ClientId, Result};

use super::Entered;

impl Entered<'_> {
    /// `tags.add`
    ///
    /// # Errors
    /// `Closed` when the client is not connected, `InvalidArgument` for a tag outside the grammar, `LimitExceeded` for too many.
    pub fn tags_add(&self, id: ClientId, tag: &str) -> Result<bool> {
        self.capabilities().tags.add(id, tag)
    }

    /// `tags.remove`
    ///
    /// # Errors
    /// As [`Entered::tags_add`].
    pub fn tags_remove(&self, id: ClientId, tag: &str) -> Result<bool> {
        self.capabilities().tags.remove(id, tag)
    }

    /// `tags.replace`
    ///
    /// # Errors
    /// As [`Entered::tags_add`].
    pub fn tags_replace(&self, id: ClientId, tags: &[String]) -> Result<()> {
        self.capabilities().tags.replace(id, tags)
    }

    /// `tags.has`
    #[must_use]
    pub fn tags_has(&self, id: ClientId, tag: &str) -> bool {
        self.capabilities().tags.has(id, tag)
    }

    /// `tags.of`
    ///
    /// # Errors
    /// `NotFound` when the client is not connected.
    pub fn tags_of(&self, id: ClientId) -> Result<Vec<String>> {
        self.capabilities().tags.of(id)
    }
}
