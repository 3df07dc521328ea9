//! GET (PROTOCOL.md 6.2): reads one value. An absent key is BAD *not found*, so a response always has a value, which may be empty.

use super::{Body, Malformed, Name8, Scope, reader::Reader};

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// Where the key lives.
    pub scope: Scope<'a>,
    /// The key.
    pub key: Name8<'a>,
}

impl<'a> Body<'a> for Request<'a> {
    fn decode(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let scope = Scope::decode(&mut reader)?;
        let key = reader.name("key")?;
        reader.finish("key")?;
        Ok(Self { scope, key })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        self.scope.encode(out);
        self.key.encode(out);
    }
}

/// What is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Response<'a> {
    /// The number of the write that left the value, never used twice.
    pub version: u64,
    /// The value.
    pub value: &'a [u8],
}

impl<'a> Body<'a> for Response<'a> {
    fn decode(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        Ok(Self {
            version: reader.u64("version")?,
            value: reader.into_rest(),
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.version.to_be_bytes());
        out.extend_from_slice(self.value);
    }
}
