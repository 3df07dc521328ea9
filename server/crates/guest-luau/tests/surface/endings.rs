//! What ends a replica, and what ends only a call.

use core::sync::atomic::{AtomicBool, Ordering};

use cohnect_capabilities::{Caller, Effect, Error};
use cohnect_host::export::{Ending, Export, Fault, Returned};

use super::bench::{Bench, Copy, request};

/// Runs `work` while the tick goes on and each look at the CPU clock shows a millisecond more.
fn while_ticking<R>(bench: &Bench, work: impl FnOnce() -> R) -> R {
    bench.world.set_cpu_step(1_000);
    let done = AtomicBool::new(false);
    let ticker = bench.ticker.clone();
    std::thread::scope(|threads| {
        threads.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                ticker.advance();
                std::thread::yield_now();
            }
        });
        let result = work();
        done.store(true, Ordering::Relaxed);
        result
    })
}

fn ended(copy: &mut Copy<'_>, action: &str) -> Ending {
    match copy.fault(action) {
        Fault::Ended(ending, _) => ending,
        Fault::Raised(text) => panic!("{action} only raised {text}"),
    }
}

#[test]
fn an_endless_call_ends_its_replica() {
    let bench = Bench::new();
    let code = r#"
        local state = require("@cohnect/state")
        local function spin() while true do end end
        return { action = {
            plain = function() while true do end end,
            caught = function() while true do pcall(spin) end end,
            handled = function() while true do xpcall(spin, spin) end end,
            inside = function() while true do pcall(coroutine.wrap(spin)) end end,
            compare = function() table.sort({ 3, 1, 2 }, function() spin() end) end,
            shown = function() return tostring(setmetatable({}, { __tostring = spin })) end,
            found = function() string.find(string.rep("a", 40), string.rep("a?", 40) .. string.rep("a", 40)) end,
            calls = function() while true do state.add("shared", "n", 1) end end,
            lazy = function(request) while true do local _ = request.client.tags end end,
        } }"#;
    for action in [
        "plain", "caught", "handled", "inside", "compare", "shown", "found",
    ] {
        let mut module = bench.load(code);
        let ending = while_ticking(&bench, || ended(&mut module, action));
        assert_eq!(ending, Ending::Deadline, "{action}");
    }
    // A loop over a used-up quota is found without any tick.
    bench.world.set_cpu_step(0);
    for action in ["calls", "lazy"] {
        let mut module = bench.load(code);
        assert_eq!(ended(&mut module, action), Ending::Quota, "{action}");
    }
}

#[test]
fn a_call_that_is_not_scheduled_is_not_ended() {
    let bench = Bench::new();
    let mut module = bench.load(
        "return { action = { long = function() local n = 0 for i = 1, 1e6 do n += i end return tostring(n) end } }",
    );
    let answer = while_ticking(&bench, || {
        bench.world.set_cpu_step(0);
        module.execute("long", "")
    });
    assert_eq!(answer, Ok("500000500000".into()));
}

