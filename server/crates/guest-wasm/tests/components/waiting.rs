//! Calls that wait: databases, other modules, and what becomes of them when the call ends.

use cohnect_capabilities::db::{RowSet, Value};
use cohnect_capabilities::{Error, Payload};
use cohnect_host::context::Phase;
use cohnect_host::export::{Ending, Export, Fault, Returned};

use crate::fixture::{OnWorker, load, text};

fn rows(count: i64) -> RowSet {
    RowSet {
        columns: vec!["n".into()],
        rows: (0..count).map(|n| vec![Value::Integer(n)]).collect(),
        truncated: false,
    }
}

#[tokio::test(start_paused = true)]
async fn a_query_brings_its_rows() {
    let mut module = OnWorker::new();
    module.world.push_rows(Ok(RowSet {
        columns: vec!["a".into(), "b".into()],
        rows: vec![vec![
            Value::Text("x".into()),
            Value::Blob(Payload::from_static(b"\x01")),
        ]],
        truncated: true,
    }));
    let told = text(module.action("query", "").await);
    assert_eq!(
        told,
        "[\"a\", \"b\"] [[Value::Text(\"x\"), Value::Blob([1])]] true"
    );
    let statements = module.world.statements();
    assert_eq!(
        statements[0].1,
        [
            Value::Integer(7),
            Value::Text("Ada".into()),
            Value::Null,
            Value::Uuid(1, 2)
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_database_without_a_grant_is_denied() {
    let mut module = OnWorker::new();
    assert_eq!(
        module.action("elsewhere", "").await,
        Ok(Returned::Answer(Err(Error::Denied)))
    );
}

#[tokio::test(start_paused = true)]
async fn writes_transactions_and_cursors_work() {
    let mut module = OnWorker::new();
    for count in [3, 1, 1] {
        module.world.push_rows(Ok(rows(count)));
    }
    assert_eq!(text(module.action("execute", "").await), "3 2");

    let mut module = OnWorker::new();
    for count in [0, 4, 2] {
        module.world.push_rows(Ok(rows(count)));
    }
    assert_eq!(text(module.action("transaction", "").await), "4 2");

    let mut module = OnWorker::new();
    module.world.push_rows(Ok(rows(5)));
    assert_eq!(text(module.action("cursor", "").await), "[\"n\"] [2, 2, 1]");
}

#[tokio::test(start_paused = true)]
async fn open_transactions_are_bounded() {
    let mut module = OnWorker::new();
    let told = text(module.action("too-many", "").await);
    assert!(
        told.starts_with("8 ") && told.contains("open-handles"),
        "{told}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_was_open_ends_with_its_call() {
    let mut module = OnWorker::new();
    module.action("keep", "").await.unwrap();
    let told = text(module.action("use-kept", "").await);
    assert_eq!(told, "Some(Err(Error::Closed)) Some(Err(Error::Closed))");
}

#[tokio::test(start_paused = true)]
async fn a_database_that_hangs_costs_an_error_and_not_the_replica() {
    let mut module = OnWorker::new();
    module.world.set_hanging(true);
    assert_eq!(
        module.action("query", "").await,
        Ok(Returned::Answer(Err(Error::Timeout)))
    );
    assert_eq!(text(module.action("echo", "x").await), "x");
}

#[tokio::test(start_paused = true)]
async fn another_module_answers() {
    let mut module = OnWorker::new();
    module
        .world
        .set_answer("bank", "balance", Ok(Payload::from_static(b"5")));
    assert_eq!(text(module.action("call", "").await), "5");
    module
        .world
        .set_answer("bank", "balance", Err(Error::Trapped));
    assert_eq!(
        module.action("call", "").await,
        Ok(Returned::Answer(Err(Error::Trapped)))
    );
}

#[tokio::test(start_paused = true)]
async fn nothing_waits_where_waiting_is_not_allowed() {
    let mut module = OnWorker::new();
    assert_eq!(
        module.call(Phase::Transfer, &Export::Save).await,
        Ok(Returned::Saved(Err(Error::WouldBlock)))
    );
}

#[tokio::test(start_paused = true)]
async fn a_loop_after_a_wait_ends_by_its_cpu() {
    let mut module = OnWorker::new();
    module.world.set_cpu_step(1_000);
    let Err(Fault::Ended(ending, _)) = module.action("wait-and-spin", "").await else {
        panic!("it ends");
    };
    assert_eq!(ending, Ending::Deadline);
}

#[tokio::test(start_paused = true)]
async fn a_panic_on_a_worker_ends_the_replica() {
    let mut module = OnWorker::new();
    let Err(Fault::Ended(Ending::Trap, text)) = module.action("panic", "").await else {
        panic!("it ends");
    };
    assert!(text.contains("wasm backtrace"), "{text}");
}

/// A component whose start runs for many ticks, as that of a language with a runtime of its own does.
fn slow_to_start() -> Payload {
    let text = r#"(component
        (core module $m
            (memory (export "memory") 1)
            (func $start (local $n i32)
                (loop $more
                    (local.set $n (i32.add (local.get $n) (i32.const 1)))
                    (br_if $more (i32.lt_u (local.get $n) (i32.const 100000000)))))
            (start $start)
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 64))
            (func (export "on-timer") (param i32 i32 i32 i32 i64)))
        (core instance $i (instantiate $m))
        (func $timer (param "name" string) (param "data" (list u8)) (param "due-at" u64)
            (canon lift (core func $i "on-timer") (memory $i "memory") (realloc (func $i "realloc"))))
        (instance $handler (export "on-timer" (func $timer)))
        (export "cohnect:module/timer-handler@0.1.0" (instance $handler)))"#;
    wat::parse_str(text).unwrap().into()
}

#[tokio::test(start_paused = true)]
async fn a_component_that_is_slow_to_start_becomes_a_replica_all_the_same() {
    let prepared = load(&slow_to_start()).unwrap();
    let mut module = OnWorker::of(&*prepared);
    let timer = Export::Timer {
        name: "bell".into(),
        data: Payload::new(),
        due_at: 0,
    };
    let told = module.call(Phase::Call, &timer).await;
    assert_eq!(told, Ok(Returned::Nothing));
}
