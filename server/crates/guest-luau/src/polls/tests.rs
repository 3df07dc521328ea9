//! Which code gets polls, that they are where runs are long, and that what has them does what it did.

use super::*;

fn longest(bytecode: &[u8]) -> u32 {
    let layout = Chunk::read(bytecode).expect("it is read");
    let runs = layout.functions.iter().map(|function| {
        let mut code = bytecode[function.code.clone()].to_vec();
        poll(&mut code, POLL_FROM).expect("it is known").length
    });
    runs.max().expect("a file has a body")
}

fn run(bytecode: &[u8]) -> String {
    mlua::Lua::new()
        .load(bytecode)
        .set_mode(mlua::chunk::ChunkMode::Binary)
        .call(())
        .expect("it runs")
}

fn plain(text: &str) -> Vec<u8> {
    covered(text, 0).expect("it compiles")
}

#[test]
fn code_with_short_runs_stays_as_it_is() {
    let text = "
        local function far(a, b)
            return math.abs(a.x - b.x) + math.abs(a.y - b.y) > 5
        end
        local list = {}
        for n = 1, 100 do
            list[n] = { x = n, y = n * 2, name = `number {n}` }
        end
        return tostring(far(list[1], list[100]))";
    assert_eq!(
        compile(text, MEMORY_BYTES).expect("it compiles"),
        plain(text)
    );
}

#[test]
fn long_straight_code_polls_and_still_does_what_it_did() {
    for (part, count) in [
        ("n = n + 1\n", 500),
        ("if t.x then n = n + 1 end\n", 500),
        ("if a < b then n += 2 elseif b < a then n -= 1 end\n", 300),
        ("s = string.sub(s .. 'ab', 2)\n", 300),
        ("n = n + (if a < b then t.x else t.y)\n", 300),
        ("t.z = (a < b) and t.x or t.y\n", 300),
        ("for i = 1, 2 do n = n + i * i - i end\n", 300),
        ("n = math.max(n, n + 1, 7)\n", 300),
        ("t[n] = { n, n + 1, x = { n .. s } }\n", 300),
        (
            "do local f = function() return n end n = f() + 1 end\n",
            300,
        ),
    ] {
        let text = format!(
            "local function go(t, a, b, n, s) {} return `{{n}} {{#s}} {{t.z}} {{#t}}` end return go({{ x = 1, y = 2 }}, 'aa', 'ab', 0, 'text')",
            part.repeat(count)
        );
        let polled = compile(&text, MEMORY_BYTES).expect("it compiles");
        assert!(longest(&polled) <= REFUSED_ABOVE, "{part}");
        assert!(
            longest(&plain(&text)) > RUN_MAX || polled == plain(&text),
            "{part}"
        );
        assert_eq!(run(&polled), run(&plain(&text)), "{part}");
    }
}

#[test]
fn one_expression_polls_between_its_parts() {
    for (operand, name) in [
        ("a .. (b .. c)", "concat"),
        ("(a + b) * c", "sum"),
        ("t[a][b]", "index"),
    ] {
        let joined = [operand; 400].join(", ");
        let text = format!("local t, a, b, c = ... return {{ {joined} }}");
        let polled =
            compile(&text, MEMORY_BYTES).unwrap_or_else(|failure| panic!("{name}: {failure:?}"));
        assert!(longest(&polled) <= REFUSED_ABOVE, "{name}");
        assert_ne!(polled, plain(&text), "{name}");
    }
}

#[test]
fn a_table_of_thousands_of_records_loads() {
    let records = (0..3_000)
        .map(|n| format!("{{ id = {n}, name = 'number {n}', at = {{ {n}, {n} + 0.5 }} }},\n"))
        .collect::<String>();
    let text = format!("local all = {{\n{records}}}\nreturn `{{#all}} {{all[3000].name}}`");
    let polled = compile(&text, MEMORY_BYTES).expect("it compiles");
    assert_eq!(run(&polled), "3000 number 2999");
}

