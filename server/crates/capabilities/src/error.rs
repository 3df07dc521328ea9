//! The one error of the contract (`variant error` of `types.wit`): what every capability returns, and what a module returns to its caller. It owns no
//! translation to the wire; the engine does that in one place.

/// What every call of the contract that can fail returns.
pub type Result<T> = core::result::Result<T, Error>;

/// A module's own refusal, for its caller to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failure {
    /// The module's code; 0 for no particular one.
    pub code: u32,
    /// The only text that ever leaves the server.
    pub message: String,
}

/// What later versions need to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Detail {
    /// Stable and kebab-case; for SQL the SQLSTATE.
    pub code: String,
    /// For the log.
    pub message: String,
}

/// Which limit was met, and by how much.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitInfo {
    /// The limit's name, with its unit where it has one: `value-bytes`.
    pub what: String,
    /// What the limit allows.
    pub allowed: u64,
    /// What was asked for.
    pub requested: u64,
}

/// `variant error` of the contract, case by case.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is none.
    #[error("not found")]
    NotFound,
    /// A unique key is taken, a name is in use.
    #[error("already exists")]
    AlreadyExists,
    /// Not allowed.
    #[error("denied")]
    Denied,
    /// The argument's form is wrong; the text says how.
    #[error("invalid argument: {0}")]
    InvalidArgument(String),
    /// A limit was met.
    #[error("limit exceeded: {} allows {}, asked for {}", .0.what, .0.allowed, .0.requested)]
    LimitExceeded(LimitInfo),
    /// The version you expected is not the one that is there.
    #[error("conflict")]
    Conflict,
    /// Nothing happened, and the whole of it may be tried again.
    #[error("aborted")]
    Aborted,
    /// A bounded queue is full; nothing was queued.
    #[error("busy")]
    Busy,
    /// The other side is gone.
    #[error("closed")]
    Closed,
    /// The time for it ended.
    #[error("timeout")]
    Timeout,
    /// A waiting capability was called where waiting is not allowed.
    #[error("would block")]
    WouldBlock,
    /// The callee is already on this chain of calls, or waits for the caller.
    #[error("recursive")]
    Recursive,
    /// The callee's code crashed, or ran out of time or memory.
    #[error("trapped")]
    Trapped,
    /// Not there now; the text says what.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// Not in this version, or not on this backend.
    #[error("unsupported")]
    Unsupported,
    /// A module refused, in its own words.
    #[error("refused with code {}: {}", .0.code, .0.message)]
    Failed(Failure),
    /// Anything else.
    #[error("{}: {}", .0.code, .0.message)]
    Other(Detail),
}

impl Error {
    /// An argument of the wrong form; say what was found and what would be right.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::InvalidArgument(message.into())
    }

    /// A limit that was met.
    pub fn limit(what: impl Into<String>, allowed: u64, requested: u64) -> Self {
        Self::LimitExceeded(LimitInfo {
            what: what.into(),
            allowed,
            requested,
        })
    }

    /// Something that is not there now.
    pub fn unavailable(what: impl Into<String>) -> Self {
        Self::Unavailable(what.into())
    }

    /// An error that the contract has no case for; `code` is stable.
    pub fn other(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Other(Detail {
            code: code.into(),
            message: message.into(),
        })
    }
}
