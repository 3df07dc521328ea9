//! A file that somebody else holds: it is waited for as long as a statement may take.

use core::time::Duration;
use std::path::Path;
use std::sync::Arc;

use cohnect_backend_sql::{DatabaseConfig, SqlDatabases};
use cohnect_capabilities::Error;
use cohnect_capabilities::db::{Databases, Isolation};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Executor};
use tokio::runtime::Handle;

use super::{LONG, open, rows};

/// Another process, as far as SQLite can tell: a connection that shares nothing with ours.
async fn stranger(folder: &Path) -> SqliteConnection {
    SqliteConnectOptions::new()
        .filename(folder.join("main.db"))
        .connect()
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_locked_by_another_process_is_a_timeout_and_then_over() {
    let folder = tempfile::tempdir().unwrap();
    let databases = open(folder.path(), Duration::from_secs(1), LONG).await;
    let mut other = stranger(folder.path()).await;
    other.execute("begin immediate").await.unwrap();
    let insert = "insert into t (a) values ('x')";
    assert_eq!(
        databases.execute("main", insert, vec![]).await,
        Err(Error::Timeout)
    );
    assert_eq!(
        databases.execute_batch("main", insert, vec![vec![]]).await,
        Err(Error::Timeout)
    );
    assert_eq!(
        databases.begin("main", Isolation::Serializable).await.err(),
        Some(Error::Timeout)
    );
    assert_eq!(rows(&databases).await, 0, "reading goes on");
    other.execute("rollback").await.unwrap();
    assert_eq!(databases.execute("main", insert, vec![]).await, Ok(1));

    // A lock that shuts out readers too.
    other
        .execute("pragma locking_mode = exclusive")
        .await
        .unwrap();
    drop(databases);
    let locked = async {
        loop {
            // Our connections are closed by their threads, a moment after they are dropped.
            match other.execute("insert into t (a) values ('y')").await {
                Ok(_) => break,
                Err(error) => assert!(error.to_string().contains("locked"), "{error}"),
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, locked).await.unwrap();
    let mut config = DatabaseConfig::new("main", folder.path().join("main.db"));
    config.statement_timeout = Duration::from_millis(200);
    let error = SqlDatabases::open(Handle::current(), vec![config])
        .await
        .err();
    let open = error.map(|error| error.to_string()).unwrap_or_default();
    assert!(open.ends_with("main.db: timeout"), "{open}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_that_is_let_go_in_time_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let databases = open(folder.path(), LONG, LONG).await;
    let mut other = stranger(folder.path()).await;
    other.execute("begin immediate").await.unwrap();
    let waiting = Arc::clone(&databases);
    let mut waiting = tokio::spawn(async move {
        waiting
            .execute("main", "insert into t (a) values ('x')", vec![])
            .await
    });
    assert!(
        tokio::time::timeout(Duration::from_millis(50), &mut waiting)
            .await
            .is_err(),
        "it waits"
    );
    other.execute("commit").await.unwrap();
    assert_eq!(waiting.await.unwrap(), Ok(1));
}
