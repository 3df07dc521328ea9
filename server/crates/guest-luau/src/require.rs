//! `require`: the interfaces of the contract, the parts of the surface that are written by hand, and the files of the module's own folder, as they were
//! when the module was prepared. It never looks at a disk.

use core::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use cohnect_host::function::Interface;
use mlua::{Function, Lua, Table, Value};
use rustc_hash::FxHashMap;

use crate::binding::Binder;
use crate::convert::describe;
use crate::host::Host;
use crate::language::Code;
use crate::vm::{Prelude, run};
use crate::{json, msgpack};
use cohnect_host::nearest::suggestion;

/// What is required with `@cohnect/` and is no interface of the contract.
const BY_HAND: [&str; 5] = ["define", "errors", "check", "json", "msgpack"];

/// Interfaces of the contract that hold only types for scripts: requiring one gives its types to the checker, and an empty table at run time.
const TYPES_ONLY: [&str; 14] = [
    "action",
    "background",
    "broadcast",
    "client_events",
    "lifecycle",
    "migration",
    "packets",
    "pipeline",
    "reply_handler",
    "server_events",
    "stream_handler",
    "ticker",
    "timer_handler",
    "types",
];

/// What `require` has loaded, and what it is loading.
struct Loader {
    host: Rc<Host>,
    code: Arc<Code>,
    primitives: Table,
    loaded: RefCell<FxHashMap<String, Value>>,
    /// The files whose code runs now, the first one first.
    running: RefCell<Vec<String>>,
}

/// Puts `require` among the globals.
pub(crate) fn install(
    lua: &Lua,
    host: &Rc<Host>,
    code: &Arc<Code>,
    primitives: Table,
) -> mlua::Result<()> {
    crate::vm::add_codecs(lua, host, &primitives)?;
    let loader = Loader {
        host: Rc::clone(host),
        code: Arc::clone(code),
        primitives,
        loaded: RefCell::default(),
        running: RefCell::new(vec![code.entry.clone()]),
    };
    lua.globals().raw_set(
        "require",
        lua.create_function(move |lua, name: String| {
            loader.require(lua, &name).map_err(|error| match error {
                mlua::Error::RuntimeError(text) => {
                    mlua::Error::RuntimeError(format!("require(\"{name}\"): {text}"))
                }
                other => other,
            })
        })?,
    )
}

impl Loader {
    fn require(&self, lua: &Lua, name: &str) -> mlua::Result<Value> {
        if let Some(name) = name.strip_prefix("@cohnect/") {
            return self.surface(lua, name);
        }
        if name.starts_with("./") || name.starts_with("../") {
            return self.file(lua, name);
        }
        Err(mlua::Error::runtime(
            "write \"@cohnect/NAME\" for what the server offers, \"./NAME\" for a file of the module's folder",
        ))
    }

    fn surface(&self, lua: &Lua, name: &str) -> mlua::Result<Value> {
        let interface = Interface::named(name).filter(|_| !name.contains('-'));
        if let Some(interface) = interface {
            self.admit(interface)?;
        }
        let key = format!("@{name}");
        if let Some(value) = self.loaded.borrow().get(&key) {
            return Ok(value.clone());
        }
        let table = match (interface, name) {
            (Some(interface), _) => bind(lua, &self.host, interface)?,
            (None, "errors") => run(lua, Prelude::Errors, &self.primitives)?,
            (None, "check") => run(lua, Prelude::Check, &self.primitives)?,
            (None, "json") => json::module(lua, &self.host)?,
            (None, "msgpack") => msgpack::module(lua, &self.host)?,
            (None, "define") => {
                let (table, options): (Table, Function) =
                    run(lua, Prelude::Define, &self.primitives)?;
                *self.host.options.borrow_mut() = Some(options);
                table
            }
            (None, name) if TYPES_ONLY.contains(&name) => {
                let table = lua.create_table()?;
                table.set_readonly(true);
                table
            }
            (None, unknown) => {
                let names: Vec<String> = Interface::ALL
                    .iter()
                    .map(|interface| interface.name().replace('-', "_"))
                    .collect();
                let known: Vec<&str> = names.iter().map(String::as_str).chain(BY_HAND).collect();
                return Err(mlua::Error::runtime(format!(
                    "there is no such interface; {}",
                    suggestion(unknown, &known)
                )));
            }
        };
        guard(lua, name, &table)?;
        let value = Value::Table(table);
        self.loaded.borrow_mut().insert(key, value.clone());
        Ok(value)
    }

    /// Whether the module may have this interface, here and now.
    fn admit(&self, interface: Interface) -> mlua::Result<()> {
        let granted = self
            .host
            .with_context(|context| context.may_import(interface))
            .unwrap_or(Ok(()));
        granted.map_err(mlua::Error::runtime)?;
        if interface.waits()
            && !self.host.loading.get()
            && !self.host.imports.borrow().contains(&interface)
        {
            return Err(mlua::Error::runtime(
                "it waits, which decides where the module lives, so it is required while the file runs: put `local … = require(…)` at the top of the file",
            ));
        }
        if self.host.loading.get() {
            self.host.imports.borrow_mut().insert(interface);
        }
        Ok(())
    }

