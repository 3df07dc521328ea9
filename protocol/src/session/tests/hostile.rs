//! Datagrams of nobody, and of a peer that means harm: no panic, no effect, no way back from a protocol error.

use proptest::prelude::*;

use super::*;
use crate::limits::SEND_QUEUE_HARD_MAX;
use crate::wire::{FrameError, PnRange, encode_ack};

fn ack(low: u64, high: u64) -> Vec<u8> {
    let mut out = Vec::new();
    encode_ack(&mut out, 0, [PnRange { low, high }], 100);
    out
}

#[test]
fn what_does_not_open_has_no_effect() {
    let (_, mut server) = pair();
    let good = sealed(9, Opcode::CONTROL, &[1]);
    let mut bent: Vec<(Vec<u8>, Dropped)> = Vec::new();
    for at in 48..good.len() {
        let mut datagram = good.clone();
        datagram[at] ^= 0x10;
        bent.push((datagram, Dropped::Forged));
    }
    for (at, dropped) in [
        (39, Dropped::Epoch),
        (47, Dropped::Forged),
        (5, Dropped::Forged),
    ] {
        let mut datagram = good.clone();
        datagram[at] ^= 1;
        bent.push((datagram, dropped));
    }
    let mut other = good.clone();
    other[39] ^= 4;
    bent.push((other, Dropped::Session));
    bent.push((good[..63].to_vec(), Dropped::Malformed));
    bent.push((sealed(9, Opcode::CONTROL, &[0; 1_137]), Dropped::Malformed));
    bent.push((sealed(1 << 62, Opcode::CONTROL, &[1]), Dropped::Malformed));
    bent.push((sealed(0, Opcode::CONTROL, &[1]), Dropped::Replayed));
    bent.push((sealed(1, Opcode::CONTROL, &[1]), Dropped::Replayed));
    for (mut datagram, dropped) in bent {
        assert_eq!(
            server.handle_datagram(at(1_000), &mut datagram),
            Err(dropped)
        );
    }
    assert!(transmit(&mut server, at(1_000)).is_empty());
    let heard = server.handle_datagram(at(1_000), &mut good.clone());
    assert_eq!(heard, Ok(()));
    let again = server.handle_datagram(at(1_000), &mut { good });
    assert_eq!(again, Err(Dropped::Replayed));
}

#[test]
fn protocol_errors_close_and_nothing_takes_effect() {
    let op = [0x40, 0, 0, 1, 0x23, 0, 0];
    let reliable = |id: u32| [&[0x60, 0, 0, 1, 0x23, 0, 0][..], &id.to_be_bytes()].concat();
    for (frames, opcode, error) in [
        ([&op[..], &[9]].concat(), 0x0123, FrameError::Unknown(9)),
        (
            [&op[..], &[8]].concat(),
            0x0123,
            FrameError::NotAnnounced(8),
        ),
        ([&op[..], &op[..3]].concat(), 0x0010, FrameError::Truncated),
        (
            op.to_vec(),
            0x0124,
            FrameError::HeaderOpcode {
                header: 0x0124,
                operations: 1,
            },
        ),
        ([&op[..], &ack(1, 2)].concat(), 0x0123, FrameError::Ack),
        (ack(1 << 50, 1 << 50), 0, FrameError::Ack),
        (vec![1, 1], 0, FrameError::Repeated(1)),
        (reliable(1_025), 0x0123, FrameError::MessageId(1_025)),
        (reliable(0), 0x0123, FrameError::MessageId(0)),
    ] {
        let (_, mut server) = pair();
        let mut datagram = sealed(5, Opcode(opcode), &frames);
        assert_eq!(
            server.handle_datagram(at(1_000), &mut datagram),
            Err(Dropped::Protocol(error))
        );
        let closed = SessionEvent::Closed {
            by_peer: false,
            code: CloseCode::PROTOCOL_ERROR,
            text: String::new(),
        };
        assert_eq!(events(&mut server), [closed], "{frames:?}");
        let sent = transmit(&mut server, at(1_000));
        assert_eq!(sent.len(), 1);
        assert_eq!(&sent[0][48..52], &[3, 0, 1, 0], "CLOSE and no ACK");
        let later = server.handle_datagram(at(1_000), &mut sealed(6, Opcode::CONTROL, &[1]));
        assert_eq!(later, Err(Dropped::Closed));
    }
}

