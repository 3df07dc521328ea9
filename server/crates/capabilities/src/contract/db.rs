//! What every `db` backend promises, as a script over the trait alone. It knows no vendor: where SQL differs, the caller says how.

use crate::db::{Databases, Isolation, Value};
use crate::{Error, Payload, Result};

/// Where the SQL of backends differs.
#[derive(Clone, Copy, Debug)]
pub struct Dialect {
    /// The column type of bytes.
    pub blob: &'static str,
    /// A query that yields the numbers from 1 to `$1` in order, in a column `n`.
    pub numbers: &'static str,
}

/// Runs the whole script against the database of this name, which must be empty.
///
/// # Panics
/// A promise is not kept.
pub async fn run(databases: &dyn Databases, name: &str, dialect: Dialect) {
    names(databases).await;
    values(databases, name, dialect).await;
    statements(databases, name).await;
    batches(databases, name).await;
    transactions(databases, name).await;
    cursors(databases, name, dialect).await;
}

async fn names(databases: &dyn Databases) {
    let none = "no database of this name";
    assert_eq!(
        databases.query(none, "select 1", vec![]).await,
        Err(Error::NotFound)
    );
    assert_eq!(
        databases.execute(none, "select 1", vec![]).await,
        Err(Error::NotFound)
    );
    assert_eq!(
        databases
            .execute_batch(none, "select 1", vec![vec![]])
            .await,
        Err(Error::NotFound)
    );
    assert_eq!(
        databases.begin(none, Isolation::default()).await.err(),
        Some(Error::NotFound)
    );
    assert_eq!(
        databases.open(none, "select 1", vec![]).await.err(),
        Some(Error::NotFound)
    );
}

