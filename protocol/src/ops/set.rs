//! SET (PROTOCOL.md 6.2): writes or deletes one value, guarded by a version where the caller wants it.

use super::{Body, Malformed, Name8, Scope, reader::Reader};

const GUARDED: u8 = 1;
const DELETE: u8 = 2;

/// What a client wants written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// Where the key lives.
    pub scope: Scope<'a>,
    /// The key.
    pub key: Name8<'a>,
    /// The version that must be there, 0 for none at all; without it whatever is there is replaced.
    pub expected: Option<u64>,
    /// The new value; none deletes. An empty value is a value.
    pub value: Option<&'a [u8]>,
}

impl<'a> Body<'a> for Request<'a> {
    fn decode(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let scope = Scope::decode(&mut reader)?;
        let key = reader.name("key")?;
        let flags = reader.u8("flags")?;
        if flags & !(GUARDED | DELETE) != 0 {
            return Err(Malformed::ReservedBit("flags"));
        }
        let expected = if flags & GUARDED != 0 {
            Some(reader.u64("expected")?)
        } else {
            None
        };
        let value = if flags & DELETE != 0 {
            reader.finish("a delete")?;
            None
        } else {
            Some(reader.into_rest())
        };
        Ok(Self {
            scope,
            key,
            expected,
            value,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        self.scope.encode(out);
        self.key.encode(out);
        let guarded = if self.expected.is_some() { GUARDED } else { 0 };
        let delete = if self.value.is_none() { DELETE } else { 0 };
        out.push(guarded | delete);
        if let Some(expected) = self.expected {
            out.extend_from_slice(&expected.to_be_bytes());
        }
        out.extend_from_slice(self.value.unwrap_or_default());
    }
}

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Response {
    /// The value's new version; 0 after a delete, whether or not there was anything to delete.
    pub version: u64,
}

impl Body<'_> for Response {
    fn decode(body: &[u8]) -> Result<Self, Malformed> {
        decode_version(body).map(|version| Self { version })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.version.to_be_bytes());
    }
}

/// The body of *conflict*: what the guard met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The version that is there now; 0 when nothing is.
    pub version: u64,
}

impl Body<'_> for Conflict {
    fn decode(body: &[u8]) -> Result<Self, Malformed> {
        decode_version(body).map(|version| Self { version })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.version.to_be_bytes());
    }
}

fn decode_version(body: &[u8]) -> Result<u64, Malformed> {
    let mut reader = Reader::new(body);
    let version = reader.u64("version")?;
    reader.finish("version")?;
    Ok(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delete_with_a_value_is_malformed() {
        assert_eq!(
            Request::decode(b"\x00\x01k\x02v"),
            Err(Malformed::LeftOver("a delete"))
        );
    }

    #[test]
    fn reserved_flags_and_unknown_scopes_are_malformed() {
        assert_eq!(
            Request::decode(b"\x00\x01k\x04"),
            Err(Malformed::ReservedBit("flags"))
        );
        assert_eq!(
            Request::decode(b"\x03\x01k\x00"),
            Err(Malformed::Choice("scope"))
        );
    }

    #[test]
    fn an_empty_value_is_a_value() {
        let request = Request::decode(b"\x00\x01k\x00").unwrap();
        assert_eq!(request.value, Some(&b""[..]));
    }
}
