//! What clients of this shard get: answers, packets, items, goodbyes. Everything that a module sends goes this way, so that it arrives in the order in
//! which it was sent, also where a fan-out is still on its way.

use std::sync::Arc;

use bytes::Bytes;
use cohnect_capabilities::{Client as Caller, ClientId, CloseReason, Delivery};
use cohnect_host::mail::{Fanout, Outgoing, Recipients};
use cohnect_protocol::ops::{Body as _, Detail, Name8, Outcome, broadcast, stream};
use cohnect_protocol::{
    Mode, Opcode, Outgoing as Message, PeerId, RequestContext, SendError, SessionHandle, limits,
};

use super::fanouts::To;
use super::presence::WHOLE;
use super::{BACKLOGS_PER_TURN, STREAMS_MAX, Shard, Stream, StreamStage};
use crate::outcome::Reply;

/// Something for one client, or for each of many, with its bytes once.
#[derive(Clone, Debug)]
pub(crate) enum Parcel {
    /// A message that is the same for everybody.
    Message(Message),
    /// The answer to a request.
    Answer(RequestContext, Outcome, Bytes),
    /// An item; each stream has its own number in front of it.
    Item {
        topic: Arc<str>,
        item: Bytes,
        mode: Mode,
    },
    /// The end of a topic.
    Finish { topic: Arc<str>, reason: Arc<str> },
    /// A stream that the server begins.
    Attach(Arc<str>),
    /// A stream that the server takes back.
    Detach(Arc<str>),
    /// The session's end.
    Disconnect(CloseReason, Arc<str>),
}

impl Shard {
    /// Answers a request at once; without one there is nothing to answer.
    pub(crate) fn respond(
        &mut self,
        client: SessionHandle,
        request: Option<RequestContext>,
        (outcome, body): Reply,
    ) {
        if let Some(request) = request {
            // A session that has ended waits for nothing.
            self.endpoint
                .respond(self.now, client, request, outcome, body)
                .ok();
        }
    }

    /// Answers a request behind what the same module sent to the client before.
    pub(crate) fn respond_in_order(
        &mut self,
        client: SessionHandle,
        request: RequestContext,
        (outcome, body): Reply,
    ) {
        let slot = self.clients.find(client).and_then(super::Client::seat);
        match slot.map(|seat| seat.slot) {
            Some(slot) if !self.fanouts.passed(slot) => {
                let answer = Parcel::Answer(request, outcome, body);
                self.fanouts.push(To::One(client, slot), answer, 0);
            }
            Some(_) | None => self.respond(client, Some(request), (outcome, body)),
        }
    }

    /// Something for clients of this shard has come.
    pub(super) fn fan_in(&mut self, fanout: Fanout) {
        let weight = fanout.what.weight();
        let parcel = pack(fanout.what);
        let to = match fanout.to {
            Recipients::One(id) => {
                let found = self.clients.by_id(id).and_then(|handle| {
                    let seat = self.clients.find(handle)?.seat()?;
                    Some((handle, seat.slot))
                });
                let Some((handle, slot)) = found else {
                    self.counters.undelivered += 1;
                    return;
                };
                if self.fanouts.passed(slot) {
                    self.deliver(handle, &parcel);
                    return;
                }
                To::One(handle, slot)
            }
            Recipients::Slots { slots, removals } => To::Slots(slots, removals),
            Recipients::Everyone { except } => To::Everyone(except),
        };
        if !self.fanouts.push(to, parcel, weight) {
            self.counters.fanouts_dropped += 1;
        }
    }

    /// Moves the fan-outs on.
    pub(super) fn send_fanouts(&mut self) {
        if self.fanouts.is_empty() {
            return;
        }
        let mut fanouts = core::mem::take(&mut self.fanouts);
        fanouts.advance(self.clients.slots_end(), |each, slot| {
            let handle = match &each.to {
                To::One(handle, _) => Some(*handle),
                To::Slots(_, removals) => self.clients.at_slot(slot, *removals),
                To::Everyone(except) => self
                    .clients
                    .at_slot(slot, u64::MAX)
                    .filter(|handle| except.is_none_or(|id| !self.is(*handle, id))),
            };
            handle.map_or(0, |handle| self.deliver(handle, &each.parcel))
        });
        // Delivering makes no new fan-out, so nothing is lost here.
        self.fanouts = fanouts;
    }

    fn is(&self, handle: SessionHandle, id: ClientId) -> bool {
        self.clients
            .find(handle)
            .is_some_and(|client| client.id() == id)
    }

    /// Delivers to one client, and says how many messages that was: an item is one for each of his streams.
    fn deliver(&mut self, to: SessionHandle, parcel: &Parcel) -> usize {
        match parcel {
            Parcel::Message(message) => {
                self.send(to, message.clone());
            }
            Parcel::Answer(request, outcome, body) => {
                self.respond(to, Some(*request), (*outcome, body.clone()));
            }
            Parcel::Item { topic, item, mode } => return self.deliver_item(to, topic, item, *mode),
            Parcel::Finish { topic, reason } => {
                self.end_streams(to, topic, None, (Outcome::Done, reason));
            }
            Parcel::Attach(topic) => self.begin_stream(to, topic),
            Parcel::Detach(topic) => self.end_streams(to, topic, None, (Outcome::Done, "")),
            Parcel::Disconnect(reason, message) => self.disconnect(to, *reason, message),
        }
        1
    }

