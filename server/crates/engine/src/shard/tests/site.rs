//! A server and its clients in one thread, under virtual time and a network that loses nothing: shards that exchange mail, modules that are closures.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use cohnect_capabilities::ClientId;
use cohnect_host::calls::Exchange;
use cohnect_host::catalog::{Catalog, Catalogs, Copy, Module, OnFailure, Placement, Stage};
use cohnect_host::context::{Capabilities, Charter, Context};
use cohnect_host::deadline::Ticker;
use cohnect_host::export::{Export, Exports, Outcome as Ran, StartReason};
use cohnect_host::function::Interface;
use cohnect_host::mail::{Address, HomeId, Layout, Mail, Post, Waker};
use cohnect_host::now::Clock;
use cohnect_host::order::{Install, Order};
use cohnect_host::replica::{LoadError, Prepared, Replica, WaitingReplica};
use cohnect_host::testing::World;
use cohnect_protocol::ops::Outcome;
use cohnect_protocol::{
    ClientConfig, ClientEndpoint, ClientEvent, CloseCode, CookieSecret, Entropy, Mode, Monotonic,
    Now, Opcode, Outgoing, ServerConfig, SessionEvent, StaticKeys, SteeringKeys,
};

use crate::{Directory, Policy, Shard, ShardSetup, State};

/// The body of a fake module.
type Run = dyn Fn(&mut Context, &Export) -> Ran + Send + Sync;

/// A source of numbers that repeats.
pub(super) struct Seeded(u64);

impl Entropy for Seeded {
    fn fill(&mut self, out: &mut [u8]) {
        for byte in out {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            *byte = (self.0 >> 56) as u8;
        }
    }
}

/// What a test says of a module; the rest is as usual.
pub(super) struct Plan {
    pub(super) exports: Exports,
    /// None: a copy on every shard.
    pub(super) shard: Option<u16>,
    pub(super) on_failure: OnFailure,
    pub(super) queue_max: u32,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            exports: Exports::default(),
            shard: Some(0),
            on_failure: OnFailure::Reject,
            queue_max: 1_024,
        }
    }
}

/// Something that a client got without asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pushed {
    pub(super) opcode: u16,
    pub(super) body: Bytes,
    pub(super) mode: Mode,
    pub(super) channel: u8,
}

/// A client.
pub(super) struct Player {
    endpoint: ClientEndpoint,
    address: SocketAddr,
    pub(super) id: ClientId,
    pub(super) shard: u16,
    answers: VecDeque<(u32, Outcome, Bytes)>,
    pub(super) pushed: Vec<Pushed>,
    pub(super) closed: Option<(CloseCode, String)>,
    pub(super) connected: bool,
    /// Its network is gone: nothing leaves and nothing arrives.
    pub(super) silent: bool,
}

/// A server and its clients.
pub(super) struct Site {
    pub(super) now: Now,
    pub(super) shards: Vec<Shard>,
    pub(super) directory: Arc<Directory>,
    pub(super) state: Arc<State>,
    pub(super) players: Vec<Player>,
    pub(super) post: Arc<Post>,
    pub(super) worker_mail: Vec<(HomeId, Mail)>,
    catalogs: Arc<Catalogs>,
    modules: Vec<Arc<Module>>,
    keys: StaticKeys,
    steering: SteeringKeys,
    entropy: Seeded,
    world: Arc<World>,
}

struct Nobody;

impl Waker for Nobody {
    fn wake(&self) {}
}

const SERVER: ([u8; 4], u16) = ([127, 0, 0, 1], 7777);

impl Site {
    pub(super) fn new(shards: u16) -> Self {
        Self::with_policy(shards, Policy::Dev)
    }

