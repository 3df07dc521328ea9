//! Scripts on a worker: calls as coroutines that wait for databases and modules, and give their turn up at each tick.

use core::future::Future;
use core::task::{Context as Waker, Poll};

use cohnect_capabilities::db::{RowSet, Value};
use cohnect_capabilities::modules::{ModuleInfo, ModuleKinds};
use cohnect_capabilities::{Error, Payload, Result};
use cohnect_host::export::{Ending, Export, Fault, Next, Outcome, Returned, Wake};
use cohnect_host::replica::WaitingReplica;

use super::bench::{Bench, answer, request};

async fn call(bench: &Bench, replica: &mut dyn WaitingReplica, export: &Export) -> Outcome {
    replica.context().arm(bench.world.arming(true));
    replica.call(export).await
}

async fn execute(bench: &Bench, replica: &mut dyn WaitingReplica, action: &str) -> Result<String> {
    answer(call(bench, replica, &Export::Execute(request(action, ""))).await)
}

fn rows() -> RowSet {
    RowSet {
        columns: vec!["name".into(), "score".into(), "seen".into()],
        rows: vec![
            vec![
                Value::Text("ada".into()),
                Value::Integer(7),
                Value::Timestamp(1_500_000),
            ],
            vec![Value::Text("bob".into()), Value::Null, Value::Null],
        ],
        truncated: true,
    }
}

#[tokio::test(start_paused = true)]
async fn rows_come_by_column_name() {
    let bench = Bench::new();
    let mut module = bench.load_waiting(
        r#"
        local db, errors = require("@cohnect/db"), require("@cohnect/errors")
        return { action = {
            read = function()
                local rows = errors.need(db.query("main", "select * from s where a = $1 and b = $2 and c = $3", 5, nil, "x"))
                return `{rows[1].name} {rows[1].score} {rows[1].seen} {rows[2].score} {#rows} {rows.truncated}`
            end,
            write = function() return tostring(errors.need(db.execute("main", "update"))) end,
            batch = function() return tostring(errors.need(db.execute_batch("main", "insert", { { 1, "a" }, { 2, nil, n = 2 } }))) end,
            denied = function() return db.query("other", "select 1") end,
        } }"#,
    );
    bench.world.push_rows(Ok(rows()));
    assert_eq!(
        execute(&bench, &mut *module, "read").await,
        Ok("ada 7 1.5 nil 2 true".into())
    );
    assert_eq!(
        bench.world.statements()[0].1,
        [Value::Integer(5), Value::Null, Value::Text("x".into())]
    );
    bench.world.push_rows(Ok(rows()));
    assert_eq!(execute(&bench, &mut *module, "write").await, Ok("2".into()));
    assert_eq!(execute(&bench, &mut *module, "batch").await, Ok("2".into()));
    assert_eq!(
        bench.world.statements()[3].1,
        [Value::Integer(2), Value::Null]
    );
    assert_eq!(
        execute(&bench, &mut *module, "denied").await,
        Err(Error::Denied)
    );
    let mistake = module.context().mistake(&Error::Denied).unwrap();
    for part in ["db.query: denied", "`other`", "\"db:other\""] {
        assert!(mistake.contains(part), "{mistake}");
    }
    bench.world.push_rows(Err(Error::other("23505", "unique")));
    assert_eq!(
        execute(&bench, &mut *module, "read").await,
        Err(Error::other(
            "23505",
            "unique, in `select * from s where a = $1 and b = $2 and c = $3`"
        ))
    );
}

