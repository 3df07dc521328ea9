//! The type definitions of `module-sdk/luau`: one file per interface, for luau-lsp and luau-analyze. What a script passes may leave out what is zero; what it
//! gets is complete. Fields are `read`: a table that is passed fits where each of its fields does, `{ reply = "no" }` where a payload may be a buffer, too.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use anyhow::{Result, bail};
use wit_parser::{Function, FunctionKind, Handle, Record, Type, TypeDefKind, TypeId, Variant};

use crate::contract::{Contract, camel, snake};

mod special;

/// Whether a value goes from the script to the host, or the other way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    /// The script gets it.
    Out,
    /// The script passes it.
    In,
}

/// Types whose shape in Luau has nothing to do with their shape in the contract; their definitions stand in `special`.
const SPECIAL: [&str; 9] = [
    "client-id",
    "instance-id",
    "opcode",
    "payload",
    "timestamp-us",
    "duration-us",
    "scalar",
    "error",
    "value",
];
/// Types that only exist inside of others.
const HIDDEN: [&str; 5] = ["field", "row-set", "limit-info", "detail", "snapshot"];

/// Which types of the contract go which way.
pub(crate) fn ways(contract: &Contract) -> Result<Ways> {
    let mut ways = Ways::default();
    let imports: BTreeSet<_> = contract.imports().into_iter().collect();
    for interface in contract.interfaces() {
        let imported = imports.contains(interface);
        for function in contract.functions(interface)? {
            let (given, taken) = if imported {
                (Way::In, Way::Out)
            } else {
                (Way::Out, Way::In)
            };
            for parameter in &function.params {
                ways.mark(contract, &parameter.ty, given);
            }
            if let Some(result) = &function.result {
                ways.mark(contract, result, taken);
            }
        }
    }
    Ok(ways)
}

/// See [`ways`].
#[derive(Debug, Default)]
pub(crate) struct Ways(BTreeMap<String, BTreeSet<Way>>);

impl Ways {
    fn mark(&mut self, contract: &Contract, ty: &Type, way: Way) {
        let Type::Id(id) = ty else {
            return;
        };
        let id = contract.origin(*id);
        if let Some((home, name)) = contract.home(id)
            && !self
                .0
                .entry(format!("{home}.{name}"))
                .or_default()
                .insert(way)
        {
            return;
        }
        // What an error is made of is written by hand, as the error itself.
        if contract.home(id) == Some(("types", "error")) {
            return;
        }
        match &contract.def(id).kind {
            TypeDefKind::Record(record) => {
                for field in &record.fields {
                    self.mark(contract, &field.ty, way);
                }
            }
            TypeDefKind::Variant(variant) => {
                for ty in variant.cases.iter().filter_map(|case| case.ty.as_ref()) {
                    self.mark(contract, ty, way);
                }
            }
            TypeDefKind::Option(inner) | TypeDefKind::List(inner) | TypeDefKind::Type(inner) => {
                self.mark(contract, inner, way);
            }
            TypeDefKind::Result(result) => {
                for ty in result.ok.iter().chain(&result.err) {
                    self.mark(contract, ty, way);
                }
            }
            TypeDefKind::Handle(Handle::Own(inner) | Handle::Borrow(inner)) => {
                self.mark(contract, &Type::Id(*inner), way);
            }
            _ => {}
        }
    }

    fn of(&self, home: &str, name: &str) -> Vec<Way> {
        self.0
            .get(&format!("{home}.{name}"))
            .map(|ways| ways.iter().copied().collect())
            .unwrap_or_default()
    }
}

/// The file of one interface.
pub(crate) fn definition(contract: &Contract, ways: &Ways, interface: &str) -> Result<String> {
    let mut writer = Writer {
        contract,
        ways,
        interface,
        requires: BTreeSet::new(),
    };
    let mut body = String::new();
    if interface == "types" {
        body.push_str(&special::head(contract)?);
    }
    let data = contract.interface(interface)?;
    for (name, id) in &data.types {
        let own = contract.home(contract.origin(*id)) == Some((interface, name));
        if own && !SPECIAL.contains(&name.as_str()) && !HIDDEN.contains(&name.as_str()) {
            body.push_str(&writer.named(name, *id)?);
        }
    }
    let functions = if contract.imports().contains(&interface) {
        writer.functions()?
    } else {
        String::new()
    };
    let mut text = format!(
        "--!strict\n-- `@cohnect/{}`: written from `wit/{interface}.wit` by `module-sdk/generator`. Do not edit.\n",
        snake(interface)
    );
    text.push_str(&comment(&data.docs.contents, ""));
    for required in &writer.requires {
        write!(text, "\nlocal {required} = require(\"./{required}\")")?;
    }
    if !writer.requires.is_empty() {
        text.push('\n');
    }
    text.push_str(&body);
    text.push_str(&functions);
    if functions.is_empty() {
        text.push_str("\n-- Types only.\nreturn {}\n");
    }
    Ok(text)
}

