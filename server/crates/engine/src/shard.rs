//! A shard: the sessions of its clients, the operations that they ask for, and the modules that live here. It is driven from outside: datagrams and the
//! time are passed in, datagrams are polled out, and between the two a turn does a bounded amount of work. It opens no socket and reads no clock.

mod calls;
mod clients;
mod continuations;
mod delivery;
mod effects;
mod fanouts;
mod mail;
mod presence;
mod resume;
#[cfg(test)]
mod tests;
mod turned_away;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use cohnect_capabilities::CloseReason;
use cohnect_host::catalog::{Catalog, Catalogs, Stage};
use cohnect_host::deadline::Ticker;
use cohnect_host::export::PacketClaim;
use cohnect_host::home::{Finished, Home};
use cohnect_host::lost_mail::LostMail;
use cohnect_host::mail::{HomeId, Mail, Post, Staging};
use cohnect_host::untold::Untold;
use cohnect_protocol::ops::Detail;
use cohnect_protocol::{
    Availability, CloseCode, Counters, Entropy, Monotonic, Now, PeerId, ServerConfig,
    ServerEndpoint, ServerEvent, SessionEvent, SessionHandle, Transmit,
};

use clients::{Client, Clients};
pub(crate) use clients::{STREAMS_MAX, Stream, StreamStage};
pub(crate) use continuations::Continuation;
use continuations::Continuations;
use delivery::Parcel;
pub(crate) use delivery::delivery_of;
use fanouts::Fanouts;
pub(crate) use presence::WHOLE;
use turned_away::TurnedAway;

use crate::ops::Op;
use crate::outcome;
use crate::policy::Leniency;
use crate::state::Gate;
use crate::{Directory, Policy, State};

/// Messages of clients that wait for their turn: some milliseconds of work. Beyond it they are told *busy*, or dropped where nobody waits.
const RUN_QUEUE_MAX: usize = 4_096;
/// Calls of modules in one turn, after which what they left is sent: as many as a batch of datagrams can bring from as many clients. The tick ends a turn of
/// slow calls long before. Fewer cut the answers of one client into several datagrams, and its next requests with them: under load each then costs its own.
const CALLS_PER_TURN: usize = 64;
/// Operations begun in one turn. Most of them are done within a microsecond.
const OPERATIONS_PER_TURN: usize = 256;
/// Opcodes, each with a version, whose stages are remembered; what is beyond is looked up each time, in about a microsecond.
const PACKET_STAGES_MAX: usize = 1_024;
/// Clients with a full send queue that are looked at again in one turn.
const BACKLOGS_PER_TURN: usize = 64;

/// What a shard is made of.
pub struct ShardSetup {
    /// Which home it is, below the number of shards.
    pub id: HomeId,
    /// The endpoint's configuration, the same in all shards but for what is divided among them.
    pub endpoint: ServerConfig,
    /// Where the endpoint's randomness comes from.
    pub entropy: Box<dyn Entropy>,
    /// The clients of all shards.
    pub directory: Arc<Directory>,
    /// The values of all shards.
    pub state: Arc<State>,
    /// The modules.
    pub catalogs: Arc<Catalogs>,
    /// The boxes of all homes.
    pub post: Arc<Post>,
    /// The tick that ends turns and runaway calls.
    pub ticker: Ticker,
    /// What clients may do.
    pub policy: Policy,
}

impl core::fmt::Debug for ShardSetup {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ShardSetup")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// What a shard counts, beside its endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShardCounters {
    /// Operations that were begun.
    pub operations: u64,
    /// Calls of modules that were run here.
    pub calls: u64,
    /// Messages that found the run queue full.
    pub overrun: u64,
    /// Messages without a request that had no effect: nobody claims the opcode, or a queue was full.
    pub dropped: u64,
    /// Events that a module was not told: too many wait for it.
    pub untold: u64,
    /// Messages to clients that found their send queue full, or the client gone.
    pub undelivered: u64,
    /// Fan-outs that found no room between two homes, or here.
    pub fanouts_dropped: u64,
}

/// One shard of a server.
///
/// Whoever drives it calls [`Shard::handle_datagram`] for what came, [`Shard::handle_timeout`] when [`Shard::poll_timeout`] has come, then
/// [`Shard::turn`], then [`Shard::poll_transmit`] until there is no more. While [`Shard::has_work`] there is cause for another turn at once; else it may
/// sleep, if [`Shard::doze`] allows it, until a datagram, a wake of its waker, or the next timeout.
pub struct Shard {
    pub(crate) id: HomeId,
    pub(crate) now: Now,
    pub(crate) policy: Policy,
    pub(crate) directory: Arc<Directory>,
    pub(crate) state: Arc<State>,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) continuations: Continuations,
    pub(crate) counters: ShardCounters,
    catalogs: Arc<Catalogs>,
    catalog_version: u64,
    /// The stages of the opcodes that came since the catalog changed.
    packet_stages: BTreeMap<(u16, u8), Arc<[Stage<PacketClaim>]>>,
    endpoint: ServerEndpoint,
    home: Home,
    post: Arc<Post>,
    staging: Staging,
    ticker: Ticker,
    clients: Clients,
    run_queue: VecDeque<Work>,
    fanouts: Fanouts<Parcel>,
    /// Clients whose send queue was full when it was last looked at.
    backlogged: VecDeque<SessionHandle>,
    mail: Vec<(HomeId, Mail)>,
    requests: u64,
    untold: Untold,
    lost_mail: LostMail,
    turned_away: TurnedAway,
    /// Everybody has been told goodbye: whoever knocks now is not let in.
    closing: bool,
    /// Internal actions that clients have called, each said once.
    pub(crate) said: BTreeSet<(Arc<str>, Arc<str>)>,
    /// What this server allows and others would not, as far as it was said.
    pub(crate) lenient: BTreeSet<Leniency>,
}

