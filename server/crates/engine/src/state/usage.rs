//! How much each scope holds, against its bounds. It holds no value.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use cohnect_capabilities::state::Place;
use cohnect_capabilities::{Error, Result};

/// Entries of `shared`, of each named scope and of each module: a player base's worth of small values.
pub(super) const ENTRIES_MAX: u64 = 100_000;
/// Bytes of keys and values of the same: memory that an operator can plan with.
pub(super) const BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Keys of one client's `mine`: it is the client that writes them.
pub(super) const CLIENT_ENTRIES_MAX: u64 = 64;
/// Bytes of keys and values of one client's `mine`.
pub(super) const CLIENT_BYTES_MAX: u64 = 64 * 1024;
/// Named scopes that hold something at once. Nobody owns a name, and clients may use them where policy allows it, so their number has an end.
pub(super) const NAMED_MAX: usize = 1_024;
/// Bytes of keys and values of all named scopes together, for the same reason.
pub(super) const NAMED_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// What one scope holds.
pub(super) struct Usage {
    entries_max: u64,
    bytes_max: u64,
    entries: AtomicU64,
    bytes: AtomicU64,
    /// Of a named scope: the bytes of all of them.
    named: Option<Arc<AtomicU64>>,
}

impl Usage {
    const fn new(entries_max: u64, bytes_max: u64, named: Option<Arc<AtomicU64>>) -> Self {
        Self {
            entries_max,
            bytes_max,
            entries: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            named,
        }
    }

    /// Of one client's `mine`.
    pub(super) const fn of_client() -> Self {
        Self::new(CLIENT_ENTRIES_MAX, CLIENT_BYTES_MAX, None)
    }

    /// An entry of this weight is put in the place of one of that weight, or of none.
    ///
    /// # Errors
    /// `LimitExceeded` when it does not fit; then nothing is counted.
    pub(super) fn change(&self, before: Option<u64>, after: u64) -> Result<()> {
        if before.is_none() {
            take(&self.entries, 1, self.entries_max)
                .map_err(|wanted| Error::limit("entries", self.entries_max, wanted))?;
        }
        let freed = before.unwrap_or(0);
        if after <= freed {
            self.shrink(freed - after);
            return Ok(());
        }
        self.grow(after - freed).inspect_err(|_| {
            if before.is_none() {
                self.entries.fetch_sub(1, Ordering::Relaxed);
            }
        })
    }

    fn grow(&self, more: u64) -> Result<()> {
        take(&self.bytes, more, self.bytes_max)
            .map_err(|wanted| Error::limit("scope-bytes", self.bytes_max, wanted))?;
        if let Some(named) = &self.named {
            take(named, more, NAMED_BYTES_MAX).map_err(|wanted| {
                self.bytes.fetch_sub(more, Ordering::Relaxed);
                Error::limit("named-bytes", NAMED_BYTES_MAX, wanted)
            })?;
        }
        Ok(())
    }

    fn shrink(&self, less: u64) {
        self.bytes.fetch_sub(less, Ordering::Relaxed);
        if let Some(named) = &self.named {
            named.fetch_sub(less, Ordering::Relaxed);
        }
    }

    /// An entry of this weight is gone.
    pub(super) fn release(&self, weight: u64) {
        self.entries.fetch_sub(1, Ordering::Relaxed);
        self.shrink(weight);
    }
}

/// Adds to a count that may not pass its bound; else says what it would have become.
fn take(count: &AtomicU64, more: u64, max: u64) -> core::result::Result<(), u64> {
    count
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| {
            now.checked_add(more).filter(|sum| *sum <= max)
        })
        .map(drop)
        .map_err(|now| now.saturating_add(more))
}

/// The usage of every scope but the clients'. Those of modules are as many as there are modules, so only names are counted.
#[derive(Default)]
pub(super) struct Registry {
    scopes: Mutex<BTreeMap<Place, Arc<Usage>>>,
    named_bytes: Arc<AtomicU64>,
}

impl Registry {
    /// The usage of a scope that is about to hold something. Called under a stripe's lock; it takes none itself but its own.
    ///
    /// # Errors
    /// `LimitExceeded` when as many named scopes hold something as may.
    pub(super) fn usage(&self, place: &Place) -> Result<Arc<Usage>> {
        let mut scopes = self.scopes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(usage) = scopes.get(place) {
            return Ok(Arc::clone(usage));
        }
        let named = matches!(place, Place::Named(_)).then(|| Arc::clone(&self.named_bytes));
        if named.is_some() && count_named(&scopes) >= NAMED_MAX {
            // A scope whose usage nobody else holds has no shelf in any stripe: it is empty.
            scopes.retain(|_, usage| Arc::strong_count(usage) > 1);
            let wanted = count_named(&scopes) + 1;
            if wanted > NAMED_MAX {
                return Err(Error::limit("scopes", NAMED_MAX as u64, wanted as u64));
            }
        }
        let usage = Arc::new(Usage::new(ENTRIES_MAX, BYTES_MAX, named));
        scopes.insert(place.clone(), Arc::clone(&usage));
        Ok(usage)
    }
}

fn count_named(scopes: &BTreeMap<Place, Arc<Usage>>) -> usize {
    let is_named = |place: &&Place| matches!(place, Place::Named(_));
    scopes.keys().filter(is_named).count()
}
