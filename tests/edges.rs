//! The edges of the real binary: what a module may do to the log and to its callers, what configuration is refused, how a listener leaves.

use std::process::Command;

use cohnect_tests::{Said, Server, binary, eventually};

fn run(arguments: &[&str]) -> Said {
    Command::new(binary())
        .args(arguments)
        .output()
        .expect("it runs")
        .into()
}

#[test]
fn a_module_that_repeats_its_input_forges_no_line_of_the_log() {
    let module = r#"return { action = {
        repeats = function(request) error(request.input) end,
        much = function(request) error(string.rep(request.input, 100000)) end,
        passes = function(request) return nil, { kind = "other", code = "x", message = request.input } end,
    } }"#;
    let server = Server::dev(&[("parrot.luau", module)], &[]);
    let input = "red\u{1b}[31m\nERROR forged\n   0.000001s  INFO forged";
    for action in ["repeats", "passes", "much"] {
        assert_eq!(server.cohnect(&["call", "parrot", action, input]).code, 1);
    }
    server.logs("red\\u{1b}[31m\n    | ERROR forged\n    |    0.000001s  INFO forged");
    let log = server.log();
    assert!(!log.contains("red\u{1b}"), "{log}");
    for line in log.lines().filter(|line| line.contains("forged")) {
        let began_by_a_bar = line.starts_with("    | ");
        assert!(began_by_a_bar || line.contains("parrot"), "{line:?}\n{log}");
    }
    assert!(log.len() < 100_000, "{} bytes", log.len());
}

#[test]
fn a_wrong_argument_of_a_modules_own_is_in_the_log_and_not_its_callers_fault() {
    let module = r#"local db = require("@cohnect/db")
    local json = require("@cohnect/json")
    local errors = require("@cohnect/errors")
    return { action = {
        own = function() return nil, select(2, db.query("main", "select $1")) end,
        needs = function() errors.need(db.query("main", "")) return "" end,
        his = function(request) return nil, select(2, json.decode(request.input)) end,
    } }"#;
    let server = Server::dev(
        &[
            ("notes.luau", module),
            ("notes.toml", "grants = [\"db:main\"]\n"),
        ],
        &[],
    );
    for action in ["own", "needs"] {
        let said = server.cohnect(&["call", "notes", action]);
        assert!(said.err.contains("module failed"), "{said:?}");
    }
    server.logs("db.query: invalid argument: the statement is empty");
    let said = server.cohnect(&["call", "notes", "his", "{"]);
    assert!(said.err.contains("malformed"), "{said:?}");
}

#[test]
fn a_checked_input_is_refused_with_the_field_that_is_wrong() {
    let module = r#"local define = require("@cohnect/define")
    local check = require("@cohnect/check")
    local Drop = check.json({ column = check.integer(0, 6) })
    return { action = { drop = define.typed({}, Drop, function(_, input) return tostring(input.column) end) } }"#;
    let server = Server::dev(&[("game.luau", module)], &[]);
    let said = server.cohnect(&["call", "game", "drop", r#"{"column":9}"#]);
    assert_eq!(said.code, 1);
    assert!(
        said.err
            .contains("input.column: expected a whole number from 0 to 6"),
        "{said:?}"
    );
}

#[test]
fn a_listener_that_is_told_to_end_says_goodbye() {
    let module = r#"return { client_events = {
        on_disconnected = function(_, reason) print("gone: " .. reason) end,
    } }"#;
    let server = Server::dev(&[("door.luau", module)], &[]);
    for (n, signal) in ["-TERM", "-INT"].into_iter().enumerate() {
        let topic = format!("news{n}");
        let mut listener = server
            .command(&["stream", &topic, "--timeout", "60"])
            .spawn()
            .expect("it runs");
        eventually("a listener", || {
            (server.cohnect(&["broadcast", &topic, "x"]).out.trim() == "1").then_some(())
        });
        // Whoever listened for the answers above is gone, too; only the listener is left.
        let before = server.log().matches("gone: left").count();
        let killed = Command::new("kill")
            .args([signal, &listener.id().to_string()])
            .status()
            .expect("kill runs");
        assert!(killed.success());
        let status = eventually("the listener's end", || {
            listener.try_wait().expect("it is ours")
        });
        assert_eq!(status.code(), Some(0), "{signal}");
        eventually("its goodbye", || {
            (server.log().matches("gone: left").count() > before).then_some(())
        });
    }
}

