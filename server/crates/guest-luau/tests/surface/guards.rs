//! What scripts are handed of Luau's libraries: which functions are in C, and what the guarded ones say.

use std::collections::BTreeSet;

use super::bench::Bench;

/// Functions in C whose work is small for whatever a metamethod may be given: they take numbers, or a text with a number, or look at one value. A function
/// that takes a table, a text or a buffer alone and walks it belongs among the guards.
const IN_C: &str = "assert bit32.arshift bit32.band bit32.bnot bit32.bor bit32.btest bit32.bxor bit32.byteswap bit32.countlz bit32.countrz bit32.extract bit32.lrotate \
    bit32.lshift bit32.replace bit32.rrotate bit32.rshift buffer.copy buffer.fill buffer.len buffer.readbits buffer.readf32 buffer.readf64 buffer.readi16 \
    buffer.readi32 buffer.readi8 buffer.readstring buffer.readu16 buffer.readu32 buffer.readu8 buffer.writebits buffer.writef32 buffer.writef64 \
    buffer.writei16 buffer.writei32 buffer.writei8 buffer.writestring buffer.writeu16 buffer.writeu32 buffer.writeu8 coroutine.close coroutine.create \
    coroutine.isyieldable coroutine.resume coroutine.running coroutine.status coroutine.wrap coroutine.yield debug.traceback gcinfo getmetatable \
    integer.add integer.arshift integer.band integer.bnot integer.bor integer.bswap integer.btest integer.bxor integer.clamp integer.countlz \
    integer.countrz integer.create integer.div integer.extract integer.fromstring integer.ge integer.gt integer.idiv integer.le integer.lrotate \
    integer.lshift integer.lt integer.max integer.min integer.mod integer.mul integer.neg integer.rem integer.replace integer.rrotate integer.rshift \
    integer.sub integer.tonumber integer.udiv integer.uge integer.ugt integer.ule integer.ult integer.urem ipairs math.abs math.acos math.asin math.atan \
    math.atan2 math.ceil math.clamp math.cos math.cosh math.deg math.exp math.floor math.fmod math.frexp math.isfinite math.isinf math.isnan math.ldexp \
    math.lerp math.log math.log10 math.map math.max math.min math.modf math.noise math.pow math.rad math.random math.randomseed math.round math.sign \
    math.sin math.sinh math.sqrt math.tan math.tanh os.difftime pcall rawequal rawget rawlen rawset require select setmetatable string.byte \
    string.char string.len string.rep string.sub table.freeze table.getn table.isfrozen table.pack tonumber tostring type typeof utf8.char utf8.codepoint \
    utf8.codes utf8.len utf8.offset vector.abs vector.angle vector.ceil vector.clamp vector.create vector.cross vector.dot vector.floor vector.lerp \
    vector.magnitude vector.max vector.min vector.normalize vector.sign xpcall";

/// All functions that Luau itself has, as a script names them.
fn of_luau() -> BTreeSet<String> {
    let lua = mlua::Lua::new_with(mlua::StdLib::ALL_SAFE, mlua::LuaOptions::new())
        .expect("a machine is made");
    let mut names = BTreeSet::new();
    for pair in lua.globals().pairs::<String, mlua::Value>() {
        let (name, value) = pair.expect("a global has a name");
        match value {
            mlua::Value::Function(_) => {
                names.insert(name);
            }
            mlua::Value::Table(library) if name != "_G" => {
                for pair in library.pairs::<String, mlua::Value>() {
                    let (part, _) = pair.expect("a function of a library has a name");
                    names.insert(format!("{name}.{part}"));
                }
            }
            _ => {}
        }
    }
    names
}

#[test]
fn the_functions_in_c_are_those_that_were_looked_at() {
    let adds = of_luau()
        .iter()
        .map(|name| format!("add('{name}', {name})\n"))
        .collect::<String>();
    let bench = Bench::new();
    let mut module = bench.load(&format!(
        "local found = {{}}
        local function add(name, value)
            if type(value) == 'function' and debug.info(value, 's') == '[C]' then
                table.insert(found, name)
            end
        end
        {adds}
        return {{ action = {{ list = function() return table.concat(found, ' ') end }} }}"
    ));
    let listed = module.execute("list", "").expect("it answers");
    let listed: BTreeSet<_> = listed.split(' ').collect();
    let known: BTreeSet<_> = IN_C.split_whitespace().collect();
    let new: Vec<_> = listed.difference(&known).collect();
    let gone: Vec<_> = known.difference(&listed).collect();
    assert!(
        new.is_empty() && gone.is_empty(),
        "new: {new:?}\ngone: {gone:?}"
    );
}

