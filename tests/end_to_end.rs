//! The real binary as its users meet it: a server in one process, the command line in another, real sockets in between.

use std::process::Command;

use cohnect_tests::{Said, Server, binary, eventually};

const HELLO: &str = r#"local state = require("@cohnect/state")

return {
    action = {
        greet = function(request)
            local visits, problem = state.add("shared", "visits", 1)
            if not visits then
                return nil, problem
            end
            return `hello {request.input}, visitor {visits}`
        end,
        refuse = function()
            return nil, { code = 7, message = "not your turn" }
        end,
        crash = function()
            error("a bug with a secret in it")
        end,
    },
}
"#;

fn run(arguments: &[&str]) -> Said {
    Command::new(binary())
        .args(arguments)
        .output()
        .expect("it runs")
        .into()
}

/// Every test that says nothing of shards holds with one and with two.
fn on_one_and_two_shards(modules: &[(&str, &str)], test: impl Fn(&Server)) {
    for shards in ["1", "2"] {
        test(&Server::dev(modules, &["--shards", shards]));
    }
}

#[test]
fn the_smallest_module_answers_the_command_line() {
    on_one_and_two_shards(&[("hello.luau", HELLO)], |server| {
        let said = server.cohnect(&["call", "hello", "greet", "Ada"]);
        assert_eq!(
            (said.code, said.out.as_str()),
            (0, "hello Ada, visitor 1"),
            "{said:?}\n{}",
            server.log()
        );
        let said = server.cohnect(&["call", "hello", "greet", "Bob"]);
        assert_eq!(said.out, "hello Bob, visitor 2");
        let said = server.cohnect(&["get", "visits"]);
        assert_eq!((said.code, said.out.as_str()), (0, "2"));
    });
}

#[test]
fn a_refusal_has_its_code_and_text_and_a_bug_has_neither() {
    on_one_and_two_shards(&[("hello.luau", HELLO)], |server| {
        let said = server.cohnect(&["call", "hello", "refuse"]);
        assert_eq!(said.code, 1);
        assert!(
            said.err.contains("not your turn") && said.err.contains('7'),
            "{said:?}"
        );
        let said = server.cohnect(&["call", "hello", "crash"]);
        assert_eq!(said.code, 1);
        assert!(
            said.err.contains("module failed") && !said.err.contains("secret"),
            "{said:?}"
        );
        server.logs("a bug with a secret in it");
        let said = server.cohnect(&["call", "hello", "greet", "Eve"]);
        assert_eq!(said.code, 0, "the module lives on: {said:?}");
    });
}

#[test]
fn an_unknown_module_or_action_is_not_found() {
    let server = Server::dev(&[("hello.luau", HELLO)], &[]);
    for arguments in [
        ["call", "nobody", "greet"],
        ["call", "hello", "nothing"],
        ["get", "no-such-key", "--json"],
    ] {
        let said = server.cohnect(&arguments);
        assert_eq!(said.code, 1, "{arguments:?} {said:?}");
        assert!(
            format!("{}{}", said.out, said.err).contains("not found"),
            "{arguments:?} {said:?}"
        );
    }
}

#[test]
fn values_are_set_guarded_and_deleted() {
    on_one_and_two_shards(&[], |server| {
        let first = server.cohnect(&["set", "motd", "welcome", "--json"]);
        assert_eq!(first.code, 0, "{first:?}");
        assert_eq!(server.cohnect(&["get", "motd"]).out, "welcome");
        let guarded = server.cohnect(&["set", "motd", "again", "--expected", "0"]);
        assert_eq!(guarded.code, 1, "it is there already: {guarded:?}");
        assert!(guarded.err.contains("conflict"), "{guarded:?}");
        assert_eq!(server.cohnect(&["set", "motd", "--delete"]).code, 0);
        assert_eq!(server.cohnect(&["get", "motd"]).code, 1);
        assert_eq!(
            server
                .cohnect(&["set", "motd", "anew", "--expected", "0"])
                .code,
            0
        );
        assert_eq!(
            server.cohnect(&["set", "k", "v", "--scope", "mine"]).code,
            0
        );
        assert_eq!(
            server.cohnect(&["set", "k", "v", "--scope", "lobby"]).code,
            0
        );
        assert_eq!(server.cohnect(&["get", "k", "--scope", "lobby"]).out, "v");
    });
}

#[test]
fn a_clients_tags_stand_with_a_tilde() {
    let server = Server::dev(&[], &[]);
    let said = server.cohnect(&["tags", "add", "lfg", "eu"]);
    assert_eq!((said.code, said.out.trim()), (0, "~eu\n~lfg"), "{said:?}");
}

