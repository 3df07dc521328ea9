//! The interfaces of the contract as a script uses them: arguments, defaults, results and errors.

use cohnect_capabilities::clients::SendOptions;
use cohnect_capabilities::state::Place;
use cohnect_capabilities::{
    Audience, ClientId, CloseReason, Delivery, Effect, Error, Payload, Scalar,
};
use cohnect_host::export::Fault;

use super::bench::{ADA, ADA_TEXT, Bench};

/// Runs `body` as an action; it may use `t`, a table of all interfaces. What it returns is shown as JSON-like text by `show`.
fn run(bench: &Bench, body: &str) -> (Result<String, Error>, Vec<Effect>) {
    let code = format!(
        r#"
        local t = {{}}
        for _, name in {{ "clients", "tags", "state", "mailbox", "feature_flags", "logging", "streams", "clock", "timers", "signals", "random", "config", "errors", "json" }} do
            t[name] = (require :: any)("@cohnect/" .. name)
        end
        local function show(...)
            local parts = table.pack(...)
            for n = 1, parts.n do
                parts[n] = if type(parts[n]) == "table" and getmetatable(parts[n]) ~= "error" then t.json.encode(parts[n]) else tostring(parts[n])
            end
            return table.concat(parts, " ", 1, parts.n)
        end
        return {{ action = {{ run = function(request) {body} end }} }}"#
    );
    let mut module = bench.load(&code);
    let answer = module.execute("run", "");
    (answer, module.effects())
}

fn shows(bench: &Bench, expression: &str, text: &str) {
    let (answer, _) = run(bench, &format!("return show({expression})"));
    assert_eq!(answer, Ok(text.to_owned()), "{expression}");
}

