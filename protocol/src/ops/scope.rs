//! The scopes of state that GET and SET name (PROTOCOL.md 6.2). Who may read or write which is not its business.

use super::{Malformed, Name8, reader::Reader};

/// Where a key lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope<'a> {
    /// One for the whole server.
    Shared,
    /// The sender's own: its user's, or without a token the client's.
    Mine,
    /// One that modules or the operator named.
    Named(Name8<'a>),
}

impl<'a> Scope<'a> {
    pub(super) fn decode(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        match reader.u8("scope")? {
            0 => Ok(Self::Shared),
            1 => Ok(Self::Mine),
            2 => reader.name("scope's name").map(Self::Named),
            _ => Err(Malformed::Choice("scope")),
        }
    }

    pub(super) fn encode(self, out: &mut Vec<u8>) {
        match self {
            Self::Shared => out.push(0),
            Self::Mine => out.push(1),
            Self::Named(name) => {
                out.push(2);
                name.encode(out);
            }
        }
    }
}
