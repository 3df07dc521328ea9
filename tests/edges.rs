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
    let input = "red\u{1b}[31m\nERROR forged";
    for action in ["repeats", "passes", "much"] {
        assert_eq!(server.cohnect(&["call", "parrot", action, input]).code, 1);
    }
    server.logs("red\\u{1b}[31m\n    ERROR forged");
    let log = server.log();
    assert!(!log.contains("red\u{1b}"), "{log}");
    assert!(
        !log.lines().any(|line| line.starts_with("ERROR forged")),
        "{log}"
    );
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
