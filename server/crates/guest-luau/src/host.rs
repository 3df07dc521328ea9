//! What a virtual machine shares with the functions that it was given: the running call's context, what is to become of the call, and the values that
//! are made once and handed out often. It owns no virtual machine.

use core::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use cohnect_capabilities::{ClientId, Error, Failure, Result};
use cohnect_host::context::{Context, Entered};
use cohnect_host::deadline::Verdict;
use cohnect_host::export::Ending;
use cohnect_host::function::{HostFunction, Interface};
use mlua::{Function, Lua, Table, Value};
use rustc_hash::FxHashMap;

use crate::binding::Named;
use crate::resource::Resources;
use crate::safepoint::{self, Judge, Sentence};

/// Clients whose values are kept for the next call; a room is smaller, and an entry is about 400 bytes of the replica's memory.
const CLIENTS_KEPT: usize = 1_024;

/// What is said of a function that is called too early.
pub(crate) const AT_LOAD: &str =
    "cannot be called while the file is being loaded; call it in lifecycle.start or in a handler";

/// See the file.
pub(crate) struct Host {
    context: RefCell<Option<Box<Context>>>,
    /// Set when the running call ends its replica.
    ending: Cell<Option<Ending>>,
    /// The tick.
    pub(crate) counter: Arc<AtomicU64>,
    /// True until the module's file has run.
    pub(crate) loading: Cell<bool>,
    /// The interfaces that were required so far.
    pub(crate) imports: RefCell<BTreeSet<Interface>>,
    /// Finds what was said about a handler with `define`, once that was required.
    pub(crate) options: RefCell<Option<Function>>,
    /// Transactions and cursors of the running call.
    pub(crate) resources: Resources,
    /// The coroutine of the running call on a worker.
    pub(crate) outermost: Cell<*const core::ffi::c_void>,
    /// The functions of the contract that scripts were given, by where Luau has them; some 70 at most.
    pub(crate) functions: RefCell<Vec<(*const core::ffi::c_void, Named)>>,
    constants: OnceCell<Constants>,
    known: RefCell<Known>,
    /// The table that was raised last: how Luau shows it, and what it says.
    thrown: RefCell<Option<(String, String)>>,
}

/// Values that are made once.
pub(crate) struct Constants {
    /// `{ kind = "not_found" }` and the others without data, by their kind.
    pub(crate) plain: Vec<(&'static str, Table)>,
    /// What gives an error its text.
    pub(crate) error: Table,
    /// Makes the values of a client that is read when touched: `(slot, id)`.
    pub(crate) remember: Function,
    /// The client of a slot: `(slot) -> client`.
    pub(crate) recall: Function,
    /// Makes a client with all of its parts: `(id, user, tags) -> client`.
    pub(crate) full_client: Function,
    /// What marks a table as an array for JSON, so that an empty one is one.
    pub(crate) array: Table,
    /// What marks a table as an object.
    pub(crate) object: Table,
}

/// The clients whose values Luau keeps, by their slot there; the one that came first gives its slot up.
#[derive(Default)]
struct Known {
    slots: FxHashMap<ClientId, u32>,
    /// Who has which slot.
    owners: Vec<ClientId>,
    /// The next slot to be given, round and round.
    next: usize,
}

/// A refusal on its way through Luau as a raised error.
#[derive(Debug, thiserror::Error)]
#[error("refused: {0}")]
pub(crate) struct Refusal(pub(crate) Error);

impl Host {
    pub(crate) fn new(counter: Arc<AtomicU64>) -> Rc<Self> {
        Rc::new(Self {
            context: RefCell::new(None),
            ending: Cell::new(None),
            counter,
            loading: Cell::new(true),
            imports: RefCell::default(),
            options: RefCell::default(),
            resources: Resources::default(),
            outermost: Cell::new(core::ptr::null()),
            functions: RefCell::default(),
            constants: OnceCell::new(),
            known: RefCell::default(),
            thrown: RefCell::default(),
        })
    }

