//! Statements that ask for all of the memory. They stand apart because SQLite's bound holds for the whole process: while one of them runs, others beside
//! it may be told that there is none left.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use core::time::Duration;
use std::path::Path;
use std::time::Instant;

use cohnect_backend_sql::{DatabaseConfig, SqlDatabases};
use cohnect_capabilities::Error;
use cohnect_capabilities::db::{Databases, Value};
use tokio::runtime::Handle;
use tokio::sync::Mutex;

/// One at a time, for the same reason.
static ALONE: Mutex<()> = Mutex::const_new(());

async fn open(folder: &Path, statement_timeout: Duration) -> SqlDatabases {
    let mut config = DatabaseConfig::new("main", folder.join("main.db"));
    config.statement_timeout = statement_timeout;
    SqlDatabases::open(Handle::current(), vec![config])
        .await
        .unwrap()
}

/// The next call is served, as soon as what took the memory has come to its end.
async fn serves_again(databases: &SqlDatabases) {
    let served = async {
        while databases.query("main", "select 1", vec![]).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), served)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_that_a_statement_makes_up_are_bounded() {
    let _alone = ALONE.lock().await;
    let folder = tempfile::tempdir().unwrap();
    let databases = open(folder.path(), Duration::from_secs(30)).await;
    // Each row 200 MB, two of them more than there is.
    let wide = vec!["hex(randomblob(500000))"; 200].join(", ");
    let wide = format!("select {wide} from (select 1 union all select 2 union all select 3)");
    let huge = databases.query("main", &wide, vec![]).await;
    match huge {
        Ok(found) => assert!(found.truncated),
        Err(error) => assert!(matches!(error, Error::Unavailable(_)), "{error}"),
    }
    serves_again(&databases).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_sort_goes_to_a_file() {
    let _alone = ALONE.lock().await;
    let folder = tempfile::tempdir().unwrap();
    let databases = open(folder.path(), Duration::from_secs(60)).await;
    // 400 MB.
    let sorted = "with recursive c(n) as (select 1 union all select n + 1 from c where n < 4000) \
                  select count(*) from (select hex(randomblob(50000)) as b from c order by b limit 3999)";
    let sorted = databases.query("main", sorted, vec![]).await;
    assert_eq!(
        sorted.map(|found| found.rows),
        Ok(vec![vec![Value::Integer(3_999)]])
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn temporary_files_are_bounded() {
    let _alone = ALONE.lock().await;
    let folder = tempfile::tempdir().unwrap();
    let databases = open(folder.path(), Duration::from_secs(60)).await;
    // All of it is kept to be read twice; it is 10 GB if nothing ends it.
    let kept = "with recursive c(n) as (select 1 union all select n + 1 from c where n < 20000) \
                , kept as materialized (select zeroblob(500000) as b from c) select count(*) from kept, kept";
    let refused = databases.query("main", kept, vec![]).await;
    let said = "limit exceeded: the temporary files of all databases (database main), MiB allows 1024, asked for 1025";
    assert_eq!(
        refused.map_err(|error| error.to_string()),
        Err(said.to_owned())
    );
    serves_again(&databases).await;
    let small = "with recursive c(n) as (select 1 union all select n + 1 from c where n < 100) \
                 select count(*) from (select randomblob(100000) as b from c order by n % 7, b limit 99)";
    let small = databases.query("main", small, vec![]).await;
    assert_eq!(
        small.map(|found| found.rows),
        Ok(vec![vec![Value::Integer(99)]]),
        "what was taken is free again"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_that_is_endless_to_compile_ends_too() {
    let _alone = ALONE.lock().await;
    let folder = tempfile::tempdir().unwrap();
    let databases = open(folder.path(), Duration::from_millis(500)).await;
    // Each view holds the one before it twice, in a form that cannot be taken apart: 2^40 of the first.
    databases
        .execute("main", "create view v0 as select 1 as a", vec![])
        .await
        .unwrap();
    for n in 1..=40 {
        let below = n - 1;
        let view = format!(
            "create view v{n} as select max(x.a) as a from v{below} x join v{below} y on x.a = y.a group by x.a limit 1"
        );
        databases.execute("main", &view, vec![]).await.unwrap();
    }
    let started = Instant::now();
    let found = databases.query("main", "select a from v40", vec![]).await;
    assert!(found.is_err(), "{found:?}");
    assert!(
        started.elapsed() < Duration::from_secs(20),
        "{:?}",
        started.elapsed()
    );
    serves_again(&databases).await;
}
