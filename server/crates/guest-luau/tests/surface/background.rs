//! A background function as a plain loop: the host steps it, and it gives its turn up where it sleeps or waits.

use cohnect_capabilities::signals::Signal;
use cohnect_capabilities::{Error, Payload};
use cohnect_host::export::{Export, Fault, Next, Returned, Wake};

use super::bench::{Bench, Copy};

fn step(copy: &mut Copy<'_>, why: Wake) -> Result<Next, Error> {
    match copy.call(&Export::Step(why)) {
        Ok(Returned::Next(next)) => next,
        other => panic!("{other:?}"),
    }
}

fn signals(names: &[&str]) -> Wake {
    Wake::Signalled(
        names
            .iter()
            .map(|name| Signal {
                name: (*name).to_owned(),
                body: Payload::from_static(b"b"),
            })
            .collect(),
    )
}

fn log(bench: &Bench) -> Vec<String> {
    bench
        .world
        .log_lines()
        .iter()
        .map(|line| line.replace("hello: ", ""))
        .collect()
}

#[test]
fn a_loop_sleeps_and_goes_on() {
    let bench = Bench::new();
    let mut module = bench.load(
        r#"
        local turns = 0
        return {
            background = function(loop)
                while not loop.stopping() do
                    turns += 1
                    loop.sleep(0.5)
                end
                print("over", turns)
            end,
            action = { turns = function() return tostring(turns) end },
        }"#,
    );
    assert_eq!(step(&mut module, Wake::Started), Ok(Next::After(500_000)));
    assert_eq!(module.execute("turns", ""), Ok("1".into()));
    assert_eq!(step(&mut module, Wake::Elapsed), Ok(Next::After(500_000)));
    // A signal does not wake a sleeper for good: what is left of the time is slept.
    bench.world.advance(200_000);
    assert_eq!(step(&mut module, signals(&["x"])), Ok(Next::After(300_000)));
    assert_eq!(module.execute("turns", ""), Ok("2".into()));
    assert_eq!(step(&mut module, Wake::Stopping), Ok(Next::Finished));
    assert_eq!(step(&mut module, Wake::Elapsed), Ok(Next::Finished));
    assert_eq!(log(&bench), ["over 2"]);
}

#[test]
fn a_loop_waits_for_signals_one_by_one_or_all_at_once() {
    let bench = Bench::new();
    let mut module = bench.load(
        r#"
        return { background = function(loop)
            for _ = 1, 3 do
                local signal = loop.wait(2)
                print(if signal then signal.name .. signal.body else "none")
            end
            local batch = loop.batch()
            print("batch", #batch)
            loop.sleep(0)
            print("end")
        end }"#,
    );
    assert_eq!(step(&mut module, Wake::Started), Ok(Next::After(2_000_000)));
    // Two came at once; the second is there when it is asked for.
    assert_eq!(
        step(&mut module, signals(&["a", "b"])),
        Ok(Next::After(2_000_000))
    );
    assert_eq!(step(&mut module, Wake::Elapsed), Ok(Next::WhenSignalled));
    assert_eq!(
        step(&mut module, signals(&["c", "d", "e"])),
        Ok(Next::AtOnce)
    );
    assert_eq!(step(&mut module, Wake::Elapsed), Ok(Next::Finished));
    assert_eq!(log(&bench), ["ab", "bb", "none", "batch 3", "end"]);
}

#[test]
fn a_loop_that_raises_begins_anew_with_the_next_step() {
    let bench = Bench::new();
    let mut module = bench.load(
        r#"
        local errors = require("@cohnect/errors")
        local n = 0
        return { background = function(loop)
            n += 1
            if n == 1 then error("broken") end
            if n == 2 then errors.raise("busy") end
            if n == 3 then coroutine.yield("by itself") end
            loop.wait()
        end }"#,
    );
    match module.call(&Export::Step(Wake::Started)) {
        Err(Fault::Raised(text)) => assert!(text.contains("hello.luau:6: broken"), "{text}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(step(&mut module, Wake::Elapsed), Err(Error::Busy));
    match module.call(&Export::Step(Wake::Elapsed)) {
        Err(Fault::Raised(text)) => assert!(text.contains("loop.sleep"), "{text}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(step(&mut module, Wake::Elapsed), Ok(Next::WhenSignalled));
}

#[test]
fn signals_that_nobody_takes_are_bounded() {
    let bench = Bench::new();
    let mut module = bench.load(
        "return { background = function(loop) loop.sleep(100) local got = loop.batch(0) print(#got) loop.sleep(1) end }",
    );
    assert_eq!(
        step(&mut module, Wake::Started),
        Ok(Next::After(100_000_000))
    );
    for _ in 0..12 {
        step(&mut module, signals(&["x"; 100])).expect("it sleeps on");
    }
    assert_eq!(step(&mut module, Wake::Elapsed), Ok(Next::After(1_000_000)));
    assert_eq!(log(&bench).last().map(String::as_str), Some("1024"));
}