#[test]
fn memory_without_end_ends_its_replica_unless_it_is_caught() {
    let bench = Bench::new();
    let code = r#"
        local kept = {}
        local function fill() while true do table.insert(kept, string.rep("x", 1000) .. #kept) end end
        return { action = {
            fill = fill,
            huge = function() return string.rep("x", 200 * 1024 * 1024) end,
            buffers = function() return buffer.create(200 * 1024 * 1024) end,
            inside = function() coroutine.wrap(fill)() end,
            caught = function()
                local ok, problem = pcall(fill)
                kept = {}
                return tostring(ok)
            end,
        } }"#;
    for action in ["fill", "huge", "buffers", "inside"] {
        let mut module = bench.load(code);
        assert_eq!(ended(&mut module, action), Ending::Memory, "{action}");
    }
    let mut module = bench.load(code);
    assert_eq!(module.execute("caught", ""), Ok("false".into()));
    assert_eq!(module.execute("caught", ""), Ok("false".into()));
}

#[test]
fn an_input_that_is_larger_than_the_memory_that_is_left_ends_the_replica_and_not_the_next() {
    let bench = Bench::new();
    let code = r#"
        local kept
        return { action = {
            fill = function() kept = buffer.create(15 * 1024 * 1024) return "" end,
            take = function(request) return tostring(#(request.input .. "x")) end,
        } }"#;
    let input = "x".repeat(2 * 1024 * 1024);
    let mut module = bench.load(code);
    assert_eq!(module.execute("fill", ""), Ok(String::new()));
    let outcome = module.call(&Export::Execute(request("take", &input)));
    assert!(
        matches!(outcome, Err(Fault::Ended(Ending::Memory, _))),
        "{outcome:?}"
    );
    let mut next = bench.load(code);
    assert_eq!(next.execute("take", &input), Ok("2097153".into()));
}

#[test]
fn deep_recursion_raises_and_the_module_lives_on() {
    let bench = Bench::new();
    let mut module = bench.load(
        r#"
        local function down(n) return 1 + down(n + 1) end
        local function shown() local t = setmetatable({}, {}) getmetatable(t).__index = function(_, k) return t[k .. "x"] end return t.a end
        return { action = { down = function() return tostring(down(1)) end, shown = shown, fine = function() return "fine" end } }"#,
    );
    for action in ["down", "shown"] {
        match module.fault(action) {
            Fault::Raised(text) => assert!(text.contains("overflow"), "{text}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(module.execute("fine", ""), Ok("fine".into()));
    }
}

#[test]
fn a_call_after_an_end_of_another_replica_is_not_doomed() {
    let bench = Bench::new();
    let mut bad = bench.load("return { action = { spin = function() while true do end end } }");
    let mut good = bench
        .load("return { action = { fine = function() for i = 1, 100 do end return 'fine' end } }");
    while_ticking(&bench, || ended(&mut bad, "spin"));
    assert_eq!(good.execute("fine", ""), Ok("fine".into()));
}

#[test]
fn a_quota_is_an_error_before_it_is_an_end() {
    let bench = Bench::new();
    let mut module = bench.load(
        r#"
        local state = require("@cohnect/state")
        return { action = { many = function()
            for n = 1, 1e9 do
                local _, problem = state.add("shared", "n", 1)
                if problem then return nil, problem end
            end
        end } }"#,
    );
    assert!(matches!(
        module.execute("many", ""),
        Err(Error::LimitExceeded(_))
    ));
    let effects: Vec<Effect> = module.effects();
    assert!(effects.is_empty());
}

#[test]
fn a_handler_for_what_is_not_there_does_nothing() {
    let bench = Bench::new();
    let mut module = bench.load("return { action = {} }");
    let mut request = request("nobody", "");
    request.caller = Caller::System("test".into());
    for export in [
        Export::Save,
        Export::Stop(Default::default()),
        Export::Tick(Default::default()),
    ] {
        assert!(module.call(&export).is_ok(), "{export:?}");
    }
    assert!(module.call(&Export::Execute(request)).is_ok());
}

#[test]
fn garbage_is_not_taken_for_memory() {
    let bench = Bench::new();
    let mut module = bench.load(
        r#"
        local kept = {}
        return { action = {
            fill = function() for n = 1, 9000 do kept[n] = string.rep("x", 1000) .. n end return "" end,
            churn = function(request)
                local last
                for n = 1, 1000 do last = string.rep("y", 1000) .. n .. request.input end
                return ""
            end,
        } }"#,
    );
    module.execute("fill", "").expect("it fits");
    for round in 0..200 {
        let answer = module.execute("churn", &round.to_string());
        assert_eq!(answer, Ok(String::new()), "{round}");
    }
}

#[test]
fn what_could_hold_a_thread_for_minutes_is_refused() {
    let bench = Bench::new();
    let mut module = bench.load(
        r#"
        local long = string.rep("a", 4e6)
        return { action = {
            find = function() return tostring(string.find(long, string.rep("a", 2e6) .. "b", 1, true)) end,
            method = function() return tostring(long:find(string.rep("a", 2e6) .. "b", 1, true)) end,
            split = function() return tostring(#string.split(long, string.rep("a", 2e6) .. "b")) end,
            move = function() table.move({}, 1, 2e9, 1) end,
            written = function() (table.move :: any)({}, "1", "2000000000", "1") end,
            nothing = function() table.move({}, 0 / 0, -2, 1, {}) end,
            fine = function()
                local first, last = long:find("aab?", 5)
                local moved = table.move({ 1, 2, 3 }, 1, 3, 2)
                return `{first} {last} {#string.split("a,b")} {moved[4]}`
            end,
        } }"#,
    );
    for action in ["find", "method", "split", "move", "written", "nothing"] {
        match module.fault(action) {
            Fault::Raised(text) => assert!(text.contains("hello.luau:"), "{action}: {text}"),
            other => panic!("{action}: {other:?}"),
        }
    }
    assert_eq!(module.execute("fine", ""), Ok("5 6 2 3".into()));
}

#[test]
fn a_pattern_and_a_format_have_a_length() {
    let bench = Bench::new();
    let mut module = bench.load(
        r#"
        local text, set = string.rep("a", 1000), "[" .. string.rep("b", 300) .. "a]*"
        local long, wide = string.rep("a", 4e6), "[" .. string.rep("b", 200) .. "a]*"
        return { action = {
            find = function() string.find(text, set) end,
            match = function() text:match(set) end,
            gmatch = function() for _ in string.gmatch(text, set) do end end,
            gsub = function() text:gsub(set, "") end,
            product = function() long:match(wide) end,
            looked_for = function() long:find(wide) end,
            date = function() os.date(string.rep("%c", 200)) end,
            pack = function() string.pack(string.rep(" ", 1e6)) end,
            packsize = function() string.packsize(string.rep(" ", 1e6)) end,
            unpack = function() string.unpack(string.rep(" ", 1e6), "") end,
            fine = function()
                local words = 0
                for _ in ("a b c"):gmatch("%a") do words += 1 end
                local dots = ("a.b"):gsub("%.", "-")
                local plain = (set .. "x"):find(set, 1, true)
                local after = ("key=value"):match("(%w+)$", 2)
                return `{words} {dots} {plain} {after} {os.date("%Y", 0)} {#long:match("a*")}`
            end,
        } }"#,
    );
    for action in [
        "find",
        "match",
        "gmatch",
        "gsub",
        "product",
        "looked_for",
        "date",
        "pack",
        "packsize",
        "unpack",
    ] {
        match module.fault(action) {
            Fault::Raised(text) => assert!(
                text.contains("hello.luau:") && text.contains("bytes"),
                "{action}: {text}"
            ),
            other => panic!("{action}: {other:?}"),
        }
    }
    assert_eq!(
        module.execute("fine", ""),
        Ok("3 a-b 1 value 1970 4000000".into())
    );
}

#[test]
fn sorting_long_strings_or_many_items_looks_at_the_clock() {
    let bench = Bench::new();
    let mut module = bench.load(
        r#"
        return { action = {
            fine = function()
                local words, many = { "b", string.rep("c", 2000), "a" }, {}
                table.sort(words)
                for n = 1, 5000 do many[n] = 5001 - n end
                table.sort(many)
                local down = { 1, 3, 2 }
                table.sort(down, function(a, b) return a > b end)
                return `{words[1]} {words[2]} {#words[3]} {many[1]} {many[5000]} {table.concat(down)}`
            end,
            mixed = function() table.sort({ 1, "a" }) end,
            none = function() (table.sort :: any)(5) end,
        } }"#,
    );
    assert_eq!(module.execute("fine", ""), Ok("a b 2000 1 5000 321".into()));
    for (action, text) in [("mixed", "attempt to compare"), ("none", "table expected")] {
        match module.fault(action) {
            Fault::Raised(found) => assert!(found.contains(text), "{action}: {found}"),
            other => panic!("{action}: {other:?}"),
        }
    }
    let mut module = bench.load(
        r#"
        local common = string.rep("x", 2e6)
        local first, second, list = common .. "a", common .. "b", {}
        for n = 1, 1000 do list[n] = if n % 2 == 0 then first else second end
        return { action = { sort = function() table.sort(list) end } }"#,
    );
    let ending = while_ticking(&bench, || ended(&mut module, "sort"));
    assert_eq!(ending, Ending::Deadline);
}

#[test]
fn what_a_c_function_calls_back_looks_at_the_clock() {
    let bench = Bench::new();
    let code = r#"
        local json = require("@cohnect/json")
        local many = table.create(3e5, 1)
        local function all_with(metatable)
            return table.create(3e5, setmetatable({}, metatable))
        end
        local text = setmetatable(table.create(3e5, ""), { __tostring = table.concat })
        return { action = {
            compare = function() table.sort(many, rawequal) end,
            wrapped = function() table.sort(many, coroutine.wrap(function() while true do coroutine.yield(false) end end)) end,
            decode = function() table.sort(table.create(4096, " "), json.decode) end,
            less = function() table.sort(all_with({ __lt = rawequal })) end,
            less_of_few = function() table.sort(table.create(4096, setmetatable(many, { __lt = table.find }))) end,
            equal = function()
                local metatable = { __eq = rawequal }
                table.find(all_with(metatable), setmetatable({}, metatable))
            end,
            each = function() table.foreach(many, math.randomseed) end,
            each_item = function() table.foreachi(many, math.randomseed) end,
            shown = function() string.format(string.rep("%*", 200), table.unpack(table.create(200, text))) end,
        } }"#;
    for action in [
        "compare",
        "wrapped",
        "decode",
        "less",
        "less_of_few",
        "equal",
        "each",
        "each_item",
        "shown",
    ] {
        let mut module = bench.load(code);
        let ending = while_ticking(&bench, || ended(&mut module, action));
        bench.world.set_cpu_step(0);
        assert_eq!(ending, Ending::Deadline, "{action}");
    }
}

#[test]
fn what_is_guarded_does_what_it_did() {
    let bench = Bench::new();
    let mut module = bench.load(
        r#"
        local named = setmetatable({}, { __tostring = function() return "named" end })
        local same = { __eq = function() return true end }
        local a, b = setmetatable({}, same), setmetatable({}, same)
        return { action = {
            fine = function()
                local visited = {}
                table.foreach({ x = 1 }, function(key, value) table.insert(visited, `{key}{value}`) end)
                local last = table.foreachi({ 4, 5, 6 }, function(n, value) return if n == 2 then value else nil end)
                local packed = string.pack("<I2", 513)
                local texts = string.format("%*|%s|%d|%5.1f|%%|%q", named, "s", 7, 2.25, "q")
                return table.concat({
                    visited[1], last, string.unpack("<I2", packed), string.packsize("<I2"), texts, `{named} {nil} {true}`,
                    table.find({ 1, 2, 3, 2 }, 2, 3), tostring(table.find({ 1 }, 2)), table.find({ 1, a }, b), tostring(table.find({ a }, named)),
                }, ",")
            end,
            form = function() string.format("%d", "x") end,
            missing = function() string.format("%d") end,
            found = function() (table.find :: any)(nil, 1) end,
            many = function() string.format("", table.unpack(table.create(257, 1))) end,
        } }"#,
    );
    assert_eq!(
        module.execute("fine", ""),
        Ok("x1,5,513,2,named|s|7|  2.2|%|\"q\",named nil true,4,nil,2,nil".into())
    );
    for (action, text) in [
        ("form", "number expected, got string"),
        ("missing", "missing argument #2"),
        ("found", "table expected"),
        ("many", "at most 256 values, here are 257"),
    ] {
        match module.fault(action) {
            Fault::Raised(found) => {
                assert!(found.starts_with("hello.luau:"), "{action}: {found}");
                assert!(found.contains(text), "{action}: {found}");
            }
            other => panic!("{action}: {other:?}"),
        }
    }
}

#[test]
fn what_is_kept_is_written_and_read_under_the_clock() {
    let bench = Bench::new();
    let code = r#"
        local keep = {}
        return { keep = keep, action = {
            fill = function() for n = 1, 3e4 do keep[n] = { n } end return "" end,
        } }"#;
    let mut module = bench.load(code);
    module.execute("fill", "").expect("it fits");
    let saved = module.call(&Export::Save);
    let Ok(Returned::Saved(Ok(snapshot))) = saved else {
        panic!("{saved:?}");
    };
    let mut other = bench.load(code);
    let export = Export::Restore(snapshot);
    let restored = while_ticking(&bench, || other.call(&export));
    let saved = while_ticking(&bench, || module.call(&Export::Save));
    for outcome in [restored, saved] {
        assert!(
            matches!(outcome, Err(Fault::Ended(Ending::Deadline, _))),
            "{outcome:?}"
        );
    }
}
