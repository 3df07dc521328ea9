//! What waits to be sent or to be acknowledged: reliable spaces, unreliable messages, and their bound (PROTOCOL.md 5, 6.4, 6.5). It writes
//! frames into a datagram; which datagrams are in flight is recovery's.

use std::collections::VecDeque;

use bytes::Bytes;

use super::credit::{SendCredit, cost};
use super::packing::Packing;
use crate::Monotonic;
use crate::limits::{
    CHANNELS, MESSAGE_WINDOW, SEND_QUEUE_HARD_MAX, SEND_QUEUE_MAX, UNRELIABLE_WAIT_MAX,
};
use crate::recovery::{FrameRef, Recovery};
use crate::wire::{Mode, OpFrame, OpKind};

/// A message of which only the id is missing.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) mode: Mode,
    pub(super) channel: u8,
    pub(super) version: u8,
    pub(super) opcode: u16,
    pub(super) kind: OpKind,
    pub(super) body: Bytes,
}

impl Message {
    fn frame(&self, message_id: u32) -> OpFrame<'_> {
        OpFrame {
            mode: self.mode,
            channel: self.channel,
            version: self.version,
            opcode: self.opcode,
            message_id,
            kind: self.kind,
            body: &self.body,
        }
    }

    fn cost(&self) -> u64 {
        cost(self.body.len())
    }
}

/// Where a reliable message stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It was never sent.
    Waiting,
    /// It is in this datagram, the newest that carries it.
    Sent(u64),
    /// That datagram is lost; the message waits in `lost`.
    Lost,
}

/// A reliable space: the ids from `first` on, which is the lowest that is not acknowledged.
#[derive(Debug)]
struct Space {
    first: u32,
    /// None where acknowledged.
    messages: VecDeque<Option<(Message, Stage)>>,
    /// How many of `messages` were sent at least once.
    started: usize,
    /// How many entries of the ready queue were set aside because the window of ids is full.
    parked: usize,
}

/// An unreliable message.
#[derive(Debug)]
struct Loose {
    message: Message,
    message_id: u32,
    queued_at: Monotonic,
}

/// No space was made yet for a channel.
const NONE: u8 = u8::MAX;

/// Everything on its way to the peer.
#[derive(Debug)]
pub(super) struct SendQueue {
    /// The number of each reliable space, unordered ones first.
    numbers: [u8; 2 * CHANNELS as usize],
    spaces: Vec<Space>,
    /// Spaces with a message that was never sent, one entry for each such message, in the order in which they were queued.
    ready: VecDeque<u8>,
    lost: VecDeque<FrameRef>,
    loose: VecDeque<Loose>,
    /// The newest id of each sequenced channel.
    sequenced: Option<Box<[u32; CHANNELS as usize]>>,
    credit: SendCredit,
    bytes: u64,
    unacknowledged: usize,
    loose_first: bool,
}

impl SendQueue {
    pub(super) const fn new(credit: u64) -> Self {
        Self {
            numbers: [NONE; 2 * CHANNELS as usize],
            spaces: Vec::new(),
            ready: VecDeque::new(),
            lost: VecDeque::new(),
            loose: VecDeque::new(),
            sequenced: None,
            credit: SendCredit::new(credit),
            bytes: 0,
            unacknowledged: 0,
            loose_first: false,
        }
    }

