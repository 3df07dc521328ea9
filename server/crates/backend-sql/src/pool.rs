//! The connections of one database to one purpose: at most so many, lent one by one, in the order in which they were asked for. Nobody waits here without
//! an end: whoever asks brings his own limit.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use cohnect_capabilities::{Error, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::connection::{Connection, Lane};

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
        }
    }

    /// A connection, as soon as one is free. Dropping the wait leaves the queue.
    ///
    /// # Errors
    /// `Busy` when the queue is full; else what opening the file meets.
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
        let idle = self.lock().pop();
        let connection = match idle {
            Some(connection) => connection,
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

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        // The list is whole between any two of its operations.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
        if !self.connection.is_broken() {
            self.pool.lock().push(self.connection);
        }
    }
}

/// How many may wait for a connection of one database. Each is a call of some replica that stands still, and every replica runs one call at a time, so a
/// longer queue means that the database is not keeping up.
const QUEUE_MAX: usize = 256;
