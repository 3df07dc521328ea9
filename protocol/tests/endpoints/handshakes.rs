//! How sessions begin, replace each other and survive a silence.

use std::time::Duration;

use cohnect_protocol::ops::{Detail, Outcome};
use cohnect_protocol::{
    Availability, ClientEvent, CloseCode, ConnectFailure, ConnectHint, Counter, Header, Opcode,
    Psk, RejectCode, ServerEvent, SessionEvent, StaticKeys,
};

use crate::network::{Conditions, Packet};
use crate::world::World;

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn failure(world: &World, client: usize) -> Option<&ConnectFailure> {
    world.clients[client]
        .events
        .iter()
        .find_map(|event| match event {
            ClientEvent::Failed(failure) => Some(failure),
            ClientEvent::Connected { .. } | ClientEvent::Session(_) => None,
        })
}

fn ends(world: &World, client: usize) -> Vec<(bool, CloseCode)> {
    world.clients[client]
        .events
        .iter()
        .filter_map(|event| match event {
            ClientEvent::Session(SessionEvent::Closed { by_peer, code, .. }) => {
                Some((*by_peer, *code))
            }
            ClientEvent::Connected { .. } | ClientEvent::Failed(_) | ClientEvent::Session(_) => {
                None
            }
        })
        .collect()
}

fn connections(world: &World, client: usize) -> usize {
    world.clients[client]
        .events
        .iter()
        .filter(|event| matches!(event, ClientEvent::Connected { .. }))
        .count()
}

fn attempt(world: &mut World, client: usize) {
    let now = world.now;
    world.clients[client].endpoint.connect(now);
    world.run_for(seconds(6));
}

#[test]
fn of_those_who_connect_at_once_so_many_get_a_session_as_there_are() {
    let mut world = World::with_config(9, Conditions::PERFECT, |config| config.sessions_max = 2);
    let now = world.now;
    for _ in 0..5 {
        let client = world.add_client();
        world.clients[client].endpoint.connect(now);
    }
    world.run_for(seconds(20));
    assert_eq!(world.server.sessions(), 2);
    assert_eq!(world.server.counters().count(Counter::NoRoom), 3);
    // From then on whoever comes is told.
    let late = world.add_client();
    attempt(&mut world, late);
    let hint = Some(ConnectHint::Rejected(RejectCode::Full));
    assert_eq!(
        failure(&world, late),
        Some(&ConnectFailure::NoAnswer { hint })
    );
    assert_eq!(world.server.sessions(), 2);
}

#[test]
fn two_round_trips_and_a_half_make_a_session() {
    let mut world = World::new(1, Conditions::PERFECT);
    let client = world.add_client();
    let now = world.now;
    world.clients[client].endpoint.connect(now);
    world.run_for(Duration::from_millis(40));
    assert_eq!(
        connections(&world, client),
        1,
        "after HELLO, RETRY, HELLO, ACCEPT"
    );
    world.run_for(Duration::from_millis(10));
    let peer = world.clients[client].keys.peer_id();
    assert!(matches!(
        world.server_events[0].1,
        ServerEvent::Connected { peer: connected, address }
            if connected == peer && address == world.clients[client].address
    ));
    assert_eq!((world.server.sessions(), world.server.half_opens()), (1, 0));
    assert!(world.server.find(peer).is_some());
}

#[test]
fn sessions_begin_on_an_awful_network() {
    for seed in 0..40 {
        let mut world = World::new(seed, Conditions::AWFUL);
        for _ in 0..3 {
            world.connected_client();
        }
        let confirmed = |world: &World| world.server.sessions() == 3;
        assert!(world.run_until(seconds(30), confirmed), "seed {seed}");
        // What the network did to sessions that were already there may have made attempts beside them; they come to nothing.
        world.network.conditions = Conditions::PERFECT;
        world.run_for(seconds(20));
        let held = (world.server.sessions(), world.server.half_opens());
        assert_eq!(held, (3, 0), "seed {seed}");
    }
}

#[test]
fn a_wrong_shared_key_ends_without_a_session() {
    let mut world = World::new(2, Conditions::PERFECT);
    let keys = StaticKeys::generate(&mut world.random);
    let client = world.add_client_with(keys, |config| config.psk = Psk::new([1; 32]));
    attempt(&mut world, client);
    assert_eq!(
        failure(&world, client),
        Some(&ConnectFailure::NoAnswer {
            hint: Some(ConnectHint::Cookie)
        })
    );
    assert_eq!(world.server.sessions(), 0);
}

