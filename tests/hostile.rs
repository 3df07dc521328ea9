//! What broken or hostile clients, modules and neighbours do to a real server: each has its own answer, and nobody else notices.

use std::process::Command;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cohnect_client::{Client, Detail, Error, Event, Incoming, Opcode, Scope};
use cohnect_protocol::ops::{Body, broadcast, execute, get, set, stream, tags};
use cohnect_tests::{PATIENCE, Server, top};

fn with_client<F: Future<Output = ()>>(server: &Server, test: impl FnOnce(Client, Incoming) -> F) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
    runtime.block_on(async {
        let (client, incoming) = Client::connect(server.client()).await.expect("it answers");
        test(client, incoming).await;
    });
}

/// The requests of the golden file, by opcode: those that mean something, and those that are malformed.
fn requests(list: &str) -> Vec<(Opcode, Vec<u8>)> {
    let file = top().join("protocol/vectors/operations.json");
    let text = std::fs::read_to_string(file).expect("the vectors are there");
    let vectors: serde_json::Value = serde_json::from_str(&text).expect("they are JSON");
    let all = vectors[list].as_array().expect("a list");
    all.iter()
        .filter_map(|vector| {
            let form = vector["form"].as_str()?.strip_suffix(" request")?;
            let hex = vector["hex"].as_str()?;
            let bytes = (0..hex.len() / 2)
                .map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).expect("hexadecimal"))
                .collect();
            let opcode = OPERATIONS.iter().find(|(_, name)| *name == form)?.0;
            Some((opcode, bytes))
        })
        .collect()
}

const OPERATIONS: [(Opcode, &str); 6] = [
    (Opcode::GET, "GET"),
    (Opcode::SET, "SET"),
    (Opcode::SET_CLIENT_TAGS, "SET_CLIENT_TAGS"),
    (Opcode::EXECUTE, "EXECUTE"),
    (Opcode::STREAM, "STREAM"),
    (Opcode::BROADCAST, "BROADCAST"),
];

fn is_malformed(opcode: Opcode, body: &[u8]) -> bool {
    match opcode {
        Opcode::GET => get::Request::decode(body).is_err(),
        Opcode::SET => set::Request::decode(body).is_err(),
        Opcode::SET_CLIENT_TAGS => tags::Request::decode(body).is_err(),
        Opcode::EXECUTE => execute::Request::decode(body).is_err(),
        Opcode::STREAM => stream::Request::decode(body).is_err(),
        _ => broadcast::Request::decode(body).is_err(),
    }
}

#[test]
fn a_malformed_body_of_any_operation_is_named_and_the_session_lives_on() {
    let mut bodies = requests("malformed");
    for (opcode, body) in requests("bodies") {
        bodies.extend((0..body.len()).map(|len| (opcode, body[..len].to_vec())));
        bodies.extend((0..4).map(|n| (opcode, vec![0xff; n])));
    }
    bodies.extend(OPERATIONS.map(|(opcode, _)| (opcode, Vec::new())));
    let known = requests("malformed").len();
    let (given, made) = bodies.split_at(known);
    let made = made
        .iter()
        .filter(|(opcode, body)| is_malformed(*opcode, body));
    let bodies: Vec<_> = given.iter().chain(made).cloned().collect();
    for (opcode, name) in OPERATIONS {
        assert!(bodies.iter().any(|(each, _)| *each == opcode), "{name}");
    }
    let server = Server::dev(&[], &[]);
    with_client(&server, async |client, mut incoming| {
        let version = client.set(Scope::Mine, "k", "v").await.expect("it is set");
        for (opcode, body) in bodies {
            let answer = client.request(opcode, 0, body.clone()).await;
            let detail = answer.as_ref().err().and_then(Error::detail);
            assert_eq!(
                detail,
                Some(Detail::MALFORMED_BODY),
                "{opcode:?} {body:02x?}: {answer:?}"
            );
        }
        // What is `mine` goes with its session: it is the same one.
        let found = client.get(Scope::Mine, "k").await.expect("it is answered");
        assert_eq!(found.map(|found| found.version), Some(version));
        client.close().await;
        while let Some(event) = incoming.next().await {
            assert!(!matches!(event, Event::Connected { .. }), "{event:?}");
        }
    });
}

