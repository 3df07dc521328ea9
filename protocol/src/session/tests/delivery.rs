//! What arrives: exactly once, in order, answered, within the bounds.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::network::{Network, Weather};
use super::*;
use crate::limits::{IN_FLIGHT_MAX, MESSAGE_OVERHEAD, SEND_QUEUE_HARD_MAX, SEND_QUEUE_MAX};

const MODES: [Mode; 4] = [
    Mode::Unreliable,
    Mode::UnreliableSequenced,
    Mode::ReliableUnordered,
    Mode::ReliableOrdered,
];

/// What one end got, as (mode, channel) → numbers in the order of arrival.
#[derive(Default)]
struct Inbox {
    messages: BTreeMap<(Mode, u8), Vec<u32>>,
    responses: BTreeMap<u32, u32>,
}

impl Inbox {
    /// Takes all events of `session`, echoing requests.
    fn take(&mut self, now: Monotonic, session: &mut TestSession) {
        while let Some(event) = session.poll_event() {
            match event {
                SessionEvent::Message {
                    channel,
                    mode,
                    request,
                    body,
                    ..
                } => {
                    let number = u32::from_be_bytes(body[..4].try_into().unwrap());
                    if let Some(request) = request {
                        session.respond(now, request, Outcome::Done, body).unwrap();
                    }
                    self.messages
                        .entry((mode, channel))
                        .or_default()
                        .push(number);
                }
                SessionEvent::Response { request, body, .. } => {
                    let number = u32::from_be_bytes(body[..4].try_into().unwrap());
                    assert_eq!(self.responses.insert(request.0, number), None);
                }
                SessionEvent::Closed { code, text, .. } => panic!("closed: {code} {text}"),
                SessionEvent::Alive { .. } | SessionEvent::Away | SessionEvent::Back => {}
            }
        }
    }

    fn count(&self) -> usize {
        let reliable = self.messages.iter().filter(|(key, _)| key.0.is_reliable());
        reliable.map(|(_, numbers)| numbers.len()).sum()
    }
}

/// What one end sent.
#[derive(Default)]
struct Outbox {
    next: u32,
    messages: BTreeMap<(Mode, u8), Vec<u32>>,
    requests: BTreeMap<u32, u32>,
    unreliable_requests: BTreeSet<u32>,
}

impl Outbox {
    /// Sends one message of chance; false when the session has no room.
    fn send(&mut self, now: Monotonic, session: &mut TestSession, chance: u64) -> bool {
        let mode = MODES[(chance % 4) as usize];
        let channel = [0, 1, 31][(chance / 4 % 3) as usize];
        let len = 4 + (chance / 12 % 1_097).pow(2) / 1_096;
        let mut body = vec![0xaa; len as usize];
        body[..4].copy_from_slice(&self.next.to_be_bytes());
        let message = outgoing(mode, channel, &body);
        let asks = (chance / 20_000).is_multiple_of(2) && mode != Mode::UnreliableSequenced;
        let sent = if asks {
            session.request(now, message).map(|id| {
                self.requests.insert(id.0, self.next);
                if !mode.is_reliable() {
                    self.unreliable_requests.insert(id.0);
                }
            })
        } else {
            session.send(now, message)
        };
        match sent {
            Ok(()) => {
                let numbers = self.messages.entry((mode, channel)).or_default();
                numbers.push(self.next);
                self.next += 1;
                true
            }
            Err(SendError::Busy) => false,
            Err(other) => panic!("{other}"),
        }
    }

    fn count(&self) -> usize {
        let reliable = self.messages.iter().filter(|(key, _)| key.0.is_reliable());
        reliable.map(|(_, numbers)| numbers.len()).sum()
    }

    fn reliable_requests(&self) -> usize {
        self.requests.len() - self.unreliable_requests.len()
    }

    /// Compares with what the other end got, and with the answers that this end got.
    fn check(&self, there: &Inbox, here: &Inbox) {
        for (key, sent) in &self.messages {
            let mut got = there.messages.get(key).cloned().unwrap_or_default();
            match key.0 {
                Mode::ReliableOrdered => assert_eq!(&got, sent, "{key:?}"),
                Mode::ReliableUnordered => {
                    got.sort_unstable();
                    assert_eq!(&got, sent, "{key:?}");
                }
                Mode::UnreliableSequenced => {
                    assert!(got.windows(2).all(|pair| pair[0] < pair[1]), "{key:?}");
                }
                Mode::Unreliable => {
                    let count = got.len();
                    let got: BTreeSet<u32> = got.into_iter().collect();
                    assert_eq!(got.len(), count, "{key:?}");
                }
            }
        }
        for (id, number) in &self.requests {
            match here.responses.get(id) {
                Some(echo) => assert_eq!(echo, number),
                None => assert!(self.unreliable_requests.contains(id), "request {id}"),
            }
        }
    }
}

