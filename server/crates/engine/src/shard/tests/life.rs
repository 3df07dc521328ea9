//! Clients come and go: admission, events, supersede, and goodbyes.

use bytes::Bytes;
use cohnect_capabilities::clients::Clients as _;
use cohnect_capabilities::mailbox::Place;
use cohnect_capabilities::{CloseReason, Error, Failure};
use cohnect_host::export::{Admission, ClientEvents, Export, Exports, Returned};
use cohnect_host::function::HostFunction;
use cohnect_host::limits::TOLD_MAX;
use cohnect_host::mail::{Answered, Mail};
use cohnect_protocol::CloseCode;
use cohnect_protocol::ops::Outcome;

use super::execute::{body, clients};
use super::site::{Log, Plan, Site};
use super::with_shards;

const ALL: ClientEvents = ClientEvents {
    connecting: false,
    connected: true,
    disconnected: true,
    alive: true,
    away: true,
    back: true,
};

fn events(connecting: bool) -> Exports {
    Exports {
        client_events: ClientEvents { connecting, ..ALL },
        ..clients(&["kick", "echo"])
    }
}

/// A module that writes down what it hears, lets in whoever it is told to, and sends away whoever asks for it.
fn load(site: &mut Site, shard: u16, connecting: bool, log: &Log) {
    let plan = Plan {
        exports: events(connecting),
        shard: Some(shard),
        ..Plan::default()
    };
    let log = log.clone();
    site.load("m", plan, move |context, export| {
        match export {
            Export::Connecting(newcomer) => {
                assert!(
                    newcomer.address.starts_with("10.0.0."),
                    "{}",
                    newcomer.address
                );
                return Ok(Returned::Admission(Ok(Admission {
                    user: None,
                    tags: vec!["new".into()],
                })));
            }
            Export::Connected(client) => log.add(format!("connected {}", client.tags.join(","))),
            Export::Disconnected(client, reason) => {
                log.add(format!("disconnected {} {reason:?}", client.tags.join(",")));
            }
            Export::Alive(..) => log.add("alive"),
            Export::Away(_) => log.add("away"),
            Export::Back(_) => log.add("back"),
            Export::Execute(request) => {
                if let ("kick", cohnect_capabilities::Caller::Client(client)) =
                    (&*request.name, &request.caller)
                {
                    let reason = CloseReason::Banned;
                    let entered = context.enter(HostFunction::ClientsDisconnect);
                    entered
                        .unwrap()
                        .clients_disconnect(client.id, reason, "cheating")
                        .unwrap();
                }
                return Ok(Returned::Answer(Ok(request.input.clone())));
            }
            _ => {}
        }
        Ok(Returned::Nothing)
    });
}

#[test]
fn modules_hear_of_each_client_once_when_it_comes_and_once_when_it_goes() {
    with_shards(|shards| {
        let mut site = Site::new(shards);
        let log = Log::default();
        load(&mut site, shards - 1, false, &log);
        let player = site.connect(0);
        assert_eq!(log.take(), ["connected ", "alive"]);
        assert_eq!(site.directory.len(), 1);
        site.request(player, 3, Bytes::from_static(b"\x01\x01\x03lfg"));
        site.leave(player);
        assert_eq!(log.take(), ["disconnected ~lfg Left"]);
        assert!(site.directory.is_empty());
        site.advance(5_000);
        assert!(log.take().is_empty());
    });
}

#[test]
fn a_newcomer_starts_with_the_tags_that_modules_give_and_with_what_it_sent_meanwhile() {
    with_shards(|shards| {
        let mut site = Site::new(shards);
        let log = Log::default();
        load(&mut site, shards - 1, true, &log);
        let player = site.connect(0);
        assert_eq!(log.take(), ["connected new", "alive"]);
        let id = site.id(player);
        assert_eq!(site.directory.info(id).unwrap().tags, ["new"]);
        let answer = site.request(player, 4, body("m", "echo", b"x"));
        assert_eq!(answer, (Outcome::Done, Bytes::from_static(b"x")));
    });
}

