//! What bounds a database in size: its file, its log, its schema. After each refusal the database serves the next call.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use core::time::Duration;
use std::path::Path;

use cohnect_backend_sql::{DatabaseConfig, SCHEMA_OBJECTS_MAX, SqlDatabases};
use cohnect_capabilities::Error;
use cohnect_capabilities::db::{Databases, Isolation, Value};
use tokio::runtime::Handle;

const ENDLESS: &str = "insert into t (a) with recursive c(n) as (select 1 union all select n + 1 from c) \
                       select randomblob(100000) from c";
const MIB: u64 = 1 << 20;

async fn open(folder: &Path, size_max_mib: u64) -> SqlDatabases {
    let config = DatabaseConfig {
        size_max_mib,
        // Far beyond what any of these takes, so that a bound and not the time ends it.
        statement_timeout: Duration::from_secs(120),
        held_max: Duration::from_secs(120),
        ..DatabaseConfig::new("main", folder.join("main.db"))
    };
    let databases = SqlDatabases::open(Handle::current(), vec![config])
        .await
        .unwrap();
    let table = "create table if not exists t (id integer primary key, a blob)";
    execute(&databases, table).await.unwrap();
    databases
}

async fn execute(databases: &SqlDatabases, statement: &str) -> Result<u64, Error> {
    databases.execute("main", statement, vec![]).await
}

fn size(folder: &Path, name: &str) -> u64 {
    std::fs::metadata(folder.join(name)).unwrap().len()
}

