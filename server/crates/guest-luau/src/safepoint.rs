//! The permanent safepoint: a C interrupt of Luau that looks at the tick at each loop turn and call, and ends or suspends a call that has used its CPU.
//! It owns the crate's only `unsafe`; what a tick means is decided by the [`Judge`].
//!
//! mlua's own `set_interrupt` does the same through a Rust callback and costs a quarter of a loop's speed; this one costs about a nanosecond.
#![allow(
    unsafe_code,
    reason = "Luau's interrupt is a C function; its invariants are stated at each use"
)]

use core::cell::Cell;
use core::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicU64, Ordering};

use mlua::{Lua, ffi};

/// What a running call does at a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sentence {
    /// It goes on.
    GoOn,
    /// It ends: errors are raised until the outermost call has returned, so that no `pcall` swallows them.
    End,
}

/// Decides at a tick.
pub(crate) trait Judge {
    /// A tick has passed while the call ran.
    fn judge(&self) -> Sentence;
}

/// What the interrupt of this thread looks at. Virtual machines on one thread take turns, so there is one.
struct Watch {
    counter: Cell<*const AtomicU64>,
    /// The tick that was judged last; [`DOOMED`] once the call has to end.
    seen: Cell<u64>,
    judge: Cell<Option<*const dyn Judge>>,
    /// The coroutine that may be suspended at a tick; null on a shard.
    outermost: Cell<*const c_void>,
}

/// No tick has this number, so each safepoint is taken for a new tick.
const DOOMED: u64 = u64::MAX;

thread_local! {
    static WATCH: Watch = const {
        Watch {
            counter: Cell::new(core::ptr::null()),
            seen: Cell::new(0),
            judge: Cell::new(None),
            outermost: Cell::new(core::ptr::null()),
        }
    };
}

/// Installs the interrupt in a new virtual machine.
pub(crate) fn install(lua: &Lua) -> mlua::Result<()> {
    // SAFETY: `exec_raw` hands over the live state of `lua`; `lua_callbacks` returns its callback block, of which only the interrupt is set, to a
    // function with the signature that Luau asks for. The closure leaves the stack as it found it.
    unsafe {
        lua.exec_raw::<()>((), |state| {
            (*ffi::lua_callbacks(state)).interrupt = Some(interrupt);
        })
    }
}

/// The address of a coroutine, as [`watched`] compares it.
pub(crate) fn address(thread: &mlua::Thread) -> *const c_void {
    thread.state().cast_const().cast()
}

/// Runs `work`, in which Luau code runs, under the eyes of `judge`. With `outermost` that coroutine is suspended at each tick.
pub(crate) fn watched<R>(
    counter: &AtomicU64,
    judge: &(dyn Judge + 'static),
    outermost: Option<*const c_void>,
    work: impl FnOnce() -> R,
) -> R {
    WATCH.with(|watch| {
        let _restore = Restore {
            watch,
            counter: watch.counter.replace(counter),
            seen: watch.seen.replace(counter.load(Ordering::Relaxed)),
            judge: watch.judge.replace(Some(core::ptr::from_ref(judge))),
            outermost: watch
                .outermost
                .replace(outermost.unwrap_or(core::ptr::null())),
        };
        work()
    })
}

/// From now on each safepoint of the running call raises an error.
pub(crate) fn doom() {
    WATCH.with(|watch| watch.seen.set(DOOMED));
}

/// Puts back what was watched before, also when `work` unwinds.
struct Restore<'a> {
    watch: &'a Watch,
    counter: *const AtomicU64,
    seen: u64,
    judge: Option<*const dyn Judge>,
    outermost: *const c_void,
}

impl Drop for Restore<'_> {
    fn drop(&mut self) {
        self.watch.counter.set(self.counter);
        self.watch.seen.set(self.seen);
        self.watch.judge.set(self.judge);
        self.watch.outermost.set(self.outermost);
    }
}

/// What a script's code sees of its own end, if it catches it; in the log stands how much CPU it had.
pub(crate) const DOOM: &str = "this call has used its CPU time up";

