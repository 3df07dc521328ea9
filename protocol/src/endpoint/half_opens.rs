//! What a server remembers of each client by its UUID: the session that is open, those that are closing, and the handshake that awaits its first
//! protected datagram (PROTOCOL.md 3). Handshakes are bounded in number and age. It decides nothing about what is sent.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::time::Duration;

use super::connections::SessionHandle;
use crate::handshake::messages::{ACCEPT_LEN, HelloId};
use crate::handshake::payload::ClientPayload;
use crate::{Entropy, KeyedState, Monotonic, PacketKey, PeerId};

/// How long a handshake waits for the client's first protected datagram.
pub(super) const HALF_OPEN_LIFE: Duration = Duration::from_secs(5);
/// Session numbers have six bits.
pub(super) const SESSION_NUMBERS: u8 = 64;

/// A handshake that was answered.
pub(super) struct HalfOpen<K> {
    pub(super) address: SocketAddr,
    pub(super) cookie_us: u64,
    pub(super) hello_id: HelloId,
    pub(super) accept: [u8; ACCEPT_LEN],
    pub(super) opened_at: Monotonic,
    /// Whether the first protected datagram will tell the round trip: the answer was sent once, and the client has no reason to wait.
    pub(super) measures_rtt: bool,
    /// What the session will be made of; none when the answer was a refusal.
    pub(super) keys: Option<PendingKeys<K>>,
    sequence: u64,
}

/// What a session will be made of.
pub(super) struct PendingKeys<K> {
    pub(super) server: PeerId,
    pub(super) number: u8,
    pub(super) live: [u8; 8],
    pub(super) seal: K,
    pub(super) open: K,
    pub(super) wishes: ClientPayload,
    pub(super) idle_timeout: Duration,
}

/// A handshake that was answered just now.
pub(super) struct Answered<K> {
    pub(super) address: SocketAddr,
    pub(super) cookie_us: u64,
    pub(super) hello_id: HelloId,
    pub(super) accept: [u8; ACCEPT_LEN],
    pub(super) measures_rtt: bool,
    pub(super) keys: Option<PendingKeys<K>>,
}

/// What is remembered of one client; an entry exists only while there is something.
pub(super) struct Peer<K> {
    pub(super) live: Option<(u8, SessionHandle)>,
    /// Sessions that still say goodbye: empty but for a second after an end, and bounded by the session numbers.
    pub(super) closing: Vec<(u8, SessionHandle)>,
    pub(super) half_open: Option<Box<HalfOpen<K>>>,
}

impl<K> Peer<K> {
    const fn new() -> Self {
        Self {
            live: None,
            closing: Vec::new(),
            half_open: None,
        }
    }

    /// The session with this number, also one that is closing.
    pub(super) fn session(&self, number: u8) -> Option<SessionHandle> {
        self.live
            .iter()
            .chain(&self.closing)
            .find(|(each, _)| *each == number)
            .map(|(_, handle)| *handle)
    }

    /// A number that no session and no handshake of this client has, the first free one from `start`.
    fn free_number(&self, start: u8) -> Option<u8> {
        let pending = self.half_open.as_ref().and_then(|each| each.keys.as_ref());
        (0..SESSION_NUMBERS)
            .map(|step| (start % SESSION_NUMBERS + step) % SESSION_NUMBERS)
            .find(|&number| {
                self.session(number).is_none() && pending.is_none_or(|keys| keys.number != number)
            })
    }

    fn is_empty(&self) -> bool {
        self.live.is_none() && self.closing.is_empty() && self.half_open.is_none()
    }
}

/// All clients that a server remembers.
pub(super) struct Peers<K> {
    by_id: HashMap<PeerId, Peer<K>, KeyedState>,
    /// The handshakes in the order of their beginning, which is also that of their end.
    half_opens: BTreeMap<u64, (Monotonic, PeerId)>,
    half_opens_max: usize,
    next_sequence: u64,
}

impl<K: PacketKey> Peers<K> {
    pub(super) fn new(half_opens_max: usize, entropy: &mut dyn Entropy) -> Self {
        Self {
            by_id: HashMap::with_hasher(KeyedState::new(entropy)),
            half_opens: BTreeMap::new(),
            half_opens_max: half_opens_max.max(1),
            next_sequence: 0,
        }
    }

    pub(super) fn find(&self, id: PeerId) -> Option<&Peer<K>> {
        self.by_id.get(&id)
    }

