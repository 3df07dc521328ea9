//! Statements that take long in few instructions, where SQLite does not look for an interrupt: each ends at its limit all the same, and the connection
//! serves the next call.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use core::time::Duration;
use std::path::Path;
use std::time::Instant;

use cohnect_backend_sql::{DatabaseConfig, MATCH_BYTES_MAX, SqlDatabases};
use cohnect_capabilities::Error;
use cohnect_capabilities::db::{Databases, Value};
use tokio::runtime::Handle;

/// Without an end of its own, a statement holds its connection for ten seconds and then costs it. One pattern takes a second, several on a busy machine.
const SOON: Duration = Duration::from_secs(9);

async fn open(folder: &Path) -> SqlDatabases {
    let mut config = DatabaseConfig::new("main", folder.join("main.db"));
    config.statement_timeout = Duration::from_millis(300);
    SqlDatabases::open(Handle::current(), vec![config])
        .await
        .unwrap()
}

fn text(piece: &str, bytes: usize, end: &str) -> Value {
    Value::Text(piece.repeat(bytes / piece.len()) + end)
}

/// Asks for it on the one connection that writes, then for something simple there; what the first answered, and how long both took.
async fn hold_up(
    databases: &SqlDatabases,
    statement: &str,
    params: &[Value],
) -> (Result<u64, Error>, Duration) {
    let started = Instant::now();
    let answer = databases.execute("main", statement, params.to_vec()).await;
    let simple = async {
        while databases.execute("main", "select 1", vec![]).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), simple)
        .await
        .unwrap();
    (answer, started.elapsed())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_long_arguments_take_no_longer_than_one() {
    let folder = tempfile::tempdir().unwrap();
    let databases = open(folder.path()).await;
    let long = text("a", 1_000_000, "");
    for (statement, other) in [
        ("select instr($1, $2)", text("a", 500_000, "b")),
        (
            "select instr(cast($1 as blob), cast($2 as blob))",
            text("a", 500_000, "b"),
        ),
        (
            "select length(replace($1, $2, 'x'))",
            text("a", 500_000, "b"),
        ),
        ("select length(trim($1, $2))", text("b", 1_000_000, "a")),
        ("select length(ltrim($1, $2))", text("b", 1_000_000, "a")),
        ("select length(rtrim($1, $2))", text("b", 1_000_000, "a")),
        (
            "select unhex(replace($1, 'a', 'x'), $2)",
            text("b", 1_000_000, "x"),
        ),
    ] {
        let (_, took) = hold_up(&databases, statement, &[long.clone(), other]).await;
        assert!(took < SOON, "{statement}: {took:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_long_functions_without_a_jump_end_at_the_limit() {
    let folder = tempfile::tempdir().unwrap();
    let databases = open(folder.path()).await;
    let long = text("a", 1_000_000, "");
    let pattern = Value::Text(format!("%{}b", "a".repeat(250)));
    let document = text("[[1],2],", 1_000_000, "");
    // Each is another one, or SQLite would take it once for all.
    for (piece, other) in [
        ("(($1 || N) like $2)", pattern.clone()),
        ("(($1 || N) glob replace($2, '%', '*'))", pattern),
        ("instr($1 || N, $2)", text("a", 400_000, "b")),
        ("length(upper($1 || N)) + length($2)", Value::Integer(1)),
        (
            "length(hex(randomblob(500000))) + length($1) + length($2) + N",
            Value::Integer(1),
        ),
        ("json_valid('[' || $2 || '1]' || N) + length($1)", document),
    ] {
        // Not one chain, whose depth is bounded by itself.
        let terms: Vec<_> = (0..900)
            .map(|n| piece.replace('N', &n.to_string()))
            .collect();
        let sums: Vec<_> = terms.chunks(30).map(|terms| terms.join(" + ")).collect();
        let statement = format!("select {}", sums.join(", "));
        let params = [long.clone(), other];
        let (answer, took) = hold_up(&databases, &statement, &params).await;
        assert_eq!(answer, Err(Error::Timeout), "{piece}");
        assert!(took < SOON, "{piece}: {took:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_ended_hard_leaves_a_connection_that_works() {
    let folder = tempfile::tempdir().unwrap();
    let databases = open(folder.path()).await;
    databases
        .execute("main", "create table t (a, b)", vec![])
        .await
        .unwrap();
    let slow: Vec<_> = (0..200).map(|n| format!("($1 || {n}) like $2")).collect();
    let slow = format!("select {}", slow.join(", "));
    let pattern = Value::Text(format!("%{}b", "a".repeat(250)));
    let params = vec![text("a", 1_000_000, ""), pattern];
    for _ in 0..6 {
        let (answer, took) = hold_up(&databases, &slow, &params).await;
        assert_eq!(answer, Err(Error::Timeout));
        assert!(took < SOON, "{took:?}");
        let whole =
            "insert into t select length(hex(zeroblob(500000))), 'abc' like 'a%' returning a, b";
        let found = databases.query("main", whole, vec![]).await.unwrap();
        assert_eq!(found.rows, [[Value::Integer(1_000_000), Value::Integer(1)]]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_for_more_than_people_type_is_refused_before_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    let databases = open(folder.path()).await;
    for statement in [
        "create virtual table words using fts5(body)",
        "create table t (a)",
        "insert into words values ('the quick fox')",
    ] {
        databases.execute("main", statement, vec![]).await.unwrap();
    }
    let search = "select count(*) from words where words match $1";
    let refused = |bytes| Error::limit("match-bytes", MATCH_BYTES_MAX as u64, bytes);
    let fits = text("quick  ", MATCH_BYTES_MAX, "");
    let found = databases.query("main", search, vec![fits]).await.unwrap();
    assert_eq!(found.rows, [[Value::Integer(1)]]);

    let long = text("quick   ", 400_000, "");
    let by_query = databases.query("main", search, vec![long.clone()]).await;
    assert_eq!(by_query, Err(refused(400_000)));
    let cursor = databases.open("main", search, vec![long.clone()]).await;
    assert_eq!(cursor.err(), Some(refused(400_000)));
    // The second set alone is too long, and in another place.
    let both = "insert into t select $1 from words where words match 'fox'";
    let sets = vec![vec![text("a", 10, "")], vec![text("a", 20_000, "")]];
    let batch = databases.execute_batch("main", both, sets).await;
    assert_eq!(batch, Err(refused(20_000)));
    let kept = databases
        .query("main", "select count(*) from t", vec![])
        .await;
    assert_eq!(kept.unwrap().rows, [[Value::Integer(0)]]);
    // What searches nothing takes what it took.
    let keep = "insert into words values ($1)";
    assert_eq!(databases.execute("main", keep, vec![long]).await, Ok(1));
}