#[tokio::test(start_paused = true)]
async fn a_transaction_ends_with_its_call() {
    let bench = Bench::new();
    let mut module = bench.load_waiting(
        r#"
        local db, errors = require("@cohnect/db"), require("@cohnect/errors")
        local kept
        return { action = {
            work = function()
                local tx = errors.need(db.begin("main", "read_committed"))
                local rows = errors.need(tx:query("select", 1))
                assert(tx:execute("update") == 0)
                assert(tx:commit() == true)
                local _, problem = tx:query("select")
                return `{rows[1].name} {problem.kind}`
            end,
            keep = function() kept = errors.need(db.begin("main")) return "" end,
            late = function() return kept:commit() end,
            pages = function()
                local cursor = errors.need(db.open("main", "select"))
                local seen = { #cursor:columns() }
                while true do
                    local page = errors.need(cursor:next(1))
                    if #page == 0 then break end
                    table.insert(seen, page[1].name)
                end
                return table.concat(seen, " ")
            end,
        } }"#,
    );
    bench.world.push_rows(Ok(RowSet::default()));
    bench.world.push_rows(Ok(rows()));
    assert_eq!(
        execute(&bench, &mut *module, "work").await,
        Ok("ada closed".into())
    );
    assert_eq!(
        execute(&bench, &mut *module, "keep").await,
        Ok(String::new())
    );
    assert_eq!(
        execute(&bench, &mut *module, "late").await,
        Err(Error::Closed)
    );
    bench.world.push_rows(Ok(rows()));
    assert_eq!(
        execute(&bench, &mut *module, "pages").await,
        Ok("3 ada bob".into())
    );
}

#[tokio::test(start_paused = true)]
async fn a_wrong_argument_of_a_method_is_named_with_its_line() {
    let bench = Bench::new();
    let mut module = bench.load_waiting(
        r#"local db, errors = require("@cohnect/db"), require("@cohnect/errors")
        return { action = {
            outside = function() return db.query("main", {}) end,
            statement = function()
                local tx = errors.need(db.begin("main"))
                return tx:execute({})
            end,
            params = function() return errors.need(db.begin("main")):query("select", print) end,
            page = function() return errors.need(db.open("main", "select")):next("many") end,
            value = function() return db.query("main", "select $1, $2", 1, { 1 }) end,
            missing = function() return db.query("main") end,
            dot = function() return errors.need(db.begin("main")).execute("update") end,
        } }"#,
    );
    for (action, wanted) in [
        (
            "outside",
            "hello.luau:3: db.query: statement: expected a string",
        ),
        (
            "statement",
            "hello.luau:6: transaction:execute: statement: expected a string",
        ),
        (
            "params",
            "hello.luau:8: transaction:query: params: `1`: expected nil, a boolean",
        ),
        (
            "value",
            "hello.luau:10: db.query: params: `2`: expected nil, a boolean",
        ),
        (
            "missing",
            "hello.luau:11: db.query: statement: expected a string, got nil",
        ),
        (
            "dot",
            "transaction:execute: a method is called with a colon",
        ),
        (
            "page",
            "hello.luau:9: cursor:next: limit: expected a whole number",
        ),
    ] {
        bench.world.push_rows(Ok(rows()));
        let export = Export::Execute(request(action, ""));
        match call(&bench, &mut *module, &export).await {
            Err(Fault::Raised(text)) => assert!(text.starts_with(wanted), "{action}: {text}"),
            other => panic!("{action}: {other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_database_that_hangs_costs_an_error_and_not_the_memory() {
    let bench = Bench::new();
    let mut module = bench.load_waiting(
        r#"
        local db = require("@cohnect/db")
        local n = 0
        return { action = { read = function()
            n += 1
            local rows, problem = db.query("main", "select 1")
            return `{n} {problem.kind}`
        end } }"#,
    );
    bench.world.set_hanging(true);
    assert_eq!(
        execute(&bench, &mut *module, "read").await,
        Ok("1 timeout".into())
    );
    assert_eq!(
        execute(&bench, &mut *module, "read").await,
        Ok("2 timeout".into())
    );
}

#[tokio::test(start_paused = true)]
async fn modules_are_called_and_listed() {
    let bench = Bench::new();
    bench
        .world
        .set_answer("chat", "say", Ok(Payload::from_static(b"said")));
    bench.world.set_modules(vec![ModuleInfo {
        name: "chat".into(),
        kinds: ModuleKinds {
            action: true,
            ..ModuleKinds::default()
        },
        version: String::new(),
        generation: 3,
        healthy: true,
    }]);
    let mut module = bench.load_waiting(
        r#"
        local modules = require("@cohnect/modules")
        return { action = {
            call = function() return modules.call("chat", "say", "hi") end,
            none = function() return modules.call("chat", "sing", "hi") end,
            itself = function() return modules.call("hello", "call", "") end,
            loaded = function()
                local chat = modules.loaded()[1]
                return `{chat.name} {chat.kinds.action} {chat.kinds.pipeline} {chat.generation}`
            end,
            inside = function()
                local answer, problem = coroutine.wrap(function() return modules.call("chat", "say", "hi") end)()
                return `{answer} {problem.kind}`
            end,
            caught = function()
                local ok, answer = pcall(modules.call, "chat", "say", "hi")
                return `{ok} {answer}`
            end,
        } }"#,
    );
    assert_eq!(
        execute(&bench, &mut *module, "call").await,
        Ok("said".into())
    );
    assert_eq!(
        execute(&bench, &mut *module, "none").await,
        Err(Error::NotFound)
    );
    assert_eq!(
        execute(&bench, &mut *module, "itself").await,
        Err(Error::Recursive)
    );
    assert_eq!(
        execute(&bench, &mut *module, "loaded").await,
        Ok("chat true nil 3".into())
    );
    assert_eq!(
        execute(&bench, &mut *module, "inside").await,
        Ok("nil would_block".into())
    );
    assert_eq!(
        execute(&bench, &mut *module, "caught").await,
        Ok("true said".into())
    );
}

/// Polls a future by hand and counts; the tick advances before each poll and, through `advance`, within it.
fn polls<T>(bench: &Bench, future: impl Future<Output = T>) -> (T, u32) {
    let mut future = core::pin::pin!(future);
    let mut cx = Waker::from_waker(core::task::Waker::noop());
    let done = core::sync::atomic::AtomicBool::new(false);
    let ticker = bench.ticker.clone();
    std::thread::scope(|threads| {
        threads.spawn(|| {
            while !done.load(core::sync::atomic::Ordering::Relaxed) {
                ticker.advance();
                std::thread::yield_now();
            }
        });
        let mut count = 0;
        loop {
            count += 1;
            if let Poll::Ready(value) = future.as_mut().poll(&mut cx) {
                done.store(true, core::sync::atomic::Ordering::Relaxed);
                return (value, count);
            }
        }
    })
}

#[test]
fn a_long_call_gives_its_turn_up_and_an_endless_one_ends() {
    let bench = Bench::new();
    let code = r#"
        require("@cohnect/modules")
        return { action = {
            long = function() local n = 0 for i = 1, 2e6 do n += i end return tostring(n) end,
            nested = function() return coroutine.wrap(function() local n = 0 for i = 1, 2e6 do n += i end return tostring(n) end)() end,
            endless = function() while true do pcall(function() while true do end end) end end,
        } }"#;
    let mut module = bench.load_waiting(code);
    let (outcome, count) = polls(
        &bench,
        call(&bench, &mut *module, &Export::Execute(request("long", ""))),
    );
    assert_eq!(answer(outcome), Ok("2000001000000".into()));
    assert!(count > 2, "it gave its turn up {count} times");
    let (outcome, _) = polls(
        &bench,
        call(
            &bench,
            &mut *module,
            &Export::Execute(request("nested", "")),
        ),
    );
    assert_eq!(answer(outcome), Ok("2000001000000".into()));
    // A look at the CPU clock when a slice begins and one when it ends: each slice is charged a millisecond, fifty end the call.
    bench.world.set_cpu_step(1_000);
    let (outcome, count) = polls(
        &bench,
        call(
            &bench,
            &mut *module,
            &Export::Execute(request("endless", "")),
        ),
    );
    assert!(
        matches!(outcome, Err(Fault::Ended(Ending::Deadline, _))),
        "{outcome:?}"
    );
    assert!((10..=60).contains(&count), "{count}");
}

#[tokio::test(start_paused = true)]
async fn a_loop_on_a_worker_waits_in_the_middle_of_a_step() {
    let bench = Bench::new();
    let mut module = bench.load_waiting(
        r#"
        local db = require("@cohnect/db")
        return { background = function(loop)
            while not loop.stopping() do
                local rows = assert(db.query("main", "select"))
                print("rows", #rows)
                loop.sleep(1)
            end
            print("over")
        end }"#,
    );
    let step = async |module: &mut Box<dyn WaitingReplica>, why: Wake| match call(
        &bench,
        &mut **module,
        &Export::Step(why),
    )
    .await
    {
        Ok(Returned::Next(next)) => next,
        other => panic!("{other:?}"),
    };
    bench.world.push_rows(Ok(rows()));
    assert_eq!(
        step(&mut module, Wake::Started).await,
        Ok(Next::After(1_000_000))
    );
    assert_eq!(
        step(&mut module, Wake::Elapsed).await,
        Ok(Next::After(1_000_000))
    );
    assert_eq!(step(&mut module, Wake::Stopping).await, Ok(Next::Finished));
    assert_eq!(
        bench.world.log_lines(),
        ["hello: rows 2", "hello: rows 0", "hello: over"]
    );
}

#[tokio::test(start_paused = true)]
async fn an_error_ends_the_call_and_the_next_one_runs() {
    let bench = Bench::new();
    let mut module = bench.load_waiting(
        r#"
        local modules, errors = require("@cohnect/modules"), require("@cohnect/errors")
        return { keep = { a = 1 }, action = {
            bug = function() modules.call("a", "b", "") error("oh no") end,
            refuse = function() modules.call("a", "b", "") errors.fail(2, "no") end,
            yield = function() coroutine.yield() return "went on" end,
            memory = function() return string.rep("x", 2e8) end,
        } }"#,
    );
    match call(&bench, &mut *module, &Export::Execute(request("bug", ""))).await {
        Err(Fault::Raised(text)) => assert!(text.contains("oh no"), "{text}"),
        other => panic!("{other:?}"),
    }
    assert!(matches!(
        execute(&bench, &mut *module, "refuse").await,
        Err(Error::Failed(_))
    ));
    assert_eq!(
        execute(&bench, &mut *module, "yield").await,
        Ok("went on".into())
    );
    assert!(matches!(
        call(&bench, &mut *module, &Export::Save).await,
        Ok(Returned::Saved(Ok(_)))
    ));
    match call(
        &bench,
        &mut *module,
        &Export::Execute(request("memory", "")),
    )
    .await
    {
        Err(Fault::Ended(Ending::Memory, _)) => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_given_up_leaves_nothing_behind() {
    let bench = Bench::new();
    let before = std::sync::Arc::strong_count(&bench.world);
    let mut module = bench.load_waiting(
        r#"
        local db = require("@cohnect/db")
        return { action = {
            read = function() return tostring(db.query("main", "select")) end,
            step = function() return tostring(db.begin("main"):query("select")) end,
        } }"#,
    );
    bench.world.set_hanging(true);
    for action in ["read", "step"] {
        module.context().arm(bench.world.arming(true));
        let export = Export::Execute(request(action, ""));
        let mut future = module.call(&export);
        let mut cx = Waker::from_waker(core::task::Waker::noop());
        assert!(future.as_mut().poll(&mut cx).is_pending());
        drop(future);
        assert!(module.context().take_outbox().is_empty());
    }
    drop(module);
    assert_eq!(std::sync::Arc::strong_count(&bench.world), before);
}