    /// Bytes that wait, `MESSAGE_OVERHEAD` beside the body of each message.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) const fn has_room(&self, body_len: usize) -> bool {
        self.bytes + cost(body_len) <= SEND_QUEUE_MAX
    }

    pub(super) const fn is_beyond_bound(&self) -> bool {
        self.bytes > SEND_QUEUE_HARD_MAX
    }

    pub(super) fn is_empty(&self) -> bool {
        self.unacknowledged == 0 && self.loose.is_empty()
    }

    pub(super) fn raise_credit(&mut self, total: u64) {
        self.credit.raise(total);
    }

    /// Queues a message on a channel below 32.
    pub(super) fn push(&mut self, now: Monotonic, message: Message) {
        self.bytes += message.cost();
        let channel = usize::from(message.channel % CHANNELS);
        let at = match message.mode {
            Mode::ReliableUnordered => channel,
            Mode::ReliableOrdered => channel + usize::from(CHANNELS),
            Mode::Unreliable => return self.push_loose(now, message, 0),
            Mode::UnreliableSequenced => {
                let ids = self
                    .sequenced
                    .get_or_insert_with(|| Box::new([0; CHANNELS as usize]));
                ids[channel] = ids[channel].wrapping_add(1);
                let id = ids[channel];
                return self.push_loose(now, message, id);
            }
        };
        if self.numbers[at] == NONE {
            self.numbers[at] = self.spaces.len() as u8;
            self.spaces.push(Space {
                first: 1,
                messages: VecDeque::new(),
                started: 0,
                parked: 0,
            });
        }
        let number = self.numbers[at];
        let space = &mut self.spaces[usize::from(number)];
        space.messages.push_back(Some((message, Stage::Waiting)));
        self.unacknowledged += 1;
        self.ready.push_back(number);
    }

    /// Whether a datagram has something to carry.
    pub(super) fn wants_transmit(&mut self, now: Monotonic) -> bool {
        if !self.lost.is_empty() {
            return true;
        }
        self.drop_stale(now);
        !self.loose.is_empty() || self.next_ready().is_some()
    }

    /// Fills a datagram with what fits: first what was lost, then new messages, in turns reliable or unreliable ones first, so that neither
    /// starves the other.
    pub(super) fn pack(
        &mut self,
        now: Monotonic,
        packing: &mut Packing<'_>,
        recovery: &mut Recovery,
    ) {
        self.pack_lost(packing, recovery);
        self.drop_stale(now);
        if self.loose_first {
            self.pack_loose(packing);
            self.pack_ready(packing, recovery);
        } else {
            self.pack_ready(packing, recovery);
            self.pack_loose(packing);
        }
        self.loose_first = !self.loose_first;
    }

    /// Repeats a message in a probe if datagram `number` is still the newest that carries it; false when there was nothing to repeat.
    pub(super) fn repeat(
        &mut self,
        frame: FrameRef,
        number: u64,
        packing: &mut Packing<'_>,
        recovery: &mut Recovery,
    ) -> bool {
        let Some((message, stage)) = find(&mut self.spaces, frame) else {
            return false;
        };
        let repeated = *stage == Stage::Sent(number) && packing.operation(&message.frame(frame.id));
        if repeated {
            *stage = Stage::Sent(packing.number());
            recovery.note(frame);
        }
        repeated
    }

    /// The peer has a message.
    pub(super) fn acknowledged(&mut self, frame: FrameRef) {
        let Some(space) = self.spaces.get_mut(usize::from(frame.space)) else {
            return;
        };
        let Some(slot) = frame
            .id
            .checked_sub(space.first)
            .and_then(|offset| space.messages.get_mut(offset as usize))
        else {
            return;
        };
        let Some((message, _)) = slot.take() else {
            return;
        };
        self.bytes -= message.cost();
        self.unacknowledged -= 1;
        while let Some(None) = space.messages.front() {
            space.messages.pop_front();
            space.first += 1;
            space.started -= 1;
        }
        let room = (MESSAGE_WINDOW as usize).saturating_sub(space.started);
        let freed = space.parked.min(room);
        space.parked -= freed;
        self.ready.extend(core::iter::repeat_n(frame.space, freed));
    }

    /// Datagram `number` is lost: what has not been sent again since then is due again.
    pub(super) fn lost(&mut self, frame: FrameRef, number: u64) {
        if let Some((_, stage)) = find(&mut self.spaces, frame)
            && *stage == Stage::Sent(number)
        {
            *stage = Stage::Lost;
            self.lost.push_back(frame);
        }
    }

    /// The peer is away: what cannot arrive in time is not kept.
    pub(super) fn drop_loose(&mut self) {
        for loose in self.loose.drain(..) {
            self.bytes -= loose.message.cost();
        }
    }

    /// Gives back the memory of a busy time.
    pub(super) fn rest(&mut self) {
        for space in &mut self.spaces {
            space.messages.shrink_to_fit();
        }
        self.ready.shrink_to_fit();
        self.lost.shrink_to_fit();
        self.loose.shrink_to_fit();
    }

    #[cfg(test)]
    pub(super) fn heap_len(&self) -> usize {
        let messages: usize = self
            .spaces
            .iter()
            .map(|space| space.messages.capacity() * size_of::<Option<(Message, Stage)>>())
            .sum();
        messages
            + self.spaces.capacity() * size_of::<Space>()
            + self.ready.capacity()
            + self.lost.capacity() * size_of::<FrameRef>()
            + self.loose.capacity() * size_of::<Loose>()
            + self.sequenced.as_ref().map_or(0, |_| 128)
    }

    fn push_loose(&mut self, queued_at: Monotonic, message: Message, message_id: u32) {
        self.loose.push_back(Loose {
            message,
            message_id,
            queued_at,
        });
    }

    fn drop_stale(&mut self, now: Monotonic) {
        while let Some(loose) = self.loose.front()
            && now.since(loose.queued_at) > UNRELIABLE_WAIT_MAX
        {
            self.bytes -= loose.message.cost();
            self.loose.pop_front();
        }
    }

    /// The space whose next message may be started now. Spaces whose window of ids is full are set aside on the way.
    fn next_ready(&mut self) -> Option<u8> {
        while let Some(&number) = self.ready.front() {
            let space = &mut self.spaces[usize::from(number)];
            if space.started >= MESSAGE_WINDOW as usize {
                space.parked += 1;
                self.ready.pop_front();
                continue;
            }
            let cost = match space.messages.get(space.started) {
                Some(Some((message, _))) => message.cost(),
                Some(None) | None => 0,
            };
            // The credit keeps the order of all reliable messages: a small one does not overtake a large one that waits for credit.
            return self.credit.covers(cost).then_some(number);
        }
        None
    }

    fn pack_ready(&mut self, packing: &mut Packing<'_>, recovery: &mut Recovery) {
        while let Some(number) = self.next_ready() {
            let space = &mut self.spaces[usize::from(number)];
            let id = space.first + space.started as u32;
            if let Some(Some((message, stage))) = space.messages.get_mut(space.started) {
                if !packing.operation(&message.frame(id)) {
                    return;
                }
                *stage = Stage::Sent(packing.number());
                self.credit.take(message.cost());
                recovery.note(FrameRef { space: number, id });
            }
            space.started += 1;
            self.ready.pop_front();
        }
    }

    fn pack_lost(&mut self, packing: &mut Packing<'_>, recovery: &mut Recovery) {
        while let Some(&frame) = self.lost.front() {
            if let Some((message, stage)) = find(&mut self.spaces, frame)
                && *stage == Stage::Lost
            {
                if !packing.operation(&message.frame(frame.id)) {
                    return;
                }
                *stage = Stage::Sent(packing.number());
                recovery.note(frame);
            }
            self.lost.pop_front();
        }
    }

    fn pack_loose(&mut self, packing: &mut Packing<'_>) {
        while let Some(loose) = self.loose.front() {
            if !packing.operation(&loose.message.frame(loose.message_id)) {
                return;
            }
            self.bytes -= loose.message.cost();
            self.loose.pop_front();
        }
    }
}

/// The message that `frame` names, unless it is acknowledged.
fn find(spaces: &mut [Space], frame: FrameRef) -> Option<&mut (Message, Stage)> {
    let space = spaces.get_mut(usize::from(frame.space))?;
    let offset = frame.id.checked_sub(space.first)?;
    space.messages.get_mut(offset as usize)?.as_mut()
}
