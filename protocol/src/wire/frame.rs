//! One frame at a time: which there are, what each looks like, and what makes one unreadable (PROTOCOL.md 5). What a datagram as a whole may
//! hold is in `contents.rs`.

use core::fmt;

use thiserror::Error;

use super::ack::Ack;
use super::cursor::Reader;
use super::frame_type;
use super::op::OpFrame;
use crate::limits::CLOSE_TEXT_LEN_MAX;

/// A decoded frame.
///
/// PATH_CHALLENGE, PATH_RESPONSE, REKEY and REKEY_REQUEST will stand here when a handshake can announce them; until then
/// [`FrameError::NotAnnounced`] meets them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    Padding,
    Ping,
    Ack(Ack<'a>),
    Close { code: CloseCode, text: &'a str },
    Window { total: u64 },
    Op(OpFrame<'a>),
}

impl<'a> Frame<'a> {
    /// Reads the next frame.
    #[inline]
    pub(crate) fn decode(reader: &mut Reader<'a>) -> Result<Self, FrameError> {
        let first = reader.u8().ok_or(FrameError::Truncated)?;
        if first & OpFrame::TYPE_MASK == OpFrame::TYPE {
            return OpFrame::decode(first, reader).map(Self::Op);
        }
        match first {
            frame_type::PADDING => Ok(Self::Padding),
            frame_type::PING => Ok(Self::Ping),
            frame_type::ACK => Ack::decode(reader).map(Self::Ack),
            frame_type::CLOSE => {
                let code = reader.u16().ok_or(FrameError::Truncated)?;
                let len = usize::from(reader.u8().ok_or(FrameError::Truncated)?);
                if len > CLOSE_TEXT_LEN_MAX {
                    return Err(FrameError::CloseText);
                }
                let text = reader.bytes(len).ok_or(FrameError::Truncated)?;
                let text = core::str::from_utf8(text).map_err(|_| FrameError::CloseText)?;
                Ok(Self::Close {
                    code: CloseCode(code),
                    text,
                })
            }
            frame_type::WINDOW => {
                let total = reader.u64().ok_or(FrameError::Truncated)?;
                Ok(Self::Window { total })
            }
            frame_type::PATH_CHALLENGE
            | frame_type::PATH_RESPONSE
            | frame_type::REKEY
            | frame_type::REKEY_REQUEST => Err(FrameError::NotAnnounced(first)),
            unknown => Err(FrameError::Unknown(unknown)),
        }
    }
}

/// Appends a WINDOW.
pub(crate) fn encode_window(out: &mut Vec<u8>, total: u64) {
    out.push(frame_type::WINDOW);
    out.extend_from_slice(&total.to_be_bytes());
}

/// Appends a CLOSE; text beyond 64 bytes is left out, at the end of a character.
pub(crate) fn encode_close(out: &mut Vec<u8>, code: CloseCode, text: &str) {
    let text = &text[..text.floor_char_boundary(CLOSE_TEXT_LEN_MAX)];
    out.push(frame_type::CLOSE);
    out.extend_from_slice(&code.0.to_be_bytes());
    out.push(text.len() as u8);
    out.extend_from_slice(text.as_bytes());
}

/// Why a session ended. Codes that this version does not know are kept as they came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// One side is done.
    pub const NORMAL: Self = Self(0);
    /// The peer said what it must not say.
    pub const PROTOCOL_ERROR: Self = Self(1);
    /// A newer session of the same client took over.
    pub const SUPERSEDED: Self = Self(2);
    /// The server ends.
    pub const SHUTTING_DOWN: Self = Self(3);
    /// The server wants this client gone.
    pub const KICKED: Self = Self(4);
    /// The sender failed, or the peer does not take what it is sent.
    pub const INTERNAL: Self = Self(5);
    /// Nothing was heard for too long; local, never sent.
    pub const IDLE: Self = Self(6);
    /// Admission was refused.
    pub const REFUSED: Self = Self(7);
    /// The key has protected as many datagrams as it may.
    pub const KEY_USED_UP: Self = Self(8);
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match *self {
            Self::NORMAL => "normal",
            Self::PROTOCOL_ERROR => "protocol error",
            Self::SUPERSEDED => "superseded",
            Self::SHUTTING_DOWN => "shutting down",
            Self::KICKED => "kicked",
            Self::INTERNAL => "internal",
            Self::IDLE => "idle",
            Self::REFUSED => "refused",
            Self::KEY_USED_UP => "key used up",
            Self(code) => return write!(f, "close code {code}"),
        };
        f.write_str(name)
    }
}

