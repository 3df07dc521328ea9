//! A worker in a paused runtime: order, waiting, limits, restarts, swaps under way, copies made on demand, and modules that call each other.

mod strain;
mod timers;

use core::time::Duration;
use std::sync::Arc;

use bytes::Bytes;
use cohnect_capabilities::state::Place;
use cohnect_capabilities::{Caller, Client, ClientId, Effect, Error};
use tokio::sync::oneshot;
use tokio::task::{JoinError, LocalSet};

use super::{Bell, WorkerSetup, run};
use crate::calls::Exchange;
use crate::catalog::{Catalog, Catalogs, Copy, Module, OnFailure, Placement};
use crate::context::Charter;
use crate::deadline::Ticker;
use crate::export::{Export, Fault, Request, Returned, Snapshot, StartReason, StopReason};
use crate::mail::{Address, Answer, Answered, Call, HomeId, Layout, Mail, Post, Waker};
use crate::now::Clock;
use crate::order::{Install, Order};
use crate::testing::World;
use crate::testing::script::prepared;

const LAYOUT: Layout = Layout {
    shards: 1,
    workers: 1,
};
const WORKER: HomeId = HomeId(1);

struct Rig {
    world: Arc<World>,
    post: Arc<Post>,
    catalogs: Arc<Catalogs>,
    exchange: Arc<Exchange>,
    generation: core::cell::Cell<u64>,
}

struct Deaf;

impl Waker for Deaf {
    fn wake(&self) {}
}

/// Runs a test beside a worker, in one paused runtime.
fn with_worker<T>(test: impl AsyncFnOnce(&Rig) -> T) -> T {
    let (outcome, ended) = beside_worker(test);
    ended.unwrap();
    outcome
}

/// The same, with how the worker ended.
fn beside_worker<T>(test: impl AsyncFnOnce(&Rig) -> T) -> (T, Result<(), JoinError>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, async move {
        let world = World::new();
        world.follow_tokio();
        world.connect(ClientId { hi: 1, lo: 1 }, &[]);
        let bell = Arc::<Bell>::default();
        let post = Post::new(LAYOUT, |home| {
            if home == WORKER {
                Arc::clone(&bell) as Arc<dyn Waker>
            } else {
                Arc::new(Deaf)
            }
        });
        let catalogs = Arc::<Catalogs>::default();
        let clock = Arc::clone(&world) as Arc<dyn Clock>;
        let setup = WorkerSetup {
            id: WORKER,
            post: Arc::clone(&post),
            bell,
            clock: Arc::clone(&clock),
            ticker: Ticker::default(),
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let worker = tokio::task::spawn_local(run(setup, async {
            stopped.await.ok();
        }));
        let exchange = Exchange::new(Arc::clone(&catalogs), Arc::clone(&post), clock);
        let rig = Rig {
            world,
            post,
            catalogs,
            exchange,
            generation: core::cell::Cell::new(0),
        };
        let outcome = test(&rig).await;
        stop.send(()).ok();
        (outcome, worker.await)
    })
}

impl Rig {
    fn send(&self, mail: Mail) {
        self.post.deliver(HomeId(0), WORKER, &mut vec![mail]);
    }

    fn new_code(
        &self,
        module: &str,
        text: &str,
        change: impl FnOnce(&mut Install),
    ) -> (
        Box<Install>,
        oneshot::Receiver<Result<Option<Snapshot>, String>>,
    ) {
        self.generation.set(self.generation.get() + 1);
        let mut charter: Charter = self.world.charter(module, true);
        charter.identity.generation = self.generation.get();
        charter.capabilities.calls = Arc::clone(&self.exchange) as _;
        let (done, came) = oneshot::channel();
        let mut install = Install {
            copy: address(module),
            prepared: prepared(text),
            charter,
            seed: [1; 32],
            healthy: Arc::default(),
            replicas_max: 1,
            reason: StartReason::Loaded,
            snapshot: None,
            done,
        };
        change(&mut install);
        (Box::new(install), came)
    }

    async fn install(&self, module: &str, text: &str) {
        self.install_some(module, text, 1).await;
    }

