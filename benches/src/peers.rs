//! The two kinds of client: one that sends plain datagrams to the bare echo, one that speaks the wire. They open no socket.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cohnect_protocol::ops::Status;
use cohnect_protocol::{
    ClientConfig, ClientEndpoint, ClientEvent, Entropy, Mode, Now, Opcode, Outgoing, RequestId,
    SessionEvent,
};

use crate::load::{Answer, Peer};

/// After this time a bare datagram counts as lost and is sent again, or one full socket buffer would end the load for good.
const LOST_AFTER: Duration = Duration::from_millis(50);

/// A client of the bare echo.
#[derive(Debug)]
pub(crate) struct BarePeer {
    size: usize,
    in_flight: u32,
    started: bool,
    to_send: u32,
    asked: VecDeque<Instant>,
    /// Datagrams that came.
    pub(crate) received: u64,
}

impl BarePeer {
    /// Datagrams of so many bytes, so many under way.
    pub(crate) const fn new(size: usize, in_flight: u32) -> Self {
        Self {
            size,
            in_flight,
            started: false,
            to_send: 0,
            asked: VecDeque::new(),
            received: 0,
        }
    }
}

impl Peer for BarePeer {
    fn connect(&mut self, _now: Instant) {}

    fn ready(&self) -> bool {
        true
    }

    fn start(&mut self, _now: Instant) {
        if !self.started {
            self.started = true;
            self.to_send = self.in_flight;
        }
    }

    fn receive(&mut self, now: Instant, _datagram: &mut [u8], answered: &mut dyn FnMut(Answer)) {
        self.received += 1;
        if let Some(asked) = self.asked.pop_front() {
            self.to_send += 1;
            answered(Answer {
                asked,
                at: now,
                ok: true,
            });
        }
    }

    fn transmit(&mut self, now: Instant, out: &mut Vec<u8>) -> Option<usize> {
        self.to_send = self.to_send.checked_sub(1)?;
        self.asked.push_back(now);
        out.resize(self.size, 7);
        Some(self.size)
    }

    fn tick(&mut self, now: Instant) {
        while self
            .asked
            .pop_front_if(|asked| now.duration_since(*asked) > LOST_AFTER)
            .is_some()
        {
            self.to_send += 1;
        }
    }
}

/// What a client of the wire asks.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    /// The operation.
    pub(crate) opcode: Opcode,
    /// Its body.
    pub(crate) body: Bytes,
    /// How it travels.
    pub(crate) mode: Mode,
}

/// Bytes and datagrams.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) bytes: u64,
    pub(crate) datagrams: u64,
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
    /// What it sent while it asked again and again.
    pub(crate) sent: Traffic,
    /// What came to it.
    pub(crate) came: Traffic,
    /// The body of the latest answer.
    pub(crate) latest: Bytes,
}

impl WirePeer {
    /// A client that asks this again and again, so many at a time; none asks nothing by itself.
    pub(crate) fn new(
        config: ClientConfig,
        entropy: Box<dyn Entropy>,
        question: Option<Question>,
        in_flight: u32,
    ) -> Self {
        let server = config.server;
        Self {
            endpoint: ClientEndpoint::new(config, entropy),
            server,
            origin: Instant::now(),
            question,
            in_flight,
            asking: false,
            connected: false,
            asked: VecDeque::new(),
            received: 0,
            sent: Traffic::default(),
            came: Traffic::default(),
            latest: Bytes::new(),
        }
    }

    fn now(&self, now: Instant) -> Now {
        Now::default().plus(now.saturating_duration_since(self.origin))
    }

    /// Asks once, beside what it asks again and again.
    pub(crate) fn ask(&mut self, at: Instant, question: Question) {
        let now = self.now(at);
        let message = Outgoing {
            opcode: question.opcode,
            version: 0,
            channel: 0,
            mode: question.mode,
            body: question.body,
        };
        if let Ok(id) = self.endpoint.request(now, message) {
            self.asked.push_back((id, at));
        }
    }

    fn answered(&mut self, at: Instant, id: RequestId, ok: bool, answered: &mut dyn FnMut(Answer)) {
        let asked = self
            .asked
            .iter()
            .position(|(asked, _)| *asked == id)
            .and_then(|place| self.asked.remove(place));
        if let Some((_, asked)) = asked {
            answered(Answer { asked, at, ok });
        }
        if self.asking
            && let Some(question) = self.question.clone()
        {
            self.ask(at, question);
        }
    }

    fn events(&mut self, at: Instant, answered: &mut dyn FnMut(Answer)) {
        while let Some(event) = self.endpoint.poll_event() {
            match event {
                ClientEvent::Connected { .. } => self.connected = true,
                ClientEvent::Session(SessionEvent::Response {
                    request,
                    outcome,
                    body,
                }) => {
                    self.latest = body;
                    self.answered(at, request, outcome.status() == Status::Ok, answered);
                }
                ClientEvent::Session(SessionEvent::Message { .. }) => self.received += 1,
                ClientEvent::Session(_) => {}
                // One that is refused tries again until whoever waits for it loses patience.
                ClientEvent::Failed(_) => self.endpoint.connect(self.now(at)),
            }
        }
    }
}

impl Peer for WirePeer {
    fn connect(&mut self, now: Instant) {
        self.endpoint.connect(self.now(now));
    }

    fn ready(&self) -> bool {
        self.connected
    }

    fn start(&mut self, now: Instant) {
        if !self.asking {
            self.asking = true;
            for question in std::iter::repeat_n(self.question.clone(), self.in_flight as usize) {
                question
                    .into_iter()
                    .for_each(|question| self.ask(now, question));
            }
        }
    }

    fn receive(&mut self, at: Instant, datagram: &mut [u8], answered: &mut dyn FnMut(Answer)) {
        let now = self.now(at);
        self.came.bytes += datagram.len() as u64;
        self.came.datagrams += 1;
        self.endpoint.handle_datagram(now, self.server, datagram);
        self.events(at, answered);
    }

    fn transmit(&mut self, at: Instant, out: &mut Vec<u8>) -> Option<usize> {
        let now = self.now(at);
        let transmit = self.endpoint.poll_transmit(now, out)?;
        if self.asking {
            self.sent.bytes += transmit.len as u64;
            self.sent.datagrams += transmit.datagrams(out).count() as u64;
        }
        Some(transmit.segment_len)
    }

    fn tick(&mut self, at: Instant) {
        let now = self.now(at);
        if self
            .endpoint
            .poll_timeout()
            .is_some_and(|due| due <= now.monotonic)
        {
            self.endpoint.handle_timeout(now);
            self.events(at, &mut |_| {});
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_client_keeps_its_number_under_way_and_replaces_what_was_lost() {
        let began = Instant::now();
        let mut peer = BarePeer::new(10, 2);
        let mut out = Vec::new();
        peer.start(began);
        peer.start(began);
        assert_eq!(peer.transmit(began, &mut out), Some(10));
        assert_eq!(peer.transmit(began, &mut out), Some(10));
        assert_eq!(peer.transmit(began, &mut out), None);
        let mut answers = 0;
        peer.receive(began, &mut [7; 10], &mut |_| answers += 1);
        assert_eq!((answers, peer.to_send), (1, 1));
        peer.tick(began + LOST_AFTER * 2);
        assert_eq!((peer.to_send, peer.asked.len()), (2, 0));
        // It comes after all: nothing more is sent for it.
        peer.receive(began, &mut [7; 10], &mut |_| answers += 1);
        assert_eq!((answers, peer.to_send), (1, 2));
    }
}
