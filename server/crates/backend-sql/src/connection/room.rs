//! The room that one connection's file and its log may take: the bound on the file, the cut of the log, and what is said where one of them is full.

use cohnect_capabilities::{Error, Result};
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Executor};

use super::{Connection, Lane};
use crate::failure::Failure;
use crate::opening::JOURNAL_BYTES_KEPT;
use crate::scratch;

/// How long the log may be before a transaction that adds to it. A tenth of it is what ten seconds of a busy game write, which is as long as a cursor may
/// keep a log from being cut; with the largest transaction the log stays below this and the file's own bound together.
const LOG_BYTES_MAX: u64 = 256 << 20;
/// More than a connection's cache holds, 2 MiB and what is pinned in it.
const CACHE_BYTES: u64 = 8 << 20;

impl Connection {
    /// Cuts the log after a transaction that was large, or that failed, and left its pages in it. Where a reader keeps it from being cut, the next write
    /// asks again.
    pub(super) async fn tidy_log(&mut self) {
        if self.lane == Lane::Write && !self.is_broken() && self.log_bytes() > JOURNAL_BYTES_KEPT {
            self.cut_log().await;
        }
    }

    /// Refuses a transaction while the log is long and cannot be cut: a reader, perhaps a cursor that its module keeps open, still needs what is in it, and
    /// each transaction adds to it.
    pub(super) async fn make_room(&mut self) -> Result<()> {
        if self.lane == Lane::Read || self.in_transaction || self.log_bytes() <= LOG_BYTES_MAX {
            return Ok(());
        }
        self.cut_log().await;
        let bytes = self.log_bytes();
        if bytes <= LOG_BYTES_MAX {
            return Ok(());
        }
        tracing::warn!(
            database = %self.database, log_bytes = bytes, log_bytes_max = LOG_BYTES_MAX,
            "a write was refused: a query or cursor that is still open keeps the log from being cut"
        );
        Err(Error::Busy)
    }

    async fn cut_log(&mut self) {
        // It does what it can at once, and says in a row what it could not; an error here shows again in the next write.
        drop(self.host("PRAGMA wal_checkpoint(TRUNCATE)").await);
    }

    fn log_bytes(&self) -> u64 {
        // A look that takes microseconds, beside a write that waits for the disk.
        std::fs::metadata(&self.log).map_or(0, |log| log.len())
    }

    /// What was full.
    pub(super) fn full(&self) -> Error {
        let database = &self.database;
        if scratch::refusals() != self.refusals {
            let most = scratch::SCRATCH_BYTES_MAX >> 20;
            return Error::limit(
                format!("the temporary files of all databases (database {database}), MiB"),
                most,
                most + 1,
            );
        }
        // Every page of a file at its bound is in the file, in the log, or in the cache.
        let file = std::fs::metadata(&self.file).map_or(0, |file| file.len());
        let most = self.size_max_mib.saturating_mul(1 << 20);
        if file + self.log_bytes() + CACHE_BYTES < most {
            return Failure::Full.into();
        }
        Error::limit(
            format!("[database.{database}] size_max_mib"),
            self.size_max_mib,
            self.size_max_mib + 1,
        )
    }
}

/// Bounds the file, in pages of its own size. Within a transaction, that bounds the log, too: a page is in it once for each.
pub(super) async fn bound(
    inner: &mut SqliteConnection,
    size_max_mib: u64,
) -> core::result::Result<(), sqlx::Error> {
    let page: i64 = sqlx::query_scalar("PRAGMA page_size")
        .fetch_one(&mut *inner)
        .await?;
    let page = u64::try_from(page).unwrap_or_default().max(512);
    let pages = size_max_mib.saturating_mul(1 << 20) / page;
    // The most that SQLite counts, and not 0, which would ask and not set.
    let pages = pages.clamp(1, 4_294_967_294);
    inner
        .execute(AssertSqlSafe(format!("PRAGMA max_page_count = {pages}")))
        .await?;
    Ok(())
}
