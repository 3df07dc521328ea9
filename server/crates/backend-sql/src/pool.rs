//! The connections of one database to one purpose: at most so many, lent one by one, in the order in which they were asked for. Nobody waits here without
//! an end: whoever asks brings his own limit.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cohnect_capabilities::{Error, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::connection::{Connection, Lane};
use crate::gate::Gate;

/// A bounded set of connections.
#[derive(Debug)]
pub(crate) struct Pool {
    database: Arc<str>,
    file: PathBuf,
    lane: Lane,
    size_max_mib: u64,
    places: Arc<Semaphore>,
    queue: Semaphore,
    idle: Mutex<Vec<Connection>>,
    /// The gates of connections that did not come to their end in time. Whatever runs on one holds its gate, too, until it closes.
    abandoned: Mutex<Vec<Arc<Gate>>>,
}

impl Pool {
    /// A pool of at most `places` connections; none is opened yet.
    pub(crate) fn new(
        database: Arc<str>,
        file: PathBuf,
        lane: Lane,
        size_max_mib: u64,
        places: usize,
    ) -> Self {
        Self {
            database,
            file,
            lane,
            size_max_mib,
            places: Arc::new(Semaphore::new(places)),
            queue: Semaphore::new(QUEUE_MAX),
            idle: Mutex::new(Vec::with_capacity(places)),
            abandoned: Mutex::new(Vec::new()),
        }
    }

    /// A connection, as soon as one is free. Dropping the wait leaves the queue.
    ///
    /// # Errors
    /// `Busy` when the queue is full, or when too many connections that were given up still run; else what opening the file meets.
    pub(crate) async fn take(self: &Arc<Self>) -> Result<Lease> {
        let place = match Arc::clone(&self.places).try_acquire_owned() {
            Ok(place) => place,
            Err(_) => {
                let _queued = self.queue.try_acquire().map_err(|_| Error::Busy)?;
                Arc::clone(&self.places)
                    .acquire_owned()
                    .await
                    .map_err(|_| Error::Closed)?
            }
        };
        let idle = lock(&self.idle).pop();
        let connection = match idle {
            Some(connection) => connection,
            None if self.abandoned() >= ABANDONED_MAX => return Err(Error::Busy),
            None => {
                Connection::open(&self.database, &self.file, self.lane, self.size_max_mib).await?
            }
        };
        Ok(Lease {
            connection,
            pool: Arc::clone(self),
            _place: place,
        })
    }

    /// How many connections were given up and have not ended yet.
    fn abandoned(&self) -> usize {
        let mut abandoned = lock(&self.abandoned);
        abandoned.retain(|gate| Arc::strong_count(gate) > 1);
        abandoned.len()
    }
}

fn lock<T>(list: &Mutex<Vec<T>>) -> MutexGuard<'_, Vec<T>> {
    // The list is whole between any two of its operations.
    list.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection that is lent. Dropping it without [`Self::give_back`] closes it.
#[derive(Debug)]
pub(crate) struct Lease {
    /// The connection.
    pub connection: Connection,
    pool: Arc<Pool>,
    _place: OwnedSemaphorePermit,
}

impl Lease {
    /// Settles the connection and returns it for the next.
    pub(crate) async fn give_back(mut self) {
        self.connection.settle().await;
        if self.connection.is_broken() {
            lock(&self.pool.abandoned).push(Arc::clone(self.connection.gate()));
        } else {
            lock(&self.pool.idle).push(self.connection);
        }
    }
}

/// How many may wait for a connection of one database. Each is a call of some replica that stands still, and every replica runs one call at a time, so a
/// longer queue means that the database is not keeping up.
const QUEUE_MAX: usize = 256;
/// How many connections that were given up may still run while new ones are opened. Each burns a core until it comes to its end, and whoever found a
/// statement that takes that long could ask for one after the other.
const ABANDONED_MAX: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn connections_that_run_on_are_replaced_only_so_often() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("main.db");
        let pool = Arc::new(Pool::new("main".into(), file, Lane::Write, 16, 1));
        let mut running = Vec::new();
        for _ in 0..ABANDONED_MAX {
            let lease = pool.take().await.unwrap();
            // Whatever runs on a connection holds its gate.
            running.push(Arc::clone(lease.connection.gate()));
            lease.connection.gate().abandon();
            lease.give_back().await;
        }
        assert_eq!(pool.take().await.err(), Some(Error::Busy));
        running.clear();
        let taken = async {
            // The threads close their connections a moment after they are dropped.
            while pool.take().await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(core::time::Duration::from_secs(60), taken)
            .await
            .unwrap();
    }
}
