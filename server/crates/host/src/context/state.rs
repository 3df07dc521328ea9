//! `state`: the in-memory values that GET and SET read and write.

use std::sync::Arc;

use bytes::Bytes;
use cohnect_capabilities::state::{Entry, Item, Place};
use cohnect_capabilities::{DurationUs, Error, Result, Scope};

use super::Entered;

/// Keys of one `get-many`, and a name's bytes: what a page holds, what a `name8` holds.
const KEYS_MAX: usize = 1_000;
const NAME_BYTES_MAX: usize = 255;

impl Entered<'_> {
    /// `state.get`
    ///
    /// # Errors
    /// `NotFound` when nothing is there; see [`cohnect_capabilities::state::State`] for the others, here and below.
    pub fn state_get(&self, scope: &Scope, key: &str) -> Result<Entry> {
        self.capabilities().state.get(&self.place(scope)?, key)
    }

    /// `state.get-many`
    ///
    /// # Errors
    /// `LimitExceeded` for more than 1,000 keys.
    pub fn state_get_many(&self, scope: &Scope, keys: &[String]) -> Result<Vec<Item>> {
        if keys.len() > KEYS_MAX {
            return Err(Error::limit("keys", KEYS_MAX as u64, keys.len() as u64));
        }
        self.capabilities()
            .state
            .get_many(&self.place(scope)?, keys)
    }

    /// `state.scan`
    ///
    /// # Errors
    /// As the map says.
    pub fn state_scan(
        &self,
        scope: &Scope,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Item>> {
        self.capabilities()
            .state
            .scan(&self.place(scope)?, prefix, after, limit)
    }

    /// `state.set`
    ///
    /// # Errors
    /// As the map says; `Unsupported` with a `ttl`, until values expire.
    pub fn state_set(
        &self,
        scope: &Scope,
        key: &str,
        value: Bytes,
        ttl: DurationUs,
    ) -> Result<u64> {
        no_ttl(ttl)?;
        self.capabilities()
            .state
            .set(&self.place(scope)?, key, value)
    }

    /// `state.compare-and-set`
    ///
    /// # Errors
    /// `Conflict` when the version is another; as [`Entered::state_set`].
    pub fn state_compare_and_set(
        &self,
        scope: &Scope,
        key: &str,
        expected: u64,
        value: Bytes,
        ttl: DurationUs,
    ) -> Result<u64> {
        no_ttl(ttl)?;
        self.capabilities()
            .state
            .compare_and_set(&self.place(scope)?, key, expected, value)
    }

    /// `state.add`
    ///
    /// # Errors
    /// `InvalidArgument` when the value is no number; as [`Entered::state_set`].
    pub fn state_add(&self, scope: &Scope, key: &str, delta: i64, ttl: DurationUs) -> Result<i64> {
        no_ttl(ttl)?;
        self.capabilities()
            .state
            .add(&self.place(scope)?, key, delta)
    }

    /// `state.remove`
    ///
    /// # Errors
    /// As the map says.
    pub fn state_remove(&self, scope: &Scope, key: &str) -> Result<bool> {
        self.capabilities().state.remove(&self.place(scope)?, key)
    }

    /// `state.apply`: a later version's; its arguments are not even looked at.
    ///
    /// # Errors
    /// Always `Unsupported`.
    pub const fn state_apply(&self) -> Result<Vec<u64>> {
        Err(Error::Unsupported)
    }

    fn place(&self, scope: &Scope) -> Result<Place> {
        Ok(match scope {
            Scope::Shared => Place::Shared,
            Scope::Module => Place::Module(Arc::clone(&self.context.charter.identity.module)),
            // A module without keys has one room: itself.
            Scope::Room => match self.context.charter.identity.address.split_once('#') {
                Some((name, key)) => Place::Room(name.into(), key.into()),
                None => Place::Module(Arc::clone(&self.context.charter.identity.module)),
            },
            Scope::Client(id) => Place::Client(*id),
            Scope::Named(name) => {
                if name.is_empty() || name.len() > NAME_BYTES_MAX {
                    return Err(Error::invalid(format!(
                        "a scope's name has 1 to {NAME_BYTES_MAX} bytes, this one {}",
                        name.len()
                    )));
                }
                Place::Named(name.as_str().into())
            }
        })
    }
}

const fn no_ttl(ttl: DurationUs) -> Result<()> {
    if ttl == 0 {
        Ok(())
    } else {
        Err(Error::Unsupported)
    }
}
