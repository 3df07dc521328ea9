//! A schedule by itself: timers, the background step and signals, on a clock that the tests move.

use core::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::export::{Ending, Fault};

const fn at(ms: u64) -> Now {
    Now {
        monotonic_us: ms * 1_000,
        wall_us: 1_000_000_000 + ms * 1_000,
    }
}

fn schedule(exports: &Exports) -> Schedule {
    Schedule::new(Arc::default(), exports, &Limits::of(false, 16), at(0))
}

fn background() -> Exports {
    Exports {
        background: true,
        timers: true,
        ..Exports::default()
    }
}

fn set(schedule: &mut Schedule, name: &str, delay_ms: u64, periodic: bool, now: Now) {
    let mut effects = vec![Effect::TimerSet {
        name: name.into(),
        delay: delay_ms * 1_000,
        periodic,
        data: Bytes::new(),
    }];
    schedule.absorb(&mut effects, now.wall_us, now);
    assert!(effects.is_empty());
}

fn signal(schedule: &mut Schedule, name: &str, waiting: &Arc<AtomicU32>) {
    let place = Place::take(waiting, 10).unwrap();
    let mut effects = vec![Effect::Signal {
        name: name.to_owned(),
        body: Bytes::new(),
        place,
    }];
    schedule.absorb(&mut effects, 0, at(0));
}

fn polled(schedule: &mut Schedule, now: Now) -> Vec<Export> {
    let mut queued = Vec::new();
    schedule.poll(now, |export| queued.push(export));
    queued.retain_mut(|export| schedule.begin(export, now));
    queued
}

fn names(queued: &[Export]) -> Vec<String> {
    queued
        .iter()
        .map(|export| {
            if let Export::Timer { name, .. } = export {
                return name.to_string();
            }
            let Export::Step(wake) = export else {
                return export.name().to_owned();
            };
            match wake {
                Wake::Started => "started".into(),
                Wake::Elapsed => "elapsed".into(),
                Wake::Signalled(signals) => signals
                    .iter()
                    .map(|s| s.name.as_str())
                    .collect::<Vec<_>>()
                    .join("+"),
                Wake::Stopping => "stopping".into(),
            }
        })
        .collect()
}

fn stepped(schedule: &mut Schedule, next: Outcome, now: Now) {
    schedule.finish(&Export::Step(Wake::Elapsed), &next, now);
}

#[test]
fn timers_fire_when_due_in_order_and_once() {
    let mut s = schedule(&Exports {
        timers: true,
        ..Exports::default()
    });
    set(&mut s, "late", 20, false, at(0));
    set(&mut s, "soon", 10, false, at(0));
    set(&mut s, "gone", 5, false, at(0));
    s.absorb(
        &mut vec![Effect::TimerCancel {
            name: "gone".into(),
        }],
        0,
        at(0),
    );
    assert_eq!(s.next_us(at(0)), Some(10_000));
    assert!(polled(&mut s, at(9)).is_empty());
    assert_eq!(names(&polled(&mut s, at(30))), ["soon", "late"]);
    assert!(polled(&mut s, at(60)).is_empty());
    assert_eq!(s.next_us(at(60)), None);
}

#[test]
fn a_timer_set_again_moves() {
    let mut s = schedule(&Exports {
        timers: true,
        ..Exports::default()
    });
    set(&mut s, "t", 10, false, at(0));
    set(&mut s, "t", 30, false, at(0));
    assert!(polled(&mut s, at(20)).is_empty());
    assert_eq!(names(&polled(&mut s, at(30))), ["t"]);
}

#[test]
fn a_period_that_was_missed_comes_once() {
    let mut s = schedule(&Exports {
        timers: true,
        ..Exports::default()
    });
    set(&mut s, "t", 10, true, at(0));
    assert_eq!(names(&polled(&mut s, at(35))), ["t"]);
    assert_eq!(s.next_us(at(35)), Some(40_000));
}

