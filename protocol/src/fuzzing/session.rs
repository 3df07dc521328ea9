//! What lies behind the key: frames as a proven peer may write them, and two honest sessions over a network that does what it likes.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use super::{Input, Open};
use crate::ops::Outcome;
use crate::wire::{Contents, OpFrame, PnRange, encode_ack};
use crate::{
    DATAGRAM_LEN_MAX, Dropped, Header, Mode, Monotonic, Opcode, Outgoing, PeerId, ProtectedPrefix,
    RequestContext, Role, Session, SessionEvent, SessionSetup, TAG_LEN, VERSION,
};

type Peer = Session<Open>;

/// Steps of one input.
const STEPS_MAX: usize = 400;
/// Rounds in which everything that was promised must have arrived on a network that loses nothing any more.
const ROUNDS_MAX: usize = 2_000;

const IDS: [PeerId; 2] = [PeerId::from_bytes([1; 16]), PeerId::from_bytes([2; 16])];

fn session(role: Role) -> Peer {
    let [local, peer] = match role {
        Role::Client => IDS,
        Role::Server => [IDS[1], IDS[0]],
    };
    let setup = SessionSetup {
        role,
        local,
        peer,
        number: 37,
        seal: Open,
        open: Open,
        peer_max_message: 1_100,
        peer_max_ack_delay: Duration::from_millis(20),
        max_ack_delay: Duration::from_millis(20),
        idle_timeout: Duration::from_secs(15),
        keepalive: Duration::from_secs(5),
        away: Duration::from_secs(60),
        handshake_rtt: None,
        skip_seed: 99,
    };
    Session::new(setup, Monotonic(0))
}

/// A datagram with these frames, from the peer of whoever takes it.
fn datagram(from: PeerId, number: u64, opcode: Opcode, frames: &[u8]) -> Vec<u8> {
    let header = Header {
        version: VERSION,
        sender: from,
        opcode,
    };
    let prefix = ProtectedPrefix {
        epoch: 0,
        session: 37,
        packet_number: number,
    };
    let mut out = [&header.encode()[..], &prefix.encode(), frames].concat();
    out.extend([0; TAG_LEN]);
    out.truncate(DATAGRAM_LEN_MAX);
    out
}

fn transmit(peer: &mut Peer, now: Monotonic, queue: &mut VecDeque<Vec<u8>>) {
    let mut out = Vec::new();
    while peer.poll_transmit(now, &mut out) {
        assert!((64..=DATAGRAM_LEN_MAX).contains(&out.len()));
        queue.push_back(core::mem::take(&mut out));
    }
}

