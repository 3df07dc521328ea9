//! What strangers and copiers can send, and that nobody notices.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use cohnect_protocol::{
    ClientEvent, Counter, Entropy, Header, Mode, Opcode, Outgoing, ServerEvent, SessionEvent,
};

use crate::network::{Conditions, Packet};
use crate::world::World;

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn hello(number: u8) -> Outgoing {
    Outgoing {
        opcode: Opcode(0x0300),
        version: 0,
        channel: 0,
        mode: Mode::ReliableOrdered,
        body: Bytes::copy_from_slice(&[number]),
    }
}

fn messages_at_server(world: &World) -> Vec<u8> {
    world
        .server_events
        .iter()
        .filter_map(|(_, event)| match event {
            ServerEvent::Session(SessionEvent::Message { body, .. }) => Some(body[0]),
            ServerEvent::Connected { .. } | ServerEvent::Session(_) => None,
        })
        .collect()
}

/// Something is sent both ways and arrives, and nobody's session ended.
fn assert_unharmed(world: &mut World, client: usize) {
    world.server_events.clear();
    world.clients[client].events.clear();
    let now = world.now;
    world.clients[client].endpoint.send(now, hello(42)).unwrap();
    let handle = world
        .server
        .find(world.clients[client].keys.peer_id())
        .unwrap();
    world.server.send(now, handle, hello(43)).unwrap();
    world.run_for(seconds(3));
    assert_eq!(messages_at_server(world), [42]);
    assert!(world.clients[client].events.iter().any(|event| matches!(
        event,
        ClientEvent::Session(SessionEvent::Message { body, .. }) if body[..] == [43]
    )));
    for event in &world.clients[client].events {
        assert!(!matches!(
            event,
            ClientEvent::Session(SessionEvent::Closed { .. }) | ClientEvent::Failed(_)
        ));
    }
}

/// Hands a datagram to whom it is for, now.
fn throw(world: &mut World, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
    world.hand_over(&mut Packet {
        from,
        to,
        bytes: bytes.to_vec(),
    });
}

#[test]
fn random_bytes_of_every_length_change_nothing() {
    let mut world = World::new(1, Conditions::PERFECT);
    let client = world.connected_client();
    world.run_for(seconds(1));
    let (server, here) = (world.server_address, world.clients[client].address);
    let stranger: SocketAddr = "203.0.113.5:5".parse().unwrap();
    let (us, them) = (
        world.clients[client].keys.peer_id(),
        world.server_keys.peer_id(),
    );
    for len in 0..=1_500_usize {
        for (from, to, sender) in [
            (stranger, server, us),
            (here, server, us),
            (server, here, them),
        ] {
            let mut bytes = vec![0; len];
            world.random.fill(&mut bytes);
            throw(&mut world, from, to, &bytes);
            // The same behind a right header, with an opcode of every kind.
            if len >= 39 {
                let opcode = [
                    0x0000, 0x0004, 0x0010, 0x00e0, 0x00e1, 0x00e2, 0x00e3, 0x0100,
                ][len % 8];
                let header = Header {
                    version: 1,
                    sender,
                    opcode: Opcode(opcode),
                };
                bytes[..39].copy_from_slice(&header.encode());
                throw(&mut world, from, to, &bytes);
            }
        }
    }
    world.run_for(seconds(1));
    assert_eq!((world.server.sessions(), world.server.half_opens()), (1, 0));
    assert_unharmed(&mut world, client);
}

#[test]
fn a_bit_flipped_at_any_offset_is_noticed() {
    let mut world = World::new(2, Conditions::PERFECT);
    let client = world.connected_client();
    world.run_for(seconds(1));
    let (server, here) = (world.server_address, world.clients[client].address);
    // One datagram of each direction is caught and arrives only bent.
    let now = world.now;
    let handle = world
        .server
        .find(world.clients[client].keys.peer_id())
        .unwrap();
    world.server.send(now, handle, hello(1)).unwrap();
    world.clients[client].endpoint.send(now, hello(2)).unwrap();
    let (mut from_server, mut from_client) = (Vec::new(), Vec::new());
    assert!(world.server.poll_transmit(now, &mut from_server).is_some());
    let endpoint = &mut world.clients[client].endpoint;
    assert!(endpoint.poll_transmit(now, &mut from_client).is_some());

    let forged = |world: &World, client: usize| {
        (
            world.server.counters().count(Counter::Forged),
            world.clients[client]
                .endpoint
                .counters()
                .count(Counter::Forged),
        )
    };
    for (from, to, datagram) in [(server, here, &from_server), (here, server, &from_client)] {
        for at in 0..datagram.len() {
            for bit in 0..8 {
                let mut bent = datagram.clone();
                bent[at] ^= 1 << bit;
                throw(&mut world, from, to, &bent);
            }
        }
    }
    // At least everything behind the header reached a key and was refused there.
    let (at_server, at_client) = forged(&world, client);
    assert!(at_server as usize >= (from_client.len() - 48) * 8);
    assert!(at_client as usize >= (from_server.len() - 48) * 8);
    world.server_events.clear();
    world.settle();
    assert_eq!(messages_at_server(&world), []);
    // The window did not move: what was bent is still taken as it was.
    throw(&mut world, here, server, &from_client);
    throw(&mut world, server, here, &from_server);
    world.settle();
    assert_eq!(messages_at_server(&world), [2]);
    assert_unharmed(&mut world, client);
}

