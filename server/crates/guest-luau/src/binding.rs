//! How a function of the contract becomes a function of Luau: arguments are converted, the context is entered, the result is converted back. The files of
//! the interfaces are generated on top of this and hold nothing else.

use std::rc::Rc;

use cohnect_capabilities::{BoxFuture, Error, Result};
use cohnect_host::context::Entered;
use cohnect_host::function::HostFunction;
use mlua::{FromLuaMulti, Lua, Table, Value};

use crate::convert::IntoLuau;
use crate::host::Host;

/// Fills the table that `require` returns for one interface.
pub(crate) struct Binder<'a> {
    pub(crate) lua: &'a Lua,
    pub(crate) host: &'a Rc<Host>,
    pub(crate) table: Table,
}

impl<'a> Binder<'a> {
    pub(crate) fn new(lua: &'a Lua, host: &'a Rc<Host>) -> mlua::Result<Self> {
        Ok(Self {
            lua,
            host,
            table: lua.create_table()?,
        })
    }

    /// A function that returns `result`: its value, or `nil` and the error.
    pub(crate) fn fallible<A, T>(
        &self,
        name: &str,
        function: HostFunction,
        work: impl Fn(&mut Entered<'_>, A) -> Result<T> + 'static,
    ) -> mlua::Result<()>
    where
        A: FromLuaMulti + 'static,
        T: IntoLuau + 'static,
    {
        let host = Rc::clone(self.host);
        let body = self.lua.create_function(move |lua, arguments: A| {
            let result = host.enter(function, |entered| work(entered, arguments));
            reply(&host, lua, function, result)
        })?;
        self.table.raw_set(name, body)
    }

    /// A function that cannot fail by itself; where the host refuses it (while the module is only described), it raises and names itself.
    pub(crate) fn plain<A, T>(
        &self,
        name: &str,
        function: HostFunction,
        work: impl Fn(&mut Entered<'_>, A) -> T + 'static,
    ) -> mlua::Result<()>
    where
        A: FromLuaMulti + 'static,
        T: IntoLuau + 'static,
    {
        let host = Rc::clone(self.host);
        let body = self.lua.create_function(move |lua, arguments: A| {
            match host.enter(function, |entered| Ok(work(entered, arguments))) {
                Ok(value) => value.into_luau(lua, &host),
                Err(error) => Err(refused(function, &error)),
            }
        })?;
        self.table.raw_set(name, body)
    }

    /// A function without any result; it returns nothing.
    pub(crate) fn silent<A>(
        &self,
        name: &str,
        function: HostFunction,
        work: impl Fn(&mut Entered<'_>, A) + 'static,
    ) -> mlua::Result<()>
    where
        A: FromLuaMulti + 'static,
    {
        let host = Rc::clone(self.host);
        let body = self.lua.create_function(move |_, arguments: A| {
            host.enter(function, |entered| {
                work(entered, arguments);
                Ok(())
            })
            .map_err(|error| refused(function, &error))
        })?;
        self.table.raw_set(name, body)
    }

    /// A function that waits: on workers, in the call's own coroutine.
    pub(crate) fn waiting<A, T>(
        &self,
        name: &str,
        function: HostFunction,
        work: impl Fn(&mut Entered<'_>, A) -> Result<BoxFuture<'static, Result<T>>> + 'static,
    ) -> mlua::Result<()>
    where
        A: FromLuaMulti + 'static,
        T: IntoLuau + 'static,
    {
        let host = Rc::clone(self.host);
        let work = Rc::new(work);
        let body = self.lua.create_async_function(move |lua, arguments: A| {
            let (host, work) = (Rc::clone(&host), Rc::clone(&work));
            // The future lies in the machine that it would keep alive: a call that is given up drops neither.
            let lua = lua.weak();
            async move {
                let result = match may_wait(&lua.upgrade(), &host)
                    .and_then(|()| host.enter(function, |entered| work(entered, arguments)))
                {
                    Ok(future) => future.await,
                    Err(error) => Err(error),
                };
                reply(&host, &lua.upgrade(), function, result)
            }
        })?;
        self.table.raw_set(name, body)
    }

    /// The finished table; nobody changes it.
    pub(crate) fn finish(self) -> Table {
        self.table.set_readonly(true);
        self.table
    }
}

/// Only the call's own coroutine may wait: one that the script made would hand its waiting to whoever resumed it.
pub(crate) fn may_wait(lua: &Lua, host: &Host) -> Result<()> {
    if core::ptr::eq(
        crate::safepoint::address(&lua.current_thread()),
        host.outermost.get(),
    ) {
        Ok(())
    } else {
        Err(Error::WouldBlock)
    }
}

/// A result as Luau returns it: the value, or `nil` and the error. What was said of the script's arguments is remembered.
pub(crate) fn reply<T: IntoLuau>(
    host: &Host,
    lua: &Lua,
    function: HostFunction,
    result: Result<T>,
) -> mlua::Result<core::result::Result<Value, Value>> {
    match result {
        Ok(value) => Ok(Ok(value.into_luau(lua, host)?)),
        Err(error) => {
            host.with_context(|context| context.note(function, &error));
            Ok(Err(host.error(lua, &error)?))
        }
    }
}

pub(crate) fn refused(function: HostFunction, error: &Error) -> mlua::Error {
    let row = function.row();
    mlua::Error::runtime(format!(
        "{}.{}: {error}",
        row.interface.name().replace('-', "_"),
        row.name.replace('-', "_")
    ))
}
