//! A server, some clients and the network between them, under one virtual clock. The server answers every request with the request's body; what
//! else is done, a test does.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use cohnect_protocol::ops::Outcome;
use cohnect_protocol::{
    ClientConfig, ClientEndpoint, ClientEvent, CookieSecret, Monotonic, Now, ServerConfig,
    ServerEndpoint, ServerEvent, SessionEvent, SessionHandle, StaticKeys,
};

use crate::entropy::Seeded;
use crate::network::{Conditions, Packet, SimulatedNetwork};
use crate::recording::{self, RecordingKey};

pub(crate) type Server = ServerEndpoint<RecordingKey>;

pub(crate) struct Client {
    pub(crate) endpoint: ClientEndpoint<RecordingKey>,
    pub(crate) address: SocketAddr,
    pub(crate) keys: StaticKeys,
    pub(crate) events: Vec<ClientEvent>,
}

pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) now: Now,
    pub(crate) random: Seeded,
    pub(crate) network: SimulatedNetwork,
    pub(crate) server: Server,
    pub(crate) server_keys: StaticKeys,
    pub(crate) server_address: SocketAddr,
    pub(crate) server_config: ServerConfig,
    pub(crate) server_events: Vec<(SessionHandle, ServerEvent)>,
    pub(crate) clients: Vec<Client>,
    /// Whether requests are answered at once.
    pub(crate) answering: bool,
    /// Whether the clients' owners look at what happens.
    pub(crate) polling: bool,
}

/// More instants without progress than any of this needs: something asks to be called again for ever.
const STEPS_AT_ONE_INSTANT: u32 = 10_000;

impl World {
    pub(crate) fn new(seed: u64, conditions: Conditions) -> Self {
        Self::with_config(seed, conditions, |_| {})
    }

    pub(crate) fn with_config(
        seed: u64,
        conditions: Conditions,
        change: impl FnOnce(&mut ServerConfig),
    ) -> Self {
        println!("seed {seed}");
        recording::begin();
        let mut random = Seeded::new(seed);
        let server_keys = StaticKeys::generate(&mut random);
        let mut server_config =
            ServerConfig::new(server_keys.clone(), CookieSecret::new(&mut random));
        change(&mut server_config);
        Self {
            seed,
            now: Now {
                monotonic: Monotonic(1_000_000),
                wall_us: 1_700_000_000_000_000,
            },
            network: SimulatedNetwork::new(conditions, random.fork()),
            server: Server::new(server_config.clone(), Box::new(random.fork())),
            server_keys,
            server_address: "192.0.2.1:7777".parse().unwrap(),
            server_config,
            server_events: Vec::new(),
            clients: Vec::new(),
            answering: true,
            polling: true,
            random,
        }
    }

    /// A server as it is after a restart: other secrets, the same identity, no sessions.
    pub(crate) fn restart_server(&mut self) {
        self.server_config.cookie_secret = CookieSecret::new(&mut self.random);
        self.server = Server::new(self.server_config.clone(), Box::new(self.random.fork()));
    }

    pub(crate) fn add_client(&mut self) -> usize {
        let keys = StaticKeys::generate(&mut self.random);
        self.add_client_with(keys, |_| {})
    }

    pub(crate) fn add_client_with(
        &mut self,
        keys: StaticKeys,
        change: impl FnOnce(&mut ClientConfig),
    ) -> usize {
        let place = self.clients.len();
        let mut config =
            ClientConfig::new(keys.clone(), self.server_address, self.server_keys.public());
        change(&mut config);
        self.clients.push(Client {
            endpoint: ClientEndpoint::new(config, Box::new(self.random.fork())),
            address: SocketAddr::from(([198, 51, 100, 1], 10_000 + place as u16)),
            keys,
            events: Vec::new(),
        });
        place
    }

    /// A client with a session.
    pub(crate) fn connected_client(&mut self) -> usize {
        let client = self.add_client();
        self.connect(client);
        client
    }

    /// Connects, trying again as an SDK does.
    pub(crate) fn connect(&mut self, client: usize) {
        for _ in 0..50 {
            let now = self.now;
            self.clients[client].endpoint.connect(now);
            let settled = |world: &Self| {
                world.clients[client].events.iter().any(|event| {
                    matches!(
                        event,
                        ClientEvent::Connected { .. } | ClientEvent::Failed(_)
                    )
                })
            };
            self.run_until(Duration::from_secs(6), settled);
            let connected = self.clients[client]
                .events
                .iter()
                .any(|event| matches!(event, ClientEvent::Connected { .. }));
            self.clients[client].events.clear();
            if connected {
                return;
            }
        }
        panic!("seed {}: client {client} never connected", self.seed);
    }