    pub(super) fn with_policy(shards: u16, policy: Policy) -> Self {
        let mut entropy = Seeded(u64::from(shards));
        let keys = StaticKeys::generate(&mut entropy);
        let cookies = CookieSecret::new(&mut entropy);
        let steering = SteeringKeys::new(0x9e37_79b9, 0x85eb_ca6b);
        let directory = Arc::new(Directory::new(shards, steering));
        let state = Arc::new(State::new());
        let catalogs = Arc::new(Catalogs::default());
        let layout = Layout { shards, workers: 1 };
        let post = Post::new(layout, |_| Arc::new(Nobody));
        let shards = (0..shards)
            .map(|n| {
                Shard::new(ShardSetup {
                    id: HomeId(n),
                    endpoint: ServerConfig::new(keys.clone(), cookies.clone()),
                    entropy: Box::new(Seeded(u64::from(n) + 100)),
                    directory: Arc::clone(&directory),
                    state: Arc::clone(&state),
                    catalogs: Arc::clone(&catalogs),
                    post: Arc::clone(&post),
                    ticker: Ticker::default(),
                    policy,
                })
            })
            .collect();
        Self {
            now: Now {
                monotonic: Monotonic(1_000_000),
                wall_us: 1_700_000_000_000_000,
            },
            shards,
            directory,
            state,
            players: Vec::new(),
            post,
            worker_mail: Vec::new(),
            catalogs,
            modules: Vec::new(),
            keys,
            steering,
            entropy,
            world: World::new(),
        }
    }

    /// Loads a module whose every call runs a closure.
    pub(super) fn load(
        &mut self,
        name: &str,
        plan: Plan,
        run: impl Fn(&mut Context, &Export) -> Ran + Send + Sync + 'static,
    ) {
        let count = self.shards.len() as u16;
        let homes: Vec<u16> = match plan.shard {
            Some(n) => vec![n % count],
            None => (0..count).collect(),
        };
        let prepared: Arc<dyn Prepared> = Arc::new(Closure {
            exports: plan.exports.clone(),
            run: Arc::new(run),
        });
        let mut copies = Vec::new();
        for (number, home) in homes.iter().enumerate() {
            let healthy = Arc::new(AtomicBool::new(true));
            let copy = Copy {
                home: HomeId(*home),
                number: number as u32,
                taken: Arc::default(),
                told: Arc::default(),
                asked: Arc::default(),
                healthy: Arc::clone(&healthy),
            };
            let charter = self.charter(name, &copy);
            copies.push(copy);
            let install = Install {
                copy: Address {
                    module: name.into(),
                    copy: number as u32,
                },
                prepared: Arc::clone(&prepared),
                charter,
                seed: [7; 32],
                healthy,
                replicas_max: 1,
                reason: StartReason::Loaded,
                snapshot: None,
                done: tokio::sync::oneshot::channel().0,
            };
            let order = Mail::Order(Order::Install(Box::new(install)));
            let control = self.post.layout().control();
            self.post.deliver(control, HomeId(*home), &mut vec![order]);
        }
        let actions = plan.exports.actions.iter();
        self.modules.push(Arc::new(Module {
            name: name.into(),
            generation: 1,
            version: String::new(),
            placement: plan
                .shard
                .map_or(Placement::PerShard, |_| Placement::Single),
            waits: false,
            copies,
            queue_max: plan.queue_max,
            on_failure: plan.on_failure,
            healthy: Arc::new(AtomicBool::new(true)),
            actions: actions.map(|a| (Arc::clone(&a.name), a.clone())).collect(),
            exports: plan.exports,
        }));
        self.publish();
    }

    /// A copy of a module, as those who call it see it.
    pub(super) fn copy(&self, module: &str, number: u32) -> Copy {
        let catalog = self.catalogs.newest();
        catalog.modules[module].copy(number).unwrap().clone()
    }

    /// Lists a module that has no copy: it is broken.
    pub(super) fn load_broken(&mut self, name: &str) {
        self.modules.push(Arc::new(Module {
            name: name.into(),
            generation: 0,
            version: String::new(),
            placement: Placement::Single,
            waits: false,
            copies: Vec::new(),
            queue_max: 1,
            on_failure: OnFailure::Reject,
            healthy: Arc::new(AtomicBool::new(false)),
            actions: std::collections::BTreeMap::new(),
            exports: Exports::default(),
        }));
        self.publish();
    }

    /// Lists a module that lives on the worker, whose mail a test answers itself.
    pub(super) fn load_on_worker(&mut self, name: &str, exports: Exports) {
        let actions = exports.actions.iter();
        self.modules.push(Arc::new(Module {
            name: name.into(),
            generation: 1,
            version: String::new(),
            placement: Placement::Single,
            waits: true,
            copies: vec![Copy {
                home: self.post.layout().worker(0),
                number: 0,
                taken: Arc::default(),
                told: Arc::default(),
                asked: Arc::default(),
                healthy: Arc::new(AtomicBool::new(true)),
            }],
            queue_max: 1_024,
            on_failure: OnFailure::Reject,
            healthy: Arc::new(AtomicBool::new(true)),
            actions: actions.map(|a| (Arc::clone(&a.name), a.clone())).collect(),
            exports,
        }));
        self.publish();
    }

