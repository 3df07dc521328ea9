//! The virtual machine of one replica: sandboxed, bounded in memory, with the host's globals in place of those that reach outside. It owns no handler.

use std::rc::Rc;

use cohnect_capabilities::Field;
use cohnect_capabilities::logging::Level;
use cohnect_host::function::HostFunction;
use cohnect_host::limits::LOG_BYTES_MAX;
use mlua::{Function, Lua, LuaOptions, LuaString, StdLib, Table, Value};

use crate::convert::{Arg, error_of};
use crate::host::{Constants, Host, PLAIN, Refusal, kind};
use crate::language::Code;
use crate::{json, msgpack, require, safepoint};

/// The functions through which the host calls handlers, made by the prelude.
pub(crate) struct Core {
    pub(crate) execute: Function,
    pub(crate) handle: Function,
    pub(crate) broadcast: Function,
    pub(crate) tick: Function,
    pub(crate) timer: Function,
    pub(crate) subscription: Function,
    pub(crate) plain: Function,
    seed: Function,
}

impl Core {
    /// Seeds `math.random`.
    pub(crate) fn seed(&self, seed: u64) -> mlua::Result<()> {
        self.seed.call((seed >> 33) as u32)
    }
}

/// How the collector works. Luau does not collect when memory runs out, so what is garbage then would count as used: a machine whose heap is no longer small
/// beside its limit collects early (the heap's size in percent of what lives in it) and quickly (the work of the collector in percent of what is allocated
/// meanwhile; Luau's own 200 would let half of what lives be allocated anew before a cycle ends). A small heap has Luau's own goal: there the limit is far,
/// and each cycle is time of the calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    Easy,
    Tight,
}

/// A heap is small up to this part of the limit: what one call of a few milliseconds allocates beside it stays below the limit.
const EASY_PART: usize = 8;

impl Pace {
    fn set(self, lua: &Lua) {
        let (goal, work) = match self {
            Self::Easy => (200, 400),
            Self::Tight => (130, 800),
        };
        let params = mlua::state::GcIncParams::default()
            .goal(goal)
            .step_multiplier(work);
        lua.gc_set_mode(mlua::state::GcMode::Incremental(params));
    }
}

/// One virtual machine.
pub(crate) struct Vm {
    pub(crate) core: Core,
    /// Makes the `loop` of a background function.
    pub(crate) background: Function,
    pub(crate) host: Rc<Host>,
    memory_bytes: usize,
    pace: core::cell::Cell<Pace>,
    /// Last, so that the values above go before it.
    pub(crate) lua: Lua,
}

impl Vm {
    /// A machine in which the module's file has not run yet.
    pub(crate) fn new(code: &std::sync::Arc<Code>, host: Rc<Host>) -> mlua::Result<Self> {
        let lua = Lua::new_with(StdLib::ALL_SAFE, LuaOptions::new())?;
        safepoint::install(&lua)?;
        lua.set_app_data(Rc::clone(&host));
        lua.set_memory_limit(code.memory_bytes)?;
        // While the file runs and in the first call, where large tables are filled.
        Pace::Tight.set(&lua);
        let primitives = primitives(&lua, &host)?;
        let prelude: Table = run(&lua, Prelude::Core, &primitives)?;
        let guards: Table = run(&lua, Prelude::Guards, &primitives)?;
        set_globals(&lua, &prelude, &guards)?;
        set_constants(&lua, &host, &prelude)?;
        primitives.raw_set("plain", plain(&lua, &host)?)?;
        let background = crate::background::maker(&lua, &primitives)?;
        require::install(&lua, &host, code, primitives)?;
        let seed: Function = lua.globals().get::<Table>("math")?.get("randomseed")?;
        seed.call::<()>(0)?;
        let core = Core {
            execute: prelude.raw_get("execute")?,
            handle: prelude.raw_get("handle")?,
            broadcast: prelude.raw_get("broadcast")?,
            tick: prelude.raw_get("tick")?,
            timer: prelude.raw_get("timer")?,
            subscription: prelude.raw_get("subscription")?,
            plain: prelude.raw_get("plain")?,
            seed,
        };
        lua.sandbox(true)?;
        Ok(Self {
            core,
            background,
            host,
            memory_bytes: code.memory_bytes,
            pace: core::cell::Cell::new(Pace::Tight),
            lua,
        })
    }
}

