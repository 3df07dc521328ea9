//! How clients come and go at the real binary: what the door says to those whom it does not let in, and what modules hear before the server ends.

use std::process::{Command, Stdio};

use cohnect_tests::{Said, Server, eventually};

/// Says what it hears of its clients and of its own end.
const WITNESS: &str = r#"return {
    stream_handler = { news = function() return nil end },
    stream_closed = { news = function(closed) print("closed: " .. closed.reason) end },
    client_events = { on_disconnected = function(_, reason) print("gone: " .. reason) end },
    lifecycle = { stop = function(reason) print("stopped: " .. reason) end },
}"#;

/// The same on a worker, with a database, in which it notes who has gone.
const CLERK: &str = r#"local db = require("@cohnect/db")
local errors = require("@cohnect/errors")
return {
    client_events = {
        on_disconnected = function(_, reason)
            errors.need(db.execute("main", "create table if not exists gone (reason text)"))
            errors.need(db.execute("main", "insert into gone values ($1)", reason))
        end,
    },
    lifecycle = { stop = function()
        local rows = errors.need(db.query("main", "select count(*) as n from gone where reason = 'shutting_down'"))
        print("noted: " .. tostring(rows[1].n))
    end },
}"#;

#[test]
fn modules_hear_of_every_client_before_they_stop() {
    for shards in ["1", "2"] {
        let server = Server::dev(
            &[
                ("witness.luau", WITNESS),
                ("clerk.luau", CLERK),
                ("clerk.toml", "grants = [\"db:main\"]\n"),
            ],
            &["--shards", shards],
        );
        let listeners: Vec<_> = (0..3)
            .map(|_| {
                server
                    .command(&["stream", "news", "--timeout", "60"])
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .spawn()
                    .expect("it runs")
            })
            .collect();
        eventually("the listeners", || {
            (server.cohnect(&["broadcast", "news", "x"]).out.trim() == "3").then_some(())
        });
        let (said, log) = server.terminate();
        assert_eq!(said.code, 0, "{log}");
        let stopped = log.find("stopped: shutdown").expect("it stops");
        let before = &log[..stopped];
        for line in ["gone: shutting_down", "closed: shutting_down"] {
            assert_eq!(before.matches(line).count(), 3, "{line}\n{log}");
        }
        assert!(log.contains("noted: 3"), "{log}");
        for mut listener in listeners {
            let status = listener.wait().expect("it is ours");
            assert_eq!(status.code(), Some(3), "the server closed the session");
        }
    }
}

#[test]
fn whoever_is_not_let_in_reads_why() {
    let door = r#"return { client_events = {
        on_connecting = function() return nil, { code = 7, message = "not on the list" } end,
    } }"#;
    let server = Server::dev(&[("door.luau", door)], &[]);
    for arguments in [
        &["call", "door", "x"][..],
        &["get", "x"],
        &["stream", "x", "--timeout", "60"],
    ] {
        let said = server.cohnect(arguments);
        assert_eq!(said.code, 3, "{said:?}");
        assert!(said.err.contains("refused: not on the list"), "{said:?}");
    }
    let said = server.cohnect(&["call", "door", "x", "--json"]);
    let shown: serde_json::Value = serde_json::from_str(said.out.trim()).expect("it is JSON");
    assert_eq!(
        (&shown["name"], &shown["message"]),
        (&"refused".into(), &"not on the list".into()),
        "{said:?}"
    );
}

#[test]
fn a_door_that_takes_too_long_or_fails_is_named_in_the_log() {
    let slow = r#"return { client_events = {
        on_connecting = function() while true do end end,
    } }"#;
    let server = Server::dev(
        &[("slow.luau", slow), ("slow.toml", "deadline_ms = 5000\n")],
        &[],
    );
    let said = server.cohnect(&["call", "slow", "x", "--timeout", "30"]);
    assert_eq!(said.code, 3, "{said:?}");
    server.logs("because `on_connecting` took more than 3 s");
    let broken = r#"return { client_events = { on_connecting = function() error("a bug") end } }"#;
    let server = Server::dev(&[("broken.luau", broken)], &[]);
    assert_eq!(server.cohnect(&["call", "broken", "x"]).code, 3);
    server.logs("because `on_connecting` failed");
}

#[test]
fn a_listener_that_is_sent_away_reads_why() {
    let bouncer = r#"local clients = require("@cohnect/clients")
    return { action = { out = function(request)
        for _, id in clients.ids("everyone") do
            if id ~= request.client.id then clients.disconnect(id, "kicked", "cheating") end
        end
        return "done"
    end } }"#;
    let server = Server::dev(&[("bouncer.luau", bouncer)], &[]);
    let listener = server
        .command(&["stream", "news", "--timeout", "60"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    eventually("a listener", || {
        (server.cohnect(&["broadcast", "news", "x"]).out.trim() == "1").then_some(())
    });
    let said = server.cohnect(&["call", "bouncer", "out"]);
    assert_eq!(said.out, "done", "{said:?}\n{}", server.log());
    let heard: Said = listener.wait_with_output().expect("it ends").into();
    assert_eq!(heard.code, 3, "{heard:?}");
    assert!(heard.err.contains("kicked: cheating"), "{heard:?}");
}

#[test]
fn a_second_signal_ends_a_server_that_still_waits_for_its_clients() {
    let server = Server::dev(&[], &[]);
    let mut listener = server
        .command(&["stream", "news", "--timeout", "60"])
        .stdout(Stdio::null())
        .spawn()
        .expect("it runs");
    eventually("a listener", || {
        (server.cohnect(&["broadcast", "news", "x"]).out.trim() == "1").then_some(())
    });
    let send = |signal: &str, process: u32| {
        let sent = Command::new("kill")
            .args([signal, &process.to_string()])
            .status()
            .expect("kill runs");
        assert!(sent.success());
    };
    // It says no goodbye, so that the server waits for it.
    send("-STOP", listener.id());
    send("-TERM", server.pid());
    server.logs("ending: ");
    let (said, log) = server.terminate();
    send("-KILL", listener.id());
    drop(listener.wait());
    // Where the machine is so slow that the wait was over by then, it ended by itself.
    assert!(
        said.code == 0 || log.contains("a second signal"),
        "{said:?}\n{log}"
    );
}
