//! Silence, probes, memory and the ways to end.

use super::network::{Network, Weather};
use super::*;

fn closed(by_peer: bool, code: CloseCode, text: &str) -> SessionEvent {
    SessionEvent::Closed {
        by_peer,
        code,
        text: text.to_owned(),
    }
}

/// Calls what time asks for until `until`; answers the moments at which datagrams left, and drops those.
fn alone(session: &mut TestSession, until: Monotonic) -> Vec<u64> {
    let mut sent = Vec::new();
    while let Some(next) = session.poll_timeout().filter(|next| *next <= until) {
        session.handle_timeout(next);
        sent.extend(transmit(session, next).iter().map(|_| next.0 / 1_000));
        assert!(sent.len() < 1_000);
    }
    sent
}

#[test]
fn a_client_confirms_at_once_and_probes_with_back_off() {
    let mut client = session(Role::Client, Some(Duration::from_millis(100)));
    let sent = transmit(&mut client, at(0));
    assert_eq!((sent.len(), sent[0].len()), (1, 73));
    // srtt 100 ms + 4 × 50 ms + 20 ms, doubled each time, at most 2 s.
    assert_eq!(
        alone(&mut client, at(9_000)),
        [
            320, 960, 960, 2_240, 2_240, 4_240, 4_240, 6_240, 6_240, 8_240, 8_240
        ]
    );
    assert_eq!(client.unanswered_probes(), 6);
}

#[test]
fn a_probe_carries_the_oldest_frames_and_the_answer_finds_the_rest() {
    let (mut client, mut server) = pair();
    for n in 0..3 {
        client
            .send(at(1_000), outgoing(Mode::ReliableOrdered, 0, &[n; 1_000]))
            .unwrap();
    }
    assert_eq!(transmit(&mut client, at(1_000)).len(), 3);
    let probe_at = client.poll_timeout().unwrap();
    client.handle_timeout(probe_at);
    let probe = transmit(&mut client, probe_at);
    assert_eq!(probe.len(), 1);
    deliver(&mut server, probe_at, probe);
    assert_eq!(bodies(&events(&mut server)), [[0; 1_000]]);
    deliver(&mut client, probe_at, transmit(&mut server, probe_at));
    let rest = transmit(&mut client, probe_at);
    assert!(!rest.is_empty());
    deliver(&mut server, probe_at, rest);
    let later = client.poll_timeout().unwrap();
    client.handle_timeout(later);
    deliver(&mut server, later, transmit(&mut client, later));
    assert_eq!(bodies(&events(&mut server)), [[1; 1_000], [2; 1_000]]);
}

#[test]
fn an_idle_pair_stays_alive_and_small() {
    let (mut client, mut server) = pair();
    for now in (1_000..120_000).step_by(10) {
        let now = at(now);
        client.handle_timeout(now);
        server.handle_timeout(now);
        deliver(&mut server, now, transmit(&mut client, now));
        deliver(&mut client, now, transmit(&mut server, now));
    }
    assert!(!client.is_away() && !server.is_away());
    assert_eq!((events(&mut client), events(&mut server)), (vec![], vec![]));
    for session in [&client, &server] {
        let bytes = session.memory_len();
        assert!(bytes <= 4_096 - 1_024, "{bytes} bytes, and two AES keys");
    }
}

#[test]
fn the_memory_of_a_burst_is_given_back() {
    let (mut client, mut server) = pair();
    for n in 0..600_u32 {
        let mode = [Mode::ReliableOrdered, Mode::ReliableUnordered][n as usize % 2];
        client
            .send(at(1_000), outgoing(mode, 3, &n.to_be_bytes()))
            .unwrap();
        server
            .send(at(1_000), outgoing(mode, 3, &n.to_be_bytes()))
            .unwrap();
    }
    let mut got = 0;
    for now in (1_000..20_000).step_by(10) {
        let now = at(now);
        client.handle_timeout(now);
        server.handle_timeout(now);
        deliver(&mut server, now, transmit(&mut client, now));
        deliver(&mut client, now, transmit(&mut server, now));
        got += events(&mut client).len() + events(&mut server).len();
    }
    assert_eq!(got, 1_200);
    for session in [&client, &server] {
        let bytes = session.memory_len();
        assert!(bytes <= 4_096 - 1_024, "{bytes} bytes");
    }
}