/// Called by Luau at loop back edges, calls, returns, inside pattern matching, and (with `gc` ≥ 0) by the collector, which may not be disturbed.
unsafe extern "C-unwind" fn interrupt(state: *mut ffi::lua_State, gc: c_int) {
    if gc >= 0 {
        return;
    }
    WATCH.with(|watch| {
        let counter = watch.counter.get();
        if counter.is_null() {
            return;
        }
        // SAFETY: `counter` is not null only inside `watched`, whose caller lends the counter for all of that time.
        let now = unsafe { (*counter).load(Ordering::Relaxed) };
        if now != watch.seen.get() {
            // SAFETY: `state` is the running state that Luau called this function with.
            unsafe { at_tick(state, watch, now) };
        }
    });
}

/// Whether the running call has to end. For our own loops over a script's values, in which Luau does not look.
pub(crate) fn is_over() -> bool {
    WATCH.with(|watch| {
        let counter = watch.counter.get();
        if counter.is_null() {
            return false;
        }
        // SAFETY: as in `interrupt`.
        let now = unsafe { (*counter).load(Ordering::Relaxed) };
        now != watch.seen.get() && judged(watch, now) == Sentence::End
    })
}

/// What the judge says at this tick; what it has said once of an end holds for the rest of the call.
#[cold]
fn judged(watch: &Watch, now: u64) -> Sentence {
    if watch.seen.get() == DOOMED {
        return Sentence::End;
    }
    watch.seen.set(now);
    let sentence = match watch.judge.get() {
        // SAFETY: as with the counter: set only inside `watched`, which borrows the judge for all of that time.
        Some(judge) => unsafe { (*judge).judge() },
        None => Sentence::GoOn,
    };
    if sentence == Sentence::End {
        watch.seen.set(DOOMED);
    }
    sentence
}