    fn file(&self, lua: &Lua, name: &str) -> mlua::Result<Value> {
        let from = self.caller(lua);
        let path = self.resolve(&from, name)?;
        if let Some(value) = self.loaded.borrow().get(&path) {
            return Ok(value.clone());
        }
        if let Some(at) = self.running.borrow().iter().position(|file| *file == path) {
            let circle = self.running.borrow()[at..].join(" requires ");
            return Err(mlua::Error::runtime(format!(
                "{circle} requires {path}: a circle"
            )));
        }
        self.running.borrow_mut().push(path.clone());
        let result = self
            .code
            .function(lua, &path)
            .and_then(|body| body.call::<Value>(()));
        self.running.borrow_mut().pop();
        let value = result?;
        if value.is_nil() {
            return Err(mlua::Error::runtime(format!(
                "{path} returns nothing; a file that is required returns a value"
            )));
        }
        self.loaded.borrow_mut().insert(path, value.clone());
        Ok(value)
    }

    /// The file whose code called `require`: the nearest one on the stack, else the entry.
    fn caller(&self, lua: &Lua) -> String {
        // `require` itself is level 0; a `pcall` or a helper may lie between.
        for level in 1..16 {
            let found = lua.inspect_stack(level, |frame| {
                frame.source().source.map(|source| source.into_owned())
            });
            match found {
                Some(Some(source)) => {
                    if let Some(path) = self.code.path_of(&source) {
                        return path.to_owned();
                    }
                }
                Some(None) => {}
                None => break,
            }
        }
        self.code.entry.clone()
    }

    /// The file that `name` means, seen from `from`; both are paths inside the folder, with slashes.
    fn resolve(&self, from: &str, name: &str) -> mlua::Result<String> {
        if !self.code.in_folder {
            return Err(mlua::Error::runtime(
                "a module of one file has no other files; make it a folder, with this file as NAME/NAME.luau",
            ));
        }
        let mut parts: Vec<&str> = from.split('/').collect();
        parts.pop();
        for part in name.split('/') {
            match part {
                "" | "." => {}
                ".." => {
                    if parts.pop().is_none() {
                        return Err(mlua::Error::runtime("it leads out of the module's folder"));
                    }
                }
                part => parts.push(part),
            }
        }
        let path = parts.join("/");
        let endings = ["", ".luau", ".lua", "/init.luau", "/init.lua"];
        for ending in endings {
            let candidate = format!("{path}{ending}");
            if self.code.files.contains_key(&candidate) {
                return Ok(candidate);
            }
        }
        let others = self.code.files.keys().filter(|file| *file != from);
        let known: Vec<&str> = others.map(String::as_str).collect();
        let suggestion = if known.is_empty() {
            "it has no other file".to_owned()
        } else {
            suggestion(&format!("{path}.luau"), &known)
        };
        Err(mlua::Error::runtime(format!(
            "there is no {path}.luau in the module's folder; {suggestion}"
        )))
    }
}

/// Makes the reading of a name that is not there an error: `errors.deneid` would be nil, and `return nil, errors.deneid` no refusal but a yes.
fn guard(lua: &Lua, module: &str, table: &Table) -> mlua::Result<()> {
    let module = module.to_owned();
    let missing =
        lua.create_function(move |_, (table, key): (Table, Value)| -> mlua::Result<()> {
            let names: Vec<String> = table
                .pairs::<String, Value>()
                .filter_map(|pair| pair.ok().map(|(name, _)| name))
                .collect();
            let mut known: Vec<&str> = names.iter().map(String::as_str).collect();
            known.sort_unstable();
            let name = match &key {
                Value::String(name) => name.to_string_lossy(),
                other => describe(other),
            };
            Err(mlua::Error::runtime(format!(
                "`@cohnect/{module}` has no `{name}`; {}",
                suggestion(&name, &known)
            )))
        })?;
    let meta = lua.create_table()?;
    meta.raw_set("__index", missing)?;
    meta.raw_set("__metatable", "locked")?;
    let was_readonly = table.is_readonly();
    table.set_readonly(false);
    table.set_metatable(Some(meta))?;
    table.set_readonly(was_readonly);
    Ok(())
}

fn bind(lua: &Lua, host: &Rc<Host>, interface: Interface) -> mlua::Result<Table> {
    let binder = Binder::new(lua, host)?;
    match interface {
        Interface::Clients => crate::clients::bind(&binder),
        Interface::Tags => crate::tags::bind(&binder),
        Interface::State => crate::state::bind(&binder),
        Interface::Mailbox => crate::mailbox::bind(&binder),
        Interface::FeatureFlags => crate::feature_flags::bind(&binder),
        Interface::Logging => crate::logging::bind(&binder),
        Interface::Streams => crate::streams::bind(&binder),
        Interface::Clock => crate::clock::bind(&binder),
        Interface::Timers => crate::timers::bind(&binder),
        Interface::Signals => crate::signals::bind(&binder),
        Interface::Random => crate::random::bind(&binder),
        Interface::Config => crate::config::bind(&binder),
        Interface::Db => crate::db::bind(&binder),
        Interface::Modules => crate::modules::bind(&binder),
    }?;
    Ok(binder.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_interface_of_the_contract_can_be_required() {
        let wit = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../wit");
        for file in std::fs::read_dir(wit).expect("the contract is there") {
            let name = file
                .expect("it can be read")
                .file_name()
                .to_string_lossy()
                .into_owned();
            let Some(name) = name.strip_suffix(".wit").filter(|name| *name != "worlds") else {
                continue;
            };
            let known =
                Interface::named(name).is_some() || TYPES_ONLY.contains(&&*name.replace('-', "_"));
            assert!(known, "{name}");
        }
    }
}
