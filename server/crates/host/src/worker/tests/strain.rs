//! A worker under strain: what its replicas leave finds no room, its mail does not end, a module is not well, a replica's task panics.

use std::sync::OnceLock;
use std::sync::Weak;
use std::sync::atomic::{AtomicU32, Ordering};

use cohnect_capabilities::CloseReason;

use super::*;
use crate::mail::EFFECTS_BYTES_MAX;

#[test]
fn a_replica_begins_no_call_while_there_is_no_room_for_what_it_leaves() {
    with_worker(async |rig| {
        rig.install("a", "action x send 600").await;
        let mut calls: Vec<_> = (0..10_000)
            .map(|_| rig.push("a", "x", &"x".repeat(1_000)))
            .collect();
        pass(1).await;
        let ran = calls.iter_mut().filter_map(|call| call.try_recv().ok());
        let ran = ran.count();
        let bound = usize::try_from(EFFECTS_BYTES_MAX).unwrap() / 1_128;
        assert_eq!(ran, bound + 1, "the last one begins with room");
        assert_eq!(rig.effects().len(), ran);
        pass(1).await;
        assert_eq!(rig.effects().len(), 10_000 - ran, "nothing is lost");
    });
}

#[test]
fn a_replica_that_waits_for_room_obeys_all_the_same() {
    with_worker(async |rig| {
        rig.install("a", "action x send 600\naction w which").await;
        for _ in 0..10_000 {
            rig.push("a", "x", &"x".repeat(1_000));
        }
        pass(1).await;
        assert_eq!(rig.switch("a", "action w which").await, Ok(None));
        let waiting = rig.push("a", "w", "");
        let (done, gone) = oneshot::channel();
        rig.send(Mail::Order(Order::Remove {
            copy: address("a"),
            reason: StopReason::Unloaded,
            done,
        }));
        gone.await.unwrap();
        assert_eq!(text_of(&waiting.await.unwrap()), "Unavailable");
    });
}

/// A shard that answers each reply of the worker with another call, at once, so that the worker's box is never empty.
#[derive(Default)]
struct Chatty {
    post: OnceLock<Weak<Post>>,
    left: AtomicU32,
}

impl Waker for Chatty {
    fn wake(&self) {
        let Some(post) = self.post.get().and_then(Weak::upgrade) else {
            return;
        };
        if self.left.load(Ordering::Relaxed) > 0 {
            self.left.fetch_sub(1, Ordering::Relaxed);
            post.collect(HomeId(0), &mut Vec::new());
            assert!(post.doze(HomeId(0)));
            let export = Export::Event(crate::export::ServerEvent::Started);
            let call = Call {
                answer: Answer::Home(HomeId(0), 1),
                ..Call::own(address("nobody"), export)
            };
            post.deliver(HomeId(0), WORKER, &mut vec![Mail::Call(call)]);
        }
    }
}

#[test]
fn a_worker_whose_mail_never_ends_sees_that_it_is_to_stop() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let shard = Arc::<Chatty>::default();
    shard.left.store(100_000, Ordering::Relaxed);
    let bell = Arc::<Bell>::default();
    let post = Post::new(LAYOUT, |home| {
        if home == WORKER {
            Arc::clone(&bell) as Arc<dyn Waker>
        } else {
            Arc::clone(&shard) as Arc<dyn Waker>
        }
    });
    shard.post.set(Arc::downgrade(&post)).unwrap();
    assert!(post.doze(HomeId(0)));
    let setup = WorkerSetup {
        id: WORKER,
        post,
        bell,
        clock: World::new(),
        ticker: Ticker::default(),
    };
    shard.wake();
    LocalSet::new().block_on(&runtime, run(setup, tokio::task::yield_now()));
    assert!(shard.left.load(Ordering::Relaxed) > 90_000);
}

#[test]
fn news_waits_for_a_module_whose_circuit_is_open() {
    with_worker(async |rig| {
        rig.install("a", "action t trap\naction e echo\nevents disconnected")
            .await;
        for _ in 0..6 {
            rig.ask("a", "t").await;
        }
        let event = Export::Disconnected(Client::default(), CloseReason::Left);
        rig.send(Mail::Call(Call::own(address("a"), event)));
        assert_eq!(rig.ask("a", "e").await, "Unavailable");
        assert!(rig.log().is_empty());
        pass(1_001).await;
        assert_eq!(rig.log(), ["a: client-events.on-disconnected"]);
    });
}