    /// Lends the context to the call that begins.
    pub(crate) fn lend(&self, context: Box<Context>) {
        self.ending.set(None);
        self.thrown.take();
        *self.context.borrow_mut() = Some(context);
    }

    /// A table is raised, which Luau shows as this address and which says this.
    pub(crate) fn thrown(&self, address: String, text: String) {
        *self.thrown.borrow_mut() = Some((address, text));
    }

    /// The error, with what a raised table says in place of its address.
    pub(crate) fn explain(&self, error: mlua::Error) -> mlua::Error {
        if let Some((address, said)) = &*self.thrown.borrow() {
            let text = crate::call::text(&error);
            if text.starts_with(address) {
                return mlua::Error::RuntimeError(text.replacen(address, said, 1));
            }
        }
        error
    }

    /// Takes the context back; none when no call runs.
    pub(crate) fn take_back(&self) -> Option<Box<Context>> {
        self.context.borrow_mut().take()
    }

    /// Looks at the context of the running call.
    pub(crate) fn with_context<T>(&self, look: impl FnOnce(&mut Context) -> T) -> Option<T> {
        self.context.borrow_mut().as_deref_mut().map(look)
    }

    /// Remembers which function of the contract this is.
    pub(crate) fn name(
        &self,
        body: &Function,
        function: HostFunction,
        parameters: &'static [&'static str],
    ) {
        let named = Named {
            function,
            parameters,
        };
        self.functions.borrow_mut().push((body.to_pointer(), named));
    }

