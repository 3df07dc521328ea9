//! The table that a module returns: what it declares becomes the host's `Exports`, what it handles becomes functions by name. Anything unknown is an error
//! that names the nearest known key; nobody writes `describe` in Luau.

mod claims;
mod events;
mod manifest;
mod together;

use core::cell::RefCell;
use std::sync::Arc;

use cohnect_capabilities::Opcode;
use cohnect_host::catalog::{TOPIC_CLAIMS_MAX, check_pattern};
use cohnect_host::export::{Exports, TickPlan};
use mlua::{Function, LuaString, Table, Value};
use rustc_hash::FxHashMap;

use crate::convert::{FromLuau, Mismatch, describe, field};
use crate::place::Place;
use cohnect_host::nearest::suggestion;

pub(crate) use manifest::Manifest;

/// An action's function and its name as a Luau string.
pub(crate) struct Action {
    pub(crate) name: LuaString,
    pub(crate) function: Function,
}

/// The functions of a module, by what they answer to.
#[derive(Default)]
pub(crate) struct Handlers {
    pub(crate) actions: FxHashMap<Arc<str>, Action>,
    pub(crate) packets: FxHashMap<Opcode, Function>,
    pub(crate) broadcasts: Topics,
    pub(crate) streams: Topics,
    pub(crate) closed: Topics,
    pub(crate) timers: FxHashMap<String, Function>,
    pub(crate) replies: FxHashMap<String, Function>,
    /// By the name of the event.
    pub(crate) client_events: FxHashMap<&'static str, Function>,
    pub(crate) server_events: FxHashMap<&'static str, Function>,
    pub(crate) on_tick: Option<Function>,
    pub(crate) background: Option<Function>,
    pub(crate) start: Option<Function>,
    pub(crate) stop: Option<Function>,
    pub(crate) save: Option<Function>,
    pub(crate) restore: Option<Function>,
    pub(crate) keep: Option<Table>,
    /// The names in `keep` when the file had run.
    pub(crate) declared: Option<Arc<[String]>>,
    pub(crate) schema: u32,
    pub(crate) upgrade: Option<Function>,
}

/// Handlers by topic or pattern, the most specific pattern first.
#[derive(Default)]
pub(crate) struct Topics {
    exact: FxHashMap<String, Function>,
    patterns: Vec<(String, Function)>,
}

impl FromIterator<(String, Function)> for Topics {
    fn from_iter<I: IntoIterator<Item = (String, Function)>>(handlers: I) -> Self {
        let mut topics = Self::default();
        for (topic, function) in handlers {
            // `{key}` names the instance of a keyed module; in a topic it stands for one segment.
            let pattern = topic.replace("{key}", "*");
            if pattern.contains('*') {
                topics.patterns.push((pattern, function));
            } else {
                topics.exact.insert(pattern, function);
            }
        }
        topics
            .patterns
            .sort_by_cached_key(|(pattern, _)| core::cmp::Reverse(specificity(pattern)));
        topics
    }
}

impl Topics {
    pub(crate) fn find(&self, topic: &str) -> Option<&Function> {
        self.exact.get(topic).or_else(|| {
            self.patterns
                .iter()
                .find(|(pattern, _)| cohnect_host::catalog::matches(pattern, topic))
                .map(|(_, function)| function)
        })
    }
}

/// How much of a topic a pattern fixes.
fn specificity(pattern: &str) -> (usize, usize) {
    let fixed = pattern.split('/').filter(|segment| *segment != "*").count();
    (fixed, pattern.split('/').count())
}

/// A handler by its name, or by the part before `:`.
pub(crate) fn by_prefix<'a>(
    handlers: &'a FxHashMap<String, Function>,
    name: &str,
) -> Option<&'a Function> {
    handlers
        .get(name)
        .or_else(|| handlers.get(name.split_once(':')?.0))
}

/// What a module's table says.
#[derive(Default)]
pub(crate) struct Shape {
    pub(crate) exports: Exports,
    pub(crate) handlers: Handlers,
    pub(crate) manifest: Manifest,
}

/// What is wrong with a module's table, and where, as far as Luau can tell.
#[derive(Debug)]
pub(crate) struct Wrong {
    text: String,
    place: Option<Place>,
    /// Whether it was asked where it stands: who knows the value best is asked first, and if it stands nowhere, a place near by would mislead.
    asked: bool,
}

impl Wrong {
    /// It is wrong in the value of this key.
    fn within(mut self, key: impl core::fmt::Display) -> Self {
        self.text = format!("{key}: {}", self.text);
        self
    }

