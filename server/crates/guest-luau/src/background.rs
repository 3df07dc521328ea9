//! A `background` function as a coroutine: each step resumes it until it sleeps or waits. It owns what passes between the two; how the coroutine is
//! resumed, plainly or as a future, is the replicas' affair.

use cohnect_host::export::{Next, Returned, Wake};
use mlua::{Function, IntoLuaMulti, Lua, MultiValue, Table, Thread, Value};

use crate::convert::{FromLuau, Seconds};
use crate::vm::{Prelude, Vm, run};

/// The module's loop.
pub(crate) enum Loop {
    /// It has not begun, or ended with an error: the next step begins it.
    Idle,
    /// It sleeps or waits.
    Waiting(Thread),
    /// It returned.
    Finished,
}

/// A coroutine and what it is resumed with.
pub(crate) struct Step {
    pub(crate) thread: Thread,
    pub(crate) arguments: MultiValue,
}

/// Makes ready for one step; none when the loop has returned.
pub(crate) fn step(
    vm: &Vm,
    state: &mut Loop,
    body: &Function,
    why: &Wake,
) -> mlua::Result<Option<Step>> {
    let lua = &vm.lua;
    match core::mem::replace(state, Loop::Idle) {
        Loop::Finished => {
            *state = Loop::Finished;
            Ok(None)
        }
        Loop::Waiting(thread) => Ok(Some(Step {
            thread,
            arguments: reason(lua, why)?,
        })),
        Loop::Idle => {
            let (made, take): (Table, Function) = vm.background.call(())?;
            // What woke it first is told before it runs, so that a module that is about to end knows it at once.
            take.call::<()>(reason(lua, why)?)?;
            let thread = lua.create_thread(body.clone())?;
            Ok(Some(Step {
                thread,
                arguments: made.into_lua_multi(lua)?,
            }))
        }
    }
}

/// Why the coroutine stopped for now.
pub(crate) enum Stop {
    /// It waits.
    Waits(Next),
    /// It returned.
    Returned,
}

/// What a coroutine's results mean: it waits, or it has come to its end.
pub(crate) fn stopped(thread: &Thread, results: &MultiValue) -> mlua::Result<Stop> {
    if !thread.is_resumable() {
        return Ok(Stop::Returned);
    }
    let mut results = results.iter();
    match results.next() {
        Some(Value::String(mark)) if *mark == "cohnect.wait" => {}
        _ => {
            return Err(mlua::Error::runtime(
                "the background function yielded by itself; it waits with loop.sleep, loop.wait and loop.batch",
            ));
        }
    }
    let next = match results.next() {
        None | Some(Value::Nil) => Next::WhenSignalled,
        Some(time) => match Seconds::from_luau(time) {
            Ok(Seconds(0)) => Next::AtOnce,
            Ok(Seconds(us)) => Next::After(us),
            Err(mismatch) => return Err(mlua::Error::runtime(mismatch.0)),
        },
    };
    Ok(Stop::Waits(next))
}

/// What is left behind after a step.
pub(crate) fn settle(state: &mut Loop, step: Step, stop: &Stop) -> Returned {
    match stop {
        Stop::Waits(next) => {
            *state = Loop::Waiting(step.thread);
            Returned::Next(Ok(*next))
        }
        Stop::Returned => {
            *state = Loop::Finished;
            Returned::Next(Ok(Next::Finished))
        }
    }
}

/// Loads what makes a loop.
pub(crate) fn maker(lua: &Lua, primitives: &Table) -> mlua::Result<Function> {
    run(lua, Prelude::Background, primitives)
}

fn reason(lua: &Lua, why: &Wake) -> mlua::Result<MultiValue> {
    match why {
        Wake::Started => "started".into_lua_multi(lua),
        Wake::Elapsed => "elapsed".into_lua_multi(lua),
        Wake::Stopping => "stopping".into_lua_multi(lua),
        Wake::Signalled(signals) => {
            let list = lua.create_table_with_capacity(signals.len(), 0)?;
            for (n, signal) in signals.iter().enumerate() {
                let table = lua.create_table_with_capacity(0, 2)?;
                table.raw_set("name", signal.name.as_str())?;
                table.raw_set("body", lua.create_string(&signal.body)?)?;
                list.raw_set(n + 1, table)?;
            }
            ("signalled", list).into_lua_multi(lua)
        }
    }
}
