//! EXECUTE: who may, who answers, and what a client sees of everything that can go wrong.

use bytes::Bytes;
use cohnect_capabilities::{Caller, Error, Failure};
use cohnect_host::context::Context;
use cohnect_host::export::{
    Access, ActionInfo, Ending, Export, Exports, Fault, Outcome as Ran, Returned,
};
use cohnect_protocol::ops::execute::Request;
use cohnect_protocol::ops::{Body as _, Detail, Name8, Outcome};

use super::site::{Log, Plan, Site};
use super::with_shards;
use crate::Policy;

pub(super) fn body(module: &str, action: &str, input: &[u8]) -> Bytes {
    Request {
        module: Name8::new(module).unwrap(),
        action: Name8::new(action).unwrap(),
        input,
    }
    .to_bytes()
}

pub(super) fn actions(names: &[(&str, Access)]) -> Exports {
    let actions = names.iter().map(|(name, access)| ActionInfo {
        name: (*name).into(),
        access: *access,
        ..ActionInfo::default()
    });
    Exports {
        actions: actions.collect(),
        ..Exports::default()
    }
}

pub(super) fn clients(names: &[&str]) -> Exports {
    let all: Vec<_> = names.iter().map(|name| (*name, Access::Clients)).collect();
    actions(&all)
}

fn run(_context: &mut Context, export: &Export) -> Ran {
    let Export::Execute(request) = export else {
        return Ok(Returned::Nothing);
    };
    match &*request.name {
        "echo" | "secret" | "mine" | "red" => Ok(Returned::Answer(Ok(request.input.clone()))),
        "refuse" => Ok(Returned::Answer(Err(Error::Failed(Failure {
            code: 7,
            message: "not your turn".into(),
        })))),
        "busy" => Ok(Returned::Answer(Err(Error::Busy))),
        "large" => Ok(Returned::Answer(Ok(Bytes::from(vec![0; 1_101])))),
        "raise" => Err(Fault::Raised("a secret of the server's".into())),
        _ => Err(Fault::Ended(Ending::Trap, "a secret too".into())),
    }
}

fn site(shards: u16, policy: Policy) -> Site {
    let mut site = Site::with_policy(shards, policy);
    let all = ["echo", "refuse", "busy", "large", "raise", "trap"];
    let mut exports = clients(&all);
    exports
        .actions
        .extend(actions(&[("secret", Access::Internal), ("mine", Access::Users)]).actions);
    exports.actions.push(ActionInfo {
        name: "red".into(),
        access: Access::Clients,
        requires: "red".into(),
        ..ActionInfo::default()
    });
    let plan = Plan {
        exports,
        shard: Some(shards - 1),
        ..Plan::default()
    };
    site.load("m", plan, run);
    site
}

fn call(site: &mut Site, player: usize, action: &str) -> (Outcome, Bytes) {
    site.request(player, 0x0004, body("m", action, b"hello"))
}

const DONE: Outcome = Outcome::Done;
fn bad(detail: Detail) -> (Outcome, Bytes) {
    (Outcome::of(detail), Bytes::new())
}

#[test]
fn an_action_answers_wherever_it_lives() {
    with_shards(|shards| {
        let mut site = site(shards, Policy::Dev);
        for shard in 0..shards {
            let player = site.connect(shard);
            let answer = call(&mut site, player, "echo");
            assert_eq!(answer, (DONE, Bytes::from_static(b"hello")));
        }
    });
}

#[test]
fn every_end_of_a_call_has_its_detail_and_the_next_call_runs() {
    with_shards(|shards| {
        let mut site = site(shards, Policy::Dev);
        let player = site.connect(0);
        let refusal = Bytes::from_static(b"\0\0\0\x07not your turn");
        let answer = call(&mut site, player, "refuse");
        assert_eq!(answer, (Outcome::Bad(Detail::REFUSED), refusal));
        for (action, detail) in [
            ("busy", Detail::BUSY),
            ("large", Detail::TOO_LARGE),
            ("raise", Detail::MODULE_FAILED),
            ("trap", Detail::MODULE_FAILED),
            ("nothing", Detail::NOT_FOUND),
        ] {
            assert_eq!(call(&mut site, player, action), bad(detail), "{action}");
            assert_eq!(call(&mut site, player, "echo").0, DONE, "after {action}");
        }
        for module in ["nobody", "m#7", "m#"] {
            let answer = site.request(player, 0x0004, body(module, "echo", b""));
            assert_eq!(answer, bad(Detail::NOT_FOUND), "{module}");
        }
        let answer = site.request(player, 0x0004, Bytes::from_static(b"\x05m"));
        assert_eq!(answer, bad(Detail::MALFORMED_BODY));
        assert_eq!(call(&mut site, player, "echo").0, DONE);
        assert_eq!(site.players[player].closed, None);
    });
}

