//! A home by itself: order, ends and restarts, the circuit, what it does by itself, and swaps at each step.

mod news;

use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use bytes::Bytes;
use cohnect_capabilities::state::Place;
use cohnect_capabilities::{Caller, ClientId, Effect};
use tokio::sync::oneshot;

use super::{Finished, Home};
use crate::deadline::Ticker;
use crate::export::{
    Ending, Export, Fault, Request, Returned, ServerEvent, Snapshot, StartReason, StopReason,
};
use crate::mail::{Address, Answer, Call, HomeId, Layout, NotRun, Staging};
use crate::now::{Clock as _, Now};
use crate::order::{Install, Order};
use crate::testing::World;
use crate::testing::script::prepared;

const LAYOUT: Layout = Layout {
    shards: 1,
    workers: 1,
};

struct Rig {
    world: Arc<World>,
    home: Home,
    staging: Staging,
    generation: u64,
    healthy: Arc<AtomicBool>,
    ticker: Ticker,
}

impl Rig {
    fn new(programs: &[(&str, &str)]) -> Self {
        let ticker = Ticker::default();
        let mut rig = Self {
            world: World::new(),
            home: Home::new(HomeId(0), ticker.clone()),
            staging: Staging::new(HomeId(0), LAYOUT),
            generation: 0,
            healthy: Arc::default(),
            ticker,
        };
        rig.world.connect(ClientId { hi: 1, lo: 1 }, &[]);
        for (module, text) in programs {
            assert_eq!(rig.install(module, text), Ok(None), "{module}");
        }
        rig
    }

    fn now(&self) -> Now {
        self.world.now()
    }

    fn new_code(
        &mut self,
        module: &str,
        text: &str,
        reason: StartReason,
    ) -> (
        Box<Install>,
        oneshot::Receiver<Result<Option<Snapshot>, String>>,
    ) {
        self.generation += 1;
        let mut charter = self.world.charter(module, false);
        charter.identity.generation = self.generation;
        let (done, came) = oneshot::channel();
        let install = Install {
            copy: address(module),
            prepared: prepared(text),
            charter,
            seed: [1; 32],
            healthy: Arc::clone(&self.healthy),
            replicas_max: 1,
            reason,
            snapshot: None,
            done,
        };
        (Box::new(install), came)
    }

    fn obey(&mut self, order: Order) {
        let now = self.now();
        self.home.obey(now, order, &mut self.staging);
    }

    fn install(&mut self, module: &str, text: &str) -> Result<Option<Snapshot>, String> {
        let (install, mut came) = self.new_code(module, text, StartReason::Loaded);
        self.obey(Order::Install(install));
        came.try_recv().unwrap_or_else(|e| Err(e.to_string()))
    }

    fn switch(&mut self, module: &str, text: &str) -> Result<Option<Snapshot>, String> {
        let (install, mut came) = self.new_code(module, text, StartReason::Swapped);
        self.obey(Order::Switch(install));
        came.try_recv().unwrap_or_else(|e| Err(e.to_string()))
    }

    fn push(&mut self, module: &str, action: &str, ticket: u64) -> Result<(), NotRun> {
        self.home
            .push(call(module, action, ticket))
            .map_err(|(_, why)| why)
    }

    fn run_all(&mut self) -> Vec<Finished> {
        let now = self.now();
        let mut all = Vec::new();
        while let Some(finished) = self.home.run_next(now) {
            all.push(finished);
            assert!(all.len() < 10_000, "it never ends");
        }
        all
    }

    /// The answer of one call.
    fn ask(&mut self, module: &str, action: &str) -> String {
        if let Err(why) = self.push(module, action, 1) {
            return format!("{why:?}");
        }
        let all = self.run_all();
        let one = all
            .iter()
            .find(|f| matches!(f.answer, Answer::Home(_, 1)))
            .unwrap();
        text_of(one)
    }