    fn publish(&mut self) {
        let mut catalog = Catalog::default();
        for module in &self.modules {
            let all = &module.exports;
            catalog
                .modules
                .insert(Arc::clone(&module.name), Arc::clone(module));
            let stage = |claim| Stage {
                module: Arc::clone(module),
                claim,
            };
            catalog
                .packet_stages
                .extend(all.packets.iter().map(|claim| Stage {
                    module: Arc::clone(module),
                    claim: claim.clone(),
                }));
            catalog
                .broadcast_stages
                .extend(all.broadcasts.iter().cloned().map(stage));
            catalog
                .stream_claims
                .extend(all.streams.iter().cloned().map(stage));
        }
        catalog.packet_stages.sort_by_key(|stage| stage.claim.order);
        catalog
            .broadcast_stages
            .sort_by_key(|stage| stage.claim.order);
        self.catalogs.publish(catalog);
    }

    fn charter(&self, name: &str, copy: &Copy) -> Charter {
        let mut charter = self.world.charter(name, false);
        charter.identity.copy = copy.number;
        charter.told = Arc::clone(&copy.told);
        charter.asked = Arc::clone(&copy.asked);
        charter.carrier = copy.home;
        let clock = Arc::clone(&self.world) as Arc<dyn Clock>;
        let (catalogs, post) = (Arc::clone(&self.catalogs), Arc::clone(&self.post));
        charter.capabilities = Capabilities {
            clients: Arc::clone(&self.directory) as _,
            tags: Arc::clone(&self.directory) as _,
            streams: Arc::clone(&self.directory) as _,
            state: Arc::clone(&self.state) as _,
            mailboxes: Exchange::new(catalogs, post, clock),
            ..charter.capabilities
        };
        charter
    }

