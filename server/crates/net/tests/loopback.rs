//! A server of two shards on real sockets: clients connect, are answered by the shard that is theirs, and are told goodbye.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers too"
)]

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use cohnect_engine::{Directory, Policy, ShardSetup, State};
use cohnect_host::catalog::Catalogs;
use cohnect_host::deadline::Ticker;
use cohnect_host::mail::{HomeId, Layout, Post, Waker};
use cohnect_net::{Clock, Door, Running};
use cohnect_protocol::ops::{Body as _, Name8, Outcome, Scope, get, set};
use cohnect_protocol::{
    ClientConfig, ClientEndpoint, ClientEvent, CloseCode, CookieSecret, Entropy, Mode, Opcode,
    Outgoing, PublicKey, ServerConfig, SessionEvent, StaticKeys, SteeringKeys,
};

struct Seeded(u64);

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

struct Nobody;

impl Waker for Nobody {
    fn wake(&self) {}
}

const SHARDS: u16 = 2;

struct Server {
    running: Running,
    address: std::net::SocketAddr,
    key: PublicKey,
    steering: SteeringKeys,
    clock: Clock,
}

fn serve() -> Server {
    let mut entropy = Seeded(1);
    let (keys, cookies) = (
        StaticKeys::generate(&mut entropy),
        CookieSecret::new(&mut entropy),
    );
    let steering = SteeringKeys::new(0x9e37_79b9, 0x85eb_ca6b);
    let clock = Clock::new();
    let door = Door::open("127.0.0.1:0".parse().unwrap(), SHARDS, steering).unwrap();
    let layout = Layout {
        shards: door.shards(),
        workers: 1,
    };
    let post = Post::new(layout, |home| {
        door.waker(home.0).unwrap_or_else(|| Arc::new(Nobody))
    });
    let directory = Arc::new(Directory::new(door.shards(), steering));
    let (state, catalogs) = (Arc::new(State::new()), Arc::new(Catalogs::default()));
    let ticker = Ticker::default();
    let setups = (0..door.shards())
        .map(|n| ShardSetup {
            id: HomeId(n),
            endpoint: ServerConfig::new(keys.clone(), cookies.clone()),
            entropy: Box::new(Seeded(u64::from(n) + 10)),
            directory: Arc::clone(&directory),
            state: Arc::clone(&state),
            catalogs: Arc::clone(&catalogs),
            post: Arc::clone(&post),
            ticker: ticker.clone(),
            policy: Policy::Dev,
        })
        .collect();
    Server {
        address: door.address(),
        running: door.run(setups, ticker, clock, false).unwrap(),
        key: keys.public(),
        steering,
        clock,
    }
}

struct Client {
    endpoint: ClientEndpoint,
    socket: UdpSocket,
    clock: Clock,
}

impl Client {
    fn connect(server: &Server, shard: u16) -> Self {
        let mut entropy = Seeded(u64::from(shard) + 100);
        let of = u32::from(SHARDS);
        let keys = StaticKeys::for_shard(&mut entropy, server.steering, u32::from(shard), of);
        let config = ClientConfig::new(keys.unwrap(), server.address, server.key);
        let mut client = Self {
            endpoint: ClientEndpoint::new(config, Box::new(entropy)),
            socket: UdpSocket::bind("127.0.0.1:0").unwrap(),
            clock: server.clock,
        };
        client.endpoint.connect(client.clock.now());
        client.until(|event| matches!(event, ClientEvent::Connected { .. }));
        client
    }

    /// Sends and receives until something has happened, five seconds at most.
    fn until(&mut self, wanted: impl Fn(&ClientEvent) -> bool) -> ClientEvent {
        let end = self.clock.now().plus(Duration::from_secs(5));
        let mut bytes = Vec::new();
        loop {
            let now = self.clock.now();
            assert!(now.monotonic < end.monotonic, "it did not happen in time");
            self.endpoint.handle_timeout(now);
            while let Some(event) = self.endpoint.poll_event() {
                if wanted(&event) {
                    return event;
                }
            }
            while let Some(transmit) = self.endpoint.poll_transmit(now, &mut bytes) {
                for datagram in transmit.datagrams(&bytes) {
                    self.socket.send_to(datagram, transmit.to).unwrap();
                }
                bytes.clear();
            }
            let due = self.endpoint.poll_timeout();
            let pause = due.map_or(Duration::from_millis(100), |at| at.since(now.monotonic));
            let pause = pause.clamp(Duration::from_millis(1), Duration::from_millis(100));
            self.socket.set_read_timeout(Some(pause)).unwrap();
            let mut datagram = [0; 2_048];
            if let Ok((len, from)) = self.socket.recv_from(&mut datagram) {
                let now = self.clock.now();
                let datagram = &mut datagram[..len];
                self.endpoint.handle_datagram(now, from, datagram);
            }
        }
    }

