//! The sessions that a server holds, by handle: who has something to say, who has something to send, whose timer is next. Each of the three is
//! found without looking at the others. It knows no handshake and no datagram.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;

use crate::handshake::messages::HelloId;
use crate::{Monotonic, PacketKey, PeerId, Session};

/// Names one session of one endpoint. A handle is never given out twice, so that a late one finds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionHandle {
    index: u32,
    generation: u32,
}

impl SessionHandle {
    /// A small number, unique among the sessions that are held now: an index for the caller's own table.
    #[must_use]
    pub const fn index(self) -> usize {
        self.index as usize
    }
}

/// One session and what the endpoint knows about it.
pub(super) struct Connection<K: PacketKey> {
    pub(super) session: Session<K>,
    pub(super) peer: PeerId,
    /// The path of the handshake; answers go nowhere else.
    pub(super) address: SocketAddr,
    pub(super) live: [u8; 8],
    pub(super) cookie_us: u64,
    pub(super) hello_id: HelloId,
    /// Whether the caller has heard of it.
    pub(super) announced: bool,
    /// Whether the caller has heard of its end.
    pub(super) ended: bool,
    ready: bool,
    dirty: bool,
    timer: Option<Monotonic>,
}

/// What a new connection is made of.
pub(super) struct Opened<K: PacketKey> {
    pub(super) session: Session<K>,
    pub(super) peer: PeerId,
    pub(super) address: SocketAddr,
    pub(super) live: [u8; 8],
    pub(super) cookie_us: u64,
    pub(super) hello_id: HelloId,
}

struct Slot<K: PacketKey> {
    generation: u32,
    connection: Option<Box<Connection<K>>>,
}

/// All sessions of an endpoint. Their number is bounded by whoever inserts.
pub(super) struct Connections<K: PacketKey> {
    slots: Vec<Slot<K>>,
    free: Vec<u32>,
    /// At most one entry a session, never later than its session's own timer.
    timers: BTreeSet<(Monotonic, u32)>,
    /// At most one entry a session, in the order in which they got something to say.
    ready: VecDeque<SessionHandle>,
    /// At most one entry a session, in the order in which they got something to send.
    dirty: VecDeque<SessionHandle>,
}

