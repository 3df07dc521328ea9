//! The golden frames of `protocol/vectors/frames.json`, which a second implementation computed: each is decoded and encoded again. A failure
//! means that the wire changed.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::contents::Contents;
use super::cursor::Reader;
use super::frame::{CloseCode, Frame, FrameError, encode_close, encode_window};
use super::op::{Mode, OpFrame, OpKind};
use super::{PnRange, encode_ack, frame_type};
use crate::Opcode;
use crate::ops::{Detail, Outcome};

#[derive(Deserialize)]
struct Vectors {
    frames: BTreeMap<String, String>,
    not_announced: BTreeMap<String, String>,
    contents: BTreeMap<String, Whole>,
}

#[derive(Deserialize)]
struct Whole {
    opcode: String,
    frames: String,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("../../vectors/frames.json")).unwrap()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks_exact(2);
    digits
        .map(|pair| u8::from_str_radix(core::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// An operation of opcode 0x0123, command version 1, on channel 2.
const fn custom(mode: Mode, channel: u8, message_id: u32) -> OpFrame<'static> {
    OpFrame {
        mode,
        channel,
        version: 1,
        opcode: 0x0123,
        message_id,
        kind: OpKind::Message,
        body: b"x",
    }
}

/// An EXECUTE on channel 0.
const fn execute(
    mode: Mode,
    message_id: u32,
    kind: OpKind,
    body: &'static [u8],
) -> OpFrame<'static> {
    OpFrame {
        mode,
        channel: 0,
        version: 0,
        opcode: Opcode::EXECUTE.0,
        message_id,
        kind,
        body,
    }
}

fn operations() -> Vec<(&'static str, OpFrame<'static>)> {
    let response = |id, outcome| OpKind::Response { id, outcome };
    vec![
        ("op_unreliable", {
            let mut op = custom(Mode::Unreliable, 0x1f, 0);
            op.version = 2;
            op
        }),
        ("op_sequenced", {
            let mut op = custom(Mode::UnreliableSequenced, 1, 5);
            op.version = 2;
            op
        }),
        (
            "op_reliable_request",
            execute(
                Mode::ReliableUnordered,
                1,
                OpKind::Request { id: 1 },
                b"\x05hello\x05greetbob",
            ),
        ),
        (
            "op_reliable_ok",
            execute(
                Mode::ReliableUnordered,
                1,
                response(1, Outcome::Done),
                b"hi",
            ),
        ),
        (
            "op_ordered_bad",
            execute(
                Mode::ReliableOrdered,
                2,
                response(7, Outcome::Bad(Detail::NOT_FOUND)),
                b"",
            ),
        ),
        (
            "op_unreliable_response",
            execute(
                Mode::Unreliable,
                0,
                response(7, Outcome::Err(Detail::TIMEOUT)),
                b"",
            ),
        ),
    ]
}

#[test]
fn golden_operations_come_out_the_same() {
    let vectors = vectors();
    let operations = operations();
    for (name, op) in &operations {
        let golden = bytes(&vectors.frames[*name]);
        let mut reader = Reader::new(&golden);
        assert_eq!(Frame::decode(&mut reader), Ok(Frame::Op(*op)), "{name}");
        assert!(reader.is_empty(), "{name}");
        let mut out = Vec::new();
        op.encode(&mut out);
        assert_eq!(out, golden, "{name}");
    }
    let golden = vectors
        .frames
        .keys()
        .filter(|name| name.starts_with("op_"))
        .count();
    assert_eq!(golden, operations.len());
}

#[test]
fn golden_control_frames_come_out_the_same() {
    let vectors = vectors();
    let golden = |name: &str| bytes(&vectors.frames[name]);
    let ranges = [(10, 12), (5, 7)].map(|(low, high)| PnRange { low, high });

    let mut out = Vec::new();
    encode_ack(&mut out, 2, ranges, 100);
    assert_eq!(out, golden("ack_12_11_10_7_6_5_64us"));
    let contents = Contents::parse(&out, Opcode::CONTROL).unwrap();
    let ack = contents.ack.unwrap();
    assert_eq!((ack.largest, ack.delay), (12, 2));
    assert!(ack.ranges().eq(ranges));

    out.clear();
    encode_close(&mut out, CloseCode::SUPERSEDED, "superseded");
    assert_eq!(out, golden("close_2_superseded"));
    let contents = Contents::parse(&out, Opcode::CONTROL).unwrap();
    assert_eq!(contents.close, Some((CloseCode::SUPERSEDED, "superseded")));

    out.clear();
    encode_window(&mut out, 0x50000);
    assert_eq!(out, golden("window"));
    let contents = Contents::parse(&out, Opcode::CONTROL).unwrap();
    assert_eq!(contents.window, Some(0x50000));

    assert_eq!(golden("ping"), [frame_type::PING]);
    assert!(
        Contents::parse(&golden("ping"), Opcode::CONTROL)
            .unwrap()
            .ping
    );
    assert_eq!(golden("padding3"), [frame_type::PADDING; 3]);
    assert!(Contents::parse(&golden("padding3"), Opcode::CONTROL).is_ok());
    let control = vectors
        .frames
        .keys()
        .filter(|name| !name.starts_with("op_"))
        .count();
    assert_eq!(control, 5);
}

#[test]
fn frames_of_later_versions_are_known_and_refused() {
    for (name, hex) in vectors().not_announced {
        let golden = bytes(&hex);
        assert_eq!(
            Frame::decode(&mut Reader::new(&golden)),
            Err(FrameError::NotAnnounced(golden[0])),
            "{name}"
        );
    }
}

#[test]
fn a_frame_that_was_cut_anywhere_is_no_frame() {
    let vectors = vectors();
    let all = vectors.frames.iter().chain(&vectors.not_announced);
    for (name, hex) in all.filter(|(name, _)| *name != "padding3") {
        let golden = bytes(hex);
        for len in 1..golden.len() {
            let error = Frame::decode(&mut Reader::new(&golden[..len])).unwrap_err();
            let expected = match golden[0] {
                // What was not announced is refused by its first byte, whatever follows.
                5..=8 | 0x66 => FrameError::NotAnnounced(golden[0]),
                _ => FrameError::Truncated,
            };
            assert_eq!(error, expected, "{name} after {len} bytes");
            for opcode in [Opcode::CONTROL, Opcode::BATCH] {
                assert!(Contents::parse(&golden[..len], opcode).is_err(), "{name}");
            }
        }
    }
}

#[test]
fn golden_datagram_contents_are_read() {
    let vectors = vectors();
    let whole = |name: &str| {
        let whole = &vectors.contents[name];
        let opcode = Opcode(u16::from_str_radix(&whole.opcode, 16).unwrap());
        (bytes(&whole.frames), opcode)
    };
    let (frames, opcode) = whole("client_to_server");
    let contents = Contents::parse(&frames, opcode).unwrap();
    let ops: Vec<_> = contents.ops().collect();
    assert_eq!(ops.len(), 1);
    assert_eq!(ops[0].mode, Mode::ReliableOrdered);
    assert_eq!(
        (ops[0].opcode, ops[0].kind, ops[0].body),
        (Opcode::GET.0, OpKind::Request { id: 1 }, &b"\x00\x01k"[..])
    );

    let (frames, opcode) = whole("server_to_client");
    let contents = Contents::parse(&frames, opcode).unwrap();
    assert!(contents.ack.is_some());
    let ops: Vec<_> = contents.ops().collect();
    let outcome = Outcome::Bad(Detail::NOT_FOUND);
    assert_eq!(ops[0].kind, OpKind::Response { id: 1, outcome });
}
