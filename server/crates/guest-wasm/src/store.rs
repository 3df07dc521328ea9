//! What one replica's store holds beside its memory: the host's context, the bounds of its memory and tables, and its open transactions and cursors. It
//! owns no decision about what a call may do; the context does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cohnect_host::context::{Context, Entered, Phase};
use cohnect_host::deadline::{CpuClock, Verdict};
use cohnect_host::export::Ending;
use cohnect_host::function::HostFunction;
use wasmtime::{Engine, ResourceLimiter, Store, StoreContextMut, UpdateDeadline};

use crate::contract::types;
use crate::imports::db::Handles;

/// Elements in all tables of a replica: a table holds a module's functions, and 10,000 functions in each of two instances are a large program.
const TABLE_ELEMENTS_MAX: usize = 20_000;
/// Core instances, memories and tables of one replica: a component from one compiler has a handful of each.
const INSTANCES_MAX: usize = 32;
const MEMORIES_MAX: usize = 8;
const TABLES_MAX: usize = 32;
/// Handles that a component may hold: transactions, cursors and a standard library's streams.
const HANDLES_MAX: usize = 1_024;
/// Bytes that one host call may bring: four times what a whole call may send, for the strings and headers beside it.
const HOSTCALL_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Why a host function ended the call, and with it the replica.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Stop {
    /// The call's CPU is used up; the text says how much it had.
    #[error("{0}")]
    Deadline(String),
    /// The call did not stop when its quota was used up.
    #[error("{0}")]
    Quota(String),
    /// A function without a result was refused.
    #[error("{0}")]
    Refused(String),
}

impl Stop {
    pub(crate) const fn ending(&self) -> Ending {
        match self {
            Self::Deadline(_) => Ending::Deadline,
            Self::Quota(_) => Ending::Quota,
            Self::Refused(_) => Ending::Trap,
        }
    }
}

/// The data of a store.
pub(crate) struct Host {
    pub(crate) context: Context,
    pub(crate) bounds: Bounds,
    pub(crate) handles: Handles,
    pub(crate) output: crate::wasi::Output,
    /// The CPU of the thread when a replica on a worker was resumed; none on a shard, where a call runs through.
    resumed: Option<Arc<Resumed>>,
}

/// Where the thread's CPU stood when the call went on after giving its turn up; 0 when it has not since the last look.
#[derive(Debug, Default)]
struct Resumed(AtomicU64);

impl Host {
    /// A store for one replica. `waits` is whether it lives on a worker, where it gives its turn up at each tick.
    pub(crate) fn store(
        engine: &Engine,
        context: Context,
        memory_bytes: usize,
        waits: bool,
    ) -> Store<Self> {
        let host = Self {
            context,
            bounds: Bounds::new(memory_bytes),
            handles: Handles::default(),
            output: crate::wasi::Output::default(),
            resumed: waits.then(Arc::default),
        };
        let mut store = Store::new(engine, host);
        store.limiter(|host| &mut host.bounds);
        store.set_hostcall_fuel(HOSTCALL_BYTES_MAX);
        store.set_max_component_handles(HANDLES_MAX);
        store.epoch_deadline_callback(at_tick);
        store
    }

