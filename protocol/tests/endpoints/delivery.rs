//! What is sent arrives as its mode promises, whatever the network does.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use cohnect_protocol::ops::Outcome;
use cohnect_protocol::{
    ClientEvent, Mode, Now, Opcode, Outgoing, RequestId, SendError, ServerEvent, SessionEvent,
};

use crate::network::Conditions;
use crate::world::World;

const MODES: [Mode; 4] = [
    Mode::Unreliable,
    Mode::UnreliableSequenced,
    Mode::ReliableUnordered,
    Mode::ReliableOrdered,
];

/// A message that says where it belongs: its channel and its number in its space.
fn message(mode: Mode, channel: u8, number: u32) -> Outgoing {
    let mut body = vec![b'.'; 4 + (number as usize * 37) % 900];
    body[..4].copy_from_slice(&number.to_be_bytes());
    Outgoing {
        opcode: Opcode(0x0100),
        version: 3,
        channel,
        mode,
        body: body.into(),
    }
}

#[derive(Default)]
struct Heard(BTreeMap<(u8, u8), Vec<u32>>);

impl Heard {
    fn note(&mut self, event: &SessionEvent) {
        if let SessionEvent::Message {
            opcode,
            version,
            channel,
            mode,
            body,
            ..
        } = event
        {
            assert_eq!((*opcode, *version), (Opcode(0x0100), 3));
            let number = u32::from_be_bytes(body[..4].try_into().unwrap());
            assert_eq!(body, &message(*mode, *channel, number).body);
            let space = (*mode as u8, *channel);
            self.0.entry(space).or_default().push(number);
        }
    }

    /// Checks what each mode promises about the numbers 0..sent.
    fn check(&self, seed: u64, sent: u32, channels: u8) {
        for channel in 0..channels {
            for mode in MODES {
                let none = Vec::new();
                let heard = self.0.get(&(mode as u8, channel)).unwrap_or(&none);
                let mut sorted = heard.clone();
                sorted.sort_unstable();
                let what = format!("seed {seed}, {mode:?}, channel {channel}: {heard:?}");
                if mode.is_reliable() {
                    assert_eq!(sorted, (0..sent).collect::<Vec<_>>(), "{what}");
                } else {
                    sorted.dedup();
                    assert_eq!(sorted.len(), heard.len(), "twice: {what}");
                    assert!(!heard.is_empty(), "nothing arrived: {what}");
                }
                if matches!(mode, Mode::ReliableOrdered | Mode::UnreliableSequenced) {
                    assert!(heard.is_sorted(), "out of order: {what}");
                }
            }
        }
    }
}

/// Sends until it is taken: a full queue is emptied by letting time pass.
fn send_from(world: &mut World, mut send: impl FnMut(&mut World, Now) -> Result<(), SendError>) {
    for _ in 0..10_000 {
        let now = world.now;
        match send(world, now) {
            Ok(()) => return,
            Err(SendError::Busy) => world.run_for(Duration::from_millis(50)),
            Err(other) => panic!("seed {}: {other}", world.seed),
        }
    }
    panic!("seed {}: busy for ever", world.seed);
}

#[test]
fn every_mode_keeps_its_promise_in_both_directions() {
    let sent = 60;
    let channels = 2;
    for seed in 0..12 {
        let mut world = World::new(seed, Conditions::AWFUL);
        let client = world.connected_client();
        let peer = world.clients[client].keys.peer_id();
        world.run_until(Duration::from_secs(30), |world| {
            world.server.find(peer).is_some()
        });
        let handle = world.server.find(peer).unwrap();
        for number in 0..sent {
            for channel in 0..channels {
                for mode in MODES {
                    let outgoing = message(mode, channel, number);
                    send_from(&mut world, |world, now| {
                        world.clients[client].endpoint.send(now, outgoing.clone())
                    });
                    send_from(&mut world, |world, now| {
                        world.server.send(now, handle, outgoing.clone())
                    });
                }
            }
            let pause = world.random.below(40);
            world.run_for(Duration::from_millis(pause));
        }
        world.run_for(Duration::from_secs(60));
        let (mut at_server, mut at_client) = (Heard::default(), Heard::default());
        for (_, event) in &world.server_events {
            if let ServerEvent::Session(event) = event {
                at_server.note(event);
            }
        }
        for event in &world.clients[client].events {
            if let ClientEvent::Session(event) = event {
                at_client.note(event);
            }
        }
        at_server.check(seed, sent, channels);
        at_client.check(seed, sent, channels);
    }
}

#[test]
fn every_reliable_request_gets_its_answer_once() {
    let mut replaced = 0;
    for seed in 100..108 {
        let mut world = World::new(seed, Conditions::AWFUL);
        let clients: Vec<_> = (0..3).map(|_| world.connected_client()).collect();
        let mut asked: Vec<BTreeMap<RequestId, Bytes>> = vec![BTreeMap::new(); clients.len()];
        for number in 0..80 {
            for &client in &clients {
                let outgoing = message(Mode::ReliableOrdered, 0, number);
                let now = world.now;
                let id = world.clients[client]
                    .endpoint
                    .request(now, outgoing.clone())
                    .unwrap();
                asked[client].insert(id, outgoing.body);
            }
            world.run_for(Duration::from_millis(20));
        }
        world.run_for(Duration::from_secs(60));
        for &client in &clients {
            // On such a network a session may be silent for so long that a new one takes its place; what it was asked is then unknown, and the
            // asker hears of its end.
            let events = &world.clients[client].events;
            if events
                .iter()
                .any(|event| matches!(event, ClientEvent::Session(SessionEvent::Closed { .. })))
            {
                replaced += 1;
                continue;
            }
            for event in events {
                if let ClientEvent::Session(SessionEvent::Response {
                    request,
                    outcome,
                    body,
                }) = event
                {
                    assert_eq!(*outcome, Outcome::Done);
                    assert_eq!(asked[client].remove(request).as_ref(), Some(body));
                }
            }
            let unanswered = asked[client].len();
            assert_eq!(unanswered, 0, "seed {seed}");
        }
    }
    assert!(replaced <= 1, "{replaced} of 24");
}

#[test]
fn a_burst_travels_in_few_datagrams_and_few_system_calls() {
    let mut world = World::new(200, Conditions::PERFECT);
    let client = world.connected_client();
    world.run_for(Duration::from_secs(1));
    let handle = world
        .server
        .find(world.clients[client].keys.peer_id())
        .unwrap();
    let now = world.now;
    for _ in 0..100 {
        let outgoing = Outgoing {
            opcode: Opcode(0x0200),
            version: 0,
            channel: 0,
            mode: Mode::ReliableOrdered,
            body: Bytes::from_static(&[7; 100]),
        };
        world.server.send(now, handle, outgoing).unwrap();
    }
    let mut out = Vec::new();
    let (mut calls, mut datagrams) = (0, 0);
    while let Some(transmit) = world.server.poll_transmit(now, &mut out) {
        calls += 1;
        datagrams += transmit.datagrams(&out).count();
        assert!(
            transmit
                .datagrams(&out)
                .all(|datagram| datagram.len() <= 1_200)
        );
        out.clear();
    }
    assert!((10..=13).contains(&datagrams), "{datagrams}");
    assert!(calls <= 4, "{calls}");
}
