//! The server of a simulation: shards, a worker and the custodian as local tasks, put together as the binary does it, without threads and sockets.

use core::cell::Cell;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use cohnect_capabilities::InstanceId;
use cohnect_engine::{Directory, Policy, Shard, ShardSetup, State};
use cohnect_guest_luau::Luau;
use cohnect_host::calendar::Zones;
use cohnect_host::calls::Exchange;
use cohnect_host::catalog::Catalogs;
use cohnect_host::context::Capabilities;
use cohnect_host::custodian::{Custodian, Setup};
use cohnect_host::deadline::Ticker;
use cohnect_host::load::{Scan, scan};
use cohnect_host::mail::{HomeId, Layout, Post, Waker};
use cohnect_host::now::Clock as _;
use cohnect_host::replica::Language;
use cohnect_host::worker::{self, Bell, WorkerSetup};
use cohnect_protocol::{CookieSecret, PublicKey, ServerConfig, StaticKeys, SteeringKeys};
use tokio::sync::{Notify, oneshot};
use tokio::task::{JoinHandle, spawn_local};

use crate::chance::Chance;
use crate::clock::SimClock;
use crate::journal::Journal;
use crate::network::{Network, Socket};
use crate::outside::{Nothing, SimLog, SlowDatabase, Steps};

/// Where it is.
pub(crate) const ADDRESS: SocketAddr = SocketAddr::new(
    std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1)),
    7777,
);
/// Datagrams that a shard takes in one turn, as its thread does.
const BATCH: usize = 64;
/// How long a timer rests that is due although it was handled.
const STUCK_TIMER_REST_US: u64 = 1_000;

/// A server that runs.
pub(crate) struct Site {
    pub(crate) key: PublicKey,
    pub(crate) directory: Arc<Directory>,
    pub(crate) state: Arc<State>,
    pub(crate) custodian: Custodian,
    languages: Vec<Arc<dyn Language>>,
    stopping: Rc<Cell<bool>>,
    shards: Vec<(Arc<Rouser>, JoinHandle<()>)>,
    worker: (oneshot::Sender<()>, JoinHandle<()>),
}

impl Site {
    /// Builds it and lets it run, without modules yet.
    pub(crate) fn run(
        seed: u64,
        layout: Layout,
        steering: SteeringKeys,
        clock: SimClock,
        network: &Rc<Network>,
        journal: &Arc<Journal>,
    ) -> Self {
        let mut chance = Chance::named(seed, "server");
        let rousers: Vec<_> = (0..layout.shards)
            .map(|_| Arc::<Rouser>::default())
            .collect();
        let bell = Arc::<Bell>::default();
        let post = Post::new(layout, |home| match rousers.get(usize::from(home.0)) {
            Some(rouser) => Arc::clone(rouser) as Arc<dyn Waker>,
            None => Arc::clone(&bell) as _,
        });
        let catalogs = Arc::<Catalogs>::default();
        let directory = Arc::new(Directory::new(layout.shards, steering));
        let state = Arc::new(State::new());
        let ticker = Ticker::default();
        let steps = Arc::new(Steps::new(ticker.clone()));
        let exchange = Exchange::new(Arc::clone(&catalogs), Arc::clone(&post), Arc::new(clock));
        let capabilities = Capabilities {
            clients: Arc::clone(&directory) as _,
            tags: Arc::clone(&directory) as _,
            state: Arc::clone(&state) as _,
            feature_flags: Arc::new(Nothing),
            logging: Arc::new(SimLog::new(journal, &steps)),
            streams: Arc::clone(&directory) as _,
            mailboxes: Arc::clone(&exchange) as _,
            modules: Arc::clone(&exchange) as _,
            calls: exchange,
            calendar: Arc::new(Zones),
            databases: Arc::new(SlowDatabase::new(seed)),
            secrets: Arc::new(Nothing),
            cpu: steps,
            stopwatch: Arc::new(move || clock.now().monotonic_us),
        };
        let languages: Vec<Arc<dyn Language>> = vec![Arc::new(Luau::new(ticker.clone()))];
        let custodian = Custodian::new(Setup {
            post: Arc::clone(&post),
            catalogs: Arc::clone(&catalogs),
            capabilities,
            languages: languages.clone(),
            ticker: ticker.clone(),
            instance: InstanceId { hi: 1, lo: 2 },
            seed: chance.key(),
            aside: false,
        });
        let keys = StaticKeys::generate(&mut chance);
        let endpoint = ServerConfig::new(keys.clone(), CookieSecret::new(&mut chance));
        let stopping = Rc::<Cell<bool>>::default();
        let shards = rousers.into_iter().enumerate().map(|(n, rouser)| {
            let shard = Shard::new(ShardSetup {
                id: HomeId(n as u16),
                endpoint: endpoint.clone(),
                entropy: Box::new(Chance::named(seed, &format!("shard {n}"))),
                directory: Arc::clone(&directory),
                state: Arc::clone(&state),
                catalogs: Arc::clone(&catalogs),
                post: Arc::clone(&post),
                ticker: ticker.clone(),
                policy: Policy::Dev,
            });
            let driver = Driver {
                shard,
                socket: network.bind(ADDRESS),
                rouser: Arc::clone(&rouser),
                network: Rc::clone(network),
                clock,
                stopping: Rc::clone(&stopping),
            };
            (rouser, spawn_local(driver.run()))
        });
        let shards = shards.collect();
        let (stop, stopped) = oneshot::channel();
        let worker = worker::run(
            WorkerSetup {
                id: layout.worker(0),
                post,
                bell,
                clock: Arc::new(clock),
                ticker,
            },
            async move { drop(stopped.await) },
        );
        Self {
            key: keys.public(),
            directory,
            state,
            custodian,
            languages,
            stopping,
            shards,
            worker: (stop, spawn_local(worker)),
        }
    }