/// What a peer did wrong inside a datagram that authenticated: a protocol error, which closes the session with code 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    /// A frame reaches beyond the end of the datagram.
    #[error("a frame is cut short")]
    Truncated,
    /// A type byte that no frame has.
    #[error("unknown frame {0:#04x}")]
    Unknown(u8),
    /// A frame, or a fragment, that neither side announced.
    #[error("frame {0:#04x} was not announced")]
    NotAnnounced(u8),
    /// A frame that may stand in a datagram once stands there twice.
    #[error("frame {0:#04x} stands twice in one datagram")]
    Repeated(u8),
    /// Runs or gaps that cannot be, or an acknowledgement of what was never sent.
    #[error("impossible ACK")]
    Ack,
    /// The text of a CLOSE is longer than 64 bytes or not UTF-8.
    #[error("malformed CLOSE text")]
    CloseText,
    /// A response that is also a request, or either of them in the sequenced mode.
    #[error("an operation cannot be of type {0:#04x}")]
    OpType(u8),
    /// A channel above 31.
    #[error("channel {0} does not exist")]
    Channel(u8),
    /// An id that a reliable message cannot have: 0, 2^32−1, or one beyond the window of 1,024.
    #[error("message id {0} is outside its window")]
    MessageId(u32),
    /// A status other than 1, 4 and 5.
    #[error("status {0} does not exist")]
    Status(u8),
    /// A body longer than one frame may hold.
    #[error("a body of {0} bytes in one frame")]
    BodyLength(u16),
    /// The clear header names something other than the operations inside.
    #[error("header opcode {header:#06x} over {operations} operations")]
    HeaderOpcode {
        /// The opcode in the clear header.
        header: u16,
        /// How many operations the datagram holds.
        operations: u16,
    },
    /// More bytes of reliable messages than the credit covers.
    #[error("the credit is exceeded")]
    Credit,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one(bytes: &[u8]) -> Result<Frame<'_>, FrameError> {
        let mut reader = Reader::new(bytes);
        let frame = Frame::decode(&mut reader)?;
        assert!(reader.is_empty());
        Ok(frame)
    }

    #[test]
    fn unannounced_and_unknown_frames_are_told_apart() {
        for first in 0..=u8::MAX {
            let error = Frame::decode(&mut Reader::new(&[first])).err();
            let expected = match first {
                0 | 1 => None,
                2..=4 => Some(FrameError::Truncated),
                5..=8 => Some(FrameError::NotAnnounced(first)),
                0x40..=0x7f if first & 1 == 0 => {
                    assert!(error.is_some());
                    continue;
                }
                _ => Some(FrameError::Unknown(first)),
            };
            assert_eq!(error, expected, "{first:#04x}");
        }
    }

    #[test]
    fn long_close_text_is_cut_at_a_character() {
        let mut out = Vec::new();
        encode_close(
            &mut out,
            CloseCode::KICKED,
            &"é".repeat(40).replace("éé", "éaé"),
        );
        let Ok(Frame::Close { code, text }) = one(&out) else {
            panic!("{out:?}")
        };
        assert_eq!(code, CloseCode::KICKED);
        assert!(text.len() <= 64 && text.len() >= 63);
    }

    #[test]
    fn close_text_is_bounded_and_utf8() {
        let mut long = vec![3, 0, 0, 65];
        long.extend([b'a'; 65]);
        assert_eq!(one(&long), Err(FrameError::CloseText));
        assert_eq!(one(&[3, 0, 0, 1, 0xff]), Err(FrameError::CloseText));
        assert_eq!(one(&[3, 0, 0, 2, b'a']), Err(FrameError::Truncated));
    }

    proptest! {
        #[test]
        fn close_and_window_come_back(code: u16, text in "[a-zé]{0,20}", total: u64) {
            let mut out = Vec::new();
            encode_close(&mut out, CloseCode(code), &text);
            prop_assert_eq!(one(&out), Ok(Frame::Close { code: CloseCode(code), text: &text }));
            out.clear();
            encode_window(&mut out, total);
            prop_assert_eq!(one(&out), Ok(Frame::Window { total }));
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut reader = Reader::new(&bytes);
            while Frame::decode(&mut reader).is_ok() {}
        }
    }
}
