//! How a function of the contract becomes a function of Luau: arguments are converted, the context is entered, the result is converted back. The files of
//! the interfaces are generated on top of this and hold nothing else.

use std::rc::Rc;

use cohnect_capabilities::{BoxFuture, Error, Result};
use cohnect_host::context::Entered;
use cohnect_host::function::HostFunction;
use mlua::{FromLuaMulti, Function, Lua, Table, Value};

use crate::convert::IntoLuau;
use crate::host::{AT_LOAD, Host};
use crate::place::Place;

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
        parameters: &'static [&'static str],
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
        self.keep(name, function, parameters, body)
    }

    /// A function that cannot fail by itself; where the host refuses it (while the module is only described), it raises and names itself.
    pub(crate) fn plain<A, T>(
        &self,
        name: &str,
        function: HostFunction,
        parameters: &'static [&'static str],
        work: impl Fn(&mut Entered<'_>, A) -> T + 'static,
    ) -> mlua::Result<()>
    where
        A: FromLuaMulti + 'static,
        T: IntoLuau + 'static,
    {
        let host = Rc::clone(self.host);
        let body = self.lua.create_function(move |lua, arguments: A| {
            match host.enter(function, |entered| Ok(work(entered, arguments))) {
                Ok(value) => value.into_luau(lua, &host).map_err(|error| match error {
                    mlua::Error::RuntimeError(text) => {
                        let place = Place::of_caller(lua)
                            .as_ref()
                            .map_or_else(String::new, before);
                        mlua::Error::RuntimeError(format!("{place}{}: {text}", label(function)))
                    }
                    other => other,
                }),
                Err(error) => {
                    check_loaded(&host, lua, function)?;
                    Err(refused(function, &error))
                }
            }
        })?;
        self.keep(name, function, parameters, body)
    }

    /// A function without any result; it returns nothing.
    pub(crate) fn silent<A>(
        &self,
        name: &str,
        function: HostFunction,
        parameters: &'static [&'static str],
        work: impl Fn(&mut Entered<'_>, A) + 'static,
    ) -> mlua::Result<()>
    where
        A: FromLuaMulti + 'static,
    {
        let host = Rc::clone(self.host);
        let body = self.lua.create_function(move |lua, arguments: A| {
            host.enter(function, |entered| {
                work(entered, arguments);
                Ok(())
            })
            .or_else(|error| {
                check_loaded(&host, lua, function)?;
                Err(refused(function, &error))
            })
        })?;
        self.keep(name, function, parameters, body)
    }

    /// A function that waits: on workers, in the call's own coroutine.
    pub(crate) fn waiting<A, T>(
        &self,
        name: &str,
        function: HostFunction,
        parameters: &'static [&'static str],
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
        self.keep(name, function, parameters, body)
    }

    fn keep(
        &self,
        name: &str,
        function: HostFunction,
        parameters: &'static [&'static str],
        body: Function,
    ) -> mlua::Result<()> {
        self.host.name(&body, function, parameters);
        self.table.raw_set(name, body)
    }

    /// The finished table; nobody changes it.
    pub(crate) fn finish(self) -> Table {
        self.table.set_readonly(true);
        self.table
    }
}

/// A function of the contract, for messages about its arguments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Named {
    pub(crate) function: HostFunction,
    pub(crate) parameters: &'static [&'static str],
}

/// An argument that does not fit, with the function that it was for.
#[derive(Debug)]
pub(crate) struct Unfit {
    named: Option<Named>,
    /// Where the script passed it.
    place: Option<Place>,
    text: String,
}

impl Unfit {
    /// What was expected of an argument of the function that runs. Only what does not fit pays for finding out which that is.
    pub(crate) fn new(lua: &Lua, text: String) -> Self {
        // A function that waits converts its arguments one call further in.
        let named = lua.app_data_ref::<Rc<Host>>().and_then(|host| {
            let known = host.functions.borrow();
            (0..2).find_map(|level| {
                let at = lua.inspect_stack(level, |debug| debug.function().to_pointer())?;
                let found = known.iter().find(|(pointer, _)| *pointer == at)?;
                Some(found.1)
            })
        });
        Self {
            named,
            place: Place::of_caller(lua),
            text,
        }
    }

    /// As [`Unfit::new`], of one of all further arguments, which have no place of their own.
    pub(crate) fn of_rest(lua: &Lua, text: String) -> Self {
        let mut unfit = Self::new(lua, text);
        if let Some(parameter) = unfit.named.and_then(|named| named.parameters.last()) {
            unfit.text = format!("{parameter}: {}", unfit.text);
        }
        unfit
    }

    /// With the name of the argument at this place, counted from 1.
    pub(crate) fn at(&self, place: usize) -> String {
        let parameter = self
            .named
            .and_then(|named| named.parameters.get(place.checked_sub(1)?).copied());
        match (self.named, parameter) {
            (Some(named), Some(parameter)) => {
                let text = &self.text;
                let label = label(named.function);
                format!("{}{label}: {parameter}: {text}", self.before())
            }
            _ => self.to_string(),
        }
    }

    fn before(&self) -> String {
        self.place.as_ref().map_or_else(String::new, before)
    }
}

impl core::fmt::Display for Unfit {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&self.before())?;
        if let Some(named) = self.named {
            write!(f, "{}: ", label(named.function))?;
        }
        f.write_str(&self.text)
    }
}

impl core::error::Error for Unfit {}

/// A place, and what it stands before.
fn before(place: &Place) -> String {
    format!("{place}: ")
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
            check_loaded(host, lua, function)?;
            host.with_context(|context| context.note(function, &error));
            Ok(Err(host.error(lua, &error)?))
        }
    }
}

/// While the module's file runs, most of the contract is closed. Nobody looks at what a call returns there, so it is raised, which refuses the file.
fn check_loaded(host: &Host, lua: &Lua, function: HostFunction) -> mlua::Result<()> {
    if !host.is_closed(function) {
        return Ok(());
    }
    let place = Place::of_caller(lua);
    let place = place.as_ref().map_or_else(String::new, before);
    Err(mlua::Error::runtime(format!(
        "{place}{}: {AT_LOAD}",
        label(function)
    )))
}

pub(crate) fn refused(function: HostFunction, error: &Error) -> mlua::Error {
    mlua::Error::runtime(format!("{}: {error}", label(function)))
}

/// A function as a script writes it; of a method, what it is a method of.
fn label(function: HostFunction) -> String {
    let row = function.row();
    let name = row.plain_name().replace('-', "_");
    match name.split_once('.') {
        Some((resource, method)) => format!("{resource}:{method}"),
        None => format!("{}.{name}", row.interface.name().replace('-', "_")),
    }
}