    /// Sends one message. False where it found no room, which is counted.
    pub(crate) fn send(&mut self, to: SessionHandle, message: Message) -> bool {
        match self.endpoint.send(self.now, to, message) {
            Ok(()) => true,
            Err(SendError::Busy) => {
                self.counters.undelivered += 1;
                self.note_backlog(to);
                false
            }
            Err(SendError::TooLarge | SendError::Closed | SendError::Form) => {
                self.counters.undelivered += 1;
                true
            }
        }
    }

    /// Sends an item on one stream. A reliable one that finds no room ends the stream: whoever has it open knows then that something is missing.
    pub(crate) fn send_item(
        &mut self,
        to: SessionHandle,
        (stream, topic): (u32, &Arc<str>),
        item: &[u8],
        mode: Mode,
    ) {
        let event = stream::Event::Item(item);
        let sent = self.send(to, push(stream, event, mode));
        if !sent && mode.is_reliable() {
            self.end_streams(to, topic, Some(stream), (Outcome::of(Detail::BUSY), ""));
        }
    }

    fn deliver_item(
        &mut self,
        to: SessionHandle,
        topic: &Arc<str>,
        item: &Bytes,
        mode: Mode,
    ) -> usize {
        let Some(client) = self.clients.find(to) else {
            return 0;
        };
        // Nearly always one; at most as many as a client may have open.
        let open = |stream: &&Stream| stream.is_open() && stream.topic == *topic;
        let mut streams = client.streams.iter().filter(open).map(|stream| stream.id);
        let (first, others) = (streams.next(), streams.collect::<Vec<_>>());
        let sent = usize::from(first.is_some()) + others.len();
        for stream in first.into_iter().chain(others) {
            self.send_item(to, (stream, topic), item, mode);
        }
        sent
    }

    fn begin_stream(&mut self, to: SessionHandle, topic: &Arc<str>) {
        let serial = self.next_request();
        let Some(client) = self.clients.find_mut(to) else {
            return;
        };
        let there = client.streams.iter().any(|stream| stream.topic == *topic);
        if there || client.streams.len() >= STREAMS_MAX {
            self.sync_subscription(to, topic);
            return;
        }
        client.begun = client.begun.wrapping_add(1) & !stream::SERVER_BEGUN;
        let id = stream::SERVER_BEGUN | client.begun;
        let Some(name) = Name8::new(topic) else {
            return;
        };
        let event = stream::Event::Begin { topic: name };
        if self.send(to, push(id, event, Mode::ReliableOrdered)) {
            let begun = Stream {
                id,
                serial,
                topic: Arc::clone(topic),
                stage: StreamStage::Plain,
            };
            if let Some(streams) = self.streams(to) {
                streams.push(begun);
            }
        }
        self.sync_subscription(to, topic);
    }

    /// Ends the streams that a client has open on a topic, or only one of them. It has to hear of that, so it is queued beyond the client's 1 MiB; no more
    /// than [`STREAMS_MAX`] are, since where that is full no stream is opened.
    fn end_streams(
        &mut self,
        to: SessionHandle,
        topic: &Arc<str>,
        one: Option<u32>,
        (outcome, text): (Outcome, &str),
    ) {
        let Some(client) = self.clients.find_mut(to) else {
            return;
        };
        let id = client.id();
        let ended: Vec<Stream> = client
            .streams
            .extract_if(.., |stream| {
                stream.is_open() && stream.topic == *topic && one.is_none_or(|one| one == stream.id)
            })
            .collect();
        for stream in ended {
            let event = stream::Event::End { outcome, text };
            let message = push(stream.id, event, Mode::ReliableOrdered);
            if self.endpoint.send_owed(self.now, to, message).is_err() {
                self.counters.undelivered += 1;
            }
            if stream.stage == StreamStage::Handled {
                let caller = self.as_caller(id, WHOLE);
                self.unsubscribed(caller, topic, CloseReason::Other);
            }
        }
        self.sync_subscription(to, topic);
    }

    /// Tells a topic's handler that a stream has ended.
    pub(crate) fn unsubscribed(&mut self, client: Caller, topic: &Arc<str>, reason: CloseReason) {
        let catalog = Arc::clone(&self.catalog);
        if let Some(claim) = catalog.stream_claim(topic) {
            let event = cohnect_host::export::Export::Unsubscribe {
                topic: Arc::clone(topic),
                client: client.clone(),
                reason,
            };
            self.tell(&claim.module, client.id, event);
        }
    }

    /// Who the client of a session is, if it is here.
    pub(crate) fn client_of(&self, handle: SessionHandle) -> Option<ClientId> {
        let client = self.clients.find(handle)?;
        client.seat().map(|_| client.id())
    }

