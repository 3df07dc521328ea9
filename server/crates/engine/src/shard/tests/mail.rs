//! Mail between modules, and what workers leave.

use bytes::Bytes;
use cohnect_capabilities::clients::SendOptions;
use cohnect_capabilities::mailbox::Place;
use cohnect_capabilities::{Caller, Delivery, Effect, Error, Failure};
use cohnect_host::context::Context;
use cohnect_host::export::{Export, Returned, TopicClaim};
use cohnect_host::function::HostFunction;
use cohnect_host::mail::{Answered, Call, Mail, Relay};
use cohnect_protocol::ops::{Detail, Outcome};

use super::execute::{body, clients};
use super::site::{Log, Plan, Site};
use super::stream::{open_body, texts};
use super::with_shards;

fn request(context: &mut Context, to: &str, tag: &str) {
    let (module, action) = to.split_once('/').unwrap();
    let mut entered = context.enter(HostFunction::MailboxRequest).unwrap();
    let input = Bytes::from_static(b"input");
    let asked = entered.mailbox_request(module, action, input, tag.into(), 2_000_000);
    asked.unwrap();
}

/// One module that asks and hears, on the first shard, and one that answers, on the last.
fn site(shards: u16, log: &Log) -> Site {
    let mut site = Site::new(shards);
    let plan = Plan {
        exports: clients(&["ask"]),
        shard: Some(0),
        ..Plan::default()
    };
    let heard = log.clone();
    site.load("asker", plan, move |context, export| match export {
        Export::Execute(call) => {
            let to = String::from_utf8(call.input.to_vec()).unwrap();
            request(context, &to, &to);
            Ok(Returned::Answer(Ok(Bytes::new())))
        }
        Export::Reply { tag, answer } => {
            let text = match answer {
                Ok(body) => String::from_utf8_lossy(body).into_owned(),
                Err(error) => error.to_string(),
            };
            heard.add(format!("{tag}: {text}"));
            Ok(Returned::Nothing)
        }
        _ => Ok(Returned::Nothing),
    });
    let plan = Plan {
        exports: clients(&["yes", "no"]),
        shard: Some(shards - 1),
        ..Plan::default()
    };
    site.load("answerer", plan, |_, export| {
        let Export::Execute(call) = export else {
            return Ok(Returned::Nothing);
        };
        assert_eq!(call.caller, Caller::Module("asker".into()));
        let answer = match &*call.name {
            "yes" => Ok(call.input.clone()),
            _ => Err(Error::Failed(Failure {
                code: 4,
                message: "never".into(),
            })),
        };
        Ok(Returned::Answer(answer))
    });
    site
}

#[test]
fn a_request_comes_back_with_its_tag_and_its_outcome() {
    with_shards(|shards| {
        let log = Log::default();
        let mut site = site(shards, &log);
        let player = site.connect(0);
        for to in ["answerer/yes", "answerer/no"] {
            let answer = site.request(player, 4, body("asker", "ask", to.as_bytes()));
            assert_eq!(answer.0, Outcome::Done);
        }
        let heard = [
            "answerer/yes: input",
            "answerer/no: refused with code 4: never",
        ];
        assert_eq!(log.take(), heard);
        site.advance(10_000);
        assert!(log.take().is_empty(), "an answer comes once");
    });
}

#[test]
fn a_request_without_an_answer_times_out_once() {
    with_shards(|shards| {
        let log = Log::default();
        let mut site = site(shards, &log);
        site.load_on_worker("slow", clients(&["x"]));
        let player = site.connect(0);
        site.request(player, 4, body("asker", "ask", b"slow/x"));
        assert_eq!(site.worker_mail.len(), 1);
        site.advance(1_900);
        assert!(log.take().is_empty());
        site.advance(200);
        assert_eq!(log.take(), ["slow/x: timeout"]);
    });
}

#[test]
fn what_a_worker_leaves_is_carried_out_by_a_shard() {
    with_shards(|shards| {
        let mut site = Site::new(shards);
        let players = [site.connect(0), site.connect(1)];
        let effects = players
            .iter()
            .map(|player| Effect::Send {
                to: site.id(*player),
                opcode: 0x0200,
                payload: Bytes::from_static(b"saved"),
                options: SendOptions::default(),
            })
            .collect();
        let worker = site.post.layout().worker(0);
        let shard = site.post.layout().shard(0);
        let letter = Mail::Effects("slow".into(), effects);
        site.post.deliver(worker, shard, &mut vec![letter]);
        site.settle();
        for player in players {
            assert_eq!(site.pushed(player, 0x0200), [Bytes::from_static(b"saved")]);
        }
    });
}