fn queued(schedule: &mut Schedule, now: Now) -> Vec<Export> {
    let mut queued = Vec::new();
    schedule.poll(now, |export| queued.push(export));
    queued
}

#[test]
fn a_timer_that_could_not_begin_stays_set() {
    let mut s = schedule(&Exports {
        timers: true,
        ..Exports::default()
    });
    set(&mut s, "once", 10, false, at(0));
    set(&mut s, "again", 10, true, at(0));
    let refused = Err(Fault::Raised(String::new()));
    for ms in [10, 15] {
        let waiting = queued(&mut s, at(ms));
        assert_eq!(names(&waiting), ["again", "once"]);
        assert!(queued(&mut s, at(ms)).is_empty(), "they are queued");
        s.index();
        assert!(queued(&mut s, at(ms)).is_empty(), "they still are");
        for export in &waiting {
            s.finish(export, &refused, at(ms));
        }
    }
    assert_eq!(s.next_us(at(15)), Some(10_000));
    let ran = polled(&mut s, at(15));
    assert_eq!(names(&ran), ["again", "once"]);
    for export in &ran {
        s.finish(export, &Ok(Returned::Nothing), at(15));
    }
    assert_eq!(s.next_us(at(15)), Some(20_000), "the next period");
    assert_eq!(names(&polled(&mut s, at(20))), ["again"]);
}

#[test]
fn a_timer_that_is_moved_or_cancelled_while_it_is_queued_does_not_come() {
    let mut s = schedule(&Exports {
        timers: true,
        ..Exports::default()
    });
    set(&mut s, "moved", 10, false, at(0));
    set(&mut s, "gone", 10, false, at(0));
    let mut waiting = queued(&mut s, at(10));
    set(&mut s, "moved", 20, false, at(10));
    let name = "gone".into();
    s.absorb(&mut vec![Effect::TimerCancel { name }], 0, at(10));
    for export in &mut waiting {
        assert!(!s.begin(export, at(11)));
        s.finish(export, &Ok(Returned::Nothing), at(11));
    }
    assert_eq!(s.next_us(at(11)), Some(30_000));
    assert_eq!(names(&polled(&mut s, at(30))), ["moved"]);
}

#[test]
fn two_schedules_over_the_same_timers_tell_each_once_and_when_it_is_due() {
    let exports = Exports {
        timers: true,
        ..Exports::default()
    };
    let mut old = schedule(&exports);
    for name in ["a", "b", "c"] {
        set(&mut old, name, 10, false, at(0));
    }
    let timers = Arc::clone(old.timers_shared());
    let mut new = Schedule::new(timers, &exports, &Limits::of(false, 16), at(0));
    let mut of_old = queued(&mut old, at(10));
    assert!(old.begin(&mut of_old[0], at(10)));
    assert_eq!(names(&polled(&mut new, at(10))), ["b", "c"]);
    set(&mut new, "b", 10, false, at(10));
    assert!(!old.begin(&mut of_old[1], at(11)), "it was set again");
    assert!(!old.begin(&mut of_old[2], at(11)), "it has been told");
    assert_eq!(names(&polled(&mut new, at(20))), ["b"]);
}

#[test]
fn timers_that_wait_in_the_queue_are_bounded() {
    let mut s = schedule(&Exports {
        timers: true,
        ..Exports::default()
    });
    for n in 0..100 {
        set(&mut s, &format!("t{n:03}"), 1, false, at(0));
    }
    let queued = polled(&mut s, at(5));
    assert_eq!(queued.len(), 64);
    assert_eq!(s.next_us(at(5)), None, "nothing more before one has run");
    s.finish(&queued[0], &Ok(Returned::Nothing), at(5));
    assert_eq!(s.next_us(at(5)), Some(1_000));
    assert_eq!(names(&polled(&mut s, at(5))), ["t064"]);
}

