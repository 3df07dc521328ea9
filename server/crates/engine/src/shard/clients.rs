//! The clients of one shard, by session and by slot of the directory: what the shard must know of each beside its session. It sends nothing.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use cohnect_capabilities::ClientId;
use cohnect_protocol::SessionHandle;

use crate::ops::Op;
use crate::{Card, Seat};

/// Streams that one client may have open.
pub(crate) const STREAMS_MAX: usize = 64;

/// Calls of modules that one client may have queued or running: an eighth of a module's queue by default, so that nobody fills it alone, and many times what
/// a client of a game has under way.
pub(crate) const CALLS_MAX: u32 = 128;

/// One client.
pub(crate) struct Client {
    pub(crate) card: Arc<Card>,
    pub(crate) stage: Stage,
    pub(crate) streams: Vec<Stream>,
    /// Calls of modules that it has queued or running, and BROADCASTs on their way through stages; whoever asks for no answer has no other bound.
    pub(crate) calls: Arc<AtomicU32>,
    /// How many streams the server has begun for it.
    pub(crate) begun: u32,
    /// When its card is to be brought up to date, on the monotonic clock.
    pub(crate) card_due_us: u64,
}

/// How far a client has come.
pub(crate) enum Stage {
    /// Modules are asked whether it may come in; nobody else knows of it.
    Connecting(Connecting),
    /// It is in the directory.
    Here(Seat),
    /// It was refused and is told so.
    Refused,
}

/// A client at the door.
#[derive(Default)]
pub(crate) struct Connecting {
    /// The modules whose answers are still to come.
    pub(crate) asked: Vec<Arc<str>>,
    /// Tags that it will start with.
    pub(crate) tags: Vec<String>,
    /// What it sent meanwhile, in order.
    pub(crate) held: VecDeque<Op>,
    /// It was heard, which modules are told once they know of it.
    pub(crate) alive: Option<Duration>,
    /// The deadline's continuation.
    pub(crate) ticket: Option<u64>,
}

/// An open stream.
pub(crate) struct Stream {
    /// The client's number for it: the request that opened it. No two of a client have the same.
    pub(crate) id: u32,
    /// The server's own number for it, never given twice: the client may close a stream and use its id again while a handler is still being asked.
    pub(crate) serial: u64,
    pub(crate) topic: Arc<str>,
    pub(crate) stage: StreamStage,
}

/// How far a stream has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StreamStage {
    /// Its handler has not answered yet.
    Opening,
    /// It is open; a handler knows of it.
    Handled,
    /// It is open, and nobody was asked.
    Plain,
}

impl Stream {
    pub(crate) fn is_open(&self) -> bool {
        self.stage != StreamStage::Opening
    }
}

impl Client {
    pub(crate) fn new(card: Arc<Card>) -> Self {
        Self {
            card,
            stage: Stage::Connecting(Connecting::default()),
            streams: Vec::new(),
            calls: Arc::default(),
            begun: 0,
            card_due_us: 0,
        }
    }

    pub(crate) fn id(&self) -> ClientId {
        self.card.id
    }

    pub(crate) const fn seat(&self) -> Option<Seat> {
        match &self.stage {
            Stage::Here(seat) => Some(*seat),
            Stage::Connecting(_) | Stage::Refused => None,
        }
    }
}

/// All clients of a shard.
#[derive(Default)]
pub(crate) struct Clients {
    by_handle: Vec<Option<(SessionHandle, Box<Client>)>>,
    by_slot: Vec<Option<(SessionHandle, u64)>>,
    by_id: BTreeMap<ClientId, SessionHandle>,
}

impl Clients {
    pub(crate) fn insert(&mut self, handle: SessionHandle, client: Client) {
        let index = handle.index();
        if self.by_handle.len() <= index {
            self.by_handle.resize_with(index + 1, || None);
        }
        self.by_id.insert(client.id(), handle);
        self.by_handle[index] = Some((handle, Box::new(client)));
    }

    /// The session of a client; an older one of the same client is not told of here.
    pub(crate) fn by_id(&self, id: ClientId) -> Option<SessionHandle> {
        self.by_id.get(&id).copied()
    }

    /// The sessions of all clients.
    pub(crate) fn handles(&self) -> Vec<SessionHandle> {
        let held = self.by_handle.iter().flatten();
        held.map(|(handle, _)| *handle).collect()
    }

    pub(crate) fn find(&self, handle: SessionHandle) -> Option<&Client> {
        match self.by_handle.get(handle.index())? {
            Some((held, client)) if *held == handle => Some(client),
            Some(_) | None => None,
        }
    }

    pub(crate) fn find_mut(&mut self, handle: SessionHandle) -> Option<&mut Client> {
        match self.by_handle.get_mut(handle.index())? {
            Some((held, client)) if *held == handle => Some(client),
            Some(_) | None => None,
        }
    }

    pub(crate) fn remove(&mut self, handle: SessionHandle) -> Option<Box<Client>> {
        let place = self.by_handle.get_mut(handle.index())?;
        let (_, client) = place.take_if(|(held, _)| *held == handle)?;
        if self.by_id(client.id()) == Some(handle) {
            self.by_id.remove(&client.id());
        }
        if let Some(place) = client
            .seat()
            .and_then(|seat| self.by_slot.get_mut(seat.slot as usize))
        {
            place.take_if(|(held, _)| *held == handle);
        }
        Some(client)
    }

    /// The client got a slot of the directory.
    pub(crate) fn seat(&mut self, handle: SessionHandle, seat: Seat) {
        let slot = seat.slot as usize;
        if self.by_slot.len() <= slot {
            self.by_slot.resize(slot + 1, None);
        }
        self.by_slot[slot] = Some((handle, seat.since));
    }

    /// Whoever had this slot when the directory counted so many removals, if he still has it.
    pub(crate) fn at_slot(&self, slot: u32, removals: u64) -> Option<SessionHandle> {
        let (handle, since) = (*self.by_slot.get(slot as usize)?)?;
        (since <= removals).then_some(handle)
    }

    /// The first slot that was never given out.
    pub(crate) fn slots_end(&self) -> u32 {
        u32::try_from(self.by_slot.len()).unwrap_or(u32::MAX)
    }
}