/// All frames of a datagram: what is readable means the same when it is written again, and a session survives it.
pub fn frames(bytes: &[u8]) {
    let mut input = Input(bytes);
    let opcode = Opcode(input.u16());
    for opcode in [opcode, Opcode::BATCH, Opcode::CONTROL] {
        let Ok(contents) = Contents::parse(input.0, opcode) else {
            continue;
        };
        for op in contents.ops() {
            let mut out = Vec::new();
            op.encode(&mut out);
            assert_eq!(out.len(), op.encoded_len());
            let header = Opcode(op.opcode);
            let again = Contents::parse(&out, header).map(|contents| contents.ops().collect());
            assert_eq!(again, Ok(vec![op]) as Result<Vec<OpFrame<'_>>, _>);
        }
        if let Some(ack) = contents.ack {
            let ranges: Vec<_> = ack.ranges().collect();
            let mut out = Vec::new();
            let largest = encode_ack(&mut out, ack.delay, ranges.iter().copied(), 1_000);
            assert_eq!(largest, Some(ack.largest));
            // Neighbours that came as two runs stay two.
            let again = Contents::parse(&out, Opcode::CONTROL).map(|contents| contents.ack);
            let again = again.ok().flatten().map(|ack| ack.ranges().collect());
            assert_eq!(again, Some(ranges) as Option<Vec<PnRange>>);
        }
    }
    let mut server = session(Role::Server);
    let now = Monotonic(1_000);
    let _ = server.handle_datagram(now, &mut datagram(IDS[0], 1, opcode, input.0));
    while server.poll_event().is_some() {}
    server.handle_timeout(now);
    transmit(&mut server, now, &mut VecDeque::new());
}

/// Acknowledgements as a proven peer may write them, of what was and of what was not sent: they free no more than there is, and ask for nothing.
pub fn ack_ranges(bytes: &[u8]) {
    let mut input = Input(bytes);
    let mut server = session(Role::Server);
    let mut number = 0;
    let mut now = Monotonic(1_000);
    let mut sent = VecDeque::new();
    for _ in 0..STEPS_MAX {
        if input.is_empty() || server.is_closed() {
            break;
        }
        let many = input.u8() % 70;
        for _ in 0..many {
            let mode = if many % 2 == 0 {
                Mode::Unreliable
            } else {
                Mode::ReliableOrdered
            };
            let _ = server.send(now, message(mode, 0, Bytes::from_static(&[0; 900])));
            transmit(&mut server, now, &mut sent);
        }
        let mut frames = vec![2];
        // Near to what was sent, or anywhere.
        let largest = match input.u8() {
            near @ ..200 => sent.len() as u64 + 3 - u64::from(near % 32).min(sent.len() as u64),
            _ => input.u64(),
        };
        frames.extend(largest.to_be_bytes());
        frames.extend(input.u16().to_be_bytes());
        frames.extend(u16::from(input.u8()).to_be_bytes());
        let pairs = input.u8() % 34;
        frames.push(pairs);
        for _ in 0..pairs {
            for _ in 0..2 {
                frames.extend(u16::from(input.u8() % 8).to_be_bytes());
            }
        }
        number += 1;
        now = now.plus(Duration::from_millis(u64::from(input.u8())));
        let (in_flight, queued) = (server.in_flight(), server.queued_bytes());
        let mut bytes = datagram(IDS[0], number, Opcode::CONTROL, &frames);
        let _ = server.handle_datagram(now, &mut bytes);
        assert!(server.in_flight() <= in_flight && server.queued_bytes() <= queued);
        server.handle_timeout(now);
        transmit(&mut server, now, &mut sent);
        while server.poll_event().is_some() {}
    }
}

fn message(mode: Mode, channel: u8, body: Bytes) -> Outgoing {
    Outgoing {
        opcode: Opcode(0x0123),
        version: 1,
        channel,
        mode,
        body,
    }
}

/// One end of the stateful target: the session, what it sent and what it took.
struct End {
    peer: Peer,
    /// Datagrams on their way to the other end.
    network: VecDeque<Vec<u8>>,
    /// Reliable messages by mode and channel, in the order in which they were sent.
    sent: BTreeMap<(Mode, u8), Vec<u32>>,
    taken: BTreeMap<(Mode, u8), Vec<u32>>,
    asked: BTreeSet<u32>,
    open: VecDeque<RequestContext>,
    next: u32,
}

impl End {
    fn new(role: Role) -> Self {
        Self {
            peer: session(role),
            network: VecDeque::new(),
            sent: BTreeMap::new(),
            taken: BTreeMap::new(),
            asked: BTreeSet::new(),
            open: VecDeque::new(),
            next: 0,
        }
    }

    fn send(&mut self, now: Monotonic, how: u8, len: u8, asks: bool) {
        let modes = [
            Mode::Unreliable,
            Mode::UnreliableSequenced,
            Mode::ReliableUnordered,
            Mode::ReliableOrdered,
        ];
        let mode = modes[usize::from(how & 3)];
        let channel = (how >> 2) % 3;
        self.next += 1;
        let mut body = self.next.to_be_bytes().to_vec();
        body.resize(4 + usize::from(len) * 4, 0);
        let outgoing = message(mode, channel, body.into());
        let done = if asks {
            let id = self.peer.request(now, outgoing);
            id.map(|id| assert!(self.asked.insert(id.0), "an open id was given again"))
        } else {
            self.peer.send(now, outgoing)
        };
        if done.is_ok() && mode.is_reliable() {
            let all = self.sent.entry((mode, channel)).or_default();
            all.push(self.next);
        }
    }

    fn take_events(&mut self) {
        while let Some(event) = self.peer.poll_event() {
            match event {
                SessionEvent::Message {
                    channel,
                    mode,
                    request,
                    body,
                    ..
                } => {
                    self.open.extend(request);
                    if let (true, Some(number)) = (mode.is_reliable(), body.first_chunk()) {
                        let all = self.taken.entry((mode, channel)).or_default();
                        all.push(u32::from_be_bytes(*number));
                    }
                }
                SessionEvent::Response { request, .. } => {
                    assert!(self.asked.remove(&request.0), "nobody asked for this");
                }
                SessionEvent::Alive { .. }
                | SessionEvent::Away
                | SessionEvent::Back
                | SessionEvent::Closed { .. } => {}
            }
        }
    }

    fn answer(&mut self, now: Monotonic) {
        if let Some(context) = self.open.pop_front() {
            let _ = self
                .peer
                .respond(now, context, Outcome::Done, Bytes::from_static(b"yes"));
        }
    }

    /// Hands over a datagram of the other end, who is honest.
    fn hear(&mut self, now: Monotonic, mut bytes: Vec<u8>) {
        let heard = self.peer.handle_datagram(now, &mut bytes);
        assert!(!matches!(heard, Err(Dropped::Protocol(_))), "{heard:?}");
    }
}

/// What one end took of what the other sent: each once, and in order where that was promised; all of it when `all`.
fn compare(sender: &End, receiver: &End, all: bool) {
    for (key, taken) in &receiver.taken {
        let sent = sender.sent.get(key).map_or(&[][..], Vec::as_slice);
        if key.0 == Mode::ReliableOrdered {
            assert!(
                sent.starts_with(taken),
                "{key:?}: {sent:?} became {taken:?}"
            );
        } else {
            let once: BTreeSet<_> = taken.iter().collect();
            assert_eq!(once.len(), taken.len(), "{key:?}: something came twice");
            assert!(once.iter().all(|number| sent.contains(number)));
        }
    }
    if all {
        for (key, sent) in &sender.sent {
            let taken = receiver.taken.get(key).map_or(0, Vec::len);
            assert_eq!(taken, sent.len(), "{key:?}: something never came");
        }
    }
}

/// Two honest sessions, and a network that loses, repeats and reorders as the input says: what is reliable comes once and in order, whatever happens.
/// With an odd first byte the client is not honest: the input writes some of its frames, and the server only has to survive.
pub fn session_stateful(bytes: &[u8]) {
    let mut input = Input(bytes);
    let hostile = input.u8() % 2 == 1;
    let mut ends = [End::new(Role::Client), End::new(Role::Server)];
    let mut now = Monotonic(1_000);
    for _ in 0..STEPS_MAX {
        if input.is_empty() {
            break;
        }
        let step = input.u8();
        let this = usize::from(step >> 7);
        match step % 10 {
            0 => ends[this].send(now, input.u8(), input.u8(), false),
            1 => ends[this].send(now, input.u8() | 2, input.u8(), true),
            2 => ends[this].answer(now),
            3 => {
                let end = &mut ends[this];
                transmit(&mut end.peer, now, &mut end.network);
            }
            4 | 5 => {
                let at = usize::from(input.u8() % 8);
                if let Some(bytes) = ends[this].network.remove(at) {
                    hand_over(&mut ends[1 - this], now, bytes, hostile);
                }
            }
            6 => drop(ends[this].network.pop_front()),
            7 => {
                let again = ends[this].network.front().cloned();
                ends[this].network.extend(again);
            }
            8 => {
                now = now.plus(Duration::from_millis(u64::from(input.u8())));
                for end in &mut ends {
                    end.peer.handle_timeout(now);
                }
            }
            _ if hostile => {
                let opcode = Opcode(input.u16() % 0x0200);
                let number = input.u64() % 4_096;
                let len = usize::from(input.u8());
                let mut bytes = datagram(IDS[0], number, opcode, input.bytes(len));
                let _ = ends[1].peer.handle_datagram(now, &mut bytes);
            }
            _ => ends[this].take_events(),
        }
    }
    if hostile {
        ends[1].peer.handle_timeout(now);
        while ends[1].peer.poll_event().is_some() {}
        transmit(&mut ends[1].peer, now, &mut VecDeque::new());
        return;
    }
    let settled = settle(&mut ends, now);
    compare(&ends[0], &ends[1], settled);
    compare(&ends[1], &ends[0], settled);
}

fn hand_over(to: &mut End, now: Monotonic, mut bytes: Vec<u8>, hostile: bool) {
    if hostile {
        let _ = to.peer.handle_datagram(now, &mut bytes);
    } else {
        to.hear(now, bytes);
    }
}

/// Lets the network do its duty until nobody waits for anything; false when a session has ended on the way.
fn settle(ends: &mut [End; 2], mut now: Monotonic) -> bool {
    for _ in 0..ROUNDS_MAX {
        for this in 0..2 {
            ends[this].take_events();
            while !ends[this].open.is_empty() {
                ends[this].answer(now);
            }
            let end = &mut ends[this];
            transmit(&mut end.peer, now, &mut end.network);
            while let Some(bytes) = ends[this].network.pop_front() {
                ends[1 - this].hear(now, bytes);
            }
        }
        if ends.iter().any(|end| end.peer.is_closed()) {
            return false;
        }
        if ends.iter().all(|end| end.peer.queued_bytes() == 0) {
            ends.iter_mut().for_each(End::take_events);
            return true;
        }
        let next = ends.iter().filter_map(|end| end.peer.poll_timeout()).min();
        now = next.map_or(now, |next| next.max(now));
        for end in ends.iter_mut() {
            end.peer.handle_timeout(now);
        }
    }
    unreachable!("it never comes to rest");
}
