//! Every export, with what it is given and what it returns.

use cohnect_capabilities::signals::Signal;
use cohnect_capabilities::{
    Audience, Caller, ClientId, CloseReason, Delivery, Error, Failure, InstanceId, Payload,
};
use cohnect_host::export::{
    Admission, Export, Message, MessageVerdict, Newcomer, Next, Packet, PacketVerdict, Returned,
    ServerEvent, Snapshot, StartInfo, StartReason, StopReason, Tick, Wake,
};

use crate::fixture::{ADA, OnShard, client, text};

fn packet(opcode: u16) -> Export {
    Export::Handle(Packet {
        sender: client(),
        opcode,
        version: 2,
        delivery: Delivery::UnreliableSequenced,
        channel: 3,
        wants_reply: true,
        received_at: 1,
        payload: Payload::from_static(b"move"),
    })
}

fn message(topic: &str) -> Export {
    Export::Broadcast(Message {
        sender: client(),
        topic: topic.into(),
        to: Audience::Tagged("red & !blue".into()),
        received_at: 1,
        payload: Payload::from_static(b"hi"),
    })
}

#[test]
fn an_action_answers() {
    let mut probe = OnShard::new();
    assert_eq!(probe.text("echo", "hello"), "hello");
    assert_eq!(probe.text("echo", ""), "");
    assert_eq!(
        probe.action("nothing-of-the-kind", ""),
        Ok(Returned::Answer(Err(Error::NotFound)))
    );
}

#[test]
fn an_action_knows_its_caller() {
    let mut probe = OnShard::new();
    let told = probe.text("caller", "");
    for part in [
        "Client",
        "\"ada\"",
        "[\"red\", \"~lfg\"]",
        "hi: 1, lo: 1",
        " 42 1234",
    ] {
        assert!(told.contains(part), "{part} is missing in {told}");
    }
}

#[test]
fn a_refusal_and_an_error_end_only_the_call() {
    let mut probe = OnShard::new();
    let refused = Error::Failed(Failure {
        code: 7,
        message: "not your turn".into(),
    });
    assert_eq!(
        probe.action("refuse", ""),
        Ok(Returned::Answer(Err(refused)))
    );
    assert_eq!(
        probe.action("fail", ""),
        Ok(Returned::Answer(Err(Error::other("weather", "it rains"))))
    );
    assert_eq!(probe.text("count", ""), "3");
}

#[test]
fn a_large_input_goes_in_and_out() {
    let mut probe = OnShard::new();
    let input = "x".repeat(64 * 1024);
    assert_eq!(probe.text("echo", &input), input);
}

#[test]
fn a_stage_judges_packets() {
    let mut probe = OnShard::new();
    let verdicts = [
        (0x0100, PacketVerdict::Pass),
        (
            0x0101,
            PacketVerdict::Replace(Payload::from_static(b"<move>")),
        ),
        (0x0102, PacketVerdict::Drop),
        (0x0103, PacketVerdict::Reply(ADA.to_string().into())),
        (
            0x0104,
            PacketVerdict::Reject(Error::Failed(Failure {
                code: 9,
                message: "no such move".into(),
            })),
        ),
    ];
    for (opcode, verdict) in verdicts {
        assert_eq!(probe.call(&packet(opcode)), Ok(Returned::Verdict(verdict)));
    }
    let seen = probe.text("seen", "");
    assert!(
        seen.starts_with("packet 0x0100 Delivery::UnreliableSequenced true"),
        "{seen}"
    );
}

#[test]
fn a_stage_judges_messages() {
    let mut probe = OnShard::new();
    let verdicts = [
        ("chat/pass", MessageVerdict::Pass),
        (
            "chat/shadow",
            MessageVerdict::Redirect(Audience::Client(ADA), Payload::from_static(b"hi")),
        ),
        (
            "chat/louder",
            MessageVerdict::Replace(Payload::from_static(b"HI")),
        ),
        ("chat/drop", MessageVerdict::Drop),
    ];
    for (topic, verdict) in verdicts {
        assert_eq!(probe.call(&message(topic)), Ok(Returned::Ruling(verdict)));
    }
    let Ok(Returned::Ruling(MessageVerdict::Reject(Error::Failed(failure)))) =
        probe.call(&message("chat/else"))
    else {
        panic!("it is rejected");
    };
    assert!(failure.message.contains("red & !blue"), "{failure:?}");
}

#[test]
fn a_background_machine_is_stepped() {
    let mut probe = OnShard::new();
    let signal = Signal {
        name: "go".into(),
        body: Payload::from_static(b"now"),
    };
    let steps = [
        (Wake::Started, Next::After(1_000)),
        (Wake::Elapsed, Next::WhenSignalled),
        (Wake::Signalled(vec![signal.clone(), signal]), Next::AtOnce),
        (Wake::Stopping, Next::Finished),
    ];
    for (wake, next) in steps {
        assert_eq!(
            probe.call(&Export::Step(wake)),
            Ok(Returned::Next(Ok(next)))
        );
    }
    assert_eq!(probe.text("seen", ""), "signal go now\nsignal go now");
}

fn start(arguments: &'static [u8]) -> Export {
    Export::Start(StartInfo {
        module: "probe".into(),
        generation: 3,
        key: "".into(),
        arguments: Payload::from_static(arguments),
        creator: Caller::System("boot".into()),
        replica: 0,
        instance: InstanceId { hi: 1, lo: 2 },
        reason: StartReason::RolledBack,
    })
}