#[test]
fn a_wrong_pin_meets_silence_and_a_second_one_helps() {
    let mut world = World::new(3, Conditions::PERFECT);
    let other = StaticKeys::generate(&mut world.random).public();
    let keys = StaticKeys::generate(&mut world.random);
    let client = world.add_client_with(keys.clone(), |config| config.pins = vec![other]);
    attempt(&mut world, client);
    assert_eq!(
        failure(&world, client),
        Some(&ConnectFailure::NoAnswer { hint: None })
    );
    let client = world.add_client_with(keys, |config| config.pins.insert(0, other));
    attempt(&mut world, client);
    assert_eq!(connections(&world, client), 1);
}

#[test]
fn a_server_that_takes_nobody_is_understood() {
    let mut world = World::new(4, Conditions::PERFECT);
    world.server.set_availability(Availability::Draining);
    let client = world.add_client();
    attempt(&mut world, client);
    assert_eq!(
        failure(&world, client),
        Some(&ConnectFailure::Refused(Outcome::Err(Detail::DRAINING)))
    );
    world.server.set_availability(Availability::Offline);
    let client = world.add_client();
    attempt(&mut world, client);
    assert_eq!(
        failure(&world, client),
        Some(&ConnectFailure::NoAnswer {
            hint: Some(ConnectHint::Rejected(RejectCode::Offline))
        })
    );
}

#[test]
fn a_second_device_ends_the_session_of_the_first() {
    let mut world = World::new(5, Conditions::PERFECT);
    let first = world.connected_client();
    world.run_for(seconds(1));
    let keys = world.clients[first].keys.clone();
    let second = world.add_client_with(keys, |_| {});
    world.server_events.clear();
    world.connect(second);
    world.run_for(seconds(1));

    assert_eq!(ends(&world, first), [(true, CloseCode::SUPERSEDED)]);
    assert_eq!(ends(&world, second), []);
    let story: Vec<_> = world
        .server_events
        .iter()
        .filter_map(|(handle, event)| match event {
            ServerEvent::Connected { .. } => Some((*handle, None)),
            ServerEvent::Session(SessionEvent::Closed { code, .. }) => Some((*handle, Some(*code))),
            ServerEvent::Session(_) => None,
        })
        .collect();
    let [(old, Some(CloseCode::SUPERSEDED)), (new, None)] = story[..] else {
        panic!("{story:?}");
    };
    assert_ne!(old, new);
    assert_eq!(world.server.sessions(), 1, "the old one is gone");
    assert!(world.server.session(old).is_none());
}

fn towards_server_protected(packet: &Packet) -> bool {
    packet.to.port() == 7777
        && Header::parse(&packet.bytes).is_some_and(|header| !header.opcode.is_handshake())
}

#[test]
fn a_handshake_without_confirmation_replaces_nobody() {
    let mut world = World::new(6, Conditions::PERFECT);
    let first = world.connected_client();
    world.run_for(seconds(1));
    let keys = world.clients[first].keys.clone();
    let second = world.add_client_with(keys, |_| {});
    let now = world.now;
    world.clients[second].endpoint.connect(now);
    world.network.sieve = Some(towards_server_protected);
    world.run_for(Duration::from_millis(500));
    assert_eq!(world.server.half_opens(), 1);
    world.clients.pop();
    world.network.sieve = None;
    world.run_for(seconds(30));
    assert_eq!(world.server.half_opens(), 0);
    assert_eq!(world.server.sessions(), 1);
    assert_eq!(ends(&world, first), []);
}

#[test]
fn a_session_outlives_a_cut_and_the_attempt_beside_it() {
    for cut_ms in [2_000, 6_000, 12_000, 40_000] {
        let mut world = World::new(7, Conditions::PERFECT);
        let client = world.connected_client();
        world.run_for(seconds(6));
        let address = world.clients[client].address;
        world.network.cut(address, true);
        world.run_for(Duration::from_millis(cut_ms));
        world.network.cut(address, false);
        world.run_for(seconds(30));
        assert_eq!(connections(&world, client), 0, "cut for {cut_ms} ms");
        assert_eq!(ends(&world, client), [], "cut for {cut_ms} ms");
        assert_eq!(world.server.counters().count(Counter::Connected), 1);
    }
}

