//! The frames inside a protected datagram, byte for byte (PROTOCOL.md 5). It decodes and encodes; what a frame does is the session's.

mod ack;
mod contents;
mod cursor;
mod frame;
mod op;

pub(crate) use ack::{Ack, PnRange, encode_ack};
pub(crate) use contents::Contents;
pub use frame::{CloseCode, FrameError};
pub(crate) use frame::{encode_close, encode_window};
pub use op::Mode;
pub(crate) use op::{OpFrame, OpKind};

#[cfg(test)]
mod vectors;

/// The first bytes of the frames; OP frames are `0b01……0` (`op.rs`).
pub(crate) mod frame_type {
    pub(crate) const PADDING: u8 = 0x00;
    pub(crate) const PING: u8 = 0x01;
    pub(crate) const ACK: u8 = 0x02;
    pub(crate) const CLOSE: u8 = 0x03;
    pub(crate) const WINDOW: u8 = 0x04;
    pub(crate) const PATH_CHALLENGE: u8 = 0x05;
    pub(crate) const PATH_RESPONSE: u8 = 0x06;
    pub(crate) const REKEY: u8 = 0x07;
    pub(crate) const REKEY_REQUEST: u8 = 0x08;
}