struct Writer<'a> {
    contract: &'a Contract,
    ways: &'a Ways,
    interface: &'a str,
    requires: BTreeSet<String>,
}

impl Writer<'_> {
    /// The definitions of a type that has a name.
    fn named(&mut self, name: &str, id: TypeId) -> Result<String> {
        let mut text = String::new();
        let docs = comment(&self.contract.def(id).docs.contents, "");
        let ways = self.ways.of(self.interface, name);
        let mut written = BTreeSet::new();
        for way in ways {
            let shape = self.shape(id, way)?;
            if written.insert(shape.clone()) {
                write!(
                    text,
                    "\n{docs}export type {} ={}{shape}\n",
                    self.title(self.interface, name, way)?,
                    if shape.starts_with('\n') { "" } else { " " },
                )?;
            }
        }
        Ok(text)
    }

    /// The name under which a type is defined for this way: what goes both ways in two shapes has two names.
    fn title(&mut self, home: &str, name: &str, way: Way) -> Result<String> {
        let both = self.ways.of(home, name).len() == 2;
        let id = self.contract.interface(home)?.types[name];
        let differs = both && self.shape(id, Way::In)? != self.shape(id, Way::Out)?;
        Ok(if way == Way::In && differs {
            format!("{}Input", camel(name))
        } else {
            camel(name)
        })
    }

    /// The shape of a type where it is defined.
    fn shape(&mut self, id: TypeId, way: Way) -> Result<String> {
        let id = self.contract.origin(id);
        Ok(match self.contract.def(id).kind.clone() {
            TypeDefKind::Record(record) => self.record(id, &record, way)?,
            TypeDefKind::Enum(cases) => {
                let cases: Vec<_> = cases
                    .cases
                    .iter()
                    .map(|case| format!("\"{}\"", snake(&case.name)))
                    .collect();
                cases.join(" | ")
            }
            TypeDefKind::Flags(flags) => {
                let flags: Vec<_> = flags
                    .flags
                    .iter()
                    .map(|flag| format!("read {}: boolean?", snake(&flag.name)))
                    .collect();
                format!("{{ {} }}", flags.join(", "))
            }
            TypeDefKind::Variant(variant) => self.variant(&variant, way)?,
            TypeDefKind::Resource => self.resource(id)?,
            other => bail!("no definition of a {}", other.as_str()),
        })
    }

    fn record(&mut self, id: TypeId, record: &Record, way: Way) -> Result<String> {
        let mut text = "{\n".to_owned();
        for field in &record.fields {
            text.push_str(&comment(&field.docs.contents, "\t"));
            let ty = self.ty(&field.ty, way)?;
            let optional = if way == Way::In && !ty.ends_with('?') && self.has_zero(&field.ty) {
                "?"
            } else {
                ""
            };
            writeln!(
                text,
                "\tread {}: {}{optional},",
                snake(&field.name),
                grouped(&ty, optional)
            )?;
        }
        if self.contract.home(id) == Some(("action", "request")) {
            text.push_str("\t-- Refuses the request with `denied` where no client called.\n\tread client: types.Client,\n");
            text.push_str(
                "\t-- Refuses the request with `denied` where no user called.\n\tread user: string,\n",
            );
        }
        text.push('}');
        Ok(text)
    }

    /// Whether leaving a field out means something: an id, a scope or an audience has no zero that anybody wants.
    fn has_zero(&self, ty: &Type) -> bool {
        let Type::Id(id) = ty else {
            return true;
        };
        let is_id = matches!(self.contract.name_of(ty), Some("client-id" | "instance-id"));
        !is_id
            && !matches!(
                self.contract.def(self.contract.origin(*id)).kind,
                TypeDefKind::Variant(_)
            )
    }

    fn variant(&mut self, variant: &Variant, way: Way) -> Result<String> {
        // Read, and with a value in each case: a table whose fields may simply be asked.
        if way == Way::Out && variant.cases.iter().all(|case| case.ty.is_some()) {
            let mut text = "{\n".to_owned();
            for case in &variant.cases {
                let Some(ty) = &case.ty else { continue };
                text.push_str(&comment(&case.docs.contents, "\t"));
                let ty = self.ty(ty, way)?;
                writeln!(
                    text,
                    "\tread {}: {}?,",
                    snake(&case.name),
                    grouped(&ty, "?")
                )?;
            }
            text.push('}');
            return Ok(text);
        }
        let mut text = String::new();
        for case in &variant.cases {
            write!(text, "\n\t| ")?;
            match &case.ty {
                None => write!(text, "\"{}\"", snake(&case.name))?,
                Some(ty) => write!(
                    text,
                    "{{ read {}: {} }}",
                    snake(&case.name),
                    self.ty(ty, way)?
                )?,
            }
        }
        Ok(text)
    }

    fn resource(&mut self, id: TypeId) -> Result<String> {
        let mut text = "{\n".to_owned();
        let functions: Vec<Function> = self.contract.functions(self.interface)?.cloned().collect();
        for function in &functions {
            if let FunctionKind::Method(owner) | FunctionKind::Static(owner) = function.kind
                && owner == id
            {
                text.push_str(&comment(&function.docs.contents, "\t"));
                let itself = camel(self.contract.def(id).name.as_deref().unwrap_or_default());
                let signature = self.signature(function, Some(&itself))?;
                writeln!(text, "\t{}: {signature},", snake(function.item_name()))?;
            }
        }
        text.push('}');
        Ok(text)
    }

    /// A type where it is used.
    fn ty(&mut self, ty: &Type, way: Way) -> Result<String> {
        Ok(match ty {
            Type::Bool => "boolean".to_owned(),
            Type::String => "string".to_owned(),
            Type::U8
            | Type::U16
            | Type::U32
            | Type::U64
            | Type::S8
            | Type::S16
            | Type::S32
            | Type::S64
            | Type::F32
            | Type::F64 => "number".to_owned(),
            Type::Id(id) => return self.used(*id, way),
            other => bail!("no type for {other:?}"),
        })
    }

    fn used(&mut self, id: TypeId, way: Way) -> Result<String> {
        let id = self.contract.origin(id);
        if let Some((home, name)) = self.contract.home(id) {
            let (home, name) = (home.to_owned(), name.to_owned());
            return self.used_name(&home, &name, way);
        }
        Ok(match self.contract.def(id).kind.clone() {
            TypeDefKind::Option(inner) => {
                let ty = self.ty(&inner, way)?;
                format!("{}?", grouped(&ty, "?"))
            }
            TypeDefKind::List(Type::U8) if way == Way::Out => "string".to_owned(),
            TypeDefKind::List(Type::U8) => self.of_types("Payload"),
            TypeDefKind::List(inner) => match self.contract.name_of(&inner) {
                Some("field") => format!("{{ [string]: {} }}", self.of_types("Scalar")),
                _ if way == Way::Out && self.contract.is_values(&inner) => "Rows".to_owned(),
                _ => format!("{{ {} }}", self.ty(&inner, way)?),
            },
            TypeDefKind::Handle(Handle::Own(inner) | Handle::Borrow(inner)) => {
                camel(self.contract.def(inner).name.as_deref().unwrap_or_default())
            }
            TypeDefKind::Tuple(_) => "string".to_owned(),
            other => bail!("no type for a {}", other.as_str()),
        })
    }

    fn used_name(&mut self, home: &str, name: &str, way: Way) -> Result<String> {
        let special = match name {
            "client-id" => Some("ClientId"),
            "instance-id" => Some("InstanceId"),
            "opcode" => Some("Opcode"),
            "timestamp-us" => Some("Timestamp"),
            "duration-us" => Some("Duration"),
            "scalar" => Some("Scalar"),
            "payload" if way == Way::In => Some("Payload"),
            "payload" => return Ok("string".to_owned()),
            // In a verdict, too, a script refuses with whatever it may refuse with elsewhere.
            "error" | "failure" if way == Way::In => Some("Problem"),
            "error" => Some("Error"),
            "value" => return Ok("Value".to_owned()),
            "row-set" => return Ok("Rows".to_owned()),
            _ => None,
        };
        if let Some(special) = special {
            return Ok(self.of_types(special));
        }
        let title = self.title(home, name, way)?;
        if home == self.interface {
            return Ok(title);
        }
        self.requires.insert(snake(home));
        Ok(format!("{}.{title}", snake(home)))
    }

    fn of_types(&mut self, name: &str) -> String {
        if self.interface == "types" {
            return name.to_owned();
        }
        self.requires.insert("types".to_owned());
        format!("types.{name}")
    }

    fn functions(&mut self) -> Result<String> {
        let name = snake(self.interface);
        let mut text = String::new();
        if self.interface == "db" {
            text.push_str("\n-- `nil` is null. Times come as seconds, UUIDs, JSON and decimals as text.\nexport type Value = (boolean | number | string | buffer)?\n");
            text.push_str("\nexport type Row = { [string]: any }\n\n-- Rows by column name. `truncated`: the result was cut at the row or byte limit; use `open`.\nexport type Rows = { [number]: Row, truncated: boolean? }\n");
        }
        write!(text, "\nlocal {name}: {{\n")?;
        let functions: Vec<Function> = self.contract.functions(self.interface)?.cloned().collect();
        for function in &functions {
            if function.kind == FunctionKind::Freestanding {
                text.push_str(&comment(&function.docs.contents, "\t"));
                let signature = self.signature(function, None)?;
                writeln!(text, "\t{}: {signature},", snake(&function.name))?;
            }
        }
        write!(text, "}} = nil :: any\n\nreturn {name}\n")?;
        Ok(text)
    }

    fn signature(&mut self, function: &Function, itself: Option<&str>) -> Result<String> {
        let skip = usize::from(itself.is_some());
        let left_out = self.contract.left_out(function, skip);
        let mut parts: Vec<String> = itself
            .map(|itself| format!("self: {itself}"))
            .into_iter()
            .collect();
        for (n, parameter) in function.params.iter().enumerate().skip(skip) {
            let last = n + 1 == function.params.len();
            if last && self.contract.is_values(&parameter.ty) {
                parts.push("...Value".to_owned());
                continue;
            }
            let ty = self.ty(&parameter.ty, Way::In)?;
            let optional = if left_out[n] && !ty.ends_with('?') {
                "?"
            } else {
                ""
            };
            parts.push(format!(
                "{}: {}{optional}",
                snake(&parameter.name),
                grouped(&ty, optional)
            ));
        }
        Ok(format!(
            "({}) -> {}",
            parts.join(", "),
            self.result(function)?
        ))
    }

    fn result(&mut self, function: &Function) -> Result<String> {
        let Some(result) = &function.result else {
            return Ok("()".to_owned());
        };
        let Type::Id(id) = result else {
            return self.ty(result, Way::Out);
        };
        let TypeDefKind::Result(result) = self.contract.def(*id).kind.clone() else {
            return self.ty(result, Way::Out);
        };
        let ok = match &result.ok {
            Some(ty) => self.ty(ty, Way::Out)?,
            None => "true".to_owned(),
        };
        let error = self.of_types("Error");
        Ok(format!("({}?, {error}?)", grouped(&ok, "?")))
    }
}

/// A union in brackets, where something follows it.
fn grouped(ty: &str, follows: &str) -> String {
    if !follows.is_empty() && ty.contains(" | ") && !ty.starts_with('{') {
        format!("({ty})")
    } else {
        ty.to_owned()
    }
}

/// A text of the contract as comment lines; names in it are written as Luau writes them.
fn comment(docs: &Option<String>, indent: &str) -> String {
    let mut text = String::new();
    for line in docs.as_deref().unwrap_or_default().lines() {
        let mut shown = String::new();
        for (n, part) in line.split('`').enumerate() {
            if n > 0 {
                shown.push('`');
            }
            let is_name = n % 2 == 1
                && part
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._".contains(&b));
            shown.push_str(&if is_name {
                snake(part)
            } else {
                part.to_owned()
            });
        }
        let line = format!("{indent}-- {shown}");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
