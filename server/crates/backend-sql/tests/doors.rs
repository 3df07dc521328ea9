//! The doors that SQLite has out of the sandbox, and that they are shut: whatever a statement tries, it stays in its file.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use cohnect_backend_sql::{DatabaseConfig, SqlDatabases};
use cohnect_capabilities::Error;
use cohnect_capabilities::db::{Databases, Isolation, Value};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Executor};
use tokio::runtime::Handle;

async fn open(folder: &Path) -> SqlDatabases {
    let config = DatabaseConfig::new("main", folder.join("main.db"));
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
    databases
        .execute(
            "main",
            "insert into t values (1, 'one'), (2, 'two')",
            vec![],
        )
        .await
        .unwrap();
    databases
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn every_way_out_is_denied() {
    let folder = tempfile::tempdir().unwrap();
    let databases = open(folder.path()).await;
    let before = files(folder.path());
    let elsewhere = folder.path().join("elsewhere.db");
    let elsewhere = elsewhere.display();
    let statements = [
        format!("attach database '{elsewhere}' as other"),
        "attach ':memory:' as other".to_owned(),
        "attach '' as other".to_owned(),
        format!("ATTACH 'file:{elsewhere}?mode=rwc' AS other"),
        "detach database main".to_owned(),
        format!("vacuum into '{elsewhere}'"),
        format!("vacuum main into '{elsewhere}'"),
        "vacuum".to_owned(),
        "pragma synchronous = off".to_owned(),
        "pragma journal_mode = delete".to_owned(),
        "pragma journal_mode".to_owned(),
        "pragma writable_schema = on".to_owned(),
        "pragma table_info(t)".to_owned(),
        "pragma page_size = 512".to_owned(),
        "pragma hard_heap_limit = 0".to_owned(),
        "select * from pragma_table_info('t')".to_owned(),
        "select * from pragma_database_list".to_owned(),
        "select load_extension('/lib/x.so')".to_owned(),
        "select fts3_tokenizer('simple')".to_owned(),
        "analyze".to_owned(),
        "analyze t".to_owned(),
        "select json_patch('{}', '{}')".to_owned(),
        "select hex(jsonb_patch('{}', '{}'))".to_owned(),
        "pragma max_page_count = 1000000000".to_owned(),
        "pragma journal_size_limit = -1".to_owned(),
        "pragma wal_checkpoint(truncate)".to_owned(),
        "pragma temp_store = 2".to_owned(),
        "create temp table hidden (a)".to_owned(),
        "create temp trigger spy after insert on t begin select 1; end".to_owned(),
        "create temp view v as select 1".to_owned(),
        "create virtual table d using dbstat".to_owned(),
        "create virtual table f using fts3(a)".to_owned(),
        "/* a comment first */ pragma synchronous = off".to_owned(),
        "explain pragma synchronous = off".to_owned(),
    ];
    for statement in &statements {
        let executed = databases.execute("main", statement, vec![]).await;
        assert_eq!(executed, Err(Error::Denied), "execute {statement}");
        let queried = databases.query("main", statement, vec![]).await;
        assert_eq!(queried, Err(Error::Denied), "query {statement}");
        let opened = databases.open("main", statement, vec![]).await.err();
        // What writes is no cursor's business in the first place.
        assert!(
            matches!(opened, Some(Error::Denied | Error::InvalidArgument(_))),
            "open {statement}: {opened:?}"
        );
        let batched = databases
            .execute_batch("main", statement, vec![vec![]])
            .await;
        assert!(batched.is_err(), "batch {statement}: {batched:?}");
        let mut transaction = databases
            .begin("main", Isolation::Serializable)
            .await
            .unwrap();
        assert!(
            transaction.execute(statement, vec![]).await.is_err(),
            "transaction {statement}"
        );
        drop(transaction);
    }
    assert_eq!(files(folder.path()), before, "no file was made");
}

#[tokio::test]
async fn what_takes_everything_with_everything_is_denied_wherever_it_stands() {
    let folder = tempfile::tempdir().unwrap();
    let databases = open(folder.path()).await;
    let search = "create virtual table words using fts5(body)";
    databases.execute("main", search, vec![]).await.unwrap();
    for function in [
        "snippet(words, 0, '', '', '', 5)",
        "highlight(words, 0, '', '')",
    ] {
        let statement = format!("select {function} from words where words match 'a'");
        let cut = databases.query("main", &statement, vec![]).await;
        assert_eq!(cut, Err(Error::Denied), "{function}");
    }
    let trigger =
        "create trigger patch after insert on t begin select json_patch(new.a, '{}'); end";
    databases.execute("main", trigger, vec![]).await.unwrap();
    let inserted = databases
        .execute("main", "insert into t values (9, '{}')", vec![])
        .await;
    assert_eq!(inserted, Err(Error::Denied));
}

#[tokio::test]
async fn the_statistics_of_an_operator_are_not_written_to() {
    let folder = tempfile::tempdir().unwrap();
    let databases = open(folder.path()).await;
    let mut operator = SqliteConnectOptions::new()
        .filename(folder.path().join("main.db"))
        .connect()
        .await
        .unwrap();
    operator
        .execute("create index by_a on t (a)")
        .await
        .unwrap();
    operator.execute("analyze").await.unwrap();
    for statement in [
        "insert into sqlite_stat1 values ('t', 'by_a', '1 1')",
        "insert into SQLITE_STAT4 values ('t', 'by_a', '1', '1', '1', x'00')",
        "update sqlite_stat4 set sample = zeroblob(1000000)",
        "insert or replace into sqlite_stat4 select * from sqlite_stat4",
    ] {
        let written = databases.execute("main", statement, vec![]).await;
        assert_eq!(written, Err(Error::Denied), "{statement}");
    }
    for statement in [
        "alter table t rename to u",
        "drop index by_a",
        "drop table u",
    ] {
        let done = databases.execute("main", statement, vec![]).await;
        assert!(done.is_ok(), "{statement}: {done:?}");
    }
}

#[tokio::test]
async fn parameters_are_no_way_out_either() {
    let folder = tempfile::tempdir().unwrap();
    let databases = open(folder.path()).await;
    let file = Value::Text(folder.path().join("elsewhere.db").display().to_string());
    for statement in [
        "attach $1 as other",
        "vacuum into $1",
        "select load_extension($1)",
    ] {
        let refused = databases
            .execute("main", statement, vec![file.clone()])
            .await;
        assert_eq!(refused, Err(Error::Denied), "{statement}");
    }
    assert!(!folder.path().join("elsewhere.db").exists());
}

#[tokio::test]
async fn a_trigger_or_view_is_judged_like_its_statements() {
    let folder = tempfile::tempdir().unwrap();
    let databases = open(folder.path()).await;
    let trigger = "create trigger log after insert on t begin \
                   update t set a = load_extension('x') where id = new.id; end";
    databases.execute("main", trigger, vec![]).await.ok();
    let inserted = databases
        .execute("main", "insert into t values (9, 'x')", vec![])
        .await;
    assert_eq!(inserted, Err(Error::Denied));
    databases
        .execute(
            "main",
            "create view v as select load_extension('x') as a",
            vec![],
        )
        .await
        .ok();
    assert!(
        databases
            .query("main", "select a from v", vec![])
            .await
            .is_err()
    );
    databases
        .execute(
            "main",
            "create view w as select name from pragma_table_info('t')",
            vec![],
        )
        .await
        .ok();
    assert!(
        databases
            .query("main", "select * from w", vec![])
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_row_is_all_that_a_hostile_schema_table_gives() {
    let folder = tempfile::tempdir().unwrap();
    let databases = open(folder.path()).await;
    for statement in [
        "insert into sqlite_master values ('table', 'x', 'x', 0, 'create table x (a)')",
        "update sqlite_schema set sql = 'nonsense'",
        "delete from sqlite_schema",
        "drop table sqlite_schema",
    ] {
        assert!(
            databases.execute("main", statement, vec![]).await.is_err(),
            "{statement}"
        );
    }
    let found = databases
        .query("main", "select name from sqlite_schema", vec![])
        .await
        .unwrap();
    assert_eq!(
        found.rows,
        [[Value::Text("t".into())]],
        "reading it is no door"
    );
}

#[tokio::test]
async fn what_a_game_needs_is_open() {
    let folder = tempfile::tempdir().unwrap();
    let databases = open(folder.path()).await;
    for statement in [
        "create table scores (player integer references t (id), points integer not null default 0)",
        "create index by_points on scores (points desc)",
        "create trigger only_up before update on scores begin select raise(abort, 'never down') where new.points < old.points; end;",
        "create view best as select player, max(points) as points from scores group by player",
        "insert into scores values (1, 10)",
        "insert into scores (player) select id from t",
        "insert into scores values (1, 5) on conflict do nothing",
        "update scores set points = points + 1",
        "alter table scores rename to points_of",
        "alter table points_of add column at timestamp",
        "alter table points_of rename column at to seen",
        "alter table points_of drop column seen",
        "reindex",
        "create virtual table words using fts5(body)",
        "insert into words values ('the quick brown fox')",
        "create virtual table boxes using rtree(id, x0, x1)",
        "insert into boxes values (1, 0.0, 2.5)",
        "create table archive as select * from points_of",
        "drop view best",
        "drop table archive",
        "drop trigger only_up",
        "drop index by_points",
    ] {
        let done = databases.execute("main", statement, vec![]).await;
        assert!(done.is_ok(), "{statement}: {done:?}");
    }
    for (statement, expected) in [
        (
            "select count(*) from words where words match 'quick'",
            Value::Integer(1),
        ),
        ("select id from boxes where x0 < 1", Value::Integer(1)),
        (
            "select json_extract('{\"a\":[1,2]}', '$.a[1]')",
            Value::Integer(2),
        ),
        (
            "with recursive c(n) as (select 1 union all select n + 1 from c where n < 10) select sum(n) from c",
            Value::Integer(55),
        ),
        (
            "select rank() over (order by id desc) from t where id = 2",
            Value::Integer(1),
        ),
        ("select lower(hex(zeroblob(2)))", Value::Text("0000".into())),
    ] {
        let found = databases.query("main", statement, vec![]).await;
        assert_eq!(
            found.map(|found| found.rows),
            Ok(vec![vec![expected]]),
            "{statement}"
        );
    }
    let orphan = databases
        .execute("main", "insert into points_of values (99, 1)", vec![])
        .await;
    assert!(
        matches!(orphan, Err(Error::Other(detail)) if detail.code == "23503"),
        "foreign keys are on"
    );
}

#[tokio::test]
async fn the_file_is_durable_and_logged_ahead() {
    let folder = tempfile::tempdir().unwrap();
    let databases = open(folder.path()).await;
    assert!(folder.path().join("main.db-wal").exists());
    drop(databases);
}
