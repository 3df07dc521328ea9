//! Enums and variants: a case is a string in snake_case, a case with a value is a table with that one key.

use bytes::Bytes;
use cohnect_capabilities::logging::Level;
use cohnect_capabilities::{
    Audience, Caller, CloseReason, Delivery, Detail, Error, Failure, LimitInfo, Scalar, Scope,
    db::Isolation,
};
use mlua::{Lua, Table, Value};

use super::{EXACT_MAX, FromLuau, IntoLuau, Mismatch, describe, field, record, whole};
use crate::host::{Host, PLAIN, kind};
use cohnect_host::nearest::suggestion;

macro_rules! enumeration {
    ($type:ty, $what:literal, $default:expr, $name:ident: $($text:literal = $case:path),* $(,)?) => {
        /// Its name in Luau.
        #[allow(dead_code, reason = "some enums only go in")]
        pub(crate) const fn $name(value: $type) -> &'static str {
            match value {
                $($case => $text,)*
            }
        }

        impl FromLuau for $type {
            const WHAT: &'static str = concat!($what, " by name");

            fn from_luau(value: &Value) -> Result<Self, Mismatch> {
                match value {
                    Value::Nil => Ok($default),
                    Value::String(text) => match &*text.as_bytes() {
                        $(bytes if bytes == $text.as_bytes() => Ok($case),)*
                        _ => Err(unknown($what, &text.to_string_lossy(), &[$($text),*])),
                    },
                    other => Err(Mismatch::expected(Self::WHAT, other)),
                }
            }
        }

        impl IntoLuau for $type {
            fn into_luau(self, lua: &Lua, _host: &Host) -> mlua::Result<Value> {
                Ok(Value::String(lua.create_string($name(self))?))
            }
        }
    };
}

enumeration!(Delivery, "a delivery", Delivery::ReliableOrdered, delivery:
    "reliable_ordered" = Delivery::ReliableOrdered,
    "reliable_unordered" = Delivery::ReliableUnordered,
    "unreliable_sequenced" = Delivery::UnreliableSequenced,
    "unreliable" = Delivery::Unreliable,
);

enumeration!(CloseReason, "a reason", CloseReason::Left, close_reason:
    "left" = CloseReason::Left,
    "kicked" = CloseReason::Kicked,
    "banned" = CloseReason::Banned,
    "replaced" = CloseReason::Replaced,
    "timed_out" = CloseReason::TimedOut,
    "protocol_error" = CloseReason::ProtocolError,
    "server_full" = CloseReason::ServerFull,
    "shutting_down" = CloseReason::ShuttingDown,
    "other" = CloseReason::Other,
);

enumeration!(Level, "a level", Level::Trace, level:
    "trace" = Level::Trace,
    "debug" = Level::Debug,
    "info" = Level::Info,
    "warn" = Level::Warn,
    "error" = Level::Error,
);

enumeration!(Isolation, "an isolation", Isolation::Serializable, isolation:
    "serializable" = Isolation::Serializable,
    "repeatable_read" = Isolation::RepeatableRead,
    "read_committed" = Isolation::ReadCommitted,
);

fn unknown(what: &str, found: &str, known: &[&str]) -> Mismatch {
    Mismatch(format!(
        "expected {what}, got \"{found}\"; {}",
        suggestion(found, known)
    ))
}

/// The one key of a variant's table, and its value.
pub(crate) fn single(table: &Table) -> Result<(String, Value), Mismatch> {
    let mut pairs = table.pairs::<String, Value>();
    match (pairs.next(), pairs.next()) {
        (Some(pair), None) => Ok(pair?),
        _ => Err(Mismatch(
            "expected a table with exactly one key, the case".to_owned(),
        )),
    }
}

const SCOPES: &[&str] = &["shared", "module", "room", "client", "named"];

impl FromLuau for Scope {
    const WHAT: &'static str = "a scope such as \"shared\" or { client = id }";