impl Vm {
    /// What comes with a call, as a string. Its length is bounded by the contract, so it may exceed the machine's limit by itself; the script's next
    /// allocation for which Luau has no page left then meets it. While there is a limit, each value that is made from outside is made under a protected call, which costs a string of 64
    /// bytes three times what it costs without.
    pub(crate) fn string(&self, bytes: &[u8]) -> mlua::Result<LuaString> {
        self.lua.set_memory_limit(0)?;
        let made = self.lua.create_string(bytes);
        self.lua.set_memory_limit(self.memory_bytes)?;
        made
    }

    /// Looks at the memory after a call, and lets the collector work accordingly.
    pub(crate) fn pace(&self) {
        let easy = self.lua.used_memory() < self.memory_bytes / EASY_PART;
        let pace = if easy { Pace::Easy } else { Pace::Tight };
        if self.pace.replace(pace) != pace {
            pace.set(&self.lua);
        }
    }
}

/// The parts of the surface that are written in Luau.
#[derive(Clone, Copy)]
pub(crate) enum Prelude {
    Core,
    Guards,
    Errors,
    Define,
    Check,
    Background,
}

impl Prelude {
    const fn name(self) -> &'static str {
        match self {
            Self::Core => "core",
            Self::Guards => "guards",
            Self::Errors => "errors",
            Self::Define => "define",
            Self::Check => "check",
            Self::Background => "background",
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::Core => include_str!("prelude/core.luau"),
            Self::Guards => include_str!("prelude/guards.luau"),
            Self::Errors => include_str!("prelude/errors.luau"),
            Self::Define => include_str!("prelude/define.luau"),
            Self::Check => include_str!("prelude/check.luau"),
            Self::Background => include_str!("prelude/background.luau"),
        }
    }

    /// Compiled once per process.
    fn bytecode(self) -> mlua::Result<&'static [u8]> {
        use std::sync::OnceLock;
        static COMPILED: [OnceLock<Vec<u8>>; 6] = [const { OnceLock::new() }; 6];
        let cell = &COMPILED[self as usize];
        if cell.get().is_none() {
            let _first = cell.set(compiler().compile(self.text())?);
        }
        Ok(cell.get().map_or(&[], Vec::as_slice))
    }
}

/// Runs a part of the surface and returns what it returns.
pub(crate) fn run<R: mlua::FromLuaMulti>(
    lua: &Lua,
    part: Prelude,
    primitives: &Table,
) -> mlua::Result<R> {
    lua.load(part.bytecode()?)
        .set_mode(mlua::chunk::ChunkMode::Binary)
        .set_name(format!("=@cohnect/{}", part.name()))
        .call(primitives)
}

/// How all code is compiled: optimised, with the lines and names that an error shows.
pub(crate) fn compiler() -> mlua::chunk::Compiler {
    mlua::chunk::Compiler::new()
        .set_optimization_level(1)
        .set_debug_level(1)
}

/// What the surface in Luau is built on.
fn primitives(lua: &Lua, host: &Rc<Host>) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.raw_set(
        "refuse",
        lua.create_function(|_, problem: Value| -> mlua::Result<()> {
            Err(match error_of(&problem) {
                Ok(error) => mlua::Error::external(Refusal(error)),
                Err(mismatch) => mlua::Error::runtime(mismatch.0),
            })
        })?,
    )?;
    let asked = Rc::clone(host);
    table.raw_set(
        "user",
        lua.create_function(move |_, Arg(id): Arg<cohnect_capabilities::ClientId>| {
            // A client that is gone has no user any more.
            Ok(asked
                .enter(HostFunction::ClientsInfo, |entered| {
                    entered.clients_info(id)
                })
                .ok()
                .and_then(|info| info.user))
        })?,
    )?;
    let asked = Rc::clone(host);
    table.raw_set(
        "tags",
        lua.create_function(move |_, Arg(id): Arg<cohnect_capabilities::ClientId>| {
            Ok(asked
                .enter(HostFunction::TagsOf, |entered| entered.tags_of(id))
                .unwrap_or_default())
        })?,
    )?;
    let logged = Rc::clone(host);
    table.raw_set(
        "log",
        lua.create_function(move |_, (Arg(level), text): (Arg<Level>, LuaString)| {
            logged
                .enter(HostFunction::LoggingLog, |entered| {
                    let bytes = text.as_bytes();
                    let shown = &bytes[..bytes.len().min(LOG_BYTES_MAX)];
                    entered.logging_log(level, &String::from_utf8_lossy(shown), &[] as &[Field]);
                    Ok(())
                })
                .map_err(|error| mlua::Error::runtime(format!("print: {error}")))
        })?,
    )?;
    let told = Rc::clone(host);
    table.raw_set(
        "thrown",
        lua.create_function(move |_, (table, text): (Table, LuaString)| {
            // As mlua shows it, which is not what `tostring` makes of it.
            let address = format!("table: {:p}", table.to_pointer());
            told.thrown(address, text.to_string_lossy());
            Ok(())
        })?,
    )?;
    table.raw_set("now", clock(lua, host, HostFunction::ClockNow)?)?;
    table.raw_set("monotonic", clock(lua, host, HostFunction::ClockMonotonic)?)?;
    table.raw_set(
        "suggest",
        lua.create_function(|_, (word, known): (String, Vec<String>)| {
            let known: Vec<_> = known.iter().map(String::as_str).collect();
            Ok(cohnect_host::nearest::suggestion(&word, &known))
        })?,
    )?;
    table.raw_set("null", Value::NULL)?;
    Ok(table)
}

