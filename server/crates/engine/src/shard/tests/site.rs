//! A server and its clients in one thread, under virtual time and a network that loses nothing: shards that exchange mail, modules that are closures.

mod fake;
mod player;

use std::sync::Arc;

use cohnect_host::catalog::{Catalogs, Module};
use cohnect_host::deadline::Ticker;
use cohnect_host::mail::{HomeId, Layout, Mail, Post, Waker};
use cohnect_host::testing::World;
use cohnect_protocol::{
    CookieSecret, Entropy, Monotonic, Now, ServerConfig, StaticKeys, SteeringKeys,
};

pub(super) use self::fake::{Log, Plan};
use self::player::Player;
use crate::{Directory, Policy, Shard, ShardSetup, State};

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