#[test]
fn news_that_no_replica_could_be_made_for_is_told_once_there_is_one() {
    with_worker(async |rig| {
        let text = "action t trap\nmigration\nrestore trap\nevents disconnected";
        rig.install("a", text).await;
        assert!(rig.switch("a", text).await.is_err());
        assert_eq!(rig.ask("a", "t").await, "ended: trapped");
        let event = Export::Disconnected(Client::default(), CloseReason::Left);
        rig.send(Mail::Call(Call::own(address("a"), event)));
        pass(1).await;
        assert!(rig.log().is_empty());
        let good = "migration\nevents disconnected";
        rig.switch("a", good).await.unwrap();
        pass(1).await;
        assert_eq!(rig.log(), ["a: client-events.on-disconnected"]);
    });
}

#[test]
fn a_panic_in_a_replica_ends_the_worker_and_leaves_nobody_waiting() {
    let ((), ended) = beside_worker(async |rig| {
        rig.install("a", "action p panic\naction e echo").await;
        rig.install("b", "action long sleep 4000\naction e echo")
            .await;
        let _slow = rig.push("b", "long", "");
        let behind = rig.push("b", "e", "");
        pass(1).await;
        let panics = rig.push("a", "p", "");
        let queued = rig.push("a", "e", "");
        let (install, switched) = rig.new_code("b", "action e echo", |_| {});
        rig.send(Mail::Order(Order::Switch(install)));
        assert_eq!(text_of(&panics.await.unwrap()), "ended: trapped");
        for waiting in [queued, behind] {
            assert_eq!(text_of(&waiting.await.unwrap()), "Unavailable");
        }
        assert!(switched.await.unwrap().is_err());
        let module = rig.catalogs.newest().modules["b"].clone();
        assert!(
            !module.copies[0].healthy.load(Ordering::Relaxed),
            "who asks later is told at once"
        );
    });
    assert!(ended.unwrap_err().is_panic());
}

fn remove(rig: &Rig, module: &str) -> oneshot::Receiver<()> {
    let (done, gone) = oneshot::channel();
    rig.send(Mail::Order(Order::Remove {
        copy: address(module),
        reason: StopReason::Unloaded,
        done,
    }));
    gone
}

#[test]
fn a_copy_that_is_removed_while_it_starts_is_stopped_before_anybody_hears_that_it_is_gone() {
    with_worker(async |rig| {
        let (install, mut came) = rig.new_code("a", "start sleep 200", |_| {});
        rig.send(Mail::Order(Order::Install(install)));
        pass(1).await;
        let mut gone = remove(rig, "a");
        let (again, refused) = rig.new_code("a", "", |_| {});
        rig.send(Mail::Order(Order::Install(again)));
        assert!(refused.await.unwrap().is_err(), "its name is still taken");
        pass(100).await;
        assert!(came.try_recv().is_err() && gone.try_recv().is_err());
        assert!(rig.log().is_empty());
        gone.await.unwrap();
        assert!(came.await.unwrap().is_err());
        assert_eq!(rig.log(), ["a: start Loaded", "a: stop Unloaded"]);
        assert_eq!(rig.ask("a", "x").await, "Unavailable");
        rig.install("a", "action e echo").await;
        assert_eq!(rig.ask("a", "e").await, "hi");
    });
}

#[test]
fn a_copy_whose_start_fails_while_it_is_removed_is_gone() {
    with_worker(async |rig| {
        let (install, came) = rig.new_code("a", "start sleep 5000", |_| {});
        rig.send(Mail::Order(Order::Install(install)));
        pass(1).await;
        remove(rig, "a").await.unwrap();
        assert!(came.await.unwrap().is_err());
        rig.install("a", "action e echo").await;
    });
}

#[test]
fn further_replicas_are_made_once_there_is_room_again() {
    with_worker(async |rig| {
        rig.install_some("a", "action s sleep 100\naction e echo", 4)
            .await;
        // The shard is behind: the worker has no room for what its replicas leave.
        let large = Effect::Publish {
            topic: "t".into(),
            payload: vec![0; 2 * usize::try_from(EFFECTS_BYTES_MAX).unwrap()].into(),
            delivery: cohnect_capabilities::Delivery::Unreliable,
        };
        let mail = Mail::Effects("a".into(), vec![large]);
        rig.post.deliver(WORKER, HomeId(0), &mut vec![mail]);
        let began = rig.world.now().monotonic_us;
        let calls: Vec<_> = (0..4).map(|_| rig.push("a", "s", "hi")).collect();
        pass(10).await;
        rig.post.collect(HomeId(0), &mut Vec::new());
        for call in calls {
            assert_eq!(text_of(&call.await.unwrap()), "hi");
        }
        let took = rig.world.now().monotonic_us - began;
        assert!(took < 200_000, "all four at once: {took} µs");
    });
}
