//! The example's scripts, played for some ticks.

use cohnect_capabilities::{CloseReason, Delivery, Effect, Payload};
use cohnect_host::export::{
    Export, Message, MessageVerdict, Packet, PacketVerdict, Returned, Tick,
};

use super::bench::{ADA, Bench, client};

const ARENA: &str = include_str!("../../../../../examples/arena/modules/arena/arena.luau");
const PROFANITY: &str = include_str!("../../../../../examples/arena/modules/profanity.luau");

#[test]
fn a_game_is_played_and_goes_over_a_swap() {
    let bench = Bench::new();
    bench.world.connect(ADA, &[]);
    bench.world.open_topic("arena/world", ADA);
    let mut arena = bench.load(ARENA);
    let joined = arena.execute("join", "Ada").expect("there is room");
    assert!(joined.contains("\"number\":1"), "{joined}");
    let input = Export::Handle(Packet {
        sender: client(ADA),
        opcode: 0x0101,
        version: 0,
        delivery: Delivery::UnreliableSequenced,
        channel: 0,
        wants_reply: false,
        received_at: 0,
        payload: Payload::from_static(&[1, 0, 1]),
    });
    assert_eq!(
        arena.call(&input),
        Ok(Returned::Verdict(PacketVerdict::Drop))
    );
    for number in 0..40 {
        let tick = Tick {
            number,
            step: 50_000,
            ..Tick::default()
        };
        assert_eq!(arena.call(&Export::Tick(tick)), Ok(Returned::Nothing));
        match &arena.effects()[..] {
            [
                Effect::Publish {
                    topic,
                    payload,
                    delivery: Delivery::UnreliableSequenced,
                },
            ] => {
                assert_eq!(&**topic, "arena/world");
                assert_eq!(payload[4], 1, "one player");
            }
            other => panic!("{other:?}"),
        }
    }
    let scores = arena.execute("scores", "").expect("it is told");
    assert!(scores.contains("\"name\":\"Ada\""), "{scores}");
    let Ok(Returned::Saved(Ok(world))) = arena.call(&Export::Save) else {
        panic!("it is kept");
    };
    let mut next = bench.load(ARENA);
    assert_eq!(
        next.call(&Export::Restore(world)),
        Ok(Returned::Done(Ok(())))
    );
    assert_eq!(next.execute("scores", ""), Ok(scores));
    let left = Export::Disconnected(client(ADA), CloseReason::Left);
    assert_eq!(next.call(&left), Ok(Returned::Nothing));
    assert_eq!(next.execute("scores", ""), Ok("{\"players\":[]}".into()));
}

#[test]
fn a_word_becomes_stars() {
    let bench = Bench::new();
    let mut filter = bench.load(PROFANITY);
    let mut say = |text: &'static str| {
        let message = Message {
            sender: client(ADA),
            topic: "chat/eu".into(),
            to: cohnect_capabilities::Audience::Everyone,
            received_at: 0,
            payload: Payload::from_static(text.as_bytes()),
        };
        filter.call(&Export::Broadcast(message))
    };
    assert_eq!(say("hello"), Ok(Returned::Ruling(MessageVerdict::Pass)));
    let starred = MessageVerdict::Replace(Payload::from_static(b"oh **** it"));
    assert_eq!(say("oh dArN it"), Ok(Returned::Ruling(starred)));
}