    /// The streams of a client.
    pub(crate) fn streams(&mut self, handle: SessionHandle) -> Option<&mut Vec<Stream>> {
        let client = self.clients.find_mut(handle)?;
        Some(&mut client.streams)
    }

    /// As [`Shard::sync_subscription`], for whichever session the client has by now.
    pub(crate) fn sync_client(&self, id: ClientId, topic: &Arc<str>) {
        if let Some(handle) = self.clients.by_id(id) {
            self.sync_subscription(handle, topic);
        }
    }

    /// Makes the directory say what is so: whether a client has a topic open.
    pub(crate) fn sync_subscription(&self, handle: SessionHandle, topic: &Arc<str>) {
        let Some(client) = self.clients.find(handle) else {
            return;
        };
        let open = |stream: &Stream| stream.is_open() && stream.topic == *topic;
        if client.streams.iter().any(open) {
            self.directory.subscribe(client.id(), topic);
        } else {
            self.directory.unsubscribe(client.id(), topic);
        }
    }

    /// A client's send queue is full: modules see it until it is not.
    pub(crate) fn note_backlog(&mut self, handle: SessionHandle) {
        if let Some(client) = self.clients.find(handle)
            && !client.card.backlogged()
        {
            client.card.set_backlogged(true);
            self.backlogged.push_back(handle);
        }
    }

    /// Whether so much waits for a client that the longest message finds no room.
    pub(crate) fn is_backlogged(&self, handle: SessionHandle) -> bool {
        const LONGEST: u64 = limits::BODY_LEN_MAX as u64 + limits::MESSAGE_OVERHEAD;
        self.endpoint
            .session(handle)
            .is_some_and(|session| session.queued_bytes() + LONGEST > limits::SEND_QUEUE_MAX)
    }

    pub(super) fn watch_backlogs(&mut self) {
        for _ in 0..self.backlogged.len().min(BACKLOGS_PER_TURN) {
            let Some(handle) = self.backlogged.pop_front() else {
                return;
            };
            let full = self.is_backlogged(handle);
            if full {
                self.backlogged.push_back(handle);
            } else if let Some(client) = self.clients.find(handle) {
                client.card.set_backlogged(false);
            }
        }
    }
}

/// What happens on a stream, as a message.
fn push(stream: u32, event: stream::Event<'_>, mode: Mode) -> Message {
    Message {
        opcode: Opcode::STREAM,
        version: 0,
        // So that one busy topic holds up no other (PROTOCOL.md 6.2).
        channel: (stream % u32::from(limits::CHANNELS)) as u8,
        mode,
        body: stream::Push { stream, event }.to_bytes(),
    }
}

/// How a delivery travels.
pub(crate) const fn mode_of(delivery: Delivery) -> Mode {
    match delivery {
        Delivery::ReliableOrdered => Mode::ReliableOrdered,
        Delivery::ReliableUnordered => Mode::ReliableUnordered,
        Delivery::UnreliableSequenced => Mode::UnreliableSequenced,
        Delivery::Unreliable => Mode::Unreliable,
    }
}

/// What a mode owes a message.
pub(crate) const fn delivery_of(mode: Mode) -> Delivery {
    match mode {
        Mode::ReliableOrdered => Delivery::ReliableOrdered,
        Mode::ReliableUnordered => Delivery::ReliableUnordered,
        Mode::UnreliableSequenced => Delivery::UnreliableSequenced,
        Mode::Unreliable => Delivery::Unreliable,
    }
}

/// What travels is made once for all recipients.
fn pack(what: Outgoing) -> Parcel {
    match what {
        Outgoing::Packet {
            opcode,
            payload,
            options,
        } => Parcel::Message(Message {
            opcode: Opcode(opcode),
            version: options.version,
            channel: options.channel,
            mode: mode_of(options.delivery),
            body: payload,
        }),
        Outgoing::Broadcast {
            sender,
            topic,
            payload,
            options,
        } => {
            let sender =
                (sender != ClientId::default()).then(|| PeerId::from_bytes(sender.to_bytes()));
            // The form of a topic was checked where it came from.
            let body = Name8::new(&topic).map_or_else(Bytes::new, |topic| {
                broadcast::Push {
                    sender,
                    topic,
                    payload: &payload,
                }
                .to_bytes()
            });
            Parcel::Message(Message {
                opcode: Opcode::BROADCAST,
                version: 0,
                channel: options.channel,
                mode: mode_of(options.delivery),
                body,
            })
        }
        Outgoing::Item {
            topic,
            payload,
            delivery,
        } => Parcel::Item {
            topic,
            item: payload,
            mode: mode_of(delivery),
        },
        Outgoing::Finish { topic, reason } => Parcel::Finish {
            topic,
            reason: reason.into(),
        },
        Outgoing::Attach { topic } => Parcel::Attach(topic),
        Outgoing::Detach { topic } => Parcel::Detach(topic),
        Outgoing::Disconnect { reason, message } => Parcel::Disconnect(reason, message.into()),
    }
}
