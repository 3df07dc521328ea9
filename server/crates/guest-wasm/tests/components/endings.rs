//! What ends a replica, and what does not.

use cohnect_host::export::{Ending, Fault, Outcome};

use crate::fixture::{OnShard, OnWorker, probe};

fn ended(outcome: Outcome) -> (Ending, String) {
    match outcome {
        Err(Fault::Ended(ending, text)) => (ending, text),
        other => panic!("the replica goes on: {other:?}"),
    }
}

#[test]
fn a_panic_ends_the_replica_and_says_why_in_the_log() {
    let mut probe = OnShard::new();
    let (ending, text) = ended(probe.action("send-and-panic", ""));
    assert_eq!(ending, Ending::Trap);
    assert!(text.contains("wasm backtrace"), "{text}");
    let first = text.lines().next().unwrap_or_default();
    assert!(
        first.contains("unreachable"),
        "the reason comes first: {text}"
    );
    let lines = probe.world.log_lines();
    assert!(
        lines.iter().any(|line| line.contains("told to panic")),
        "{lines:?}"
    );
}

#[test]
fn an_endless_loop_ends_by_its_cpu() {
    let mut probe = OnShard::new();
    probe.world.set_cpu_step(1_000);
    let (ending, _) = ended(probe.action("spin", ""));
    assert_eq!(ending, Ending::Deadline);
}

#[test]
fn an_endless_loop_on_a_worker_ends_by_its_cpu_and_lets_others_run() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut spinning = OnWorker::new();
        let mut polite = OnWorker::new();
        spinning.world.set_cpu_step(1_000);
        let others = async {
            let mut turns = 0;
            while turns < 5 {
                polite.action("echo", "x").await.unwrap();
                tokio::task::yield_now().await;
                turns += 1;
            }
            turns
        };
        let (outcome, turns) =
            futures_util::future::join(spinning.action("spin", ""), others).await;
        assert_eq!(ended(outcome).0, Ending::Deadline);
        assert_eq!(turns, 5);
    });
}

#[test]
fn a_call_that_is_not_scheduled_loses_nothing() {
    // The clock of the thread's CPU stands still, while the ticker ticks as fast as it can.
    let mut probe = OnShard::new();
    for _call in 0..1_000 {
        assert_eq!(probe.text("stamp", "x"), "x");
    }
}

#[test]
fn deep_recursion_ends_the_replica() {
    let mut probe = OnShard::new();
    let (ending, text) = ended(probe.action("recurse", ""));
    assert_eq!(ending, Ending::Trap);
    assert!(text.contains("probe::deep"), "{text}");
}

#[test]
fn a_program_that_takes_all_memory_ends_by_memory() {
    let mut probe = OnShard::new();
    let (ending, _) = ended(probe.action("hog", ""));
    assert_eq!(ending, Ending::Memory);
}

#[test]
fn a_program_that_goes_on_without_memory_lives() {
    let mut probe = OnShard::new();
    assert_eq!(probe.text("ask-too-much", ""), "went on");
    assert_eq!(probe.text("count", ""), "2");
    let (ending, _) = ended(probe.action("send-and-panic", ""));
    assert_eq!(
        ending,
        Ending::Trap,
        "an earlier call's refusal is forgotten"
    );
}

#[test]
fn a_call_that_goes_on_after_its_quota_is_ended() {
    for action in ["quota", "quota-ignored"] {
        let mut probe = OnShard::new();
        let (ending, text) = ended(probe.action(action, ""));
        assert_eq!(ending, Ending::Quota, "{action}: {text}");
    }
}

#[test]
fn a_fresh_replica_follows_one_that_ended() {
    let prepared = probe();
    for _life in 0..50 {
        let mut replica = OnShard::of(&*prepared);
        assert_eq!(replica.text("echo", "x"), "x");
        ended(replica.action("send-and-panic", ""));
    }
}