    pub(crate) fn run_for(&mut self, time: Duration) {
        self.run_until(time, |_| false);
    }

    /// Runs until `done`, but no longer than `limit`; says whether it was done.
    pub(crate) fn run_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.now.monotonic.plus(limit);
        let mut steps = 0;
        loop {
            self.settle();
            if done(self) {
                return true;
            }
            let next = self.next_instant();
            let Some(next) = next.filter(|next| *next <= end) else {
                let left = end.since(self.now.monotonic);
                self.now = self.now.plus(left);
                return false;
            };
            let passed = next.since(self.now.monotonic);
            steps = if passed.is_zero() { steps + 1 } else { 0 };
            assert!(
                steps < STEPS_AT_ONE_INSTANT,
                "seed {}: time stands still at {:?}",
                self.seed,
                self.now.monotonic
            );
            self.now = self.now.plus(passed);
            self.advance();
        }
    }

    fn next_instant(&self) -> Option<Monotonic> {
        self.clients
            .iter()
            .map(|client| client.endpoint.poll_timeout())
            .chain([self.network.poll_timeout(), self.server.poll_timeout()])
            .flatten()
            .min()
    }

    /// Hands over what has arrived and what is due.
    fn advance(&mut self) {
        let now = self.now;
        while let Some(mut packet) = self.network.poll(now.monotonic) {
            self.hand_over(&mut packet);
        }
        let due = |at: Option<Monotonic>| at.is_some_and(|at| at <= now.monotonic);
        if due(self.server.poll_timeout()) {
            self.server.handle_timeout(now);
        }
        for client in &mut self.clients {
            if due(client.endpoint.poll_timeout()) {
                client.endpoint.handle_timeout(now);
            }
        }
    }

    pub(crate) fn hand_over(&mut self, packet: &mut Packet) {
        if packet.to == self.server_address {
            self.server
                .handle_datagram(self.now, packet.from, &mut packet.bytes);
        } else if let Some(client) = self
            .clients
            .iter_mut()
            .find(|client| client.address == packet.to)
        {
            client
                .endpoint
                .handle_datagram(self.now, packet.from, &mut packet.bytes);
        }
    }

    /// Polls everybody until nobody has anything left, and puts what they send on the network.
    pub(crate) fn settle(&mut self) {
        while let Some((handle, event)) = self.server.poll_event() {
            self.react(handle, &event);
            self.server_events.push((handle, event));
        }
        let mut out = Vec::new();
        while let Some(transmit) = self.server.poll_transmit(self.now, &mut out) {
            assert_eq!(transmit.len, out.len());
            self.put(self.server_address, transmit, &out);
            out.clear();
        }
        for place in 0..self.clients.len() {
            while self.polling
                && let Some(event) = self.clients[place].endpoint.poll_event()
            {
                self.clients[place].events.push(event);
            }
            while let Some(transmit) = self.clients[place]
                .endpoint
                .poll_transmit(self.now, &mut out)
            {
                self.put(self.clients[place].address, transmit, &out);
                out.clear();
            }
        }
    }

    fn put(&mut self, from: SocketAddr, transmit: cohnect_protocol::Transmit, out: &[u8]) {
        for datagram in transmit.datagrams(out) {
            assert!(datagram.len() <= cohnect_protocol::DATAGRAM_LEN_MAX);
            let packet = Packet {
                from,
                to: transmit.to,
                bytes: datagram.to_vec(),
            };
            self.network.send(self.now.monotonic, packet);
        }
    }

    fn react(&mut self, handle: SessionHandle, event: &ServerEvent) {
        if let ServerEvent::Session(SessionEvent::Message {
            request: Some(request),
            body,
            ..
        }) = event
            && self.answering
        {
            self.answer(handle, *request, body.clone());
        }
    }

    pub(crate) fn answer(
        &mut self,
        handle: SessionHandle,
        request: cohnect_protocol::RequestContext,
        body: Bytes,
    ) {
        // A session may have ended since it asked.
        let _ = self
            .server
            .respond(self.now, handle, request, Outcome::Done, body);
    }
}

#[test]
fn both_ends_can_be_handed_to_a_thread() {
    const fn is_send<T: Send>() {}
    is_send::<ServerEndpoint>();
    is_send::<ClientEndpoint>();
}
