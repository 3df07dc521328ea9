//! One datagram while it is being written: what fits, and what it must say of itself. It knows no queue and no key.

use crate::Opcode;
use crate::header::{ASSOCIATED_LEN, HEADER_LEN};
use crate::limits::FRAMES_LEN_MAX;
use crate::wire::{OpFrame, frame_type};

/// The frames at the end of a buffer, behind the clear fields of their datagram.
#[derive(Debug)]
pub(super) struct Packing<'a> {
    out: &'a mut Vec<u8>,
    /// Where the datagram starts.
    start: usize,
    /// Its packet number.
    number: u64,
    operations: u32,
    first_opcode: Opcode,
    eliciting: bool,
}

impl<'a> Packing<'a> {
    /// Starts a datagram behind what `out` holds. `clear` is its clear header with flags; the packet number follows.
    pub(super) fn new(out: &'a mut Vec<u8>, clear: &[u8; HEADER_LEN + 1], number: u64) -> Self {
        let start = out.len();
        out.reserve(crate::DATAGRAM_LEN_MAX);
        out.extend_from_slice(clear);
        out.extend_from_slice(&number.to_be_bytes());
        Self {
            out,
            start,
            number,
            operations: 0,
            first_opcode: Opcode::CONTROL,
            eliciting: false,
        }
    }

    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    /// Bytes of frames that still fit.
    pub(super) fn room(&self) -> usize {
        FRAMES_LEN_MAX.saturating_sub(self.frames_len())
    }

    pub(super) const fn has_operations(&self) -> bool {
        self.operations > 0
    }

    pub(super) const fn is_eliciting(&self) -> bool {
        self.eliciting
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames_len() == 0
    }

    /// Appends an operation if it fits.
    #[inline]
    pub(super) fn operation(&mut self, op: &OpFrame<'_>) -> bool {
        if op.encoded_len() > self.room() {
            return false;
        }
        op.encode(self.out);
        if self.operations == 0 {
            self.first_opcode = Opcode(op.opcode);
        }
        self.operations += 1;
        self.eliciting = true;
        true
    }

    /// Appends another frame that wants an acknowledgement, which `len` bytes hold, if it fits.
    pub(super) fn eliciting(&mut self, len: usize, encode: impl FnOnce(&mut Vec<u8>)) -> bool {
        let fits = len <= self.room();
        if fits {
            encode(self.out);
            self.eliciting = true;
        }
        fits
    }

    /// Where a frame that wants no acknowledgement is appended; the caller keeps to [`Self::room`].
    pub(super) const fn out(&mut self) -> &mut Vec<u8> {
        self.out
    }

    /// Pads the datagram, tag included, to `len` bytes.
    pub(super) fn pad(&mut self, len: usize) {
        let end = self.start + len - crate::TAG_LEN;
        if self.out.len() < end {
            self.out.resize(end, frame_type::PADDING);
        }
    }

    /// Takes back what was written.
    pub(super) fn discard(self) {
        self.out.truncate(self.start);
    }

    /// Names the content in the clear header; then the datagram is ready to be sealed by `seal`, which gets the clear bytes and the frames.
    pub(super) fn seal(
        self,
        seal: impl FnOnce(u64, &[u8], &mut [u8]) -> [u8; crate::TAG_LEN],
    ) -> usize {
        let opcode = match self.operations {
            0 => Opcode::CONTROL,
            // A clear header with a handshake's opcode is dropped by whoever gets it: the answer to such an operation travels under BATCH.
            1 if !self.first_opcode.is_handshake() => self.first_opcode,
            _ => Opcode::BATCH,
        };
        let datagram = &mut self.out[self.start..];
        datagram[HEADER_LEN - 2..HEADER_LEN].copy_from_slice(&opcode.0.to_be_bytes());
        let (clear, frames) = datagram.split_at_mut(ASSOCIATED_LEN);
        let tag = seal(self.number, clear, frames);
        self.out.extend_from_slice(&tag);
        self.out.len() - self.start
    }

    fn frames_len(&self) -> usize {
        self.out.len() - self.start - ASSOCIATED_LEN
    }
}
