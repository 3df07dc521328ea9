//! Every function that never waits, called from inside a component.

use cohnect_capabilities::{Effect, Scalar};

use crate::fixture::{ADA, OnShard};

#[test]
fn every_function_reaches_its_capability() {
    let mut probe = OnShard::new();
    probe.world.open_topic("news", ADA);
    probe.world.set_flag("on", Scalar::Boolean(true));
    probe.world.set_flag("size", Scalar::Integer(7));
    probe.world.set_config("name", Scalar::Text("arena".into()));
    probe.world.set_secret("token", "hush");
    probe.world.set_secret("other", "not granted");
    let told = probe.text("everything", "");
    let expected = "\
send Err(Error::Closed)
send-to 1
send-each 1
broadcast 1
online true false
online-users []
info 127.0.0.1:40000
ids [ClientId { hi: 1, lo: 1 }]
infos 1
count 1 Err(Error::Unsupported)
tags true true true
of [\"x\", \"y\"]
get Err(Error::NotFound)
conflict Err(Error::Conflict)
add 5 3
get-many 1
scan key=other
remove true false
ttl Err(Error::Unsupported)
apply Err(Error::Unsupported)
mail Err(Error::NotFound)
publish 1
detach true false
finish 1
due 1700000000001000 true
tick-rate true
flags true true Some(Scalar::Integer(7)) None
log false true
now 1700000000000000 true
civil 2023-11 2
zone Err(Error::NotFound)
next-due 1700006400000000
random true true 5
config Some(Scalar::Text(\"arena\")) None Some(\"hush\")
secret None";
    assert_eq!(told, expected);
    let lines = probe.world.log_lines();
    assert!(
        lines.iter().any(|line| line == "probe: a line n=1.5"),
        "{lines:?}"
    );
}

#[test]
fn effects_are_left_in_order() {
    let mut probe = OnShard::new();
    probe.world.open_topic("news", ADA);
    probe.text("everything", "");
    let effects = probe.replica.context().take_outbox();
    let names: Vec<_> = effects
        .iter()
        .map(|effect| {
            let shown = format!("{effect:?}");
            shown
                .split([' ', '{'])
                .next()
                .unwrap_or_default()
                .to_owned()
        })
        .collect();
    assert_eq!(
        names,
        [
            "Send",
            "SendTo",
            "SendEach",
            "Broadcast",
            "Disconnect",
            "Mail",
            "Mail",
            "Publish",
            "PublishOne",
            "Attach",
            "Detach",
            "Finish",
            "TimerSet",
            "TimerSet",
            "TimerCancel",
            "TickRate",
            "Signal"
        ]
    );
    assert!(matches!(
        &effects[0],
        Effect::Send { to, opcode: 0x0100, payload, options }
            if *to == ADA && **payload == *b"one" && options.channel == 3
    ));
}