async fn values(databases: &dyn Databases, name: &str, dialect: Dialect) {
    let table = format!(
        "create table c_values (id integer primary key, b boolean, i bigint, r double precision, t text, x {}, at timestamp, u uuid, j json)",
        dialect.blob
    );
    run_all(databases, name, &[&table]).await;
    let rows = [
        vec![
            Value::Integer(1),
            Value::Boolean(true),
            Value::Integer(i64::MIN),
            Value::Real(-0.5),
            Value::Text("päivää \u{1F41F}".into()),
            Value::Blob(Payload::from_static(&[0, 255, 0])),
            Value::Timestamp(1_700_000_000_123_456),
            Value::Uuid(u64::MAX, 1),
            Value::Json(r#"{"a":[1,2]}"#.into()),
        ],
        vec![
            Value::Integer(2),
            Value::Boolean(false),
            Value::Integer(i64::MAX),
            Value::Real(1e300),
            Value::Text(String::new()),
            Value::Blob(Payload::new()),
            Value::Timestamp(0),
            Value::Uuid(0, 0),
            Value::Json("[]".into()),
        ],
        [vec![Value::Integer(3)], vec![Value::Null; 8]].concat(),
    ];
    for row in &rows {
        let insert = "insert into c_values values ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
        assert_eq!(
            databases.execute(name, insert, row.clone()).await,
            Ok(1),
            "{row:?}"
        );
    }
    let found = query(databases, name, "select * from c_values order by id").await;
    assert_eq!(
        found.columns,
        ["id", "b", "i", "r", "t", "x", "at", "u", "j"]
    );
    assert_eq!(found.rows, rows, "values come back as they were given");
    assert!(!found.truncated);
    let none = query(databases, name, "select t from c_values where id = 99").await;
    assert_eq!(
        (none.columns, none.rows),
        (vec!["t".to_owned()], vec![]),
        "an empty result has columns"
    );
}

async fn statements(databases: &dyn Databases, name: &str) {
    let table = "create table c_people (id bigint primary key, name text not null unique, age bigint check (age >= 0))";
    assert_eq!(
        databases.execute(name, table, vec![]).await,
        Ok(0),
        "a definition changes no rows"
    );
    let insert = "insert into c_people (id, name, age) values ($1, $2, $3)";
    let person = |id, name: &str, age| {
        vec![
            Value::Integer(id),
            Value::Text(name.into()),
            Value::Integer(age),
        ]
    };
    for (id, who) in [(1, "ada"), (2, "bob"), (3, "cyd")] {
        assert_eq!(
            databases.execute(name, insert, person(id, who, 30)).await,
            Ok(1)
        );
    }
    let older = databases.execute(
        name,
        "update c_people set age = age + $1 where id > $2",
        vec![Value::Integer(1), Value::Integer(1)],
    );
    assert_eq!(older.await, Ok(2), "the number of rows changed");
    assert_eq!(
        databases
            .execute(name, "delete from c_people where id = 99", vec![])
            .await,
        Ok(0)
    );
    assert_eq!(
        databases.execute(name, insert, person(1, "eve", 1)).await,
        Err(Error::AlreadyExists),
        "primary key"
    );
    assert_eq!(
        databases.execute(name, insert, person(4, "ada", 1)).await,
        Err(Error::AlreadyExists),
        "unique"
    );
    let nobody = vec![Value::Integer(5), Value::Null, Value::Null];
    assert_eq!(
        code(databases.execute(name, insert, nobody).await),
        "23502",
        "not null"
    );
    assert_eq!(
        code(databases.execute(name, insert, person(6, "fay", -1)).await),
        "23514",
        "check"
    );
    assert!(
        code(databases.execute(name, "selekt 1", vec![]).await).starts_with("42"),
        "syntax"
    );
    assert!(
        code(
            databases
                .query(name, "select * from c_nowhere", vec![])
                .await
        )
        .starts_with("42"),
        "no such table"
    );
    for params in [vec![], vec![Value::Integer(1), Value::Integer(2)]] {
        let wrong = databases
            .query(name, "select name from c_people where id = $1", params)
            .await;
        assert!(matches!(wrong, Err(Error::InvalidArgument(_))), "{wrong:?}");
    }
    let reused = databases.query(
        name,
        "select name from c_people where id = $1 and id = $1 and name = $2",
        vec![Value::Integer(1), Value::Text("ada".into())],
    );
    assert_eq!(
        reused.await.map(|found| found.rows),
        Ok(vec![vec![Value::Text("ada".into())]]),
        "a parameter may be used twice"
    );
    for several in [
        "select 1; select 2",
        "delete from c_people; delete from c_people",
    ] {
        assert!(
            matches!(
                databases.query(name, several, vec![]).await,
                Err(Error::InvalidArgument(_))
            ),
            "{several}"
        );
        assert!(
            matches!(
                databases.execute(name, several, vec![]).await,
                Err(Error::InvalidArgument(_))
            ),
            "{several}"
        );
    }
    for transaction in ["begin", "commit", "rollback", "savepoint a"] {
        let refused = databases.execute(name, transaction, vec![]).await;
        assert!(
            matches!(refused, Err(Error::InvalidArgument(_))),
            "{transaction}: {refused:?}"
        );
    }
    let returned = databases
        .query(
            name,
            "update c_people set age = 7 where id = 1 returning name, age",
            vec![],
        )
        .await;
    assert_eq!(
        returned.map(|found| found.rows),
        Ok(vec![vec![Value::Text("ada".into()), Value::Integer(7)]]),
        "RETURNING"
    );
    assert_eq!(count(databases, name, "c_people").await, 3);
}

async fn batches(databases: &dyn Databases, name: &str) {
    run_all(
        databases,
        name,
        &["create table c_batch (id bigint primary key)"],
    )
    .await;
    let insert = "insert into c_batch values ($1)";
    let sets = |ids: &[i64]| {
        ids.iter()
            .map(|id| vec![Value::Integer(*id)])
            .collect::<Vec<_>>()
    };
    assert_eq!(
        databases.execute_batch(name, insert, sets(&[])).await,
        Ok(0)
    );
    assert_eq!(
        databases
            .execute_batch(name, insert, sets(&[1, 2, 3]))
            .await,
        Ok(3)
    );
    assert_eq!(
        databases
            .execute_batch(name, insert, sets(&[4, 5, 1]))
            .await,
        Err(Error::AlreadyExists)
    );
    assert_eq!(
        count(databases, name, "c_batch").await,
        3,
        "all of a batch or nothing"
    );
    assert_eq!(
        databases.execute_batch(name, insert, sets(&[4])).await,
        Ok(1),
        "a failed batch leaves nothing behind"
    );
}

async fn transactions(databases: &dyn Databases, name: &str) {
    run_all(
        databases,
        name,
        &["create table c_tx (id bigint primary key)"],
    )
    .await;
    let insert = "insert into c_tx values ($1)";

    let mut tx = begin(databases, name).await;
    assert_eq!(tx.execute(insert, vec![Value::Integer(1)]).await, Ok(1));
    let own = tx.query("select id from c_tx", vec![]).await;
    assert_eq!(
        own.map(|found| found.rows.len()),
        Ok(1),
        "a transaction sees its own writes"
    );
    assert_eq!(
        count(databases, name, "c_tx").await,
        0,
        "and nobody else does before it ends"
    );
    assert_eq!(tx.commit().await, Ok(()));
    assert_eq!(count(databases, name, "c_tx").await, 1);

    let mut tx = begin(databases, name).await;
    assert_eq!(tx.execute(insert, vec![Value::Integer(2)]).await, Ok(1));
    assert_eq!(tx.rollback().await, Ok(()));
    assert_eq!(count(databases, name, "c_tx").await, 1, "rolled back");

    let mut tx = begin(databases, name).await;
    assert_eq!(tx.execute(insert, vec![Value::Integer(3)]).await, Ok(1));
    drop(tx);
    assert_eq!(
        databases
            .execute(name, insert, vec![Value::Integer(4)])
            .await,
        Ok(1),
        "a dropped one lets others write"
    );
    assert_eq!(
        count(databases, name, "c_tx").await,
        2,
        "a dropped one is rolled back"
    );

    let mut tx = begin(databases, name).await;
    for text in ["commit", "rollback", "begin", "savepoint a"] {
        let refused = tx.execute(text, vec![]).await;
        assert!(
            matches!(refused, Err(Error::InvalidArgument(_))),
            "{text}: {refused:?}"
        );
    }
    drop(tx);
}

async fn cursors(databases: &dyn Databases, name: &str, dialect: Dialect) {
    let mut cursor = match databases
        .open(name, dialect.numbers, vec![Value::Integer(1_000)])
        .await
    {
        Ok(cursor) => cursor,
        Err(error) => panic!("open: {error}"),
    };
    assert_eq!(cursor.columns(), ["n"]);
    let mut next = 1;
    for limit in [1, 0, 7, 400].into_iter().chain(core::iter::repeat(300)) {
        let page = match cursor.next(limit).await {
            Ok(page) => page,
            Err(error) => panic!("next: {error}"),
        };
        if page.is_empty() {
            break;
        }
        assert!(
            limit == 0 || page.len() <= limit as usize,
            "at most {limit} rows, {} came",
            page.len()
        );
        for row in page {
            assert_eq!(row, [Value::Integer(next)], "every row once, in order");
            next += 1;
        }
    }
    assert_eq!(next, 1_001);
    assert_eq!(
        cursor.next(5).await,
        Ok(vec![]),
        "empty at the end, and again"
    );
    drop(cursor);
    for _ in 0..20 {
        let opened = databases
            .open(name, dialect.numbers, vec![Value::Integer(1_000_000)])
            .await;
        assert!(
            opened.is_ok(),
            "a dropped cursor gives its place back: {:?}",
            opened.err()
        );
        if let Ok(mut cursor) = opened {
            assert_eq!(cursor.next(1).await, Ok(vec![vec![Value::Integer(1)]]));
        }
    }
    assert!(
        databases.open(name, "selekt", vec![]).await.is_err(),
        "what is wrong shows in open"
    );
}

async fn begin(databases: &dyn Databases, name: &str) -> Box<dyn crate::db::Transaction> {
    match databases.begin(name, Isolation::default()).await {
        Ok(tx) => tx,
        Err(error) => panic!("begin: {error}"),
    }
}

async fn run_all(databases: &dyn Databases, name: &str, statements: &[&str]) {
    for statement in statements {
        if let Err(error) = databases.execute(name, statement, vec![]).await {
            panic!("{statement}: {error}");
        }
    }
}

async fn query(databases: &dyn Databases, name: &str, statement: &str) -> crate::db::RowSet {
    match databases.query(name, statement, vec![]).await {
        Ok(found) => found,
        Err(error) => panic!("{statement}: {error}"),
    }
}

async fn count(databases: &dyn Databases, name: &str, table: &str) -> i64 {
    let found = query(databases, name, &format!("select count(*) from {table}")).await;
    match found.rows.first().and_then(|row| row.first()) {
        Some(Value::Integer(count)) => *count,
        other => panic!("count(*) of {table}: {other:?}"),
    }
}

fn code<T: core::fmt::Debug>(result: Result<T>) -> String {
    match result {
        Err(Error::Other(detail)) => detail.code,
        other => panic!("expected an SQLSTATE, got {other:?}"),
    }
}