#[test]
fn a_copy_starts_and_stops() {
    let mut probe = OnShard::new();
    assert_eq!(probe.call(&start(b"")), Ok(Returned::Done(Ok(()))));
    let seen = probe.text("seen", "");
    assert!(
        seen.contains("start probe 3") && seen.contains("RolledBack"),
        "{seen}"
    );
    let Ok(Returned::Done(Err(Error::Failed(_)))) = probe.call(&start(b"refuse")) else {
        panic!("it refuses to start");
    };
    assert_eq!(
        probe.call(&Export::Stop(StopReason::Idle)),
        Ok(Returned::Nothing)
    );
    let lines = probe.world.log_lines();
    assert!(
        lines
            .iter()
            .any(|line| line.contains("stopped") && line.contains("Idle")),
        "{lines:?}"
    );
}

#[test]
fn state_goes_from_one_copy_to_the_next() {
    let mut old = OnShard::new();
    for _call in 0..5 {
        old.text("count", "");
    }
    let Ok(Returned::Saved(Ok(snapshot))) = old.call(&Export::Save) else {
        panic!("it saves");
    };
    assert_eq!(snapshot.schema, 3);
    let mut new = OnShard::new();
    assert_eq!(
        new.call(&Export::Restore(snapshot)),
        Ok(Returned::Done(Ok(())))
    );
    assert_eq!(new.text("count", ""), "6");
    let bad = Snapshot {
        declared: None,
        schema: 3,
        data: Payload::from_static(b"short"),
    };
    assert_eq!(
        new.call(&Export::Restore(bad)),
        Ok(Returned::Done(Err(Error::invalid("eight bytes"))))
    );
}

#[test]
fn a_newcomer_is_judged() {
    let mut probe = OnShard::new();
    let newcomer = |token: &'static [u8]| {
        Export::Connecting(Newcomer {
            id: ADA,
            address: "10.0.0.1:7".into(),
            token: Payload::from_static(token),
            ..Newcomer::default()
        })
    };
    let admission = Admission {
        user: Some("10.0.0.1:7".into()),
        tags: vec!["new".into()],
    };
    assert_eq!(
        probe.call(&newcomer(b"good")),
        Ok(Returned::Admission(Ok(admission)))
    );
    let Ok(Returned::Admission(Err(Error::Failed(_)))) = probe.call(&newcomer(b"bad")) else {
        panic!("it is refused");
    };
}

#[test]
fn a_topic_is_opened_with_a_first_item_or_refused() {
    let mut probe = OnShard::new();
    let subscribe = |arguments: &'static [u8]| Export::Subscribe {
        topic: "news".into(),
        client: client(),
        arguments: Payload::from_static(arguments),
    };
    assert_eq!(
        probe.call(&subscribe(b"first")),
        Ok(Returned::Subscribed(Ok(Some(
            format!("news for {ADA}").into()
        ))))
    );
    assert_eq!(
        probe.call(&subscribe(b"")),
        Ok(Returned::Subscribed(Ok(None)))
    );
    let Ok(Returned::Subscribed(Err(Error::Failed(_)))) = probe.call(&subscribe(b"refuse")) else {
        panic!("it is refused");
    };
}

#[test]
fn every_hook_is_told_what_happened() {
    let mut probe = OnShard::new();
    let other = InstanceId { hi: 5, lo: 6 };
    let hooks = [
        Export::Tick(Tick {
            number: 9,
            due_at: 8,
            step: 7,
            skipped: 6,
        }),
        Export::Timer {
            name: "bomb".into(),
            data: Payload::from_static(b"\x01"),
            due_at: 77,
        },
        Export::Connected(client()),
        Export::Disconnected(client(), CloseReason::Banned),
        Export::Alive(client(), 55),
        Export::Away(client()),
        Export::Back(client()),
        Export::Event(ServerEvent::Stopping(3)),
        Export::Event(ServerEvent::InstanceLeft(other)),
        Export::Event(ServerEvent::Other(
            "deploy".into(),
            Payload::from_static(b"x"),
        )),
        Export::Unsubscribe {
            topic: "news".into(),
            client: client(),
            reason: CloseReason::TimedOut,
        },
        Export::Reply {
            tag: "t".into(),
            answer: Err(Error::limit("queue", 1, 2)),
        },
        Export::Reply {
            tag: "u".into(),
            answer: Ok(Payload::from_static(b"\x05")),
        },
    ];
    for hook in &hooks {
        assert_eq!(probe.call(hook), Ok(Returned::Nothing), "{}", hook.name());
    }
    let seen = probe.text("seen", "");
    let lines: Vec<_> = seen.lines().collect();
    assert_eq!(lines.len(), hooks.len(), "{seen}");
    for (line, part) in lines.iter().zip([
        "tick 9 8 7 6",
        "timer bomb [1] 77",
        "connected 00000000-0000-0001-0000-000000000001 Some(\"ada\") [\"red\", \"~lfg\"]",
        "Banned",
        "alive 00000000-0000-0001-0000-000000000001 55",
        "away",
        "back",
        "Stopping(3)",
        "InstanceLeft",
        "deploy",
        "TimedOut",
        "LimitExceeded",
        "reply u Ok([5])",
    ]) {
        assert!(line.contains(part), "{part} is missing in {line}");
    }
}

#[test]
fn two_copies_share_nothing() {
    let mut one = OnShard::new();
    let mut two = OnShard::new();
    one.text("count", "");
    one.text("count", "");
    assert_eq!(one.text("count", ""), "3");
    assert_eq!(two.text("count", ""), "1");
    let stranger = ClientId { hi: 3, lo: 4 };
    assert_eq!(
        two.call(&Export::Away(cohnect_capabilities::Client {
            id: stranger,
            ..Default::default()
        })),
        Ok(Returned::Nothing)
    );
    assert_eq!(text(one.action("seen", "")), "");
}