#[test]
fn what_the_configuration_says_holds_or_is_refused() {
    let folder = tempfile::tempdir().expect("there is room");
    std::fs::create_dir(folder.path().join("modules")).expect("a folder can be made");
    let own = folder.path().to_str().expect("text");
    let refused = |text: &str, parts: &[&str]| {
        std::fs::write(folder.path().join("cohnect.toml"), text).expect("it can be written");
        for command in ["check", "dev"] {
            let said = run(&[command, own]);
            assert_eq!(said.code, 1, "{command}: {said:?}");
            for part in parts {
                assert!(said.err.contains(part), "{command}: {part}: {said:?}");
            }
        }
    };
    refused(
        "[log]\nlevel = \"inof\"\n",
        &["cohnect.toml:2: `level`", "\"inof\"", "\"debug\""],
    );
    refused(
        "[session]\nidle_timeout_s = 2\n",
        &["cohnect.toml:2: `idle_timeout_s`", "3 to 600"],
    );
    for flag in ["--shards", "--workers"] {
        for wrong in ["0", "65"] {
            let said = run(&["dev", own, flag, wrong]);
            assert_eq!(said.code, 2, "{said:?}");
            assert!(said.err.contains("1..=64"), "{said:?}");
        }
    }
}

#[test]
fn what_has_no_form_is_told_from_what_is_refused() {
    let folder = tempfile::tempdir().expect("there is room");
    let own = folder.path().to_str().expect("text");
    let nowhere = folder.path().join("nowhere");
    let nowhere = nowhere.to_str().expect("text");
    for arguments in [
        &["new", "Bad Name", "--into", own][..],
        &["build", nowhere],
        &["dev", nowhere],
        &["dev", own],
        &["check", nowhere],
        &["check", own],
        &["serve", "--config", nowhere],
    ] {
        let said = run(arguments);
        assert_eq!(said.code, 2, "{arguments:?}: {said:?}");
        assert!(!said.err.is_empty(), "{arguments:?}");
    }
    assert_eq!(run(&["new", "hello", "--into", own]).code, 0);
    assert_eq!(run(&["new", "hello", "--into", own]).code, 1, "it is there");
    let modules = folder.path().join("modules");
    std::fs::create_dir(&modules).expect("a folder can be made");
    std::fs::write(modules.join("a.luau"), "return 7").expect("it can be written");
    let said = run(&["check", own]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.starts_with("a: refused"), "{said:?}");
}