/// # Safety
/// `state` is the state that Luau called the interrupt with, at a point where it may raise.
#[cold]
unsafe fn at_tick(state: *mut ffi::lua_State, watch: &Watch, now: u64) {
    if judged(watch, now) == Sentence::GoOn {
        // SAFETY: only the outermost coroutine is suspended, which our own code resumes, and only where Luau says that it may be; nothing is
        // passed, and Luau looks at the state's status right after the interrupt.
        unsafe {
            if core::ptr::eq(watch.outermost.get(), state.cast_const().cast())
                && ffi::lua_isyieldable(state) != 0
            {
                ffi::lua_yield(state, 0);
            }
        }
        return;
    }
    // SAFETY: an interrupt may raise, as Luau documents; room for one value is asked for first, and no frame of ours between here and the virtual
    // machine holds anything that would have to be dropped.
    unsafe {
        ffi::lua_rawcheckstack(state, 1);
        ffi::lua_pushlstring(state, DOOM.as_ptr().cast(), DOOM.len());
        ffi::lua_error(state);
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    struct After {
        ticks: Cell<u32>,
    }

    impl Judge for After {
        fn judge(&self) -> Sentence {
            match self.ticks.get().checked_sub(1) {
                Some(left) => {
                    self.ticks.set(left);
                    Sentence::GoOn
                }
                None => Sentence::End,
            }
        }
    }

    /// Runs `code` while each look at the tick is a new one.
    fn run(code: &str, ticks: u32) -> mlua::Result<String> {
        let lua = Lua::new();
        install(&lua)?;
        let counter = Rc::new(AtomicU64::new(1));
        let tick = Rc::clone(&counter);
        lua.globals().set(
            "tick",
            lua.create_function(move |_, ()| {
                tick.fetch_add(1, Ordering::Relaxed);
                Ok(())
            })?,
        )?;
        let judge = After {
            ticks: Cell::new(ticks),
        };
        watched(&counter, &judge, None, || lua.load(code).eval())
    }

    #[test]
    fn a_call_without_a_tick_is_not_judged() {
        assert_eq!(
            run("local n = 0 for i = 1, 1e5 do n += i end return 'done'", 0).expect("it ends"),
            "done"
        );
    }

    #[test]
    fn a_loop_ends_at_the_tick_that_says_so() {
        let error = run("while true do tick() end", 3).expect_err("it is ended");
        assert!(error.to_string().contains("CPU time"), "{error}");
    }

    #[test]
    fn a_pcall_does_not_swallow_the_end() {
        for code in [
            "while true do pcall(function() while true do tick() end end) end",
            "while true do xpcall(function() while true do tick() end end, function() while true do end end) end",
            "while true do pcall(coroutine.wrap(function() while true do tick() end end)) end",
            "while true do pcall(table.sort, { 3, 2, 1 }, function(a, b) tick() return a < b end) end",
        ] {
            let error = run(code, 1).expect_err("it is ended");
            assert!(error.to_string().contains("CPU time"), "{code}: {error}");
        }
    }

    #[test]
    fn a_pattern_that_never_ends_is_ended() {
        let lua = Lua::new();
        install(&lua).expect("it can be installed");
        let (counter, judge) = (
            AtomicU64::new(1),
            After {
                ticks: Cell::new(3),
            },
        );
        let done = core::sync::atomic::AtomicBool::new(false);
        let error = std::thread::scope(|threads| {
            threads.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    counter.fetch_add(1, Ordering::Relaxed);
                    std::thread::yield_now();
                }
            });
            let code =
                "string.find(string.rep('a', 40), string.rep('a?', 40) .. string.rep('a', 40))";
            let result = watched(&counter, &judge, None, || lua.load(code).exec());
            done.store(true, Ordering::Relaxed);
            result.expect_err("it is ended")
        });
        assert!(error.to_string().contains("CPU time"), "{error}");
    }

    #[test]
    fn a_loop_of_our_own_hears_of_the_end() {
        let counter = AtomicU64::new(1);
        let judge = After {
            ticks: Cell::new(1),
        };
        let heard = watched(&counter, &judge, None, || {
            let mut heard = vec![is_over()];
            for _ in 0..2 {
                counter.fetch_add(1, Ordering::Relaxed);
                heard.push(is_over());
            }
            // Without another tick, too.
            heard.push(is_over());
            heard
        });
        assert_eq!(heard, [false, false, true, true]);
        assert!(!is_over(), "nobody watches");
    }

    #[test]
    fn the_watch_before_is_put_back() {
        let (outer, inner) = (AtomicU64::new(1), AtomicU64::new(2));
        let judge = After {
            ticks: Cell::new(0),
        };
        watched(&outer, &judge, None, || {
            watched(&inner, &judge, None, doom);
            WATCH.with(|watch| {
                assert_eq!(watch.counter.get(), core::ptr::from_ref(&outer));
                assert_eq!(watch.seen.get(), 1);
            });
        });
        WATCH.with(|watch| assert!(watch.counter.get().is_null()));
    }

    #[test]
    fn only_the_outermost_coroutine_is_suspended() {
        let lua = Lua::new();
        install(&lua).expect("it can be installed");
        let counter = Rc::new(AtomicU64::new(1));
        let tick = Rc::clone(&counter);
        let bump = lua
            .create_function(move |_, ()| {
                tick.fetch_add(1, Ordering::Relaxed);
                Ok(())
            })
            .expect("a function");
        lua.globals().set("tick", bump).expect("a global");
        let body = lua
            .load("local inner = coroutine.wrap(function() tick() for i = 1, 10 do end return 'inner' end) local got = inner() tick() for i = 1, 3 do end return got")
            .into_function()
            .expect("it compiles");
        let thread = lua.create_thread(body).expect("a coroutine");
        let judge = After {
            ticks: Cell::new(100),
        };
        let resume = || {
            watched(&counter, &judge, Some(address(&thread)), || {
                thread.resume::<Option<String>>(())
            })
        };
        assert_eq!(resume().expect("it is suspended"), None);
        assert!(thread.is_resumable());
        assert_eq!(resume().expect("it ends").as_deref(), Some("inner"));
    }
}