    fn pass(&mut self, ms: u64) {
        self.world.advance(ms * 1_000);
        let now = self.now();
        self.home.handle_timeout(now);
        self.run_all();
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

fn call(module: &str, action: &str, ticket: u64) -> Call {
    Call {
        to: address(module),
        export: Export::Execute(Request {
            id: ticket,
            name: action.into(),
            caller: Caller::Operator("test".into()),
            received_at: 0,
            input: Bytes::from_static(b"hi"),
        }),
        answer: Answer::Home(HomeId(0), ticket),
        chain: Vec::new(),
        expires_us: None,
        place: None,
    }
}

fn text_of(finished: &Finished) -> String {
    match &finished.answered.outcome {
        Ok(Ok(Returned::Answer(Ok(payload)))) => String::from_utf8_lossy(payload).into_owned(),
        Ok(Ok(Returned::Answer(Err(error)))) => error.to_string(),
        Ok(Ok(other)) => format!("{other:?}"),
        Ok(Err(Fault::Ended(ending, _))) => format!("ended: {ending}"),
        Ok(Err(Fault::Raised(_))) => "raised".to_owned(),
        Err(why) => format!("{why:?}"),
    }
}

fn tickets(all: &[Finished]) -> Vec<u64> {
    all.iter()
        .filter_map(|finished| match finished.answer {
            Answer::Home(_, ticket) => Some(ticket),
            Answer::Nobody | Answer::Waiter(_) => None,
        })
        .collect()
}

const COUNTER: &str = "action n count\naction w which\naction t trap\naction v visits\nmigration\n";

#[test]
fn calls_run_in_the_order_of_their_arrival() {
    let mut rig = Rig::new(&[("a", "action e echo"), ("b", "action e echo")]);
    for (n, module) in ["a", "b", "b", "a", "b", "a"].iter().enumerate() {
        rig.push(module, "e", n as u64).unwrap();
    }
    assert_eq!(tickets(&rig.run_all()), [0, 1, 2, 3, 4, 5]);
    assert!(rig.home.is_idle());
}

#[test]
fn a_copy_that_is_not_here_gives_the_call_back() {
    let mut rig = Rig::new(&[]);
    assert_eq!(rig.push("nobody", "e", 1), Err(NotRun::Unavailable));
}

#[test]
fn a_modules_own_wrong_argument_is_not_its_callers() {
    let name = "n".repeat(1_000);
    let mut rig = Rig::new(&[(
        "a",
        &format!("action own timer {name} 10\naction his malformed eight bytes"),
    )]);
    assert_eq!(rig.ask("a", "own"), "raised");
    assert_eq!(rig.ask("a", "his"), "invalid argument: eight bytes");
}

#[test]
fn a_refusal_and_a_raised_error_end_only_the_call() {
    let mut rig = Rig::new(&[(
        "a",
        "action n count\naction r raise x\naction e refuse 7 not yet",
    )]);
    assert_eq!(rig.ask("a", "n"), "1");
    assert_eq!(rig.ask("a", "r"), "raised");
    assert_eq!(rig.ask("a", "e"), "refused with code 7: not yet");
    assert_eq!(rig.ask("a", "n"), "2");
}

#[test]
fn an_end_drops_the_effects_keeps_the_writes_and_the_next_call_meets_a_fresh_replica() {
    let mut rig = Rig::new(&[("a", &format!("{COUNTER}start"))]);
    assert_eq!(rig.ask("a", "n"), "1");
    assert_eq!(rig.ask("a", "v"), "1");
    rig.push("a", "t", 1).unwrap();
    let all = rig.run_all();
    assert_eq!(text_of(&all[0]), "ended: trapped");
    assert!(all[0].effects.is_empty());
    assert_eq!(rig.ask("a", "n"), "1", "there was no snapshot");
    assert_eq!(rig.log(), ["a: start Loaded", "a: start Restarted"]);
    assert_eq!(
        rig.world.value(&Place::Shared, "visits"),
        Some(Bytes::from_static(b"1"))
    );
}

#[test]
fn what_a_restart_leaves_goes_out_with_the_call_after_it() {
    let mut rig = Rig::new(&[]);
    rig.install("a", "action t trap\naction e echo\nstart send")
        .unwrap();
    let started = rig.run_all();
    assert_eq!(started.len(), 1, "what the first start left");
    assert!(matches!(started[0].effects[..], [Effect::SendTo { .. }]));
    rig.ask("a", "t");
    rig.push("a", "e", 1).unwrap();
    let all = rig.run_all();
    assert!(matches!(all[0].effects[..], [Effect::SendTo { .. }]));
}

#[test]
fn the_sixth_end_opens_the_circuit_and_a_pause_closes_it() {
    let mut rig = Rig::new(&[("a", COUNTER)]);
    for _ in 0..6 {
        rig.push("a", "t", 2).unwrap();
    }
    rig.push("a", "n", 3).unwrap();
    let all = rig.run_all();
    assert_eq!(text_of(&all[5]), "ended: trapped");
    assert_eq!(text_of(&all[6]), "Unavailable", "what waited is answered");
    assert!(!rig.healthy.load(Ordering::Relaxed));
    assert_eq!(rig.ask("a", "n"), "Unavailable");
    assert_eq!(rig.home.poll_timeout(), Some(1_000_000));
    rig.pass(1_000);
    assert!(rig.healthy.load(Ordering::Relaxed));
    assert_eq!(rig.ask("a", "n"), "1");
    assert_eq!(rig.ask("a", "t"), "ended: trapped");
    assert_eq!(rig.ask("a", "n"), "Unavailable", "once is enough now");
    rig.pass(1_000);
    assert_eq!(rig.ask("a", "n"), "Unavailable", "and it takes longer");
    rig.pass(1_000);
    assert_eq!(rig.ask("a", "n"), "1");
}

#[test]
fn a_module_that_used_more_of_its_shard_waits_behind_the_others() {
    let mut rig = Rig::new(&[("greedy", "action e echo"), ("meek", "action e echo")]);
    let push = |rig: &mut Rig| {
        for n in 0..4 {
            rig.push(if n % 2 == 0 { "greedy" } else { "meek" }, "e", n)
                .unwrap();
        }
    };
    push(&mut rig);
    assert_eq!(tickets(&rig.run_all()), [0, 1, 2, 3], "as they came");
    // Sixty ticks fall into its calls.
    rig.home.seats[0].as_mut().unwrap().share.charge(60);
    push(&mut rig);
    assert_eq!(tickets(&rig.run_all()), [1, 3, 0, 2]);
}

#[test]
fn the_ticker_runs_only_while_there_are_calls() {
    let mut rig = Rig::new(&[("a", "action e echo")]);
    rig.push("a", "e", 1).unwrap();
    rig.push("a", "e", 2).unwrap();
    let now = rig.now();
    rig.home.run_next(now);
    assert!(rig.home.running.is_some());
    rig.run_all();
    assert!(rig.home.running.is_none());
    drop(rig.ticker);
}

#[test]
fn timers_fire_and_survive_a_swap() {
    let text = "action set timer bell 50\naction off cancel bell\ntimers\n";
    let mut rig = Rig::new(&[("a", text)]);
    rig.ask("a", "set");
    rig.switch("a", text).unwrap();
    rig.pass(49);
    assert!(rig.log().is_empty());
    assert_eq!(rig.home.poll_timeout(), Some(50_000));
    rig.pass(1);
    assert_eq!(rig.log(), ["a: timer bell"]);
    rig.ask("a", "set");
    rig.ask("a", "off");
    rig.pass(100);
    assert_eq!(rig.log().len(), 1);
}

#[test]
fn a_ticker_ticks_skips_and_counts_on_over_a_swap() {
    let mut rig = Rig::new(&[("a", "ticker 20\nmigration")]);
    rig.pass(50);
    rig.pass(175);
    rig.switch("a", "ticker 20\nmigration").unwrap();
    rig.pass(25);
    assert_eq!(
        rig.log(),
        [
            "a: tick 0 skipped 0",
            "a: tick 3 skipped 2",
            "a: tick 4 skipped 0"
        ]
    );
}

#[test]
fn a_background_is_signalled_and_begins_anew_after_an_end() {
    let mut rig = Rig::new(&[(
        "a",
        "background wait\naction s signal ping\naction t trap\naction e echo",
    )]);
    rig.run_all();
    rig.push("a", "s", 1).unwrap();
    rig.run_all();
    rig.ask("a", "t");
    rig.pass(0);
    assert_eq!(
        rig.log(),
        [
            "a: step started",
            "a: step signalled ping",
            "a: step started"
        ]
    );
}

#[test]
fn only_those_who_want_an_event_are_told() {
    let mut rig = Rig::new(&[("a", "server module_loaded"), ("b", "server started")]);
    rig.obey(Order::Event(ServerEvent::ModuleLoaded("x".into())));
    rig.run_all();
    assert_eq!(rig.log(), ["a: event ModuleLoaded(\"x\")"]);
}

#[test]
fn a_swap_carries_the_state_and_runs_what_was_queued() {
    let mut rig = Rig::new(&[("a", COUNTER)]);
    assert_eq!(rig.ask("a", "w"), "1:1");
    rig.push("a", "w", 1).unwrap();
    let carried = rig.switch("a", &format!("{COUNTER}start")).unwrap();
    assert_eq!(carried.unwrap().data, "1");
    assert_eq!(text_of(&rig.run_all()[0]), "2:2");
    assert_eq!(rig.ask("a", "t"), "ended: trapped");
    assert_eq!(rig.ask("a", "w"), "2:2", "from the newest snapshot");
}

#[test]
fn a_swap_that_fails_at_any_step_changes_nothing() {
    for bad in [
        "migration\nrestore trap",
        "migration\nrestore fail",
        "migration\nstart trap",
        "migration\nstart fail",
    ] {
        let mut rig = Rig::new(&[("a", COUNTER)]);
        rig.ask("a", "n");
        let refused = rig.switch("a", &format!("action w which\n{bad}\naction z timer q 1"));
        assert!(refused.is_err(), "{bad}");
        assert!(rig.run_all().is_empty(), "no effect of it is left: {bad}");
        assert_eq!(rig.ask("a", "w"), "1:2", "{bad}");
        assert!(rig.switch("a", COUNTER).is_ok());
        assert_eq!(rig.ask("a", "w"), "3:3");
    }
}

#[test]
fn a_save_that_fails_refuses_the_swap_and_one_that_traps_costs_the_replica() {
    let mut rig = Rig::new(&[("a", &format!("{COUNTER}save fail"))]);
    rig.ask("a", "n");
    assert_eq!(
        rig.switch("a", COUNTER),
        Err("`save` of the running code failed: refused with code 1: as told; with `swap_wait_s = 0` in its manifest new code begins without what it held".into())
    );
    assert_eq!(rig.ask("a", "w"), "1:2");
    let mut rig = Rig::new(&[("a", &format!("{COUNTER}save trap"))]);
    rig.ask("a", "n");
    assert_eq!(
        rig.switch("a", COUNTER),
        Err("`save` ended the copy that ran, which begins anew from the beginning with its old code: trapped: `save` trapped".into())
    );
    assert_eq!(rig.ask("a", "w"), "1:1");
}

#[test]
fn by_force_a_swap_goes_on_without_what_could_not_be_saved() {
    let mut rig = Rig::new(&[("a", &format!("{COUNTER}save fail"))]);
    rig.ask("a", "n");
    let (mut install, mut came) = rig.new_code("a", COUNTER, StartReason::Swapped);
    install.charter.limits.swap_wait = core::time::Duration::ZERO;
    rig.obey(Order::Switch(install));
    assert_eq!(came.try_recv().unwrap(), Ok(None));
    assert_eq!(rig.ask("a", "w"), "2:1");
}

#[test]
fn a_roll_back_falls_back_to_the_kept_snapshot() {
    let mut rig = Rig::new(&[("a", &format!("{COUNTER}save trap"))]);
    rig.ask("a", "n");
    let (mut install, mut came) = rig.new_code("a", COUNTER, StartReason::RolledBack);
    install.snapshot = Some(Snapshot {
        declared: None,
        schema: 1,
        data: Bytes::from_static(b"41"),
    });
    rig.obey(Order::Switch(install));
    assert!(came.try_recv().unwrap().is_ok());
    assert_eq!(rig.ask("a", "w"), "2:42");
}

#[test]
fn the_old_code_is_stopped_after_the_new_one_took_over() {
    let mut rig = Rig::new(&[("a", "start\nstop trap")]);
    rig.switch("a", "start").unwrap();
    assert_eq!(
        rig.log(),
        ["a: start Loaded", "a: start Swapped", "a: stop Swapped"]
    );
}

#[test]
fn a_removed_replica_is_told_and_what_waited_is_answered() {
    let mut rig = Rig::new(&[("a", "start\nbackground wait\naction e echo")]);
    rig.run_all();
    rig.push("a", "e", 9).unwrap();
    let (done, mut came) = oneshot::channel();
    rig.obey(Order::Remove {
        copy: address("a"),
        reason: StopReason::Unloaded,
        done,
    });
    assert_eq!(came.try_recv(), Ok(()));
    assert!(rig.run_all().is_empty());
    assert_eq!(rig.push("a", "e", 1), Err(NotRun::Unavailable));
    assert_eq!(rig.log()[2..], ["a: step stopping", "a: stop Unloaded"]);
    assert_eq!(rig.home.poll_timeout(), None);
}

#[test]
fn a_call_whose_caller_has_gone_is_not_begun() {
    let mut rig = Rig::new(&[("a", "action n count")]);
    rig.world.advance(10);
    let mut late = call("a", "n", 5);
    late.expires_us = Some(10);
    rig.home.push(late).unwrap();
    assert_eq!(text_of(&rig.run_all()[0]), "Unavailable");
    assert_eq!(rig.ask("a", "n"), "1");
}

#[test]
fn every_call_is_answered_once_over_many_swaps_and_ends() {
    let mut rig = Rig::new(&[("a", COUNTER)]);
    let bad = format!("{COUNTER}restore trap");
    let mut answered = vec![0; 4_000];
    let (mut visits, mut ended, mut last) = (0, 0, 0);
    for n in 0..4_000_u64 {
        if n % 20 == 10 {
            let refused = n % 80 == 10;
            let outcome = rig.switch("a", if refused { &bad } else { COUNTER });
            assert_eq!(outcome.is_err(), refused);
        }
        let action = match n % 50 {
            49 => "t",
            k if k % 2 == 0 => "v",
            _ => "n",
        };
        rig.push("a", action, n).unwrap();
        if n % 7 == 0 {
            for finished in rig.run_all() {
                for ticket in tickets(core::slice::from_ref(&finished)) {
                    answered[ticket as usize] += 1;
                    let text = text_of(&finished);
                    match ticket % 50 {
                        49 => {
                            assert_eq!(text, "ended: trapped");
                            ended += 1;
                            last = 0;
                        }
                        k if k % 2 == 0 => visits += 1,
                        _ => {
                            let count: u64 = text.parse().unwrap();
                            assert!(count > last, "{count} after {last} at {ticket}");
                            last = count;
                        }
                    }
                }
            }
            // Ends that are far apart keep the circuit closed.
            rig.world.advance(1_000_000);
        }
    }
    for finished in rig.run_all() {
        for ticket in tickets(core::slice::from_ref(&finished)) {
            answered[ticket as usize] += 1;
            visits += u64::from(ticket % 2 == 0);
            ended += u64::from(ticket % 50 == 49);
        }
    }
    assert!(answered.iter().all(|times| *times == 1));
    assert_eq!(ended, 80);
    let stored = rig.world.value(&Place::Shared, "visits").unwrap();
    assert_eq!(stored, visits.to_string().as_str());
}

#[test]
fn an_outbox_that_was_given_back_is_used_again() {
    let mut rig = Rig::new(&[("a", "action b send 512")]);
    rig.push("a", "b", 1).unwrap();
    let mut finished = rig.run_all().pop().unwrap();
    assert_eq!(finished.effects.len(), 1);
    finished.effects.clear();
    let room = finished.effects.as_ptr();
    rig.home.recycle(finished.slot, finished.effects);
    rig.push("a", "b", 1).unwrap();
    assert_eq!(rig.run_all()[0].effects.as_ptr(), room);
}

#[test]
fn a_deadline_and_a_memory_limit_end_the_replica_too() {
    let mut rig = Rig::new(&[("a", "action d deadline\naction m memory\naction n count")]);
    rig.ask("a", "n");
    for (action, ending) in [("d", Ending::Deadline), ("m", Ending::Memory)] {
        assert_eq!(rig.ask("a", action), format!("ended: {ending}"));
        assert_eq!(rig.ask("a", "n"), "1");
    }
}

#[test]
fn ticks_that_no_guest_looked_at_open_the_circuit_when_the_cpu_confirms_them() {
    let mut rig = Rig::new(&[("a", "action n count")]);
    let now = rig.now();
    assert_eq!(rig.ask("a", "n"), "1");
    {
        let slot = &mut rig.home.seats[0].as_mut().unwrap().slot;
        let before = slot.cpu_us();
        slot.charge(101, before, now);
        assert!(!slot.circuit.is_open(), "it was not scheduled");
        rig.world.set_cpu_step(100_000);
        slot.cpu_us();
        slot.charge(4, before, now);
        assert!(!slot.circuit.is_open(), "three milliseconds are allowed");
        slot.charge(101, before, now);
        assert!(slot.circuit.is_open());
    }
    assert_eq!(rig.ask("a", "n"), "Unavailable");
}
