//! The network between clients and shards: it loses, repeats, delays, reorders and mangles datagrams by a seed, and can be cut. Datagrams for the server
//! reach the shard that the kernel's filter would choose.

use core::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use cohnect_protocol::{SteeringKeys, shard_of};
use tokio::sync::Notify;

use crate::chance::Chance;
use crate::clock::SimClock;
use crate::journal::Journal;

/// How bad it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    /// Of 100 datagrams.
    pub(crate) loss: u64,
    pub(crate) twice: u64,
    /// As many arrive once more with one bit turned over.
    pub(crate) mangled: u64,
    /// The least delay, and what chance adds at most.
    pub(crate) delay_us: u64,
    pub(crate) jitter_us: u64,
}

/// Nothing is lost, and everything arrives soon.
pub(crate) const CALM: Weather = Weather {
    loss: 0,
    twice: 0,
    mangled: 0,
    delay_us: 5_000,
    jitter_us: 0,
};

/// Where datagrams arrive.
#[derive(Debug, Default)]
pub(crate) struct Socket {
    queue: RefCell<VecDeque<(SocketAddr, Vec<u8>)>>,
    bell: Notify,
}

impl Socket {
    /// The next datagram, with where it came from.
    pub(crate) fn receive(&self) -> Option<(SocketAddr, Vec<u8>)> {
        self.queue.borrow_mut().pop_front()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.borrow().is_empty()
    }

    /// Waits for a datagram.
    pub(crate) async fn readable(&self) {
        if self.is_empty() {
            self.bell.notified().await;
        }
    }

    fn put(&self, from: SocketAddr, datagram: Vec<u8>) {
        self.queue.borrow_mut().push_back((from, datagram));
        self.bell.notify_one();
    }
}

/// All of it.
pub(crate) struct Network {
    clock: SimClock,
    journal: Arc<Journal>,
    steering: SteeringKeys,
    state: RefCell<State>,
    bell: Notify,
}

struct State {
    weather: Weather,
    chance: Chance,
    /// One for each client; one for each shard behind the server's address.
    sockets: BTreeMap<SocketAddr, Vec<Rc<Socket>>>,
    /// Addresses that nothing reaches or leaves.
    cut: BTreeSet<SocketAddr>,
    /// By arrival, then by order of sending.
    on_its_way: BTreeMap<(u64, u64), Letter>,
    sent: u64,
}

struct Letter {
    from: SocketAddr,
    to: SocketAddr,
    datagram: Vec<u8>,
}

impl Network {
    pub(crate) fn new(
        seed: u64,
        weather: Weather,
        steering: SteeringKeys,
        clock: SimClock,
        journal: &Arc<Journal>,
    ) -> Rc<Self> {
        Rc::new(Self {
            clock,
            journal: Arc::clone(journal),
            steering,
            state: RefCell::new(State {
                weather,
                chance: Chance::named(seed, "network"),
                sockets: BTreeMap::new(),
                cut: BTreeSet::new(),
                on_its_way: BTreeMap::new(),
                sent: 0,
            }),
            bell: Notify::new(),
        })
    }

    /// Binds one more socket to this address, in the order of the shards.
    pub(crate) fn bind(&self, address: SocketAddr) -> Rc<Socket> {
        let socket = Rc::<Socket>::default();
        let mut state = self.state.borrow_mut();
        let group = state.sockets.entry(address).or_default();
        group.push(Rc::clone(&socket));
        socket
    }

    pub(crate) fn set_weather(&self, weather: Weather) {
        self.state.borrow_mut().weather = weather;
    }

    /// From now on nothing reaches or leaves this address.
    pub(crate) fn cut(&self, address: SocketAddr) {
        self.journal
            .note("network", format!("{address} is cut off"));
        self.state.borrow_mut().cut.insert(address);
    }

    pub(crate) fn mend(&self, address: SocketAddr) {
        self.journal.note("network", format!("{address} is back"));
        self.state.borrow_mut().cut.remove(&address);
    }

    /// Sends a datagram, which arrives late, twice, mangled, or not at all.
    pub(crate) fn send(&self, from: SocketAddr, to: SocketAddr, datagram: &[u8]) {
        self.journal.datagram(from, to, datagram);
        let now_us = self.clock.us();
        let mut state = self.state.borrow_mut();
        let weather = state.weather;
        let is_lost = state.chance.below(100) < weather.loss;
        if is_lost || state.cut.contains(&from) || state.cut.contains(&to) {
            return;
        }
        state.post(now_us, from, to, datagram.to_vec());
        if state.chance.below(100) < weather.twice {
            state.post(now_us, from, to, datagram.to_vec());
        }
        if state.chance.below(100) < weather.mangled && !datagram.is_empty() {
            let mut mangled = datagram.to_vec();
            let bit = state.chance.below(mangled.len() as u64 * 8) as usize;
            mangled[bit / 8] ^= 1 << (bit % 8);
            state.post(now_us, from, to, mangled);
        }
        drop(state);
        self.bell.notify_one();
    }

    /// Carries datagrams for as long as it is polled.
    pub(crate) async fn carry(&self) {
        loop {
            self.deliver();
            let next = self
                .state
                .borrow()
                .on_its_way
                .keys()
                .next()
                .map(|key| key.0);
            tokio::select! {
                biased;
                () = self.bell.notified() => {}
                () = self.clock.sleep_until(next) => {}
            }
        }
    }

    fn deliver(&self) {
        let now_us = self.clock.us();
        let mut state = self.state.borrow_mut();
        while let Some(first) = state.on_its_way.first_entry() {
            if first.key().0 > now_us {
                break;
            }
            let Letter { from, to, datagram } = first.remove();
            if state.cut.contains(&from) || state.cut.contains(&to) {
                continue;
            }
            let Some(group) = state.sockets.get(&to) else {
                continue;
            };
            let n = self.shard(from, &datagram, group.len());
            if let Some(socket) = group.get(n) {
                socket.put(from, datagram);
            }
        }
    }

    /// What the filter in front of the shards' sockets computes; what is too short for it goes by the kernel's own hash.
    fn shard(&self, from: SocketAddr, datagram: &[u8], shards: usize) -> usize {
        match datagram
            .get(1..37)
            .and_then(|text| <&[u8; 36]>::try_from(text).ok())
        {
            Some(text) if datagram.len() >= 64 => {
                shard_of(text, self.steering, shards as u32) as usize
            }
            _ => usize::from(from.port()) % shards,
        }
    }
}

impl State {
    fn post(&mut self, now_us: u64, from: SocketAddr, to: SocketAddr, datagram: Vec<u8>) {
        let jitter_us = self.chance.below(self.weather.jitter_us + 1);
        self.sent += 1;
        let arrival = (now_us + self.weather.delay_us + jitter_us, self.sent);
        self.on_its_way
            .insert(arrival, Letter { from, to, datagram });
    }
}
