//! What capabilities refused the running call: remembered, so that a module's own mistake is told from its caller's, and said in the log with the call's name.

use cohnect_capabilities::{Effect, Error};

use super::Context;
use super::db::shown;
use crate::escaped::Escaped;
use crate::export::Export;
use crate::function::{HostFunction, Interface};

/// Malformed arguments that are remembered of one call: one that gathers more has long stopped to look at what comes back.
const MISTAKES_MAX: usize = 16;

/// What a capability refused, with what the log adds to it.
#[derive(Debug)]
pub(super) struct Refused {
    function: HostFunction,
    error: Error,
    advice: String,
}

/// Names of timers and answers without a handler that a replica is told about.
const UNHANDLED_MAX: usize = 16;

/// What came and had no handler of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unhandled {
    /// A timer.
    Timer,
    /// The answer to a request.
    Reply,
}

impl Context {
    /// Something came that the module has handlers for, but none of this name: says so once for each replica and name, up to the first `:`. Such a timer
    /// is set no more.
    pub fn unhandled(&mut self, what: Unhandled, name: &str) {
        let noun = match what {
            Unhandled::Timer => {
                self.outbox.push(Effect::TimerCancel { name: name.into() });
                "timer"
            }
            Unhandled::Reply => "answer with the tag",
        };
        let family = name.split_once(':').map_or(name, |(family, _)| family);
        let said = format!("{noun} `{family}`");
        if self.unhandled.len() >= UNHANDLED_MAX || self.unhandled.contains(&said) {
            return;
        }
        let identity = &self.charter.identity;
        tracing::warn!(
            module = %identity.module,
            generation = identity.generation,
            "{} came, and the module has no handler of this name: it is dropped",
            Escaped(&said)
        );
        self.unhandled.push(said);
    }

    /// Remembers what a capability refused the running call, as far as it speaks of the module and not of its caller. What another module refused is its
    /// answer, not a mistake here.
    pub fn note(&mut self, function: HostFunction, error: &Error) {
        if function == HostFunction::ModulesCall || self.mistakes.len() >= MISTAKES_MAX {
            return;
        }
        let of_db = function.row().interface == Interface::Db;
        let advice = match error {
            Error::LimitExceeded(_) if of_db => shown(&self.statement),
            Error::InvalidArgument(_) | Error::LimitExceeded(_) => String::new(),
            Error::Denied if of_db && !self.charter.grants.databases.contains(&self.database) => {
                format!(
                    " (the database `{0}`: the grant \"db:{0}\" is missing in the module's manifest)",
                    self.database
                )
            }
            Error::Denied if of_db => {
                format!(
                    " (the database `{}`: modules may not do that there{})",
                    self.database,
                    shown(&self.statement)
                )
            }
            Error::NotFound if of_db => format!(
                " (the database `{0}`: the server's configuration has no [database.{0}])",
                self.database
            ),
            Error::NotFound
            | Error::AlreadyExists
            | Error::Denied
            | Error::Conflict
            | Error::Aborted
            | Error::Busy
            | Error::Closed
            | Error::Timeout
            | Error::WouldBlock
            | Error::Recursive
            | Error::Trapped
            | Error::Unavailable(_)
            | Error::Unsupported
            | Error::Failed(_)
            | Error::Other(_) => return,
        };
        self.mistakes.push(Refused {
            function,
            error: error.clone(),
            advice,
        });
    }

    /// Judges an error that the running call ends with and its caller would take for a mistake of his own: the module's mistake behind it, where it is one.
    /// Where a limit may be either's affair, the log says which call met it.
    #[must_use]
    pub fn judge(&self, export: &Export, error: &Error) -> Option<String> {
        let mistake = self.mistake(error);
        if mistake.is_none() {
            self.warn_of_limit(export, error);
        }
        mistake
    }

    /// The module's own mistake behind an error that it ends its call with, for the log: it passes on what a capability said of its arguments or its
    /// grants, and whoever called it would take that for his own.
    #[must_use]
    pub fn mistake(&self, error: &Error) -> Option<String> {
        // What the caller sent may be what was too large.
        if matches!(error, Error::LimitExceeded(_)) {
            return None;
        }
        let said = self.named(error)?;
        Some(format!("{said}; the module passed it on to its caller"))
    }

    /// Says in the log which call met a limit, where the module passes that on: its caller is told that what he sent was too large, or came too often.
    fn warn_of_limit(&self, export: &Export, error: &Error) {
        if let Error::LimitExceeded(_) = error
            && let Some(said) = self.named(error)
        {
            let identity = &self.charter.identity;
            tracing::warn!(
                module = %identity.module,
                generation = identity.generation,
                export = export.handler(),
                "{}; the module passed it on to its caller",
                Escaped(&said)
            );
        }
    }

    /// An error that a capability gave the running call, with the call's name in front; none for one that did not come from there.
    #[must_use]
    pub fn named(&self, error: &Error) -> Option<String> {
        let refused = self.mistakes.iter().find(|one| one.error == *error)?;
        let row = refused.function.row();
        Some(format!(
            "{}.{}: {error}{}",
            row.interface.name(),
            row.plain_name(),
            refused.advice
        ))
    }
}
