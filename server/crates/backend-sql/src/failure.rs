//! What SQLite and sqlx say when something fails, in the contract's words. It decides nothing about trying again; `connection` does.

use cohnect_capabilities::Error;
use libsqlite3_sys as ffi;

use crate::authorizer::Fault;
use crate::gate::{Gate, Refused};

/// A statement that did not end well.
#[derive(Debug, PartialEq)]
pub(crate) enum Failure {
    /// Somebody else holds the file's lock; nothing happened, and it may be free in a moment.
    Busy,
    /// The connection is of no further use.
    Broken(Error),
    /// There is no room: on the disk, in the file as it is bounded, or for temporary files. SQLite says it of all of them in the same words.
    Full,
    /// The statement's own fault, or the file's; the connection is as good as before.
    Answer(Error),
}

impl Failure {
    /// The failure with this extended result code.
    pub(crate) fn of_code(code: i32, message: &str, gate: &Gate) -> Self {
        // A refusal inside a function or a nested statement reaches us under other codes than SQLITE_AUTH, so the gate is asked first.
        if let Some(refused) = gate.refused() {
            return Self::Answer(of_refusal(refused));
        }
        // The low byte is the primary code.
        match code & 0xff {
            ffi::SQLITE_BUSY if code == ffi::SQLITE_BUSY_SNAPSHOT => Self::Answer(Error::Aborted),
            ffi::SQLITE_BUSY => Self::Busy,
            ffi::SQLITE_LOCKED | ffi::SQLITE_SCHEMA | ffi::SQLITE_ABORT => {
                Self::Answer(Error::Aborted)
            }
            ffi::SQLITE_INTERRUPT => Self::Answer(Error::Timeout),
            ffi::SQLITE_AUTH => Self::Answer(Error::Denied),
            ffi::SQLITE_CONSTRAINT => Self::Answer(of_constraint(code, message)),
            ffi::SQLITE_TOOBIG => Self::Answer(Error::other("54000", message)),
            ffi::SQLITE_MISMATCH => Self::Answer(Error::other("42804", message)),
            ffi::SQLITE_RANGE => Self::Answer(Error::other("22003", message)),
            ffi::SQLITE_ERROR => Self::Answer(Error::other("42000", message)),
            ffi::SQLITE_FULL => Self::Full,
            ffi::SQLITE_READONLY | ffi::SQLITE_NOMEM => {
                Self::Answer(Error::unavailable(format!("the database: {message}")))
            }
            ffi::SQLITE_IOERR
            | ffi::SQLITE_CORRUPT
            | ffi::SQLITE_CANTOPEN
            | ffi::SQLITE_PROTOCOL
            | ffi::SQLITE_NOTADB => {
                Self::Broken(Error::unavailable(format!("the database: {message}")))
            }
            // Codes that say "a bug in the caller" or that SQLite does not use today.
            _ => Self::Answer(Error::other(
                "XX000",
                format!("{message} (SQLite code {code})"),
            )),
        }
    }

    /// The failure that a call into SQLite met.
    pub(crate) fn of_fault(fault: &Fault, gate: &Gate) -> Self {
        Self::of_code(fault.code, &fault.message, gate)
    }

    /// The failure that sqlx met.
    pub(crate) fn of_sqlx(error: &sqlx::Error, gate: &Gate) -> Self {
        if let sqlx::Error::Database(error) = error
            && let Some(code) = error.code().and_then(|code| code.parse().ok())
        {
            return Self::of_code(code, error.message(), gate);
        }
        // The thread that owned the connection is gone, or never came to be.
        Self::Broken(Error::unavailable(format!("the database: {error}")))
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Busy => Self::Timeout,
            Failure::Full => Self::unavailable("the database: database or disk is full"),
            Failure::Broken(error) | Failure::Answer(error) => error,
        }
    }
}

fn of_refusal(refused: Refused) -> Error {
    match refused {
        Refused::Transaction => Error::invalid(
            "BEGIN, COMMIT, ROLLBACK and SAVEPOINT are no statements of a module: use `begin`, and `commit` or `rollback` of the transaction",
        ),
        Refused::Door(_) => Error::Denied,
    }
}

fn of_constraint(code: i32, message: &str) -> Error {
    match code {
        ffi::SQLITE_CONSTRAINT_UNIQUE
        | ffi::SQLITE_CONSTRAINT_PRIMARYKEY
        | ffi::SQLITE_CONSTRAINT_ROWID => Error::AlreadyExists,
        ffi::SQLITE_CONSTRAINT_NOTNULL => Error::other("23502", message),
        ffi::SQLITE_CONSTRAINT_FOREIGNKEY => Error::other("23503", message),
        ffi::SQLITE_CONSTRAINT_CHECK => Error::other("23514", message),
        ffi::SQLITE_CONSTRAINT_DATATYPE => Error::other("42804", message),
        // RAISE(ABORT, 'text') in a trigger.
        ffi::SQLITE_CONSTRAINT_TRIGGER => Error::other("P0001", message),
        _ => Error::other("23000", message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_its_answer() {
        let gate = Gate::default();
        let cases = [
            (2067, Failure::Answer(Error::AlreadyExists)),
            (1555, Failure::Answer(Error::AlreadyExists)),
            (1299, Failure::Answer(Error::other("23502", "m"))),
            (787, Failure::Answer(Error::other("23503", "m"))),
            (275, Failure::Answer(Error::other("23514", "m"))),
            (19, Failure::Answer(Error::other("23000", "m"))),
            (5, Failure::Busy),
            (261, Failure::Busy),
            (517, Failure::Answer(Error::Aborted)),
            (6, Failure::Answer(Error::Aborted)),
            (9, Failure::Answer(Error::Timeout)),
            (23, Failure::Answer(Error::Denied)),
            (1, Failure::Answer(Error::other("42000", "m"))),
            (18, Failure::Answer(Error::other("54000", "m"))),
            (13, Failure::Full),
            (7, Failure::Answer(Error::unavailable("the database: m"))),
            (266, Failure::Broken(Error::unavailable("the database: m"))),
            (26, Failure::Broken(Error::unavailable("the database: m"))),
            (
                21,
                Failure::Answer(Error::other("XX000", "m (SQLite code 21)")),
            ),
        ];
        for (code, expected) in cases {
            assert_eq!(Failure::of_code(code, "m", &gate), expected, "{code}");
        }
    }
}
