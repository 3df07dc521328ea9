//! Transactions and cursors that a script holds: each ends, at the latest, with the call that made it. What they do belongs to the backend.

use core::cell::RefCell;
use std::rc::{Rc, Weak};

use cohnect_capabilities::{BoxFuture, Error, Result};
use cohnect_host::function::HostFunction;
use mlua::{Lua, ObjectLike as _, UserData, Value, WeakLua};

use crate::binding::{may_wait, refused, reply};
use crate::convert::IntoLuau;
use crate::host::Host;

/// What a method that can fail returns to Luau.
type Reply = mlua::Result<core::result::Result<Value, Value>>;

/// A thing with an end, or the place where it was.
pub(crate) struct Slot<T: ?Sized>(RefCell<Option<Box<T>>>);

impl<T: ?Sized> Slot<T> {
    /// Takes it out, for one step or for good; none when it has ended or a step of it runs.
    pub(crate) fn take(&self) -> Option<Box<T>> {
        self.0.borrow_mut().take()
    }

    /// Puts it back after a step.
    pub(crate) fn put(&self, thing: Box<T>) {
        *self.0.borrow_mut() = Some(thing);
    }
}

/// Ends a thing.
trait End {
    fn end(&self);
}

impl<T: ?Sized> End for Slot<T> {
    fn end(&self) {
        drop(self.take());
    }
}

/// What the running call has open. A call opens one with each host call, of which it has a bounded number.
#[derive(Default)]
pub(crate) struct Resources(RefCell<Vec<Weak<dyn End>>>);

impl Resources {
    /// Takes a thing in; it ends with the call.
    pub(crate) fn open<T: ?Sized + 'static>(&self, thing: Box<T>) -> Rc<Slot<T>> {
        let slot = Rc::new(Slot(RefCell::new(Some(thing))));
        let weak: Weak<dyn End> = Rc::downgrade(&(Rc::clone(&slot) as Rc<dyn End>));
        self.0.borrow_mut().push(weak);
        slot
    }

    /// The call is over: what is still open ends.
    pub(crate) fn end(&self) {
        for thing in self.0.borrow_mut().drain(..) {
            if let Some(thing) = thing.upgrade() {
                thing.end();
            }
        }
    }
}

/// A method by its name in Luau: which function of the contract it is, and the names of its parameters.
pub(crate) type Method = (&'static str, HostFunction, &'static [&'static str]);

/// Makes a script's hold on a thing. At the first of its kind the machine learns which methods it has, so that an argument that does not fit is named.
pub(crate) fn hold<T: UserData + 'static>(
    lua: &Lua,
    host: &Host,
    thing: T,
    methods: &[Method],
) -> mlua::Result<Value> {
    let hold = lua.create_userdata(thing)?;
    let known = methods.first().is_none_or(|(_, first, _)| {
        let functions = host.functions.borrow();
        functions.iter().any(|(_, named)| named.function == *first)
    });
    if !known {
        for (name, function, parameters) in methods {
            host.name(&hold.get(*name)?, *function, parameters);
        }
    }
    Ok(Value::UserData(hold))
}

/// The host of the machine that a method runs in.
fn host_of(lua: &Lua) -> mlua::Result<Rc<Host>> {
    lua.app_data_ref::<Rc<Host>>()
        .map(|host| Rc::clone(&host))
        .ok_or_else(|| mlua::Error::runtime("the virtual machine is not ready"))
}

/// A method that waits: the thing is out of its place for as long as that takes.
pub(crate) async fn step<T, R>(
    lua: &WeakLua,
    slot: &Slot<T>,
    function: HostFunction,
    work: impl for<'a> FnOnce(&'a mut T) -> BoxFuture<'a, Result<R>>,
) -> Reply
where
    T: ?Sized,
    R: IntoLuau + Send,
{
    let host = host_of(&lua.upgrade())?;
    if let Err(error) = may_wait(&lua.upgrade(), &host) {
        return reply::<R>(&host, &lua.upgrade(), function, Err(error));
    }
    let Some(mut thing) = slot.take() else {
        return reply::<R>(&host, &lua.upgrade(), function, Err(Error::Closed));
    };
    let result = match host.enter(function, |entered| entered.db_step(work(&mut *thing))) {
        Ok(future) => future.await,
        Err(error) => Err(error),
    };
    slot.put(thing);
    reply(&host, &lua.upgrade(), function, result)
}

/// A method that waits and ends the thing.
pub(crate) async fn finish<T, R>(
    lua: &WeakLua,
    slot: &Slot<T>,
    function: HostFunction,
    work: impl FnOnce(Box<T>) -> BoxFuture<'static, Result<R>>,
) -> Reply
where
    T: ?Sized,
    R: IntoLuau + Send + 'static,
{
    let host = host_of(&lua.upgrade())?;
    if let Err(error) = may_wait(&lua.upgrade(), &host) {
        return reply::<R>(&host, &lua.upgrade(), function, Err(error));
    }
    let Some(thing) = slot.take() else {
        return reply::<R>(&host, &lua.upgrade(), function, Err(Error::Closed));
    };
    let result = match host.enter(function, |entered| entered.db_step(work(thing))) {
        Ok(future) => future.await,
        Err(error) => Err(error),
    };
    reply(&host, &lua.upgrade(), function, result)
}

/// A method that only looks.
pub(crate) fn look<T: ?Sized, R: IntoLuau>(
    lua: &Lua,
    slot: &Slot<T>,
    function: HostFunction,
    work: impl FnOnce(&T) -> R,
) -> mlua::Result<Value> {
    let host = host_of(lua)?;
    let Some(thing) = slot.take() else {
        return Err(refused(function, &Error::Closed));
    };
    let result = host.enter(function, |_| Ok(work(&thing)));
    slot.put(thing);
    match result {
        Ok(value) => value.into_luau(lua, &host),
        Err(error) => Err(refused(function, &error)),
    }
}
