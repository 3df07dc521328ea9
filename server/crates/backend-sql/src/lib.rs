//! `db` on SQLite: named databases, each a file, behind the traits of `cohnect_capabilities::db`. It opens files and runs statements; who may reach which
//! database (the grant `db:NAME`) is decided by the host before it comes here.
//!
//! # How a statement runs
//! Each database has one connection that writes and a few that only read (write-ahead log, `synchronous=FULL`, foreign keys on). A statement is read
//! first, by SQLite itself: it must be one, its parameters are `$1`, `$2` …, and the authorizer refuses whatever leaves the sandbox (ATTACH, DETACH,
//! VACUUM, ANALYZE, PRAGMA, loaded extensions, temporary objects) or handles transactions by its text. Every statement has a time limit; when it passes, or the
//! future is dropped, the statement is interrupted and the connection comes back clean. A write that ends in `timeout` may have happened.
//!
//! One thing is not interrupted: SQLite's reading of an expression for full text. What is bound to a statement with MATCH is bounded; an expression that SQL
//! itself makes up (`words MATCH replace(…)`), or that is not written with MATCH (`words = $1`, `words($1)`), is not, and may hold its connection for minutes.
//! The database is *busy* from the second such connection on, until they have ended.
//!
//! # What a database may grow to
//! The file is bounded (`size_max_mib`), and so are its log, its schema, the temporary files and the memory of the process that SQLite uses. The log is cut
//! after each checkpoint; while a reader keeps it from that and it is longer than 256 MiB, writes are `busy`.
//!
//! # Types
//! SQLite stores five classes; a column's declared type says which value comes back:
//!
//! | value | stored as | comes back from a column declared |
//! | --- | --- | --- |
//! | `boolean` | INTEGER 0 or 1 | `BOOLEAN`, `BOOL` (elsewhere as `integer`) |
//! | `integer`, `real`, `text`, `blob` | themselves | any |
//! | `timestamp` | INTEGER, µs since the Unix epoch | `TIMESTAMP`, `DATETIME` (elsewhere as `integer`) |
//! | `uuid` | TEXT, hyphenated | `UUID` (elsewhere as `text`) |
//! | `json` | TEXT | `JSON` (elsewhere as `text`) |
//! | `decimal` | TEXT | `DECIMAL`, `NUMERIC`, where SQLite itself turns fractions into `real`; declare it `TEXT` to keep every digit, as `text` |
//!
//! An expression has no declared type, so it comes back as it is stored.
#![deny(unsafe_code)]

#[expect(
    unsafe_code,
    reason = "SQLite's authorizer and parser, which sqlx does not offer; each call says why it is sound"
)]
mod authorizer;
mod call;
mod connection;
mod cursor;
mod failure;
#[expect(
    unsafe_code,
    reason = "functions that SQLite calls, which sqlx does not offer; each call says why it is sound"
)]
mod functions;
mod gate;
mod opening;
mod pool;
mod schema;
#[expect(
    unsafe_code,
    reason = "SQLite's way to its files, which sqlx does not offer; each call says why it is sound"
)]
mod scratch;
mod statement;
mod text;
mod transaction;
mod value;

use core::time::Duration;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use cohnect_capabilities::db::{Cursor, Databases, Isolation, RowSet, Transaction, Value};
use cohnect_capabilities::{BoxFuture, Error, Result};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot};

use crate::call::Call;
use crate::connection::{Lane, Seen};
use crate::pool::Pool;

/// Rows in one result; more is a cursor's work. A guest holds each value as a variant of 24 bytes and more, and has 16 MiB by default.
pub const RESULT_ROWS_MAX: usize = 10_000;
/// Bytes in one result or page, 16 for each cell counted with them: a quarter of the smallest default memory of a guest.
pub const RESULT_BYTES_MAX: usize = 4 << 20;
/// Bytes of one value, and of one stored row. What is larger is a file's or an object store's.
pub const VALUE_BYTES_MAX: usize = 1 << 20;
/// Bytes of a statement's text; longer ones are data that should have been parameters.
pub const STATEMENT_BYTES_MAX: usize = 64 << 10;
/// Bytes of one parameter of a statement with MATCH. SQLite reads an expression for full text in a time that grows with the square of its terms, and looks
/// at no interrupt meanwhile: a tenth of a second for these, minutes for the longest value. What people type into a search is far shorter.
pub const MATCH_BYTES_MAX: usize = 16 << 10;
/// Parameters of one statement.
pub const PARAMETERS_MAX: usize = 1_000;
/// Bytes of one statement's parameters together.
pub const PARAMETERS_BYTES_MAX: usize = 4 << 20;
/// Tables, indexes, views and triggers of one database, with what a full text or spatial index has of its own. Every connection holds all of them parsed.
pub const SCHEMA_OBJECTS_MAX: u64 = 1_000;
/// Bytes of their definitions together. Parsed they are some twenty times as long, in each of five connections, and all share 256 MiB with the statements.
pub const SCHEMA_BYTES_MAX: u64 = 512 << 10;
/// Sets of parameters in one batch; the writing connection is held for all of them.
pub const BATCH_MAX: usize = 10_000;