#[test]
fn everything_replayed_in_another_order_is_taken_once() {
    let mut world = World::new(3, Conditions::PERFECT);
    world.network.record = Some(Vec::new());
    let client = world.connected_client();
    for number in 0..50 {
        let now = world.now;
        world.clients[client]
            .endpoint
            .send(now, hello(number))
            .unwrap();
        world.run_for(Duration::from_millis(15));
    }
    world.run_for(seconds(2));
    let mut recorded = world.network.record.take().unwrap();
    for _ in 0..3 {
        for place in (1..recorded.len()).rev() {
            let other = world.random.below(place as u64 + 1) as usize;
            recorded.swap(place, other);
        }
        for packet in &recorded {
            world.hand_over(&mut packet.clone());
        }
        world.run_for(seconds(1));
    }
    assert_eq!(messages_at_server(&world), (0..50).collect::<Vec<_>>());
    assert!(world.server.counters().count(Counter::Replayed) >= 150);
    assert_eq!(world.server.counters().count(Counter::Connected), 1);
    assert_unharmed(&mut world, client);
}

#[test]
fn a_datagram_that_opens_counts_from_anywhere_and_answers_stay_on_the_path() {
    let mut world = World::new(4, Conditions::PERFECT);
    let client = world.connected_client();
    world.run_for(seconds(1));
    let now = world.now;
    world.clients[client].endpoint.send(now, hello(9)).unwrap();
    let mut datagram = Vec::new();
    let endpoint = &mut world.clients[client].endpoint;
    endpoint.poll_transmit(now, &mut datagram).unwrap();
    let elsewhere = "203.0.113.9:999".parse().unwrap();
    let server = world.server_address;
    throw(&mut world, elsewhere, server, &datagram);
    world.server_events.clear();
    world.network.record = Some(Vec::new());
    world.run_for(seconds(1));
    assert_eq!(messages_at_server(&world), [9]);
    let address = world.clients[client].address;
    let sent = world.network.record.take().unwrap();
    assert!(
        sent.iter()
            .filter(|packet| packet.from == server)
            .all(|packet| packet.to == address)
    );
    assert_unharmed(&mut world, client);
}

#[test]
fn a_client_takes_datagrams_from_its_server_alone() {
    let mut world = World::new(5, Conditions::PERFECT);
    let client = world.connected_client();
    world.run_for(seconds(1));
    let now = world.now;
    let handle = world
        .server
        .find(world.clients[client].keys.peer_id())
        .unwrap();
    world.server.send(now, handle, hello(1)).unwrap();
    let mut datagram = Vec::new();
    world.server.poll_transmit(now, &mut datagram).unwrap();
    let here = world.clients[client].address;
    throw(
        &mut world,
        "203.0.113.9:999".parse().unwrap(),
        here,
        &datagram,
    );
    let counters = world.clients[client].endpoint.counters();
    assert_eq!(counters.count(Counter::UnexpectedAddress), 1);
    assert_unharmed_after_loss(&mut world, client);
}

/// Like `assert_unharmed`, when a datagram of the server's is still to be sent again.
fn assert_unharmed_after_loss(world: &mut World, client: usize) {
    world.run_for(seconds(3));
    assert_unharmed(world, client);
}

#[test]
fn two_servers_do_not_talk_to_each_other_for_ever() {
    let mut world = World::new(6, Conditions::PERFECT);
    let _ = world.connected_client();
    world.run_for(seconds(1));
    // Everything that a server ever sends, sent to it as if by another: none is answered.
    let mut answers = Vec::new();
    for version in [0, 1, 2] {
        for opcode in [0x00e0, 0x00e1, 0x00e2, 0x00e3, 0x00e4, 0x0000] {
            let header = Header {
                version,
                sender: world.server_keys.peer_id(),
                opcode: Opcode(opcode),
            };
            for len in [57, 79, 136, 200] {
                let mut bytes = header.encode().to_vec();
                bytes.resize(len, 1);
                let (from, to) = ("203.0.113.7:7777".parse().unwrap(), world.server_address);
                throw(&mut world, from, to, &bytes);
                assert_eq!(world.server.poll_transmit(world.now, &mut answers), None);
            }
        }
    }
}
