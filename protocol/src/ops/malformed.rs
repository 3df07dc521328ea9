//! What can be wrong with a body. It names the place and the fault, never the bytes: those are the peer's.

/// A body outside its form (detail 0x010C, PROTOCOL.md 6.2). The fault is the sender's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The body ends before the field does.
    #[error("the body ends inside {0}")]
    Truncated(&'static str),
    /// Bytes follow the last field of a fixed form.
    #[error("bytes are left over after {0}")]
    LeftOver(&'static str),
    /// A name of length 0, above 255 bytes, or not UTF-8.
    #[error("{0} is not a name of 1 to 255 bytes of UTF-8")]
    Name(&'static str),
    /// A text outside the grammar of tags.
    #[error("{0} is not a tag: 1 to 64 of A-Z a-z 0-9 _ . : / -")]
    Tag(&'static str),
    /// A number that stands for nothing.
    #[error("{0} has a value without a meaning")]
    Choice(&'static str),
    /// A bit that must be zero.
    #[error("{0} has a reserved bit set")]
    ReservedBit(&'static str),
    /// More entries than the form has room for.
    #[error("{0} has too many entries")]
    TooMany(&'static str),
    /// An expression outside the grammar or one of its limits.
    #[error("the tag expression is malformed: {0}")]
    Expression(&'static str),
    /// A status and a detail that do not belong together.
    #[error("{0} has a status and a detail that do not belong together")]
    Outcome(&'static str),
}