    /// It stands here, unless somebody who knows more exactly has been asked.
    fn at(mut self, place: impl FnOnce() -> Option<Place>) -> Self {
        if !core::mem::replace(&mut self.asked, true) {
            self.place = place();
        }
        self
    }

    /// As its author reads it; `file` is the module's.
    pub(crate) fn said(&self, file: &str) -> String {
        match &self.place {
            Some(place) => format!("{place}: {}", self.text),
            None => format!("{file}: {}", self.text),
        }
    }
}

impl From<String> for Wrong {
    fn from(text: String) -> Self {
        Self {
            text,
            place: None,
            asked: false,
        }
    }
}

impl From<&str> for Wrong {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<Mismatch> for Wrong {
    fn from(mismatch: Mismatch) -> Self {
        mismatch.0.into()
    }
}

impl From<mlua::Error> for Wrong {
    fn from(error: mlua::Error) -> Self {
        error.to_string().into()
    }
}

const KEYS: [&str; 17] = [
    "action",
    "pipeline",
    "broadcast",
    "background",
    "ticker",
    "timer_handler",
    "reply_handler",
    "client_events",
    "server_events",
    "stream_handler",
    "stream_closed",
    "lifecycle",
    "keep",
    "schema",
    "upgrade",
    "migration",
    "manifest",
];
/// Part of the contract, but not of this version.
const LATER: [&str; 6] = [
    "cron",
    "before",
    "after",
    "room_events",
    "mq_handler",
    "http_handler",
];
/// Reads a module's table.
pub(crate) fn read(value: &Value, options: &RefCell<Option<Function>>) -> Result<Shape, Wrong> {
    let Value::Table(table) = value else {
        return Err(format!(
            "the file returns {}; a module returns a table such as {{ action = {{ … }} }}",
            describe(value)
        )
        .into());
    };
    let options = claims::Options(options.borrow().clone());
    let mut shape = Shape::default();
    for (key, value) in entries(table, "the module")? {
        read_key(&mut shape, &options, &key, &value).map_err(|wrong| {
            wrong
                .within(format_args!("`{key}`"))
                .at(|| options.place(&value))
        })?;
    }
    together::check_state(&mut shape)?;
    if let Value::Table(closed) = table.raw_get("stream_closed")? {
        together::check_closed(&shape.exports.streams, &closed)?;
    }
    Ok(shape)
}

fn read_key(
    shape: &mut Shape,
    options: &claims::Options,
    key: &str,
    value: &Value,
) -> Result<(), Wrong> {
    match key {
        "action" => claims::actions(shape, options, table(value)?),
        "pipeline" => claims::packets(shape, options, table(value)?),
        "broadcast" => claims::broadcasts(shape, options, table(value)?),
        "stream_handler" => claims::streams(shape, options, table(value)?),
        "stream_closed" => {
            shape.handlers.closed = topics(table(value)?)?;
            Ok(())
        }
        "background" => {
            shape.handlers.background = Some(function(value)?);
            shape.exports.background = true;
            Ok(())
        }
        "ticker" => ticker(shape, table(value)?),
        "timer_handler" => {
            shape.exports.timers = true;
            named(&mut shape.handlers.timers, table(value)?)
        }
        "reply_handler" => {
            shape.exports.replies = true;
            named(&mut shape.handlers.replies, table(value)?)
        }
        "client_events" => events::client_events(shape, table(value)?),
        "server_events" => events::server_events(shape, table(value)?),
        "lifecycle" => {
            let table = known(table(value)?, &["start", "stop"])?;
            shape.handlers.start = optional(table, "start")?;
            shape.handlers.stop = optional(table, "stop")?;
            shape.exports.lifecycle = true;
            Ok(())
        }
        "keep" => {
            let keep = table(value)?;
            shape.handlers.declared = crate::keep::names(keep)?;
            shape.exports.declared.clone_from(&shape.handlers.declared);
            shape.handlers.keep = Some(keep.clone());
            Ok(())
        }
        "schema" => {
            shape.handlers.schema = FromLuau::from_luau(value)?;
            Ok(())
        }
        "upgrade" => {
            shape.handlers.upgrade = Some(function(value)?);
            Ok(())
        }
        "migration" => {
            let table = known(table(value)?, &["save", "restore"])?;
            shape.handlers.save = optional(table, "save")?;
            shape.handlers.restore = optional(table, "restore")?;
            Ok(())
        }
        "manifest" => {
            shape.manifest = manifest::read(table(value)?)?;
            Ok(())
        }
        later if LATER.contains(&later) => {
            Err("is part of the contract, but not of this version of the server".into())
        }
        unknown => Err(format!("is no export; {}", suggestion(unknown, &KEYS)).into()),
    }
}

fn ticker(shape: &mut Shape, table: &Table) -> Result<(), Wrong> {
    let table = known(table, &["hz", "overrun", "catch_up_max", "on_tick"])?;
    let overrun: Option<String> = field(table, "overrun")?;
    let most: Option<u32> = field(table, "catch_up_max")?;
    let catch_up_max = match overrun.as_deref() {
        None | Some("skip") => None,
        // Without a number: as many as a second of a fast game, so that a hiccup is made up for and a stall is not.
        Some("catch_up") => Some(most.filter(|most| *most > 0).unwrap_or(60)),
        Some(other) => {
            return Err(format!("`overrun` is \"skip\" or \"catch_up\", not \"{other}\"").into());
        }
    };
    shape.exports.ticker = Some(TickPlan {
        hz: field(table, "hz")?,
        catch_up_max,
    });
    shape.handlers.on_tick =
        Some(optional(table, "on_tick")?.ok_or("`on_tick` is missing: function(tick) … end")?);
    Ok(())
}

/// The entries of a table with topics for keys. They are counted here, too: a table with thousands costs the thread that reads it, and each replica anew.
fn topic_entries(table: &Table) -> Result<Vec<(String, Value)>, Wrong> {
    let entries = entries(table, "topics")?;
    if entries.len() > TOPIC_CLAIMS_MAX {
        return Err(format!(
            "at most {TOPIC_CLAIMS_MAX} topics, here are {}; a pattern such as `chat/*` stands for many",
            entries.len()
        )
        .into());
    }
    for (topic, value) in &entries {
        // `{key}` is the host's to refuse.
        check_pattern(&topic.replace("{key}", "*"))
            .map_err(|text| Wrong::from(text).at(|| place_of(value)))?;
    }
    Ok(entries)
}

fn topics(table: &Table) -> Result<Topics, Wrong> {
    topic_entries(table)?
        .into_iter()
        .map(|(topic, value)| match function(&value) {
            Ok(function) => Ok((topic, function)),
            Err(wrong) => Err(wrong.within(format_args!("\"{topic}\""))),
        })
        .collect()
}

fn named(into: &mut FxHashMap<String, Function>, table: &Table) -> Result<(), Wrong> {
    for (name, value) in entries(table, "handlers")? {
        let function =
            function(&value).map_err(|wrong| wrong.within(format_args!("\"{name}\"")))?;
        into.insert(name, function);
    }
    Ok(())
}

/// What a module may declare of one kind: more than a person names, few enough to be read once per load.
const ENTRIES_MAX: usize = 4_096;

/// The entries of a table with text for keys, by key.
pub(super) fn entries(table: &Table, what: &str) -> Result<Vec<(String, Value)>, Wrong> {
    let mut entries = Vec::new();
    for pair in table.pairs::<Value, Value>() {
        let (key, value) = pair?;
        let Value::String(key) = &key else {
            return Err(format!("{what}: a key is a name, not {}", describe(&key)).into());
        };
        if entries.len() == ENTRIES_MAX {
            return Err(format!("{what}: more than {ENTRIES_MAX} entries").into());
        }
        entries.push((key.to_string_lossy(), value));
    }
    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(entries)
}

/// The table, if it has no other keys.
pub(super) fn known<'a>(table: &'a Table, keys: &[&str]) -> Result<&'a Table, Wrong> {
    for (key, value) in entries(table, "a table")? {
        if !keys.contains(&key.as_str()) {
            let text = format!("there is no key `{key}`; {}", suggestion(&key, keys));
            return Err(Wrong::from(text).at(|| place_of(&value)));
        }
    }
    Ok(table)
}

fn table(value: &Value) -> Result<&Table, Wrong> {
    match value {
        Value::Table(table) => Ok(table),
        other => Err(format!("expected a table, got {}", describe(other)).into()),
    }
}

pub(super) fn function(value: &Value) -> Result<Function, Wrong> {
    match value {
        Value::Function(function) => Ok(function.clone()),
        other => Err(format!("expected a function, got {}", describe(other)).into()),
    }
}

fn optional(table: &Table, name: &str) -> Result<Option<Function>, Wrong> {
    match table.raw_get::<Value>(name)? {
        Value::Nil => Ok(None),
        value => function(&value)
            .map(Some)
            .map_err(|wrong| wrong.within(format_args!("`{name}`"))),
    }
}

/// Where a value stands that is a function of the module.
pub(super) fn place_of(value: &Value) -> Option<Place> {
    value.as_function().and_then(Place::of_function)
}
