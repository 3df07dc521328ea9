//! A cursor over a body: takes fields off the front, total for any bytes. It knows fixed-width integers and names, no operation.

use super::{Malformed, Name8};

/// What is left of a body.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) const fn new(body: &'a [u8]) -> Self {
        Self { rest: body }
    }

    pub(super) fn array<const N: usize>(
        &mut self,
        field: &'static str,
    ) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self
            .rest
            .split_first_chunk()
            .ok_or(Malformed::Truncated(field))?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self, field: &'static str) -> Result<u8, Malformed> {
        self.array(field).map(u8::from_be_bytes)
    }

    pub(super) fn u16(&mut self, field: &'static str) -> Result<u16, Malformed> {
        self.array(field).map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self, field: &'static str) -> Result<u32, Malformed> {
        self.array(field).map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self, field: &'static str) -> Result<u64, Malformed> {
        self.array(field).map(u64::from_be_bytes)
    }

    pub(super) fn bytes(&mut self, len: usize, field: &'static str) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or(Malformed::Truncated(field))?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn name(&mut self, field: &'static str) -> Result<Name8<'a>, Malformed> {
        let len = self.u8(field)?;
        let bytes = self.bytes(usize::from(len), field)?;
        core::str::from_utf8(bytes)
            .ok()
            .and_then(Name8::new)
            .ok_or(Malformed::Name(field))
    }

    /// The variable part at the end of a form.
    pub(super) const fn into_rest(self) -> &'a [u8] {
        self.rest
    }

    /// The end of a fixed form, whose last field was `field`.
    pub(super) const fn finish(self, field: &'static str) -> Result<(), Malformed> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(Malformed::LeftOver(field))
        }
    }
}
