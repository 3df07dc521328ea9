//! SQLite keeps what every `db` backend promises. Its own doors and bounds are tested in `doors` and `bounds`.

use cohnect_backend_sql::{DatabaseConfig, OpenError, SqlDatabases};
use cohnect_capabilities::contract::db::{Dialect, run};
use cohnect_capabilities::db::{Databases, Value};
use tokio::runtime::Handle;

const DIALECT: Dialect = Dialect {
    blob: "blob",
    numbers: "with recursive c(n) as (select 1 union all select n + 1 from c where n < $1) select n from c",
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let config = DatabaseConfig::new("main", folder.path().join("main.db"));
    let databases = SqlDatabases::open(Handle::current(), vec![config])
        .await
        .unwrap();
    run(&databases, "main", DIALECT).await;
}

#[test]
fn a_future_may_be_awaited_far_from_the_runtime_that_serves_it() {
    let backends = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let config = DatabaseConfig::new("main", folder.path().join("main.db"));
    // A runtime without timers, as a home might have; then none at all.
    let home = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let databases = home
        .block_on(SqlDatabases::open(backends.handle().clone(), vec![config]))
        .unwrap();
    home.block_on(run(&databases, "main", DIALECT));
    let rows = futures_util::future::join(
        databases.query("main", "select 1", vec![]),
        databases.query("main", "select 2", vec![]),
    );
    let (one, two) = std::thread::scope(|scope| {
        scope
            .spawn(|| {
                tokio::runtime::Builder::new_current_thread()
                    .build()
                    .unwrap()
                    .block_on(rows)
            })
            .join()
            .unwrap()
    });
    assert_eq!(one.unwrap().rows, [[Value::Integer(1)]]);
    assert_eq!(two.unwrap().rows, [[Value::Integer(2)]]);
}

#[tokio::test]
async fn a_file_that_is_no_database_is_named_at_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("notes.txt");
    std::fs::write(
        &file,
        "dear diary, this is surely no database, but it is long enough to be looked at. "
            .repeat(20),
    )
    .unwrap();
    let error = SqlDatabases::open(Handle::current(), vec![DatabaseConfig::new("game", &file)])
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "database \"game\" in {}: unavailable: the database: file is not a database",
            file.display()
        )
    );
    let nowhere = folder.path().join("no/such/folder/main.db");
    let error = SqlDatabases::open(
        Handle::current(),
        vec![DatabaseConfig::new("game", nowhere)],
    )
    .await
    .unwrap_err();
    assert!(
        error.to_string().ends_with("unable to open database file"),
        "{error}"
    );
    let twice = || DatabaseConfig::new("game", folder.path().join("game.db"));
    let error = SqlDatabases::open(Handle::current(), vec![twice(), twice()])
        .await
        .unwrap_err();
    assert!(matches!(error, OpenError::Duplicate(name) if name == "game"));
}

#[tokio::test]
async fn what_is_written_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let config = || vec![DatabaseConfig::new("main", folder.path().join("main.db"))];
    let databases = SqlDatabases::open(Handle::current(), config())
        .await
        .unwrap();
    databases
        .execute("main", "create table t (a text)", vec![])
        .await
        .unwrap();
    databases
        .execute(
            "main",
            "insert into t values ($1)",
            vec![Value::Text("kept".into())],
        )
        .await
        .unwrap();
    drop(databases);
    let databases = SqlDatabases::open(Handle::current(), config())
        .await
        .unwrap();
    assert_eq!(databases.names().collect::<Vec<_>>(), ["main"]);
    let found = databases
        .query("main", "select a from t", vec![])
        .await
        .unwrap();
    assert_eq!(found.rows, [[Value::Text("kept".into())]]);
}