/// A worker's module that is asked whether clients may come in, and answered for by the test.
fn knock(site: &mut Site, log: &Log) -> usize {
    load(site, 0, false, log);
    let exports = Exports {
        client_events: ClientEvents {
            connecting: true,
            ..ClientEvents::default()
        },
        ..Exports::default()
    };
    site.load_on_worker("identity", exports);
    let player = site.knock(0);
    assert!(site.directory.is_empty(), "nobody knows of it yet");
    player
}

fn answer(site: &mut Site, admission: cohnect_capabilities::Result<Admission>) {
    let (home, letter) = site.worker_mail.remove(0);
    let Mail::Call(call) = letter else {
        panic!("{letter:?}")
    };
    assert!(matches!(call.export, Export::Connecting(_)));
    let cohnect_host::mail::Answer::Home(to, ticket) = call.answer else {
        panic!("somebody waits")
    };
    assert_eq!(home, to);
    let answered = Answered {
        outcome: Ok(Ok(Returned::Admission(admission))),
        generation: 1,
    };
    let worker = site.post.layout().worker(0);
    let reply = Mail::Reply(ticket, answered);
    site.post.deliver(worker, to, &mut vec![reply]);
    site.settle();
}

#[test]
fn what_a_client_sends_before_it_is_let_in_waits_and_keeps_its_order() {
    with_shards(|shards| {
        let mut site = Site::new(shards);
        let log = Log::default();
        let player = knock(&mut site, &log);
        let asked: Vec<_> = (0..3)
            .map(|n| site.ask(player, 4, body("m", "echo", &[n])))
            .collect();
        site.settle();
        assert!(site.answer(player, asked[0]).is_none());
        answer(&mut site, Ok(Admission::default()));
        assert_eq!(log.take(), ["connected ", "alive"]);
        for (n, request) in asked.into_iter().enumerate() {
            let (outcome, body) = site.answer(player, request).unwrap();
            assert_eq!((outcome, &body[..]), (Outcome::Done, &[n as u8][..]));
        }
    });
}

#[test]
fn a_refused_client_reads_the_modules_text_and_nobody_hears_of_it() {
    with_shards(|shards| {
        let mut site = Site::new(shards);
        let log = Log::default();
        let player = knock(&mut site, &log);
        let refusal = Failure {
            code: 1,
            message: "not on the list".into(),
        };
        answer(&mut site, Err(Error::Failed(refusal)));
        let closed = (CloseCode::REFUSED, "not on the list".to_owned());
        assert_eq!(site.players[player].closed, Some(closed));
        site.advance(5_000);
        assert!(log.take().is_empty());
        assert!(site.directory.is_empty());
    });
}

#[test]
fn nobody_waits_longer_than_three_seconds_to_be_let_in() {
    let mut site = Site::new(1);
    let log = Log::default();
    let player = knock(&mut site, &log);
    site.advance(2_900);
    assert_eq!(site.players[player].closed, None);
    site.advance(200);
    let closed = (CloseCode::REFUSED, String::new());
    assert_eq!(site.players[player].closed, Some(closed));
    answer(&mut site, Ok(Admission::default()));
    assert!(site.directory.is_empty(), "a late yes lets nobody in");
    assert!(log.take().is_empty());
}

#[test]
fn a_newer_session_replaces_the_older_one() {
    with_shards(|shards| {
        let mut site = Site::new(shards);
        let log = Log::default();
        load(&mut site, 0, false, &log);
        let keys = site.keys(0);
        let first = site.knock_as(keys.clone());
        log.take();
        // A HELLO of the same moment would be an older one's double.
        site.advance(10);
        let second = site.knock_as(keys);
        assert_eq!(
            site.players[first].closed.as_ref().unwrap().0,
            CloseCode::SUPERSEDED
        );
        assert_eq!(
            log.take(),
            ["disconnected  Replaced", "connected ", "alive"]
        );
        assert_eq!(site.directory.len(), 1);
        let answer = site.request(second, 4, body("m", "echo", b"x"));
        assert_eq!(answer.0, Outcome::Done);
    });
}

