//! STREAM: opening with and without a handler, items, ends, and streams that the server begins.

use bytes::Bytes;
use cohnect_capabilities::clients::Clients as _;
use cohnect_capabilities::streams::Streams as _;
use cohnect_capabilities::{ClientId, Delivery, Error, Failure};
use cohnect_host::context::Context;
use cohnect_host::export::{Export, Returned, TopicClaim};
use cohnect_host::function::HostFunction;
use cohnect_protocol::ops::stream::{Event, Push, Request, SERVER_BEGUN};
use cohnect_protocol::ops::{Body as _, Detail, Name8, Outcome};
use cohnect_protocol::{Mode, Opcode, RequestContext, RequestId};

use super::execute::{body, clients};
use super::site::{Log, Plan, Site};
use super::with_shards;
use crate::Policy;
use crate::ops::Op;
use crate::shard::clients::CALLS_MAX;

const STREAM: u16 = 5;

pub(super) fn open_body(topic: &str) -> Bytes {
    Request::Open {
        topic: Name8::new(topic).unwrap(),
        arguments: b"please",
    }
    .to_bytes()
}

pub(super) fn open(site: &mut Site, player: usize, topic: &str) -> (Outcome, Bytes) {
    site.request(player, STREAM, open_body(topic))
}

fn close(site: &mut Site, player: usize, stream: u32) -> Outcome {
    let close = Request::Close { stream }.to_bytes();
    site.request(player, STREAM, close).0
}

/// What came on streams: the id, and what happened.
fn events(site: &mut Site, player: usize) -> Vec<(u32, String)> {
    let pushed = site.pushed(player, STREAM);
    site.players[player].pushed.clear();
    pushed
        .iter()
        .map(|body| {
            let Push { stream, event } = Push::decode(body).unwrap();
            let text = match event {
                Event::Item(item) => String::from_utf8_lossy(item).into_owned(),
                Event::End { outcome, text } => format!("end {:?} {text}", outcome.status()),
                Event::Begin { topic } => format!("begin {topic}"),
            };
            (stream, text)
        })
        .collect()
}

pub(super) fn texts(site: &mut Site, player: usize) -> Vec<String> {
    let events = events(site, player);
    events.into_iter().map(|(_, text)| text).collect()
}

/// A module that publishes, finishes, attaches and detaches as it is told, and answers for `scores`.
fn load(site: &mut Site, shard: u16, log: &Log) {
    let mut exports = clients(&["publish", "flood", "one", "finish", "attach", "detach"]);
    exports.streams = vec![TopicClaim {
        topic: "scores/*".into(),
        ..TopicClaim::default()
    }];
    let plan = Plan {
        exports,
        shard: Some(shard),
        ..Plan::default()
    };
    let log = log.clone();
    site.load("m", plan, move |context, export| run(context, export, &log));
}

fn run(context: &mut Context, export: &Export, log: &Log) -> cohnect_host::export::Outcome {
    match export {
        Export::Subscribe {
            topic, arguments, ..
        } => {
            assert_eq!(&arguments[..], b"please");
            Ok(Returned::Subscribed(match &**topic {
                "scores/closed" => Err(Error::Failed(Failure {
                    code: 2,
                    message: "over".into(),
                })),
                "scores/quiet" => Ok(None),
                _ => Ok(Some(Bytes::from_static(b"first"))),
            }))
        }
        Export::Unsubscribe { topic, reason, .. } => {
            log.add(format!("{topic} {reason:?}"));
            Ok(Returned::Nothing)
        }
        Export::Execute(request) => {
            let text = String::from_utf8(request.input.to_vec()).unwrap();
            let (topic, rest) = text.split_once(' ').unwrap();
            let client = || ClientId::parse(rest).unwrap();
            let reliable = Delivery::ReliableOrdered;
            let item = Bytes::from(rest.to_owned());
            match &*request.name {
                "publish" => {
                    let mut entered = context.enter(HostFunction::StreamsPublish).unwrap();
                    entered.streams_publish(topic, item, reliable).unwrap();
                }
                "flood" => {
                    for n in 0..900 {
                        let mut entered = context.enter(HostFunction::StreamsPublish).unwrap();
                        let item = format!("{rest} {n} {:1000}", "");
                        entered
                            .streams_publish(topic, item.into(), reliable)
                            .unwrap();
                    }
                }
                "one" => {
                    let mut entered = context.enter(HostFunction::StreamsPublishOne).unwrap();
                    let item = Bytes::from_static(b"for you");
                    entered
                        .streams_publish_one(topic, client(), item, reliable)
                        .unwrap();
                }
                "finish" => {
                    let mut entered = context.enter(HostFunction::StreamsFinish).unwrap();
                    entered.streams_finish(topic, rest).unwrap();
                }
                "attach" => {
                    let mut entered = context.enter(HostFunction::StreamsAttach).unwrap();
                    entered.streams_attach(topic, client()).unwrap();
                }
                _ => {
                    let mut entered = context.enter(HostFunction::StreamsDetach).unwrap();
                    entered.streams_detach(topic, client()).unwrap();
                }
            }
            Ok(Returned::Answer(Ok(Bytes::new())))
        }
        _ => Ok(Returned::Nothing),
    }
}