#[test]
fn a_restarted_server_gets_a_new_session_without_being_asked() {
    let mut world = World::new(8, Conditions::PERFECT);
    let client = world.connected_client();
    world.run_for(seconds(3));
    world.restart_server();
    world.run_for(seconds(20));
    assert_eq!(connections(&world, client), 1);
    assert_eq!(ends(&world, client), [(false, CloseCode::IDLE)]);
    let place = |wanted: fn(&ClientEvent) -> bool| {
        world.clients[client]
            .events
            .iter()
            .position(wanted)
            .unwrap()
    };
    let ended = place(|event| matches!(event, ClientEvent::Session(SessionEvent::Closed { .. })));
    let connected = place(|event| matches!(event, ClientEvent::Connected { .. }));
    assert!(ended < connected, "the end of the old one is told first");
    assert_eq!(world.server.sessions(), 1);
}

fn from_server_protected(packet: &Packet) -> bool {
    packet.from.port() == 7777
        && Header::parse(&packet.bytes).is_some_and(|header| !header.opcode.is_handshake())
}

#[test]
fn a_session_that_stays_silent_is_replaced_after_three_seconds() {
    let mut world = World::new(9, Conditions::PERFECT);
    let client = world.connected_client();
    world.run_for(seconds(6));
    // The server hears the client, and the client hears only handshakes.
    world.network.sieve = Some(from_server_protected);
    world.run_for(seconds(12));
    world.network.sieve = None;
    world.run_for(seconds(10));
    assert!(connections(&world, client) >= 1);
    assert_eq!(world.server.sessions(), 1);
    let peer = world.clients[client].keys.peer_id();
    assert!(world.server.find(peer).is_some());
}

#[test]
fn a_client_that_was_cut_off_learns_that_another_took_over() {
    let mut world = World::new(10, Conditions::PERFECT);
    let first = world.connected_client();
    world.run_for(seconds(1));
    let address = world.clients[first].address;
    world.network.cut(address, true);
    let keys = world.clients[first].keys.clone();
    let second = world.add_client_with(keys, |_| {});
    world.connect(second);
    world.run_for(seconds(20));
    world.network.cut(address, false);
    world.run_for(seconds(40));
    assert_eq!(ends(&world, first), [(true, CloseCode::SUPERSEDED)]);
    assert_eq!(connections(&world, first), 0, "it does not fight back");
    assert_eq!(ends(&world, second), []);
}

#[test]
fn half_opens_of_a_crowd_stay_bounded() {
    let mut world = World::with_config(11, Conditions::PERFECT, |config| {
        config.half_opens_max = 10;
    });
    world.network.sieve = Some(towards_server_protected);
    for _ in 0..40 {
        let client = world.add_client();
        let now = world.now;
        world.clients[client].endpoint.connect(now);
        world.run_for(Duration::from_millis(45));
        assert!(world.server.half_opens() <= 10);
    }
    assert!(world.server.counters().count(Counter::HalfOpenExpired) >= 30);
    assert_eq!(world.server.sessions(), 0);
}

#[test]
fn replayed_hellos_change_nothing() {
    let mut world = World::new(12, Conditions::PERFECT);
    world.network.record = Some(Vec::new());
    let client = world.connected_client();
    world.run_for(seconds(1));
    let recorded = world.network.record.take().unwrap();
    let hellos: Vec<_> = recorded
        .into_iter()
        .filter(|packet| {
            Header::parse(&packet.bytes).is_some_and(|header| header.opcode == Opcode::HELLO)
        })
        .collect();
    assert_eq!(hellos.len(), 2, "one without and one with a cookie");
    let counters = world.server.counters().clone();
    for wait_s in [0, 1, 5, 60] {
        world.run_for(seconds(wait_s));
        for hello in hellos.iter().rev() {
            world.hand_over(&mut hello.clone());
        }
    }
    world.run_for(seconds(1));
    let changed = |counter| world.server.counters().count(counter) - counters.count(counter);
    assert_eq!(changed(Counter::Accepted), 0);
    // While the cookie is valid the session knows its HELLO again; then it is a HELLO like any other without a cookie.
    assert_eq!(changed(Counter::RepeatedHello), 3);
    assert_eq!(changed(Counter::Retried), 5);
    assert_eq!(world.server.half_opens(), 0);
    assert_eq!(ends(&world, client), []);
}

#[test]
fn one_seed_makes_one_run() {
    let run = |seed| {
        let mut world = World::new(seed, Conditions::AWFUL);
        world.network.record = Some(Vec::new());
        for _ in 0..3 {
            world.connected_client();
        }
        world.run_for(seconds(20));
        let record = world.network.record.take().unwrap();
        record
            .into_iter()
            .map(|packet| (packet.from, packet.to, packet.bytes))
            .collect::<Vec<_>>()
    };
    assert!(run(13) == run(13));
    assert!(run(13) != run(14));
}
