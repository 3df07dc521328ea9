//! Loading: what a file may be, what it may require, and what an author is told when it is not so.

use cohnect_host::function::Interface;

use super::bench::Bench;

#[test]
fn a_broken_file_is_named_with_its_line() {
    let bench = Bench::new();
    for (code, found) in [
        ("local x = \nlocal y", "hello.luau:2:"),
        ("return {\n action = {\n}", "hello.luau:3:"),
        ("error('at load')", "hello.luau:1: at load"),
        ("return 5", "the file returns 5"),
        ("", "the file returns nil"),
        (
            "return { actions = {} }",
            "`actions`: is no export; did you mean `action`?",
        ),
        (
            "return { action = { a = 1 } }",
            "`action`: `a`: expected a function, got 1",
        ),
        (
            "return { action = { function() end } }",
            "an action has a name",
        ),
        (
            "return { pipeline = { [3] = function() end } }",
            "begin at 0x0100",
        ),
        ("return { ticker = { hz = 20 } }", "`on_tick` is missing"),
        (
            "return { ticker = { hertz = 20, on_tick = print } }",
            "`hertz`",
        ),
        (
            "return { client_events = { on_disconnect = print } }",
            "did you mean `on_disconnected`?",
        ),
        ("return { cron = {} }", "not of this version"),
        (
            "return { manifest = { memory_mib = 64 } }",
            "hello.luau: `manifest`: `memory_mib` stands only in the manifest file; code may say placement, version, shard",
        ),
        (
            "return { manifest = { placment = 'single' } }",
            "hello.luau: `manifest`: there is no key `placment`; did you mean `placement`?",
        ),
        (
            "return { manifest = { memory_mb = 64 } }",
            "there is no key `memory_mb`; did you mean `memory_mib`? It stands only in the manifest file",
        ),
        (
            "return { keep = {}, migration = { save = print, restore = print } }",
            "give one of them",
        ),
        (
            "return { stream_closed = { news = print } }",
            "`stream_closed`: \"news\": it would never be called, since no `stream_handler` of this module opens such a topic; the module has no `stream_handler`",
        ),
        (
            "return {\nstream_handler = { scores = print },\nstream_closed = { score = function() end } }",
            "hello.luau:3: `stream_closed`: \"score\": it would never be called, since no `stream_handler` of this module opens such a topic; did you mean `scores`?",
        ),
        (
            "return { keep = {}, upgrade = function() end }",
            "without `schema`, 1 or higher, it is never called",
        ),
        ("require('@cohnect/stat')", "did you mean `state`?"),
        ("require('@cohnect/sockets')", "there is no such interface"),
        (
            "local x = require('@cohnect/errors').deneid",
            "`@cohnect/errors` has no `deneid`; did you mean `denied`?",
        ),
        (
            "require('@cohnect/state').ad('shared', 'x', 1)",
            "`@cohnect/state` has no `ad`; did you mean `add`?",
        ),
        ("require('state')", "@cohnect/NAME"),
        (
            "require('./other')",
            "a module of one file has no other files",
        ),
        (
            "local state = require('@cohnect/state')\nlocal n = state.add('shared', 'n', 1)\nreturn {}",
            "hello.luau:2: state.add: cannot be called while the file is being loaded; call it in lifecycle.start or in a handler",
        ),
        (
            "local now = os.time()",
            "it cannot be called while the file is being loaded",
        ),
        (
            "require('@cohnect/random').integer(1, 6)",
            "hello.luau:1: random.integer: cannot be called while the file is being loaded",
        ),
        (
            "local db = require('@cohnect/db')\nlocal rows = db.query('main', 'SELECT 1')\nreturn {}",
            "hello.luau:2: db.query: cannot be called while the file is being loaded",
        ),
    ] {
        let text = bench.refusal(code);
        assert!(
            text.contains(found),
            "{code}\n  says: {text}\n  not: {found}"
        );
    }
}