/// One database: where it is, and what its use may cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseConfig {
    /// What modules call it.
    pub name: String,
    /// Its file, made when it is missing; the folder must be there.
    pub file: PathBuf,
    /// MiB that the file may grow to; a write that needs more fails. Default 1,024: far more than a game keeps, and far below a disk. A file that is already
    /// larger keeps its size. Beside it there may be a log of as much again while a large transaction is open.
    pub size_max_mib: u64,
    /// Connections that read beside the one that writes; one of them is never lent to a cursor. Each is a thread. Default 4, at least 2.
    pub readers: usize,
    /// How long one statement may take, its waits for a connection and for another process's lock included. Default 4 s: below the 5 s that end the
    /// module's call, so that the module hears of it.
    pub statement_timeout: Duration,
    /// How long a transaction or a cursor may stay open; then it is rolled back or closed. Default 10 s.
    pub held_max: Duration,
}

impl DatabaseConfig {
    /// This file under this name, everything else as by default.
    #[must_use]
    pub fn new(name: impl Into<String>, file: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            file: file.into(),
            size_max_mib: SIZE_MAX_MIB,
            readers: 4,
            statement_timeout: Duration::from_secs(4),
            held_max: Duration::from_secs(10),
        }
    }
}

/// How large a file may grow when nothing else is said, in MiB.
pub const SIZE_MAX_MIB: u64 = 1_024;

/// Why the databases could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Two have one name.
    #[error("two databases are called {0:?}")]
    Duplicate(String),
    /// A file is no database, is locked, or cannot be made.
    #[error("database {name:?} in {}: {error}", file.display())]
    File {
        /// The database's name.
        name: String,
        /// Its file.
        file: PathBuf,
        /// What is wrong with it.
        error: Error,
    },
}

/// The configured SQLite databases.
#[derive(Debug)]
pub struct SqlDatabases {
    runtime: Handle,
    databases: BTreeMap<String, Arc<Database>>,
}

#[derive(Debug)]
struct Database {
    readers: Arc<Pool>,
    /// SQLite lets one write at a time; this one connection is the queue for it within the process.
    writer: Arc<Pool>,
    cursors: Arc<Semaphore>,
    statement_timeout: Duration,
    held_max: Duration,
}

impl SqlDatabases {
    /// Opens each file once, so that a wrong path shows now and not in a module's call. All work is done on `runtime`, whose timers must be enabled; the
    /// futures may be awaited anywhere.
    ///
    /// # Errors
    /// A name is taken twice, or a file cannot be opened within its `statement_timeout`.
    pub async fn open(
        runtime: Handle,
        configs: Vec<DatabaseConfig>,
    ) -> core::result::Result<Self, OpenError> {
        let mut databases = BTreeMap::new();
        for config in configs {
            let database = Arc::new(Database::new(&config));
            let opening = Arc::clone(&database);
            let opened = ask(&runtime, config.statement_timeout, |mut call| async move {
                if let Some(lease) = call.wait(opening.writer.take()).await {
                    lease.give_back().await;
                    call.answer(Ok(()));
                }
            });
            if let Err(error) = opened.await {
                let DatabaseConfig { name, file, .. } = config;
                return Err(OpenError::File { name, file, error });
            }
            if databases.insert(config.name.clone(), database).is_some() {
                return Err(OpenError::Duplicate(config.name));
            }
        }
        Ok(Self { runtime, databases })
    }

    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.databases.keys().map(String::as_str)
    }

    fn database(&self, name: &str) -> Result<Arc<Database>> {
        self.databases
            .get(name)
            .map(Arc::clone)
            .ok_or(Error::NotFound)
    }

    /// Has this database serve a call, as [`ask`] does.
    async fn ask<T, W>(
        &self,
        database: &str,
        work: impl FnOnce(Arc<Database>, Call<T>) -> W + Send + 'static,
    ) -> Result<T>
    where
        T: Send + 'static,
        W: Future<Output = ()> + Send + 'static,
    {
        let database = self.database(database)?;
        let limit = database.statement_timeout;
        ask(&self.runtime, limit, |call| work(database, call)).await
    }
}

impl Database {
    fn new(config: &DatabaseConfig) -> Self {
        let name: Arc<str> = config.name.as_str().into();
        let readers = config.readers.max(2);
        Self {
            readers: Arc::new(Pool::new(
                Arc::clone(&name),
                config.file.clone(),
                Lane::Read,
                config.size_max_mib,
                readers,
            )),
            writer: Arc::new(Pool::new(
                name,
                config.file.clone(),
                Lane::Write,
                config.size_max_mib,
                1,
            )),
            cursors: Arc::new(Semaphore::new(readers - 1)),
            statement_timeout: config.statement_timeout,
            held_max: config.held_max,
        }
    }

