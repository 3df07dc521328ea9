//! The values that GET, SET and the modules' `state` read and write: one map for all shards, in stripes, each behind a lock that is held for one
//! operation on one key. It lives in memory; what is to survive a restart will be the same map and a log.

mod usage;

use core::hash::{Hash, Hasher};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use cohnect_capabilities::state::{Entry, Item, KEY_BYTES_MAX, Place, VALUE_BYTES_MAX};
use cohnect_capabilities::{ClientId, Error, Result};
use rustc_hash::FxHasher;

use usage::{Registry, Usage};

/// Locks: sixteen times the shards of a large machine, so that two of them seldom meet.
const STRIPES: usize = 64;
/// Items of one page, and what a caller may ask for at most.
const PAGE_MAX: usize = 1_000;

/// All values of a server.
pub struct State {
    stripes: Vec<Mutex<Stripe>>,
    /// Drawn from under a stripe's lock, so that a key's versions only rise; no number is used twice.
    versions: AtomicU64,
    registry: Registry,
}

/// What the reply and the outbox of a call wait for before they leave. All scopes of this version live in memory, where a write has happened when the call
/// returns: nothing waits, and there is one case. It marks the places where a durable scope would have them wait for the group of the log that holds the
/// write; its case will not compile before each of them says how: the end of a call on a shard (`Shard::finish`), what comes from a worker
/// (`Shard::take_mail`), and a client's own write (SET).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Nothing to wait for.
    Open,
}

type Stripe = BTreeMap<Place, Shelf>;

/// The entries of one scope in one stripe.
struct Shelf {
    usage: Arc<Usage>,
    entries: BTreeMap<Box<str>, Entry>,
}

/// What an operation makes of an entry.
enum Change {
    Nothing,
    Set(Bytes),
    Remove,
}

impl core::fmt::Debug for State {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("State").finish_non_exhaustive()
    }
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    /// An empty map.
    #[must_use]
    pub fn new() -> Self {
        Self {
            stripes: (0..STRIPES).map(|_| Mutex::default()).collect(),
            versions: AtomicU64::new(0),
            registry: Registry::default(),
        }
    }

    /// What the consequences of the calls that have run so far wait for.
    #[must_use]
    pub const fn gate(&self) -> Gate {
        Gate::Open
    }

    /// A client is here: its `mine` begins, empty.
    pub fn open_client(&self, id: ClientId) {
        let place = Place::Client(id);
        let shelf = Shelf {
            usage: Arc::new(Usage::of_client()),
            entries: BTreeMap::new(),
        };
        self.stripe(&place, "").insert(place, shelf);
    }

    /// A client left: its `mine` is gone.
    pub fn close_client(&self, id: ClientId) {
        let place = Place::Client(id);
        self.stripe(&place, "").remove(&place);
    }

    /// A client's values share one stripe, so that they are found together when it leaves; other scopes are spread by key.
    fn stripe(&self, place: &Place, key: &str) -> MutexGuard<'_, Stripe> {
        let mut hasher = FxHasher::default();
        place.hash(&mut hasher);
        match place {
            Place::Client(_) => {}
            Place::Shared | Place::Module(_) | Place::Room(..) | Place::Named(_) => {
                key.hash(&mut hasher);
            }
        }
        // The upper bits are the better mixed ones of this hasher.
        let n = (hasher.finish() >> 32) as usize % STRIPES;
        self.stripes[n]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn read<T>(
        &self,
        place: &Place,
        key: &str,
        look: impl FnOnce(Option<&Entry>) -> Result<T>,
    ) -> Result<T> {
        check_key(key)?;
        let stripe = self.stripe(place, key);
        match stripe.get(place) {
            Some(shelf) => look(shelf.entries.get(key)),
            None => {
                check_here(place)?;
                look(None)
            }
        }
    }

    /// Lets `decide` look at an entry and say what becomes of it; all under one lock. Returns the new version (0 unless it was set) beside what
    /// `decide` returned.
    fn write<T>(
        &self,
        place: &Place,
        key: &str,
        decide: impl FnOnce(Option<&Entry>) -> Result<(Change, T)>,
    ) -> Result<(u64, T)> {
        check_key(key)?;
        let mut stripe = self.stripe(place, key);
        if !stripe.contains_key(place) {
            check_here(place)?;
        }
        let before = stripe.get(place).and_then(|shelf| shelf.entries.get(key));
        let weight = |value: &Bytes| (key.len() + value.len()) as u64;
        let weight_before = before.map(|entry| weight(&entry.value));
        match decide(before)? {
            (Change::Nothing, told) => Ok((0, told)),
            (Change::Set(value), told) => {
                check_value(&value)?;
                let usage = match stripe.get(place) {
                    Some(shelf) => Arc::clone(&shelf.usage),
                    None => self.registry.usage(place)?,
                };
                usage.change(weight_before, weight(&value))?;
                let version = self.versions.fetch_add(1, Ordering::Relaxed) + 1;
                let shelf = stripe.entry(place.clone()).or_insert_with(|| Shelf {
                    usage,
                    entries: BTreeMap::new(),
                });
                let entry = Entry { value, version };
                match shelf.entries.get_mut(key) {
                    Some(place) => *place = entry,
                    None => drop(shelf.entries.insert(key.into(), entry)),
                }
                Ok((version, told))
            }
            (Change::Remove, told) => {
                if let (Some(shelf), Some(weight)) = (stripe.get_mut(place), weight_before) {
                    shelf.entries.remove(key);
                    shelf.usage.release(weight);
                    // An empty shelf goes, but for a client's: that one says that the client is here.
                    if shelf.entries.is_empty() && !matches!(place, Place::Client(_)) {
                        stripe.remove(place);
                    }
                }
                Ok((0, told))
            }
        }
    }
}