    /// Opens the way to a function that has no error to return: a refusal ends the call and names the function.
    pub(crate) fn plain<T>(
        &mut self,
        function: HostFunction,
        run: impl FnOnce(&mut Entered<'_>) -> T,
    ) -> wasmtime::Result<T> {
        match self.context.enter(function) {
            Ok(mut entered) => Ok(run(&mut entered)),
            Err(error) => {
                let row = function.row();
                let text = format!("{}.{}: {error}", row.interface.name(), row.name);
                Err(
                    if matches!(error, cohnect_capabilities::Error::LimitExceeded(_)) {
                        Stop::Quota(text)
                    } else {
                        Stop::Refused(text)
                    }
                    .into(),
                )
            }
        }
    }

    /// As [`Host::plain`], where arguments can be wrong: the call ends, since the function has no other way to say so.
    pub(crate) fn checked<T>(
        &mut self,
        function: HostFunction,
        run: impl FnOnce(&mut Entered<'_>) -> cohnect_capabilities::Result<T>,
    ) -> wasmtime::Result<T> {
        self.plain(function, run)?.map_err(|error| {
            let row = function.row();
            Stop::Refused(format!("{}.{}: {error}", row.interface.name(), row.name)).into()
        })
    }

    /// Opens the way to a function whose result has an error.
    pub(crate) fn answer<T>(
        &mut self,
        function: HostFunction,
        run: impl FnOnce(&mut Entered<'_>) -> cohnect_capabilities::Result<T>,
    ) -> wasmtime::Result<Result<T, types::Error>> {
        let answer = match self.context.enter(function) {
            Ok(mut entered) => run(&mut entered),
            Err(error) => Err(error),
        };
        self.refuse_runaway()?;
        Ok(self.told(function, answer))
    }

    /// An answer as the component reads it; what was said of its arguments is remembered.
    pub(crate) fn told<T>(
        &mut self,
        function: HostFunction,
        answer: cohnect_capabilities::Result<T>,
    ) -> Result<T, types::Error> {
        answer.map_err(|error| {
            self.context.note(function, &error);
            error.into()
        })
    }

    /// A call that goes on calling after its quota was used up is ended like any other runaway.
    pub(crate) fn refuse_runaway(&self) -> wasmtime::Result<()> {
        if self.context.quota_ignored() {
            return Err(Stop::Quota("the call went on after its quota was used up".into()).into());
        }
        Ok(())
    }

    /// The call waits: its slice of CPU ends.
    pub(crate) fn pause(&mut self) {
        if let Some(resumed) = &self.resumed {
            resumed.0.store(0, Ordering::Relaxed);
        }
        self.context.pause();
    }

    /// Before a call: nothing is held against it that an earlier one did.
    pub(crate) fn begin(&mut self) {
        self.bounds.refused = false;
        if let Some(resumed) = &self.resumed {
            resumed.0.store(0, Ordering::Relaxed);
        }
    }

    /// After a call: its transactions roll back, its cursors close, its last words are logged.
    pub(crate) fn finish(&mut self) {
        self.handles.clear();
        crate::wasi::flush(self);
    }
}

/// At a tick inside a call: judge it by its CPU. On a worker it then gives its turn up, and its next slice counts from the moment it goes on.
fn at_tick(mut store: StoreContextMut<'_, Host>) -> wasmtime::Result<UpdateDeadline> {
    let host = store.data_mut();
    if let Some(resumed) = &host.resumed {
        let at = resumed.0.swap(0, Ordering::Relaxed);
        if at > 0 {
            host.context.deadline().resume_at(at);
        }
    }
    match host.context.on_tick() {
        Verdict::Interrupt => return Err(Stop::Deadline(host.context.budget()).into()),
        Verdict::GoOn => {}
    }
    let Some(resumed) = &host.resumed else {
        return Ok(UpdateDeadline::Continue(1));
    };
    // While a replica is made nobody waits for its turn: it is made at once, whatever its start runs.
    if matches!(host.context.phase(), Phase::Probe | Phase::Load) {
        return Ok(UpdateDeadline::Continue(1));
    }
    let resumed = Arc::clone(resumed);
    let cpu = host.context.cpu();
    host.context.pause();
    Ok(UpdateDeadline::YieldCustom(1, Box::pin(turn(resumed, cpu))))
}

/// Lets others run once, then notes where the CPU stands.
async fn turn(resumed: Arc<Resumed>, cpu: Arc<dyn CpuClock>) {
    let mut yielded = false;
    core::future::poll_fn(|wait| {
        if core::mem::replace(&mut yielded, true) {
            core::task::Poll::Ready(())
        } else {
            wait.waker().wake_by_ref();
            core::task::Poll::Pending
        }
    })
    .await;
    resumed.0.store(cpu.thread_us(), Ordering::Relaxed);
}

/// The bounds of a replica's memories and tables, over all of them.
#[derive(Debug)]
pub(crate) struct Bounds {
    memory_left: usize,
    elements_left: usize,
    /// Whether the running call asked for memory that it did not get.
    pub(crate) refused: bool,
}

impl Bounds {
    const fn new(memory_bytes: usize) -> Self {
        Self {
            memory_left: memory_bytes,
            elements_left: TABLE_ELEMENTS_MAX,
            refused: false,
        }
    }
}

impl ResourceLimiter for Bounds {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        match self
            .memory_left
            .checked_sub(desired.saturating_sub(current))
        {
            Some(left) => self.memory_left = left,
            None => {
                self.refused = true;
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        match self
            .elements_left
            .checked_sub(desired.saturating_sub(current))
        {
            Some(left) => self.elements_left = left,
            None => return Ok(false),
        }
        Ok(true)
    }

    fn instances(&self) -> usize {
        INSTANCES_MAX
    }

    fn tables(&self) -> usize {
        TABLES_MAX
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX
    }
}
