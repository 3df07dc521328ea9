//! A client of a simulation: the protocol's endpoint, driven by a local task, that does what it is told and checks each answer. Every request is answered
//! exactly once, or the run fails.

use core::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cohnect_protocol::{
    ClientConfig, ClientEndpoint, ClientEvent, CloseCode, Mode, Opcode, Outgoing, PeerId,
    PublicKey, RequestId, SessionEvent, StaticKeys, SteeringKeys,
};
use tokio::task::{JoinHandle, spawn_local};

use crate::chance::Chance;
use crate::clock::SimClock;
use crate::errands::{Errand, Findings};
use crate::journal::Journal;
use crate::network::{Network, Socket};
use crate::site::ADDRESS;

/// How often a client looks for a new command.
const LOOK_US: u64 = 20_000;
/// The longest pause between two errands, and how many are open at once.
const PAUSE_US: u64 = 60_000;
const OPEN_MAX: usize = 64;

/// What a client is told.
#[derive(Clone, Debug)]
pub(crate) enum Command {
    Connect,
    /// Runs so many errands, as chance has them.
    Work(u64),
    /// Runs one.
    Run(Errand),
    Disconnect,
}

/// Where a client is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Standing {
    #[default]
    Outside,
    Connected,
    /// Its session ended: who said so, and why.
    Closed(bool, CloseCode),
}

/// What the outside sees of a client.
#[derive(Default)]
pub(crate) struct View {
    pub(crate) commands: RefCell<VecDeque<Command>>,
    pub(crate) findings: RefCell<Findings>,
    pub(crate) standing: RefCell<Standing>,
    pub(crate) away: Cell<u32>,
    pub(crate) back: Cell<u32>,
    /// Errands that are still to be run, and those that wait for their answer.
    left: Cell<u64>,
    open: Cell<usize>,
}

impl View {
    pub(crate) fn tell(&self, command: Command) {
        self.commands.borrow_mut().push_back(command);
    }

    /// Whether it has done everything, and every answer has come.
    pub(crate) fn is_done(&self) -> bool {
        self.commands.borrow().is_empty() && self.left.get() == 0 && self.open.get() == 0
    }

    pub(crate) fn stands(&self, standing: &Standing) -> bool {
        *self.standing.borrow() == *standing
    }
}

/// A client that runs.
pub(crate) struct Client {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    pub(crate) id: PeerId,
    pub(crate) view: Rc<View>,
    pub(crate) task: JoinHandle<()>,
}

/// Who a client is.
pub(crate) struct Profile {
    pub(crate) name: &'static str,
    pub(crate) number: u8,
    /// Where its session lives, of so many shards.
    pub(crate) shard: u32,
    pub(crate) shards: u32,
    /// After how much silence it wants to count as away.
    pub(crate) idle_timeout: Option<Duration>,
}

impl Client {
    pub(crate) fn run(
        seed: u64,
        profile: &Profile,
        server: PublicKey,
        steering: SteeringKeys,
        network: &Rc<Network>,
        clock: SimClock,
        journal: &Arc<Journal>,
    ) -> Self {
        let mut chance = Chance::named(seed, profile.name);
        let address = SocketAddr::from(([10, 0, 1, profile.number], 4_000));
        let keys = StaticKeys::for_shard(&mut chance, steering, profile.shard, profile.shards)
            .expect("keys for each shard");
        let id = keys.peer_id();
        let mut config = ClientConfig::new(keys, ADDRESS, server);
        config.idle_timeout = profile.idle_timeout;
        let entropy = Chance::named(seed, &format!("{}'s endpoint", profile.name));
        let view = Rc::<View>::default();
        let driver = Driver {
            name: profile.name,
            address,
            endpoint: ClientEndpoint::new(config, Box::new(entropy)),
            socket: network.bind(address),
            network: Rc::clone(network),
            clock,
            journal: Arc::clone(journal),
            chance,
            view: Rc::clone(&view),
            open: BTreeMap::new(),
            next_errand_us: 0,
        };
        Self {
            name: profile.name,
            address,
            id,
            view,
            task: spawn_local(driver.run()),
        }
    }
}

struct Driver {
    name: &'static str,
    address: SocketAddr,
    endpoint: ClientEndpoint,
    socket: Rc<Socket>,
    network: Rc<Network>,
    clock: SimClock,
    journal: Arc<Journal>,
    chance: Chance,
    view: Rc<View>,
    open: BTreeMap<RequestId, Errand>,
    next_errand_us: u64,
}

impl Driver {
    async fn run(mut self) {
        loop {
            self.turn();
            let due = self.endpoint.poll_timeout().map_or(u64::MAX, |at| at.0);
            let next = due.min(self.clock.us() + LOOK_US);
            tokio::select! {
                biased;
                () = self.socket.readable() => {}
                () = self.clock.sleep_until(Some(next)) => {}
            }
        }
    }