#[test]
fn an_argument_without_its_form_is_refused_before_anything_is_sent() {
    let long = "k".repeat(256);
    for (arguments, parts) in [
        (
            &["tags", "add", "lfg", "no spaces"][..],
            ["'no spaces' for '[TAGS]...'", "1 to 64 of A-Z a-z"],
        ),
        (
            &["broadcast", "news", "x", "--tagged", "red &"],
            ["'red &' for '--tagged <EXPR>'", "such as `team/red & "],
        ),
        (&["get", ""], ["'<KEY>'", "1 to 255 would be right"]),
        (
            &["get", "k", "--scope", ""],
            ["'--scope <SCOPE>'", "1 to 255"],
        ),
        (&["set", &long, "v"], ["'<KEY>'", "it has 256 bytes"]),
        (
            &["set", "k", "v", "--expected", "new"],
            ["'new' for '--expected <VERSION>'", "no whole number"],
        ),
        (&["stream", ""], ["'<TOPIC>'", "1 to 255 would be right"]),
        (
            &["send", "1", "x"],
            ["'1' for '<OPCODE>'", "0x0100 to 0xFFFF"],
        ),
    ] {
        // Nothing listens there: what has no form is not even looked for.
        let nowhere = ["--server", "127.0.0.1:1", "--key", "00"];
        let said = run(&[arguments, &nowhere].concat());
        assert_eq!(said.code, 2, "{arguments:?}: {said:?}");
        for part in parts {
            assert!(said.err.contains(part), "{part}: {said:?}");
        }
    }
}

#[test]
fn a_broadcast_reaches_those_who_listen() {
    on_one_and_two_shards(&[], |server| {
        let listener = server
            .command(&["stream", "chat/eu", "--count", "1", "--timeout", "60"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("it runs");
        let sent = eventually("a listener", || {
            let said = server.cohnect(&["broadcast", "chat/eu", "hello there"]);
            assert_eq!(said.code, 0, "{said:?}");
            (said.out.trim() == "1").then_some(said)
        });
        assert_eq!(sent.code, 0);
        let heard: Said = listener.wait_with_output().expect("it ends").into();
        assert_eq!((heard.code, heard.out.trim()), (0, "hello there"));
    });
}

#[test]
fn a_packet_goes_through_the_modules_that_claim_its_opcode() {
    let code = r#"return { pipeline = { [0x0123] = function(packet)
        if packet.payload == "no" then
            return { reject = { code = 3, message = "not that" } }
        end
        return { reply = `{packet.version}:{packet.payload}` }
    end } }"#;
    on_one_and_two_shards(&[("pipe.luau", code)], |server| {
        let said = server.cohnect(&["send", "0x0123", "hi", "--command-version", "2"]);
        assert_eq!((said.code, said.out.trim()), (0, "2:hi"), "{said:?}");
        let refused = server.cohnect(&["send", "291", "no"]);
        assert_eq!(refused.code, 1);
        assert!(refused.err.contains("not that"), "{refused:?}");
        assert_eq!(
            server.cohnect(&["send", "0x0124", "x"]).code,
            1,
            "unclaimed"
        );
        assert_eq!(
            server.cohnect(&["send", "0x0001", "x"]).code,
            2,
            "not theirs"
        );
    });
}

#[test]
fn a_saved_file_is_live_and_state_stays() {
    on_one_and_two_shards(&[("hello.luau", HELLO)], |server| {
        assert_eq!(
            server.cohnect(&["call", "hello", "greet", "Ada"]).out,
            "hello Ada, visitor 1"
        );
        server.save(
            "hello.luau",
            &HELLO.replace("hello {request.input}", "welcome {request.input}"),
        );
        eventually("the new text", || {
            let said = server.cohnect(&["call", "hello", "greet", "Ada"]);
            assert_eq!(said.code, 0, "no request is lost: {said:?}");
            said.out.starts_with("welcome Ada, visitor ").then_some(())
        });
        server.save("hello.luau", "return { action = { greet = function( } }");
        server.logs("hello.luau:1");
        let said = server.cohnect(&["call", "hello", "greet", "Ada"]);
        assert!(
            said.out.starts_with("welcome Ada"),
            "the old code goes on: {said:?}"
        );
        server.save(
            "another.luau",
            "return { action = { who = function() return 'I am new' end } }",
        );
        server.answers("another", "who", "", "I am new");
    });
}

