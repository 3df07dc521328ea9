//! What a simulated server has around it: a slow database, no flags and secrets, a log that is the journal, and CPU time that is counted in steps.

use core::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cohnect_capabilities::config::Secrets;
use cohnect_capabilities::db::{Cursor, Databases, Isolation, RowSet, Transaction, Value};
use cohnect_capabilities::feature_flags::{FeatureFlags, Subject};
use cohnect_capabilities::logging::{Level, Logging, Record};
use cohnect_capabilities::{BoxFuture, Error, Result, Scalar};
use cohnect_host::deadline::{CpuClock, Ticker};

use crate::chance::Chance;
use crate::journal::Journal;

/// How long a statement takes at most.
const STATEMENT_MS_MAX: u64 = 80;
/// The CPU of one step, in microseconds.
const STEP_US: u64 = 1_000;

/// CPU time in steps. A script takes one with each line that it logs at the lowest level, so that an endless loop ends after the same turn in every run.
#[derive(Debug)]
pub(crate) struct Steps {
    ticker: Ticker,
    used_us: AtomicU64,
}

impl Steps {
    pub(crate) const fn new(ticker: Ticker) -> Self {
        Self {
            ticker,
            used_us: AtomicU64::new(0),
        }
    }

    fn take(&self) {
        self.used_us.fetch_add(STEP_US, Ordering::Relaxed);
        self.ticker.advance();
    }
}

impl CpuClock for Steps {
    fn thread_us(&self) -> u64 {
        self.used_us.load(Ordering::Relaxed)
    }
}

/// Writes what modules log into the journal.
pub(crate) struct SimLog {
    journal: Arc<Journal>,
    steps: Arc<Steps>,
}

impl SimLog {
    pub(crate) fn new(journal: &Arc<Journal>, steps: &Arc<Steps>) -> Self {
        Self {
            journal: Arc::clone(journal),
            steps: Arc::clone(steps),
        }
    }
}

impl Logging for SimLog {
    fn enabled(&self, _level: Level) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let who = format!("{}@{}", record.module, record.generation);
        self.journal.note(who, record.message);
        if record.level == Level::Trace {
            self.steps.take();
        }
    }
}

/// A backend that has nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Nothing;

impl FeatureFlags for Nothing {
    fn value(&self, _name: &str, _who: &Subject) -> Option<Scalar> {
        None
    }
}

impl Secrets for Nothing {
    fn secret(&self, _name: &str) -> Option<String> {
        None
    }
}

/// A database that takes its time over every statement and has nothing.
pub(crate) struct SlowDatabase(Mutex<Chance>);

impl SlowDatabase {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Mutex::new(Chance::named(seed, "database")))
    }

    fn slowly<T: Default + Send + 'static>(&self) -> BoxFuture<'static, Result<T>> {
        let mut chance = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let time = Duration::from_millis(chance.below(STATEMENT_MS_MAX));
        Box::pin(async move {
            tokio::time::sleep(time).await;
            Ok(T::default())
        })
    }
}

impl Databases for SlowDatabase {
    fn query<'a>(
        &'a self,
        _database: &'a str,
        _statement: &'a str,
        _params: Vec<Value>,
    ) -> BoxFuture<'a, Result<RowSet>> {
        self.slowly()
    }

    fn execute<'a>(
        &'a self,
        _database: &'a str,
        _statement: &'a str,
        _params: Vec<Value>,
    ) -> BoxFuture<'a, Result<u64>> {
        self.slowly()
    }

    fn execute_batch<'a>(
        &'a self,
        _database: &'a str,
        _statement: &'a str,
        _params: Vec<Vec<Value>>,
    ) -> BoxFuture<'a, Result<u64>> {
        self.slowly()
    }

    fn begin<'a>(
        &'a self,
        _database: &'a str,
        _isolation: Isolation,
    ) -> BoxFuture<'a, Result<Box<dyn Transaction>>> {
        Box::pin(async { Err(Error::Unsupported) })
    }

    fn open<'a>(
        &'a self,
        _database: &'a str,
        _statement: &'a str,
        _params: Vec<Value>,
    ) -> BoxFuture<'a, Result<Box<dyn Cursor>>> {
        Box::pin(async { Err(Error::Unsupported) })
    }
}
