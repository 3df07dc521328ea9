//! What can go wrong with an operation, and what a caller does about it, by the table of detail codes (PROTOCOL.md 6.1).

use core::fmt;

use bytes::Bytes;
use cohnect_protocol::ops::{Body, Detail, Malformed, Outcome, Refusal, Repeat, Status, set};

/// Why an operation has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The server answered BAD or ERR.
    #[error(transparent)]
    Answer(#[from] Failure),
    /// There is no session now. Nothing was sent.
    #[error("not connected")]
    NotConnected,
    /// Too much is waiting to be sent or answered. Nothing was sent.
    #[error("too much is waiting for the server")]
    Busy,
    /// The request is longer than one message may be. Nothing was sent.
    #[error("the request is longer than the server takes")]
    TooLarge,
    /// An argument is outside its form. Nothing was sent.
    #[error("{0}")]
    Argument(Malformed),
    /// No answer came in time. Whether it was executed is unknown.
    #[error("no answer in time")]
    NoAnswer,
    /// The session ended before the answer came. Whether it was executed is unknown.
    #[error("the session ended before the answer came")]
    Disconnected,
    /// The answer is outside its form: the server's fault.
    #[error("the server's answer is malformed: {0}")]
    MalformedAnswer(Malformed),
}

impl Error {
    /// The answer's detail, when the server gave one.
    #[must_use]
    pub const fn detail(&self) -> Option<Detail> {
        match self {
            Self::Answer(failure) => Some(failure.detail()),
            Self::NotConnected
            | Self::Busy
            | Self::TooLarge
            | Self::Argument(_)
            | Self::NoAnswer
            | Self::Disconnected
            | Self::MalformedAnswer(_) => None,
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn repeat(&self) -> Repeat {
        match self {
            Self::Answer(failure) => failure.repeat(),
            Self::NotConnected | Self::Busy => Repeat::AfterPause,
            Self::TooLarge | Self::Argument(_) => Repeat::Never,
            Self::NoAnswer | Self::Disconnected | Self::MalformedAnswer(_) => Repeat::IfIdempotent,
        }
    }
}

/// An answer of BAD or ERR.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// BAD is the caller's fault, ERR the server's; and what exactly.
    pub outcome: Outcome,
    /// What came with it.
    pub reason: Reason,
}

/// What an answer of BAD or ERR says beside its detail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Nothing.
    None,
    /// A guarded SET met this version; 0 when nothing was there.
    Conflict {
        /// The version.
        version: u64,
    },
    /// A module said no, in its own words.
    Refused {
        /// What the module counts its reasons by.
        code: u32,
        /// Its words.
        text: String,
    },
    /// A module's text.
    Text(String),
    /// Bytes that are none of these.
    Bytes(Bytes),
}

impl Failure {
    pub(crate) fn new(outcome: Outcome, body: &Bytes) -> Self {
        Self {
            outcome,
            reason: Reason::of(outcome.detail(), body),
        }
    }

    /// What exactly.
    #[must_use]
    pub const fn detail(&self) -> Detail {
        self.outcome.detail()
    }

    /// What to do about it; for a detail that this version does not know, the careful reading of its status.
    #[must_use]
    pub fn repeat(&self) -> Repeat {
        let by_status = match self.outcome.status() {
            Status::Ok | Status::Bad => Repeat::Never,
            Status::Err => Repeat::IfIdempotent,
        };
        self.detail().repeat().unwrap_or(by_status)
    }

    /// The module's words, if there are any.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.reason {
            Reason::Refused { text, .. } | Reason::Text(text) => Some(text),
            Reason::None | Reason::Conflict { .. } | Reason::Bytes(_) => None,
        }
    }
}

impl Reason {
    fn of(detail: Detail, body: &Bytes) -> Self {
        if body.is_empty() {
            return Self::None;
        }
        if detail == Detail::REFUSED || detail == Detail::ADMISSION_REFUSED {
            if let Ok(Refusal { code, text }) = Refusal::decode(body) {
                let text = text.to_owned();
                return Self::Refused { code, text };
            }
        } else if detail == Detail::CONFLICT {
            if let Ok(set::Conflict { version }) = set::Conflict::decode(body) {
                return Self::Conflict { version };
            }
        } else if let Ok(text) = core::str::from_utf8(body) {
            return Self::Text(text.to_owned());
        }
        Self::Bytes(body.clone())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = match self.outcome.status() {
            Status::Ok => "OK",
            Status::Bad => "BAD",
            Status::Err => "ERR",
        };
        write!(f, "{status} {}", self.detail())?;
        match &self.reason {
            Reason::None | Reason::Bytes(_) => Ok(()),
            Reason::Conflict { version } => write!(f, ": version {version} is there"),
            Reason::Refused { code, text } => write!(f, ": {code} {text}"),
            Reason::Text(text) => write!(f, ": {text}"),
        }
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(detail: Detail, body: &'static [u8]) -> Failure {
        Failure::new(Outcome::of(detail), &Bytes::from_static(body))
    }

    #[test]
    fn bodies_are_read_by_their_detail() {
        let refused = failure(Detail::REFUSED, b"\0\0\0\x07not your turn");
        assert_eq!(refused.to_string(), "BAD refused (0x010d): 7 not your turn");
        let conflict = failure(Detail::CONFLICT, b"\0\0\0\0\0\0\0\x09");
        assert_eq!(conflict.reason, Reason::Conflict { version: 9 });
        assert_eq!(failure(Detail::CONFLICT, b"").reason, Reason::None);
        assert_eq!(
            failure(Detail::CONFLICT, b"?").reason,
            Reason::Bytes(Bytes::from_static(b"?"))
        );
        assert_eq!(failure(Detail::UNAVAILABLE, b"later").text(), Some("later"));
    }

    #[test]
    fn an_unknown_detail_is_read_by_its_status() {
        let unknown = |outcome| Failure::new(outcome, &Bytes::new()).repeat();
        assert_eq!(unknown(Outcome::Bad(Detail(0x0fff))), Repeat::Never);
        assert_eq!(unknown(Outcome::Err(Detail(0x0fff))), Repeat::IfIdempotent);
    }
}