    /// What the modules folder holds.
    pub(crate) fn scan(&self, folder: &Path) -> Scan {
        scan(folder, &self.languages, &Scan::default()).expect("the folder can be read")
    }

    /// Whether a task of it has ended, which none does by itself.
    pub(crate) fn is_broken(&self) -> bool {
        self.worker.1.is_finished() || self.shards.iter().any(|(_, task)| task.is_finished())
    }

    /// Ends the modules, then the sessions, then the homes.
    pub(crate) async fn shut_down(mut self) {
        self.custodian.shut_down(0).await;
        self.stopping.set(true);
        for (rouser, task) in self.shards {
            rouser.wake();
            task.await.expect("a shard ends well");
        }
        let (stop, task) = self.worker;
        stop.send(()).expect("the worker is there");
        task.await.expect("the worker ends well");
    }
}

/// Wakes a shard.
#[derive(Debug, Default)]
struct Rouser(Notify);

impl Waker for Rouser {
    fn wake(&self) {
        self.0.notify_one();
    }
}

/// The loop of a shard's thread, turn by turn.
struct Driver {
    shard: Shard,
    socket: Rc<Socket>,
    rouser: Arc<Rouser>,
    network: Rc<Network>,
    clock: SimClock,
    stopping: Rc<Cell<bool>>,
}

impl Driver {
    async fn run(mut self) {
        let mut says_goodbye = false;
        loop {
            let handled = self.turn();
            if self.stopping.get() {
                if !says_goodbye {
                    says_goodbye = true;
                    self.shard.shut_down(self.clock.moment());
                    continue;
                }
                if self.shard.sessions() == 0 && !self.shard.has_work() {
                    return;
                }
            }
            if !self.socket.is_empty() || !self.shard.doze() {
                // The others have their turn.
                tokio::task::yield_now().await;
                continue;
            }
            let next = self.shard.poll_timeout().map(|at| {
                if handled == Some(at.0) {
                    at.0.max(self.clock.us() + STUCK_TIMER_REST_US)
                } else {
                    at.0
                }
            });
            tokio::select! {
                biased;
                () = self.socket.readable() => {}
                () = self.rouser.0.notified() => {}
                () = self.clock.sleep_until(next) => {}
            }
            self.shard.awake();
        }
    }

    /// Receives, works, sends; returns the moment of the timer that was handled.
    fn turn(&mut self) -> Option<u64> {
        let now = self.clock.moment();
        for _ in 0..BATCH {
            let Some((from, mut datagram)) = self.socket.receive() else {
                break;
            };
            self.shard.handle_datagram(now, from, &mut datagram);
        }
        let due = self.shard.poll_timeout().filter(|at| *at <= now.monotonic);
        if due.is_some() {
            self.shard.handle_timeout(now);
        }
        self.shard.turn(now);
        let mut bytes = Vec::new();
        while let Some(transmit) = self.shard.poll_transmit(now, &mut bytes) {
            for datagram in transmit.datagrams(&bytes) {
                self.network.send(ADDRESS, transmit.to, datagram);
            }
            bytes.clear();
        }
        due.map(|at| at.0)
    }
}