fn tell(site: &mut Site, action: &str, text: &str) {
    let answer = site.request(0, 4, body("m", action, text.as_bytes()));
    assert_eq!(answer.0, Outcome::Done);
}

#[test]
fn items_reach_whoever_has_the_topic_open_until_it_is_closed() {
    with_shards(|shards| {
        let mut site = Site::new(shards);
        load(&mut site, shards - 1, &Log::default());
        let (ada, bob) = (site.connect(0), site.connect(1));
        let stream = site.ask(ada, STREAM, open_body("news"));
        site.settle();
        assert_eq!(site.answer(ada, stream).unwrap().0, Outcome::Done);
        tell(&mut site, "publish", "news hello");
        assert_eq!(events(&mut site, ada), [(stream, "hello".to_owned())]);
        assert!(events(&mut site, bob).is_empty());
        assert_eq!(site.directory.subscribers("news"), 1);
        assert_eq!(close(&mut site, ada, stream), Outcome::Done);
        assert_eq!(
            close(&mut site, ada, stream),
            Outcome::Done,
            "closed already"
        );
        tell(&mut site, "publish", "news again");
        assert!(events(&mut site, ada).is_empty());
        assert_eq!(site.directory.subscribers("news"), 0);
    });
}

#[test]
fn a_handler_admits_gives_the_first_item_and_hears_of_the_end() {
    with_shards(|shards| {
        let mut site = Site::new(shards);
        let log = Log::default();
        load(&mut site, shards - 1, &log);
        let player = site.connect(0);
        let stream = site.ask(player, STREAM, open_body("scores/eu"));
        site.settle();
        assert_eq!(site.answer(player, stream).unwrap().0, Outcome::Done);
        tell(&mut site, "publish", "scores/eu 1:0");
        assert_eq!(texts(&mut site, player), ["first", "1:0"]);
        close(&mut site, player, stream);
        assert_eq!(log.take(), ["scores/eu Left"]);
        let refused = (
            Outcome::Bad(Detail::REFUSED),
            Bytes::from_static(b"\0\0\0\x02over"),
        );
        assert_eq!(open(&mut site, player, "scores/closed"), refused);
        assert_eq!(site.directory.subscribers("scores/closed"), 0);
        assert_eq!(open(&mut site, player, "scores/quiet").0, Outcome::Done);
        assert!(texts(&mut site, player).is_empty());
        site.leave(player);
        assert_eq!(log.take(), ["scores/quiet Left"]);
        assert_eq!(site.directory.subscribers("scores/quiet"), 0);
    });
}

#[test]
fn what_is_published_after_the_handler_admitted_is_never_missed() {
    with_shards(|shards| {
        let mut site = Site::new(shards);
        load(&mut site, shards - 1, &Log::default());
        let player = site.connect(0);
        let other = site.connect(shards - 1);
        // Both are under way at once: whatever the handler publishes after its answer comes behind the first item.
        site.ask(player, STREAM, open_body("scores/eu"));
        site.ask(player, 4, body("m", "publish", b"scores/eu 1:0"));
        site.ask(other, 4, body("m", "publish", b"scores/eu 2:0"));
        site.settle();
        let seen = texts(&mut site, player);
        let first = seen.iter().position(|text| text == "first").unwrap();
        let own = seen.iter().position(|text| text == "1:0").unwrap();
        assert!(first < own, "{seen:?}");
    });
}