    fn request(&mut self, opcode: Opcode, body: bytes::Bytes) -> (Outcome, bytes::Bytes) {
        let message = Outgoing {
            opcode,
            version: 0,
            channel: 0,
            mode: Mode::ReliableOrdered,
            body,
        };
        let now = self.clock.now();
        let asked = self.endpoint.request(now, message).unwrap();
        let answer = self.until(|event| {
            matches!(event, ClientEvent::Session(SessionEvent::Response { request, .. }) if *request == asked)
        });
        let ClientEvent::Session(SessionEvent::Response { outcome, body, .. }) = answer else {
            panic!("{answer:?}")
        };
        (outcome, body)
    }
}

#[test]
fn clients_of_both_shards_are_answered_and_told_goodbye() {
    let server = serve();
    let mut clients: Vec<_> = (0..SHARDS)
        .map(|shard| Client::connect(&server, shard))
        .collect();
    let key = Name8::new("k").unwrap();
    for (n, client) in clients.iter_mut().enumerate() {
        let value = [n as u8; 32];
        let set = set::Request {
            scope: Scope::Shared,
            key,
            expected: None,
            value: Some(&value),
        };
        assert_eq!(client.request(Opcode::SET, set.to_bytes()).0, Outcome::Done);
    }
    let get = get::Request {
        scope: Scope::Shared,
        key,
    };
    let (outcome, body) = clients[0].request(Opcode::GET, get.to_bytes());
    assert_eq!(outcome, Outcome::Done);
    assert_eq!(get::Response::decode(&body).unwrap().value, [1; 32]);
    assert_eq!(server.running.sessions(), 2);
    server.running.close_sessions();
    for client in &mut clients {
        client.until(|event| {
            matches!(event, ClientEvent::Session(SessionEvent::Closed { code, .. }) if *code == CloseCode::SHUTTING_DOWN)
        });
    }
    assert_eq!(server.running.panicked(), None);
    assert_eq!(server.running.stop(), Ok(()));
}

/// CPU that the threads of shards have used, in nanoseconds, as Linux tells it.
fn cpu_of_shards() -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let of_task = |task: std::path::PathBuf| {
        let name = std::fs::read_to_string(task.join("comm")).ok()?;
        let text = std::fs::read_to_string(task.join("schedstat")).ok()?;
        let used = text.split_whitespace().next()?.parse::<u64>().ok()?;
        name.starts_with("shard-").then_some(used)
    };
    tasks.filter_map(|task| of_task(task.unwrap().path())).sum()
}

#[test]
fn shards_without_work_sleep_and_shards_under_load_stop() {
    let server = serve();
    let client = Client::connect(&server, 1);
    let before = cpu_of_shards();
    // Half a second of real time, in which only the session's own timers run.
    let idle = Duration::from_millis(500);
    client.socket.set_read_timeout(Some(idle)).unwrap();
    let end = server.clock.now().plus(idle);
    while server.clock.now().monotonic < end.monotonic {
        client.socket.recv(&mut [0; 2_048]).ok();
    }
    let used = cpu_of_shards().saturating_sub(before);
    // A shard that spins would have used all of it; the test beside this one runs shards too.
    assert!(
        used < 200_000_000,
        "{used} ns of CPU in {idle:?} of idleness"
    );
    let stopped = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|threads| {
        let (stopped, address) = (&stopped, server.address);
        threads.spawn(move || {
            let flood = UdpSocket::bind("127.0.0.1:0").unwrap();
            while !stopped.load(std::sync::atomic::Ordering::Acquire) {
                // When the server has gone, nobody takes it.
                flood.send_to(&[7; 200], address).ok();
            }
        });
        let outcome = server.running.stop();
        stopped.store(true, std::sync::atomic::Ordering::Release);
        assert_eq!(outcome, Ok(()));
    });
}
