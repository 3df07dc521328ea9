//! BROADCAST: audiences, stages and their verdicts, and the one order of a topic with a single stage.

use bytes::Bytes;
use cohnect_capabilities::{Audience, Error, Failure};
use cohnect_host::catalog::OnFailure;
use cohnect_host::export::{Ending, Export, Exports, Fault, MessageVerdict, Returned, TopicClaim};
use cohnect_host::mail::{FANOUT_BYTES_MAX, HomeId};
use cohnect_protocol::ops::broadcast::{self, ExpressionText};
use cohnect_protocol::ops::{Body as _, Detail, Name8, Outcome};
use cohnect_protocol::{Mode, Opcode};

use super::site::{Plan, Site};
use super::stream::open;
use super::with_shards;
use crate::Policy;
use crate::ops::Op;
use crate::shard::clients::CALLS_MAX;

const BROADCAST: u16 = 6;

fn body(topic: &str, audience: broadcast::Audience<'_>, not_me: bool, payload: &[u8]) -> Bytes {
    broadcast::Request {
        topic: Name8::new(topic).unwrap(),
        audience,
        not_me,
        payload,
    }
    .to_bytes()
}

fn to_topic(payload: &str) -> Bytes {
    body(
        "chat/eu",
        broadcast::Audience::Subscribers,
        false,
        payload.as_bytes(),
    )
}

fn count(answer: &(Outcome, Bytes)) -> u32 {
    assert_eq!(answer.0, Outcome::Done);
    broadcast::Response::decode(&answer.1).unwrap().recipients
}

/// The payloads that a client got, with whether the sender is this one.
fn got(site: &mut Site, player: usize) -> Vec<String> {
    let got = site.pushed(player, BROADCAST);
    site.players[player].pushed.clear();
    got.iter()
        .map(|body| {
            let push = broadcast::Push::decode(body).unwrap();
            assert_eq!(push.topic.as_str(), "chat/eu");
            String::from_utf8(push.payload.to_vec()).unwrap()
        })
        .collect()
}

/// Four clients, the first two on the topic; the odd ones on the second shard.
fn four(site: &mut Site) {
    for n in 0..4 {
        let player = site.connect(n % 2);
        if n < 2 {
            assert_eq!(open(site, player, "chat/eu").0, Outcome::Done);
        }
    }
}

#[test]
fn every_audience_is_met_and_counted() {
    with_shards(|shards| {
        let mut site = Site::new(shards);
        four(&mut site);
        let id = site.id(3);
        cohnect_capabilities::tags::Tags::add(&*site.directory, id, "red").unwrap();
        let red = broadcast::Audience::Tagged(ExpressionText::new("red & !blue").unwrap());
        for (audience, not_me, recipients) in [
            (broadcast::Audience::Subscribers, false, vec![0, 1]),
            (broadcast::Audience::Subscribers, true, vec![1]),
            (broadcast::Audience::Everyone, false, vec![0, 1, 2, 3]),
            (broadcast::Audience::Everyone, true, vec![1, 2, 3]),
            (red, false, vec![3]),
        ] {
            let answer = site.request(0, BROADCAST, body("chat/eu", audience, not_me, b"hi"));
            assert_eq!(count(&answer) as usize, recipients.len());
            for player in 0..4 {
                let expected = if recipients.contains(&player) { 1 } else { 0 };
                assert_eq!(
                    got(&mut site, player).len(),
                    expected,
                    "{audience:?} {player}"
                );
            }
        }
        let bad = broadcast::Audience::Tagged(ExpressionText::new("a b").unwrap());
        let answer = site.request(0, BROADCAST, body("chat/eu", bad, false, b""));
        assert_eq!(answer.0, Outcome::Bad(Detail::MALFORMED_BODY));
    });
}

#[test]
fn it_travels_as_it_was_sent_with_its_sender() {
    let mut site = Site::new(2);
    four(&mut site);
    site.say(2, BROADCAST, to_topic("hi"));
    site.settle();
    let pushed = site.players[1].pushed[0].clone();
    assert_eq!((pushed.channel, pushed.mode), (3, Mode::ReliableOrdered));
    let push = broadcast::Push::decode(&pushed.body).unwrap();
    assert_eq!(push.sender.unwrap().as_bytes(), &site.id(2).to_bytes());
    assert!(site.players[3].pushed.is_empty());
}

