//! What bounds a statement: time, rows, bytes, connections, what is held open, and a file that somebody else holds. After each, the database serves the next
//! call.
#![expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking"
)]

mod held;
mod locked;

use core::time::Duration;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use cohnect_backend_sql::{
    DatabaseConfig, PARAMETERS_MAX, RESULT_BYTES_MAX, RESULT_ROWS_MAX, SqlDatabases,
    VALUE_BYTES_MAX,
};
use cohnect_capabilities::db::{Databases, Isolation, Value};
use cohnect_capabilities::{Error, Payload};
use tokio::runtime::Handle;

/// Endless, and nothing to show for it.
const ENDLESS: &str =
    "with recursive c(n) as (select 1 union all select n + 1 from c) select count(*) from c";
const ENDLESS_WRITE: &str = "insert into t (a) with recursive c(n) as (select 1 union all select n + 1 from c) select n from c";
const NUMBERS: &str =
    "with recursive c(n) as (select 1 union all select n + 1 from c where n < $1) select n from c";
/// Far beyond any limit set below, so a test that waits for it has failed.
const LONG: Duration = Duration::from_secs(60);

async fn open(folder: &Path, statement_timeout: Duration, held_max: Duration) -> Arc<SqlDatabases> {
    let mut config = DatabaseConfig::new("main", folder.join("main.db"));
    config.statement_timeout = statement_timeout;
    config.held_max = held_max;
    let databases = SqlDatabases::open(Handle::current(), vec![config])
        .await
        .unwrap();
    databases
        .execute(
            "main",
            "create table t (id integer primary key, a text)",
            vec![],
        )
        .await
        .unwrap();
    Arc::new(databases)
}

