//! A module's own no (details 0x010D and 0x020A, PROTOCOL.md 6.1): code and text are the module's, the server adds nothing.

use super::{Body, Malformed, reader::Reader};

/// The body of *refused*.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal<'a> {
    /// What the module counts its reasons by.
    pub code: u32,
    /// What the module says, as UTF-8; whatever length is left of the message.
    pub text: &'a str,
}

impl<'a> Body<'a> for Refusal<'a> {
    fn decode(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let code = reader.u32("code")?;
        let text = core::str::from_utf8(reader.into_rest()).map_err(|_| Malformed::Name("text"))?;
        Ok(Self { code, text })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.code.to_be_bytes());
        out.extend_from_slice(self.text.as_bytes());
    }
}
