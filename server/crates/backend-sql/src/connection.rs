//! One connection to one SQLite file: opening it shut, reading and running statements on it, and the patience with a lock that another process holds.
//! What room it takes is `room`'s; who may use it, and for how long, is decided by `pool` and `call`.

mod room;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cohnect_capabilities::db::{RowSet, Value};
use cohnect_capabilities::{Error, Result};
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use sqlx::sqlite::{SqliteArguments, SqliteConnection, SqliteQueryResult, SqliteRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection as _, Either, Executor, Sqlite};

use crate::authorizer;
use crate::call::END_MAX;
use crate::failure::Failure;
use crate::gate::{Gate, Refused};
use crate::opening::{self, LOCKS_MAX, Patience};
use crate::schema;
use crate::scratch;
use crate::statement::{self, Statement};
use crate::value;
use crate::{BATCH_MAX, RESULT_BYTES_MAX, RESULT_ROWS_MAX};

/// What sqlx's stream of a running statement yields: rows, and the number of changed rows at its end.
pub(crate) type Rows<'a> =
    BoxStream<'a, core::result::Result<Either<SqliteQueryResult, SqliteRow>, sqlx::Error>>;

/// What `query` may find before it runs anything.
#[derive(Debug)]
pub(crate) enum Seen {
    /// The rows.
    Rows(RowSet),
    /// The statement writes, and this connection only reads.
    Writes,
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Reading, beside others.
    Read,
    /// Writing, alone.
    Write,
}

/// An open connection, its doors shut.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Away while a statement is read; gone if nobody could wait for that to end.
    inner: Option<SqliteConnection>,
    gate: Arc<Gate>,
    database: Arc<str>,
    lane: Lane,
    size_max_mib: u64,
    file: PathBuf,
    /// The file's write-ahead log.
    log: PathBuf,
    /// How often temporary files were refused before the running statement.
    refusals: u64,
    /// How often its handle was locked since its thread last answered.
    locks: usize,
    /// A transaction of ours may be open.
    in_transaction: bool,
    /// It failed in a way that a new one might not.
    broken: bool,
}

impl Connection {
    /// Opens the file, waiting for its lock as long as the caller does.
    ///
    /// # Errors
    /// There is no such folder, it is no database, or no thread or memory is left.
    pub(crate) async fn open(
        database: &Arc<str>,
        file: &Path,
        lane: Lane,
        size_max_mib: u64,
    ) -> Result<Self> {
        if !scratch::install() {
            return Err(Error::unavailable(
                "the database: SQLite did not take our way to its files",
            ));
        }
        let options = opening::options(database, file, lane);
        let gate = Arc::new(Gate::default());
        let mut patience = Patience::default();
        let mut inner = loop {
            match options.connect().await {
                Ok(inner) => break inner,
                Err(error) => match Failure::of_sqlx(&error, &gate) {
                    Failure::Busy => patience.pause().await,
                    failure @ (Failure::Broken(_) | Failure::Answer(_) | Failure::Full) => {
                        return Err(failure.into());
                    }
                },
            }
        };
        if lane == Lane::Write {
            room::bound(&mut inner, size_max_mib)
                .await
                .map_err(|error| Failure::of_sqlx(&error, &gate))?;
        }
        // SQLite follows links to the file itself, and puts the log beside that.
        let file = file.canonicalize().unwrap_or_else(|_| file.to_owned());
        let mut log = file.clone().into_os_string();
        log.push("-wal");
        let mut handle = inner
            .lock_handle()
            .await
            .map_err(|error| Failure::of_sqlx(&error, &gate))?;
        authorizer::shut(&mut handle, &gate).map_err(|fault| Failure::of_fault(&fault, &gate))?;
        let watched = Arc::clone(&gate);
        handle.set_progress_handler(INSTRUCTIONS_UNWATCHED, move || !watched.is_interrupted());
        drop(handle);
        Ok(Self {
            inner: Some(inner),
            gate,
            database: Arc::clone(database),
            lane,
            size_max_mib,
            file,
            log: log.into(),
            refusals: scratch::refusals(),
            locks: 1,
            in_transaction: false,
            broken: false,
        })
    }