#[test]
fn a_module_whose_file_goes_is_unloaded() {
    let server = Server::dev(&[("hello.luau", HELLO)], &[]);
    assert_eq!(server.cohnect(&["call", "hello", "greet", "Ada"]).code, 0);
    std::fs::remove_file(server.folder().join("modules/hello.luau")).expect("it was there");
    eventually("its end", || {
        (server.cohnect(&["call", "hello", "greet", "Ada"]).code == 1).then_some(())
    });
}

#[test]
fn a_module_broken_at_start_is_left_out_loudly() {
    let server = Server::dev(
        &[
            ("hello.luau", HELLO),
            ("broken.luau", "return {"),
            ("loop.luau", "while true do end"),
        ],
        &[],
    );
    server.logs("broken.luau:1");
    server.logs("loop");
    assert_eq!(server.cohnect(&["call", "hello", "greet", "Ada"]).code, 0);
    let said = server.cohnect(&["call", "broken", "anything"]);
    assert_eq!(said.code, 1);
    assert!(said.err.contains("unavailable"), "{said:?}");
}

#[test]
fn runaways_end_and_others_do_not_notice() {
    let runaway = r#"return { action = {
        spin = function() while true do end end,
        sly = function() while true do pcall(function() while true do end end) end end,
        hog = function() local t = {} while true do table.insert(t, string.rep("x", 65536)) end end,
        huge = function() return string.rep("x", 200 * 1024 * 1024) end,
        deep = function() local function f() return 1 + f() end return tostring(f()) end,
        fine = function() return "fine" end,
    } }"#;
    let server = Server::dev(&[("runaway.luau", runaway), ("hello.luau", HELLO)], &[]);
    for action in ["spin", "sly", "hog", "huge", "deep"] {
        let said = server.cohnect(&["call", "runaway", action]);
        assert_eq!(said.code, 1, "{action}: {said:?}");
        assert!(said.err.contains("module failed"), "{action}: {said:?}");
        assert_eq!(
            server.cohnect(&["call", "hello", "greet", "Ada"]).code,
            0,
            "after {action}"
        );
    }
    eventually("its recovery", || {
        (server.cohnect(&["call", "runaway", "fine"]).out == "fine").then_some(())
    });
}

/// There a call gives its turn up at each tick, so that its CPU time comes in slices.
#[test]
fn a_runaway_on_a_worker_ends_by_its_cpu_too() {
    let runaway = r#"return { action = {
        spin = function() while true do end end,
        sly = function() while true do pcall(function() while true do end end) end end,
        long = function() local n = 0 for i = 1, 1e9 do n += i end return tostring(n) end,
        fine = function() return "fine" end,
    } }"#;
    let server = Server::dev(
        &[("slow.luau", runaway), ("slow.toml", "deadline_ms = 50\n")],
        &[],
    );
    for action in ["spin", "sly", "long"] {
        let said = server.cohnect(&["call", "slow", action, "--timeout", "30"]);
        assert!(said.err.contains("module failed"), "{action}: {said:?}");
    }
    let log = server.log();
    assert!(log.contains("CPU time"), "{log}");
    assert!(!log.contains("wall time"), "{log}");
    eventually("its recovery", || {
        (server.cohnect(&["call", "slow", "fine"]).out == "fine").then_some(())
    });
}

#[test]
fn a_database_is_there_without_configuration_and_its_doors_are_shut() {
    let module = r#"local db = require("@cohnect/db")
    local errors = require("@cohnect/errors")
    return { action = {
        note = function(request)
            errors.need(db.execute("main", "create table if not exists notes (text text)"))
            errors.need(db.execute("main", "insert into notes values ($1)", request.input))
            local rows = errors.need(db.query("main", "select count(*) as n from notes"))
            return tostring(rows[1].n)
        end,
        attach = function() errors.need(db.execute("main", "attach database '/tmp/x.db' as other")) return "" end,
        vacuum = function() errors.need(db.execute("main", "vacuum into '/tmp/y.db'")) return "" end,
        pragma = function() errors.need(db.execute("main", "pragma journal_mode = off")) return "" end,
        other = function() errors.need(db.query("elsewhere", "select 1")) return "" end,
    } }"#;
    let server = Server::dev(
        &[
            ("notes.luau", module),
            ("notes.toml", "grants = [\"db:main\"]\n"),
        ],
        &[],
    );
    assert_eq!(
        server.cohnect(&["call", "notes", "note", "one"]).out,
        "1",
        "{}",
        server.log()
    );
    assert_eq!(server.cohnect(&["call", "notes", "note", "two"]).out, "2");
    for action in ["attach", "vacuum", "pragma", "other"] {
        let said = server.cohnect(&["call", "notes", action]);
        assert_eq!(said.code, 1, "{action}: {said:?}");
        // The statement is the module's, so the mistake is, too: the log says what was refused.
        assert!(said.err.contains("module failed"), "{action}: {said:?}");
    }
    assert_eq!(server.cohnect(&["call", "notes", "note", "three"]).out, "3");
}

