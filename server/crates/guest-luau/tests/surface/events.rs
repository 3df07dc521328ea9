//! Packets, messages, ticks, timers, replies, streams and events: what their handlers get and what their verdicts mean.

use std::sync::Arc;

use cohnect_capabilities::{
    Audience, Caller, CloseReason, Delivery, Error, Failure, InstanceId, Payload,
};
use cohnect_host::export::{
    Admission, Export, Fault, Message, MessageVerdict, Newcomer, Packet, PacketVerdict, Returned,
    ServerEvent, StartInfo, StartReason, StopReason, Tick,
};

use super::bench::{ADA, ADA_TEXT, Bench, Copy, client, request};

fn packet(opcode: u16, payload: &str) -> Export {
    Export::Handle(Packet {
        sender: client(ADA),
        opcode,
        version: 2,
        delivery: Delivery::UnreliableSequenced,
        channel: 3,
        wants_reply: true,
        received_at: 1_500_000,
        payload: Payload::copy_from_slice(payload.as_bytes()),
    })
}

fn message(topic: &str, payload: &str) -> Export {
    Export::Broadcast(Message {
        sender: client(ADA),
        topic: topic.into(),
        to: Audience::Topic(topic.to_owned()),
        received_at: 1_500_000,
        payload: Payload::copy_from_slice(payload.as_bytes()),
    })
}

fn verdict(copy: &mut Copy<'_>, opcode: u16) -> PacketVerdict {
    match copy.call(&packet(opcode, "data")) {
        Ok(Returned::Verdict(verdict)) => verdict,
        other => panic!("{other:?}"),
    }
}

fn failure(code: u32, message: &str) -> Error {
    Error::Failed(Failure {
        code,
        message: message.into(),
    })
}