#[test]
fn mail_goes_to_the_copy_in_which_it_has_its_place() {
    let log = Log::default();
    let mut site = Site::new(2);
    let plan = Plan {
        exports: clients(&["note"]),
        shard: None,
        queue_max: 1,
        ..Plan::default()
    };
    let noted = log.clone();
    site.load("notes", plan, move |context, export| {
        if let Export::Execute(_) = export {
            noted.add(format!("copy {}", context.identity().copy));
        }
        Ok(Returned::Answer(Ok(Bytes::new())))
    });
    let plan = Plan {
        exports: clients(&["note"]),
        shard: Some(1),
        ..Plan::default()
    };
    site.load("writer", plan, |context, export| {
        let Export::Execute(_) = export else {
            return Ok(Returned::Nothing);
        };
        let mut entered = context.enter(HostFunction::MailboxSend).unwrap();
        let sent = entered.mailbox_send("notes", "note", Bytes::new());
        Ok(Returned::Answer(sent.map(|()| Bytes::new())))
    });
    let player = site.connect(0);
    let write = body("writer", "note", b"");
    assert_eq!(site.request(player, 4, write.clone()).0, Outcome::Done);
    assert_eq!(log.take(), ["copy 1"]);
    let full = Place::take(&site.copy("notes", 1).taken, 1);
    assert!(full.is_some(), "the place was given back");
    let refused = site.request(player, 4, write.clone());
    assert_eq!(refused.0, Outcome::Err(Detail::BUSY));
    drop(full);
    let _other = Place::take(&site.copy("notes", 0).taken, 1);
    assert_eq!(site.request(player, 4, write).0, Outcome::Done);
    assert_eq!(log.take(), ["copy 1"]);
}

/// A module on the worker, and a client of the shard that does not carry out what the module leaves.
fn on_worker(name: &str) -> (Site, usize) {
    let mut site = Site::new(2);
    let mut exports = clients(&["x"]);
    exports.streams = vec![TopicClaim {
        topic: "scores/*".into(),
        ..TopicClaim::default()
    }];
    site.load_on_worker(name, exports);
    let carrier = site.post.layout().shard_of_effects(name);
    let player = site.connect(1 - carrier.0);
    (site, player)
}

/// The call that waits on the worker.
fn taken(site: &mut Site) -> Call {
    match site.worker_mail.pop() {
        Some((_, Mail::Call(call))) => call,
        other => panic!("{other:?}"),
    }
}

/// What the worker sends when a call has ended: its answer, then what it left.
fn ended(site: &Site, module: &str, call: Call, returned: Returned, effects: Vec<Effect>) {
    let relay = Relay {
        subscriber: call.export.subscriber(),
        answer: call.answer,
        answered: Answered {
            outcome: Ok(Ok(returned)),
            generation: 1,
        },
    };
    let layout = site.post.layout();
    let mut mail = vec![Mail::Relay(relay), Mail::Effects(module.into(), effects)];
    let carrier = layout.shard_of_effects(module);
    site.post.deliver(layout.worker(0), carrier, &mut mail);
}

#[test]
fn whom_a_handler_on_a_worker_admits_misses_nothing_that_it_publishes_next() {
    for name in ["slow", "slower", "slowest", "late"] {
        let (mut site, player) = on_worker(name);
        site.ask(player, 5, open_body("scores/eu"));
        site.settle();
        let call = taken(&mut site);
        let publish = |item: &'static str| Effect::Publish {
            topic: "scores/eu".into(),
            payload: Bytes::from_static(item.as_bytes()),
            delivery: Delivery::ReliableOrdered,
        };
        let first = Returned::Subscribed(Ok(Some(Bytes::from_static(b"first"))));
        ended(&site, name, call, first, vec![publish("second")]);
        site.settle();
        assert_eq!(texts(&mut site, player), ["first", "second"], "{name}");
    }
}

#[test]
fn the_answer_of_a_call_on_a_worker_does_not_overtake_what_an_earlier_one_sent() {
    for name in ["slow", "slower", "slowest", "late"] {
        let (mut site, player) = on_worker(name);
        let asked: Vec<_> = (0..2)
            .map(|_| {
                let asked = site.ask(player, 4, body(name, "x", b""));
                site.settle();
                (asked, taken(&mut site))
            })
            .collect();
        let [(_, first), (second, then)] = <[_; 2]>::try_from(asked).unwrap();
        let sent = Effect::Send {
            to: site.id(player),
            opcode: 0x0200,
            payload: Bytes::from_static(b"sent"),
            options: SendOptions::default(),
        };
        let done = || Returned::Answer(Ok(Bytes::new()));
        ended(&site, name, first, done(), vec![sent]);
        ended(&site, name, then, done(), Vec::new());
        let answered = (0..10).any(|_| {
            site.round();
            site.answer(player, second).is_some()
        });
        assert!(answered);
        assert_eq!(site.pushed(player, 0x0200).len(), 1, "{name}");
    }
}