#[test]
fn what_asks_no_module_does_not_wait_behind_the_calls_of_others() {
    let mut site = site(1, Policy::Dev);
    let crowd = [site.connect(0), site.connect(0)];
    let player = site.connect(0);
    let mut asked = Vec::new();
    for _ in 0..120 {
        for each in crowd {
            asked.push((each, site.ask(each, 0x0004, body("m", "echo", b"x"))));
        }
    }
    let get = site.ask(player, 0x0001, Bytes::from_static(b"\x00\x01k"));
    site.round();
    assert_eq!(site.answer(player, get), Some(bad(Detail::NOT_FOUND)));
    site.settle();
    for (each, request) in asked {
        assert_eq!(site.answer(each, request).map(|(done, _)| done), Some(DONE));
    }
}

#[test]
fn access_and_requirements_hold_but_internal_actions_open_in_dev() {
    with_shards(|shards| {
        let mut dev = site(shards, Policy::Dev);
        let player = dev.connect(0);
        assert_eq!(call(&mut dev, player, "secret").0, DONE);
        assert_eq!(call(&mut dev, player, "mine"), bad(Detail::NOT_ALLOWED));
        let mut serve = site(shards, Policy::Serve);
        let player = serve.connect(0);
        assert_eq!(call(&mut serve, player, "secret"), bad(Detail::NOT_ALLOWED));
        assert_eq!(call(&mut serve, player, "red"), bad(Detail::NOT_ALLOWED));
        let id = serve.id(player);
        cohnect_capabilities::tags::Tags::add(&*serve.directory, id, "red").unwrap();
        assert_eq!(call(&mut serve, player, "red").0, DONE);
    });
}

#[test]
fn a_module_without_a_copy_is_unavailable() {
    let mut site = site(1, Policy::Dev);
    site.load_broken("broken");
    let player = site.connect(0);
    let answer = site.request(player, 0x0004, body("broken", "x", b""));
    assert_eq!(answer, bad(Detail::UNAVAILABLE));
}

#[test]
fn a_full_queue_is_busy_and_has_room_again_once_its_calls_have_run() {
    with_shards(|shards| {
        let mut site = Site::new(shards);
        let plan = Plan {
            exports: clients(&["echo"]),
            queue_max: 2,
            shard: Some(shards - 1),
            ..Plan::default()
        };
        site.load("m", plan, run);
        let player = site.connect(0);
        let asked: Vec<_> = (0..3)
            .map(|_| site.ask(player, 0x0004, body("m", "echo", b"")))
            .collect();
        site.settle();
        let answers: Vec<_> = asked
            .into_iter()
            .map(|request| site.answer(player, request).unwrap().0)
            .collect();
        assert_eq!(answers, [DONE, DONE, Outcome::Err(Detail::BUSY)]);
        assert_eq!(call(&mut site, player, "echo").0, DONE);
    });
}

#[test]
fn calls_of_one_client_run_in_the_order_of_its_messages() {
    with_shards(|shards| {
        let mut site = Site::new(shards);
        let log = Log::default();
        let seen = log.clone();
        let plan = Plan {
            exports: clients(&["note"]),
            shard: Some(shards - 1),
            ..Plan::default()
        };
        site.load("m", plan, move |_, export| {
            if let Export::Execute(request) = export {
                seen.add(String::from_utf8_lossy(&request.input));
                assert!(
                    matches!(&request.caller, Caller::Client(client) if client.tags.is_empty())
                );
            }
            Ok(Returned::Answer(Ok(Bytes::new())))
        });
        let player = site.connect(0);
        for n in 0..100 {
            let text = n.to_string();
            if n % 3 == 0 {
                site.say(player, 0x0004, body("m", "note", text.as_bytes()));
            } else {
                site.ask(player, 0x0004, body("m", "note", text.as_bytes()));
            }
        }
        site.settle();
        let expected: Vec<_> = (0..100).map(|n| n.to_string()).collect();
        assert_eq!(log.take(), expected);
    });
}

#[test]
fn what_is_no_operation_is_unknown() {
    let mut site = Site::new(1);
    let player = site.connect(0);
    for opcode in [
        0x0000, 0x0007, 0x0008, 0x0010, 0x0042, 0x00F0, 0x0100, 0xFFFF,
    ] {
        let answer = site.request(player, opcode, Bytes::new());
        assert_eq!(answer, bad(Detail::UNKNOWN_OPCODE), "{opcode:#06x}");
    }
}

#[test]
fn a_client_that_waits_for_no_answer_fills_no_queue_alone() {
    let mut site = Site::new(2);
    let log = Log::default();
    let plan = Plan {
        exports: clients(&["echo"]),
        shard: Some(1),
        ..Plan::default()
    };
    let ran = log.clone();
    site.load("m", plan, move |context, export| {
        ran.add("ran");
        run(context, export)
    });
    let (greedy, modest) = (site.connect(0), site.connect(0));
    for _ in 0..200 {
        site.say(greedy, 4, body("m", "echo", b"x"));
    }
    let asked = site.ask(modest, 4, body("m", "echo", b"hi"));
    site.settle();
    assert_eq!(site.answer(modest, asked).unwrap().0, Outcome::Done);
    let ran = log.take().len();
    assert!(ran < 200, "{ran} calls found a place");
    // What has run is no longer counted.
    let answer = site.request(greedy, 4, body("m", "echo", b"again"));
    assert_eq!(answer.0, Outcome::Done);
}
