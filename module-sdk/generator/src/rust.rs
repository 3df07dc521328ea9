//! The bindings of `guest-luau`: one file per imported interface, on top of its `binding` and `convert`.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use anyhow::{Result, bail};
use wit_parser::{Function, FunctionKind, Handle, Type, TypeDefKind, TypeId};

use crate::contract::{Contract, camel, snake};

/// Functions that answer without looking at their arguments, until a later version carries them out.
const LATER: [&str; 1] = ["state.apply"];

/// Functions that have no error to return, and arguments that can be wrong all the same: what the host says of them is raised.
const RAISES: [&str; 2] = ["random.integer", "random.bytes"];

/// The file of one interface.
pub(crate) fn binding(contract: &Contract, interface: &str) -> Result<String> {
    let mut writer = Writer {
        contract,
        interface,
        uses: BTreeSet::new(),
        convert: BTreeSet::new(),
        resource_uses: BTreeSet::new(),
    };
    let mut body = String::new();
    let mut resources: Vec<Resource> = Vec::new();
    for function in contract.functions(interface)? {
        match function.kind {
            FunctionKind::Freestanding => body.push_str(&writer.function(function)?),
            FunctionKind::Method(id) | FunctionKind::Static(id) => {
                let text = writer.method(function, id)?;
                let at = match resources.iter().position(|known| known.id == id) {
                    Some(at) => at,
                    None => {
                        resources.push(Resource::new(id));
                        resources.len() - 1
                    }
                };
                let resource = &mut resources[at];
                resource.methods.push_str(&text);
                write!(
                    resource.names,
                    "({:?}, {}, &[{}]), ",
                    snake(function.item_name()),
                    writer.variant(function, id),
                    names(function)
                )?;
            }
            FunctionKind::AsyncFreestanding
            | FunctionKind::AsyncMethod(_)
            | FunctionKind::AsyncStatic(_)
            | FunctionKind::Constructor(_) => {
                bail!("{}: no binding for this kind of function", function.name)
            }
        }
    }
    let mut text = format!(
        "//! `{interface}` for scripts: written from `wit/{interface}.wit` by `module-sdk/generator`. Do not edit.\n\n"
    );
    if !resources.is_empty() {
        text.push_str("use std::rc::Rc;\n\n");
    }
    if !writer.uses.is_empty() {
        let names: Vec<_> = writer.uses.iter().map(String::as_str).collect();
        writeln!(text, "use cohnect_capabilities::{{{}}};", names.join(", "))?;
    }
    text.push_str("use cohnect_host::function::HostFunction;\n");
    if !resources.is_empty() {
        text.push_str("use mlua::{Lua, UserData, UserDataMethods, Value};\n");
    }
    text.push_str("\nuse crate::binding::Binder;\n");
    if !resources.is_empty() {
        writer.convert.insert("IntoLuau");
    }
    if !writer.convert.is_empty() {
        let names: Vec<_> = writer.convert.iter().copied().collect();
        writeln!(text, "use crate::convert::{{{}}};", names.join(", "))?;
    }
    if !resources.is_empty() {
        writer.resource_uses.extend(["Method", "Slot", "hold"]);
        let names: Vec<_> = writer.resource_uses.iter().copied().collect();
        writeln!(
            text,
            "use crate::host::Host;\nuse crate::resource::{{{}}};",
            names.join(", ")
        )?;
    }
    text.push_str("\npub(crate) fn bind(binder: &Binder<'_>) -> mlua::Result<()> {\n");
    text.push_str(&body);
    text.push_str("Ok(())\n}\n");
    for resource in resources {
        text.push_str(&writer.resource(&resource)?);
    }
    Ok(text)
}

/// The names of the parameters, as a list of string literals.
fn names(function: &Function) -> String {
    let quoted = |name: &str| format!("{:?}", snake(name));
    let names: Vec<_> = function.params.iter().map(|p| quoted(&p.name)).collect();
    names.join(", ")
}

struct Writer<'a> {
    contract: &'a Contract,
    interface: &'a str,
    /// Below `cohnect_capabilities`.
    uses: BTreeSet<String>,
    convert: BTreeSet<&'static str>,
    resource_uses: BTreeSet<&'static str>,
}

/// A resource of an interface, as far as it is written.
struct Resource {
    id: TypeId,
    methods: String,
    /// What is said of each method.
    names: String,
}

impl Resource {
    const fn new(id: TypeId) -> Self {
        Self {
            id,
            methods: String::new(),
            names: String::new(),
        }
    }
}

/// How a value goes out.
struct Outcome {
    /// Inside a `result`.
    fallible: bool,
    none: bool,
    /// What the value is wrapped in on its way to Luau.
    wrapper: Option<&'static str>,
}