/// Something that a session told, in order.
enum Work {
    Connected(SessionHandle, PeerId, SocketAddr),
    Operation(Op),
    Alive(SessionHandle, core::time::Duration),
    Away(SessionHandle),
    Back(SessionHandle),
    Closed(SessionHandle, CloseCode),
}

impl core::fmt::Debug for Shard {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Shard")
            .field("id", &self.id)
            .field("endpoint", &self.endpoint)
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

impl Shard {
    /// A shard without clients and modules.
    #[must_use]
    pub fn new(setup: ShardSetup) -> Self {
        let layout = setup.post.layout();
        Self {
            id: setup.id,
            now: Now::default(),
            policy: setup.policy,
            directory: setup.directory,
            state: setup.state,
            catalog: setup.catalogs.newest(),
            // A version that no catalog has, so that the first turn looks.
            catalog_version: u64::MAX,
            catalogs: setup.catalogs,
            packet_stages: BTreeMap::new(),
            continuations: Continuations::default(),
            counters: ShardCounters::default(),
            endpoint: ServerEndpoint::new(setup.endpoint, setup.entropy),
            home: Home::new(setup.id, setup.ticker.clone()),
            staging: Staging::new(setup.id, layout),
            post: setup.post,
            ticker: setup.ticker,
            clients: Clients::default(),
            run_queue: VecDeque::new(),
            fanouts: Fanouts::default(),
            backlogged: VecDeque::new(),
            mail: Vec::new(),
            requests: 0,
            untold: Untold::default(),
            lost_mail: LostMail::default(),
            turned_away: TurnedAway::default(),
            closing: false,
            said: BTreeSet::new(),
            lenient: BTreeSet::new(),
        }
    }

    /// Which home it is.
    #[must_use]
    pub const fn id(&self) -> HomeId {
        self.id
    }

    /// Takes one datagram, whatever it contains.
    pub fn handle_datagram(&mut self, now: Now, from: SocketAddr, datagram: &mut [u8]) {
        self.now = now;
        self.endpoint.handle_datagram(now, from, datagram);
    }

    /// Does a bounded amount of what there is to do: takes what sessions and homes have said, begins operations, runs modules, sends on what they left,
    /// and hands over the mail.
    pub fn turn(&mut self, now: Now) {
        self.now = now;
        self.refresh_catalog();
        self.take_events();
        self.take_mail();
        self.run();
        self.send_fanouts();
        self.watch_backlogs();
        self.counters.fanouts_dropped += core::mem::take(&mut self.staging.dropped);
        self.staging.hand_over(&self.post);
    }

    /// The next datagrams to send, all to one address, appended to `out`.
    pub fn poll_transmit(&mut self, now: Now, out: &mut Vec<u8>) -> Option<Transmit> {
        self.endpoint.poll_transmit(now, out)
    }

    /// When [`Shard::handle_timeout`] is to be called next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Monotonic> {
        let own = [
            self.home.poll_timeout(),
            self.continuations.next_deadline_us(),
        ];
        let own = own.into_iter().flatten().map(Monotonic);
        self.endpoint.poll_timeout().into_iter().chain(own).min()
    }

    /// Does what is due; what comes of it is the next turn's.
    pub fn handle_timeout(&mut self, now: Now) {
        self.now = now;
        self.refresh_catalog();
        self.endpoint.handle_timeout(now);
        self.home.handle_timeout(host_now(now));
        while let Some(late) = self.continuations.expired(now.monotonic.0) {
            self.give_up(late);
        }
    }

    /// Whether another turn has something to do at once.
    #[must_use]
    pub fn has_work(&self) -> bool {
        !self.run_queue.is_empty() || !self.home.is_idle() || !self.fanouts.is_empty()
    }

    /// Announces sleep: from now on mail wakes this shard. False when there is cause to stay awake.
    #[must_use]
    pub fn doze(&self) -> bool {
        !self.has_work() && self.post.doze(self.id)
    }

    /// Says that it is awake again: mail need not wake it.
    pub fn awake(&self) {
        self.post.awake(self.id);
    }

    /// From now on new clients are told to go elsewhere; those who are here stay.
    pub fn drain(&mut self) {
        self.endpoint.set_availability(Availability::Draining);
    }

