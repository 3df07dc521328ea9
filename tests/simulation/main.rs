//! A whole server in one thread and in virtual time: one shard or two, a worker, the custodian and five modules in Luau, with three clients behind a network
//! that loses, repeats, delays and mangles. Modules are swapped while calls are on their way, one client's network goes and comes back. What is checked:
//! each request has exactly one answer, the promised orders hold, nothing is counted twice or lost, and one seed makes one history.

mod chance;
mod client;
mod clock;
mod errands;
mod journal;
mod network;
mod outside;
mod play;
mod site;

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Plays one whole run; a failure names its seed.
fn played(seed: u64, shards: u16) -> Vec<String> {
    catch_unwind(AssertUnwindSafe(|| play::play(seed, shards)))
        .unwrap_or_else(|_| panic!("seed {seed}, {shards} shards: failed, as said above"))
}

#[test]
fn one_seed_makes_one_history() {
    let (first, second) = (played(1, 2), played(1, 2));
    let differing = first.iter().zip(&second).position(|(a, b)| a != b);
    if let Some(line) = differing {
        panic!("seed 1, line {line}:\n{}\n{}", first[line], second[line]);
    }
    assert_eq!(first.len(), second.len());
    assert_ne!(first, played(2, 2), "another seed makes another history");
}

#[test]
fn the_promises_hold_in_many_runs() {
    for seed in 3..13 {
        played(seed, 1 + (seed % 2) as u16);
    }
}
