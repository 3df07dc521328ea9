//! How an operation ended: status and detail (PROTOCOL.md 6.1), whose fault it is and whether it may be repeated. It decides nothing: the
//! engine maps outcomes to these, a client reads them.

use core::fmt;

/// The first byte of every response's outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Status {
    /// Done.
    Ok = 1,
    /// Not done, by the caller's fault.
    Bad = 4,
    /// Not done, or not known to be, by the server's fault.
    Err = 5,
}

impl Status {
    /// The status with this number; every other number is a protocol error.
    #[must_use]
    pub const fn from_u8(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Ok),
            4 => Some(Self::Bad),
            5 => Some(Self::Err),
            _ => None,
        }
    }
}

/// What exactly went wrong. Numbers that this version does not know are read by their status.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Detail(pub u16);

/// Whose fault a detail is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The caller's: status BAD.
    Caller,
    /// The server's: status ERR.
    Server,
}

impl Fault {
    /// The status that goes with it.
    #[must_use]
    pub const fn status(self) -> Status {
        match self {
            Self::Caller => Status::Bad,
            Self::Server => Status::Err,
        }
    }
}

/// What a caller does after a detail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Repeat {
    /// Not again: the same would be answered the same.
    Never,
    /// Again after a pause.
    AfterPause,
    /// It was not executed, so again after a pause; EXECUTE and the modules' opcodes only where a second execution does no harm, because a
    /// module that had begun may have passed the detail on.
    AfterPauseIfIdempotent,
    /// Nobody knows whether it was executed: again only where a second execution does no harm.
    IfIdempotent,
    /// The caller looks at the answer first.
    Decide,
    /// At another server.
    Elsewhere,
}

impl Detail {
    /// Nobody claims the opcode.
    pub const UNKNOWN_OPCODE: Self = Self(0x0101);
    /// Policy denies it.
    pub const NOT_ALLOWED: Self = Self(0x0102);
    /// More operations, bytes or recipients than the caller may have now.
    pub const RATE_LIMITED: Self = Self(0x0103);
    /// The request, its answer, or what it would store has no room.
    pub const TOO_LARGE: Self = Self(0x0104);
    /// The answer did not come in time.
    pub const TIMEOUT: Self = Self(0x0105);
    /// The module crashed, or ran out of its limits.
    pub const MODULE_FAILED: Self = Self(0x0106);
    /// No such key, module or action.
    pub const NOT_FOUND: Self = Self(0x0107);
    /// The server is going down.
    pub const DRAINING: Self = Self(0x0108);
    /// Another version is there than the one expected; for SET the body is a [`set::Conflict`](super::set::Conflict).
    pub const CONFLICT: Self = Self(0x0109);
    /// A bounded queue is full.
    pub const BUSY: Self = Self(0x010A);
    /// What would answer is not there now.
    pub const UNAVAILABLE: Self = Self(0x010B);
    /// The body is outside the operation's form.
    pub const MALFORMED_BODY: Self = Self(0x010C);
    /// The module's own no; the body is a [`Refusal`](super::Refusal).
    pub const REFUSED: Self = Self(0x010D);
    /// A token comes first.
    pub const TOKEN_REQUIRED: Self = Self(0x0201);
    /// The token does not hold.
    pub const TOKEN_INVALID: Self = Self(0x0202);
    /// The token's time is over.
    pub const TOKEN_EXPIRED: Self = Self(0x0203);
    /// The token was for one use.
    pub const TOKEN_USED: Self = Self(0x0204);
    /// The token belongs to another client's key.
    pub const TOKEN_BOUND_ELSEWHERE: Self = Self(0x0205);
    /// Client and server share no version.
    pub const NO_COMMON_VERSION: Self = Self(0x0207);
    /// The UUID in the header is not that of the key.
    pub const UUID_MISMATCH: Self = Self(0x0208);
    /// No room for another session.
    pub const FULL: Self = Self(0x0209);
    /// A module refused the client; the body is a [`Refusal`](super::Refusal).
    pub const ADMISSION_REFUSED: Self = Self(0x020A);

