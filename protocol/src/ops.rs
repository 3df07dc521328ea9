//! The operations: what the bodies inside OP frames mean (PROTOCOL.md 6). It knows neither frames nor sessions, and runs nothing.
//!
//! Every body is read borrowed from the bytes that came, nothing is copied. A caller that holds them as [`Bytes`] takes an owned piece without
//! a copy by [`Bytes::slice_ref`].

use bytes::Bytes;

pub mod broadcast;
pub mod execute;
pub mod expression;
pub mod get;
mod malformed;
mod name8;
mod reader;
mod refusal;
mod scope;
pub mod set;
mod status;
pub mod stream;
mod tag;
pub mod tags;

pub use malformed::Malformed;
pub use name8::Name8;
pub use refusal::Refusal;
pub use scope::Scope;
pub use status::{Detail, Fault, Outcome, Repeat, Status};
pub use tag::{ListedTag, TAG_LEN_MAX, Tag};

/// A body of an operation, in one direction.
pub trait Body<'a>: Sized {
    /// Reads the whole of `body`.
    ///
    /// # Errors
    /// [`Malformed`] names the first thing that the form forbids; it is answered with [`Detail::MALFORMED_BODY`].
    fn decode(body: &'a [u8]) -> Result<Self, Malformed>;

    /// Appends the body to `out`.
    fn encode(&self, out: &mut Vec<u8>);

    /// The body by itself.
    fn to_bytes(&self) -> Bytes {
        let mut out = Vec::new();
        self.encode(&mut out);
        out.into()
    }
}