#[test]
fn what_a_module_claims_is_counted() {
    let bench = Bench::new();
    let table = |count: usize, key: &str| -> String {
        (0..count)
            .map(|n| key.replace('N', &n.to_string()) + " = function() end, ")
            .collect()
    };
    for kind in ["stream_handler", "broadcast", "stream_closed"] {
        let opened = if kind == "stream_closed" {
            "stream_handler = { ['*'] = function() end }, "
        } else {
            ""
        };
        let code = |count| {
            let topics = table(count, "['a/N/*']");
            format!("return {{ {opened}{kind} = {{ {topics} }} }}")
        };
        assert!(bench.prepare(&Bench::source(&code(64))).is_ok(), "{kind}");
        let text = bench.refusal(&code(65));
        assert!(
            text.contains(kind) && text.contains("at most 64 topics, here are 65"),
            "{text}"
        );
        let deep = format!(
            "return {{ {kind} = {{ ['{}*'] = function() end }} }}",
            "a/".repeat(16)
        );
        let text = bench.refusal(&deep);
        assert!(text.contains("more than 16 segments"), "{text}");
    }
    let code = |count| {
        format!(
            "return {{ pipeline = {{ {} }} }}",
            table(count, "[0x0100 + N]")
        )
    };
    assert!(bench.prepare(&Bench::source(&code(1_024))).is_ok());
    let text = bench.refusal(&code(1_025));
    assert!(text.contains("more than 1024 opcodes"), "{text}");
}

#[test]
fn a_file_is_named_once() {
    let bench = Bench::new();
    let text = bench.refusal("error('at load')");
    assert!(text.starts_with("hello.luau:1: at load"), "{text}");
}

#[test]
fn a_raised_table_is_shown_by_what_it_says() {
    let bench = Bench::new();
    let text = bench.refusal("error({ kind = 'lost', code = 7, rest = {} })");
    for part in ["kind = lost", "code = 7", "rest = table"] {
        assert!(text.contains(part) && !text.contains("0x"), "{text}");
    }
    let mut module = bench.load(
        r#"return { action = {
            raised = function() error({ message = "no" }) end,
            inner = function() pcall(error, { message = "no" }) error("plain") end,
            caught = function()
                local problem = { message = "no" }
                local _, caught = pcall(error, problem)
                local _, there = pcall(function() error("text") end)
                local function inside() error("above", 2) end
                local _, above = pcall(function()
                    inside()
                end)
                local _, bare = pcall(function() error("bare", 0) end)
                return `{caught == problem} {there} {above} {bare}`
            end,
        } }"#,
    );
    for (action, start) in [
        ("raised", "{ message = no }"),
        ("inner", "hello.luau:3: plain"),
    ] {
        let fault = module.fault(action).to_string();
        assert!(
            fault.contains(start) && !fault.contains("0x"),
            "{action}: {fault}"
        );
    }
    let caught = module.execute("caught", "");
    assert_eq!(
        caught,
        Ok("true hello.luau:7: text hello.luau:10: above bare".into())
    );
}

#[test]
fn a_file_that_is_not_there_is_not_the_one_that_asks() {
    let bench = Bench::new();
    let refusal = |files: &[(&str, &str)]| {
        let prepared = bench.prepare(&Bench::folder(files));
        prepared.err().expect("it is refused").message
    };
    let asks = ("hello.luau", "require('./helo')");
    let text = refusal(&[asks]);
    assert!(
        text.contains("there is no helo.luau") && text.contains("no other file"),
        "{text}"
    );
    let text = refusal(&[asks, ("help.luau", "return {}")]);
    assert!(text.contains("did you mean `help.luau`?"), "{text}");
}

#[test]
fn functions_on_the_stack_are_not_handed_out() {
    let bench = Bench::new();
    for code in [
        "string.gsub('a', 'a', function() debug.info(2, 'f') end)",
        "table.sort({ 2, 1 }, function(a, b) return debug.info(2, 'sf') end)",
        "coroutine.wrap(function() debug.info(coroutine.running(), 1, 'f') end)()",
        "debug.info(print, 'f')",
    ] {
        let text = bench.refusal(code);
        assert!(
            text.contains("hello.luau:1: debug.info: functions on the stack"),
            "{code}: {text}"
        );
    }
    let code = r##"
        local function here() return debug.info(1, "l") end
        local function caller() return (debug.info(2, "l")) end
        local waiting = coroutine.create(function() coroutine.yield() end)
        coroutine.resume(waiting)
        assert(here() == 2)
        assert(caller() == 7)
        coroutine.wrap(function() assert(debug.info(coroutine.running(), 1, "l") == 8) end)()
        assert(debug.info(waiting, 1, "l") == 4, "the line")
        assert(debug.info(here, "s") == "hello.luau" and debug.info(print, "n") == "print")
        assert(select("#", debug.info(99, "s")) == 0 and not pcall(debug.info, -1, "s"))
        return {}"##;
    if let Err(error) = bench.prepare(&Bench::source(code)) {
        panic!("{error}");
    }
}