async fn rows(databases: &SqlDatabases) -> i64 {
    match databases
        .query("main", "select count(*) from t", vec![])
        .await
        .unwrap()
        .rows[0][0]
    {
        Value::Integer(rows) => rows,
        ref other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endless_statement_ends_at_its_limit() {
    let folder = tempfile::tempdir().unwrap();
    let databases = open(folder.path(), Duration::from_millis(200), LONG).await;
    let started = Instant::now();
    assert_eq!(
        databases.query("main", ENDLESS, vec![]).await,
        Err(Error::Timeout)
    );
    assert_eq!(
        databases.execute("main", ENDLESS_WRITE, vec![]).await,
        Err(Error::Timeout)
    );
    assert_eq!(
        databases
            .execute_batch("main", ENDLESS_WRITE, vec![vec![]])
            .await,
        Err(Error::Timeout)
    );
    assert_eq!(
        databases.open("main", ENDLESS, vec![]).await.err(),
        Some(Error::Timeout)
    );
    assert!(
        started.elapsed() < Duration::from_secs(20),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(
        rows(&databases).await,
        0,
        "an interrupted write leaves nothing"
    );
    // As many again as there are connections: none is lost to a statement that still runs.
    for _ in 0..8 {
        assert_eq!(
            databases.query("main", ENDLESS, vec![]).await,
            Err(Error::Timeout)
        );
    }
    assert_eq!(
        databases
            .execute("main", "insert into t (a) values ('x')", vec![])
            .await,
        Ok(1)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_future_interrupts_its_statement() {
    let folder = tempfile::tempdir().unwrap();
    let databases = open(folder.path(), LONG, LONG).await;
    for statement in [ENDLESS, ENDLESS_WRITE] {
        // More often than there are connections: each must come back, or a later one waits for ever.
        for _ in 0..6 {
            let running = databases.execute("main", statement, vec![]);
            assert!(
                tokio::time::timeout(Duration::from_millis(30), running)
                    .await
                    .is_err(),
                "{statement} is endless"
            );
            let running = databases.query("main", statement, vec![]);
            assert!(
                tokio::time::timeout(Duration::from_millis(30), running)
                    .await
                    .is_err(),
                "{statement} is endless"
            );
        }
    }
    let written = databases.execute("main", "insert into t (a) values ('x')", vec![]);
    assert_eq!(
        tokio::time::timeout(Duration::from_secs(20), written).await,
        Ok(Ok(1))
    );
    assert_eq!(rows(&databases).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endless_statement_holds_up_nobody_who_reads() {
    let folder = tempfile::tempdir().unwrap();
    let databases = open(folder.path(), Duration::from_secs(2), LONG).await;
    let busy = Arc::clone(&databases);
    let endless = tokio::spawn(async move { busy.execute("main", ENDLESS_WRITE, vec![]).await });
    for _ in 0..50 {
        assert_eq!(rows(&databases).await, 0);
    }
    assert_eq!(endless.await.unwrap(), Err(Error::Timeout));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_is_cut_at_its_rows_and_its_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let databases = open(folder.path(), LONG, LONG).await;
    let numbers = |most: usize| databases.query("main", NUMBERS, vec![Value::Integer(most as i64)]);
    let full = numbers(RESULT_ROWS_MAX).await.unwrap();
    assert_eq!((full.rows.len(), full.truncated), (RESULT_ROWS_MAX, false));
    let cut = numbers(RESULT_ROWS_MAX + 1).await.unwrap();
    assert_eq!((cut.rows.len(), cut.truncated), (RESULT_ROWS_MAX, true));
    let endless = databases.query(
        "main",
        "with recursive c(n) as (select 1 union all select n + 1 from c) select n from c",
        vec![],
    );
    assert!(
        endless.await.unwrap().truncated,
        "an endless result is cut like a long one"
    );

    let large = "with recursive c(n) as (select 1 union all select n + 1 from c where n < 100) select zeroblob(500000) as b from c";
    let cut = databases.query("main", large, vec![]).await.unwrap();
    assert_eq!(
        (cut.rows.len(), cut.truncated),
        (RESULT_BYTES_MAX / 500_016, true)
    );

    let written = "insert into t (a) with recursive c(n) as (select 1 union all select n + 1 from c where n < 15000) select n from c returning id";
    let cut = databases.query("main", written, vec![]).await.unwrap();
    assert_eq!((cut.rows.len(), cut.truncated), (RESULT_ROWS_MAX, true));
    assert_eq!(
        rows(&databases).await,
        15_000,
        "what writes is cut in its answer, not in its effect"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let databases = open(folder.path(), LONG, LONG).await;
    let refused = |result: Result<u64, Error>| match result {
        Err(Error::LimitExceeded(info)) => info.what,
        Err(Error::Other(detail)) => detail.code,
        other => format!("{other:?}"),
    };
    let insert = "insert into t (a) values ($1)";
    let large = vec![Value::Blob(Payload::from(vec![0; VALUE_BYTES_MAX + 1]))];
    assert_eq!(
        refused(databases.execute("main", insert, large).await),
        "value-bytes"
    );
    assert_eq!(
        refused(
            databases
                .execute("main", insert, vec![Value::Null; PARAMETERS_MAX + 1])
                .await
        ),
        "parameters"
    );
    assert_eq!(
        refused(
            databases
                .execute("main", &format!("select {}", "1,".repeat(50_000)), vec![])
                .await
        ),
        "statement-bytes"
    );
    assert_eq!(
        refused(
            databases
                .execute_batch("main", insert, vec![vec![Value::Null]; 10_001])
                .await
        ),
        "batch"
    );
    for made in [
        "select zeroblob(2000000)",
        "insert into t (a) values (replace(hex(zeroblob(400000)), '0', 'long'))",
    ] {
        assert_eq!(
            refused(databases.execute("main", made, vec![]).await),
            "54000",
            "{made}"
        );
    }
    let deep = format!("select {}1", "not ".repeat(5_000));
    assert_eq!(
        refused(databases.execute("main", &deep, vec![]).await),
        "42000"
    );
    let parentheses = format!("select {}1{}", "(".repeat(20_000), ")".repeat(20_000));
    databases.execute("main", &parentheses, vec![]).await.ok();
    assert_eq!(rows(&databases).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_callers_at_once_are_all_served() {
    let folder = tempfile::tempdir().unwrap();
    let databases = open(folder.path(), LONG, LONG).await;
    databases
        .execute("main", "insert into t values (1, '0')", vec![])
        .await
        .unwrap();
    let mut callers = tokio::task::JoinSet::new();
    for n in 0..40 {
        let databases = Arc::clone(&databases);
        callers.spawn(async move {
            for _ in 0..5 {
                match n % 4 {
                    0 => {
                        let mut transaction = databases
                            .begin("main", Isolation::Serializable)
                            .await
                            .unwrap();
                        let found = transaction
                            .query("select a from t where id = 1", vec![])
                            .await
                            .unwrap();
                        let Value::Text(count) = &found.rows[0][0] else {
                            panic!("{found:?}")
                        };
                        let next = (count.parse::<u64>().unwrap() + 1).to_string();
                        transaction
                            .execute("update t set a = $1 where id = 1", vec![Value::Text(next)])
                            .await
                            .unwrap();
                        transaction.commit().await.unwrap();
                    }
                    1 => assert_eq!(
                        databases
                            .execute("main", "update t set a = a + 1 where id = 1", vec![])
                            .await,
                        Ok(1)
                    ),
                    2 => {
                        let sets = vec![vec![]; 2];
                        assert_eq!(
                            databases
                                .execute_batch("main", "update t set a = a + 1 where id = 1", sets)
                                .await,
                            Ok(2)
                        );
                    }
                    _ => assert_eq!(rows(&databases).await, 1),
                }
            }
        });
    }
    while let Some(ended) = callers.join_next().await {
        ended.unwrap();
    }
    let found = databases
        .query("main", "select a from t where id = 1", vec![])
        .await
        .unwrap();
    assert_eq!(
        found.rows,
        [[Value::Text((50 + 50 + 100).to_string())]],
        "no increment was lost"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_is_full_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let databases = open(folder.path(), LONG, LONG).await;
    let transaction = databases
        .begin("main", Isolation::Serializable)
        .await
        .unwrap();
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..400 {
        let databases = Arc::clone(&databases);
        waiting.spawn(async move {
            databases
                .execute("main", "insert into t (a) values ('x')", vec![])
                .await
        });
    }
    // The refused ones answer while the transaction still holds the connection.
    for _ in 0..400 - 256 {
        assert_eq!(
            waiting.join_next().await.unwrap().unwrap(),
            Err(Error::Busy)
        );
    }
    drop(transaction);
    while let Some(ended) = waiting.join_next().await {
        assert_eq!(ended.unwrap(), Ok(1));
    }
    assert_eq!(rows(&databases).await, 256);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_changes_under_a_reader_is_read_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let databases = open(folder.path(), LONG, LONG).await;
    for width in 2..8 {
        let found = databases
            .query("main", "select * from t", vec![])
            .await
            .unwrap();
        assert_eq!(found.columns.len(), width);
        databases
            .execute(
                "main",
                &format!("alter table t add column c{width} text default 'x'"),
                vec![],
            )
            .await
            .unwrap();
        databases
            .execute("main", "insert into t (a) values ('y')", vec![])
            .await
            .unwrap();
    }
}