#[test]
fn a_new_module_is_well_as_it_is_and_an_unbuilt_one_says_how() {
    let folder = tempfile::tempdir().expect("there is room");
    let modules = folder.path().join("modules");
    std::fs::create_dir(&modules).expect("a folder can be made");
    let own = folder.path().to_str().expect("text");
    let into = modules.to_str().expect("text");
    let said = run(&["new", "hello", "--into", into]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(modules.join(".luau-types/state.luau").is_file());
    let said = run(&["check", own]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.starts_with("hello: well"), "{said:?}");

    let said = run(&["new", "shop", "--lang", "rust", "--into", into]);
    assert_eq!(said.code, 0, "{said:?}");
    let said = run(&["check", own]);
    assert_eq!(said.code, 1);
    let wanted = format!(
        "`cohnect build {}` makes it",
        modules.join("shop").display()
    );
    assert!(said.out.contains(&wanted), "{said:?}");
}

/// What `cohnect check` says of these modules.
fn check(files: &[(&str, &str)], configuration: &str) -> Said {
    let folder = tempfile::tempdir().expect("there is room");
    for (name, content) in files {
        let file = folder.path().join("modules").join(name);
        std::fs::create_dir_all(file.parent().expect("it lies in a folder"))
            .expect("a folder can be made");
        std::fs::write(file, content).expect("it can be written");
    }
    std::fs::write(folder.path().join("cohnect.toml"), configuration).expect("it can be written");
    run(&["check", folder.path().to_str().expect("text")])
}

#[test]
fn a_malformed_tag_expression_is_refused_with_its_place() {
    for (module, wanted) in [
        (
            "action = { a = define.action({ requires = 'red &&' }, function() return '' end) }",
            "a.luau: the action `a` requires `red &&`: ",
        ),
        (
            "pipeline = { [0x0100] = define.packet({ requires = 'a b' }, function() return 'pass' end) }",
            "a.luau: the stage of opcode 0x0100 requires `a b`: ",
        ),
        (
            "broadcast = { chat = define.broadcast({ requires = '(x' }, function() return 'pass' end) }",
            "a.luau: the stage of the topic `chat` requires `(x`: ",
        ),
        (
            "stream_handler = { news = define.stream({ requires = '|' }, function() return nil end) }",
            "a.luau: the stream of the topic `news` requires `|`: ",
        ),
    ] {
        let module = format!("local define = require('@cohnect/define') return {{ {module} }}");
        let said = check(&[("a.luau", &module)], "");
        assert_eq!(said.code, 1, "{said:?}");
        assert!(said.out.contains(wanted), "{said:?}");
    }
}

#[test]
fn more_luau_than_can_be_compiled_in_good_time_is_refused() {
    let text = |bytes: usize| format!("return {{}} --{}", "x".repeat(bytes));
    let said = check(&[("a.luau", &text(1024 * 1024))], "");
    assert!(said.out.contains("a.luau: 10485"), "{said:?}");
    assert!(said.out.contains("at most 1048576"), "{said:?}");
    let half = text(1024 * 1024 - 100);
    let parts: Vec<_> = (0..4).map(|n| format!("a/part{n}.luau")).collect();
    let mut files: Vec<_> = parts.iter().map(|name| (&**name, &*half)).collect();
    files.push(("a/a.luau", "return {}"));
    assert_eq!(check(&files, "").code, 0);
    files.push(("a/one_more.luau", &half));
    let said = check(&files, "");
    assert!(
        said.out.contains("more than 4194304 bytes of Luau"),
        "{said:?}"
    );
}

#[test]
fn a_secret_without_a_value_is_absent_and_said_where_people_develop_and_refused_where_they_serve() {
    let module = r#"local config = require("@cohnect/config")
    return { action = { key = function() return tostring(config.secret("key")) end } }"#;
    let secrets = "[server]\nlisten = \"127.0.0.1:0\"\n[access]\nanonymous = true\n\
                   [secrets]\nkey = { env = \"NO_SUCH_SECRET_OF_COHNECT\" }\n";
    let complaint = "cohnect.toml:6: `key`: the environment has no NO_SUCH_SECRET_OF_COHNECT";
    let files = [
        ("shop.luau", module),
        ("shop.toml", "grants = [\"secret:key\"]\n"),
    ];
    let said = check(&files, secrets);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.err.contains(complaint), "{said:?}");

    let server = Server::dev(&[files[0], files[1], ("../cohnect.toml", secrets)], &[]);
    server.logs(complaint);
    assert_eq!(server.cohnect(&["call", "shop", "key"]).out, "nil");
    server.logs("the module gets no secret `key`: the server's configuration has no such secret");
    server.save("shop.toml", "");
    eventually("the new manifest", || {
        let _ = server.cohnect(&["call", "shop", "key"]);
        let said = "the grant \"secret:key\" is missing";
        server.log().contains(said).then_some(())
    });
    let own = server.folder().join("cohnect.toml");
    let said = run(&["serve", "--config", own.to_str().expect("text")]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains(complaint), "{said:?}");
    let set_but_empty: Said = Command::new(binary())
        .args(["serve", "--config"])
        .arg(&own)
        .env("NO_SUCH_SECRET_OF_COHNECT", "")
        .output()
        .expect("it runs")
        .into();
    assert_eq!(set_but_empty.code, 1, "{set_but_empty:?}");
    let complaint = "cohnect.toml:6: `key`: NO_SUCH_SECRET_OF_COHNECT is empty in the environment";
    assert!(set_but_empty.err.contains(complaint), "{set_but_empty:?}");
}

