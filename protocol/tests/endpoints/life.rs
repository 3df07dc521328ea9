//! Silence, return and the end of sessions.

use std::time::Duration;

use bytes::Bytes;
use cohnect_protocol::{
    ClientEvent, CloseCode, Counter, Mode, Opcode, Outgoing, SendError, ServerEvent, SessionEvent,
    SessionHandle,
};

use crate::network::Conditions;
use crate::world::World;

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[derive(Debug, PartialEq)]
enum Said {
    Connected,
    Away,
    Back,
    Message,
    Closed(bool, CloseCode),
}

fn said(event: &SessionEvent) -> Option<Said> {
    match event {
        SessionEvent::Away => Some(Said::Away),
        SessionEvent::Back => Some(Said::Back),
        SessionEvent::Message { .. } => Some(Said::Message),
        SessionEvent::Closed { by_peer, code, .. } => Some(Said::Closed(*by_peer, *code)),
        SessionEvent::Response { .. } | SessionEvent::Alive { .. } => None,
    }
}

fn at_server(world: &World) -> Vec<Said> {
    world
        .server_events
        .iter()
        .filter_map(|(_, event)| match event {
            ServerEvent::Connected { .. } => Some(Said::Connected),
            ServerEvent::Session(event) => said(event),
        })
        .collect()
}

fn at_client(world: &World, client: usize) -> Vec<Said> {
    world.clients[client]
        .events
        .iter()
        .filter_map(|event| match event {
            ClientEvent::Connected { .. } => Some(Said::Connected),
            ClientEvent::Session(event) => said(event),
            ClientEvent::Failed(_) => None,
        })
        .collect()
}

fn hello() -> Outgoing {
    Outgoing {
        opcode: Opcode(0x0300),
        version: 0,
        channel: 0,
        mode: Mode::ReliableOrdered,
        body: Bytes::from_static(b"while you were away"),
    }
}

fn settled(seed: u64) -> (World, usize, SessionHandle) {
    let mut world = World::new(seed, Conditions::PERFECT);
    let client = world.connected_client();
    world.run_for(seconds(1));
    let peer = world.clients[client].keys.peer_id();
    let handle = world.server.find(peer).unwrap();
    world.server_events.clear();
    (world, client, handle)
}

#[test]
fn a_quiet_session_stays_and_costs_little() {
    let (mut world, client, _) = settled(1);
    world.network.record = Some(Vec::new());
    world.run_for(seconds(600));
    assert_eq!(at_server(&world), []);
    assert_eq!(at_client(&world, client), []);
    let sent = world.network.record.take().unwrap().len();
    assert!(
        (200..=260).contains(&sent),
        "a PING and its ACK every 5 s: {sent}"
    );
}

#[test]
fn who_was_away_is_back_in_the_same_session() {
    let (mut world, client, handle) = settled(2);
    let address = world.clients[client].address;
    world.network.cut(address, true);
    world.run_for(seconds(22));
    assert_eq!(at_server(&world), [Said::Away]);
    let now = world.now;
    world.server.send(now, handle, hello()).unwrap();
    world.run_for(seconds(5));
    world.network.cut(address, false);
    world.run_for(seconds(10));
    assert_eq!(at_server(&world), [Said::Away, Said::Back]);
    let heard = at_client(&world, client);
    assert!(heard.contains(&Said::Message), "{heard:?}");
    assert!(!heard.contains(&Said::Connected), "{heard:?}");
    assert!(world.server.session(handle).is_some());
}

#[test]
fn who_stays_away_is_gone_on_both_sides() {
    let (mut world, client, handle) = settled(3);
    let address = world.clients[client].address;
    world.network.cut(address, true);
    world.run_for(seconds(90));
    let gone = [Said::Away, Said::Closed(false, CloseCode::IDLE)];
    assert_eq!(at_server(&world), gone);
    assert_eq!(at_client(&world, client), gone);
    assert!(world.server.session(handle).is_none());
    assert_eq!(world.server.sessions(), 0);
    assert_eq!(world.server.poll_timeout(), None, "nothing is left to do");
    assert!(world.clients[client].endpoint.is_idle());
}