/// Both ends send `count` messages each over `weather`; answers how long it took and how many datagrams.
fn exchange(weather: Weather, count: u32) -> (Monotonic, u64) {
    let mut network = Network::new(weather);
    let (mut client_out, mut server_out) = (Outbox::default(), Outbox::default());
    let (mut client_in, mut server_in) = (Inbox::default(), Inbox::default());
    loop {
        for _ in 0..8 {
            let (one, other) = (network.draw(1 << 40), network.draw(1 << 40));
            if client_out.next < count {
                client_out.send(network.now, &mut network.client, one);
            }
            if server_out.next < count {
                server_out.send(network.now, &mut network.server, other);
            }
        }
        assert!(network.step());
        client_in.take(network.now, &mut network.client);
        server_in.take(network.now, &mut network.server);
        // Their own requests do not bind a test for ever.
        let done = client_out.next == count
            && server_out.next == count
            && client_out.count() == server_in.count()
            && server_out.count() == client_in.count()
            && network.client.queued_bytes() + network.server.queued_bytes() == 0;
        if network.now > at(600_000) {
            panic!("not done after ten minutes: {weather:?}");
        }
        for (out, inbox, end) in [
            (&client_out, &client_in, &mut network.client),
            (&server_out, &server_in, &mut network.server),
        ] {
            // What an unreliable request lost is given up, so that it does not hold a place.
            if end.open_requests() > 200 {
                for id in &out.unreliable_requests {
                    if !inbox.responses.contains_key(id) {
                        end.forget(RequestId(*id));
                    }
                }
            }
        }
        if done {
            break;
        }
    }
    client_out.check(&server_in, &client_in);
    server_out.check(&client_in, &server_in);
    let reliable = client_in.responses.len() >= client_out.reliable_requests();
    assert!(reliable && client_out.reliable_requests() > 0);
    (network.now, network.datagrams)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn everything_reliable_arrives_once_and_in_order(
        seed: u64, loss in 0..30_u64, twice in 0..30_u64, delay_ms in 0..120_u64, jitter_ms in 0..60_u64,
    ) {
        exchange(Weather { seed, loss, twice, delay_ms, jitter_ms }, 300);
    }
}

#[test]
fn one_seed_gives_one_run() {
    let weather = Weather {
        seed: 5,
        loss: 20,
        twice: 10,
        delay_ms: 30,
        jitter_ms: 20,
    };
    assert_eq!(exchange(weather, 500), exchange(weather, 500));
}

#[test]
fn a_good_network_costs_few_datagrams() {
    let weather = Weather {
        seed: 1,
        loss: 0,
        twice: 0,
        delay_ms: 10,
        jitter_ms: 0,
    };
    let (now, datagrams) = exchange(weather, 2_000);
    assert!(now < at(10_000), "{now:?}");
    assert!(datagrams < 6_000, "{datagrams}");
}

#[test]
fn a_request_and_its_answer_take_one_datagram_each() {
    let (mut client, mut server) = pair();
    for round in 0..100_u64 {
        let now = at(1_000 + round * 10);
        let request = client
            .request(now, outgoing(Mode::ReliableUnordered, 0, b"echo"))
            .unwrap();
        let sent = transmit(&mut client, now);
        assert_eq!(sent.len(), 1);
        deliver(&mut server, now, sent);
        let [
            SessionEvent::Message {
                request: Some(context),
                body,
                ..
            },
        ] = &events(&mut server)[..]
        else {
            panic!("no request")
        };
        server
            .respond(now, *context, Outcome::Done, body.clone())
            .unwrap();
        let sent = transmit(&mut server, now);
        assert_eq!(sent.len(), 1, "the acknowledgement travels with the answer");
        deliver(&mut client, now, sent);
        let response = SessionEvent::Response {
            request,
            outcome: Outcome::Done,
            body: Bytes::from_static(b"echo"),
        };
        assert_eq!(events(&mut client), [response]);
        assert_eq!((client.in_flight(), server.in_flight()), (0, 1));
        assert!(transmit(&mut client, now).is_empty());
    }
}