#[test]
fn a_background_is_stepped_when_it_said_so_or_is_signalled() {
    let waiting = Arc::default();
    let mut s = schedule(&background());
    assert_eq!(names(&polled(&mut s, at(0))), ["started"]);
    assert!(polled(&mut s, at(0)).is_empty(), "one step at a time");
    stepped(&mut s, Ok(Returned::Next(Ok(Next::After(10_000)))), at(1));
    assert_eq!(s.next_us(at(1)), Some(11_000));
    assert_eq!(names(&polled(&mut s, at(11))), ["elapsed"]);
    stepped(&mut s, Ok(Returned::Next(Ok(Next::WhenSignalled))), at(11));
    assert_eq!(s.next_us(at(11)), None);
    signal(&mut s, "a", &waiting);
    signal(&mut s, "b", &waiting);
    assert_eq!(s.next_us(at(12)), Some(12_000));
    assert_eq!(names(&polled(&mut s, at(12))), ["a+b"]);
    assert_eq!(waiting.load(Ordering::Relaxed), 0, "places are given back");
    stepped(&mut s, Ok(Returned::Next(Ok(Next::Finished))), at(12));
    signal(&mut s, "c", &waiting);
    assert!(polled(&mut s, at(100)).is_empty());
    assert_eq!(waiting.load(Ordering::Relaxed), 0);
}

#[test]
fn a_step_that_failed_begins_anew_after_a_pause() {
    let raised = Fault::Raised("bug".into());
    let ended = Fault::Ended(Ending::Trap, "bug".into());
    for (fault, ends) in [(raised, false), (ended, true)] {
        let mut s = schedule(&background());
        polled(&mut s, at(0));
        stepped(&mut s, Err(fault), at(0));
        if ends {
            s.restart(&background(), at(0));
        }
        assert_eq!(s.next_us(at(0)), Some(STEP_PAUSE_US));
        assert_eq!(names(&polled(&mut s, at(1_000))), ["started"]);
    }
}

#[test]
fn a_step_that_waits_in_the_queue_becomes_the_first_of_a_fresh_replica() {
    let mut s = schedule(&background());
    polled(&mut s, at(0));
    stepped(&mut s, Ok(Returned::Next(Ok(Next::AtOnce))), at(0));
    let mut queued = Vec::new();
    s.poll(at(0), |export| queued.push(export));
    s.restart(&background(), at(0));
    assert_eq!(queued.len(), 1);
    assert!(s.begin(&mut queued[0], at(0)));
    assert_eq!(names(&queued), ["started"]);
    assert!(polled(&mut s, at(0)).is_empty());
}

#[test]
fn timers_of_the_name_are_found_by_a_new_home() {
    let timers: Arc<Mutex<Timers>> = Arc::default();
    timers.lock().unwrap().insert(
        "t".into(),
        Timer {
            due_at: at(7).wall_us,
            period_us: None,
            data: Bytes::new(),
        },
    );
    let s = Schedule::new(timers, &background(), &Limits::of(false, 16), at(0));
    assert_eq!(s.next_us(at(0)), Some(0), "the first step");
    assert_eq!(s.due.len(), 1);
}

#[test]
fn a_timer_that_nobody_hears_is_dropped_and_named_once() {
    let mut schedule = schedule(&Exports::default());
    for n in 0..4_000 {
        set(&mut schedule, &format!("t{n}"), 1, true, at(0));
    }
    assert!(polled(&mut schedule, at(1)).is_empty());
    assert_eq!(schedule.next_us(at(1)), None, "none of them comes again");
    assert_eq!(schedule.take_unheard().len(), UNHEARD_MAX);
    set(&mut schedule, "t0", 1, true, at(1));
    assert!(polled(&mut schedule, at(2)).is_empty());
    assert!(schedule.take_unheard().is_empty(), "it was said");
    schedule.adopt(&Exports::default(), &Limits::of(false, 16), at(2));
    set(&mut schedule, "t0", 1, false, at(2));
    assert!(polled(&mut schedule, at(3)).is_empty());
    assert_eq!(schedule.take_unheard().len(), 1, "but not of this code");
}