    /// Opens the way to one function of the contract.
    #[inline]
    pub(crate) fn enter<T>(
        &self,
        function: HostFunction,
        work: impl FnOnce(&mut Entered<'_>) -> Result<T>,
    ) -> Result<T> {
        let mut slot = self.context.borrow_mut();
        // No call runs while a table is collected or an error is printed.
        let context = slot.as_deref_mut().ok_or(Error::Denied)?;
        let result = match context.enter(function) {
            Ok(mut entered) => work(&mut entered),
            Err(Error::Denied) if self.is_closed(function) => {
                Err(Error::unavailable(format!("it {AT_LOAD}")))
            }
            Err(error) => Err(error),
        };
        if matches!(result, Err(Error::LimitExceeded(_))) && context.quota_ignored() {
            self.end(Ending::Quota);
        }
        result
    }

    /// Whether a function is closed because the module's file still runs.
    pub(crate) fn is_closed(&self, function: HostFunction) -> bool {
        self.loading.get() && !function.row().interface.answers_at_load()
    }

    /// The running call ends its replica: from here on each safepoint raises an error.
    pub(crate) fn end(&self, ending: Ending) {
        if self.ending.get().is_none() {
            self.ending.set(Some(ending));
        }
        safepoint::doom();
    }

    /// Why the running call ends its replica.
    pub(crate) const fn ending(&self) -> Option<Ending> {
        self.ending.get()
    }

    pub(crate) fn set_constants(&self, constants: Constants) {
        let _first = self.constants.set(constants);
    }

    pub(crate) fn constants(&self) -> mlua::Result<&Constants> {
        self.constants
            .get()
            .ok_or_else(|| mlua::Error::runtime("the virtual machine is not ready"))
    }

    /// The slot of a client's values, made at the first meeting.
    #[inline]
    pub(crate) fn slot(&self, lua: &Lua, id: ClientId) -> mlua::Result<u32> {
        if let Some(slot) = self.known.borrow().slots.get(&id) {
            return Ok(*slot);
        }
        self.remember(lua, id)
    }

    #[cold]
    fn remember(&self, lua: &Lua, id: ClientId) -> mlua::Result<u32> {
        let mut known = self.known.borrow_mut();
        let at = known.next;
        // Luau counts from 1.
        let slot = at as u32 + 1;
        self.constants()?
            .remember
            .call::<()>((slot, lua.create_string(id.text())?))?;
        known.next = (at + 1) % CLIENTS_KEPT;
        match known.owners.get_mut(at) {
            Some(owner) => {
                let before = core::mem::replace(owner, id);
                known.slots.remove(&before);
            }
            None => known.owners.push(id),
        }
        known.slots.insert(id, slot);
        Ok(slot)
    }

    /// An error as a script reads it: a shared constant where there is nothing more to say.
    pub(crate) fn error(&self, lua: &Lua, error: &Error) -> mlua::Result<Value> {
        let constants = self.constants()?;
        let kind = kind(error);
        if let Some((_, table)) = constants.plain.iter().find(|(name, _)| *name == kind) {
            return Ok(Value::Table(table.clone()));
        }
        let table = lua.create_table_with_capacity(0, 5)?;
        table.raw_set("kind", kind)?;
        match error {
            Error::Failed(Failure { code, message }) => {
                table.raw_set("code", *code)?;
                table.raw_set("message", message.as_str())?;
            }
            Error::Other(detail) => {
                table.raw_set("code", detail.code.as_str())?;
                table.raw_set("message", detail.message.as_str())?;
            }
            Error::LimitExceeded(limit) => {
                table.raw_set("what", limit.what.as_str())?;
                table.raw_set("allowed", limit.allowed as f64)?;
                table.raw_set("requested", limit.requested as f64)?;
                table.raw_set("message", error.to_string())?;
            }
            Error::InvalidArgument(text) | Error::Unavailable(text) => {
                table.raw_set("message", text.as_str())?;
            }
            Error::NotFound
            | Error::AlreadyExists
            | Error::Denied
            | Error::Conflict
            | Error::Aborted
            | Error::Busy
            | Error::Closed
            | Error::Timeout
            | Error::WouldBlock
            | Error::Recursive
            | Error::Trapped
            | Error::Unsupported => {}
        }
        table.set_metatable(Some(constants.error.clone()))?;
        Ok(Value::Table(table))
    }
}

impl Judge for Host {
    fn judge(&self) -> Sentence {
        // While a host function holds the context, no Luau code of the call runs but what it calls back itself; it is judged at the next tick.
        let verdict = self
            .context
            .try_borrow_mut()
            .ok()
            .and_then(|mut slot| slot.as_deref_mut().map(Context::on_tick));
        match verdict {
            Some(Verdict::Interrupt) => {
                if self.ending.get().is_none() {
                    self.ending.set(Some(Ending::Deadline));
                }
                Sentence::End
            }
            Some(Verdict::GoOn) | None => Sentence::GoOn,
        }
    }
}

/// The cases of the contract's error that say nothing more than their name.
pub(crate) const PLAIN: [Error; 12] = [
    Error::NotFound,
    Error::AlreadyExists,
    Error::Denied,
    Error::Conflict,
    Error::Aborted,
    Error::Busy,
    Error::Closed,
    Error::Timeout,
    Error::WouldBlock,
    Error::Recursive,
    Error::Trapped,
    Error::Unsupported,
];

/// The name of an error's case as Luau shows it.
pub(crate) const fn kind(error: &Error) -> &'static str {
    match error {
        Error::NotFound => "not_found",
        Error::AlreadyExists => "already_exists",
        Error::Denied => "denied",
        Error::InvalidArgument(_) => "invalid_argument",
        Error::LimitExceeded(_) => "limit_exceeded",
        Error::Conflict => "conflict",
        Error::Aborted => "aborted",
        Error::Busy => "busy",
        Error::Closed => "closed",
        Error::Timeout => "timeout",
        Error::WouldBlock => "would_block",
        Error::Recursive => "recursive",
        Error::Trapped => "trapped",
        Error::Unavailable(_) => "unavailable",
        Error::Unsupported => "unsupported",
        Error::Failed(_) => "failed",
        Error::Other(_) => "other",
    }
}