#[test]
fn silence_makes_away_then_back_or_the_end() {
    let (mut client, mut server) = pair();
    alone(&mut server, at(15_989));
    assert_eq!(events(&mut server), []);
    alone(&mut server, at(15_990));
    assert_eq!(events(&mut server), [SessionEvent::Away]);
    assert!(server.is_away());

    client.handle_timeout(at(16_500));
    deliver(&mut server, at(16_505), transmit(&mut client, at(16_500)));
    assert_eq!(events(&mut client), [SessionEvent::Away]);
    assert_eq!(events(&mut server), [SessionEvent::Back]);
    deliver(&mut client, at(16_510), transmit(&mut server, at(16_510)));
    assert_eq!(events(&mut client), [SessionEvent::Back]);

    alone(&mut server, at(16_505 + 15_000 + 60_000 - 1));
    assert_eq!(events(&mut server), [SessionEvent::Away]);
    alone(&mut server, at(16_505 + 15_000 + 60_000));
    assert_eq!(events(&mut server), [closed(false, CloseCode::IDLE, "")]);
    assert!(server.is_drained() && server.poll_timeout().is_none());
    assert!(transmit(&mut server, at(100_000)).is_empty());
}

#[test]
fn what_is_reliable_waits_for_a_client_that_is_away() {
    let (mut client, mut server) = pair();
    alone(&mut server, at(20_000));
    for mode in [
        Mode::Unreliable,
        Mode::ReliableOrdered,
        Mode::UnreliableSequenced,
    ] {
        server.send(at(20_000), outgoing(mode, 0, b"kept")).unwrap();
    }
    let lost = transmit(&mut server, at(20_000));
    assert_eq!(lost.len(), 1);
    assert!(
        alone(&mut server, at(30_000)).is_empty(),
        "nobody is probed"
    );
    client.handle_timeout(at(30_000));
    deliver(&mut server, at(30_000), transmit(&mut client, at(30_000)));
    deliver(&mut client, at(30_005), transmit(&mut server, at(30_000)));
    let got = events(&mut client);
    assert_eq!(bodies(&got), [b"kept"]);
}

#[test]
fn close_leaves_three_times_in_a_tenth_of_a_second() {
    let (mut client, mut server) = pair();
    server.close_now(at(1_000), CloseCode::KICKED, "cheating");
    assert_eq!(
        events(&mut server),
        [closed(false, CloseCode::KICKED, "cheating")]
    );
    let first = transmit(&mut server, at(1_000));
    assert_eq!(alone(&mut server, at(5_000)), [1_050, 1_100]);
    assert!(server.is_drained());
    deliver(&mut client, at(1_000), first);
    assert_eq!(
        events(&mut client),
        [closed(true, CloseCode::KICKED, "cheating")]
    );
    assert!(client.is_drained() && transmit(&mut client, at(1_000)).is_empty());
    let message = outgoing(Mode::Unreliable, 0, b"");
    assert_eq!(client.send(at(1_000), message), Err(SendError::Closed));
}

#[test]
fn a_graceful_close_waits_for_what_is_on_its_way() {
    for answered in [true, false] {
        let (mut client, mut server) = pair();
        server
            .send(at(1_000), outgoing(Mode::ReliableOrdered, 0, b"last words"))
            .unwrap();
        server.close(at(1_000), CloseCode::NORMAL, "bye");
        let more = outgoing(Mode::Unreliable, 0, b"");
        assert_eq!(server.send(at(1_000), more), Err(SendError::Closed));
        let sent = transmit(&mut server, at(1_000));
        assert_eq!(sent.len(), 1);
        assert!(!server.is_closed());
        if answered {
            deliver(&mut client, at(1_010), sent);
            client.handle_timeout(at(1_030));
            deliver(&mut server, at(1_040), transmit(&mut client, at(1_030)));
            assert!(server.is_closed());
            assert_eq!(transmit(&mut server, at(1_040)).len(), 1);
        } else {
            alone(&mut server, at(1_999));
            assert!(!server.is_closed());
            alone(&mut server, at(2_000));
            assert!(server.is_closed());
        }
        assert_eq!(
            events(&mut server),
            [closed(false, CloseCode::NORMAL, "bye")]
        );
    }
}