#[test]
fn a_finished_topic_ends_for_everybody_with_its_text() {
    with_shards(|shards| {
        let mut site = Site::new(shards);
        let log = Log::default();
        load(&mut site, 0, &log);
        for shard in 0..2 {
            let player = site.connect(shard);
            open(&mut site, player, "scores/eu");
        }
        tell(&mut site, "finish", "scores/eu the match is over");
        for player in 0..2 {
            assert_eq!(
                texts(&mut site, player),
                ["first", "end Ok the match is over"]
            );
        }
        assert_eq!(log.take(), ["scores/eu Other", "scores/eu Other"]);
        assert_eq!(site.directory.subscribers("scores/eu"), 0);
    });
}

#[test]
fn the_server_begins_and_takes_back_streams_of_its_own() {
    with_shards(|shards| {
        let mut site = Site::new(shards);
        load(&mut site, 0, &Log::default());
        let (_, bob) = (site.connect(0), site.connect(1));
        let id = site.id(bob).to_string();
        for _ in 0..2 {
            tell(&mut site, "attach", &format!("team {id}"));
        }
        tell(&mut site, "one", &format!("team {id}"));
        tell(&mut site, "publish", "team all");
        tell(&mut site, "detach", &format!("team {id}"));
        tell(&mut site, "publish", "team none");
        let events = events(&mut site, bob);
        assert!(events.iter().all(|(stream, _)| *stream == SERVER_BEGUN | 1));
        let texts: Vec<_> = events.into_iter().map(|(_, text)| text).collect();
        assert_eq!(texts, ["begin team", "for you", "all", "end Ok "]);
        assert_eq!(site.directory.subscribers("team"), 0);
    });
}

#[test]
fn so_many_streams_and_no_more_and_only_by_reliable_requests() {
    let mut site = Site::new(1);
    let player = site.connect(0);
    for n in 0..64 {
        assert_eq!(open(&mut site, player, &n.to_string()).0, Outcome::Done);
    }
    let (outcome, _) = open(&mut site, player, "more");
    assert_eq!(outcome, Outcome::Err(Detail::BUSY));
    let malformed = Outcome::Bad(Detail::MALFORMED_BODY);
    let unreliable = site.ask_by(player, STREAM, open_body("x"), Mode::Unreliable);
    site.settle();
    assert_eq!(site.answer(player, unreliable).unwrap().0, malformed);
    let (outcome, _) = site.request(player, STREAM, Bytes::from_static(b"\x01\0\0"));
    assert_eq!(outcome, malformed);
    site.say(player, STREAM, open_body("x"));
    site.settle();
    assert_eq!(site.directory.subscribers("x"), 0);
    assert_eq!(site.players[player].closed, None);
}

/// What a client sends that chooses its request ids to confuse.
fn send_under(site: &mut Site, player: usize, id: u32, body: Bytes) {
    let shard = &mut site.shards[0];
    let client = shard.clients.by_id(site.players[player].id).unwrap();
    let mode = Mode::ReliableOrdered;
    let request = RequestContext {
        id: RequestId(id),
        opcode: Opcode::STREAM,
        version: 0,
        channel: 0,
        mode,
    };
    shard.handle_operation(Op {
        client,
        opcode: Opcode::STREAM,
        version: 0,
        channel: 0,
        mode,
        request: Some(request),
        received_at: 0,
        body,
    });
}