#[test]
fn acknowledging_a_skipped_number_closes() {
    let (mut client, mut server) = pair();
    let mut before = server.numbers.peek();
    let mut skipped = None;
    for n in 0..1_100 {
        let now = at(1_000 + n);
        server
            .send(now, outgoing(Mode::Unreliable, 0, b"x"))
            .unwrap();
        deliver(&mut client, now, transmit(&mut server, now));
        deliver(&mut server, now, transmit(&mut client, now));
        if server.numbers.peek() == before + 2 {
            skipped = Some(before + 1);
        }
        before = server.numbers.peek();
    }
    let skipped = skipped.unwrap();
    let number = client.numbers.peek() + 10;
    let mut datagram = sealed(number, Opcode::CONTROL, &ack(skipped - 2, skipped + 2));
    assert_eq!(
        server.handle_datagram(at(3_000), &mut datagram),
        Err(Dropped::Protocol(FrameError::Ack))
    );
}

#[test]
fn more_than_the_credit_closes() {
    let (_, mut server) = pair();
    let mut result = Ok(());
    for id in 1..=1_000_u32 {
        let mut frames = vec![0x70, 0, 0, 1, 0x23, 0x03, 0xc0];
        frames.extend(id.to_be_bytes());
        frames.extend([0; 960]);
        let mut datagram = sealed(u64::from(id) + 1, Opcode(0x0123), &frames);
        result = server.handle_datagram(at(1_000), &mut datagram);
        if result.is_err() {
            assert_eq!(id, 257);
            break;
        }
    }
    assert_eq!(result, Err(Dropped::Protocol(FrameError::Credit)));
}

#[test]
fn asking_without_taking_answers_ends_at_the_bound() {
    let (_, mut server) = pair();
    let mut largest = 0;
    for n in 1..=20_000_u32 {
        let mut frames = Vec::new();
        for id in [n * 2 - 1, n * 2] {
            frames.extend([0x62, 0, 0, 1, 0x23, 0, 0]);
            frames.extend(id.to_be_bytes());
            frames.extend(id.to_be_bytes());
        }
        let mut datagram = sealed(u64::from(n) + 1, Opcode::BATCH, &frames);
        if server.handle_datagram(at(1_000), &mut datagram) == Err(Dropped::Closed) {
            break;
        }
        for event in events(&mut server) {
            if let SessionEvent::Message {
                request: Some(context),
                ..
            } = event
            {
                let body = vec![0; 1_100].into();
                let _ = server.respond(at(1_000), context, Outcome::Done, body);
            }
        }
        transmit(&mut server, at(1_000));
        largest = largest.max(server.queued_bytes());
    }
    assert!(server.is_closed());
    assert!(largest <= SEND_QUEUE_HARD_MAX);
}

proptest! {
    #[test]
    fn any_frames_of_a_peer_are_survived(
        datagrams in proptest::collection::vec(proptest::collection::vec(prop_oneof![0..9_u8, 0x40..0x80_u8, Just(0)], 0..60), 1..30),
    ) {
        let (_, mut server) = pair();
        server.send(at(1_000), outgoing(Mode::ReliableOrdered, 0, b"some")).unwrap();
        for (n, frames) in datagrams.iter().enumerate() {
            let now = at(1_001 + n as u64);
            let mut datagram = sealed(n as u64 + 2, Opcode::BATCH, frames);
            let _ = server.handle_datagram(now, &mut datagram);
            server.handle_timeout(now);
            events(&mut server);
            transmit(&mut server, now);
        }
    }

    #[test]
    fn any_bytes_are_survived(mut bytes in proptest::collection::vec(any::<u8>(), 0..1_300)) {
        let (_, mut server) = pair();
        prop_assert!(server.handle_datagram(at(1_000), &mut bytes).is_err());
        prop_assert_eq!(events(&mut server), []);
    }
}
