//! OP: the frame that carries a message, a request or a response (PROTOCOL.md 5). What its body means is in `ops`.

use super::cursor::Reader;
use super::frame::FrameError;
use crate::limits::{BODY_LEN_MAX, CHANNELS};
use crate::ops::{Detail, Outcome, Status};

/// How a message travels; order and "newest wins" hold within one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Mode {
    /// Once or not at all, in any order.
    Unreliable,
    /// Once or not at all; what is older than the newest that arrived is dropped.
    UnreliableSequenced,
    /// Exactly once, in any order.
    ReliableUnordered,
    /// Exactly once, in the order it was sent.
    #[default]
    ReliableOrdered,
}

impl Mode {
    /// Whether messages of this mode are repeated until they are acknowledged.
    #[must_use]
    pub const fn is_reliable(self) -> bool {
        matches!(self, Self::ReliableUnordered | Self::ReliableOrdered)
    }

    const fn from_bits(bits: u8) -> Self {
        match bits & 0b11 {
            0 => Self::Unreliable,
            1 => Self::UnreliableSequenced,
            2 => Self::ReliableUnordered,
            _ => Self::ReliableOrdered,
        }
    }

    const fn bits(self) -> u8 {
        self as u8
    }
}

/// What kind of message a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OpKind {
    Message,
    Request { id: u32 },
    Response { id: u32, outcome: Outcome },
}

/// An OP frame. `message_id` is 0 in unreliable ones, which have none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OpFrame<'a> {
    pub(crate) mode: Mode,
    pub(crate) channel: u8,
    pub(crate) version: u8,
    pub(crate) opcode: u16,
    pub(crate) message_id: u32,
    pub(crate) kind: OpKind,
    pub(crate) body: &'a [u8],
}

/// Bits of the type byte, `0b01 mm r f q 0`.
const RESPONSE: u8 = 0b1000;
const FRAGMENT: u8 = 0b0100;
const WANTS_RESPONSE: u8 = 0b0010;
const MODE_SHIFT: u8 = 4;

impl<'a> OpFrame<'a> {
    /// The bits of a first byte that tell an OP frame, and what they must be.
    pub(crate) const TYPE_MASK: u8 = 0b1100_0001;
    pub(crate) const TYPE: u8 = 0b0100_0000;

    /// Reads what follows the type byte `first`, which is one of an OP frame.
    #[inline]
    pub(crate) fn decode(first: u8, reader: &mut Reader<'a>) -> Result<Self, FrameError> {
        if first & FRAGMENT != 0 {
            return Err(FrameError::NotAnnounced(first));
        }
        let mode = Mode::from_bits(first >> MODE_SHIFT);
        let (response, wants) = (first & RESPONSE != 0, first & WANTS_RESPONSE != 0);
        if (response && wants) || ((response || wants) && mode == Mode::UnreliableSequenced) {
            return Err(FrameError::OpType(first));
        }
        let [channel, version, o1, o2, l1, l2] = reader.array().ok_or(FrameError::Truncated)?;
        if channel >= CHANNELS {
            return Err(FrameError::Channel(channel));
        }
        let len = u16::from_be_bytes([l1, l2]);
        if usize::from(len) > BODY_LEN_MAX {
            return Err(FrameError::BodyLength(len));
        }
        let message_id = if mode == Mode::Unreliable {
            0
        } else {
            reader.u32().ok_or(FrameError::Truncated)?
        };
        if mode.is_reliable() && (message_id == 0 || message_id == u32::MAX) {
            return Err(FrameError::MessageId(message_id));
        }
        let kind = if wants {
            let id = reader.u32().ok_or(FrameError::Truncated)?;
            OpKind::Request { id }
        } else if response {
            Self::decode_response(reader)?
        } else {
            OpKind::Message
        };
        let body = reader
            .bytes(usize::from(len))
            .ok_or(FrameError::Truncated)?;
        Ok(Self {
            mode,
            channel,
            version,
            opcode: u16::from_be_bytes([o1, o2]),
            message_id,
            kind,
            body,
        })
    }

    fn decode_response(reader: &mut Reader<'a>) -> Result<OpKind, FrameError> {
        let id = reader.u32().ok_or(FrameError::Truncated)?;
        let status = reader.u8().ok_or(FrameError::Truncated)?;
        let status = Status::from_u8(status).ok_or(FrameError::Status(status))?;
        let detail = if status == Status::Ok {
            0
        } else {
            reader.u16().ok_or(FrameError::Truncated)?
        };
        let outcome = Outcome::from_parts(status, Detail(detail));
        Ok(OpKind::Response { id, outcome })
    }