    async fn install_some(&self, module: &str, text: &str, replicas_max: u32) {
        let (install, came) = self.new_code(module, text, |i| i.replicas_max = replicas_max);
        let copy = Copy {
            home: WORKER,
            number: 0,
            taken: Arc::default(),
            told: Arc::default(),
            asked: Arc::default(),
            healthy: Arc::clone(&install.healthy),
        };
        let exports = install.prepared.exports().clone();
        self.send(Mail::Order(Order::Install(install)));
        assert_eq!(came.await.unwrap(), Ok(None), "{module}");
        let newest = self.catalogs.newest();
        let mut modules = newest.modules.clone();
        let new = Module {
            name: module.into(),
            generation: 1,
            version: String::new(),
            placement: if replicas_max == 1 {
                Placement::Single
            } else {
                Placement::PerShard
            },
            waits: true,
            queue_max: 4,
            on_failure: OnFailure::Reject,
            healthy: Arc::clone(&copy.healthy),
            copies: vec![copy],
            actions: exports
                .actions
                .iter()
                .map(|a| (Arc::clone(&a.name), a.clone()))
                .collect(),
            exports,
        };
        modules.insert(module.into(), Arc::new(new));
        self.catalogs.publish(Catalog {
            modules,
            ..Catalog::default()
        });
    }

    async fn switch_with(
        &self,
        module: &str,
        text: &str,
        change: impl FnOnce(&mut Install),
    ) -> Result<Option<Snapshot>, String> {
        let (install, came) = self.new_code(module, text, |install| {
            install.reason = StartReason::Swapped;
            change(install);
        });
        self.send(Mail::Order(Order::Switch(install)));
        came.await
            .unwrap_or_else(|_| Err("nobody answered".to_owned()))
    }

    async fn switch(&self, module: &str, text: &str) -> Result<Option<Snapshot>, String> {
        self.switch_with(module, text, |_| {}).await
    }

    fn push(&self, module: &str, action: &str, input: &str) -> oneshot::Receiver<Answered> {
        let (answer, came) = oneshot::channel();
        self.send(Mail::Call(Call {
            to: address(module),
            export: execute(action, input),
            answer: Answer::Waiter(answer),
            chain: Vec::new(),
            expires_us: None,
            place: None,
        }));
        came
    }

    async fn ask(&self, module: &str, action: &str) -> String {
        text_of(&self.push(module, action, "hi").await.unwrap())
    }

    /// What came to the shard: the opcodes of what was sent.
    fn effects(&self) -> Vec<u16> {
        let mut mail = Vec::new();
        self.post.collect(HomeId(0), &mut mail);
        let mut opcodes = Vec::new();
        for (_, letter) in mail {
            if let Mail::Effects(_, effects) = letter {
                for effect in effects {
                    if let Effect::SendTo { opcode, .. } = effect {
                        opcodes.push(opcode);
                    }
                }
            }
        }
        opcodes
    }

    fn log(&self) -> Vec<String> {
        self.world.log_lines()
    }
}

fn address(module: &str) -> Address {
    Address {
        module: module.into(),
        copy: 0,
    }
}

fn execute(action: &str, input: &str) -> Export {
    Export::Execute(Request {
        id: 1,
        name: action.into(),
        caller: Caller::Operator("test".into()),
        received_at: 0,
        input: Bytes::from(input.to_owned()),
    })
}

fn text_of(answered: &Answered) -> String {
    match &answered.outcome {
        Ok(Ok(Returned::Answer(Ok(payload)))) => String::from_utf8_lossy(payload).into_owned(),
        Ok(Ok(Returned::Answer(Err(error)))) => error.to_string(),
        Ok(Ok(other)) => format!("{other:?}"),
        Ok(Err(Fault::Ended(ending, _))) => format!("ended: {ending}"),
        Ok(Err(Fault::Raised(_))) => "raised".to_owned(),
        Err(why) => format!("{why:?}"),
    }
}