#[test]
fn a_guarded_function_blames_the_line_that_calls_it() {
    for call in [
        "string.find(nil, 'x')",
        "string.match(nil, 'x')",
        "string.gmatch(nil, 'x')",
        "string.gsub('x', nil, 'y')",
        "string.split(nil)",
        "string.format('%d', 'x')",
        "string.pack('i', 'x')",
        "string.packsize('?')",
        "string.unpack('i', '')",
        "string.upper(nil)",
        "string.lower(nil)",
        "string.reverse(nil)",
        "table.move(nil, 1, 2, 3)",
        "table.sort(nil)",
        "table.sort({ 1, 'x' })",
        "table.sort(nil, function() end)",
        "table.sort({ 3, 2, 1, 5, 4 }, function() return true end)",
        "string.gsub(nil, 'x', function() end)",
        "string.gsub('x', 'x', {}, 'y')",
        "next({}, 'x')",
        "for _ in pairs(nil) do end",
        "table.find(nil, 1)",
        "table.concat(nil)",
        "table.concat({ {} })",
        "table.clone(nil)",
        "table.create(-1)",
        "table.clear(nil)",
        "table.insert({}, 1, 2, 3)",
        "table.insert({})",
        "table.remove(nil)",
        "table.maxn(nil)",
        "table.unpack(nil)",
        "unpack(nil)",
        "buffer.create(-1)",
        "buffer.fromstring(nil)",
        "buffer.tostring(nil)",
    ] {
        let bench = Bench::new();
        let text = bench.refusal(&format!("local _ = 1\n\n{call}\nreturn {{}}"));
        let first = text.lines().next().unwrap_or_default();
        assert!(
            first.contains(".luau:3: ") && !first.contains("@cohnect/"),
            "{call}\n{text}"
        );
    }
}

#[test]
fn what_a_callback_raises_names_its_own_line_once() {
    for call in [
        "table.sort({ 1, 2 }, function()\nerror('inner')\nend)",
        "string.gsub('x', 'x', function()\nerror('inner')\nend)",
        "string.gsub('x', 'x', setmetatable({}, { __index = function()\nerror('inner')\nend }))",
    ] {
        let bench = Bench::new();
        let text = bench.refusal(&format!("local _ = 1\n{call}\nreturn {{}}"));
        let first = text.lines().next().unwrap_or_default();
        assert_eq!(first.matches(".luau:3: inner").count(), 1, "{text}");
        assert_eq!(first.matches(".luau:").count(), 1, "{text}");
    }
}

#[test]
fn guarded_functions_do_what_they_stand_for() {
    let bench = Bench::new();
    let mut module = bench.load(
        r##"return { action = { all = function()
            local list = table.create(2, "a")
            table.insert(list, 1, "b")
            table.insert(list, "c")
            local copy = table.clone(list)
            assert(table.remove(list) == "c" and table.remove(list, 1) == "b" and #list == 2)
            assert(table.remove({}) == nil and table.maxn({ [7] = 1 }) == 7)
            table.clear(list)
            assert(#list == 0 and #table.create(0) == 0)
            assert(select("#", table.unpack({ 1, nil, 3 }, 1, 3)) == 3 and (unpack({ 5 })) == 5)
            local data = buffer.fromstring("text")
            assert(buffer.tostring(data) == "text" and buffer.len(buffer.create(9)) == 9)
            local seen = 0
            for key, value in pairs({ a = 1, b = 2 }) do seen += value end
            for key, value in next, { 4 } do seen += value end
            assert(seen == 7 and next({}) == nil and (next({ 5 })) == 1 and select("#", pairs({})) == 3)
            assert(string.lower("AB") == "ab" and string.reverse("ab") == "ba" and ("ab"):upper() == "AB")
            assert(string.gsub("hello", "l", "L") == "heLLo" and select(2, string.gsub("hello", "l", { l = "x" }, 1)) == 1)
            return table.concat(copy, "-", 1, 3) .. table.concat({ 1, 2 })
        end } }"##,
    );
    assert_eq!(module.execute("all", ""), Ok("b-a-a12".to_owned()));
}