    fn from_luau(value: &Value) -> Result<Self, Mismatch> {
        match value {
            Value::String(text) => match &*text.as_bytes() {
                b"shared" => Ok(Self::Shared),
                b"module" => Ok(Self::Module),
                b"room" => Ok(Self::Room),
                _ => Err(unknown("a scope", &text.to_string_lossy(), SCOPES)),
            },
            Value::Table(table) => {
                let (case, value) = single(table)?;
                match case.as_str() {
                    "client" => FromLuau::from_luau(&value).map(Self::Client),
                    "named" => FromLuau::from_luau(&value).map(Self::Named),
                    _ => Err(unknown("a scope", &case, SCOPES)),
                }
            }
            other => Err(Mismatch::expected(Self::WHAT, other)),
        }
    }
}

const AUDIENCES: &[&str] = &[
    "everyone",
    "client",
    "clients",
    "user",
    "users",
    "tagged",
    "topic",
    "topics",
    "members",
    "members_of",
];

impl FromLuau for Audience {
    const WHAT: &'static str = "an audience such as \"everyone\" or { topic = \"chat\" }";

    fn from_luau(value: &Value) -> Result<Self, Mismatch> {
        match value {
            Value::String(text) => match &*text.as_bytes() {
                b"everyone" => Ok(Self::Everyone),
                b"members" => Ok(Self::Members),
                _ => Err(unknown("an audience", &text.to_string_lossy(), AUDIENCES)),
            },
            Value::Table(table) => {
                let (case, value) = single(table)?;
                match case.as_str() {
                    "client" => FromLuau::from_luau(&value).map(Self::Client),
                    "clients" => FromLuau::from_luau(&value).map(Self::Clients),
                    "user" => FromLuau::from_luau(&value).map(Self::User),
                    "users" => FromLuau::from_luau(&value).map(Self::Users),
                    "tagged" => FromLuau::from_luau(&value).map(Self::Tagged),
                    "topic" => FromLuau::from_luau(&value).map(Self::Topic),
                    "topics" => FromLuau::from_luau(&value).map(Self::Topics),
                    "members_of" => FromLuau::from_luau(&value).map(Self::MembersOf),
                    _ => Err(unknown("an audience", &case, AUDIENCES)),
                }
            }
            other => Err(Mismatch::expected(Self::WHAT, other)),
        }
    }
}

fn one(lua: &Lua, case: &str, value: Value) -> mlua::Result<Value> {
    let table = lua.create_table_with_capacity(0, 1)?;
    table.raw_set(case, value)?;
    Ok(Value::Table(table))
}

impl IntoLuau for &Audience {
    fn into_luau(self, lua: &Lua, host: &Host) -> mlua::Result<Value> {
        let (case, value) = match self {
            Audience::Everyone => return "everyone".into_luau(lua, host),
            Audience::Members => return "members".into_luau(lua, host),
            Audience::Client(id) => ("client", id.into_luau(lua, host)?),
            Audience::Clients(ids) => ("clients", ids.clone().into_luau(lua, host)?),
            Audience::User(user) => ("user", user.as_str().into_luau(lua, host)?),
            Audience::Users(users) => ("users", users.clone().into_luau(lua, host)?),
            Audience::Tagged(tags) => ("tagged", tags.as_str().into_luau(lua, host)?),
            Audience::Topic(topic) => ("topic", topic.as_str().into_luau(lua, host)?),
            Audience::Topics(topics) => ("topics", topics.clone().into_luau(lua, host)?),
            Audience::MembersOf(module) => ("members_of", module.as_str().into_luau(lua, host)?),
        };
        one(lua, case, value)
    }
}

impl IntoLuau for &Caller {
    fn into_luau(self, lua: &Lua, host: &Host) -> mlua::Result<Value> {
        let (case, value) = match self {
            Caller::Client(client) => ("client", client.into_luau(lua, host)?),
            Caller::Module(name) => ("module", (**name).into_luau(lua, host)?),
            Caller::Operator(name) => ("operator", (**name).into_luau(lua, host)?),
            Caller::System(what) => ("system", (**what).into_luau(lua, host)?),
        };
        one(lua, case, value)
    }
}

impl FromLuau for Scalar {
    const WHAT: &'static str = "a boolean, a number, a string or a buffer";