    /// Every detail of this version, with its name, whose fault it is, and what the caller does.
    pub const TABLE: &'static [(Self, &'static str, Fault, Repeat)] = &[
        (
            Self::UNKNOWN_OPCODE,
            "unknown opcode",
            Fault::Caller,
            Repeat::Never,
        ),
        (
            Self::NOT_ALLOWED,
            "not allowed",
            Fault::Caller,
            Repeat::Never,
        ),
        (
            Self::RATE_LIMITED,
            "rate limited",
            Fault::Caller,
            Repeat::AfterPause,
        ),
        (Self::TOO_LARGE, "too large", Fault::Caller, Repeat::Never),
        (
            Self::TIMEOUT,
            "timeout",
            Fault::Server,
            Repeat::IfIdempotent,
        ),
        (
            Self::MODULE_FAILED,
            "module failed",
            Fault::Server,
            Repeat::IfIdempotent,
        ),
        (Self::NOT_FOUND, "not found", Fault::Caller, Repeat::Never),
        (Self::DRAINING, "draining", Fault::Server, Repeat::Elsewhere),
        (Self::CONFLICT, "conflict", Fault::Caller, Repeat::Decide),
        (
            Self::BUSY,
            "busy",
            Fault::Server,
            Repeat::AfterPauseIfIdempotent,
        ),
        (
            Self::UNAVAILABLE,
            "unavailable",
            Fault::Server,
            Repeat::AfterPauseIfIdempotent,
        ),
        (
            Self::MALFORMED_BODY,
            "malformed body",
            Fault::Caller,
            Repeat::Never,
        ),
        (Self::REFUSED, "refused", Fault::Caller, Repeat::Decide),
        (
            Self::TOKEN_REQUIRED,
            "token required",
            Fault::Caller,
            Repeat::Never,
        ),
        (
            Self::TOKEN_INVALID,
            "token invalid",
            Fault::Caller,
            Repeat::Never,
        ),
        (
            Self::TOKEN_EXPIRED,
            "token expired",
            Fault::Caller,
            Repeat::Never,
        ),
        (
            Self::TOKEN_USED,
            "token already used",
            Fault::Caller,
            Repeat::Never,
        ),
        (
            Self::TOKEN_BOUND_ELSEWHERE,
            "token bound to another key",
            Fault::Caller,
            Repeat::Never,
        ),
        (
            Self::NO_COMMON_VERSION,
            "no common version",
            Fault::Caller,
            Repeat::Never,
        ),
        (
            Self::UUID_MISMATCH,
            "UUID is not that of the key",
            Fault::Caller,
            Repeat::Never,
        ),
        (Self::FULL, "full", Fault::Caller, Repeat::AfterPause),
        (
            Self::ADMISSION_REFUSED,
            "refused by a module",
            Fault::Caller,
            Repeat::Decide,
        ),
    ];

    fn row(self) -> Option<&'static (Self, &'static str, Fault, Repeat)> {
        Self::TABLE.iter().find(|row| row.0 == self)
    }

    /// The name in the table; none for a number that this version does not know.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        self.row().map(|row| row.1)
    }

    /// Whose fault it is; none for an unknown number, where the status tells.
    #[must_use]
    pub fn fault(self) -> Option<Fault> {
        self.row().map(|row| row.2)
    }

    /// What the caller does; none for an unknown number, where the status tells.
    #[must_use]
    pub fn repeat(self) -> Option<Repeat> {
        self.row().map(|row| row.3)
    }
}

impl fmt::Display for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{name} (0x{:04x})", self.0),
            None => write!(f, "detail 0x{:04x}", self.0),
        }
    }
}

impl fmt::Debug for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How an operation ended. A failure's status and detail may be a pair that this version's table does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Status OK.
    Done,
    /// Status BAD: the caller's fault.
    Bad(Detail),
    /// Status ERR: the server's fault.
    Err(Detail),
}

impl Outcome {
    /// The outcome of a detail of the table; ERR for one that is not in it.
    #[must_use]
    pub fn of(detail: Detail) -> Self {
        match detail.fault() {
            Some(Fault::Caller) => Self::Bad(detail),
            Some(Fault::Server) | None => Self::Err(detail),
        }
    }

    /// The outcome of what a response carried.
    #[must_use]
    pub const fn from_parts(status: Status, detail: Detail) -> Self {
        match status {
            Status::Ok => Self::Done,
            Status::Bad => Self::Bad(detail),
            Status::Err => Self::Err(detail),
        }
    }

    /// The status on the wire.
    #[must_use]
    pub const fn status(self) -> Status {
        match self {
            Self::Done => Status::Ok,
            Self::Bad(_) => Status::Bad,
            Self::Err(_) => Status::Err,
        }
    }

    /// The detail on the wire; 0 when it is done.
    #[must_use]
    pub const fn detail(self) -> Detail {
        match self {
            Self::Done => Detail(0),
            Self::Bad(detail) | Self::Err(detail) => detail,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_come_back_and_others_are_none() {
        for number in 0..=255 {
            match Status::from_u8(number) {
                Some(status) => assert_eq!(status as u8, number),
                None => assert!(![1, 4, 5].contains(&number)),
            }
        }
    }

    #[test]
    fn the_table_has_each_detail_once() {
        for (n, row) in Detail::TABLE.iter().enumerate() {
            assert!(
                Detail::TABLE[..n]
                    .iter()
                    .all(|other| other.0 != row.0 && other.1 != row.1)
            );
            assert_eq!(Outcome::of(row.0).status(), row.2.status());
        }
    }

    #[test]
    fn an_unknown_detail_has_no_name_and_keeps_its_status() {
        let detail = Detail(0x0fff);
        assert_eq!(
            (detail.name(), detail.fault(), detail.repeat()),
            (None, None, None)
        );
        assert_eq!(
            Outcome::from_parts(Status::Bad, detail).status(),
            Status::Bad
        );
        assert_eq!(detail.to_string(), "detail 0x0fff");
        assert_eq!(Detail::BUSY.to_string(), "busy (0x010a)");
    }
}