impl cohnect_capabilities::state::State for State {
    fn get(&self, place: &Place, key: &str) -> Result<Entry> {
        self.read(place, key, |entry| entry.cloned().ok_or(Error::NotFound))
    }

    fn get_many(&self, place: &Place, keys: &[String]) -> Result<Vec<Item>> {
        let mut items = Vec::new();
        for key in keys {
            match self.get(place, key) {
                Ok(Entry { value, version }) => items.push(Item {
                    key: key.clone(),
                    value,
                    version,
                }),
                Err(Error::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(items)
    }

    fn scan(
        &self,
        place: &Place,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Item>> {
        let limit = match limit as usize {
            0 => PAGE_MAX,
            n => n.min(PAGE_MAX),
        };
        if let Place::Client(_) = place
            && !self.stripe(place, "").contains_key(place)
        {
            return Err(unavailable());
        }
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            Some(_) | None => Bound::Included(prefix),
        };
        // Each stripe gives its first ones; of all of them the first ones are the page.
        let mut first: BTreeMap<Box<str>, Entry> = BTreeMap::new();
        for stripe in &self.stripes {
            let stripe = stripe.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(shelf) = stripe.get(place) else {
                continue;
            };
            for (key, entry) in shelf.entries.range::<str, _>((from, Bound::Unbounded)) {
                let full = first.len() >= limit;
                let beyond = full && first.last_key_value().is_some_and(|(last, _)| key > last);
                if beyond || !key.starts_with(prefix) {
                    break;
                }
                first.insert(key.clone(), entry.clone());
                if full {
                    first.pop_last();
                }
            }
        }
        Ok(first
            .into_iter()
            .map(|(key, Entry { value, version })| Item {
                key: key.into(),
                value,
                version,
            })
            .collect())
    }

    fn set(&self, place: &Place, key: &str, value: Bytes) -> Result<u64> {
        self.write(place, key, |_| Ok((Change::Set(value), ())))
            .map(|(version, ())| version)
    }

    fn compare_and_set(
        &self,
        place: &Place,
        key: &str,
        expected: u64,
        value: Bytes,
    ) -> Result<u64> {
        self.write(place, key, |entry| {
            check_version(entry, expected)?;
            Ok((Change::Set(value), ()))
        })
        .map(|(version, ())| version)
    }

    fn add(&self, place: &Place, key: &str, delta: i64) -> Result<i64> {
        self.write(place, key, |entry| {
            let before = entry.map_or(Ok(0), |entry| number(&entry.value))?;
            let sum = before
                .checked_add(delta)
                .ok_or_else(|| Error::limit("counter", i64::MAX as u64, u64::MAX))?;
            Ok((Change::Set(sum.to_string().into()), sum))
        })
        .map(|(_, sum)| sum)
    }

    fn remove(&self, place: &Place, key: &str) -> Result<bool> {
        self.write(place, key, |entry| Ok((Change::Remove, entry.is_some())))
            .map(|(_, was_there)| was_there)
    }

    fn compare_and_remove(&self, place: &Place, key: &str, expected: u64) -> Result<bool> {
        self.write(place, key, |entry| {
            check_version(entry, expected)?;
            let change = entry.map_or(Change::Nothing, |_| Change::Remove);
            Ok((change, entry.is_some()))
        })
        .map(|(_, was_there)| was_there)
    }

    fn version(&self, place: &Place, key: &str) -> Result<u64> {
        self.read(place, key, |entry| {
            Ok(entry.map_or(0, |entry| entry.version))
        })
    }
}

fn check_key(key: &str) -> Result<()> {
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        return Err(Error::invalid(format!(
            "a key has 1 to {KEY_BYTES_MAX} bytes, this one {}",
            key.len()
        )));
    }
    Ok(())
}

fn check_value(value: &Bytes) -> Result<()> {
    if value.len() > VALUE_BYTES_MAX {
        let (allowed, requested) = (VALUE_BYTES_MAX as u64, value.len() as u64);
        return Err(Error::limit("value-bytes", allowed, requested));
    }
    Ok(())
}

fn check_version(entry: Option<&Entry>, expected: u64) -> Result<()> {
    if entry.map_or(0, |entry| entry.version) == expected {
        Ok(())
    } else {
        Err(Error::Conflict)
    }
}

/// Only the scope of a client can be missing: every other is made by its first value.
fn check_here(place: &Place) -> Result<()> {
    match place {
        Place::Client(_) => Err(unavailable()),
        Place::Shared | Place::Module(_) | Place::Room(..) | Place::Named(_) => Ok(()),
    }
}

fn unavailable() -> Error {
    Error::unavailable("the client is not here")
}

fn number(value: &[u8]) -> Result<i64> {
    core::str::from_utf8(value)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| Error::invalid("the value is no whole number in decimal text"))
}

#[cfg(test)]
mod tests;