#[test]
fn a_second_server_on_the_port_is_refused_by_its_address() {
    let server = Server::dev(&[], &[]);
    let ready = std::fs::read_to_string(server.ready_file()).expect("it is ready");
    let address = ready
        .split('"')
        .find(|text| text.starts_with("127.0.0.1:"))
        .expect("it says where")
        .to_owned();
    let folder = tempfile::tempdir().expect("there is room");
    std::fs::create_dir(folder.path().join("modules")).expect("a folder can be made");
    let said = run(&[
        "dev",
        folder.path().to_str().expect("text"),
        "--listen",
        &address,
    ]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(
        said.err.contains(&address) && said.err.contains("in use"),
        "{said:?}"
    );
}

#[test]
fn nobody_there_is_exit_code_3_and_a_wrong_word_is_2() {
    let free = std::net::UdpSocket::bind("127.0.0.1:0")
        .expect("a port")
        .local_addr()
        .expect("it has one")
        .to_string();
    let key = "00".repeat(31) + "09";
    let said = run(&[
        "call",
        "m",
        "a",
        "--server",
        &free,
        "--key",
        &key,
        "--timeout",
        "1",
    ]);
    assert_eq!(said.code, 3, "{said:?}");
    assert!(said.err.contains(&free), "{said:?}");
    assert_eq!(run(&["call"]).code, 2);
    assert_eq!(run(&["conquer"]).code, 2);
}

#[test]
fn a_wrong_pin_is_no_connection_and_says_so() {
    let server = Server::dev(&[], &[]);
    let ready = std::fs::read_to_string(server.ready_file()).expect("it is ready");
    let address = ready
        .split('"')
        .find(|text| text.starts_with("127.0.0.1:"))
        .expect("it says where")
        .to_owned();
    let key = "00".repeat(31) + "09";
    let said = run(&[
        "get",
        "k",
        "--server",
        &address,
        "--key",
        &key,
        "--timeout",
        "1",
    ]);
    assert_eq!(said.code, 3, "{said:?}");
    assert!(
        said.err.contains("key"),
        "the likely reason is named: {said:?}"
    );
}

#[test]
fn sigterm_drains() {
    let server = Server::dev(
        &[(
            "bye.luau",
            "return { action = { x = function() return 'x' end }, lifecycle = { stop = function(reason) print('stopped: ' .. reason) end } }",
        )],
        &[],
    );
    let mut listener = server
        .command(&["stream", "news", "--timeout", "60"])
        .spawn()
        .expect("it runs");
    eventually("a listener", || {
        (server.cohnect(&["broadcast", "news", "x"]).out.trim() == "1").then_some(())
    });
    let (said, log) = server.terminate();
    assert_eq!(said.code, 0, "{log}");
    assert!(log.contains("stopped: shutdown"), "{log}");
    let status = eventually("the listener's end", || {
        listener.try_wait().expect("it is ours")
    });
    assert_eq!(status.code(), Some(3), "the server closed the session");
}

#[test]
fn serve_refuses_what_it_cannot_stand_for() {
    let folder = tempfile::tempdir().expect("there is room");
    let config = folder.path().join("cohnect.toml");
    let serve = |text: &str| {
        std::fs::write(&config, text).expect("it can be written");
        run(&["serve", "--config", config.to_str().expect("text")])
    };
    let said = serve("[server]\nlistn = \"127.0.0.1:0\"\n");
    assert_eq!(said.code, 1, "{said:?}");
    assert!(
        said.err.contains("cohnect.toml:2") && said.err.contains("listn"),
        "{said:?}"
    );
    let said = serve("[server]\nlisten = \"127.0.0.1:0\"\n");
    assert_eq!(said.code, 1);
    assert!(said.err.contains("anonymous"), "{said:?}");
    std::fs::create_dir_all(folder.path().join("modules")).expect("a folder can be made");
    std::fs::write(folder.path().join("modules/broken.luau"), "return {")
        .expect("it can be written");
    let said = serve("[server]\nlisten = \"127.0.0.1:0\"\n[access]\nanonymous = true\n");
    assert_eq!(said.code, 1);
    assert!(said.err.contains("broken.luau"), "{said:?}");
}