    fn from_luau(value: &Value) -> Result<Self, Mismatch> {
        match value {
            Value::Boolean(on) => Ok(Self::Boolean(*on)),
            Value::Integer(number) if number.unsigned_abs() <= EXACT_MAX => {
                Ok(Self::Integer(*number))
            }
            Value::Integer(number) => Ok(Self::Number(*number as f64)),
            Value::Number(number) => match whole(value) {
                Ok(number) => Ok(Self::Integer(number)),
                Err(_) => Ok(Self::Number(*number)),
            },
            Value::String(text) => Ok(match text.to_str() {
                Ok(text) => Self::Text((*text).to_owned()),
                Err(_) => Self::Blob(Bytes::copy_from_slice(&text.as_bytes())),
            }),
            Value::Buffer(buffer) => Ok(Self::Blob(Bytes::from(buffer.to_vec()))),
            other => Err(Mismatch::expected(Self::WHAT, other)),
        }
    }
}

impl IntoLuau for Scalar {
    fn into_luau(self, lua: &Lua, host: &Host) -> mlua::Result<Value> {
        match self {
            Self::Boolean(on) => Ok(Value::Boolean(on)),
            Self::Integer(number) => number.into_luau(lua, host),
            Self::Number(number) => Ok(Value::Number(number)),
            Self::Text(text) => text.into_luau(lua, host),
            Self::Blob(bytes) => Ok(Value::Buffer(lua.create_buffer(bytes)?)),
        }
    }
}

/// A refusal of a module's own: `{ code = 7, message = "no" }`.
fn failure(value: &Value) -> Result<Failure, Mismatch> {
    let Value::Table(table) = value else {
        return Err(Mismatch::expected(
            "a refusal such as { code = 1, message = \"no\" }",
            value,
        ));
    };
    record(value, "a refusal", &["code", "message"])?;
    failure_of(table)
}

fn failure_of(table: &Table) -> Result<Failure, Mismatch> {
    Ok(Failure {
        code: field(table, "code")?,
        message: field(table, "message")?,
    })
}

/// What an error may say of itself, of whatever kind it is.
const ERROR_FIELDS: &[&str] = &["kind", "code", "message", "what", "allowed", "requested"];

/// The error that a script means: an error as it came, a table with code and text, or a case by name.
pub(crate) fn error_of(value: &Value) -> Result<Error, Mismatch> {
    let table = match value {
        Value::String(text) => return named(&text.to_string_lossy(), None),
        Value::Table(table) => table,
        other => {
            return Err(Mismatch::expected(
                "an error, { code = 1, message = \"no\" }, or a case by name",
                other,
            ));
        }
    };
    match table.get::<Value>("kind")? {
        Value::Nil => failure(value).map(Error::Failed),
        Value::String(kind) => {
            record(value, "an error", ERROR_FIELDS)?;
            named(&kind.to_string_lossy(), Some(table))
        }
        other => Err(Mismatch(format!(
            "the `kind` of an error is a string, not {}",
            describe(&other)
        ))),
    }
}

fn named(name: &str, table: Option<&Table>) -> Result<Error, Mismatch> {
    if let Some(error) = PLAIN.into_iter().find(|error| kind(error) == name) {
        return Ok(error);
    }
    let text = |key| match table {
        Some(table) => field::<String>(table, key),
        None => Ok(String::new()),
    };
    let number = |key| match table {
        Some(table) => field::<f64>(table, key).map(|number| number as u64),
        None => Ok(0),
    };
    Ok(match name {
        "invalid_argument" => Error::InvalidArgument(text("message")?),
        "unavailable" => Error::Unavailable(text("message")?),
        "limit_exceeded" => Error::LimitExceeded(LimitInfo {
            what: text("what")?,
            allowed: number("allowed")?,
            requested: number("requested")?,
        }),
        "failed" => Error::Failed(match table {
            Some(table) => failure_of(table)?,
            None => Failure::default(),
        }),
        "other" => Error::Other(Detail {
            code: text("code")?,
            message: text("message")?,
        }),
        _ => {
            let mut known: Vec<_> = PLAIN.iter().map(kind).collect();
            known.extend([
                "invalid_argument",
                "unavailable",
                "limit_exceeded",
                "failed",
                "other",
            ]);
            return Err(unknown("an error's case", name, &known));
        }
    })
}
