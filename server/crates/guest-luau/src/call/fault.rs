//! How a call ended that returned nothing: which errors of Luau are refusals, which end the replica, and what the log reads of them.

use cohnect_capabilities::Error;
use cohnect_host::context::Context;
use cohnect_host::export::{
    Ending, Export, Fault, MessageVerdict, Outcome, PacketVerdict, Returned,
};

use crate::binding::Unfit;
use crate::host::Refusal;
use crate::safepoint::DOOM;

/// Longest text of a fault in bytes: a log line and a traceback.
const FAULT_BYTES_MAX: usize = 4 * 1024;

/// What came of a call, after everything that ends a replica was looked at.
pub(crate) fn outcome(
    ending: Option<Ending>,
    export: &Export,
    result: mlua::Result<Returned>,
    context: &Context,
) -> Outcome {
    match (ending, result) {
        (None, Ok(returned)) => Ok(returned),
        (Some(Ending::Deadline), result) => {
            let budget = context.budget();
            let text = match result {
                Ok(_) => budget,
                Err(error) => text(&error).replace(DOOM, &budget),
            };
            Err(Fault::Ended(Ending::Deadline, text))
        }
        (Some(ending), Ok(_)) => Err(Fault::Ended(ending, export.name().to_owned())),
        (Some(ending), Err(error)) => Err(Fault::Ended(ending, text(&error))),
        (None, Err(error)) => {
            if is_memory(&error) {
                return Err(Fault::Ended(Ending::Memory, text(&error)));
            }
            match refusal(&error).and_then(|refusal| refusing(export, refusal)) {
                Some(returned) => Ok(returned),
                None => Err(Fault::Raised(text(&error))),
            }
        }
    }
}

/// A raised refusal, as the call returns it; none where the call returns nothing that could refuse.
fn refusing(export: &Export, error: &Error) -> Option<Returned> {
    let error = error.clone();
    match export {
        Export::Execute(_) => Some(Returned::Answer(Err(error))),
        Export::Handle(_) => Some(Returned::Verdict(PacketVerdict::Reject(error))),
        Export::Broadcast(_) => Some(Returned::Ruling(MessageVerdict::Reject(error))),
        Export::Step(_) => Some(Returned::Next(Err(error))),
        Export::Start(_) | Export::Restore(_) => Some(Returned::Done(Err(error))),
        Export::Save => Some(Returned::Saved(Err(error))),
        Export::Connecting(_) => Some(Returned::Admission(Err(error))),
        Export::Subscribe { .. } => Some(Returned::Subscribed(Err(error))),
        Export::Stop(_)
        | Export::Tick(_)
        | Export::Timer { .. }
        | Export::Connected(_)
        | Export::Disconnected(..)
        | Export::Alive(..)
        | Export::Away(_)
        | Export::Back(_)
        | Export::Event(_)
        | Export::Unsubscribe { .. }
        | Export::Reply { .. } => None,
    }
}

/// The refusal that an error of Luau carries.
fn refusal(error: &mlua::Error) -> Option<&Error> {
    match cause(error) {
        mlua::Error::ExternalError(inner) => {
            inner.downcast_ref::<Refusal>().map(|refusal| &refusal.0)
        }
        _ => None,
    }
}

/// The innermost error.
fn cause(error: &mlua::Error) -> &mlua::Error {
    match error {
        mlua::Error::CallbackError { cause: inner, .. }
        | mlua::Error::BadArgument { cause: inner, .. }
        | mlua::Error::WithContext { cause: inner, .. } => cause(inner),
        other => other,
    }
}

/// What the innermost error says; of an argument that does not fit, also which of whose it is.
fn said(error: &mlua::Error) -> String {
    match error {
        // A method without its `self`; mlua calls it `Transaction.execute`.
        mlua::Error::BadArgument {
            to, name, cause, ..
        } if name.as_deref() == Some("self") => {
            let method = to.as_deref().unwrap_or_default();
            let method = method.to_lowercase().replace('.', ":");
            format!(
                "{method}: a method is called with a colon, as this is written ({})",
                said(cause)
            )
        }
        mlua::Error::BadArgument { pos, cause, .. } => match &**cause {
            mlua::Error::ExternalError(inner) => inner
                .downcast_ref::<Unfit>()
                .map_or_else(|| inner.to_string(), |unfit| unfit.at(*pos)),
            other => said(other),
        },
        mlua::Error::CallbackError { cause: inner, .. }
        | mlua::Error::WithContext { cause: inner, .. } => said(inner),
        // What kind of error it is mlua says in front, and the text says better.
        mlua::Error::RuntimeError(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Whether memory ran out. A coroutine hands the error on as text.
pub(crate) fn is_memory(error: &mlua::Error) -> bool {
    match cause(error) {
        mlua::Error::MemoryError(_) => true,
        mlua::Error::RuntimeError(text) => text
            .lines()
            .next()
            .is_some_and(|line| line.ends_with("not enough memory")),
        _ => false,
    }
}

/// An error as the log shows it.
pub(crate) fn text(error: &mlua::Error) -> String {
    let mut text = match error {
        mlua::Error::RuntimeError(text) | mlua::Error::MemoryError(text) => text.clone(),
        mlua::Error::CallbackError { traceback, .. } => {
            format!("{}\n{traceback}", said(error))
        }
        other => said(other),
    };
    text.truncate(text.floor_char_boundary(FAULT_BYTES_MAX));
    text
}
