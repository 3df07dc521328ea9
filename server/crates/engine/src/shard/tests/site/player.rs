//! The clients of a site: how they come and go, ask, and what they get.

use std::collections::VecDeque;
use std::net::SocketAddr;

use bytes::Bytes;
use cohnect_capabilities::ClientId;
use cohnect_protocol::ops::Outcome;
use cohnect_protocol::{
    ClientConfig, ClientEndpoint, ClientEvent, CloseCode, Mode, Opcode, Outgoing, SessionEvent,
    StaticKeys,
};

use super::{SERVER, Seeded, Site};

/// Something that a client got without asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::shard::tests) struct Pushed {
    pub(in crate::shard::tests) opcode: u16,
    pub(in crate::shard::tests) body: Bytes,
    pub(in crate::shard::tests) mode: Mode,
    pub(in crate::shard::tests) channel: u8,
}

/// A client.
pub(in crate::shard::tests) struct Player {
    pub(super) endpoint: ClientEndpoint,
    pub(super) address: SocketAddr,
    pub(in crate::shard::tests) id: ClientId,
    pub(in crate::shard::tests) shard: u16,
    answers: VecDeque<(u32, Outcome, Bytes)>,
    pub(in crate::shard::tests) pushed: Vec<Pushed>,
    pub(in crate::shard::tests) closed: Option<(CloseCode, String)>,
    pub(in crate::shard::tests) connected: bool,
    /// Its network is gone: nothing leaves and nothing arrives.
    pub(in crate::shard::tests) silent: bool,
}

impl Site {
    /// A client that belongs to this shard connects, and gets as far as the server lets it.
    pub(in crate::shard::tests) fn knock(&mut self, shard: u16) -> usize {
        let shards = self.shards.len() as u16;
        let shard = shard % shards;
        let keys = StaticKeys::for_shard(
            &mut self.entropy,
            self.steering,
            u32::from(shard),
            u32::from(shards),
        );
        self.knock_as(keys.unwrap())
    }

    pub(in crate::shard::tests) fn knock_as(&mut self, keys: StaticKeys) -> usize {
        let n = self.players.len();
        let id = ClientId::from_bytes(*keys.peer_id().as_bytes());
        let config = ClientConfig::new(keys, SERVER.into(), self.keys.public());
        let mut endpoint = ClientEndpoint::new(config, Box::new(Seeded(n as u64 + 1_000)));
        endpoint.connect(self.now);
        self.players.push(Player {
            endpoint,
            address: ([10, 0, (n / 250) as u8, (n % 250) as u8], 40_000).into(),
            id,
            shard: self.directory.shard_of(id),
            answers: VecDeque::new(),
            pushed: Vec::new(),
            closed: None,
            connected: false,
            silent: false,
        });
        self.settle();
        n
    }

    /// A client that belongs to this shard, connected.
    pub(in crate::shard::tests) fn connect(&mut self, shard: u16) -> usize {
        let n = self.knock(shard);
        assert!(self.players[n].connected);
        n
    }

    /// Keys that belong to this shard.
    pub(in crate::shard::tests) fn keys(&mut self, shard: u16) -> StaticKeys {
        let shards = self.shards.len() as u32;
        let shard = u32::from(shard) % shards;
        StaticKeys::for_shard(&mut self.entropy, self.steering, shard, shards).unwrap()
    }

    pub(in crate::shard::tests) fn leave(&mut self, player: usize) {
        let player = &mut self.players[player];
        player.endpoint.disconnect(self.now, CloseCode::NORMAL, "");
        self.settle();
    }

    pub(in crate::shard::tests) fn id(&self, player: usize) -> ClientId {
        self.players[player].id
    }

    /// Sends a request and does not wait.
    pub(in crate::shard::tests) fn ask(&mut self, player: usize, opcode: u16, body: Bytes) -> u32 {
        self.ask_by(player, opcode, body, Mode::ReliableOrdered)
    }

    pub(in crate::shard::tests) fn ask_by(
        &mut self,
        player: usize,
        opcode: u16,
        body: Bytes,
        mode: Mode,
    ) -> u32 {
        let message = Outgoing {
            opcode: Opcode(opcode),
            version: 0,
            channel: 3,
            mode,
            body,
        };
        let player = &mut self.players[player].endpoint;
        player.request(self.now, message).unwrap().0
    }

    /// Sends a message that nobody answers.
    pub(in crate::shard::tests) fn say(&mut self, player: usize, opcode: u16, body: Bytes) {
        let message = Outgoing {
            opcode: Opcode(opcode),
            version: 0,
            channel: 3,
            mode: Mode::ReliableOrdered,
            body,
        };
        let player = &mut self.players[player].endpoint;
        player.send(self.now, message).unwrap();
    }

    /// The answer to a request, if it has come.
    pub(in crate::shard::tests) fn answer(
        &mut self,
        player: usize,
        request: u32,
    ) -> Option<(Outcome, Bytes)> {
        let answers = &mut self.players[player].answers;
        let at = answers.iter().position(|(id, ..)| *id == request)?;
        answers.remove(at).map(|(_, outcome, body)| (outcome, body))
    }

    /// A request and its answer.
    pub(in crate::shard::tests) fn request(
        &mut self,
        player: usize,
        opcode: u16,
        body: Bytes,
    ) -> (Outcome, Bytes) {
        let request = self.ask(player, opcode, body);
        self.settle();
        self.answer(player, request).expect("an answer")
    }

    /// What a client got without asking, with this opcode.
    pub(in crate::shard::tests) fn pushed(&self, player: usize, opcode: u16) -> Vec<Bytes> {
        let pushed = self.players[player].pushed.iter();
        pushed
            .filter(|each| each.opcode == opcode)
            .map(|each| each.body.clone())
            .collect()
    }
}

impl Player {
    pub(super) fn listen(&mut self) {
        while let Some(event) = self.endpoint.poll_event() {
            match event {
                ClientEvent::Connected { .. } => self.connected = true,
                ClientEvent::Failed(failure) => panic!("{failure}"),
                ClientEvent::Session(SessionEvent::Message {
                    opcode,
                    channel,
                    mode,
                    body,
                    ..
                }) => self.pushed.push(Pushed {
                    opcode: opcode.0,
                    body,
                    mode,
                    channel,
                }),
                ClientEvent::Session(SessionEvent::Response {
                    request,
                    outcome,
                    body,
                }) => self.answers.push_back((request.0, outcome, body)),
                ClientEvent::Session(SessionEvent::Closed { code, text, .. }) => {
                    self.closed = Some((code, text));
                }
                ClientEvent::Session(
                    SessionEvent::Alive { .. } | SessionEvent::Away | SessionEvent::Back,
                ) => {}
            }
        }
    }
}
