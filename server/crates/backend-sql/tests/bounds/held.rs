//! What a module keeps open, cursors and transactions: how many there may be, how long, and what an end that comes to them leaves.

use core::time::Duration;

use cohnect_backend_sql::RESULT_ROWS_MAX;
use cohnect_capabilities::Error;
use cohnect_capabilities::db::{Databases, Isolation, Value};

use super::{ENDLESS, ENDLESS_WRITE, LONG, NUMBERS, open, rows};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_reads_what_a_query_cannot() {
    let folder = tempfile::tempdir().unwrap();
    let databases = open(folder.path(), LONG, LONG).await;
    let mut cursor = databases
        .open("main", NUMBERS, vec![Value::Integer(50_000)])
        .await
        .unwrap();
    let mut seen = 0;
    loop {
        let page = cursor.next(u32::MAX).await.unwrap();
        assert!(page.len() <= RESULT_ROWS_MAX);
        if page.is_empty() {
            break;
        }
        seen += page.len();
    }
    assert_eq!(seen, 50_000);

    let large = "with recursive c(n) as (select 1 union all select n + 1 from c where n < 20) select n, zeroblob(1000000) as b from c";
    let mut cursor = databases.open("main", large, vec![]).await.unwrap();
    let mut next = 1;
    loop {
        let page = cursor.next(0).await.unwrap();
        if page.is_empty() {
            break;
        }
        assert!(page.len() <= 4, "a page is bounded in bytes");
        for row in page {
            assert_eq!(
                row[0],
                Value::Integer(next),
                "no row is lost between two pages"
            );
            next += 1;
        }
    }
    assert_eq!(next, 21);
    let writes = databases
        .open(
            "main",
            "insert into t (a) values ('x') returning id",
            vec![],
        )
        .await;
    assert!(matches!(writes.err(), Some(Error::InvalidArgument(_))));
    assert_eq!(rows(&databases).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_cursors_are_bounded_and_leave_room_for_queries() {
    let folder = tempfile::tempdir().unwrap();
    let databases = open(folder.path(), LONG, LONG).await;
    let mut cursors = Vec::new();
    for _ in 0..3 {
        cursors.push(
            databases
                .open("main", NUMBERS, vec![Value::Integer(1_000_000)])
                .await
                .unwrap(),
        );
    }
    let one_more = databases
        .open("main", NUMBERS, vec![Value::Integer(1)])
        .await;
    assert_eq!(one_more.err(), Some(Error::Busy));
    assert_eq!(rows(&databases).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stays_open_too_long_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let databases = open(folder.path(), LONG, Duration::from_millis(50)).await;
    let mut transaction = databases
        .begin("main", Isolation::Serializable)
        .await
        .unwrap();
    transaction
        .execute("insert into t (a) values ('x')", vec![])
        .await
        .ok();
    // The writing connection comes free only when the transaction is over.
    assert_eq!(
        databases
            .execute("main", "insert into t (a) values ('y')", vec![])
            .await,
        Ok(1)
    );
    assert_eq!(transaction.commit().await, Err(Error::Aborted));
    assert_eq!(rows(&databases).await, 1);

    let mut cursor = databases
        .open("main", NUMBERS, vec![Value::Integer(1_000_000_000)])
        .await
        .unwrap();
    let closed = async { while cursor.next(1).await.is_ok() {} };
    tokio::time::timeout(LONG, closed).await.unwrap();
    assert_eq!(cursor.next(1).await, Err(Error::Closed));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_transaction_commits_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let databases = open(folder.path(), Duration::from_millis(200), LONG).await;
    let mut transaction = databases
        .begin("main", Isolation::Serializable)
        .await
        .unwrap();
    transaction
        .execute("insert into t (a) values ('first')", vec![])
        .await
        .unwrap();
    assert_eq!(
        transaction.execute(ENDLESS_WRITE, vec![]).await,
        Err(Error::Timeout)
    );
    let after = transaction
        .execute("insert into t (a) values ('after')", vec![])
        .await;
    assert_eq!(
        after,
        Err(Error::Aborted),
        "the rest would run outside of the transaction"
    );
    assert_eq!(transaction.commit().await, Err(Error::Aborted));
    assert_eq!(rows(&databases).await, 0);

    let mut transaction = databases
        .begin("main", Isolation::Serializable)
        .await
        .unwrap();
    transaction
        .execute("insert into t (a) values ('first')", vec![])
        .await
        .unwrap();
    let dropped = tokio::time::timeout(
        Duration::from_millis(30),
        transaction.query(ENDLESS, vec![]),
    )
    .await;
    assert!(dropped.is_err());
    assert_eq!(
        transaction.commit().await,
        Err(Error::Aborted),
        "also when the module stopped waiting"
    );
    assert_eq!(rows(&databases).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_that_undoes_the_transaction_ends_it() {
    let folder = tempfile::tempdir().unwrap();
    let databases = open(folder.path(), LONG, LONG).await;
    databases
        .execute("main", "insert into t values (1, 'x')", vec![])
        .await
        .unwrap();
    let mut transaction = databases
        .begin("main", Isolation::Serializable)
        .await
        .unwrap();
    transaction
        .execute("insert into t values (2, 'y')", vec![])
        .await
        .unwrap();
    let plain = transaction
        .execute("insert into t values (1, 'z')", vec![])
        .await;
    assert_eq!(plain, Err(Error::AlreadyExists));
    assert_eq!(
        transaction
            .execute("insert into t values (3, 'z')", vec![])
            .await,
        Ok(1),
        "only the statement failed"
    );
    let undone = transaction
        .execute("insert or rollback into t values (1, 'z')", vec![])
        .await;
    assert_eq!(undone, Err(Error::AlreadyExists));
    assert_eq!(
        transaction
            .execute("insert into t values (4, 'z')", vec![])
            .await,
        Err(Error::Aborted)
    );
    assert_eq!(transaction.commit().await, Err(Error::Aborted));
    assert_eq!(rows(&databases).await, 1);
}