#[test]
fn what_nobody_answers_for_is_told_apart() {
    let hello = "return { action = { hi = function() return 'hi' end } }";
    let server = Server::dev(&[("hello.luau", hello)], &[]);
    with_client(&server, async |client, _| {
        for (module, action) in [("nobody", "hi"), ("hello", "nothing")] {
            let error = client.execute(module, action, "").await;
            let detail = error.err().and_then(|error| error.detail());
            assert_eq!(detail, Some(Detail::NOT_FOUND), "{module} {action}");
        }
        for opcode in [0x0007, 0x0008, 0x0011, 0x00ff, 0x0123, 0xffff] {
            let error = client.request(Opcode(opcode), 0, Bytes::new()).await;
            let detail = error.err().and_then(|error| error.detail());
            assert_eq!(detail, Some(Detail::UNKNOWN_OPCODE), "{opcode:#06x}");
        }
        assert_eq!(client.execute("hello", "hi", "").await, Ok("hi".into()));
    });
}

#[test]
fn modules_that_go_in_circles_hear_of_it() {
    let module = |other: &str| {
        format!(
            r#"local modules = require("@cohnect/modules")
            local function ask(action)
                local answer, problem = modules.call("{other}", action, "")
                return answer or problem.kind
            end
            return {{ action = {{
                leaf = function() return "leaf" end,
                pass = function() return ask("leaf") end,
                around = function() return ask("back") end,
                back = function() return ask("leaf") end,
            }} }}"#
        )
    };
    let (ada, bob) = (module("bob"), module("ada"));
    let server = Server::dev(&[("ada.luau", &ada), ("bob.luau", &bob)], &[]);
    with_client(&server, async |client, _| {
        // Through another to itself.
        let around = client.execute("ada", "around", "").await;
        assert_eq!(around, Ok("recursive".into()));
        // Both at once, again and again: one of the two is refused at most, and none waits for ever.
        for _ in 0..20 {
            let (one, other) = tokio::join!(
                client.execute("ada", "pass", ""),
                client.execute("bob", "pass", "")
            );
            for answer in [one, other] {
                let answer = answer.expect("it is answered");
                assert!(answer == "leaf" || answer == "recursive", "{answer:?}");
            }
        }
        for name in ["ada", "bob"] {
            assert_eq!(client.execute(name, "pass", "").await, Ok("leaf".into()));
        }
    });
}

#[test]
fn a_database_that_hangs_is_a_timeout_and_costs_no_memory() {
    let module = r#"local db = require("@cohnect/db")
    local errors = require("@cohnect/errors")
    local calls = 0
    local function answer(value, problem)
        calls += 1
        if problem then
            return nil, problem
        end
        return tostring(calls)
    end
    return { action = {
        make = function() return answer(db.execute("main", "create table notes (text text)")) end,
        write = function() return answer(db.execute("main", "insert into notes values ('x')")) end,
        read = function() return answer(db.query("main", "select count(*) from notes")) end,
        endless = function()
            return answer(db.query("main", "with recursive n(i) as (select 1 union all select i + 1 from n) select max(i) from n"))
        end,
    } }"#;
    let server = Server::dev(
        &[
            ("notes.luau", module),
            ("notes.toml", "grants = [\"db:main\"]\n"),
        ],
        &[],
    );
    with_client(&server, async |client, _| {
        let call = async |action| {
            let answer = client.execute("notes", action, "").await;
            answer.map_err(|error| error.detail())
        };
        assert_eq!(call("make").await, Ok("1".into()));
        // A statement without end.
        assert_eq!(call("endless").await, Err(Some(Detail::TIMEOUT)));
        assert_eq!(call("write").await, Ok("3".into()), "its memory is there");
        // Another process holds the file.
        let lock = WriteLock::take(&server);
        assert_eq!(call("write").await, Err(Some(Detail::TIMEOUT)));
        assert_eq!(call("read").await, Ok("5".into()), "reading goes on");
        drop(lock);
        assert_eq!(call("write").await, Ok("6".into()));
    });
    assert!(!server.log().contains("restarted"), "{}", server.log());
}