#[test]
fn the_answer_about_one_topic_never_decides_about_another() {
    let close_body = |stream| Request::Close { stream }.to_bytes();
    let attacks: [&[Bytes]; 3] = [
        &[
            open_body("scores/eu"),
            open_body("scores/closed"),
            open_body("scores/eu"),
        ],
        &[open_body("scores/closed"), open_body("scores/eu")],
        // Closed while its handler is asked, and opened again under the same id: two answers are on their way, and the first is not the second's.
        &[
            open_body("scores/eu"),
            close_body(77),
            open_body("scores/closed"),
        ],
    ];
    for (n, attack) in attacks.into_iter().enumerate() {
        for settle in [false, true] {
            let mut site = Site::new(1);
            load(&mut site, 0, &Log::default());
            let player = site.connect(0);
            for body in attack {
                send_under(&mut site, player, 77, body.clone());
                if settle {
                    site.settle();
                }
            }
            site.settle();
            assert_eq!(
                open(&mut site, player, "scores/closed").1.len(),
                8,
                "refused"
            );
            tell(&mut site, "publish", "scores/closed secret");
            assert_eq!(
                site.directory.subscribers("scores/closed"),
                0,
                "{n} {settle}"
            );
            let shard = &mut site.shards[0];
            let client = shard.clients.by_id(site.players[player].id).unwrap();
            let streams = shard.streams(client).unwrap();
            assert!(
                streams
                    .iter()
                    .all(|stream| &*stream.topic != "scores/closed"),
                "{n}"
            );
        }
    }
    let mut site = Site::new(1);
    let player = site.connect(0);
    send_under(&mut site, player, SERVER_BEGUN | 1, open_body("news"));
    assert_eq!(site.directory.subscribers("news"), 0);
}

#[test]
fn serve_opens_only_what_a_module_answers_for() {
    let mut site = Site::with_policy(1, Policy::Serve);
    load(&mut site, 0, &Log::default());
    let player = site.connect(0);
    let denied = Outcome::Bad(Detail::NOT_ALLOWED);
    assert_eq!(open(&mut site, player, "news").0, denied);
    assert_eq!(open(&mut site, player, "scores/eu").0, Outcome::Done);
}

#[test]
fn streams_that_are_opened_and_closed_again_fill_no_handler() {
    let mut site = Site::new(1);
    let mut exports = clients(&[]);
    exports.streams = vec![TopicClaim {
        topic: "scores/*".into(),
        ..TopicClaim::default()
    }];
    site.load_on_worker("m", exports);
    let player = site.connect(0);
    for id in 0..2 * CALLS_MAX {
        send_under(&mut site, player, id, open_body("scores/eu"));
        send_under(
            &mut site,
            player,
            SERVER_BEGUN - 1,
            Request::Close { stream: id }.to_bytes(),
        );
    }
    site.settle();
    assert_eq!(site.worker_mail.len(), CALLS_MAX as usize);
    site.worker_mail.clear();
    send_under(&mut site, player, 0, open_body("scores/eu"));
    site.settle();
    assert_eq!(site.worker_mail.len(), 1, "what has ended counts no more");
}

#[test]
fn a_stream_whose_item_finds_no_room_ends_and_says_so() {
    with_shards(|shards| {
        let mut site = Site::new(shards);
        let log = Log::default();
        load(&mut site, shards - 1, &log);
        let (ada, bob) = (site.connect(0), site.connect(1));
        let stream = site.ask(ada, STREAM, open_body("scores/quiet"));
        site.settle();
        // Both at once: 1.9 MB for one client, whom nothing reaches meanwhile.
        site.players[ada].silent = true;
        for round in ["a", "b"] {
            site.ask(
                bob,
                4,
                body("m", "flood", format!("scores/quiet {round}").as_bytes()),
            );
        }
        site.settle();
        let id = site.id(ada);
        for _ in 0..3 {
            site.round();
            assert_eq!(
                site.directory.admits(id),
                Err(Error::Busy),
                "as long as it is full"
            );
        }
        site.players[ada].silent = false;
        site.advance(2_000);
        site.settle();
        assert_eq!(site.directory.admits(id), Ok(()), "until there is room");
        let seen = events(&mut site, ada);
        let (last, items) = seen.split_last().unwrap();
        assert_eq!((last.0, last.1.as_str()), (stream, "end Err "));
        // What came before the end is complete.
        let expected = (0..900).map(|n| ("a", n)).chain((0..900).map(|n| ("b", n)));
        for ((_, text), (round, n)) in items.iter().zip(expected) {
            assert!(text.starts_with(&format!("{round} {n} ")), "{round} {n}");
        }
        assert!((900..1_800).contains(&items.len()), "{}", items.len());
        assert_eq!(log.take(), ["scores/quiet Other"]);
        assert_eq!(site.directory.subscribers("scores/quiet"), 0);
        // It is opened again and goes on.
        assert_eq!(open(&mut site, ada, "scores/quiet").0, Outcome::Done);
        tell(&mut site, "publish", "scores/quiet again");
        assert_eq!(texts(&mut site, ada), ["again"]);
    });
}
