//! What a module hears although it was not well, and what the log says of its restarts.

use core::fmt::{Debug, Write as _};
use std::sync::Mutex;

use cohnect_capabilities::{Caller, Client, CloseReason, Payload};
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber, span};

use super::*;
use crate::limits::TOLD_MAX;

fn gone() -> Call {
    let event = Export::Disconnected(Client::default(), CloseReason::Left);
    Call::own(address("a"), event)
}

fn open_circuit(rig: &mut Rig) {
    for _ in 0..6 {
        rig.push("a", "t", 2).unwrap();
    }
}

#[test]
fn news_waits_for_a_module_whose_circuit_is_open() {
    let mut rig = Rig::new(&[(
        "a",
        "action t trap\naction e echo\nevents disconnected alive",
    )]);
    open_circuit(&mut rig);
    rig.home.push(gone()).unwrap();
    rig.run_all();
    rig.home.push(gone()).unwrap();
    let alive = Call::own(address("a"), Export::Alive(Client::default(), 1));
    let refused = rig.home.push(alive).map_err(|(_, why)| why);
    assert_eq!(refused, Err(NotRun::Unavailable), "it will come again");
    assert!(rig.run_all().is_empty());
    assert!(rig.home.is_idle(), "what is held keeps no shard awake");
    assert!(rig.log().is_empty());
    rig.pass(1_000);
    let heard = ["a: client-events.on-disconnected"; 2];
    assert_eq!(rig.log(), heard);
}

#[test]
fn news_that_no_replica_could_be_made_for_is_told_once_there_is_one() {
    let text = "action t trap\nmigration\nrestore trap\nevents disconnected";
    let mut rig = Rig::new(&[("a", text)]);
    // The swap is refused, but its snapshot is the newest from now on, and traps whoever restores it.
    assert!(rig.switch("a", text).is_err());
    assert_eq!(rig.ask("a", "t"), "ended: trapped");
    rig.home.push(gone()).unwrap();
    assert_eq!(rig.run_all().len(), 5, "until the circuit opens");
    assert!(rig.log().is_empty());
    rig.switch("a", "migration\nevents disconnected").unwrap();
    rig.run_all();
    assert_eq!(rig.log(), ["a: client-events.on-disconnected"]);
}

#[test]
fn timers_that_come_to_their_turn_while_the_circuit_is_open_come_again() {
    let mut rig = Rig::new(&[(
        "a",
        "action t trap\naction o timer once 10\naction e every again 10\ntimers",
    )]);
    rig.ask("a", "o");
    rig.ask("a", "e");
    rig.world.advance(10_000);
    open_circuit(&mut rig);
    let now = rig.now();
    rig.home.handle_timeout(now);
    assert_eq!(rig.run_all().len(), 8, "the timers were behind the traps");
    assert!(rig.log().is_empty());
    rig.pass(1_000);
    assert_eq!(rig.log(), ["a: timer again", "a: timer once"]);
}

#[test]
fn timers_that_no_replica_could_be_made_for_come_once_there_is_one() {
    let text = "action t trap\nmigration\nrestore trap\naction o timer once 10\ntimers";
    let mut rig = Rig::new(&[("a", text)]);
    assert!(rig.switch("a", text).is_err());
    rig.ask("a", "o");
    assert_eq!(rig.ask("a", "t"), "ended: trapped");
    rig.pass(10);
    assert!(rig.log().is_empty());
    rig.switch("a", "migration\ntimers").unwrap();
    rig.pass(0);
    assert_eq!(rig.log(), ["a: timer once"]);
}

#[test]
fn no_more_events_wait_than_may() {
    let mut rig = Rig::new(&[("a", "server started")]);
    let lines = Lines::default();
    let said = Arc::clone(&lines.0);
    let _listening = tracing::subscriber::set_default(lines);
    for _ in 0..=TOLD_MAX {
        rig.obey(Order::Event(ServerEvent::Started));
    }
    assert_eq!(rig.home.queued(), TOLD_MAX as usize);
    for _ in 0..2 {
        rig.obey(Order::Event(ServerEvent::Started));
    }
    let line = "1 event(s) were lost on modules that are too far behind";
    let text = said.lock().unwrap().clone();
    assert_eq!(text.matches("were lost").count(), 1, "{text}");
    assert!(text.contains(line), "{text}");
    rig.home.run_next(Now::default());
    rig.obey(Order::Event(ServerEvent::Started));
    assert_eq!(rig.home.queued(), TOLD_MAX as usize);
}

#[test]
fn the_background_of_the_old_code_hears_that_it_goes() {
    let text = "start\nbackground wait\naction s signal ping";
    let mut rig = Rig::new(&[("a", text)]);
    rig.run_all();
    rig.switch("a", text).unwrap();
    rig.pass(0);
    let log = rig.log();
    assert_eq!(
        log[1..],
        [
            "a: step started",
            "a: start Swapped",
            "a: step stopping",
            "a: stop Swapped",
            "a: step started"
        ]
    );
    let (done, _) = oneshot::channel();
    rig.switch("a", text).unwrap();
    rig.obey(Order::Remove {
        copy: address("a"),
        reason: StopReason::Unloaded,
        done,
    });
    let end = ["a: stop Swapped", "a: stop Unloaded"];
    assert_eq!(rig.log()[8..], end, "its step had not begun");
}

