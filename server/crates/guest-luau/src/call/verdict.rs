//! What a handler may return, by the call that it answers.

use bytes::Bytes;
use cohnect_capabilities::Error;
use cohnect_host::export::{Admission, Export, MessageVerdict, PacketVerdict, Returned};
use mlua::Value;

use super::nothing;
use crate::convert::{FromLuau, Mismatch, describe, error_of, field, record, single};
use cohnect_host::nearest::suggestion;

/// What a handler returned, as the contract has it.
pub(crate) fn interpret(export: &Export, value: &Value, problem: &Value) -> mlua::Result<Returned> {
    let read = || -> Result<Returned, Mismatch> {
        Ok(match export {
            Export::Execute(_) => Returned::Answer(match refused(value, problem)? {
                Some(error) => Err(error),
                None => Ok(Bytes::from_luau(value)?),
            }),
            Export::Handle(_) => Returned::Verdict(packet_verdict(value, problem)?),
            Export::Broadcast(_) => Returned::Ruling(message_verdict(value, problem)?),
            Export::Start(_) | Export::Restore(_) => {
                Returned::Done(refused(value, problem)?.map_or(Ok(()), Err))
            }
            Export::Connecting(_) => Returned::Admission(match refused(value, problem)? {
                Some(error) => Err(error),
                None => Ok(admission(value)?),
            }),
            Export::Subscribe { .. } => Returned::Subscribed(match refused(value, problem)? {
                Some(error) => Err(error),
                None => Ok(FromLuau::from_luau(value)?),
            }),
            Export::Save
            | Export::Step(_)
            | Export::Stop(_)
            | Export::Tick(_)
            | Export::Timer { .. }
            | Export::Connected(_)
            | Export::Disconnected(..)
            | Export::Alive(..)
            | Export::Away(_)
            | Export::Back(_)
            | Export::Event(_)
            | Export::Unsubscribe { .. }
            | Export::Reply { .. } => nothing(export),
        })
    };
    read().map_err(|mismatch| {
        mlua::Error::runtime(format!(
            "the handler of {} returned something else: {}",
            label(export),
            mismatch.0
        ))
    })
}

/// A call as an error names it.
fn label(export: &Export) -> String {
    match export {
        Export::Execute(request) => format!("the action `{}`", request.name),
        Export::Handle(packet) => format!("the opcode {:#06x}", packet.opcode),
        Export::Broadcast(message) => format!("the topic \"{}\"", message.topic),
        Export::Subscribe { topic, .. } => format!("the topic \"{topic}\""),
        other @ (Export::Step(_)
        | Export::Start(_)
        | Export::Stop(_)
        | Export::Save
        | Export::Restore(_)
        | Export::Tick(_)
        | Export::Timer { .. }
        | Export::Connecting(_)
        | Export::Connected(_)
        | Export::Disconnected(..)
        | Export::Alive(..)
        | Export::Away(_)
        | Export::Back(_)
        | Export::Event(_)
        | Export::Unsubscribe { .. }
        | Export::Reply { .. }) => other.name().to_owned(),
    }
}

/// `nil, problem` refuses.
pub(crate) fn refused(value: &Value, problem: &Value) -> Result<Option<Error>, Mismatch> {
    if value.is_nil() && !problem.is_nil() {
        return error_of(problem).map(Some);
    }
    Ok(None)
}

fn packet_verdict(value: &Value, problem: &Value) -> Result<PacketVerdict, Mismatch> {
    if let Some(error) = refused(value, problem)? {
        return Ok(PacketVerdict::Reject(error));
    }
    match value {
        Value::Nil => Ok(PacketVerdict::Pass),
        Value::String(text) => match &*text.as_bytes() {
            b"pass" => Ok(PacketVerdict::Pass),
            b"drop" => Ok(PacketVerdict::Drop),
            _ => Err(not_a_verdict(value)),
        },
        Value::Table(table) => {
            let (case, value) = single(table)?;
            match case.as_str() {
                "replace" => FromLuau::from_luau(&value).map(PacketVerdict::Replace),
                "reply" => FromLuau::from_luau(&value).map(PacketVerdict::Reply),
                "reject" => error_of(&value).map(PacketVerdict::Reject),
                other => Err(no_case(other, &["replace", "reply", "reject"])),
            }
        }
        other => Err(not_a_verdict(other)),
    }
}

fn no_case(found: &str, known: &[&str]) -> Mismatch {
    Mismatch(format!(
        "a table with the key `{found}` decides nothing; {}",
        suggestion(found, known)
    ))
}

fn not_a_verdict(value: &Value) -> Mismatch {
    Mismatch(format!(
        "expected \"pass\", \"drop\", {{ replace = … }}, {{ reply = … }}, {{ reject = {{ code = 1, message = \"no\" }} }}, got {}",
        describe(value)
    ))
}

fn message_verdict(value: &Value, problem: &Value) -> Result<MessageVerdict, Mismatch> {
    if let Some(error) = refused(value, problem)? {
        return Ok(MessageVerdict::Reject(error));
    }
    match value {
        Value::Nil => Ok(MessageVerdict::Pass),
        Value::String(text) => match &*text.as_bytes() {
            b"pass" => Ok(MessageVerdict::Pass),
            b"drop" => Ok(MessageVerdict::Drop),
            _ => Err(not_a_ruling(value)),
        },
        Value::Table(table) => {
            let (case, value) = single(table)?;
            match (case.as_str(), &value) {
                ("replace", _) => FromLuau::from_luau(&value).map(MessageVerdict::Replace),
                ("reject", _) => error_of(&value).map(MessageVerdict::Reject),
                ("redirect", Value::Table(redirection)) => {
                    record(&value, "a redirection", &["to", "payload"])?;
                    Ok(MessageVerdict::Redirect(
                        field(redirection, "to")?,
                        field(redirection, "payload")?,
                    ))
                }
                ("redirect", other) => Err(Mismatch(format!(
                    "redirect: expected a table {{ to = …, payload = … }}, got {}",
                    describe(other)
                ))),
                (other, _) => Err(no_case(other, &["replace", "redirect", "reject"])),
            }
        }
        other => Err(not_a_ruling(other)),
    }
}

fn not_a_ruling(value: &Value) -> Mismatch {
    Mismatch(format!(
        "expected \"pass\", \"drop\", {{ replace = … }}, {{ redirect = {{ to = …, payload = … }} }}, {{ reject = {{ code = 1, message = \"no\" }} }}, got {}",
        describe(value)
    ))
}

fn admission(value: &Value) -> Result<Admission, Mismatch> {
    match value {
        // Plain agreement.
        Value::Nil | Value::Boolean(true) => Ok(Admission::default()),
        Value::Table(table) => {
            record(value, "an admission", &["user", "tags"])?;
            Ok(Admission {
                user: field(table, "user")?,
                tags: field(table, "tags")?,
            })
        }
        other => Err(Mismatch::expected(
            "an admission such as { tags = { \"new\" } }",
            other,
        )),
    }
}