#[test]
fn sixteen_operations_share_a_datagram() {
    let (mut client, mut server) = pair();
    for n in 0..16 {
        client
            .request(at(1_000), outgoing(Mode::Unreliable, 0, &[n; 32]))
            .unwrap();
    }
    let sent = transmit(&mut client, at(1_000));
    assert_eq!(sent.len(), 1);
    assert_eq!(Header::parse(&sent[0]).unwrap().opcode, Opcode::BATCH);
    deliver(&mut server, at(1_005), sent);
    let got = events(&mut server);
    assert_eq!(bodies(&got), (0..16).map(|n| [n; 32]).collect::<Vec<_>>());
    for event in got {
        if let SessionEvent::Message {
            request: Some(context),
            body,
            ..
        } = event
        {
            server
                .respond(at(1_005), context, Outcome::Done, body)
                .unwrap();
        }
    }
    assert_eq!(transmit(&mut server, at(1_005)).len(), 1);
}

#[test]
fn the_window_of_64_holds_and_the_queue_is_bounded() {
    let (mut client, _) = pair();
    let mut queued = 0;
    let refused = loop {
        match client.send(at(1_000), outgoing(Mode::ReliableOrdered, 0, &[7; 1_000])) {
            Ok(()) => queued += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(refused, SendError::Busy);
    assert_eq!(queued, SEND_QUEUE_MAX / (1_000 + MESSAGE_OVERHEAD));
    assert!(client.queued_bytes() <= SEND_QUEUE_MAX);
    assert_eq!(transmit(&mut client, at(1_000)).len(), IN_FLIGHT_MAX);
    assert_eq!(client.in_flight(), IN_FLIGHT_MAX);
    let refused = client.request(at(1_000), outgoing(Mode::Unreliable, 0, &[0; 1_000]));
    assert_eq!(refused, Err(SendError::Busy));
    // What is owed is queued all the same, up to the bound at which a peer that takes nothing is closed.
    let owed = || outgoing(Mode::ReliableOrdered, 1, &[0; 1_000]);
    client.send_owed(at(1_000), owed()).unwrap();
    assert!(client.queued_bytes() > SEND_QUEUE_MAX);
    let mut owes = 1;
    while client.send_owed(at(1_000), owed()).is_ok() {
        owes += 1;
    }
    assert_eq!(
        owes,
        SEND_QUEUE_HARD_MAX / (1_000 + MESSAGE_OVERHEAD) - queued + 1
    );
    assert_eq!(client.send_owed(at(1_000), owed()), Err(SendError::Closed));
    assert_eq!(client.open_requests(), 0);
}

#[test]
fn credit_holds_a_sender_until_messages_are_taken() {
    let (mut client, mut server) = pair();
    let mut now = 1_000;
    // Each message costs 1,024 of 262,144.
    for _ in 0..600 {
        client
            .send(at(now), outgoing(Mode::ReliableOrdered, 0, &[1; 960]))
            .unwrap();
    }
    for _ in 0..20 {
        now += 10;
        let sent = transmit(&mut client, at(now));
        deliver(&mut server, at(now + 5), sent);
        let sent = transmit(&mut server, at(now + 5));
        deliver(&mut client, at(now + 10), sent);
    }
    assert_eq!(client.in_flight(), 0);
    assert_eq!(events(&mut server).len(), 256);
    now += 10;
    let sent = transmit(&mut server, at(now));
    assert_eq!(sent.len(), 1, "WINDOW");
    deliver(&mut client, at(now + 5), sent);
    assert_eq!(transmit(&mut client, at(now + 5)).len(), IN_FLIGHT_MAX);
}

#[test]
fn a_lost_window_is_sent_again() {
    let (mut client, mut server) = pair();
    for _ in 0..400 {
        client
            .send(at(1_000), outgoing(Mode::ReliableOrdered, 0, &[1; 960]))
            .unwrap();
    }
    let mut now = 1_000;
    let mut taken = 0;
    for round in 0..400 {
        now += 10;
        let sent = transmit(&mut client, at(now));
        deliver(&mut server, at(now), sent);
        taken += events(&mut server).len();
        let sent = transmit(&mut server, at(now));
        // For a while nothing comes back.
        if round > 60 {
            deliver(&mut client, at(now), sent);
        }
        client.handle_timeout(at(now));
        server.handle_timeout(at(now));
    }
    assert_eq!(taken, 400);
}

#[test]
fn a_full_window_of_ids_does_not_hold_other_channels() {
    let (mut client, mut server) = pair();
    for _ in 0..1_500 {
        client
            .send(at(1_000), outgoing(Mode::ReliableUnordered, 0, &[]))
            .unwrap();
    }
    client
        .send(at(1_000), outgoing(Mode::ReliableUnordered, 1, b"other"))
        .unwrap();
    let sent = transmit(&mut client, at(1_000));
    deliver(&mut server, at(1_005), sent);
    let got = events(&mut server);
    assert_eq!(got.len(), 1_025);
    assert!(bodies(&got).contains(&&b"other"[..]));
    deliver(&mut client, at(1_010), transmit(&mut server, at(1_010)));
    let sent = transmit(&mut client, at(1_010));
    deliver(&mut server, at(1_015), sent);
    assert_eq!(events(&mut server).len(), 476);
}

#[test]
fn forms_that_cannot_be_sent_are_refused() {
    let (mut client, _) = pair();
    let now = at(1_000);
    let channel = outgoing(Mode::Unreliable, 32, b"");
    assert_eq!(client.send(now, channel), Err(SendError::Form));
    let sequenced = outgoing(Mode::UnreliableSequenced, 0, b"");
    assert_eq!(client.request(now, sequenced), Err(SendError::Form));
    let large = outgoing(Mode::Unreliable, 0, &[0; 1_101]);
    assert_eq!(client.send(now, large), Err(SendError::TooLarge));
    assert!(transmit(&mut client, now).is_empty());
}

#[test]
fn an_answer_that_is_too_large_becomes_bad() {
    let (mut client, mut server) = pair();
    client
        .request(at(1_000), outgoing(Mode::Unreliable, 0, b""))
        .unwrap();
    deliver(&mut server, at(1_000), transmit(&mut client, at(1_000)));
    let Some(SessionEvent::Message {
        request: Some(context),
        ..
    }) = server.poll_event()
    else {
        panic!("no request")
    };
    server
        .respond(at(1_000), context, Outcome::Done, vec![0; 1_101].into())
        .unwrap();
    deliver(&mut client, at(1_000), transmit(&mut server, at(1_000)));
    let Some(SessionEvent::Response { outcome, body, .. }) = client.poll_event() else {
        panic!("no answer")
    };
    assert_eq!((outcome, body.len()), (Outcome::Bad(Detail::TOO_LARGE), 0));
}

#[test]
fn a_request_that_finds_the_queue_full_is_told_so_in_every_mode() {
    let (mut client, mut server) = pair();
    // The client acknowledges and grants nothing: what it granted is used up in the end, and what may wait beyond is waiting.
    for _ in 0..50 {
        for body in [&[0; 1_000][..], b""] {
            while server
                .send(at(1_000), outgoing(Mode::ReliableOrdered, 0, body))
                .is_ok()
            {}
        }
        deliver(&mut client, at(1_000), transmit(&mut server, at(1_000)));
        deliver(&mut server, at(1_000), transmit(&mut client, at(1_000)));
    }
    let request = client
        .request(at(1_010), outgoing(Mode::Unreliable, 0, b""))
        .unwrap();
    deliver(&mut server, at(1_010), transmit(&mut client, at(1_010)));
    assert_eq!(events(&mut server), [], "nothing was executed");
    deliver(&mut client, at(1_020), transmit(&mut server, at(1_020)));
    let busy = SessionEvent::Response {
        request,
        outcome: Outcome::Err(Detail::BUSY),
        body: Bytes::new(),
    };
    assert!(events(&mut client).contains(&busy));
}

#[test]
fn unanswered_requests_make_the_next_busy() {
    let (mut client, mut server) = pair();
    for _ in 0..256 {
        client
            .request(at(1_000), outgoing(Mode::ReliableUnordered, 0, b""))
            .unwrap();
    }
    deliver(&mut server, at(1_000), transmit(&mut client, at(1_000)));
    let waiting = events(&mut server);
    assert_eq!(waiting.len(), 256);
    // A client that gives up asks again; the server has not forgotten the first.
    assert!(client.forget(RequestId(1)));
    let again = client
        .request(at(1_000), outgoing(Mode::ReliableUnordered, 0, b""))
        .unwrap();
    deliver(&mut client, at(1_010), transmit(&mut server, at(1_010)));
    deliver(&mut server, at(1_020), transmit(&mut client, at(1_020)));
    assert_eq!(events(&mut server), []);
    deliver(&mut client, at(1_030), transmit(&mut server, at(1_030)));
    let busy = SessionEvent::Response {
        request: again,
        outcome: Outcome::Err(Detail::BUSY),
        body: Bytes::new(),
    };
    assert_eq!(events(&mut client), [busy]);
}
