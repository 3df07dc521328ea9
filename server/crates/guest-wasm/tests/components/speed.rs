//! How long a warm call takes. What is asserted is generous, for any machine and profile; the number is printed for people.

use std::time::Instant;

use crate::fixture::{OnShard, request};

#[test]
fn a_warm_call_takes_no_longer_than_a_few_microseconds() {
    let mut probe = OnShard::new();
    let arming = probe.world.arming(false);
    let export = request("stamp", &"x".repeat(64));
    let mut best = u128::MAX;
    for _round in 0..20 {
        let begun = Instant::now();
        for _call in 0..1_000 {
            probe.replica.context().arm(arming.clone());
            probe.replica.call(&export).unwrap();
        }
        best = best.min(begun.elapsed().as_nanos() / 1_000);
    }
    assert!(best < 20_000, "{best} ns a call");
}