/// The lock that any process takes which writes to an SQLite file in WAL mode: byte 120 of its `-shm` file (sqlite.org/walformat.html, 2.2.1).
struct WriteLock(std::fs::File);

impl WriteLock {
    fn take(server: &Server) -> Self {
        let path = server.folder().join(".cohnect/main.db-shm");
        let file = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .expect("the database is open, in WAL mode");
        let lock = Self(file);
        lock.set(nix::libc::F_WRLCK);
        lock
    }

    fn set(&self, kind: nix::libc::c_int) {
        let lock = nix::libc::flock {
            l_type: kind as nix::libc::c_short,
            l_whence: nix::libc::SEEK_SET as nix::libc::c_short,
            l_start: 120,
            l_len: 1,
            l_pid: 0,
        };
        nix::fcntl::fcntl(&self.0, nix::fcntl::FcntlArg::F_SETLK(&lock)).expect("nobody writes");
    }
}

#[test]
fn an_innocent_module_beside_a_busy_process_on_its_core_is_never_ended() {
    let module = r#"local calls = 0
    return { action = { work = function()
        calls += 1
        local sum = 0
        for i = 1, 20000 do sum += i end
        return tostring(calls)
    end } }"#;
    let server = Server::dev(&[("innocent.luau", module)], &[]);
    let pinned = Command::new("taskset")
        .args(["-a", "-p", "-c", "0", &server.pid().to_string()])
        .output()
        .expect("taskset is part of util-linux");
    assert!(pinned.status.success(), "{pinned:?}");
    let _busy: Vec<_> = (0..3).map(|_| Busy::on_the_first_core()).collect();
    with_client(&server, async |client, _| {
        let began = Instant::now();
        let mut calls = 0;
        while calls < 200 || began.elapsed() < Duration::from_secs(3) {
            assert!(began.elapsed() < PATIENCE, "{calls} calls only");
            calls += 1;
            let answer = client.execute("innocent", "work", "").await;
            assert_eq!(answer, Ok(calls.to_string().into()), "{}", server.log());
        }
    });
}

/// A process that computes and never waits.
struct Busy(std::process::Child);

impl Busy {
    fn on_the_first_core() -> Self {
        let child = Command::new("taskset")
            .args(["-c", "0", "sh", "-c", "while :; do :; done"])
            .spawn();
        Self(child.expect("it runs"))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A pipe takes 64 KiB and the server keeps some MiB for a reader; what is said here is more than both.
#[test]
fn a_log_that_nobody_reads_holds_nobody_up() {
    let module = r#"local line = string.rep("x", 8000)
    return { action = { speak = function()
        print(line)
        return "spoken"
    end } }"#;
    // One alone may not say so much at once.
    let modules = [
        ("loud0.luau", module),
        ("loud1.luau", module),
        ("loud2.luau", module),
        ("loud3.luau", module),
        ("../cohnect.toml", "[log]\nlevel = \"debug\"\n"),
    ];
    let fill = |server: &Server| {
        with_client(server, |client, _incoming| async move {
            for n in 0..600 {
                let answer = client.execute(&format!("loud{}", n % 4), "speak", "").await;
                assert_eq!(answer, Ok("spoken".into()));
            }
        });
    };
    let (mut server, unread) = Server::dev_unread(&modules, &[]);
    fill(&server);
    server.listen(unread);
    server.logs("lines of the log were lost: nothing read them");
    let (said, log) = server.terminate();
    assert_eq!(said.code, 0);
    assert!(
        log.contains("ending: clients are told"),
        "it is said to the end"
    );

    let (server, unread) = Server::dev_unread(&modules, &[]);
    fill(&server);
    let (said, _) = server.terminate();
    assert_eq!(said.code, 0, "it ends, though nobody reads that");
    drop(unread);
}