#[test]
fn state_reads_and_writes() {
    let bench = Bench::new();
    let (answer, _) = run(
        &bench,
        r#"
        local state = t.state
        local first = assert(state.set("shared", "a", "1"))
        assert(state.set({ named = "guild" }, "a", buffer.fromstring("two")))
        assert(state.set({ client = request.client.id }, "a", "mine"))
        assert(state.set("module", "a", "module"))
        assert(state.set("room", "b", "room"))
        assert(state.compare_and_set("shared", "a", first, "2") > first)
        local stale, problem = state.compare_and_set("shared", "a", first, "3")
        assert(stale == nil and problem.kind == "conflict" and problem == t.errors.conflict)
        assert(state.add("shared", "n", 5) == 5 and state.add("shared", "n", -7) == -2)
        local entry = assert(state.get("shared", "a"))
        assert(entry.value == "2" and entry.version > first)
        local none, missing = state.get("shared", "nothing")
        assert(none == nil and missing.kind == "not_found" and tostring(missing) == "not_found: not found")
        assert(state.remove("shared", "a") == true and state.remove("shared", "a") == false)
        local items = assert(state.scan("module", ""))
        local many = assert(state.get_many("module", { "b", "x", "a" }))
        local _, later = state.apply({})
        return show(#items, items[1].key, many[1].value, many[2].value, later)"#,
    );
    assert_eq!(
        answer,
        Ok("2 a room module unsupported: unsupported".into())
    );
    let value = |place: Place| bench.world.value(&place, "a");
    assert_eq!(
        value(Place::Named("guild".into())),
        Some(Payload::from_static(b"two"))
    );
    assert_eq!(
        value(Place::Client(ADA)),
        Some(Payload::from_static(b"mine"))
    );
    assert_eq!(
        value(Place::Module("hello".into())),
        Some(Payload::from_static(b"module"))
    );
}

#[test]
fn packets_leave_as_effects_with_the_defaults_of_zero() {
    let bench = Bench::new();
    bench.world.connect(ADA, &["red"]);
    let (answer, effects) = run(
        &bench,
        r#"
        local clients, streams = t.clients, t.streams
        local ada = request.client.id
        assert(clients.send(ada, 0x0103, "plain") == true)
        assert(clients.send(ada, 0x0104, buffer.fromstring("b"), { delivery = "unreliable", channel = 3 }))
        local sent = clients.send_to("everyone", 0x0105, "all", nil, ada)
        local tagged = clients.send_to({ tagged = "red" }, 0x0105, "red")
        local each = clients.send_each({ { to = ada, payload = "x" } }, 0x0106)
        local gone, problem = clients.send("00000000-0000-0000-0000-000000000001", 0x0103, "")
        clients.disconnect(ada, "kicked", "bye")
        streams.publish("scores", "none")
        return show(sent, tagged, each, gone, problem.kind, clients.online(ada), clients.count("everyone"), clients.ids("everyone")[1])"#,
    );
    assert_eq!(answer, Ok(format!("0 1 1 nil closed true 1 {ADA_TEXT}")));
    let options = |effect: &Effect| {
        let Effect::Send { options, .. } = effect else {
            panic!("{effect:?}");
        };
        *options
    };
    assert_eq!(options(&effects[0]), SendOptions::default());
    assert_eq!(
        options(&effects[1]),
        SendOptions {
            delivery: Delivery::Unreliable,
            channel: 3,
            version: 0
        }
    );
    assert!(
        matches!(&effects[2], Effect::SendTo { to: Audience::Tagged(tag), .. } if tag == "red")
    );
    assert!(matches!(&effects[3], Effect::SendEach { items, .. } if items[0].to == ADA));
    assert!(
        matches!(&effects[4], Effect::Disconnect { reason: CloseReason::Kicked, message, .. } if message == "bye")
    );
    assert_eq!(
        effects.len(),
        5,
        "a topic without subscribers leaves nothing"
    );
}

#[test]
fn the_others_answer() {
    let bench = Bench::new();
    bench.world.connect(ADA, &["red"]);
    bench.world.set_flag("double", Scalar::Boolean(true));
    bench.world.set_flag("rate", Scalar::Number(1.5));
    bench.world.set_config("size", Scalar::Integer(12));
    bench.world.set_secret("token", "t0k");
    bench.world.advance(2_500_000);
    for (expression, text) in [
        ("t.clock.now()", "1700000002.5"),
        ("os.time()", "1700000002"),
        ("os.date('%Y-%m-%d')", "2023-11-14"),
        ("os.clock()", "2.5"),
        ("t.clock.monotonic()", "2.5"),
        ("t.clock.remaining()", "0.003"),
        ("t.clock.civil(0, 'UTC').year", "1970"),
        (
            "select(2, t.clock.civil(0, 'Nowhere/Else')).kind",
            "not_found",
        ),
        ("t.clock.next_due('0 0 * * *', '', 1)", "86400"),
        ("t.feature_flags.enabled('double', false)", "true"),
        ("t.feature_flags.enabled('other', true)", "true"),
        (
            "t.feature_flags.enabled_for('double', { client = request.client.id, attributes = { zone = 'eu' } }, false)",
            "true",
        ),
        ("t.feature_flags.value('rate')", "1.5"),
        ("t.feature_flags.value('none')", "nil"),
        ("t.config.get('size')", "12"),
        ("t.config.secret('token')", "t0k"),
        ("t.config.secret('other')", "nil"),
        ("t.tags.of(request.client.id)", "[\"red\"]"),
        (
            "t.tags.add(request.client.id, 'blue'), t.tags.has(request.client.id, 'blue')",
            "true true",
        ),
        (
            "#t.random.bytes(5), t.random.integer(3, 3), t.random.number() < 1",
            "5 3 true",
        ),
        (
            "t.logging.enabled('info'), t.logging.enabled('trace')",
            "true false",
        ),
        (
            "t.timers.set('a', 1.5, 'data'), t.timers.due('a')",
            "true 1700000004",
        ),
        ("t.timers.cancel('none')", "false"),
        ("select(2, t.timers.set_tick_rate(1000)).what", "tick-hz"),
        ("t.signals.raise('go', 'x')", "true"),
        ("t.mailbox.send('chat', 'say', 'hi')", "true"),
        (
            "select(2, t.mailbox.send('nobody', 'say', 'hi')).kind",
            "not_found",
        ),
        ("t.mailbox.request('chat', 'say', 'hi', 'tag', 1)", "true"),
        (
            "t.streams.attach('scores', request.client.id), t.streams.detach('scores', request.client.id)",
            "true true",
        ),
        ("t.clients.info(request.client.id).tags[1]", "blue"),
    ] {
        shows(&bench, expression, text);
    }
    let (answer, _) = run(
        &bench,
        "print('seen', 1, nil, true) t.logging.log('warn', 'careful', { n = 1, zone = 'eu' }) return ''",
    );
    assert_eq!(answer, Ok(String::new()));
    let lines = bench.world.log_lines();
    assert_eq!(
        lines[lines.len() - 2..],
        ["hello: seen 1 nil true", "hello: careful n=1 zone=eu"]
    );
}

#[test]
fn what_does_not_fit_says_what_would() {
    let bench = Bench::new();
    for (call, found) in [
        ("t.state.add('share', 'n', 1)", "did you mean `shared`?"),
        (
            "t.state.add({ client = 'me' }, 'n', 1)",
            "expected a client's id, got \"me\"",
        ),
        (
            "t.state.add('shared', {}, 1)",
            "expected a string, got table",
        ),
        (
            "t.state.add('shared', 'n', 1.5)",
            "state.add: expected a whole number",
        ),
        ("t.state.add('shared', 'n', 2^60)", "up to 2^53"),
        (
            "t.state.set('shared', 'n', 5)",
            "expected a string or a buffer, got 5",
        ),
        (
            "t.clients.send(nil, 1, '')",
            "expected a client's id, got nil",
        ),
        (
            "t.clients.send_to('all', 0x0100, '')",
            "there are: everyone",
        ),
        (
            "t.clients.send_to({ topic = 'a', user = 'b' }, 0x0100, '')",
            "exactly one key",
        ),
        (
            "t.clients.send(request.client.id, 0x0100, '', { chanel = 1 })",
            "did you mean `channel`?",
        ),
        (
            "t.clients.send(request.client.id, 70000, '')",
            "from 0 to 65535",
        ),
        (
            "t.clients.send(request.client.id, 0x0100, '', { delivery = 'fast' })",
            "expected a delivery",
        ),
        ("t.timers.set('a', -1)", "expected seconds, 0 or more"),
        ("t.logging.log('loud', '')", "expected a level"),
        (
            "t.state.set('shared', 'k')",
            "state.set: expected a string or a buffer, got nil",
        ),
        (
            "t.state.get('shared')",
            "state.get: expected a string, got nil",
        ),
        (
            "t.state.add('shared', 'k', nil)",
            "expected a whole number, got nil",
        ),
        ("t.state.get_many('shared')", "expected a list, got nil"),
        (
            "t.timers.set('x')",
            "timers.set: expected seconds, 0 or more, got nil",
        ),
        (
            "t.timers.set_tick_rate(tonumber('x'))",
            "expected a whole number, got nil",
        ),
        (
            "t.tags.add(request.client.id)",
            "tags.add: expected a string, got nil",
        ),
        ("t.logging.log()", "expected a level by name, got nil"),
        (
            "t.clock.next_due('* * * * *')",
            "expected a string, got nil",
        ),
        (
            "t.random.bytes(10000000)",
            "hello.luau:13: random.bytes: limit exceeded: random-bytes allows 65536",
        ),
        (
            "t.random.integer(5, 1)",
            "random.integer: invalid argument: `low` is 5",
        ),
    ] {
        let code = format!(
            "local ok, problem = pcall(function() return {call} end) assert(not ok) return tostring(problem)"
        );
        let (answer, _) = run(&bench, &code);
        let text = answer.expect("it is caught");
        assert!(
            text.contains(found),
            "{call}\n says: {text}\n  not: {found}"
        );
    }
}

#[test]
fn what_does_not_fit_is_logged_with_its_function_and_its_argument() {
    let bench = Bench::new();
    for (call, said) in [
        (
            "t.state.add('shared', 'x', 'y')",
            "hello.luau:3: state.add: delta: expected a whole number up to 2^53, got \"y\"",
        ),
        (
            "t.clients.send(request.client.id, 0x0100, '', { chanel = 1 })",
            "hello.luau:3: clients.send: options: ",
        ),
        (
            "t.state.set('shared', 'k')",
            "hello.luau:3: state.set: value: expected a string or a buffer, got nil",
        ),
    ] {
        let mut module = bench.load(&format!(
            r#"
            local t = {{ state = require("@cohnect/state"), clients = require("@cohnect/clients") }}
            return {{ action = {{ run = function(request) return {call} end }} }}"#
        ));
        let Fault::Raised(text) = module.fault("run") else {
            panic!("{call} ended the replica");
        };
        assert!(text.contains(said), "{call}: {text}");
    }
}

#[test]
fn time_goes_in_as_it_came_out() {
    let bench = Bench::new();
    bench.world.advance(123_457);
    let (_, effects) = run(
        &bench,
        "t.timers.set('a', t.clock.now() - 1700000000) return ''",
    );
    match &effects[..] {
        [Effect::TimerSet { delay, .. }] => assert_eq!(*delay, 123_457),
        other => panic!("{other:?}"),
    }
}

#[test]
fn many_clients_pass_through_and_each_has_its_own_id() {
    let bench = Bench::new();
    let mut module =
        bench.load("return { action = { id = function(request) return request.client.id end } }");
    for round in 0..2 {
        for n in 0..3_000_u64 {
            let id = ClientId { hi: 7, lo: n };
            let mut request = super::bench::request("id", "");
            request.caller = cohnect_capabilities::Caller::Client(super::bench::client(id));
            let answer =
                super::bench::answer(module.call(&cohnect_host::export::Export::Execute(request)));
            assert_eq!(answer, Ok(id.to_string()), "{round}");
        }
    }
}

#[test]
fn json_goes_both_ways() {
    let bench = Bench::new();
    for (expression, text) in [
        ("t.json.encode({ a = 1 })", "{\"a\":1}"),
        ("t.json.encode({})", "[]"),
        ("t.json.encode(t.json.object({}))", "{}"),
        (
            "t.json.encode({ 1, 2.5, 'x', true, t.json.null })",
            "[1,2.5,\"x\",true,null]",
        ),
        (
            "t.json.encode({ [1] = 'a', [3] = 'c' })",
            "{\"1\":\"a\",\"3\":\"c\"}",
        ),
        (
            "t.json.encode(t.json.decode('{\"a\":[],\"b\":{},\"c\":[1,null,3]}').c)",
            "[1,null,3]",
        ),
        (
            "t.json.encode(t.json.decode('[]')), t.json.encode(t.json.decode('{}'))",
            "[] {}",
        ),
        ("t.json.decode('\"\\\\u00e9\"')", "é"),
        ("select(2, t.json.decode('{')).kind", "invalid_argument"),
        (
            "select(2, t.json.decode(string.rep('[', 1000))).kind",
            "invalid_argument",
        ),
        (
            "select(2, t.json.decode(string.rep(' ', 2000000))).kind",
            "limit_exceeded",
        ),
        ("t.json.decode(t.json.encode(2^53))", "9007199254740992"),
    ] {
        shows(&bench, expression, text);
    }
    for (value, found) in [
        ("{ a = { b = print } }", "value.a.b is a function"),
        ("{ 0/0 }", "value[1] is"),
        (
            "(function() local t = {} t.t = t return t end)()",
            "a circle",
        ),
        ("'\\xff'", "no UTF-8"),
    ] {
        let (answer, _) = run(
            &bench,
            &format!("return tostring(select(2, pcall(t.json.encode, {value})))"),
        );
        let text = answer.expect("it is caught");
        assert!(text.contains(found), "{value}: {text}");
    }
}

#[test]
fn a_list_has_bytes_in_all_and_a_text_has_a_length() {
    let bench = Bench::new();
    for body in [
        r#"t.state.get_many("shared", table.create(300, string.rep("x", 4e6)))"#,
        r#"t.state.get_many("shared", table.create(300, string.rep("x", 4e3)))"#,
        r#"t.clients.send_each(table.create(300, { to = request.client.id, payload = buffer.create(4e3) }), 1)"#,
        r#"t.tags.replace(request.client.id, table.create(300, string.rep("x", 4e3)))"#,
        r#"t.logging.log("info", "text", { a = string.rep("x", 6e5), b = string.rep("y", 6e5) })"#,
        r#"t.state.get("shared", string.rep("x", 4e6))"#,
    ] {
        let (answer, _) = run(
            &bench,
            &format!(
                "local ok, problem = pcall(function() {body} end) return `{{ok}} {{problem}}`"
            ),
        );
        let said = answer.expect("it answers");
        assert!(
            said.starts_with("false") && said.contains("at most 1048576 bytes"),
            "{body}: {said}"
        );
    }
    shows(
        &bench,
        r#"#assert(t.state.get_many("shared", table.create(100, "a"))) >= 0"#,
        "true",
    );
}