fn clock(lua: &Lua, host: &Rc<Host>, function: HostFunction) -> mlua::Result<Function> {
    let host = Rc::clone(host);
    let monotonic = function == HostFunction::ClockMonotonic;
    lua.create_function(move |_, ()| {
        host.enter(function, |entered| {
            Ok(if monotonic {
                entered.clock_monotonic()
            } else {
                entered.clock_now()
            })
        })
        .map(crate::convert::seconds)
        .map_err(|error| mlua::Error::runtime(format!("the clock: {error}")))
    })
}

/// Takes away what reaches outside, and puts the host's in its place.
fn set_globals(lua: &Lua, prelude: &Table, guards: &Table) -> mlua::Result<()> {
    let globals = lua.globals();
    for name in [
        "collectgarbage",
        "loadstring",
        "getfenv",
        "setfenv",
        "newproxy",
        "require",
    ] {
        globals.raw_set(name, Value::Nil)?;
    }
    // By library; those that stand in none under `globals`.
    for pair in guards.pairs::<String, Table>() {
        let (library, guarded) = pair?;
        let library = match library.as_str() {
            "globals" => globals.clone(),
            name => globals.raw_get(name)?,
        };
        for pair in guarded.pairs::<String, Function>() {
            let (name, function) = pair?;
            library.raw_set(name, function)?;
        }
    }
    for name in ["print", "error"] {
        globals.raw_set(name, prelude.raw_get::<Function>(name)?)?;
    }
    let os: Table = globals.raw_get("os")?;
    let ours = lua.create_table()?;
    ours.raw_set("difftime", os.raw_get::<Function>("difftime")?)?;
    ours.raw_set("time", prelude.raw_get::<Function>("time")?)?;
    ours.raw_set("date", prelude.raw_get::<Function>("date")?)?;
    ours.raw_set("clock", prelude.raw_get::<Function>("clock")?)?;
    globals.raw_set("os", ours)
}

fn set_constants(lua: &Lua, host: &Rc<Host>, prelude: &Table) -> mlua::Result<()> {
    let error: Table = prelude.raw_get("Error")?;
    let mut plain = Vec::with_capacity(PLAIN.len());
    for case in &PLAIN {
        let table = lua.create_table_with_capacity(0, 2)?;
        table.raw_set("kind", kind(case))?;
        table.raw_set("message", case.to_string())?;
        table.set_metatable(Some(error.clone()))?;
        table.set_readonly(true);
        plain.push((kind(case), table));
    }
    host.set_constants(Constants {
        plain,
        error,
        remember: prelude.raw_get("remember")?,
        recall: prelude.raw_get("recall")?,
        full_client: prelude.raw_get("full_client")?,
        array: json::marker(lua, "array")?,
        object: json::marker(lua, "object")?,
    });
    Ok(())
}

fn plain(lua: &Lua, host: &Rc<Host>) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    for (kind, error) in &host.constants()?.plain {
        table.raw_set(*kind, error)?;
    }
    Ok(table)
}

/// Adds the codecs to what the surface in Luau is built on.
pub(crate) fn add_codecs(lua: &Lua, host: &Rc<Host>, primitives: &Table) -> mlua::Result<()> {
    let (json, msgpack) = (json::module(lua, host)?, msgpack::module(lua, host)?);
    primitives.raw_set("encode", json.raw_get::<Function>("encode")?)?;
    primitives.raw_set("json_decode", json.raw_get::<Function>("decode")?)?;
    primitives.raw_set("array", json.raw_get::<Function>("array")?)?;
    primitives.raw_set("object", json.raw_get::<Function>("object")?)?;
    primitives.raw_set("msgpack_decode", msgpack.raw_get::<Function>("decode")?)
}