#[test]
fn code_that_jumps_further_than_one_instruction_can_is_taken() {
    for (count, open) in [
        (2_000, "if tostring(1) == '1' then"),
        (5_000, "if tostring(1) == '1' then"),
        (2_000, "for n = 1, 1 do"),
        (5_000, "for n = 1, 1 do"),
        (5_000, "while not all do"),
    ] {
        let records = (0..count)
            .map(|n| format!("{{ id = {n}, name = 'n{n}', at = {{ {n}, {n} }} }},\n"))
            .collect::<String>();
        let text = format!(
            "local all = nil\n{open}\nall = {{\n{records}}}\nend\nreturn `{{#all}} {{all[#all].name}}`"
        );
        let polled =
            compile(&text, MEMORY_BYTES).unwrap_or_else(|failure| panic!("{open}: {failure:?}"));
        assert!(longest(&polled) <= REFUSED_ABOVE, "{open}");
        assert_eq!(run(&polled), format!("{count} n{}", count - 1));
    }
}

#[test]
fn writes_that_may_lay_a_table_out_anew_poll_early() {
    let text = format!("local t, a, b = ... {}", "t[a] = nil t[b] = 1 ".repeat(40));
    let polled = compile(&text, MEMORY_BYTES).expect("it compiles");
    assert_ne!(polled, plain(&text));
    assert!(longest(&polled) <= RUN_MAX, "{}", longest(&polled));
}

#[test]
fn a_function_with_short_runs_is_not_touched_beside_one_with_long_runs() {
    let text = format!(
        "local function short(a) return a + 1 end local function long(n) {} return n end return tostring(short(long(0)))",
        "n = n + 1 ".repeat(200)
    );
    let plain = plain(&text);
    let polled = compile(&text, MEMORY_BYTES).expect("it compiles");
    let (ours, theirs) = (
        Chunk::read(&plain).expect("it is read"),
        Chunk::read(&polled).expect("it is read"),
    );
    let same: Vec<_> = ours
        .functions
        .iter()
        .zip(&theirs.functions)
        .map(|(a, b)| plain[a.whole.clone()] == polled[b.whole.clone()])
        .collect();
    assert_eq!(same, [true, false, true]);
    assert_eq!(run(&polled), "201");
}

#[test]
fn an_assignment_to_many_fields_at_once_is_refused_with_its_line() {
    let assigned = |fields: usize| {
        let (to, from) = (vec!["t.x"; fields], vec!["1"; fields]);
        let text = format!("local t = ...\n\n{} = {}\n", to.join(", "), from.join(", "));
        compile(&text, MEMORY_BYTES)
    };
    let Err(Failure::Endless { line }) = assigned(40) else {
        panic!("it is taken");
    };
    assert_eq!(line, 3);
    assigned(12).expect("one of twelve is not");
}

#[test]
fn a_condition_of_a_hundred_comparisons_is_taken() {
    let (open, close) = ("a < b and (".repeat(100), ")".repeat(100));
    let text = format!("local a, b = ... if {open}a < b{close} then return 1 end");
    compile(&text, MEMORY_BYTES).expect("it compiles");
}

#[test]
fn more_memory_is_polled_more_often() {
    let text = "local t, a = ... t[a] = 1 t[a] = 2 t[a] = 3";
    assert_eq!(
        compile(text, MEMORY_BYTES).expect("it compiles"),
        plain(text)
    );
    let polled = compile(text, 16 * MEMORY_BYTES).expect("it compiles");
    assert_ne!(polled, plain(text));
    assert!(longest(&polled) < 2 * 12_000, "{}", longest(&polled));
}

/// Deeper and longer conditions are refused by the compiler itself, which has 255 registers.
#[test]
fn a_condition_of_thousands_does_not_compile() {
    let text = format!(
        "return function(a, b) if {} then return 1 end end",
        ["a < b"; 2_000].join(" and ")
    );
    assert!(matches!(
        compile(&text, MEMORY_BYTES),
        Err(Failure::Compiler(_))
    ));
}

