//! The types that every interface shares (`types.wit`), as plain Rust values.

use std::sync::Arc;

use bytes::Bytes;

/// An operation code of the wire; the modules' own begin at 0x0100.
pub type Opcode = u16;
/// Bytes whose meaning is between a module and its callers.
pub type Payload = Bytes;
/// Microseconds since the Unix epoch, UTC.
pub type TimestampUs = u64;
/// Microseconds.
pub type DurationUs = u64;

/// A client's 128-bit id: the hash of its key, as the wire carries it.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId {
    /// The first eight bytes, big-endian.
    pub hi: u64,
    /// The last eight bytes, big-endian.
    pub lo: u64,
}

/// One running server.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId {
    /// The first eight bytes, big-endian.
    pub hi: u64,
    /// The last eight bytes, big-endian.
    pub lo: u64,
}

macro_rules! uuid_text {
    ($name:ident) => {
        impl $name {
            /// The id with these sixteen bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                let value = u128::from_be_bytes(bytes);
                Self {
                    hi: (value >> 64) as u64,
                    lo: value as u64,
                }
            }

            /// Its sixteen bytes.
            #[must_use]
            pub const fn to_bytes(self) -> [u8; 16] {
                (((self.hi as u128) << 64) | self.lo as u128).to_be_bytes()
            }

            /// Its hyphenated lower-case text, 36 bytes of ASCII.
            #[must_use]
            pub fn text(self) -> [u8; 36] {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                let mut text = [b'-'; 36];
                let mut at = 0;
                for (n, byte) in self.to_bytes().into_iter().enumerate() {
                    if matches!(n, 4 | 6 | 8 | 10) {
                        at += 1;
                    }
                    text[at] = HEX[usize::from(byte >> 4)];
                    text[at + 1] = HEX[usize::from(byte & 0x0f)];
                    at += 2;
                }
                text
            }

            /// The id with this text; none unless it is the hyphenated form (either case).
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                let mut bytes = [0; 16];
                let mut digits = 0_usize;
                for (at, c) in text.bytes().enumerate() {
                    if matches!(at, 8 | 13 | 18 | 23) {
                        if c != b'-' {
                            return None;
                        }
                        continue;
                    }
                    let digit = char::from(c).to_digit(16)? as u8;
                    let byte = bytes.get_mut(digits / 2)?;
                    *byte = (*byte << 4) | digit;
                    digits += 1;
                }
                (digits == 32).then_some(Self::from_bytes(bytes))
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                for byte in self.text() {
                    core::fmt::Write::write_char(f, char::from(byte))?;
                }
                Ok(())
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                core::fmt::Display::fmt(self, f)
            }
        }
    };
}

uuid_text!(ClientId);
uuid_text!(InstanceId);

/// What the network owes a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Delivery {
    /// Once, in order within its channel.
    #[default]
    ReliableOrdered,
    /// Once, in any order.
    ReliableUnordered,
    /// At most once; the newest wins within its channel.
    UnreliableSequenced,
    /// At most once.
    Unreliable,
}

/// A value of configuration, flags, labels and log fields.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    /// True or false.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// A number.
    Number(f64),
    /// Text.
    Text(String),
    /// Bytes.
    Blob(Bytes),
}

/// A name and a value.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Its name.
    pub key: String,
    /// Its value.
    pub value: Scalar,
}

/// A client as a module meets it. `user` and `tags` are filled only where `describe` asked for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Client {
    /// Who it is.
    pub id: ClientId,
    /// The verified subject of its token.
    pub user: Option<Arc<str>>,
    /// Its tags, those it gave itself with a `~` before them, sorted.
    pub tags: Arc<[Arc<str>]>,
}

/// The parts of [`Client`] that an export wants filled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ClientParts {
    /// The user.
    pub user: bool,
    /// The tags.
    pub tags: bool,
}

/// Who called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A client.
    Client(Client),
    /// Another module, by its full address.
    Module(Arc<str>),
    /// The operator, by name.
    Operator(Arc<str>),
    /// The host itself; what for.
    System(Arc<str>),
}

/// Who is meant, wherever clients are sent to, listed or counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audience {
    /// All of them.
    Everyone,
    /// One.
    Client(ClientId),
    /// These.
    Clients(Vec<ClientId>),
    /// Every client signed in as this user.
    User(String),
    /// Every client signed in as one of these users.
    Users(Vec<String>),
    /// A tag expression.
    Tagged(String),
    /// Whoever has this topic open.
    Topic(String),
    /// Whoever has any of these open, each once.
    Topics(Vec<String>),
    /// The members of the calling instance.
    Members,
    /// The members of another instance.
    MembersOf(String),
}

/// Where a value of GET and SET lives, as a module says it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Every module, and clients as policy allows.
    Shared,
    /// Every copy of the calling module.
    Module,
    /// The calling keyed instance; the same as `Module` where there are no keys.
    Room,
    /// The client's `mine`.
    Client(ClientId),
    /// By name.
    Named(String),
}

/// Why a client is, or was, gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// It left by itself.
    #[default]
    Left,
    /// A module or the operator sent it away.
    Kicked,
    /// And does not want it back.
    Banned,
    /// A newer session of the same client took over.
    Replaced,
    /// Nothing was heard of it.
    TimedOut,
    /// It broke the protocol.
    ProtocolError,
    /// There is no room.
    ServerFull,
    /// The server ends.
    ShuttingDown,
    /// Anything else.
    Other,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_its_text() {
        let id = ClientId {
            hi: 0xc44b_be47_9bdd_83c8,
            lo: 0xa994_6b3e_0a1c_e92a,
        };
        assert_eq!(id.to_string(), "c44bbe47-9bdd-83c8-a994-6b3e0a1ce92a");
        assert_eq!(ClientId::parse(&id.to_string()), Some(id));
        assert_eq!(ClientId::from_bytes(id.to_bytes()), id);
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for text in [
            "",
            "c44bbe47",
            "c44bbe479bdd83c8a9946b3e0a1ce92a",
            "c44bbe47-9bdd-83c8-a994-6b3e0a1ce92",
            "c44bbe47-9bdd-83c8-a994-6b3e0a1ce92az",
            "é44bbe47-9bdd-83c8-a994-6b3e0a1ce92a",
        ] {
            assert_eq!(ClientId::parse(text), None, "{text}");
        }
    }
}