fn stage(site: &mut Site, shard: Option<u16>) {
    stage_of(site, shard, "", OnFailure::Reject);
}

fn stage_of(site: &mut Site, shard: Option<u16>, requires: &str, on_failure: OnFailure) {
    let exports = Exports {
        broadcasts: vec![TopicClaim {
            topic: "chat/*".into(),
            requires: requires.into(),
            ..TopicClaim::default()
        }],
        ..Exports::default()
    };
    let plan = Plan {
        exports,
        shard,
        on_failure,
        ..Plan::default()
    };
    site.load("filter", plan, |_, export| {
        let Export::Broadcast(message) = export else {
            return Ok(Returned::Nothing);
        };
        Ok(Returned::Ruling(match &message.payload[..] {
            b"drop" => MessageVerdict::Drop,
            b"trap" => return Err(Fault::Ended(Ending::Trap, String::new())),
            b"replace" => MessageVerdict::Replace(Bytes::from_static(b"***")),
            b"large" => MessageVerdict::Replace(Bytes::from(vec![b'x'; 1_080])),
            b"ban" => {
                let alone = Audience::Client(message.sender.id);
                MessageVerdict::Redirect(alone, Bytes::from_static(b"alone"))
            }
            b"reject" => MessageVerdict::Reject(Error::Failed(Failure {
                code: 9,
                message: "rude".into(),
            })),
            b"deny" => MessageVerdict::Reject(Error::Denied),
            _ => MessageVerdict::Pass,
        }))
    });
}

#[test]
fn stages_rule_on_every_shard_alike() {
    with_shards(|shards| {
        for shard in [None, Some(0), Some(1)] {
            let mut site = Site::new(shards);
            stage(&mut site, shard);
            four(&mut site);
            for (text, recipients, seen) in [
                ("hello", 2, ["hello", "hello"]),
                ("replace", 2, ["***", "***"]),
                ("drop", 0, ["", ""]),
                ("ban", 1, ["alone", ""]),
            ] {
                let answer = site.request(0, BROADCAST, to_topic(text));
                assert_eq!(count(&answer), recipients, "{text}");
                for (player, seen) in seen.into_iter().enumerate() {
                    assert_eq!(got(&mut site, player).concat(), seen, "{text}");
                }
            }
            let refused = (
                Outcome::Bad(Detail::REFUSED),
                Bytes::from_static(b"\0\0\0\x09rude"),
            );
            assert_eq!(site.request(0, BROADCAST, to_topic("reject")), refused);
            let denied = (Outcome::Bad(Detail::NOT_ALLOWED), Bytes::new());
            assert_eq!(site.request(0, BROADCAST, to_topic("deny")), denied);
            let large = site.request(0, BROADCAST, to_topic("large"));
            assert_eq!(large.0, Outcome::Bad(Detail::TOO_LARGE));
            let failed = site.request(0, BROADCAST, to_topic("trap"));
            assert_eq!(failed.0, Outcome::Err(Detail::MODULE_FAILED));
            assert_eq!(count(&site.request(0, BROADCAST, to_topic("hello"))), 2);
        }
    });
}

#[test]
fn who_is_redirected_to_hears_himself_though_he_said_not_me() {
    let mut site = Site::new(1);
    stage(&mut site, None);
    four(&mut site);
    let message = body("chat/eu", broadcast::Audience::Subscribers, true, b"ban");
    assert_eq!(count(&site.request(0, BROADCAST, message)), 1);
    assert_eq!(got(&mut site, 0), ["alone"]);
}

#[test]
fn a_topic_with_a_single_stage_has_one_order_for_everybody() {
    let mut site = Site::new(2);
    stage(&mut site, Some(1));
    four(&mut site);
    for n in 0..40 {
        site.say(0, BROADCAST, to_topic(&format!("a{n}")));
        site.say(1, BROADCAST, to_topic(&format!("b{n}")));
        if n % 5 == 0 {
            site.round();
        }
    }
    site.settle();
    let (first, second) = (got(&mut site, 0), got(&mut site, 1));
    assert_eq!(first.len(), 80);
    assert_eq!(first, second);
    for sender in ["a", "b"] {
        let own: Vec<_> = first
            .iter()
            .filter(|text| text.starts_with(sender))
            .collect();
        let expected: Vec<_> = (0..40).map(|n| format!("{sender}{n}")).collect();
        assert!(
            own.into_iter().eq(&expected),
            "each sender's keep their order"
        );
    }
}