async fn pass(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

const SLEEPER: &str =
    "action s sleep 20\naction e echo\naction w which\naction t trap\nmigration\n";

#[test]
fn a_call_that_waits_keeps_the_next_of_its_replica_waiting_but_no_other() {
    with_worker(async |rig| {
        rig.install("a", SLEEPER).await;
        rig.install("b", SLEEPER).await;
        let began = rig.world.now().monotonic_us;
        let slow = rig.push("a", "s", "slow");
        let mut behind = rig.push("a", "e", "behind");
        assert_eq!(rig.ask("b", "e").await, "hi");
        assert!(rig.world.now().monotonic_us < began + 20_000);
        assert!(behind.try_recv().is_err());
        assert_eq!(text_of(&slow.await.unwrap()), "slow");
        assert_eq!(text_of(&behind.await.unwrap()), "behind");
        assert!(rig.world.now().monotonic_us >= began + 20_000);
    });
}

#[test]
fn a_call_ends_with_its_replica_at_the_wall_limit() {
    with_worker(async |rig| {
        rig.install("a", &format!("{SLEEPER}action long sleep 60000"))
            .await;
        assert_eq!(rig.ask("a", "w").await, "1:1");
        let began = rig.world.now().monotonic_us;
        assert_eq!(
            rig.ask("a", "long").await,
            "ended: did not return in its wall time"
        );
        let took = rig.world.now().monotonic_us - began;
        assert!((5_000_000..5_100_000).contains(&took), "{took}");
        assert_eq!(rig.ask("a", "w").await, "1:1", "a fresh one");
    });
}

#[test]
fn what_calls_leave_goes_to_one_shard_in_order() {
    with_worker(async |rig| {
        rig.install(
            "a",
            "action x send 600\naction y send 601\naction t trap\naction s sleep 5",
        )
        .await;
        for action in ["x", "y", "t", "x"] {
            rig.ask("a", action).await;
        }
        assert_eq!(rig.effects(), [600, 601, 600]);
    });
}

#[test]
fn an_answer_for_another_home_goes_the_way_of_what_the_calls_leave() {
    with_worker(async |rig| {
        rig.install("a", "action x send 600\nstream scores hello")
            .await;
        let ada = ClientId { hi: 1, lo: 1 };
        let subscribe = Export::Subscribe {
            topic: "scores".into(),
            client: Client {
                id: ada,
                ..Client::default()
            },
            arguments: Bytes::new(),
        };
        let elsewhere = |ticket| Answer::Home(HomeId(9), ticket);
        for (export, ticket) in [(execute("x", "hi"), 1), (subscribe, 2)] {
            rig.send(Mail::Call(Call {
                answer: elsewhere(ticket),
                ..Call::own(address("a"), export)
            }));
        }
        rig.ask("a", "x").await;
        let mut mail = Vec::new();
        rig.post.collect(HomeId(0), &mut mail);
        let order: Vec<_> = mail
            .into_iter()
            .map(|(_, letter)| match letter {
                Mail::Relay(relay) => {
                    assert!(matches!(relay.answer, Answer::Home(HomeId(9), _)));
                    let topic = relay.subscriber.map(|(id, topic)| {
                        assert_eq!(id, ada);
                        topic.to_string()
                    });
                    topic.unwrap_or_else(|| "answer".to_owned())
                }
                Mail::Effects(..) => "effects".to_owned(),
                Mail::Call(_)
                | Mail::Reply(..)
                | Mail::Fanout(_)
                | Mail::Walk(_)
                | Mail::Order(_) => "something else".to_owned(),
            })
            .collect();
        assert_eq!(order, ["answer", "effects", "scores", "effects"]);
    });
}

#[test]
fn what_a_call_leaves_before_it_waits_goes_out_while_it_waits() {
    with_worker(async |rig| {
        rig.install("slow", SLEEPER).await;
        rig.install("a", "action d sendcall 600 slow s\ntimers")
            .await;
        let waiting = rig.push("a", "d", "x");
        pass(10).await;
        assert_eq!(rig.effects(), [600]);
        assert_eq!(text_of(&waiting.await.unwrap()), "x");
        assert_eq!(rig.effects(), [601]);
        pass(15).await;
        assert_eq!(rig.log(), ["a: timer aside"]);
    });
}

#[test]
fn timers_ticks_and_steps_come_between_the_calls() {
    with_worker(async |rig| {
        rig.install(
            "a",
            "action k timer bell 30\naction g signal ping\ntimers\nticker 20\nbackground wait\nstart",
        )
        .await;
        rig.ask("a", "k").await;
        rig.ask("a", "g").await;
        pass(60).await;
        assert_eq!(
            rig.log(),
            [
                "a: start Loaded",
                "a: step started",
                "a: step signalled ping",
                "a: timer bell",
                "a: tick 0 skipped 0"
            ]
        );
    });
}

#[test]
fn a_swap_waits_for_the_running_call_and_carries_the_state() {
    with_worker(async |rig| {
        rig.install("a", SLEEPER).await;
        assert_eq!(rig.ask("a", "w").await, "1:1");
        let slow = rig.push("a", "s", "slow");
        let behind = rig.push("a", "w", "");
        pass(1).await;
        let carried = rig.switch("a", SLEEPER).await.unwrap();
        assert_eq!(carried.unwrap().data, "1");
        assert_eq!(text_of(&slow.await.unwrap()), "slow");
        assert_eq!(text_of(&behind.await.unwrap()), "2:2");
        assert_eq!(rig.ask("a", "t").await, "ended: trapped");
        assert_eq!(rig.ask("a", "w").await, "2:2", "the newest snapshot");
    });
}

#[test]
fn a_swap_gives_up_on_a_call_that_does_not_end_and_says_so() {
    with_worker(async |rig| {
        rig.install("a", &format!("{SLEEPER}action long sleep 4000"))
            .await;
        let long = rig.push("a", "long", "at last");
        pass(1).await;
        let refused = rig
            .switch_with("a", SLEEPER, |install| {
                install.charter.limits.swap_wait = Duration::from_secs(2);
            })
            .await;
        assert_eq!(
            refused,
            Err("it waited 2 s for the running call, `action.execute`, to end".into())
        );
        assert_eq!(text_of(&long.await.unwrap()), "at last");
        assert_eq!(rig.ask("a", "w").await, "1:1");
    });
}

#[test]
fn by_force_a_swap_ends_the_running_call() {
    with_worker(async |rig| {
        rig.install("a", &format!("{SLEEPER}action long sleep 4000"))
            .await;
        let long = rig.push("a", "long", "never");
        pass(1).await;
        let switched = rig.switch_with("a", SLEEPER, |install| {
            install.charter.limits.swap_wait = Duration::ZERO;
        });
        assert!(switched.await.is_ok());
        assert!(text_of(&long.await.unwrap()).starts_with("ended"));
        assert_eq!(rig.ask("a", "w").await, "2:1");
    });
}

#[test]
fn a_swap_that_fails_changes_nothing() {
    with_worker(async |rig| {
        rig.install("a", SLEEPER).await;
        rig.ask("a", "w").await;
        for bad in ["restore trap", "restore fail", "start trap", "start fail"] {
            let text = format!("{SLEEPER}{bad}");
            assert!(rig.switch("a", &text).await.is_err(), "{bad}");
        }
        assert_eq!(rig.ask("a", "w").await, "1:2");
        assert_eq!(
            rig.switch("nobody", SLEEPER).await,
            Err("this copy is not here".into())
        );
    });
}

#[test]
fn every_call_is_answered_once_over_many_swaps() {
    with_worker(async |rig| {
        let text = format!("{SLEEPER}action v visits\naction q sleep 1\n");
        rig.install("a", &text).await;
        let mut waiting = Vec::new();
        for n in 0..1_000 {
            let action = ["v", "q", "w", "e"][n % 4];
            waiting.push((n, rig.push("a", action, "x")));
            if n % 50 == 25 {
                let bad = format!("{text}restore trap");
                let outcome = rig.switch("a", if n % 100 == 25 { &bad } else { &text });
                assert_eq!(outcome.await.is_err(), n % 100 == 25);
            }
        }
        let mut last = 0;
        for (n, came) in waiting {
            let answered = came.await.unwrap();
            let text = text_of(&answered);
            if n % 4 == 2 {
                let (_, count) = text.split_once(':').unwrap();
                let count: u64 = count.parse().unwrap();
                assert_eq!(count, last + 1, "{n}");
                last = count;
            }
        }
        let visits = rig.world.value(&Place::Shared, "visits").unwrap();
        assert_eq!(visits, "250");
    });
}

#[test]
fn several_replicas_are_made_on_demand_and_an_idle_one_takes_the_next_call() {
    with_worker(async |rig| {
        rig.install_some("a", SLEEPER, 3).await;
        let began = rig.world.now().monotonic_us;
        let calls: Vec<_> = (0..6).map(|_| rig.push("a", "s", "x")).collect();
        for call in calls {
            assert_eq!(text_of(&call.await.unwrap()), "x");
        }
        let took = rig.world.now().monotonic_us - began;
        assert!((40_000..60_000).contains(&took), "two rounds: {took}");
    });
}

#[test]
fn where_there_are_several_new_calls_go_to_new_ones_and_old_ones_end_when_idle() {
    with_worker(async |rig| {
        let text = format!("{SLEEPER}start");
        rig.install_some("a", &text, 2).await;
        assert_eq!(rig.ask("a", "w").await, "1:1");
        let slow = rig.push("a", "s", "slow");
        pass(1).await;
        let switched = rig.switch_with("a", &text, |install| install.replicas_max = 2);
        assert_eq!(switched.await, Ok(None));
        assert_eq!(rig.ask("a", "w").await, "2:1");
        assert_eq!(text_of(&slow.await.unwrap()), "slow");
        pass(1).await;
        assert_eq!(
            rig.log(),
            ["a: start Loaded", "a: start Swapped", "a: stop Swapped"]
        );
    });
}

#[test]
fn a_copy_that_goes_is_stopped_after_its_call_and_what_waited_is_answered() {
    with_worker(async |rig| {
        rig.install("a", &format!("{SLEEPER}start")).await;
        let slow = rig.push("a", "s", "slow");
        let behind = rig.push("a", "e", "behind");
        pass(1).await;
        let (done, gone) = oneshot::channel();
        rig.send(Mail::Order(Order::Remove {
            copy: address("a"),
            reason: StopReason::Unloaded,
            done,
        }));
        gone.await.unwrap();
        assert_eq!(text_of(&slow.await.unwrap()), "slow");
        assert_eq!(text_of(&behind.await.unwrap()), "Unavailable");
        assert_eq!(rig.ask("a", "e").await, "Unavailable");
        assert_eq!(rig.log(), ["a: start Loaded", "a: stop Unloaded"]);
    });
}

#[test]
fn an_open_circuit_refuses_and_is_tried_again() {
    with_worker(async |rig| {
        rig.install("a", SLEEPER).await;
        for _ in 0..6 {
            assert_eq!(rig.ask("a", "t").await, "ended: trapped");
        }
        assert_eq!(rig.ask("a", "e").await, "Unavailable");
        pass(1_001).await;
        assert_eq!(rig.ask("a", "e").await, "hi");
    });
}

#[test]
fn a_module_calls_another_and_gets_its_answer_or_refusal() {
    with_worker(async |rig| {
        rig.install(
            "a",
            "action e call b echo\naction f call b refuse\naction t call b trap\naction u call b nothing\naction n call nobody x",
        )
        .await;
        rig.install(
            "b",
            "action echo echo\naction refuse refuse 7 not yet\naction trap trap",
        )
        .await;
        assert_eq!(rig.ask("a", "e").await, "hi");
        assert_eq!(rig.ask("a", "f").await, "refused with code 7: not yet");
        assert_eq!(rig.ask("a", "t").await, Error::Trapped.to_string());
        assert_eq!(rig.ask("a", "u").await, Error::NotFound.to_string());
        assert_eq!(rig.ask("a", "n").await, Error::NotFound.to_string());
    });
}

#[test]
fn a_module_that_calls_itself_through_another_is_refused() {
    with_worker(async |rig| {
        rig.install("a", "action x call b y\naction e echo").await;
        rig.install("b", "action y call a e").await;
        assert_eq!(rig.ask("a", "x").await, Error::Recursive.to_string());
    });
}

#[test]
fn two_modules_that_call_each_other_at_once_do_not_wait_for_ever() {
    with_worker(async |rig| {
        rig.install("a", "action x call b e\naction e echo").await;
        rig.install("b", "action x call a e\naction e echo").await;
        let began = rig.world.now().monotonic_us;
        let (one, two) = (rig.push("a", "x", "1"), rig.push("b", "x", "2"));
        let answers = [text_of(&one.await.unwrap()), text_of(&two.await.unwrap())];
        assert!(
            answers.contains(&Error::Recursive.to_string()),
            "{answers:?}"
        );
        assert!(answers.iter().any(|a| a == "1" || a == "2"), "{answers:?}");
        assert!(rig.world.now().monotonic_us < began + 1_000_000);
    });
}

#[test]
fn a_full_queue_is_busy_and_a_slow_callee_a_timeout_that_costs_no_replica() {
    with_worker(async |rig| {
        rig.install("slow", "action long sleep 4990\naction e echo")
            .await;
        for n in 0..5 {
            rig.install(&format!("m{n}"), "action x call slow long\naction w which")
                .await;
        }
        let calls: Vec<_> = (0..5)
            .map(|n| rig.push(&format!("m{n}"), "x", ""))
            .collect();
        let mut answers = Vec::new();
        for call in calls {
            answers.push(text_of(&call.await.unwrap()));
        }
        let busy = answers.iter().filter(|a| **a == Error::Busy.to_string());
        assert_eq!(busy.count(), 1, "the fifth of four places: {answers:?}");
        let late = answers.iter().filter(|a| **a == Error::Timeout.to_string());
        assert_eq!(late.count(), 4, "{answers:?}");
        for n in 0..5 {
            let which = rig.ask(&format!("m{n}"), "w").await;
            assert!(which.ends_with(":1"), "{which}");
        }
        let endings = rig.log().len();
        assert_eq!(endings, 0);
    });
}
