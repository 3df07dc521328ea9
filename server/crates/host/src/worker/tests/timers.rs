//! Timers of a copy with several replicas, while newer code takes its place.

use std::sync::Mutex;

use super::*;
use crate::context::Timers;

const TIMERS: &str = "action s sleep 20\naction soon timer soon 10\naction late timer late 50\ntimers\nstart sleep 20";

/// Timers that belong to the copy, whatever code it has.
fn shared(timers: &Arc<Mutex<Timers>>) -> impl Fn(&mut Install) {
    let timers = Arc::clone(timers);
    move |install| {
        install.replicas_max = 2;
        install.charter.timers = Arc::clone(&timers);
    }
}

impl Rig {
    async fn ordered(&self, install: Box<Install>, order: fn(Box<Install>) -> Order) {
        self.send(Mail::Order(order(install)));
        pass(5).await;
    }

    fn told(&self) -> Vec<String> {
        let mut told = self.log();
        told.retain(|line| line.contains("timer"));
        told
    }
}

#[test]
fn what_was_queued_when_newer_code_came_is_told_by_that() {
    with_worker(async |rig| {
        let timers = Arc::default();
        let text = format!("{TIMERS}\naction too timer too 10");
        let (install, came) = rig.new_code("a", &text, shared(&timers));
        rig.ordered(install, Order::Install).await;
        assert_eq!(came.await.unwrap(), Ok(None));
        for action in ["soon", "too"] {
            pass(1).await;
            rig.ask("a", action).await;
        }
        pass(1).await;
        // Two replicas that both wait until after the timers are due, and another call for the first that is free.
        let calls = ["s", "s", "s"].map(|action| rig.push("a", action, ""));
        pass(50).await;
        let (install, came) = rig.new_code("a", &text, shared(&timers));
        rig.ordered(install, Order::Switch).await;
        for call in calls {
            assert_eq!(text_of(&call.await.unwrap()), "");
        }
        assert_eq!(came.await.unwrap(), Ok(None));
        pass(50).await;
        let mut told = rig.told();
        told.sort();
        assert_eq!(told, ["a: timer soon", "a: timer too"]);
        assert!(timers.lock().unwrap().is_empty());
    });
}

#[test]
fn what_the_old_code_sets_while_newer_code_is_made_is_told_by_that() {
    with_worker(async |rig| {
        let timers = Arc::default();
        let (install, came) = rig.new_code("a", TIMERS, shared(&timers));
        rig.ordered(install, Order::Install).await;
        assert_eq!(came.await.unwrap(), Ok(None));
        let (install, came) = rig.new_code("a", TIMERS, shared(&timers));
        rig.ordered(install, Order::Switch).await;
        rig.ask("a", "late").await;
        assert_eq!(came.await.unwrap(), Ok(None));
        pass(30).await;
        assert!(rig.told().is_empty());
        pass(30).await;
        assert_eq!(rig.told(), ["a: timer late"]);
    });
}