    fn turn(&mut self) {
        let now = self.clock.moment();
        while let Some((from, mut datagram)) = self.socket.receive() {
            self.endpoint.handle_datagram(now, from, &mut datagram);
        }
        if self
            .endpoint
            .poll_timeout()
            .is_some_and(|at| at <= now.monotonic)
        {
            self.endpoint.handle_timeout(now);
        }
        while let Some(event) = self.endpoint.poll_event() {
            self.take(event);
        }
        self.obey();
        self.work();
        self.view.open.set(self.open.len());
        let mut bytes = Vec::new();
        while let Some(transmit) = self.endpoint.poll_transmit(now, &mut bytes) {
            for datagram in transmit.datagrams(&bytes) {
                self.network.send(self.address, transmit.to, datagram);
            }
            bytes.clear();
        }
    }

    fn note(&self, what: impl core::fmt::Display) {
        self.journal.note(self.name, what);
    }

    fn obey(&mut self) {
        loop {
            let command = self.view.commands.borrow_mut().pop_front();
            match command {
                None => return,
                Some(Command::Connect) => {
                    self.view.findings.borrow_mut().forget();
                    self.endpoint.connect(self.clock.moment());
                }
                Some(Command::Work(errands)) => self.view.left.set(errands),
                Some(Command::Run(errand)) => self.ask(errand),
                Some(Command::Disconnect) => {
                    self.endpoint
                        .disconnect(self.clock.moment(), CloseCode::NORMAL, "");
                }
            }
        }
    }

    fn work(&mut self) {
        let now_us = self.clock.us();
        if self.view.left.get() > 0 && self.open.len() < OPEN_MAX && now_us >= self.next_errand_us {
            self.next_errand_us = now_us + self.chance.below(PAUSE_US);
            self.view.left.set(self.view.left.get() - 1);
            let errand = self.view.findings.borrow_mut().choose(&mut self.chance);
            self.ask(errand);
        }
    }

    fn ask(&mut self, errand: Errand) {
        let (opcode, body) = errand.request();
        let message = Outgoing {
            opcode,
            version: 0,
            channel: 0,
            mode: Mode::ReliableOrdered,
            body,
        };
        let request = self
            .endpoint
            .request(self.clock.moment(), message)
            .expect("there is room for a request");
        self.note(format!("{request} {errand:?}"));
        if let Errand::Open(topic) = errand {
            // A stream has the number of the request that opened it.
            let mut findings = self.view.findings.borrow_mut();
            findings.streams.insert(request.0, (topic, None));
        }
        let before = self.open.insert(request, errand);
        assert!(before.is_none(), "an id of an open request was used again");
        self.view.open.set(self.open.len());
    }

    fn take(&mut self, event: ClientEvent) {
        match event {
            ClientEvent::Connected { .. } => {
                self.note("connected");
                *self.view.standing.borrow_mut() = Standing::Connected;
            }
            ClientEvent::Failed(failure) => panic!("{}: {failure}", self.name),
            ClientEvent::Session(SessionEvent::Response {
                request,
                outcome,
                body,
            }) => {
                let errand = self.open.remove(&request);
                let errand = errand.unwrap_or_else(|| panic!("{request} was answered twice"));
                let mut findings = self.view.findings.borrow_mut();
                let (said, then) = findings.answered(&errand, outcome, &body);
                drop(findings);
                self.note(format!("{request} {outcome:?} {said}"));
                if let Some(errand) = then {
                    self.ask(errand);
                }
            }
            ClientEvent::Session(SessionEvent::Message { opcode, body, .. }) => {
                self.hear(opcode, &body);
            }
            ClientEvent::Session(SessionEvent::Alive { .. }) => self.note("alive"),
            ClientEvent::Session(SessionEvent::Away) => {
                self.note("away");
                self.view.away.set(self.view.away.get() + 1);
            }
            ClientEvent::Session(SessionEvent::Back) => {
                self.note("back");
                self.view.back.set(self.view.back.get() + 1);
            }
            ClientEvent::Session(SessionEvent::Closed { by_peer, code, .. }) => {
                self.note(format!("closed, by the server: {by_peer}, {code}"));
                assert!(self.open.is_empty(), "unanswered: {:?}", self.open);
                *self.view.standing.borrow_mut() = Standing::Closed(by_peer, code);
            }
        }
    }

    fn hear(&self, opcode: Opcode, body: &Bytes) {
        let mut findings = self.view.findings.borrow_mut();
        let heard = match opcode {
            Opcode::BROADCAST => findings.hear(body),
            Opcode::STREAM => findings.item(body),
            other => panic!("nobody sends {other:?}"),
        };
        drop(findings);
        self.note(heard);
    }
}