/// The name of the limit that was met.
fn limit<T: core::fmt::Debug>(answer: Result<T, Error>) -> String {
    match answer {
        Err(Error::LimitExceeded(info)) => info.what,
        other => panic!("no limit: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_at_its_bound_takes_no_more_and_serves_on() {
    let folder = tempfile::tempdir().unwrap();
    let databases = open(folder.path(), 2).await;
    let full = execute(&databases, ENDLESS).await.unwrap_err();
    let said = "limit exceeded: [database.main] size_max_mib allows 2, asked for 3";
    assert_eq!(full.to_string(), said);

    let batch = databases
        .execute_batch("main", ENDLESS, vec![vec![]; 2])
        .await;
    assert_eq!(limit(batch), "[database.main] size_max_mib");
    let returned = "insert into t (a) with recursive c(n) as (select 1 union all select n + 1 from c where n < 100) \
                    select randomblob(100000) from c returning id";
    let returned = databases.query("main", returned, vec![]).await;
    assert_eq!(limit(returned), "[database.main] size_max_mib");
    let mut transaction = databases
        .begin("main", Isolation::Serializable)
        .await
        .unwrap();
    let inside = transaction.execute(ENDLESS, vec![]).await;
    assert_eq!(limit(inside), "[database.main] size_max_mib");
    drop(transaction);

    let small = "insert into t (a) values (randomblob(100000))";
    assert_eq!(execute(&databases, small).await, Ok(1));
    while execute(&databases, small).await.is_ok() {}
    assert!(size(folder.path(), "main.db") <= 2 * MIB);
    let freed = execute(&databases, "delete from t").await.unwrap();
    assert!(freed > 10, "{freed} rows had fitted");
    assert_eq!(execute(&databases, small).await, Ok(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_larger_than_its_bound_keeps_its_size() {
    let folder = tempfile::tempdir().unwrap();
    let databases = open(folder.path(), 4).await;
    assert!(execute(&databases, ENDLESS).await.is_err());
    while execute(&databases, "insert into t (a) values (randomblob(100000))")
        .await
        .is_ok()
    {}
    drop(databases);
    let databases = open(folder.path(), 1).await;
    let more = execute(&databases, ENDLESS).await;
    assert_eq!(limit(more), "[database.main] size_max_mib");
    let same = "update t set a = randomblob(100000) where id = 1";
    assert_eq!(execute(&databases, same).await, Ok(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_write_leaves_no_long_log() {
    let folder = tempfile::tempdir().unwrap();
    let databases = open(folder.path(), 100).await;
    assert!(execute(&databases, ENDLESS).await.is_err());
    let log = size(folder.path(), "main.db-wal");
    assert!(log <= 64 * MIB, "{log}");
    assert!(size(folder.path(), "main.db") < MIB, "nothing was written");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_a_cursor_keeps_does_not_grow_without_end() {
    let folder = tempfile::tempdir().unwrap();
    let databases = open(folder.path(), 1_024).await;
    let filled = "insert into t (a) with recursive c(n) as (select 1 union all select n + 1 from c where n < 40) \
                  select randomblob(1000000) from c";
    execute(&databases, filled).await.unwrap();
    // It has seen the table, and is not at its end.
    let held = "with recursive c(n) as (select 1 union all select n + 1 from c) select n, (select count(*) from t) from c";
    let mut cursor = databases.open("main", held, vec![]).await.unwrap();
    assert_eq!(cursor.next(1).await.unwrap().len(), 1);

    let anew = "update t set a = randomblob(1000000)";
    let mut refused = None;
    for _ in 0..20 {
        if let Err(error) = execute(&databases, anew).await {
            refused = Some(error);
            break;
        }
    }
    assert_eq!(refused, Some(Error::Busy));
    let log = size(folder.path(), "main.db-wal");
    assert!(log < 320 * MIB, "{log}");
    let begun = databases.begin("main", Isolation::Serializable).await;
    assert_eq!(begun.err(), Some(Error::Busy));
    assert!(
        databases
            .query("main", "select count(*) from t", vec![])
            .await
            .is_ok(),
        "reading goes on"
    );

    drop(cursor);
    let again = async {
        // The cursor's connection comes to rest on its own.
        while execute(&databases, anew).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), again)
        .await
        .unwrap();
    let log = size(folder.path(), "main.db-wal");
    assert!(log <= 64 * MIB, "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_at_its_bound_takes_no_more_and_can_shrink() {
    let folder = tempfile::tempdir().unwrap();
    let databases = open(folder.path(), 64).await;
    let long = "x".repeat(60_000);
    let view = |n: usize| format!("create view v{n} as select '{long}' as a");
    for n in 0..8 {
        assert_eq!(execute(&databases, &view(n)).await, Ok(0));
    }
    assert_eq!(limit(execute(&databases, &view(8)).await), "schema-bytes");
    let queried = databases.query("main", &view(8), vec![]).await;
    assert_eq!(limit(queried), "schema-bytes");
    let batch = databases
        .execute_batch("main", &view(8), vec![vec![]])
        .await;
    assert_eq!(limit(batch), "schema-bytes");
    let mut transaction = databases
        .begin("main", Isolation::Serializable)
        .await
        .unwrap();
    let inside = transaction.execute(&view(8), vec![]).await;
    assert_eq!(limit(inside), "schema-bytes");
    assert_eq!(transaction.commit().await, Err(Error::Aborted));

    execute(&databases, "drop view v0").await.unwrap();
    assert_eq!(execute(&databases, &view(8)).await, Ok(0));
    for n in 1..9 {
        let dropped = execute(&databases, &format!("drop view v{n}")).await;
        assert_eq!(
            dropped,
            Ok(0),
            "what was refused left nothing, and what was not is there"
        );
    }

    // A name that stands in many places.
    let sum = "a || ".repeat(20);
    for n in 0..20 {
        let view = format!("create view many{n} as select {sum}a as b from t");
        assert_eq!(execute(&databases, &view).await, Ok(0));
    }
    let renamed = format!("alter table t rename column a to {}", "n".repeat(2_000));
    assert_eq!(limit(execute(&databases, &renamed).await), "schema-bytes");
    assert!(execute(&databases, "select b from many7").await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_has_only_so_many_parts() {
    let folder = tempfile::tempdir().unwrap();
    let databases = open(folder.path(), 64).await;
    let mut transaction = databases
        .begin("main", Isolation::Serializable)
        .await
        .unwrap();
    // One is there.
    for n in 1..SCHEMA_OBJECTS_MAX {
        let view = format!("create view v{n} as select 1");
        transaction.execute(&view, vec![]).await.unwrap();
    }
    let view = "create view one_more as select 1";
    let refused = transaction.execute(view, vec![]).await;
    assert_eq!(limit(refused), "schema-objects");
    drop(transaction);
    assert_eq!(execute(&databases, view).await, Ok(0));
    let columns = databases
        .query("main", "select * from one_more", vec![])
        .await
        .unwrap();
    assert_eq!(columns.rows, [[Value::Integer(1)]]);
}