    /// A client that belongs to this shard connects, and gets as far as the server lets it.
    pub(super) fn knock(&mut self, shard: u16) -> usize {
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

    pub(super) fn knock_as(&mut self, keys: StaticKeys) -> usize {
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
    pub(super) fn connect(&mut self, shard: u16) -> usize {
        let n = self.knock(shard);
        assert!(self.players[n].connected);
        n
    }

    /// Keys that belong to this shard.
    pub(super) fn keys(&mut self, shard: u16) -> StaticKeys {
        let shards = self.shards.len() as u32;
        let shard = u32::from(shard) % shards;
        StaticKeys::for_shard(&mut self.entropy, self.steering, shard, shards).unwrap()
    }

    pub(super) fn leave(&mut self, player: usize) {
        let player = &mut self.players[player];
        player.endpoint.disconnect(self.now, CloseCode::NORMAL, "");
        self.settle();
    }

    pub(super) fn id(&self, player: usize) -> ClientId {
        self.players[player].id
    }

    /// Sends a request and does not wait.
    pub(super) fn ask(&mut self, player: usize, opcode: u16, body: Bytes) -> u32 {
        self.ask_by(player, opcode, body, Mode::ReliableOrdered)
    }

    pub(super) fn ask_by(&mut self, player: usize, opcode: u16, body: Bytes, mode: Mode) -> u32 {
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
    pub(super) fn say(&mut self, player: usize, opcode: u16, body: Bytes) {
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
    pub(super) fn answer(&mut self, player: usize, request: u32) -> Option<(Outcome, Bytes)> {
        let answers = &mut self.players[player].answers;
        let at = answers.iter().position(|(id, ..)| *id == request)?;
        answers.remove(at).map(|(_, outcome, body)| (outcome, body))
    }

    /// A request and its answer.
    pub(super) fn request(&mut self, player: usize, opcode: u16, body: Bytes) -> (Outcome, Bytes) {
        let request = self.ask(player, opcode, body);
        self.settle();
        self.answer(player, request).expect("an answer")
    }

    /// What a client got without asking, with this opcode.
    pub(super) fn pushed(&self, player: usize, opcode: u16) -> Vec<Bytes> {
        let pushed = self.players[player].pushed.iter();
        pushed
            .filter(|each| each.opcode == opcode)
            .map(|each| each.body.clone())
            .collect()
    }

    /// One round: clients send, shards turn, clients receive. False when nothing happened.
    pub(super) fn round(&mut self) -> bool {
        let mut busy = false;
        let mut bytes = Vec::new();
        for n in 0..self.players.len() {
            loop {
                bytes.clear();
                let player = &mut self.players[n];
                let Some(transmit) = player.endpoint.poll_transmit(self.now, &mut bytes) else {
                    break;
                };
                if player.silent {
                    continue;
                }
                busy = true;
                let (from, shard) = (player.address, usize::from(player.shard));
                for datagram in transmit.datagrams(&bytes) {
                    let mut datagram = datagram.to_vec();
                    self.shards[shard].handle_datagram(self.now, from, &mut datagram);
                }
            }
        }
        for n in 0..self.shards.len() {
            busy |= !self.shards[n].doze();
            self.shards[n].awake();
            self.shards[n].turn(self.now);
            loop {
                bytes.clear();
                let Some(transmit) = self.shards[n].poll_transmit(self.now, &mut bytes) else {
                    break;
                };
                busy = true;
                let to = self
                    .players
                    .iter_mut()
                    .find(|p| p.address == transmit.to && !p.silent);
                if let Some(player) = to {
                    for datagram in transmit.datagrams(&bytes) {
                        let mut datagram = datagram.to_vec();
                        player
                            .endpoint
                            .handle_datagram(self.now, SERVER.into(), &mut datagram);
                    }
                }
            }
        }
        for player in &mut self.players {
            player.listen();
        }
        let mut mail = Vec::new();
        self.post.collect(self.post.layout().worker(0), &mut mail);
        self.worker_mail.append(&mut mail);
        busy
    }

    /// Rounds until nothing happens.
    pub(super) fn settle(&mut self) {
        for _ in 0..10_000 {
            if !self.round() {
                return;
            }
        }
        panic!("it does not come to rest");
    }

    /// Time passes, and what is due in it happens.
    pub(super) fn advance(&mut self, ms: u64) {
        let end = self.now.monotonic.0 + ms * 1_000;
        self.settle();
        while self.now.monotonic.0 < end {
            let timeouts = self
                .players
                .iter()
                .map(|player| player.endpoint.poll_timeout());
            let shards = self.shards.iter().map(Shard::poll_timeout);
            let next = timeouts.chain(shards).flatten().map(|at| at.0).min();
            let at = next.unwrap_or(end).clamp(self.now.monotonic.0 + 1, end);
            self.now = self
                .now
                .plus(core::time::Duration::from_micros(at - self.now.monotonic.0));
            for player in &mut self.players {
                player.endpoint.handle_timeout(self.now);
            }
            for shard in &mut self.shards {
                shard.handle_timeout(self.now);
            }
            self.settle();
        }
    }
}

impl Player {
    fn listen(&mut self) {
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

struct Closure {
    exports: Exports,
    run: Arc<Run>,
}

impl Prepared for Closure {
    fn imports(&self) -> &[Interface] {
        &[]
    }

    fn exports(&self) -> &Exports {
        &self.exports
    }

    fn manifest(&self) -> &[(String, toml::Value)] {
        &[]
    }

    fn replica(&self, context: Context) -> Result<Box<dyn Replica>, LoadError> {
        let run = Arc::clone(&self.run);
        Ok(Box::new(Running { run, context }))
    }

    fn waiting_replica(&self, _context: Context) -> Result<Box<dyn WaitingReplica>, LoadError> {
        Err(LoadError::new("there is no worker here"))
    }
}

struct Running {
    run: Arc<Run>,
    context: Context,
}

impl Replica for Running {
    fn context(&mut self) -> &mut Context {
        &mut self.context
    }

    fn call(&mut self, export: &Export) -> Ran {
        (self.run)(&mut self.context, export)
    }
}

/// Lines that modules of a test write.
#[derive(Clone, Default)]
pub(super) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub(super) fn add(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }

    pub(super) fn take(&self) -> Vec<String> {
        core::mem::take(&mut self.0.lock().unwrap())
    }
}