#[test]
fn a_mistake_in_the_modules_table_is_named_with_its_line_where_luau_can_tell() {
    let bench = Bench::new();
    for (code, found) in [
        (
            "return {\n actions = {\n  a = function() end,\n } }",
            "hello.luau:3: `actions`: is no export; did you mean `action`?",
        ),
        (
            "return { client_events = {\n on_disconnect = function() end,\n} }",
            "hello.luau:2: `client_events`: there is no event",
        ),
        (
            "return { ticker = { hz = 20,\n tick = function() end } }",
            "hello.luau:2: `ticker`: there is no key `tick`",
        ),
        (
            "return { pipeline = {\n [3] = function() end } }",
            "hello.luau:2: `pipeline`: opcodes of modules begin",
        ),
        // A line of another handler would mislead.
        (
            "local function a() end\n\nreturn { action = { a = a, b = 'function' } }",
            "hello.luau: `action`: `b`: expected a function",
        ),
        (
            "local define = require('@cohnect/define')\nlocal function a() end\nreturn { action = {\n a = define.action({ access = 'client' }, a) } }",
            "hello.luau:4: `action`: `a`: `access`: there is no access \"client\"",
        ),
        (
            "local define = require('@cohnect/define')\nreturn { stream_handler = {\n ['a'] = define.stream({ requires = 5 }, function() end) } }",
            "hello.luau:3: `stream_handler`: \"a\": `requires`",
        ),
        (
            "return {\n action = { a = 1 } }",
            "hello.luau: `action`: `a`: expected a function, got 1",
        ),
    ] {
        let text = bench.refusal(code);
        assert!(
            text.contains(found),
            "{code}\n  says: {text}\n  not: {found}"
        );
    }
}

#[test]
fn a_script_says_of_itself_what_the_manifest_file_lets_it() {
    let bench = Bench::new();
    let source =
        Bench::source("return { manifest = { placement = 'single', version = '1.2', shard = 0 } }");
    let prepared = bench
        .prepare(&source)
        .unwrap_or_else(|error| panic!("{error}"));
    let mut keys: Vec<_> = prepared
        .manifest()
        .iter()
        .map(|(key, _)| key.as_str())
        .collect();
    keys.sort_unstable();
    assert_eq!(keys, ["placement", "shard", "version"]);
}

#[test]
fn a_file_that_never_ends_or_grows_for_ever_is_refused() {
    let bench = Bench::new();
    let ticker = bench.ticker.clone();
    bench.world.set_cpu_step(10_000);
    let done = core::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            while !done.load(core::sync::atomic::Ordering::Relaxed) {
                ticker.advance();
                std::thread::yield_now();
            }
        });
        for code in [
            "while true do end",
            "while true do pcall(function() while true do end end) end",
        ] {
            let text = bench.refusal(code);
            assert!(text.contains("CPU time"), "{code}: {text}");
        }
        done.store(true, core::sync::atomic::Ordering::Relaxed);
    });
    bench.world.set_cpu_step(0);
    for code in [
        "local t = {} while true do table.insert(t, {}) end",
        "return string.rep('x', 2e8)",
    ] {
        let text = bench.refusal(code);
        assert!(text.contains("memory"), "{code}: {text}");
    }
}

#[test]
fn nothing_reaches_outside() {
    let bench = Bench::new();
    let mut module = bench.load(
        r#"
        return { action = { globals = function()
            local found = {}
            for _, name in { "loadstring", "load", "dofile", "getfenv", "setfenv", "collectgarbage", "io", "package", "task", "newproxy" } do
                if _G[name] ~= nil then table.insert(found, name) end
            end
            for _, name in { "execute", "exit", "getenv", "remove", "rename", "tmpname" } do
                if (os :: any)[name] ~= nil then table.insert(found, "os." .. name) end
            end
            return table.concat(found, " ")
        end,
        frozen = function()
            local changed = {}
            for name, library in { string = string, table = table, math = math, os = os, coroutine = coroutine } do
                if pcall(function() library.injected = 1 end) then table.insert(changed, name) end
            end
            return table.concat(changed, " ")
        end } }"#,
    );
    assert_eq!(module.execute("globals", ""), Ok(String::new()));
    assert_eq!(module.execute("frozen", ""), Ok(String::new()));
}

