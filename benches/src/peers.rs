//! The two kinds of client: one that sends plain datagrams to the bare echo, one that speaks the wire.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use cohnect_protocol::ops::Status;
use cohnect_protocol::{ClientConfig, ClientEndpoint, ClientEvent, Entropy, Mode, Now, Opcode, Outgoing, RequestId, SessionEvent};

use crate::load::Peer;

/// The operating system's randomness.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&mut self, out: &mut [u8]) {
        getrandom::fill(out).expect("invariant: the operating system gives randomness");
    }
}

/// A client of the bare echo.
#[derive(Debug)]
pub(crate) struct BarePeer {
    size: usize,
    in_flight: u32,
    to_send: u32,
    asked: VecDeque<Instant>,
}

impl BarePeer {
    /// Datagrams of so many bytes, so many under way.
    pub(crate) const fn new(size: usize, in_flight: u32) -> Self {
        Self { size, in_flight, to_send: 0, asked: VecDeque::new() }
    }
}

impl Peer for BarePeer {
    fn receive(&mut self, now: Instant, _datagram: &mut [u8], answered: &mut dyn FnMut(Instant, bool)) {
        answered(self.asked.pop_front().unwrap_or(now), true);
        self.to_send += 1;
    }

    fn transmit(&mut self, now: Instant, out: &mut Vec<u8>) -> bool {
        if self.to_send == 0 {
            return false;
        }
        self.to_send -= 1;
        self.asked.push_back(now);
        out.resize(self.size, 7);
        true
    }

    fn tick(&mut self, _now: Instant) {}

    fn start(&mut self, _now: Instant) {
        self.to_send = self.in_flight;
    }

    fn ready(&self) -> bool {
        true
    }
}

/// What a client of the wire asks again and again.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    /// The operation.
    pub(crate) opcode: Opcode,
    /// Its body.
    pub(crate) body: Bytes,
    /// How it travels.
    pub(crate) mode: Mode,
}

/// A client of a cohnect server.
pub(crate) struct WirePeer {
    endpoint: ClientEndpoint,
    server: SocketAddr,
    origin: Instant,
    question: Option<Question>,
    in_flight: u32,
    asking: bool,
    connected: bool,
    asked: VecDeque<(RequestId, Instant)>,
    /// Messages that came unasked.
    pub(crate) received: u64,
    /// Bytes of datagrams received while asking, and how many; what the reference must send, too.
    pub(crate) traffic: (u64, u64),
}

impl WirePeer {
    /// A client that connects at once and asks this, so many at a time.
    pub(crate) fn new(config: ClientConfig, question: Option<Question>, in_flight: u32) -> Self {
        let origin = Instant::now();
        let server = config.server;
        let mut endpoint = ClientEndpoint::new(config, Box::new(SystemEntropy));
        endpoint.connect(Now::default());
        Self { endpoint, server, origin, question, in_flight, asking: false, connected: false, asked: VecDeque::new(), received: 0, traffic: (0, 0) }
    }

    fn now(&self, now: Instant) -> Now {
        Now::default().plus(now.duration_since(self.origin))
    }

    /// Asks once, beside what it asks again and again.
    pub(crate) fn ask(&mut self, at: Instant, question: Question) {
        let now = self.now(at);
        let message = Outgoing { opcode: question.opcode, version: 0, channel: 0, mode: question.mode, body: question.body };
        if let Ok(id) = self.endpoint.request(now, message) {
            self.asked.push_back((id, at));
        }
    }

    fn answered(&mut self, now: Instant, id: RequestId, status: Status, answered: &mut dyn FnMut(Instant, bool)) {
        let asked = self.asked.iter().position(|(asked, _)| *asked == id).and_then(|n| self.asked.remove(n));
        if let Some((_, asked)) = asked {
            answered(asked, status == Status::Ok);
        }
        if self.asking && let Some(question) = self.question.clone() {
            self.ask(now, question);
        }
    }

    fn events(&mut self, now: Instant, answered: &mut dyn FnMut(Instant, bool)) {
        while let Some(event) = self.endpoint.poll_event() {
            match event {
                ClientEvent::Connected { .. } => self.connected = true,
                ClientEvent::Session(SessionEvent::Response { request, outcome, .. }) => self.answered(now, request, outcome.status(), answered),
                ClientEvent::Session(SessionEvent::Message { .. }) => self.received += 1,
                ClientEvent::Session(_) => {}
                ClientEvent::Failed(_) => self.connected = false,
            }
        }
    }
}

impl Peer for WirePeer {
    fn receive(&mut self, at: Instant, datagram: &mut [u8], answered: &mut dyn FnMut(Instant, bool)) {
        let now = self.now(at);
        if self.asking {
            self.traffic = (self.traffic.0 + datagram.len() as u64, self.traffic.1 + 1);
        }
        self.endpoint.handle_datagram(now, self.server, datagram);
        self.events(at, answered);
    }

    fn transmit(&mut self, at: Instant, out: &mut Vec<u8>) -> bool {
        self.endpoint.poll_transmit(self.now(at), out).is_some()
    }

    fn tick(&mut self, at: Instant) {
        let now = self.now(at);
        if self.endpoint.poll_timeout().is_some_and(|due| due <= now.monotonic) {
            self.endpoint.handle_timeout(now);
            self.events(at, &mut |_, _| {});
        }
    }

    fn start(&mut self, now: Instant) {
        self.asking = true;
        for _ in 0..self.in_flight {
            if let Some(question) = self.question.clone() {
                self.ask(now, question);
            }
        }
    }

    fn ready(&self) -> bool {
        self.connected
    }
}
