//! `state`: the in-memory values that GET and SET read and write.

use cohnect_capabilities::state::{Entry, Item};
use cohnect_host::function::HostFunction as F;
use wasmtime::Result as Call;

use crate::contract::bindings::cohnect::module::state as wit;
use crate::contract::types::{DurationUs, Error, Payload, Scope, all};
use crate::store::Host;

impl wit::Host for Host {
    fn get(&mut self, scope: Scope, key: String) -> Call<Result<wit::Entry, Error>> {
        self.answer(F::StateGet, |c| {
            c.state_get(&scope.into(), &key).map(Into::into)
        })
    }

    fn get_many(&mut self, scope: Scope, keys: Vec<String>) -> Call<Result<Vec<wit::Item>, Error>> {
        self.answer(F::StateGetMany, |c| {
            c.state_get_many(&scope.into(), &keys).map(all)
        })
    }

    fn scan(
        &mut self,
        scope: Scope,
        prefix: String,
        after: Option<String>,
        limit: u32,
    ) -> Call<Result<Vec<wit::Item>, Error>> {
        self.answer(F::StateScan, |c| {
            c.state_scan(&scope.into(), &prefix, after.as_deref(), limit)
                .map(all)
        })
    }

    fn set(
        &mut self,
        scope: Scope,
        key: String,
        value: Payload,
        ttl: DurationUs,
    ) -> Call<Result<u64, Error>> {
        self.answer(F::StateSet, |c| {
            c.state_set(&scope.into(), &key, value, ttl)
        })
    }

    fn compare_and_set(
        &mut self,
        scope: Scope,
        key: String,
        expected: u64,
        value: Payload,
        ttl: DurationUs,
    ) -> Call<Result<u64, Error>> {
        self.answer(F::StateCompareAndSet, |c| {
            c.state_compare_and_set(&scope.into(), &key, expected, value, ttl)
        })
    }

    fn add(
        &mut self,
        scope: Scope,
        key: String,
        delta: i64,
        ttl: DurationUs,
    ) -> Call<Result<i64, Error>> {
        self.answer(F::StateAdd, |c| {
            c.state_add(&scope.into(), &key, delta, ttl)
        })
    }

    fn remove(&mut self, scope: Scope, key: String) -> Call<Result<bool, Error>> {
        self.answer(F::StateRemove, |c| c.state_remove(&scope.into(), &key))
    }

    fn apply(&mut self, _changes: Vec<wit::Change>) -> Call<Result<Vec<u64>, Error>> {
        self.answer(F::StateApply, |c| c.state_apply())
    }
}

impl From<Entry> for wit::Entry {
    fn from(value: Entry) -> Self {
        Self {
            value: value.value,
            version: value.version,
        }
    }
}

impl From<Item> for wit::Item {
    fn from(value: Item) -> Self {
        Self {
            key: value.key,
            value: value.value,
            version: value.version,
        }
    }
}