#[test]
fn a_client_that_is_sent_away_gets_its_answer_first_and_modules_hear_the_reason() {
    with_shards(|shards| {
        let mut site = Site::new(shards);
        let log = Log::default();
        load(&mut site, shards - 1, false, &log);
        let player = site.connect(0);
        log.take();
        let asked = site.ask(player, 4, body("m", "kick", b"bye"));
        site.settle();
        let (outcome, body) = site.answer(player, asked).unwrap();
        assert_eq!((outcome, &body[..]), (Outcome::Done, &b"bye"[..]));
        assert_eq!(log.take(), ["disconnected  Banned"], "at once");
        assert!(site.directory.is_empty());
        site.advance(1_500);
        let closed = (CloseCode::KICKED, "cheating".to_owned());
        assert_eq!(site.players[player].closed, Some(closed));
        assert!(log.take().is_empty(), "and once");
    });
}

#[test]
fn the_end_of_the_server_reaches_clients_and_modules() {
    with_shards(|shards| {
        let mut site = Site::new(shards);
        let log = Log::default();
        load(&mut site, 0, false, &log);
        for shard in 0..2 {
            site.connect(shard);
        }
        log.take();
        let now = site.now;
        for shard in &mut site.shards {
            shard.shut_down(now);
        }
        site.advance(1_500);
        for player in &site.players {
            assert_eq!(player.closed.as_ref().unwrap().0, CloseCode::SHUTTING_DOWN);
        }
        assert_eq!(
            log.take(),
            ["disconnected  ShuttingDown", "disconnected  ShuttingDown"]
        );
        assert!(site.shards.iter().all(|shard| shard.sessions() == 0));
    });
}

#[test]
fn a_client_without_network_is_away_comes_back_or_is_timed_out() {
    with_shards(|shards| {
        let mut site = Site::new(shards);
        let log = Log::default();
        load(&mut site, shards - 1, false, &log);
        let player = site.connect(0);
        log.take();
        site.advance(20_000);
        assert!(log.take().is_empty(), "it says that it is there");
        site.players[player].silent = true;
        site.advance(16_000);
        assert_eq!(log.take(), ["away"]);
        site.players[player].silent = false;
        site.advance(6_000);
        assert_eq!(log.take(), ["back"]);
        let answer = site.request(player, 4, body("m", "echo", b"x"));
        assert_eq!(answer.0, Outcome::Done);
        site.players[player].silent = true;
        site.advance(90_000);
        assert_eq!(log.take(), ["away", "disconnected  TimedOut"]);
        assert!(site.directory.is_empty());
    });
}

#[test]
fn a_module_that_is_too_far_behind_is_told_no_more_until_it_has_caught_up() {
    with_shards(|shards| {
        let mut site = Site::new(shards);
        let log = Log::default();
        load(&mut site, shards - 1, false, &log);
        let (first, second) = (site.connect(0), site.connect(0));
        log.take();
        let told = site.copy("m", 0).told;
        let waiting: Vec<_> = (0..TOLD_MAX)
            .map(|_| Place::take(&told, TOLD_MAX).unwrap())
            .collect();
        site.leave(first);
        assert!(log.take().is_empty());
        assert_eq!(site.shards[0].counters().untold, 1);
        assert_eq!(
            site.request(second, 4, body("m", "echo", b"x")).0,
            Outcome::Done,
            "calls have places of their own"
        );
        drop(waiting);
        site.leave(second);
        assert_eq!(log.take(), ["disconnected  Left"]);
    });
}