impl<K: PacketKey> Connections<K> {
    pub(super) const fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            timers: BTreeSet::new(),
            ready: VecDeque::new(),
            dirty: VecDeque::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn insert(&mut self, opened: Opened<K>) -> SessionHandle {
        let connection = Box::new(Connection {
            session: opened.session,
            peer: opened.peer,
            address: opened.address,
            live: opened.live,
            cookie_us: opened.cookie_us,
            hello_id: opened.hello_id,
            announced: false,
            ended: false,
            ready: false,
            dirty: false,
            timer: None,
        });
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot {
                generation: 0,
                connection: None,
            });
            (self.slots.len() - 1) as u32
        });
        let slot = &mut self.slots[index as usize];
        slot.connection = Some(connection);
        SessionHandle {
            index,
            generation: slot.generation,
        }
    }

    pub(super) fn remove(&mut self, handle: SessionHandle) {
        let Some(slot) = self.slots.get_mut(handle.index()) else {
            return;
        };
        if slot.generation != handle.generation {
            return;
        }
        let Some(connection) = slot.connection.take() else {
            return;
        };
        if let Some(at) = connection.timer {
            self.timers.remove(&(at, handle.index));
        }
        // A slot whose generations are used up is never given out again: 48 bytes lost after four thousand million sessions.
        if let Some(next) = slot.generation.checked_add(1) {
            slot.generation = next;
            self.free.push(handle.index);
        }
    }

    pub(super) fn find(&self, handle: SessionHandle) -> Option<&Connection<K>> {
        let slot = self.slots.get(handle.index())?;
        slot.connection
            .as_deref()
            .filter(|_| slot.generation == handle.generation)
    }

    pub(super) fn find_mut(&mut self, handle: SessionHandle) -> Option<&mut Connection<K>> {
        let slot = self.slots.get_mut(handle.index())?;
        slot.connection
            .as_deref_mut()
            .filter(|_| slot.generation == handle.generation)
    }

    /// To be called after anything was done with a session: it may now have something to say, something to send, or another timer.
    pub(super) fn touch(&mut self, handle: SessionHandle) {
        let Some(slot) = self.slots.get_mut(handle.index()) else {
            return;
        };
        let Some(connection) = slot
            .connection
            .as_deref_mut()
            .filter(|_| slot.generation == handle.generation)
        else {
            return;
        };
        if !connection.ready {
            connection.ready = true;
            self.ready.push_back(handle);
        }
        if !connection.dirty {
            connection.dirty = true;
            self.dirty.push_back(handle);
        }
        schedule(&mut self.timers, handle.index, connection);
    }

    /// To be called after a session was polled for datagrams, which may have ended it.
    pub(super) fn wake(&mut self, handle: SessionHandle) {
        if let Some(connection) = self.find_mut(handle)
            && !connection.ready
        {
            connection.ready = true;
            self.ready.push_back(handle);
        }
    }

    /// The session that has been waiting longest to say something. It stays the first until [`Self::silence`] is called.
    pub(super) fn ready(&mut self) -> Option<SessionHandle> {
        self.first(|connections| &mut connections.ready)
    }

    /// The first of those with something to say has said everything.
    pub(super) fn silence(&mut self, handle: SessionHandle) {
        self.ready.pop_front();
        if let Some(connection) = self.find_mut(handle) {
            connection.ready = false;
        }
    }

    /// The session that has been waiting longest to send something. It stays the first until [`Self::sent`] is called.
    pub(super) fn dirty(&mut self) -> Option<SessionHandle> {
        self.first(|connections| &mut connections.dirty)
    }

    /// The first of those with something to send has sent; it goes to the end if there may be `more`.
    pub(super) fn sent(&mut self, handle: SessionHandle, more: bool) {
        self.dirty.pop_front();
        if more {
            self.dirty.push_back(handle);
        }
        let Some(slot) = self.slots.get_mut(handle.index()) else {
            return;
        };
        if let Some(connection) = slot
            .connection
            .as_deref_mut()
            .filter(|_| slot.generation == handle.generation)
        {
            connection.dirty = more;
            schedule(&mut self.timers, handle.index, connection);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Monotonic> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// The sessions whose timers have come, each once; the caller touches them.
    pub(super) fn due(&mut self, now: Monotonic) -> Vec<SessionHandle> {
        let mut due = Vec::new();
        while let Some(&(at, index)) = self.timers.first() {
            if at > now {
                break;
            }
            self.timers.pop_first();
            let Some(slot) = self.slots.get_mut(index as usize) else {
                continue;
            };
            if let Some(connection) = slot.connection.as_deref_mut() {
                connection.timer = None;
                due.push(SessionHandle {
                    index,
                    generation: slot.generation,
                });
            }
        }
        due
    }

    /// Every session that is held, in the order of their places.
    pub(super) fn handles(&self) -> impl Iterator<Item = SessionHandle> + '_ {
        self.slots.iter().enumerate().filter_map(|(index, slot)| {
            slot.connection.as_ref().map(|_| SessionHandle {
                index: index as u32,
                generation: slot.generation,
            })
        })
    }

    fn first(
        &mut self,
        queue: impl Fn(&mut Self) -> &mut VecDeque<SessionHandle>,
    ) -> Option<SessionHandle> {
        loop {
            let handle = *queue(self).front()?;
            if self.find(handle).is_some() {
                return Some(handle);
            }
            queue(self).pop_front();
        }
    }
}

/// Moves a session's entry forward when its timer is now earlier. A later timer is left to be looked at again when the entry comes: it moves
/// with nearly every datagram, and an entry that comes early costs less than moving it each time.
fn schedule<K: PacketKey>(
    timers: &mut BTreeSet<(Monotonic, u32)>,
    index: u32,
    connection: &mut Connection<K>,
) {
    let Some(wanted) = connection.session.poll_timeout() else {
        return;
    };
    if let Some(held) = connection.timer {
        if held <= wanted {
            return;
        }
        timers.remove(&(held, index));
    }
    timers.insert((wanted, index));
    connection.timer = Some(wanted);
}