#[test]
fn serve_lets_clients_speak_to_the_subscribers_of_a_topic_with_a_stage() {
    let mut site = Site::with_policy(1, Policy::Serve);
    stage(&mut site, None);
    let player = site.connect(0);
    assert_eq!(count(&site.request(player, BROADCAST, to_topic("hi"))), 0);
    let denied = Outcome::Bad(Detail::NOT_ALLOWED);
    let everyone = body("chat/eu", broadcast::Audience::Everyone, false, b"");
    assert_eq!(site.request(player, BROADCAST, everyone).0, denied);
    let unclaimed = body("news", broadcast::Audience::Subscribers, false, b"");
    assert_eq!(site.request(player, BROADCAST, unclaimed).0, denied);
}

#[test]
fn one_that_finds_no_room_on_its_way_to_a_stage_is_busy() {
    let mut site = Site::new(2);
    stage(&mut site, Some(1));
    let player = site.connect(0);
    let post = std::sync::Arc::clone(&site.post);
    assert!(post.admit_fanout(HomeId(0), HomeId(1), FANOUT_BYTES_MAX));
    let answer = site.request(player, BROADCAST, to_topic("x"));
    assert_eq!(answer.0, Outcome::Err(Detail::BUSY));
    let message = to_topic("x");
    site.say(player, BROADCAST, message);
    site.settle();
    assert_eq!(site.shards[0].counters().dropped, 1, "nobody waits for it");
}

#[test]
fn who_lacks_the_tag_of_a_stage_does_not_pass_it_because_the_way_is_full() {
    let mut site = Site::new(2);
    stage_of(&mut site, Some(1), "speaker", OnFailure::Pass);
    four(&mut site);
    let post = std::sync::Arc::clone(&site.post);
    assert!(post.admit_fanout(HomeId(0), HomeId(1), FANOUT_BYTES_MAX));
    let answer = site.request(0, BROADCAST, to_topic("x"));
    assert_eq!(answer.0, Outcome::Bad(Detail::NOT_ALLOWED));
    assert!(got(&mut site, 0).is_empty());
    let id = site.id(0);
    cohnect_capabilities::tags::Tags::add(&*site.directory, id, "speaker").unwrap();
    site.say(0, BROADCAST, to_topic("y"));
    site.settle();
    assert_eq!(got(&mut site, 0), ["y"], "the stage is passed over");
}

#[test]
fn one_that_passes_a_full_stage_over_is_not_counted_as_dropped() {
    let mut site = Site::new(2);
    stage_of(&mut site, Some(1), "", OnFailure::Pass);
    let player = site.connect(0);
    let post = std::sync::Arc::clone(&site.post);
    // Room is taken for the walk alone: nobody on the other shard is to get the message.
    assert!(post.admit_fanout(HomeId(0), HomeId(1), FANOUT_BYTES_MAX));
    site.say(player, BROADCAST, to_topic("x"));
    site.settle();
    assert_eq!(site.shards[0].counters().dropped, 0);
}

#[test]
fn one_client_fills_no_stage_whether_it_wants_an_answer_or_not() {
    const FLOOD: u32 = 1_500;
    for on_failure in [OnFailure::Pass, OnFailure::Reject] {
        let mut site = Site::new(2);
        stage_of(&mut site, Some(1), "", on_failure);
        four(&mut site);
        for _ in 0..FLOOD {
            let shard = &mut site.shards[0];
            let client = shard.clients.by_id(site.players[0].id).unwrap();
            shard.handle_operation(Op {
                client,
                opcode: Opcode::BROADCAST,
                version: 0,
                channel: 0,
                mode: Mode::Unreliable,
                request: None,
                received_at: 0,
                body: to_topic("drop"),
            });
        }
        let other = site.ask(3, BROADCAST, to_topic("hello"));
        site.settle();
        assert_eq!(count(&site.answer(3, other).unwrap()), 2);
        assert_eq!(got(&mut site, 1), ["hello"], "nobody passes a full stage");
        let dropped = site.shards[0].counters().dropped;
        assert_eq!(dropped, u64::from(FLOOD - CALLS_MAX));
        let answer = site.request(0, BROADCAST, to_topic("again"));
        assert_eq!(count(&answer), 2, "what has ended counts no more");
    }
}