impl Writer<'_> {
    fn function(&mut self, function: &Function) -> Result<String> {
        let (interface, name) = (snake(self.interface), snake(&function.name));
        let outcome = self.outcome(function)?;
        let waits = outcome.fallible && self.contract.waits(self.interface);
        let kind = match (waits, outcome.fallible, outcome.none) {
            (true, ..) => "waiting",
            (false, true, _) => "fallible",
            (false, false, true) => "silent",
            (false, false, false) => "plain",
        };
        let (patterns, types, passes) =
            if LATER.contains(&format!("{}.{}", self.interface, function.name).as_str()) {
                (String::new(), String::new(), String::new())
            } else {
                self.arguments(function, 0)?
            };
        let mut call = format!("entered.{interface}_{name}({passes})");
        if let Some(wrapper) = outcome.wrapper {
            self.convert.insert(wrapper);
            let raises = RAISES.contains(&format!("{}.{}", self.interface, function.name).as_str());
            call = if outcome.fallible || raises {
                format!("{call}.map({wrapper})")
            } else {
                format!("{wrapper}({call})")
            };
        }
        Ok(format!(
            "binder.{kind}({name:?}, HostFunction::{}{}, &[{}], |entered, {}: {}| {{ {call} }})?;\n",
            camel(self.interface),
            camel(&function.name),
            if patterns.is_empty() {
                String::new()
            } else {
                names(function)
            },
            tuple(&patterns),
            tuple(&types),
        ))
    }

    /// The patterns, types and passed values of the parameters, each ended with a comma.
    fn arguments(&mut self, function: &Function, skip: usize) -> Result<(String, String, String)> {
        let (mut patterns, mut types, mut passes) = (String::new(), String::new(), String::new());
        let left_out = self.contract.left_out(function, skip);
        for (n, parameter) in function.params.iter().enumerate().skip(skip) {
            self.convert.insert("Pass");
            let name = snake(&parameter.name);
            write!(passes, "{name}.pass(), ")?;
            if self.is_list_of(&parameter.ty, "value") && n + 1 == function.params.len() {
                self.convert.insert("Params");
                write!(patterns, "mut {name}, ")?;
                types.push_str("Params, ");
                continue;
            }
            let kind = if left_out[n] { "Arg" } else { "Need" };
            self.convert.insert(kind);
            write!(patterns, "{kind}(mut {name}), ")?;
            write!(types, "{kind}<{}>, ", self.argument(&parameter.ty)?)?;
        }
        Ok((patterns, types, passes))
    }

    /// The Rust type of an argument.
    fn argument(&mut self, ty: &Type) -> Result<String> {
        Ok(match ty {
            Type::Bool => "bool".to_owned(),
            Type::U8 => "u8".to_owned(),
            Type::U16 => "u16".to_owned(),
            Type::U32 => "u32".to_owned(),
            Type::U64 => "u64".to_owned(),
            Type::S32 => "i32".to_owned(),
            Type::S64 => "i64".to_owned(),
            Type::F64 => "f64".to_owned(),
            Type::String => "String".to_owned(),
            Type::Id(id) => return self.argument_of(*id),
            other => bail!("no argument of type {other:?}"),
        })
    }

    fn argument_of(&mut self, id: TypeId) -> Result<String> {
        let id = self.contract.origin(id);
        if let Some((home, name)) = self.contract.home(id) {
            return Ok(match name {
                "payload" => {
                    self.uses.insert("Payload".to_owned());
                    "Payload".to_owned()
                }
                "opcode" => "u16".to_owned(),
                "timestamp-us" | "duration-us" => {
                    self.convert.insert("Seconds");
                    "Seconds".to_owned()
                }
                name => self.named(home, name),
            });
        }
        match &self.contract.def(id).kind {
            TypeDefKind::Option(inner) => Ok(format!("Option<{}>", self.argument(inner)?)),
            TypeDefKind::List(Type::Id(inner)) if self.is_list_of(&Type::Id(*inner), "value") => {
                self.convert.insert("ParamsEach");
                Ok("ParamsEach".to_owned())
            }
            TypeDefKind::List(inner) => Ok(format!("Vec<{}>", self.argument(inner)?)),
            other => bail!("no argument of a {}", other.as_str()),
        }
    }

    fn named(&mut self, home: &str, name: &str) -> String {
        let name = camel(name);
        self.uses.insert(if home == "types" {
            name.clone()
        } else {
            format!("{}::{name}", snake(home))
        });
        name
    }

    /// Whether this is a list of a type with that name.
    fn is_list_of(&self, ty: &Type, name: &str) -> bool {
        let Type::Id(id) = ty else {
            return false;
        };
        match &self.contract.def(self.contract.origin(*id)).kind {
            TypeDefKind::List(Type::Id(inner)) => {
                self.contract
                    .def(self.contract.origin(*inner))
                    .name
                    .as_deref()
                    == Some(name)
            }
            _ => false,
        }
    }

    fn outcome(&self, function: &Function) -> Result<Outcome> {
        let (fallible, value) = match &function.result {
            None => (false, None),
            Some(Type::Id(id)) => match &self.contract.def(*id).kind {
                TypeDefKind::Result(result) => (true, result.ok),
                _ => (false, function.result),
            },
            Some(other) => (false, Some(*other)),
        };
        let wrapper = match value {
            Some(Type::Id(id)) => {
                let id = self.contract.origin(id);
                match (self.contract.home(id), &self.contract.def(id).kind) {
                    (Some((_, "timestamp-us" | "duration-us")), _) => Some("Seconds"),
                    (None, TypeDefKind::List(Type::U8)) => Some("Blob"),
                    _ => None,
                }
            }
            _ => None,
        };
        Ok(Outcome {
            fallible,
            none: value.is_none(),
            wrapper,
        })
    }

    /// A method's row in the host's table.
    fn variant(&self, function: &Function, id: TypeId) -> String {
        let resource = self.contract.def(id).name.as_deref().unwrap_or_default();
        format!(
            "HostFunction::{}{}{}",
            camel(self.interface),
            camel(resource),
            camel(function.item_name())
        )
    }

    fn method(&mut self, function: &Function, id: TypeId) -> Result<String> {
        let variant = self.variant(function, id);
        let name = snake(function.item_name());
        let outcome = self.outcome(function)?;
        let (patterns, types, passes) = self.arguments(function, 1)?;
        let takes_over = matches!(function.kind, FunctionKind::Static(_))
            && function
                .params
                .first()
                .is_some_and(|first| self.is_own(&first.ty));
        if takes_over {
            self.resource_uses.insert("finish");
            return Ok(format!(
                "methods.add_async_method({name:?}, |lua, this, ()| {{
                    let (lua, slot) = (lua.weak(), Rc::clone(&this.0));
                    async move {{ finish(&lua, &slot, {variant}, |it| it.{name}()).await }}
                }});\n"
            ));
        }
        if !outcome.fallible {
            self.resource_uses.insert("look");
            return Ok(format!(
                "methods.add_method({name:?}, |lua, this, ()| look(lua, &this.0, {variant}, |it| it.{name}()));\n"
            ));
        }
        self.resource_uses.insert("step");
        // Pages of a cursor are rows by column name, like every other result.
        let work = if self.is_page(function) {
            self.uses.insert("db::RowSet".to_owned());
            format!(
                "let rows = it.{name}({passes}).await?; Ok(RowSet {{ columns: it.columns(), rows, truncated: false }})"
            )
        } else {
            format!("it.{name}({passes}).await")
        };
        Ok(format!(
            "methods.add_async_method({name:?}, |lua, this, {}: {}| {{
                let (lua, slot) = (lua.weak(), Rc::clone(&this.0));
                async move {{
                    step(&lua, &slot, {variant}, move |it| Box::pin(async move {{ {work} }})).await
                }}
            }});\n",
            tuple(&patterns),
            tuple(&types),
        ))
    }

    fn is_own(&self, ty: &Type) -> bool {
        matches!(ty, Type::Id(id) if matches!(self.contract.def(*id).kind, TypeDefKind::Handle(Handle::Own(_))))
    }

    /// Whether a function returns rows without their columns.
    fn is_page(&self, function: &Function) -> bool {
        let Some(Type::Id(id)) = function.result else {
            return false;
        };
        let TypeDefKind::Result(result) = &self.contract.def(id).kind else {
            return false;
        };
        let Some(Type::Id(list)) = result.ok else {
            return false;
        };
        matches!(&self.contract.def(list).kind, TypeDefKind::List(inner) if self.is_list_of(inner, "value"))
    }

    fn resource(&self, resource: &Resource) -> Result<String> {
        let Resource { id, methods, names } = resource;
        let name = camel(self.contract.def(*id).name.as_deref().unwrap_or_default());
        let module = snake(self.interface);
        Ok(format!(
            "
            /// A script's hold on one; it ends, at the latest, with the call that made it.
            struct {name}(Rc<Slot<dyn cohnect_capabilities::{module}::{name}>>);

            impl {name} {{
                const METHODS: &[Method] = &[{names}];
            }}

            impl IntoLuau for Box<dyn cohnect_capabilities::{module}::{name}> {{
                fn into_luau(self, lua: &Lua, host: &Host) -> mlua::Result<Value> {{
                    let thing = {name}(host.resources.open(self));
                    hold(lua, host, thing, {name}::METHODS)
                }}
            }}

            impl UserData for {name} {{
                fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {{
                    {methods}
                }}
            }}
            "
        ))
    }
}

/// A tuple of parts that each end with a comma; a single part stands alone.
fn tuple(parts: &str) -> String {
    let parts = parts.trim().trim_end_matches(',');
    // Commas inside of a type's brackets do not occur: no argument has two parameters of its own.
    if parts.is_empty() || parts.contains(", ") {
        format!("({parts})")
    } else {
        parts.to_owned()
    }
}