#[test]
fn a_client_that_leaves_is_heard_leaving() {
    let (mut world, client, handle) = settled(4);
    let now = world.now;
    world.clients[client]
        .endpoint
        .disconnect(now, CloseCode::NORMAL, "bye");
    world.run_for(seconds(3));
    assert_eq!(at_server(&world), [Said::Closed(true, CloseCode::NORMAL)]);
    assert_eq!(
        at_client(&world, client),
        [Said::Closed(false, CloseCode::NORMAL)]
    );
    assert!(world.server.session(handle).is_none());
    assert_eq!(world.server.sessions(), 0);
    assert!(world.clients[client].endpoint.is_idle());
}

#[test]
fn a_client_that_leaves_a_silent_server_does_not_come_back() {
    let (mut world, client, _) = settled(6);
    world.restart_server();
    let now = world.now;
    world.clients[client].endpoint.send(now, hello()).unwrap();
    // Its probes are unanswered by the time it says goodbye, and so is its goodbye; the server would take it again.
    for _ in 0..100 {
        world.run_for(Duration::from_millis(20));
        let session = world.clients[client].endpoint.session();
        if session.is_some_and(|session| session.unanswered_probes() >= 2) {
            break;
        }
    }
    let now = world.now;
    world.clients[client]
        .endpoint
        .disconnect(now, CloseCode::NORMAL, "bye");
    world.run_for(seconds(10));
    assert_eq!(
        at_client(&world, client),
        [Said::Closed(false, CloseCode::NORMAL)]
    );
    assert!(world.clients[client].endpoint.is_idle());
    assert_eq!(world.server.counters().count(Counter::Connected), 0);
}

#[test]
fn nothing_new_begins_before_the_end_of_the_old_session_is_told() {
    let (mut world, client, _) = settled(7);
    world.restart_server();
    let endpoint = &mut world.clients[client].endpoint;
    endpoint.send(world.now, hello()).unwrap();
    // Its owner looks away meanwhile: only then is there something between the new session and what is told of the old.
    world.polling = false;
    world.run_for(seconds(12));
    let now = world.now;
    let endpoint = &mut world.clients[client].endpoint;
    assert_eq!(endpoint.send(now, hello()), Err(SendError::Closed));
    assert!(matches!(
        endpoint.poll_event(),
        Some(ClientEvent::Session(SessionEvent::Closed { .. }))
    ));
    assert_eq!(endpoint.send(now, hello()), Ok(()));
}

#[test]
fn a_kick_arrives_even_when_two_of_three_are_lost() {
    let mut kicked = 0;
    for seed in 500..520 {
        let (mut world, client, handle) = settled(seed);
        world.network.conditions = Conditions {
            lost: 500,
            lost_again: 500,
            ..Conditions::PERFECT
        };
        let now = world.now;
        world.server.close(now, handle, CloseCode::KICKED, "out");
        world.run_for(seconds(2));
        assert_eq!(world.server.sessions(), 0, "seed {seed}");
        kicked += usize::from(at_client(&world, client) == [Said::Closed(true, CloseCode::KICKED)]);
    }
    assert!(kicked >= 14, "{kicked} of 20");
}

#[test]
fn a_server_that_ends_tells_everybody() {
    let mut world = World::new(6, Conditions::PERFECT);
    let clients: Vec<_> = (0..5).map(|_| world.connected_client()).collect();
    world.run_for(seconds(1));
    let now = world.now;
    world.server.close_all(now, CloseCode::SHUTTING_DOWN);
    world.run_for(seconds(2));
    for client in clients {
        assert_eq!(
            at_client(&world, client),
            [Said::Closed(true, CloseCode::SHUTTING_DOWN)]
        );
    }
    assert_eq!(world.server.sessions(), 0);
    assert_eq!(world.server.poll_timeout(), None);
}

#[test]
fn a_handle_is_never_given_out_twice() {
    let mut world = World::new(7, Conditions::PERFECT);
    let mut handles = Vec::new();
    for _ in 0..10 {
        let client = world.connected_client();
        world.run_for(seconds(1));
        let peer = world.clients[client].keys.peer_id();
        let handle = world.server.find(peer).unwrap();
        assert!(!handles.contains(&handle));
        assert_eq!(handle.index(), 0, "the place is used again");
        handles.push(handle);
        let now = world.now;
        world.server.close(now, handle, CloseCode::KICKED, "next");
        world.run_for(seconds(2));
        assert!(world.server.session(handle).is_none());
        assert!(world.server.send(now, handle, hello()).is_err());
    }
}