#[derive(Default)]
struct Lines(Arc<Mutex<String>>);

impl Subscriber for Lines {
    fn enabled(&self, _metadata: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _span: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _span: &span::Id, _values: &span::Record<'_>) {}

    fn record_follows_from(&self, _span: &span::Id, _follows: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut Line(&mut self.0.lock().unwrap()));
        self.0.lock().unwrap().push('\n');
    }

    fn enter(&self, _span: &span::Id) {}

    fn exit(&self, _span: &span::Id) {}
}

struct Line<'a>(&'a mut String);

impl Visit for Line<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, "{}={value:?} ", field.name()).unwrap();
    }
}

#[test]
fn the_log_says_why_a_module_began_anew_and_from_where() {
    let lines = Lines::default();
    let said = Arc::clone(&lines.0);
    let mut rig = Rig::new(&[("a", COUNTER)]);
    let _listening = tracing::subscriber::set_default(lines);
    rig.ask("a", "t");
    rig.ask("a", "n");
    let line = "message=started anew from the beginning, after `action.execute t`: trapped: `action` trapped module=a generation=1";
    assert!(said.lock().unwrap().contains(line), "{said:?}");
    rig.switch("a", COUNTER).unwrap();
    rig.ask("a", "t");
    rig.ask("a", "n");
    let line = "message=started anew from the snapshot of its last swap, after";
    assert!(said.lock().unwrap().contains(line), "{said:?}");
}

#[test]
fn the_log_says_what_a_forced_swap_has_lost() {
    let lines = Lines::default();
    let said = Arc::clone(&lines.0);
    let mut rig = Rig::new(&[("a", &format!("{COUNTER}save fail"))]);
    let _listening = tracing::subscriber::set_default(lines);
    let (mut install, mut came) = rig.new_code("a", COUNTER, StartReason::Swapped);
    install.charter.limits.swap_wait = core::time::Duration::ZERO;
    rig.obey(Order::Switch(install));
    assert_eq!(came.try_recv().unwrap(), Ok(None));
    let line = "the new code begins from the beginning, without what has happened since; refused with code 1: as told";
    assert!(said.lock().unwrap().contains(line), "{said:?}");
}

#[test]
fn a_replica_that_goes_hears_first_what_has_happened_before() {
    let mut rig = Rig::new(&[("a", "start\naction e echo\nevents disconnected")]);
    rig.home.push(gone()).unwrap();
    rig.push("a", "e", 2).unwrap();
    rig.home.push(gone()).unwrap();
    let (done, mut is_gone) = oneshot::channel();
    rig.obey(Order::Remove {
        copy: address("a"),
        reason: StopReason::Shutdown,
        done,
    });
    assert_eq!(is_gone.try_recv(), Ok(()));
    let gone = "a: client-events.on-disconnected";
    assert_eq!(rig.log()[1..], [gone, gone, "a: stop Shutdown"]);
}

#[test]
fn mail_that_waits_for_a_replica_that_goes_is_named() {
    let mut rig = Rig::new(&[("a", "action e echo")]);
    let mail = Call::own(
        address("a"),
        Export::Execute(Request {
            id: 1,
            name: "e".into(),
            caller: Caller::Module("sender".into()),
            received_at: 0,
            input: Payload::new(),
        }),
    );
    rig.home.push(mail).unwrap();
    let lines = Lines::default();
    let said = Arc::clone(&lines.0);
    let _listening = tracing::subscriber::set_default(lines);
    let (done, _) = oneshot::channel();
    rig.obey(Order::Remove {
        copy: address("a"),
        reason: StopReason::Unloaded,
        done,
    });
    let line = "its mail to the action `e` of `a` came to nothing: the module was not well, or went, before it came to its turn";
    assert!(said.lock().unwrap().contains(line), "{said:?}");
}

#[test]
fn why_a_module_ended_forges_no_line_of_the_log_and_is_kept_cut() {
    let mut rig = Rig::new(&[("a", "action e echo")]);
    let seat = rig.home.seats[0].as_mut().unwrap();
    let text = format!("a\u{1b}[31m{}\nERROR forged", "x".repeat(1_000_000));
    let fault = Err(Fault::Ended(Ending::Trap, text));
    seat.slot.ended(
        &Export::Step(crate::export::Wake::Started),
        fault,
        Now::default(),
    );
    let kept = seat.slot.ending.clone().unwrap();
    assert!(kept.contains("a\\u{1b}[31mx"), "{}", &kept[..100]);
    assert!(!kept.contains("forged") && !kept.contains('\n'));
    assert!(kept.len() < 2 * crate::limits::LOG_BYTES_MAX);
}
