//! `state`: the in-memory values that GET and SET read and write.

use std::sync::Arc;

use crate::{ClientId, Payload, Result};

/// Longest key in bytes: what a `name8` of the wire holds.
pub const KEY_BYTES_MAX: usize = 255;
/// Largest value in bytes: the largest message that a client may send.
pub const VALUE_BYTES_MAX: usize = 64 * 1024;

/// A scope with its owner filled in by the host, so that no module reaches another's by naming it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// Everybody's.
    Shared,
    /// One module's.
    Module(Arc<str>),
    /// One keyed instance's.
    Room(Arc<str>, Arc<str>),
    /// One client's `mine`.
    Client(ClientId),
    /// A named scope.
    Named(Arc<str>),
}

/// A value and its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The bytes.
    pub value: Payload,
    /// Rises with every write of the key; never 0.
    pub version: u64,
}

/// An entry with its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its key.
    pub key: String,
    /// The bytes.
    pub value: Payload,
    /// As in [`Entry`].
    pub version: u64,
}

/// One map for all homes. A lock is held for one operation on one key, never across a guest's code.
pub trait State: Send + Sync {
    /// What is there.
    ///
    /// # Errors
    /// `NotFound` when nothing is, `InvalidArgument` for a key of the wrong length, `Unavailable` for a client that is not here.
    fn get(&self, place: &Place, key: &str) -> Result<Entry>;
    /// Those that exist, in the order asked; not a snapshot.
    ///
    /// # Errors
    /// As [`State::get`].
    fn get_many(&self, place: &Place, keys: &[String]) -> Result<Vec<Item>>;
    /// Ascending by key, after `after`; `limit` 0 is the map's own, which no limit exceeds.
    ///
    /// # Errors
    /// As [`State::get`].
    fn scan(
        &self,
        place: &Place,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Item>>;
    /// Writes; returns the new version.
    ///
    /// # Errors
    /// As [`State::get`], and `LimitExceeded` for what does not fit.
    fn set(&self, place: &Place, key: &str, value: Payload) -> Result<u64>;
    /// Writes if the version is the one expected (0: only when absent); returns the new version.
    ///
    /// # Errors
    /// As [`State::set`], and `Conflict`.
    fn compare_and_set(
        &self,
        place: &Place,
        key: &str,
        expected: u64,
        value: Payload,
    ) -> Result<u64>;
    /// Adds to a counter kept as decimal text, from 0 when absent; returns the sum.
    ///
    /// # Errors
    /// As [`State::set`], `InvalidArgument` when the value is no number, `LimitExceeded` on overflow.
    fn add(&self, place: &Place, key: &str, delta: i64) -> Result<i64>;
    /// Removes; true when it was there.
    ///
    /// # Errors
    /// As [`State::get`].
    fn remove(&self, place: &Place, key: &str) -> Result<bool>;
    /// Removes if the version is the one expected (0: only when absent, which changes nothing); true when it was there.
    ///
    /// # Errors
    /// As [`State::get`], and `Conflict`.
    fn compare_and_remove(&self, place: &Place, key: &str, expected: u64) -> Result<bool>;
    /// The version now, 0 when absent.
    ///
    /// # Errors
    /// As [`State::get`], but for `NotFound`.
    fn version(&self, place: &Place, key: &str) -> Result<u64>;
}