    /// Bytes that [`Self::encode`] appends.
    #[inline]
    pub(crate) const fn encoded_len(&self) -> usize {
        let id = if matches!(self.mode, Mode::Unreliable) {
            0
        } else {
            4
        };
        let kind = match self.kind {
            OpKind::Message => 0,
            OpKind::Request { .. } => 4,
            OpKind::Response {
                outcome: Outcome::Done,
                ..
            } => 5,
            OpKind::Response { .. } => 7,
        };
        7 + id + kind + self.body.len()
    }

    /// Appends the frame. Its body is at most [`BODY_LEN_MAX`] long.
    #[inline]
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        debug_assert!(self.body.len() <= BODY_LEN_MAX);
        let flags = match self.kind {
            OpKind::Message => 0,
            OpKind::Request { .. } => WANTS_RESPONSE,
            OpKind::Response { .. } => RESPONSE,
        };
        let [o1, o2] = self.opcode.to_be_bytes();
        let [l1, l2] = (self.body.len() as u16).to_be_bytes();
        let first = Self::TYPE | (self.mode.bits() << MODE_SHIFT) | flags;
        out.extend_from_slice(&[first, self.channel, self.version, o1, o2, l1, l2]);
        if self.mode != Mode::Unreliable {
            out.extend_from_slice(&self.message_id.to_be_bytes());
        }
        match self.kind {
            OpKind::Message => {}
            OpKind::Request { id } => out.extend_from_slice(&id.to_be_bytes()),
            OpKind::Response { id, outcome } => {
                out.extend_from_slice(&id.to_be_bytes());
                out.push(outcome.status() as u8);
                if outcome != Outcome::Done {
                    out.extend_from_slice(&outcome.detail().0.to_be_bytes());
                }
            }
        }
        out.extend_from_slice(self.body);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::frame::Frame;

    fn decode(bytes: &[u8]) -> Result<Frame<'_>, FrameError> {
        Frame::decode(&mut Reader::new(bytes))
    }

    #[test]
    fn impossible_types_are_refused() {
        for first in [0x4a, 0x5a, 0x6a, 0x7a, 0x52, 0x58] {
            let mut bytes = [0; 40];
            bytes[0] = first;
            assert_eq!(
                decode(&bytes),
                Err(FrameError::OpType(first)),
                "{first:#04x}"
            );
        }
        for first in [0x44, 0x46, 0x64, 0x74, 0x4c] {
            assert_eq!(
                decode(&[first; 40]),
                Err(FrameError::NotAnnounced(first)),
                "{first:#04x}"
            );
        }
    }

    #[test]
    fn fields_out_of_range_are_refused() {
        for (bytes, error) in [
            (&[0x40, 32, 0, 1, 0, 0, 0][..], FrameError::Channel(32)),
            (
                &[0x40, 0, 0, 1, 0, 0x04, 0x4d],
                FrameError::BodyLength(1_101),
            ),
            (
                &[0x60, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0],
                FrameError::MessageId(0),
            ),
            (
                &[0x70, 0, 0, 1, 0, 0, 0, 255, 255, 255, 255],
                FrameError::MessageId(u32::MAX),
            ),
            (
                &[0x48, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 2],
                FrameError::Status(2),
            ),
            (&[0x40, 0, 0, 1, 0, 0, 1], FrameError::Truncated),
        ] {
            assert_eq!(decode(bytes), Err(error), "{bytes:?}");
        }
    }

    fn kinds() -> impl Strategy<Value = OpKind> {
        let outcome = prop_oneof![
            Just(Outcome::Done),
            any::<u16>().prop_map(|detail| Outcome::Bad(Detail(detail))),
            any::<u16>().prop_map(|detail| Outcome::Err(Detail(detail))),
        ];
        prop_oneof![
            Just(OpKind::Message),
            any::<u32>().prop_map(|id| OpKind::Request { id }),
            (any::<u32>(), outcome).prop_map(|(id, outcome)| OpKind::Response { id, outcome }),
        ]
    }

    proptest! {
        #[test]
        fn frames_come_back_and_their_prefixes_do_not(
            mode in 0..4_u8, channel in 0..32_u8, version: u8, opcode: u16, message_id in 1..u32::MAX,
            kind in kinds(), body in proptest::collection::vec(any::<u8>(), 0..1_100),
        ) {
            let mode = Mode::from_bits(mode);
            let kind = if mode == Mode::UnreliableSequenced { OpKind::Message } else { kind };
            let message_id = if mode == Mode::Unreliable { 0 } else { message_id };
            let op = OpFrame { mode, channel, version, opcode, message_id, kind, body: &body };
            let mut out = Vec::new();
            op.encode(&mut out);
            prop_assert_eq!(out.len(), op.encoded_len());
            let mut reader = Reader::new(&out);
            prop_assert_eq!(Frame::decode(&mut reader), Ok(Frame::Op(op)));
            prop_assert!(reader.is_empty());
            for len in 1..out.len().min(40) {
                prop_assert_eq!(decode(&out[..len]), Err(FrameError::Truncated));
            }
        }
    }
}