    /// Says goodbye to every client. The modules' calls about it are queued at once, here and, after the next turn, elsewhere, so that what stops a module
    /// after that finds them before itself. Turns go on until [`Shard::sessions`] is 0 or the driver's patience ends.
    pub fn shut_down(&mut self, now: Now) {
        self.now = now;
        self.closing = true;
        self.refresh_catalog();
        for client in self.clients.handles() {
            self.depart(client, CloseReason::ShuttingDown);
        }
        self.endpoint.close_all(now, CloseCode::SHUTTING_DOWN);
    }

    /// Sessions that are held, those that still say goodbye included.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.endpoint.sessions()
    }

    /// What it has counted.
    #[must_use]
    pub const fn counters(&self) -> ShardCounters {
        self.counters
    }

    /// What its endpoint has counted.
    #[must_use]
    pub const fn endpoint_counters(&self) -> &Counters {
        self.endpoint.counters()
    }

    fn refresh_catalog(&mut self) {
        let version = self.catalogs.version();
        if version != self.catalog_version {
            self.catalog_version = version;
            self.catalog = self.catalogs.newest();
            self.packet_stages.clear();
        }
    }

    fn take_events(&mut self) {
        while let Some((handle, event)) = self.endpoint.poll_event() {
            match event {
                ServerEvent::Connected { peer, address } => {
                    let connected = Work::Connected(handle, peer, address);
                    self.run_queue.push_back(connected);
                }
                ServerEvent::Session(event) => self.take_event(handle, event),
            }
        }
    }

    fn take_event(&mut self, client: SessionHandle, event: SessionEvent) {
        let work = match event {
            SessionEvent::Message {
                opcode,
                version,
                channel,
                mode,
                request,
                body,
            } => {
                if self.run_queue.len() >= RUN_QUEUE_MAX {
                    self.counters.overrun += 1;
                    self.respond(client, request, outcome::failed(Detail::BUSY));
                    return;
                }
                Work::Operation(Op {
                    client,
                    opcode,
                    version,
                    channel,
                    mode,
                    request,
                    received_at: self.now.wall_us,
                    body,
                })
            }
            // This server asks its clients nothing.
            SessionEvent::Response { .. } => return,
            SessionEvent::Alive { rtt } => Work::Alive(client, rtt),
            SessionEvent::Away => Work::Away(client),
            SessionEvent::Back => Work::Back(client),
            SessionEvent::Closed { code, .. } => Work::Closed(client, code),
        };
        self.run_queue.push_back(work);
    }

    /// Begins operations, then runs modules, each until the tick.
    ///
    /// Operations begin however many calls wait already: what asks no module waits for none, and a call that waits in its module's queue is known there,
    /// so that one module's crowd does not stand before the calls of the others. The places of a client and of a queue bound them.
    fn run(&mut self) {
        let tick = self.ticker.ticks();
        for _ in 0..OPERATIONS_PER_TURN {
            let Some(work) = self.run_queue.pop_front() else {
                break;
            };
            self.take_up(work);
            if self.ticker.ticks() != tick {
                break;
            }
        }
        let tick = self.ticker.ticks();
        for _ in 0..CALLS_PER_TURN {
            let Some(finished) = self.home.run_next(host_now(self.now)) else {
                break;
            };
            self.counters.calls += 1;
            self.finish(finished);
            if self.ticker.ticks() != tick {
                break;
            }
        }
    }

    fn take_up(&mut self, work: Work) {
        match work {
            Work::Connected(client, peer, address) => self.connected(client, peer, address),
            Work::Operation(op) => self.handle_operation(op),
            Work::Alive(client, rtt) => self.alive(client, rtt),
            Work::Away(client) => self.away(client),
            Work::Back(client) => self.back(client),
            Work::Closed(client, code) => self.closed(client, code),
        }
    }

    /// A call has ended: its reply leaves, then what it left behind.
    fn finish(&mut self, finished: Finished) {
        let Finished {
            slot,
            identity,
            answer,
            answered,
            mut effects,
        } = finished;
        match self.state.gate() {
            Gate::Open => {
                self.give(answer, answered);
                self.apply(&identity.module, &mut effects);
            }
        }
        self.home.recycle(slot, effects);
    }

    /// The stages of an opcode, looked up once for each catalog.
    pub(crate) fn stages_of_packet(
        &mut self,
        opcode: u16,
        version: u8,
    ) -> Arc<[Stage<PacketClaim>]> {
        if let Some(known) = self.packet_stages.get(&(opcode, version)) {
            return Arc::clone(known);
        }
        let stages: Arc<[_]> = self
            .catalog
            .stages_of_packet(opcode, version)
            .cloned()
            .collect();
        // Clients choose opcodes and versions: what nobody claims is not worth remembering, nor is more than a game has.
        if !stages.is_empty() && self.packet_stages.len() < PACKET_STAGES_MAX {
            self.packet_stages
                .insert((opcode, version), Arc::clone(&stages));
        }
        stages
    }
}

pub(crate) const fn host_now(now: Now) -> cohnect_host::now::Now {
    cohnect_host::now::Now {
        monotonic_us: now.monotonic.0,
        wall_us: now.wall_us,
    }
}