#[test]
fn a_folder_has_one_server_wherever_the_second_is_started() {
    let configuration = "[server]\nlisten = \"127.0.0.1:0\"\n[access]\nanonymous = true\n";
    let server = Server::dev(&[("../cohnect.toml", configuration)], &[]);
    let own = server.folder().to_str().expect("text");
    let file = server.folder().join("cohnect.toml");
    let file = file.to_str().expect("text");
    let elsewhere = tempfile::tempdir().expect("there is room");
    for arguments in [&["dev", own][..], &["serve", "--config", file]] {
        for here in [elsewhere.path(), server.folder()] {
            let said: Said = Command::new(binary())
                .args(arguments)
                .current_dir(here)
                .output()
                .expect("it runs")
                .into();
            assert_eq!(said.code, 1, "{arguments:?}: {said:?}");
            let process = format!("(process {})", server.pid());
            for part in [&process, "/.cohnect;"] {
                assert!(said.err.contains(part), "{part}: {said:?}");
            }
        }
    }
    let found = server.cohnect(&["get", "nothing"]);
    assert_eq!(found.code, 1, "the first still answers: {found:?}");
}

#[test]
fn a_files_name_forges_no_line_of_the_log_and_of_what_check_says() {
    let forged = "x\n   0.5s  INFO loaded, generation 7\n\u{1b}[31m.luau";
    let server = Server::dev(&[(forged, "return {}")], &[]);
    server.logs("rename it");
    let said = check(&[(forged, "return {}")], "");
    for text in [server.log(), said.out] {
        assert!(!text.contains('\u{1b}'), "{text:?}");
        let forges = |line: &str| line.trim_start().starts_with("0.5s  INFO");
        assert!(!text.lines().any(forges), "{text}");
        assert!(text.contains("x\\n   0.5s  INFO loaded"), "{text}");
    }
}

#[test]
fn mail_that_comes_to_nothing_is_in_the_log_with_its_reason() {
    let sender = r#"local mailbox = require("@cohnect/mailbox")
    return { action = { tell = function(request)
        local module, action = string.match(request.input, "(%S+) (%S+)")
        mailbox.send(module, action, "x")
        return "sent"
    end } }"#;
    let receiver = r#"return { action = {
        well = function() return "" end,
        refuses = function() return nil, { code = 4, message = "not you" } end,
    } }"#;
    let files = [("sender.luau", sender), ("receiver.luau", receiver)];
    let server = Server::dev(&files, &[]);
    let tell = |what: &str| {
        let said = server.cohnect(&["call", "sender", "tell", what]);
        assert_eq!(said.out, "sent", "{said:?}");
    };
    for _ in 0..3 {
        tell("nobody hears");
        tell("receiver lacks");
        tell("receiver refuses");
        tell("receiver well");
    }
    for wanted in [
        "its mail to the action `hears` of `nobody` came to nothing: there is no such module",
        "its mail to the action `lacks` of `receiver` came to nothing: there is no such module, or it has no such action",
        "its mail to the action `refuses` of `receiver` came to nothing: it was refused: refused with code 4: not you",
    ] {
        server.logs(wanted);
        assert_eq!(server.log().matches(wanted).count(), 1, "{}", server.log());
    }
    assert!(server.log().contains("WARN"), "{}", server.log());
    assert!(!server.log().contains("`well`"), "{}", server.log());
}

#[test]
fn a_timer_or_an_answer_without_a_handler_is_named_once_in_the_log() {
    let some = r#"local timers = require("@cohnect/timers")
    local mailbox = require("@cohnect/mailbox")
    return {
        action = {
            begin = function()
                timers.every("lost:1", 0.001)
                timers.every("lost:2", 0.001)
                mailbox.request("some", "echo", "x", "who")
                return "begun"
            end,
            echo = function(request) return request.input end,
            left = function() return tostring(timers.due("lost:1") ~= nil) end,
        },
        timer_handler = { found = function() end },
        reply_handler = { found = function() end },
    }"#;
    let none = r#"local timers = require("@cohnect/timers")
    return { action = { begin = function() timers.every("tick", 0.001) return "begun" end } }"#;
    let server = Server::dev(&[("some.luau", some), ("none.luau", none)], &[]);
    for module in ["some", "none"] {
        let said = server.cohnect(&["call", module, "begin"]);
        assert_eq!(said.out, "begun", "{said:?}\n{}", server.log());
    }
    server.logs("timer `lost` came, and the module has no handler of this name");
    server.logs("answer with the tag `who` came");
    server.logs("the timer `tick` came, and the module has no handler for timers");
    server.answers("some", "left", "", "false");
    assert_eq!(server.log().matches("timer `lost` came").count(), 1);
}