#[test]
fn a_peer_that_acknowledges_nothing_is_closed() {
    let (_, mut server) = pair();
    server
        .send(at(1_000), outgoing(Mode::ReliableOrdered, 0, b"unheard"))
        .unwrap();
    transmit(&mut server, at(1_000));
    for now in (1_100..17_000).step_by(100) {
        let mut datagram = sealed(now, Opcode::CONTROL, &[1]);
        let _ = server.handle_datagram(at(now), &mut datagram);
        server.handle_timeout(at(now));
        transmit(&mut server, at(now));
        let closed_now = server.is_closed();
        assert_eq!(closed_now, now >= 16_000, "at {now} ms");
    }
}

#[test]
fn a_key_is_left_before_it_is_used_up() {
    let (mut client, mut server) = pair();
    server.sealed = (1 << 23) - 17;
    server
        .send(at(1_000), outgoing(Mode::Unreliable, 0, b"one more"))
        .unwrap();
    deliver(&mut client, at(1_000), transmit(&mut server, at(1_000)));
    let more = outgoing(Mode::Unreliable, 0, b"too many");
    assert_eq!(server.send(at(1_000), more), Err(SendError::Closed));
    assert_eq!(
        events(&mut client).last(),
        Some(&closed(true, CloseCode::KEY_USED_UP, ""))
    );

    let (mut client, mut server) = pair();
    server.opened = (1 << 23) - 1;
    client
        .send(at(1_000), outgoing(Mode::Unreliable, 0, b""))
        .unwrap();
    deliver(&mut server, at(1_000), transmit(&mut client, at(1_000)));
    assert!(server.is_closed());
}

#[test]
fn one_who_only_listens_asks_for_an_acknowledgement_of_its_gaps() {
    let (mut client, mut server) = pair();
    let mut longest = 0;
    for n in 0..400_u64 {
        let now = at(1_000 + n * 10);
        server
            .send(now, outgoing(Mode::Unreliable, 0, &n.to_be_bytes()))
            .unwrap();
        let sent = transmit(&mut server, now);
        if n % 3 > 0 {
            deliver(&mut client, now, sent);
        }
        let acks = transmit(&mut client, now);
        longest = longest.max(acks.iter().map(Vec::len).max().unwrap_or(0));
        deliver(&mut server, now, acks);
    }
    assert!(longest < 64 + 14 + 4 * 20, "{longest} bytes");
}

#[test]
fn a_blackout_ends_with_everything_delivered_once() {
    for seed in 0..20 {
        let mut network = Network::new(Weather {
            seed,
            loss: 10,
            twice: 5,
            delay_ms: 40,
            jitter_ms: 20,
        });
        let mut got = [Vec::new(), Vec::new()];
        let mut sent = 0_u32;
        while network.now < at(90_000) {
            let dark = network.now >= at(500 + seed * 17) && network.now < at(30_000);
            network.weather.loss = if dark { 100 } else { 10 };
            if sent < 400 && network.now >= at(u64::from(sent) * 5) {
                for end in [&mut network.client, &mut network.server] {
                    let body = sent.to_be_bytes();
                    end.send(network.now, outgoing(Mode::ReliableOrdered, 0, &body))
                        .unwrap();
                }
                sent += 1;
            }
            assert!(network.step());
            for (end, got) in [&mut network.client, &mut network.server]
                .into_iter()
                .zip(&mut got)
            {
                got.extend(events(end));
            }
        }
        for got in got {
            let numbers: Vec<Vec<u8>> = bodies(&got).iter().map(|body| body.to_vec()).collect();
            let all: Vec<Vec<u8>> = (0..400_u32).map(|n| n.to_be_bytes().to_vec()).collect();
            assert_eq!(numbers, all, "seed {seed}");
            assert!(got.contains(&SessionEvent::Away) && got.contains(&SessionEvent::Back));
            assert!(
                !got.iter()
                    .any(|event| matches!(event, SessionEvent::Closed { .. }))
            );
        }
    }
}