#[test]
fn a_packet_gets_its_verdict() {
    let bench = Bench::new();
    let mut module = bench.load(
        r#"
        local define, errors = require("@cohnect/define"), require("@cohnect/errors")
        return { pipeline = define.packets({
            [0x0101] = function(p)
                return { reply = table.concat({ p.sender.id, p.opcode, p.version, p.delivery, p.channel, tostring(p.wants_reply), p.received_at, p.payload }, " ") }
            end,
            [0x0102] = define.packet({ order = -5, requires = "red", version = 2, wants = { tags = true } }, function() return "drop" end),
            [0x0103] = function() return { reject = { code = 4, message = "no" } } end,
            [0x0104] = function() return { replace = buffer.fromstring("new") } end,
            [0x0105] = function() end,
            [0x0106] = function() errors.fail(9, "raised") end,
            [0x0107] = function() return nil, "denied" end,
            [0x0108] = function() return "dorp" end,
            [0x0109] = function() return { reject = errors.denied } end,
            [0x010A] = function() return { reject = "busy" } end,
            [0x010B] = function() errors.raise("denied") end,
            [0x010C] = function() return { rejct = "denied" } end,
        }) }"#,
    );
    let text = format!("{ADA_TEXT} 257 2 unreliable_sequenced 3 true 1.5 data");
    assert_eq!(
        verdict(&mut module, 0x0101),
        PacketVerdict::Reply(Payload::from(text))
    );
    assert_eq!(verdict(&mut module, 0x0102), PacketVerdict::Drop);
    assert_eq!(
        verdict(&mut module, 0x0103),
        PacketVerdict::Reject(failure(4, "no"))
    );
    assert_eq!(
        verdict(&mut module, 0x0104),
        PacketVerdict::Replace(Payload::from_static(b"new"))
    );
    assert_eq!(verdict(&mut module, 0x0105), PacketVerdict::Pass);
    assert_eq!(
        verdict(&mut module, 0x0106),
        PacketVerdict::Reject(failure(9, "raised"))
    );
    assert_eq!(
        verdict(&mut module, 0x0107),
        PacketVerdict::Reject(Error::Denied)
    );
    for (opcode, error) in [
        (0x0109, Error::Denied),
        (0x010A, Error::Busy),
        (0x010B, Error::Denied),
    ] {
        assert_eq!(verdict(&mut module, opcode), PacketVerdict::Reject(error));
    }
    assert_eq!(verdict(&mut module, 0x0999), PacketVerdict::Pass);
    for (opcode, place, wrong) in [
        (0x0108, "the opcode 0x0108", "dorp"),
        (
            0x010C,
            "the opcode 0x010c",
            "`rejct` decides nothing; did you mean `reject`?",
        ),
    ] {
        match module.call(&packet(opcode, "")) {
            Err(Fault::Raised(text)) => {
                assert!(text.contains(place) && text.contains(wrong), "{text}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_field_that_nobody_knows_is_a_mistake() {
    let bench = Bench::new();
    let mut module = bench.load(
        r#"
        local errors = require("@cohnect/errors")
        return {
            pipeline = {
                [0x0101] = function() return { reject = { code = 1, mesage = "m" } } end,
            },
            broadcast = {
                chat = function() return { redirect = { to = "everyone", payloud = "" } } end,
            },
            action = {
                code = function() return nil, { cod = 5, message = "x" } end,
                kind = function() return nil, { kind = "unavailable", mesage = "x" } end,
                raised = function() errors.raise({ code = 5, messages = "x" }) end,
                fine = function() return nil, { code = 5, message = "x" } end,
            },
            client_events = {
                on_connecting = function() return { tag = { "vip" } } end,
            },
        }"#,
    );
    let action = |name| Export::Execute(request(name, ""));
    let newcomer = Export::Connecting(Newcomer {
        id: ADA,
        ..Newcomer::default()
    });
    for (export, found) in [
        (
            packet(0x0101, ""),
            "no field `mesage`; did you mean `message`?",
        ),
        (
            message("chat", ""),
            "no field `payloud`; did you mean `payload`?",
        ),
        (action("code"), "no field `cod`; did you mean `code`?"),
        (action("kind"), "no field `mesage`; did you mean `message`?"),
        (
            action("raised"),
            "no field `messages`; did you mean `message`?",
        ),
        (
            newcomer,
            "an admission has no field `tag`; did you mean `tags`?",
        ),
    ] {
        match module.call(&export) {
            Err(Fault::Raised(text)) => assert!(text.contains(found), "{found}: {text}"),
            other => panic!("{found}: {other:?}"),
        }
    }
    assert_eq!(module.execute("fine", ""), Err(failure(5, "x")));
}

#[test]
fn what_is_declared_is_described() {
    let bench = Bench::new();
    let prepared = bench
        .prepare(&Bench::source(
            r#"
            local define, check = require("@cohnect/define"), require("@cohnect/check")
            return define.module({
                manifest = { placement = "per-shard", shard = 1 },
                action = {
                    b = define.typed({ access = "members", requires = "red" }, check.json({
                        column = check.integer(0, 6), note = check.optional(check.text(0, 80)),
                    }), function(_request, input) return input.note end),
                    a = define.action({ access = "clients", wants = { user = true }, options = { cost = 3 } }, function() end),
                },
                pipeline = { [0x0102] = define.packet({ order = -5, version = 2 }, function() end), [0x0101] = function() end },
                broadcast = { ["chat/*"] = define.broadcast({ order = 20, requires = "!muted" }, function() end) },
                stream_handler = { ["arena/{key}/spectate"] = define.stream({ requires = "in" }, function() end) },
                ticker = { hz = 20, overrun = "catch_up", catch_up_max = 4, on_tick = function() end },
                client_events = { on_away = function() end },
                server_events = { on_flag_changed = function() end },
                timer_handler = { a = function() end },
                reply_handler = { a = function() end },
                background = function() end,
                lifecycle = {},
                keep = {},
            })"#,
        ))
        .expect("it loads");
    let exports = prepared.exports();
    let (a, b) = (&exports.actions[0], &exports.actions[1]);
    assert!(
        (&*a.name, a.wants.user, a.options.len()) == ("a", true, 1),
        "{a:?}"
    );
    assert_eq!(
        (b.requires.as_str(), b.media_type.as_str()),
        ("red", "application/json")
    );
    assert!(
        b.input_schema.contains("\"required\":[\"column\"]"),
        "{}",
        b.input_schema
    );
    assert!(
        b.input_schema.contains("\"maxLength\":80"),
        "{}",
        b.input_schema
    );
    let packets: Vec<_> = exports
        .packets
        .iter()
        .map(|c| (c.first, c.last, c.order, c.version))
        .collect();
    assert_eq!(
        packets,
        [(0x0101, 0x0101, 0, None), (0x0102, 0x0102, -5, Some(2))]
    );
    assert_eq!(
        (
            exports.broadcasts[0].topic.as_str(),
            exports.broadcasts[0].order
        ),
        ("chat/*", 20)
    );
    assert_eq!(exports.streams[0].topic, "arena/{key}/spectate");
    assert_eq!(
        exports.ticker.as_ref().map(|t| (t.hz, t.catch_up_max)),
        Some((20, Some(4)))
    );
    assert!(exports.client_events.away && !exports.client_events.connected);
    assert!(exports.server_events.flag_changed && !exports.server_events.started);
    assert!(
        exports.background
            && exports.lifecycle
            && exports.migration
            && exports.timers
            && exports.replies
    );
    let manifest: Vec<_> = prepared
        .manifest()
        .iter()
        .map(|(key, _)| key.as_str())
        .collect();
    assert_eq!(manifest, ["placement", "shard"]);
}

#[test]
fn a_wrong_option_is_named() {
    let bench = Bench::new();
    for (code, found) in [
        (
            "define.action({ acces = 'clients' }, print)",
            "did you mean `access`?",
        ),
        (
            "define.action(print, {})",
            "the first argument is a table of options",
        ),
        (
            "define.typed({}, {}, print)",
            "the second argument is a check",
        ),
        ("define.packet({}, 5)", "the handler is a function"),
        ("check.integer('a', 5)", "the lowest value is a number"),
        ("check.json({ a = 5 })", "the field \"a\" is not a check"),
    ] {
        let code = format!(
            "local define, check = require('@cohnect/define'), require('@cohnect/check') {code} return {{}}"
        );
        let text = bench.refusal(&code);
        assert!(text.contains(found), "{code}: {text}");
    }
    for (access, found) in [
        ("'client'", "did you mean `clients`?"),
        ("5", "expected a string"),
    ] {
        let code = format!(
            "local define = require('@cohnect/define') return {{ action = {{ a = define.action({{ access = {access} }}, print) }} }}"
        );
        let text = bench.refusal(&code);
        assert!(text.contains(found), "{text}");
    }
    let text = bench.refusal("local define = require('@cohnect/define') return { action = { a = define.packet({}, print) } }");
    assert!(
        text.contains("define.packet, where define.action belongs"),
        "{text}"
    );
}

#[test]
fn an_input_is_checked_before_its_action() {
    let bench = Bench::new();
    let mut module = bench.load(
        r#"
        local define, check, json = require("@cohnect/define"), require("@cohnect/check"), require("@cohnect/json")
        local Form = check.json({
            column = check.integer(0, 6),
            note = check.optional(check.text(1, 4)),
            moves = check.list(check.one_of("up", "down"), 2),
            scores = check.map(check.number(0, 1), 1),
        })
        return { action = { drop = define.typed({}, Form, function(_request, input) return json.encode(input) end) } }"#,
    );
    let good = r#"{"column":3,"moves":["up"],"scores":{"a":0.5},"more":1}"#;
    let answer = module.execute("drop", good).expect("it is taken");
    assert!(
        answer.contains("\"column\":3") && !answer.contains("more"),
        "{answer}"
    );
    for (input, found) in [
        ("{", "not JSON"),
        ("5", "input: expected an object"),
        (
            r#"{"column":7,"moves":[],"scores":{}}"#,
            "input.column: expected a whole number from 0 to 6",
        ),
        (r#"{"column":1.5,"moves":[],"scores":{}}"#, "input.column"),
        (
            r#"{"column":1,"moves":["left"],"scores":{}}"#,
            "input.moves[1]: expected one of up, down",
        ),
        (
            r#"{"column":1,"moves":["up","up","up"],"scores":{}}"#,
            "at most 2",
        ),
        (
            r#"{"column":1,"moves":[],"scores":{"a":0,"b":0}}"#,
            "at most 1",
        ),
        (
            r#"{"column":1,"moves":[],"scores":{},"note":"too long"}"#,
            "input.note: expected text of 1 to 4 bytes",
        ),
        (r#"{"moves":[],"scores":{}}"#, "input.column"),
    ] {
        match module.execute("drop", input) {
            Err(Error::Failed(failure)) => {
                assert_eq!(failure.code, 0, "{input}");
                assert!(failure.message.contains(found), "{input}: {failure:?}");
            }
            other => panic!("{input}: {other:?}"),
        }
    }
}

#[test]
fn a_wrong_argument_of_the_scripts_own_is_not_told_to_the_sender_of_a_packet() {
    let bench = Bench::new();
    let mut module = bench.load(
        r#"
        local timers, errors = require("@cohnect/timers"), require("@cohnect/errors")
        local long = string.rep("n", 1000)
        return {
            action = { own = function()
                local set, problem = timers.set(long, 1, "")
                return nil, problem
            end },
            pipeline = {
                [0x0101] = function() return nil, select(2, timers.set(long, 1, "")) end,
                [0x0102] = function() errors.need(timers.set(long, 1, "")) end,
                [0x0103] = function() return nil, "invalid_argument" end,
            },
        }"#,
    );
    // The host looks at what a call refuses with, by what its context remembers.
    for (opcode, own) in [(0x0101, true), (0x0102, true), (0x0103, false)] {
        let PacketVerdict::Reject(error) = verdict(&mut module, opcode) else {
            panic!("{opcode:#x}: it is no refusal");
        };
        let mistake = module.replica.context().mistake(&error);
        let named = "timers.set: invalid argument: a timer's name has";
        assert_eq!(
            mistake.is_some_and(|text| text.starts_with(named)),
            own,
            "{opcode:#x}"
        );
    }
    let error = module.execute("own", "").expect_err("it is refused");
    let mistake = module
        .replica
        .context()
        .mistake(&error)
        .expect("it is its own");
    assert!(mistake.starts_with("timers.set: "), "{mistake}");
}

#[test]
fn a_message_goes_to_the_most_specific_stage() {
    let bench = Bench::new();
    let mut module = bench.load(
        r#"
        return { broadcast = {
            ["*"] = function() return "drop" end,
            ["chat/*"] = function(m) return { replace = m.topic .. " " .. m.to.topic .. " " .. m.payload } end,
            ["chat/eu"] = function(m) return { redirect = { to = { client = m.sender.id }, payload = "shadow" } } end,
            ["chat/*/loud"] = function() return { reject = { code = 1, message = "quiet" } } end,
        } }"#,
    );
    let mut ruling = |topic: &str| match module.call(&message(topic, "hi")) {
        Ok(Returned::Ruling(ruling)) => ruling,
        other => panic!("{other:?}"),
    };
    assert_eq!(ruling("news"), MessageVerdict::Drop);
    assert_eq!(
        ruling("chat/us"),
        MessageVerdict::Replace(Payload::from_static(b"chat/us chat/us hi"))
    );
    assert_eq!(
        ruling("chat/eu"),
        MessageVerdict::Redirect(Audience::Client(ADA), Payload::from_static(b"shadow"))
    );
    assert_eq!(
        ruling("chat/eu/loud"),
        MessageVerdict::Reject(failure(1, "quiet"))
    );
}

#[test]
fn everything_else_that_happens_is_heard() {
    let bench = Bench::new();
    bench.world.connect(ADA, &["red"]);
    let mut module = bench.load(
        r#"
        return {
            ticker = { hz = 20, on_tick = function(tick) print("tick", tick.number, tick.due_at, tick.step, tick.skipped) end },
            timer_handler = {
                round = function(timer) print("timer", timer.name, timer.data, timer.due_at) end,
                ["round:2"] = function(timer) print("exact", timer.name) end,
            },
            reply_handler = { save = function(tag, answer, problem) print("reply", tag, answer, problem and problem.kind) end },
            client_events = {
                on_connecting = function(newcomer)
                    if newcomer.address == "bad" then return nil, { code = 3, message = "go away" } end
                    return { user = "ada", tags = { "new" } }
                end,
                on_connected = function(client) print("connected", client.id) end,
                on_disconnected = function(client, reason) print("disconnected", client.tags[1], reason) end,
                on_alive = function(client, rtt) print("alive", rtt) end,
            },
            server_events = {
                on_event = function(event) print("event", if type(event) == "string" then event else event.stopping or event.other.name) end,
                on_flag_changed = function(name) print("flag", name) end,
            },
            stream_handler = {
                scores = function(s) return s.topic .. s.arguments end,
                silent = function() end,
                closed = function() return nil, "denied" end,
            },
            stream_closed = { scores = function(s) print("closed", s.topic, s.reason) end },
            lifecycle = {
                start = function(info) print("start", info.reason, info.module, info.creator.system, info.instance) end,
                stop = function(reason) print("stop", reason) end,
            },
        }"#,
    );
    let subscribe = |topic: &str| Export::Subscribe {
        topic: topic.into(),
        client: client(ADA),
        arguments: Payload::from_static(b"!"),
    };
    let timer = |name: &str| Export::Timer {
        name: name.into(),
        data: Payload::from_static(b"d"),
        due_at: 2_000_000,
    };
    let newcomer = |address: &str| {
        Export::Connecting(Newcomer {
            id: ADA,
            address: address.into(),
            ..Newcomer::default()
        })
    };
    let start = Export::Start(StartInfo {
        module: "hello".into(),
        generation: 1,
        key: "".into(),
        arguments: Payload::new(),
        creator: Caller::System("test".into()),
        replica: 0,
        instance: InstanceId { hi: 1, lo: 2 },
        reason: StartReason::RolledBack,
    });
    let admitted = Admission {
        user: Some("ada".into()),
        tags: vec!["new".into()],
    };
    for (export, expected) in [
        (start, Returned::Done(Ok(()))),
        (
            Export::Tick(Tick {
                number: 7,
                due_at: 1_500_000,
                step: 50_000,
                skipped: 2,
            }),
            Returned::Nothing,
        ),
        (timer("round:1"), Returned::Nothing),
        (timer("round:2"), Returned::Nothing),
        (timer("other"), Returned::Nothing),
        (
            Export::Reply {
                tag: "save:5".into(),
                answer: Ok(Payload::from_static(b"ok")),
            },
            Returned::Nothing,
        ),
        (
            Export::Reply {
                tag: "save:6".into(),
                answer: Err(Error::Timeout),
            },
            Returned::Nothing,
        ),
        (newcomer("good"), Returned::Admission(Ok(admitted))),
        (
            newcomer("bad"),
            Returned::Admission(Err(failure(3, "go away"))),
        ),
        (Export::Connected(client(ADA)), Returned::Nothing),
        (
            Export::Disconnected(client(ADA), CloseReason::TimedOut),
            Returned::Nothing,
        ),
        (Export::Alive(client(ADA), 50_000), Returned::Nothing),
        (Export::Away(client(ADA)), Returned::Nothing),
        (Export::Event(ServerEvent::Started), Returned::Nothing),
        (
            Export::Event(ServerEvent::Stopping(3_000_000)),
            Returned::Nothing,
        ),
        (
            Export::Event(ServerEvent::FlagChanged("double".into())),
            Returned::Nothing,
        ),
        (
            Export::Event(ServerEvent::Other("x".into(), Payload::new())),
            Returned::Nothing,
        ),
        (
            subscribe("scores"),
            Returned::Subscribed(Ok(Some(Payload::from_static(b"scores!")))),
        ),
        (subscribe("silent"), Returned::Subscribed(Ok(None))),
        (
            subscribe("closed"),
            Returned::Subscribed(Err(Error::Denied)),
        ),
        (
            Export::Unsubscribe {
                topic: Arc::from("scores"),
                client: client(ADA),
                reason: CloseReason::Left,
            },
            Returned::Nothing,
        ),
        (Export::Stop(StopReason::Swapped), Returned::Nothing),
    ] {
        assert_eq!(module.call(&export), Ok(expected), "{export:?}");
    }
    let lines: Vec<_> = bench
        .world
        .log_lines()
        .iter()
        .map(|line| line.replace("hello: ", ""))
        .collect();
    assert_eq!(
        lines,
        [
            "start rolled_back hello test 00000000-0000-0001-0000-000000000002",
            "tick 7 1.5 0.05 2",
            "timer round:1 d 2",
            "exact round:2",
            "reply save:5 ok nil",
            "reply save:6 nil timeout",
            &format!("connected {ADA_TEXT}"),
            "disconnected red timed_out",
            "alive 0.05",
            "event started",
            "event 3",
            "flag double",
            "event x",
            "closed scores left",
            "stop swapped",
        ]
    );
}