    pub(super) fn half_opens(&self) -> usize {
        self.half_opens.len()
    }

    /// A session number for a new handshake of this client, which will replace the one that waits.
    pub(super) fn free_number(&self, id: PeerId, start: u8) -> Option<u8> {
        self.find(id).map_or(Some(start % SESSION_NUMBERS), |peer| {
            peer.free_number(start)
        })
    }

    /// Remembers an answered handshake in the place of the client's last one. When the table is full the oldest goes; the answer says whether
    /// one went.
    pub(super) fn remember(&mut self, now: Monotonic, id: PeerId, answered: Answered<K>) -> bool {
        self.forget(id);
        let full = self.half_opens.len() >= self.half_opens_max;
        if full && let Some((_, (_, oldest))) = self.half_opens.first_key_value() {
            let oldest = *oldest;
            self.forget(oldest);
        }
        let sequence = self.next_sequence;
        self.next_sequence = sequence.wrapping_add(1);
        self.half_opens.insert(sequence, (now, id));
        self.by_id.entry(id).or_insert_with(Peer::new).half_open = Some(Box::new(HalfOpen {
            address: answered.address,
            cookie_us: answered.cookie_us,
            hello_id: answered.hello_id,
            accept: answered.accept,
            opened_at: now,
            measures_rtt: answered.measures_rtt,
            keys: answered.keys,
            sequence,
        }));
        full
    }

    /// The answer to a client's handshake is sent once more.
    pub(super) fn repeat(&mut self, id: PeerId) {
        if let Some(half_open) = self
            .by_id
            .get_mut(&id)
            .and_then(|peer| peer.half_open.as_mut())
        {
            half_open.measures_rtt = false;
        }
    }

    /// Takes a client's handshake out.
    pub(super) fn take_half_open(&mut self, id: PeerId) -> Option<Box<HalfOpen<K>>> {
        let taken = self.by_id.get_mut(&id)?.half_open.take()?;
        self.half_opens.remove(&taken.sequence);
        Some(taken)
    }

    /// Forgets a client's handshake, and the client if that was all.
    pub(super) fn forget(&mut self, id: PeerId) {
        self.take_half_open(id);
        self.tidy(id);
    }

    /// Forgets every handshake.
    pub(super) fn forget_half_opens(&mut self) {
        while let Some((_, (_, id))) = self.half_opens.first_key_value() {
            let id = *id;
            self.forget(id);
        }
    }

    /// When the oldest handshake ends.
    pub(super) fn poll_timeout(&self) -> Option<Monotonic> {
        let (_, (opened_at, _)) = self.half_opens.first_key_value()?;
        Some(opened_at.plus(HALF_OPEN_LIFE))
    }

    /// Forgets one handshake whose time is over; false when there is none.
    pub(super) fn expire_one(&mut self, now: Monotonic) -> bool {
        let Some((_, (opened_at, id))) = self.half_opens.first_key_value() else {
            return false;
        };
        if opened_at.plus(HALF_OPEN_LIFE) > now {
            return false;
        }
        let id = *id;
        self.forget(id);
        true
    }

    /// Makes `handle` the client's open session and answers the one that was open before, which is now closing.
    pub(super) fn open(
        &mut self,
        id: PeerId,
        number: u8,
        handle: SessionHandle,
    ) -> Option<SessionHandle> {
        let peer = self.by_id.entry(id).or_insert_with(Peer::new);
        let before = peer.live.replace((number, handle))?;
        peer.closing.push(before);
        Some(before.1)
    }

    /// The session begins to close: it is no longer the client's open one.
    pub(super) fn close(&mut self, id: PeerId, handle: SessionHandle) {
        if let Some(peer) = self.by_id.get_mut(&id)
            && let Some(held) = peer.live.take_if(|(_, live)| *live == handle)
        {
            peer.closing.push(held);
        }
    }

    /// The session is gone.
    pub(super) fn remove(&mut self, id: PeerId, handle: SessionHandle) {
        if let Some(peer) = self.by_id.get_mut(&id) {
            peer.live.take_if(|(_, live)| *live == handle);
            peer.closing.retain(|(_, each)| *each != handle);
        }
        self.tidy(id);
    }

    fn tidy(&mut self, id: PeerId) {
        if self.by_id.get(&id).is_some_and(Peer::is_empty) {
            self.by_id.remove(&id);
        }
    }
}