#[test]
fn files_of_a_folder_require_each_other_and_nothing_outside() {
    let bench = Bench::new();
    let main = r#"
        local a = require("./lib/a")
        return { action = { say = function() return a.say() .. require("./lib/late").word end } }"#;
    let source = Bench::folder(&[
        ("hello.luau", main),
        (
            "lib/a.luau",
            "local b = require('./b')\nlocal top = require('../words')\nreturn { say = function() return b .. top end }",
        ),
        ("lib/b.luau", "return 'b'"),
        ("lib/late.luau", "return { word = '!' }"),
        ("words/init.luau", "return ' words'"),
        ("hello.test.luau", "this is no Luau"),
    ]);
    let mut module = bench.load_source(&source);
    assert_eq!(module.execute("say", ""), Ok("b words!".into()));
    for (files, found) in [
        (
            &[
                ("hello.luau", "require('./a')"),
                ("a.luau", "require('./b')"),
                ("b.luau", "require('./a')"),
            ][..],
            "a.luau requires b.luau requires a.luau",
        ),
        (
            &[("hello.luau", "require('../secret')")][..],
            "out of the module's folder",
        ),
        (
            &[
                ("hello.luau", "require('./word')"),
                ("words.luau", "return 1"),
            ][..],
            "did you mean `words.luau`?",
        ),
        (
            &[("hello.luau", "return {}"), ("x.luau", "local = 1")][..],
            "hello/x.luau:1:",
        ),
        (
            &[
                ("hello.luau", "require('./x')"),
                ("x.luau", "\nerror('deep')"),
            ][..],
            "hello/x.luau:2: deep",
        ),
    ] {
        match bench.prepare(&Bench::folder(files)) {
            Ok(_) => panic!("it was loaded: {files:?}"),
            Err(error) => assert!(
                error.message.contains(found),
                "{}\n  not: {found}",
                error.message
            ),
        }
    }
}

#[test]
fn what_waits_is_required_while_the_file_runs() {
    let bench = Bench::new();
    let prepared = bench
        .prepare(&Bench::source(
            "local db = require('@cohnect/db') return { action = {} }",
        ))
        .expect("it loads");
    assert_eq!(prepared.imports(), [Interface::Db]);
    let mut late = bench.load(
        "return { action = { late = function() require('@cohnect/modules') end, fine = function() require('@cohnect/tags') return 'fine' end } }",
    );
    match late.fault("late") {
        cohnect_host::export::Fault::Raised(text) => {
            assert!(text.contains("at the top of the file"), "{text}")
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(late.execute("fine", ""), Ok("fine".into()));
}

#[test]
fn an_interface_without_its_grant_is_refused_by_name() {
    let bench = Bench::new();
    let mut charter = bench.world.charter("hello", false);
    charter.grants = std::sync::Arc::default();
    let probe = cohnect_host::context::Context::new(
        charter,
        Box::new(cohnect_host::seeded::Seeded::new(&[7; 32], 0)),
    );
    let source = Bench::source("local db = require('@cohnect/db') return {}");
    let error = cohnect_host::replica::Language::prepare(&bench.luau, &source, probe)
        .err()
        .expect("it is refused");
    assert!(error.message.contains("db:main"), "{error}");
}

#[test]
fn the_type_definitions_are_luau_and_name_what_is_there() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../module-sdk/luau");
    let bench = Bench::new();
    let mut seen = 0;
    for file in std::fs::read_dir(folder).expect("the definitions are there") {
        let path = file.expect("it can be read").path();
        if path.extension().is_none_or(|ending| ending != "luau") {
            continue;
        }
        let name = path
            .file_stem()
            .expect("it has a name")
            .to_string_lossy()
            .into_owned();
        let text = std::fs::read_to_string(&path).expect("it can be read");
        // Only what it returns is of interest here; what it requires is other definitions.
        let runs = format!(
            "local require = nil :: any\nlocal function definition()\n{}\nend\nreturn {{}}",
            text.replace("export type", "type")
        );
        bench
            .prepare(&Bench::source(&runs))
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        // Each name of the returned table, one tab deep.
        let names: Vec<_> = text
            .split_once("\nlocal ")
            .map(|_| text.rsplit_once(": {\n").map_or("", |(_, table)| table))
            .filter(|_| !text.contains("-- Types only."))
            .unwrap_or_default()
            .lines()
            .take_while(|line| !line.starts_with('}'))
            .filter_map(|line| {
                line.strip_prefix('\t')?
                    .split_once(": ")
                    .map(|(name, _)| name)
            })
            .filter(|name| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
            .collect();
        seen += names.len();
        let checks: String = names
            .iter()
            .map(|key| format!("assert(there.{key} ~= nil, '{key}')\n"))
            .collect();
        let code = format!("local there: any = require('@cohnect/{name}')\n{checks}return {{}}");
        bench
            .prepare(&Bench::source(&code))
            .unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    assert!(seen > 90, "{seen}");
}