    async fn query(&self, call: &mut Call<RowSet>, text: &str, params: &[Value]) {
        // Only SQLite can say whether a statement writes (INSERT … RETURNING does), so a reader looks at it first.
        for pool in [&self.readers, &self.writer] {
            let Some(mut lease) = call.wait(pool.take()).await else {
                return;
            };
            let gate = Arc::clone(lease.connection.gate());
            let seen = call
                .supervise(&gate, lease.connection.query(text, params))
                .await;
            lease.give_back().await;
            match seen {
                Some(Ok(Seen::Rows(rows))) => return call.answer(Ok(rows)),
                Some(Ok(Seen::Writes)) => {}
                Some(Err(error)) => return call.answer(Err(error)),
                None => return,
            }
        }
    }

    async fn execute(&self, call: &mut Call<u64>, text: &str, params: &[Value]) {
        let Some(mut lease) = call.wait(self.writer.take()).await else {
            return;
        };
        let gate = Arc::clone(lease.connection.gate());
        let done = call
            .supervise(&gate, lease.connection.execute(text, params))
            .await;
        lease.give_back().await;
        if let Some(done) = done {
            call.answer(done);
        }
    }

    async fn execute_batch(&self, call: &mut Call<u64>, text: &str, sets: &[Vec<Value>]) {
        let Some(mut lease) = call.wait(self.writer.take()).await else {
            return;
        };
        let gate = Arc::clone(lease.connection.gate());
        let done = call
            .supervise(&gate, lease.connection.execute_batch(text, sets))
            .await;
        lease.give_back().await;
        if let Some(done) = done {
            call.answer(done);
        }
    }

    async fn begin(&self, mut call: Call<Box<dyn Transaction>>) {
        let Some(mut lease) = call.wait(self.writer.take()).await else {
            return;
        };
        let gate = Arc::clone(lease.connection.gate());
        match call.supervise(&gate, lease.connection.begin()).await {
            Some(Ok(())) => {
                let (open, requests) = transaction::pair();
                call.answer(Ok(Box::new(open)));
                transaction::serve(lease, requests, self.statement_timeout, self.held_max).await;
            }
            Some(Err(error)) => {
                lease.give_back().await;
                call.answer(Err(error));
            }
            None => lease.give_back().await,
        }
    }

    async fn open(&self, mut call: Call<Box<dyn Cursor>>, text: String, params: Vec<Value>) {
        let Ok(place) = Arc::clone(&self.cursors).try_acquire_owned() else {
            return call.answer(Err(Error::Busy));
        };
        let Some(lease) = call.wait(self.readers.take()).await else {
            return;
        };
        let opening = cursor::Opening {
            text,
            params,
            limit: self.statement_timeout,
            held_max: self.held_max,
            place: cursor::Place::new(place),
        };
        cursor::serve(call, lease, opening).await;
    }
}

impl Databases for SqlDatabases {
    fn query<'a>(
        &'a self,
        database: &'a str,
        statement: &'a str,
        params: Vec<Value>,
    ) -> BoxFuture<'a, Result<RowSet>> {
        let text = statement.to_owned();
        Box::pin(self.ask(database, |database, mut call| async move {
            database.query(&mut call, &text, &params).await;
        }))
    }

    fn execute<'a>(
        &'a self,
        database: &'a str,
        statement: &'a str,
        params: Vec<Value>,
    ) -> BoxFuture<'a, Result<u64>> {
        let text = statement.to_owned();
        Box::pin(self.ask(database, |database, mut call| async move {
            database.execute(&mut call, &text, &params).await;
        }))
    }

    fn execute_batch<'a>(
        &'a self,
        database: &'a str,
        statement: &'a str,
        params: Vec<Vec<Value>>,
    ) -> BoxFuture<'a, Result<u64>> {
        let text = statement.to_owned();
        Box::pin(self.ask(database, |database, mut call| async move {
            database.execute_batch(&mut call, &text, &params).await;
        }))
    }

    /// Every transaction is serializable, whatever was asked for: SQLite knows nothing weaker.
    fn begin<'a>(
        &'a self,
        database: &'a str,
        _isolation: Isolation,
    ) -> BoxFuture<'a, Result<Box<dyn Transaction>>> {
        Box::pin(self.ask(database, |database, call| async move {
            database.begin(call).await;
        }))
    }

    fn open<'a>(
        &'a self,
        database: &'a str,
        statement: &'a str,
        params: Vec<Value>,
    ) -> BoxFuture<'a, Result<Box<dyn Cursor>>> {
        let text = statement.to_owned();
        Box::pin(self.ask(database, |database, call| async move {
            database.open(call, text, params).await;
        }))
    }
}

/// Has a call served on the runtime, and waits for its answer. Dropping the wait ends the call; what it uses comes to its own end there.
async fn ask<T, W>(
    runtime: &Handle,
    limit: Duration,
    work: impl FnOnce(Call<T>) -> W + Send + 'static,
) -> Result<T>
where
    T: Send + 'static,
    W: Future<Output = ()> + Send + 'static,
{
    let (reply, answer) = oneshot::channel();
    runtime.spawn(async move { work(Call::new(reply, limit)).await });
    answer
        .await
        .unwrap_or_else(|_| Err(Error::unavailable("the databases' runtime has ended")))
}