#[test]
fn errors_keep_their_lines() {
    let text = format!("local n = 0\n{}error('here')", "n = n + 1\n".repeat(300));
    let polled = compile(&text, MEMORY_BYTES).expect("it compiles");
    let error = mlua::Lua::new()
        .load(polled.as_slice())
        .set_mode(mlua::chunk::ChunkMode::Binary)
        .set_name("=file")
        .exec()
        .expect_err("it raises");
    assert!(error.to_string().contains("file:302: here"), "{error}");
}

#[test]
fn what_is_not_whole_or_of_another_version_is_not_read() {
    let whole = plain("local n = 5 return function() return n, { x = 1 }, 'text' end");
    Chunk::read(&whole).expect("it is read");
    for length in 0..whole.len() {
        assert!(Chunk::read(&whole[..length]).is_none(), "{length}");
    }
    for version in [0, 3, 10, 100, 255] {
        let mut other = whole.clone();
        other[0] = version;
        assert!(Chunk::read(&other).is_none(), "{version}");
    }
}

#[test]
fn any_bytes_are_read_or_refused() {
    let whole = plain("local n = 5 return function() return n, { x = 1 }, 'text' end");
    let mut state = 1_u64;
    for _ in 0..20_000 {
        let mut bytes = whole.clone();
        for _ in 0..3 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let at = (state >> 33) as usize % bytes.len();
            bytes[at] = (state >> 25) as u8;
        }
        if let Some(layout) = Chunk::read(&bytes) {
            for function in &layout.functions {
                let _any = poll(&mut bytes[function.code.clone()].to_vec(), POLL_FROM);
                let _line = function.line(&bytes, 1);
            }
        }
    }
}

/// How often a C function is called as a metamethod after the tick that ends the call.
fn calls_after_the_end(bytecode: &[u8]) -> u32 {
    use core::sync::atomic::{AtomicU64, Ordering};
    use std::rc::Rc;

    struct AtOnce;
    impl crate::safepoint::Judge for AtOnce {
        fn judge(&self) -> crate::safepoint::Sentence {
            crate::safepoint::Sentence::End
        }
    }

    let lua = mlua::Lua::new();
    crate::safepoint::install(&lua).expect("it is installed");
    let tick = Rc::new(AtomicU64::new(1));
    let advanced = Rc::clone(&tick);
    let read = lua
        .create_function(move |_, _: mlua::MultiValue| {
            advanced.fetch_add(1, Ordering::Relaxed);
            Ok(1)
        })
        .expect("it is made");
    let (table, meta) = (
        lua.create_table().expect("it is made"),
        lua.create_table().expect("it is made"),
    );
    for event in ["__index", "__add", "__lt", "__concat"] {
        meta.set(event, &read).expect("it is set");
    }
    table.set_metatable(Some(meta)).expect("it is set");
    let function = lua
        .load(bytecode)
        .set_mode(mlua::chunk::ChunkMode::Binary)
        .into_function()
        .expect("it loads");
    let ended = crate::safepoint::watched(&tick, &AtOnce, None, || function.call::<()>(&table));
    let error = ended.expect_err("it is ended").to_string();
    assert!(error.contains(crate::safepoint::DOOM), "{error}");
    (tick.load(Ordering::Relaxed) - 1) as u32
}

#[test]
fn straight_code_is_ended_soon_after_its_time() {
    for statement in [
        "_ = t.x\n",
        "_ = t + 1\n",
        "if t < t then _ = 1 end\n",
        "_ = t .. 'x'\n",
    ] {
        let text = format!("local t, _ = ... {}", statement.repeat(2_000));
        assert_eq!(calls_after_the_end(&plain(&text)), 2_000, "{statement}");
        let polled = compile(&text, MEMORY_BYTES).expect("it compiles");
        let calls = calls_after_the_end(&polled);
        assert!(calls <= RUN_MAX, "{statement}: {calls}");
    }
}