    /// Its judge, and the way to interrupt it.
    pub(crate) fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    /// It is of no further use.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken || self.gate.is_abandoned()
    }

    /// Reads the statement without running it.
    ///
    /// # Errors
    /// SQLite, the gate or our own rules refuse it, or it with these parameters.
    pub(crate) async fn read(&mut self, text: &str, params: &[Value]) -> Result<Statement> {
        statement::check_text(text)?;
        let mut patience = Patience::default();
        loop {
            match self.parse(text).await {
                Ok(parsed) => {
                    let statement = statement::of(text.into(), parsed, params.len(), &self.gate)?;
                    statement.check(params)?;
                    return Ok(statement);
                }
                // Reading the schema needs the file's lock.
                Err(Failure::Busy) if !self.gate.is_interrupted() => patience.pause().await,
                Err(other) => return Err(other.into()),
            }
        }
    }

    /// Runs a statement for its rows, cut at the limits. On a connection that only reads, one that writes is left alone.
    ///
    /// # Errors
    /// As the contract says.
    pub(crate) async fn query(&mut self, text: &str, params: &[Value]) -> Result<Seen> {
        let arguments = value::arguments(params)?;
        let statement = self.read(text, params).await?;
        if self.lane == Lane::Read && !statement.reads_only {
            return Ok(Seen::Writes);
        }
        if statement.grows_schema {
            // It has no rows, and is bounded where it runs for its effect.
            self.change(&statement, arguments).await?;
            return Ok(Seen::Rows(RowSet {
                columns: statement.columns,
                ..RowSet::default()
            }));
        }
        if !statement.reads_only {
            self.make_room().await?;
        }
        let mut patience = Patience::default();
        loop {
            match self.collect(&statement, arguments.clone()).await {
                Ok(rows) => return Ok(Seen::Rows(rows)),
                Err(Failure::Busy) if !self.gate.is_interrupted() => patience.pause().await,
                Err(other) => return Err(other.into()),
            }
        }
    }

    /// Runs a statement for its effect; the number of rows changed.
    ///
    /// # Errors
    /// As the contract says.
    pub(crate) async fn execute(&mut self, text: &str, params: &[Value]) -> Result<u64> {
        let arguments = value::arguments(params)?;
        let statement = self.read(text, params).await?;
        self.change(&statement, arguments).await
    }

    /// Runs a statement for each set of parameters, all or none.
    ///
    /// # Errors
    /// As the contract says; the transaction is then still to be undone by [`Self::settle`].
    pub(crate) async fn execute_batch(&mut self, text: &str, sets: &[Vec<Value>]) -> Result<u64> {
        let Some(first) = sets.first() else {
            return Ok(0);
        };
        if sets.len() > BATCH_MAX {
            return Err(Error::limit("batch", BATCH_MAX as u64, sets.len() as u64));
        }
        if let Some(other) = sets.iter().find(|set| set.len() != first.len()) {
            let (first, other) = (first.len(), other.len());
            return Err(Error::invalid(format!(
                "every set has as many parameters: {first} here, {other} there"
            )));
        }
        self.begin().await?;
        let statement = self.read(text, first).await?;
        let mut changed = 0;
        for set in sets {
            // A short statement is over before its interrupt is asked for, so a long batch asks between them.
            if self.gate.is_interrupted() {
                return Err(Error::Timeout);
            }
            statement.check(set)?;
            changed += self.change(&statement, value::arguments(set)?).await?;
        }
        self.commit().await?;
        Ok(changed)
    }

    /// Starts a statement whose rows are taken one by one. Dropping the stream early leaves its worker running: [`Self::settle`] waits for it.
    pub(crate) fn rows(&mut self, statement: &Statement, arguments: SqliteArguments) -> Rows<'_> {
        self.fetch(prepared(statement, arguments))
    }

    /// What an error of [`Self::rows`] means.
    pub(crate) fn failure(&mut self, error: &sqlx::Error) -> Failure {
        let failure = match Failure::of_sqlx(error, &self.gate) {
            Failure::Full => Failure::Answer(self.full()),
            failure @ (Failure::Busy | Failure::Broken(_) | Failure::Answer(_)) => failure,
        };
        self.note(&failure);
        failure
    }

    /// Begins a transaction that may write, waiting for the lock of other processes.
    ///
    /// # Errors
    /// The wait was interrupted, or the file fails.
    pub(crate) async fn begin(&mut self) -> Result<()> {
        self.make_room().await?;
        // At once, not at the first write: a transaction that has read and then cannot write any more could only start again.
        self.in_transaction = true;
        self.host("BEGIN IMMEDIATE").await
    }

    /// Ends the transaction and makes it permanent.
    ///
    /// # Errors
    /// The file fails, or the transaction is gone.
    pub(crate) async fn commit(&mut self) -> Result<()> {
        self.host("COMMIT").await?;
        self.in_transaction = false;
        Ok(())
    }

    /// Called before the handle is locked.
    ///
    /// Each lock leaves a command for the connection's thread. Where that thread is held up just after it gave the handle away, the handle can be locked
    /// again and again without it; once those commands filled the way to it, the next lock would wait for room there and the thread for the lock, for ever.
    /// So now and then its answer is waited for: it answers when it has taken all of them.
    async fn before_lock(&mut self) {
        if self.locks >= LOCKS_MAX {
            self.broken |= match &mut self.inner {
                Some(inner) => inner.ping().await.is_err(),
                None => true,
            };
            self.locks = 0;
        }
        self.locks += 1;
    }

    /// Whether SQLite has undone the transaction by itself, as some errors make it.
    pub(crate) async fn has_lost_transaction(&mut self) -> bool {
        self.before_lock().await;
        let handle = match &mut self.inner {
            Some(inner) => inner.lock_handle().await.ok(),
            None => None,
        };
        match handle {
            Some(mut handle) => !authorizer::in_transaction(&mut handle),
            None => {
                self.broken = true;
                true
            }
        }
    }

    /// Leaves the connection as a new one: nothing runs on it, no transaction is open, nothing interrupts it.
    pub(crate) async fn settle(&mut self) {
        self.stop().await;
        if self.in_transaction && !self.is_broken() {
            if !self.has_lost_transaction().await {
                self.broken |= self.host("ROLLBACK").await.is_err();
            }
            self.in_transaction = false;
        }
        self.tidy_log().await;
    }

    /// On a thread that may be held up: a short text can ask for a long compilation (views upon views), and nothing else would run on ours meanwhile,
    /// not even the timer that ends it.
    async fn parse(&mut self, text: &str) -> core::result::Result<authorizer::Parsed, Failure> {
        self.before_lock().await;
        let Some(mut inner) = self.inner.take() else {
            return Err(self.died());
        };
        self.gate.reset();
        let (gate, text) = (Arc::clone(&self.gate), text.to_owned());
        let runtime = tokio::runtime::Handle::current();
        let reading = tokio::task::spawn_blocking(move || {
            let parsed = match runtime.block_on(inner.lock_handle()) {
                Ok(mut handle) => authorizer::parse(&mut handle, &text)
                    .map_err(|fault| Failure::of_fault(&fault, &gate)),
                Err(error) => Err(Failure::of_sqlx(&error, &gate)),
            };
            (inner, parsed)
        });
        let Ok((inner, parsed)) = reading.await else {
            return Err(self.died());
        };
        self.inner = Some(inner);
        if let Err(failure) = &parsed {
            self.note(failure);
        }
        parsed
    }

    fn fetch(&mut self, query: Query<'static>) -> Rows<'_> {
        self.refusals = scratch::refusals();
        match &mut self.inner {
            Some(inner) => inner.fetch_many(query),
            None => stream::once(core::future::ready(Err(sqlx::Error::WorkerCrashed))).boxed(),
        }
    }

    async fn collect(
        &mut self,
        statement: &Statement,
        arguments: SqliteArguments,
    ) -> core::result::Result<RowSet, Failure> {
        let mut found = RowSet {
            columns: statement.columns.clone(),
            ..RowSet::default()
        };
        let mut bytes_left = RESULT_BYTES_MAX;
        let mut rows = self.rows(statement, arguments);
        let mut end = Ok(());
        let mut cut = Ok(());
        let mut ended = false;
        while let Some(next) = rows.next().await {
            let row = match next {
                Ok(Either::Right(row)) => row,
                Ok(Either::Left(_)) => {
                    ended = true;
                    continue;
                }
                Err(error) => {
                    end = Err(error);
                    break;
                }
            };
            let (values, bytes) = match value::row(&row, &statement.kinds) {
                Ok(read) => read,
                Err(error) => {
                    cut = Err(Failure::Answer(error));
                    break;
                }
            };
            if found.truncated || found.rows.len() == RESULT_ROWS_MAX || bytes > bytes_left {
                found.truncated = true;
                // What writes (INSERT … RETURNING) runs to its end, so that a cut list never means a half-done statement.
                if statement.reads_only {
                    break;
                }
                continue;
            }
            bytes_left -= bytes;
            found.rows.push(values);
        }
        drop(rows);
        if cut.is_err() || (found.truncated && statement.reads_only) {
            self.stop().await;
        }
        cut?;
        end.map_err(|error| self.failure(&error))?;
        let cut = found.truncated && statement.reads_only;
        if !ended && !cut {
            return Err(self.died());
        }
        Ok(found)
    }

    async fn change(&mut self, statement: &Statement, arguments: SqliteArguments) -> Result<u64> {
        if !statement.grows_schema {
            self.make_room().await?;
            return self.apply(statement, arguments).await;
        }
        // How large the schema is shows only when it has changed, so that must be something that can be undone.
        let alone = !self.in_transaction;
        if alone {
            self.begin().await?;
        }
        let changed = self.apply(statement, arguments).await?;
        if let Err(error) = self.check_schema().await {
            self.host("ROLLBACK").await?;
            return Err(error);
        }
        if alone {
            self.commit().await?;
        }
        Ok(changed)
    }

    async fn check_schema(&mut self) -> Result<()> {
        self.gate.reset();
        self.gate.set_host(true);
        let measured = match &mut self.inner {
            Some(inner) => schema::measure(inner).await,
            None => Err(sqlx::Error::WorkerCrashed),
        };
        self.gate.set_host(false);
        schema::check(measured.map_err(|error| self.failure(&error))?)
    }

    async fn apply(&mut self, statement: &Statement, arguments: SqliteArguments) -> Result<u64> {
        let mut patience = Patience::default();
        loop {
            match self.run(prepared(statement, arguments.clone())).await {
                Ok(changed) => return Ok(if statement.counts_rows { changed } else { 0 }),
                Err(Failure::Busy) if !self.gate.is_interrupted() => patience.pause().await,
                Err(other) => return Err(other.into()),
            }
        }
    }

    async fn run(&mut self, query: Query<'static>) -> core::result::Result<u64, Failure> {
        let mut rows = self.fetch(query);
        let mut changed = None;
        let mut end = Ok(());
        while let Some(next) = rows.next().await {
            match next {
                Ok(Either::Left(done)) => changed = Some(done.rows_affected()),
                // `execute` is not for rows; those of a SELECT or RETURNING go nowhere.
                Ok(Either::Right(_)) => {}
                Err(error) => {
                    end = Err(error);
                    break;
                }
            }
        }
        drop(rows);
        end.map_err(|error| self.failure(&error))?;
        changed.ok_or_else(|| self.died())
    }

    /// Ends a statement whose stream was dropped, and waits until it has ended.
    async fn stop(&mut self) {
        if self.is_broken() {
            return;
        }
        self.gate.interrupt();
        // The answer comes when the worker has ended what it was doing; none comes from one that died with the question in its queue.
        self.broken |= match &mut self.inner {
            Some(inner) => {
                let idle = tokio::time::timeout(END_MAX, inner.ping()).await;
                !matches!(idle, Ok(Ok(())))
            }
            None => true,
        };
        self.gate.clear_interrupt();
    }

    /// A stream that stops without its statement's end: the worker's thread is gone.
    fn died(&mut self) -> Failure {
        let failure = Failure::Broken(Error::unavailable("the database: its connection died"));
        self.note(&failure);
        failure
    }

    /// A statement of our own, past the gate.
    async fn host(&mut self, text: &'static str) -> Result<()> {
        let mut patience = Patience::default();
        loop {
            self.gate.reset();
            self.gate.set_host(true);
            let ended = self.run(sqlx::query(text)).await;
            self.gate.set_host(false);
            match ended {
                Ok(_) => return Ok(()),
                Err(Failure::Busy) if !self.gate.is_interrupted() => patience.pause().await,
                Err(other) => return Err(other.into()),
            }
        }
    }

    fn note(&mut self, failure: &Failure) {
        match failure {
            Failure::Broken(error) => {
                self.broken = true;
                tracing::warn!(database = %self.database, %error, "a database connection broke");
            }
            Failure::Answer(Error::Denied) => {
                let door = match self.gate.refused() {
                    Some(Refused::Door(door)) => door,
                    Some(Refused::Transaction) | None => "unknown",
                };
                tracing::warn!(database = %self.database, door, "a statement tried to leave the sandbox");
            }
            Failure::Answer(_) | Failure::Full | Failure::Busy => {}
        }
    }
}

type Query<'a> = sqlx::query::Query<'a, Sqlite, SqliteArguments>;

fn prepared(statement: &Statement, arguments: SqliteArguments) -> Query<'static> {
    // Not kept compiled: sqlx remembers a kept statement's columns beyond a change of the schema.
    sqlx::query_with(AssertSqlSafe(Arc::clone(&statement.text)), arguments).persistent(false)
}

/// How many instructions of SQLite's machine run between two looks at the interrupt, if they jump. One may take a millisecond (a function over the longest
/// value), so a hundred keep an interrupt within a tenth of a second; the look itself is one atomic load. What does not jump, the brake ends.
const INSTRUCTIONS_UNWATCHED: i32 = 100;
