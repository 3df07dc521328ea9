//! How a file is opened, and how long the pauses are between two tries for its lock. It opens nothing itself.

use core::time::Duration;
use std::path::Path;
use std::sync::Arc;

use sqlx::ConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};

use crate::connection::Lane;
use crate::scratch;

/// How a file is opened.
pub(crate) fn options(database: &Arc<str>, file: &Path, lane: Lane) -> SqliteConnectOptions {
    let name = Arc::clone(database);
    let options = SqliteConnectOptions::new()
        .filename(file)
        .vfs(scratch::VFS)
        .create_if_missing(lane == Lane::Write)
        .busy_timeout(Duration::ZERO)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .pragma("hard_heap_limit", HEAP_BYTES_MAX.to_string())
        .pragma("journal_size_limit", JOURNAL_BYTES_KEPT.to_string())
        .statement_cache_capacity(0)
        .command_buffer_size(COMMANDS_AHEAD)
        .row_buffer_size(ROWS_AHEAD)
        .thread_name(move |n| format!("db-{name}-{n}"))
        .disable_statement_logging();
    match lane {
        Lane::Read => options.pragma("query_only", "ON"),
        Lane::Write => options,
    }
}

/// The growing pauses between two tries for a lock that another process holds.
///
/// SQLite would wait by itself, but on the connection's thread and deaf to interrupts; a task that sleeps can be told to stop.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    tries: usize,
}

impl Patience {
    /// Sleeps once more.
    pub(crate) async fn pause(&mut self) {
        const PAUSES_MS: [u64; 6] = [1, 2, 5, 10, 25, 50];
        let pause_ms = PAUSES_MS.get(self.tries).copied().unwrap_or(50);
        self.tries += 1;
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
    }
}

/// Commands that wait for SQLite's thread: those of all locks between two of its answers, and as many others.
const COMMANDS_AHEAD: usize = 2 * LOCKS_MAX;
/// Locks of a connection's handle between two answers of its thread (`Connection::before_lock`).
pub(crate) const LOCKS_MAX: usize = 8;
/// Rows that wait between SQLite's thread and the task; each may be as large as the limits allow, so few.
const ROWS_AHEAD: usize = 8;
/// All that SQLite may hold in this process, over every connection: a backstop against a statement that builds values inside its own expressions, or views
/// that unfold into millions of others. A connection's cache is 2 MiB, and sorts and temporary results go to files (`scratch` bounds them), so honest
/// statements stay far below.
const HEAP_BYTES_MAX: u64 = 256 << 20;
/// A write-ahead log that has grown beyond this is cut after its checkpoint.
pub(crate) const JOURNAL_BYTES_KEPT: u64 = 64 << 20;
