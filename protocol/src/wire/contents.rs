//! All frames of one datagram, parsed whole before anything of it takes effect (PROTOCOL.md 4, 5). It applies nothing.

use super::ack::Ack;
use super::cursor::Reader;
use super::frame::{CloseCode, Frame, FrameError};
use super::frame_type;
use super::op::OpFrame;
use crate::header::Opcode;

/// What a datagram says, every frame of it known to be readable.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Contents<'a> {
    pub(crate) ack: Option<Ack<'a>>,
    pub(crate) close: Option<(CloseCode, &'a str)>,
    pub(crate) window: Option<u64>,
    pub(crate) ping: bool,
    operations: u16,
    /// The frames from the first operation on; decoded a second time when they are applied, which is cheaper than a list of them.
    rest: Reader<'a>,
}

impl<'a> Contents<'a> {
    /// Parses all `frames` of a datagram whose clear header carries `header`.
    pub(crate) fn parse(frames: &'a [u8], header: Opcode) -> Result<Self, FrameError> {
        let mut contents = Self {
            ack: None,
            close: None,
            window: None,
            ping: false,
            operations: 0,
            rest: Reader::new(&[]),
        };
        let mut reader = Reader::new(frames);
        let mut first_opcode = Opcode::CONTROL;
        while !reader.is_empty() {
            let before = reader;
            match Frame::decode(&mut reader)? {
                Frame::Padding => {}
                Frame::Ping => {
                    once(&contents.ping.then_some(()), frame_type::PING)?;
                    contents.ping = true;
                }
                Frame::Ack(ack) => {
                    once(&contents.ack, frame_type::ACK)?;
                    contents.ack = Some(ack);
                }
                Frame::Close { code, text } => {
                    once(&contents.close, frame_type::CLOSE)?;
                    contents.close = Some((code, text));
                }
                Frame::Window { total } => {
                    once(&contents.window, frame_type::WINDOW)?;
                    contents.window = Some(total);
                }
                Frame::Op(op) => {
                    if contents.operations == 0 {
                        contents.rest = before;
                        first_opcode = Opcode(op.opcode);
                    }
                    contents.operations += 1;
                }
            }
        }
        let named = header == Opcode::BATCH
            || match contents.operations {
                0 => header == Opcode::CONTROL,
                1 => header == first_opcode,
                _ => false,
            };
        if named {
            Ok(contents)
        } else {
            Err(FrameError::HeaderOpcode {
                header: header.0,
                operations: contents.operations,
            })
        }
    }

    /// Whether the datagram wants an acknowledgement.
    pub(crate) const fn is_eliciting(&self) -> bool {
        self.operations > 0 || self.ping || self.window.is_some()
    }

    /// Whether there is an operation in it.
    pub(crate) const fn has_operations(&self) -> bool {
        self.operations > 0
    }

    /// The operations, in the order in which they stand.
    pub(crate) fn ops(&self) -> impl Iterator<Item = OpFrame<'a>> + use<'a> {
        let mut reader = self.rest;
        let mut left = self.operations;
        core::iter::from_fn(move || {
            while left > 0 {
                if let Frame::Op(op) = Frame::decode(&mut reader).ok()? {
                    left -= 1;
                    return Some(op);
                }
            }
            None
        })
    }
}

fn once<T>(there: &Option<T>, frame: u8) -> Result<(), FrameError> {
    match there {
        None => Ok(()),
        Some(_) => Err(FrameError::Repeated(frame)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::{PnRange, encode_ack, encode_close, encode_window};

    #[test]
    fn the_header_must_name_what_is_inside() {
        let op = [0x40, 0, 0, 1, 0x23, 0, 0];
        let two = [op, op].concat();
        for (frames, header, good) in [
            (&[][..], 0x0000, true),
            (&[], 0x0010, true),
            (&[], 0x0123, false),
            (&[1, 0, 0], 0x0000, true),
            (&op, 0x0123, true),
            (&op, 0x0010, true),
            (&op, 0x0000, false),
            (&op, 0x0124, false),
            (&two, 0x0010, true),
            (&two, 0x0123, false),
            (&two, 0x0000, false),
        ] {
            let parsed = Contents::parse(frames, Opcode(header));
            assert_eq!(parsed.is_ok(), good, "{frames:?} under {header:#06x}");
        }
    }

    #[test]
    fn frames_that_stand_twice_are_refused() {
        let mut ack = Vec::new();
        encode_ack(&mut ack, 0, [PnRange { low: 1, high: 1 }], 100);
        let mut window = Vec::new();
        encode_window(&mut window, 7);
        let mut close = Vec::new();
        encode_close(&mut close, CloseCode::NORMAL, "");
        for frame in [vec![frame_type::PING], ack, window, close] {
            assert!(Contents::parse(&frame, Opcode::CONTROL).is_ok());
            let twice = [&frame[..], &[0], &frame[..]].concat();
            assert_eq!(
                Contents::parse(&twice, Opcode::CONTROL).err(),
                Some(FrameError::Repeated(frame[0]))
            );
        }
    }

    #[test]
    fn operations_come_in_order_whatever_stands_between() {
        let mut frames = vec![1, 0];
        for n in 0..16 {
            frames.extend([0x40, 0, 0, 1, n, 0, 1, n]);
            if n == 7 {
                encode_window(&mut frames, 9);
            }
        }
        frames.extend([0; 5]);
        let contents = Contents::parse(&frames, Opcode::BATCH).unwrap();
        assert_eq!(contents.operations, 16);
        let bodies: Vec<u8> = contents.ops().map(|op| op.body[0]).collect();
        assert_eq!(bodies, (0..16).collect::<Vec<u8>>());
        assert!(contents.is_eliciting() && contents.window == Some(9));
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_without_panic(bytes in proptest::collection::vec(0..0x80_u8, 0..300), header: u16) {
            for header in [header, 0x0010] {
                if let Ok(contents) = Contents::parse(&bytes, Opcode(header)) {
                    prop_assert_eq!(contents.ops().count(), usize::from(contents.operations));
                }
            }
        }
    }
}
