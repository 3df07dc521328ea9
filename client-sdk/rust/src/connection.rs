//! What the handles of a client and its driver share: the endpoint and who waits for what. Handles ask through it, the driver feeds it; it
//! owns no socket. Its lock is never held across a wait.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use cohnect_protocol::ops::{Body, Detail, Malformed, Outcome, stream};
use cohnect_protocol::{
    ClientEndpoint, ClientEvent, CloseCode, Mode, Monotonic, Now, Opcode, Outgoing, RequestId,
    SendError, SessionEvent, Transmit,
};
use tokio::sync::{Notify, oneshot, watch};

use crate::clock::Clock;
use crate::incoming::{Broadcast, Ending, Event, Message, Unasked};
use crate::queue::Queue;
use crate::subscription::{StreamError, StreamQueue};
use crate::{Error, Failure};

/// Where a client stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// An attempt is under way, or will be after a pause.
    Connecting,
    /// There is a session.
    Connected,
    /// This was the end.
    Ended(Ending),
}

/// An answer as it came.
pub(crate) struct Answer {
    outcome: Outcome,
    body: Bytes,
}

impl Answer {
    /// The body of an answer of OK.
    pub(crate) fn into_result(self) -> Result<Bytes, Error> {
        match self.outcome {
            Outcome::Done => Ok(self.body),
            Outcome::Bad(_) | Outcome::Err(_) => Err(Failure::new(self.outcome, &self.body).into()),
        }
    }
}

/// Shared by all handles of a client; the last one that is dropped ends it.
#[derive(Debug)]
pub(crate) struct Handle {
    connection: Arc<Connection>,
}

impl Handle {
    pub(crate) fn new(connection: Arc<Connection>) -> Arc<Self> {
        Arc::new(Self { connection })
    }

    pub(crate) const fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.connection.leave();
    }
}

/// What handles and driver share.
pub(crate) struct Connection {
    state: Mutex<State>,
    pub(crate) wake: Notify,
    pub(crate) phase: watch::Sender<Phase>,
    clock: Clock,
}

pub(crate) struct State {
    endpoint: ClientEndpoint,
    waiting: HashMap<u32, oneshot::Sender<Answer>>,
    streams: HashMap<u32, StreamQueue>,
    /// Streams of this session that were dropped while no request could be made. As many as can be open.
    unclosed: VecDeque<u32>,
    incoming: Queue<Unasked>,
    queue_len: usize,
    leaving: bool,
}

/// What the endpoint told that the driver has to act upon.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Connected { server_time_ms: u64 },
    Ended(Ending),
}

impl core::fmt::Debug for Connection {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Connection")
            .field("phase", &*self.phase.borrow())
            .finish_non_exhaustive()
    }
}

impl Connection {
    pub(crate) fn new(endpoint: ClientEndpoint, clock: Clock, queue_len: usize) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                endpoint,
                waiting: HashMap::new(),
                streams: HashMap::new(),
                unclosed: VecDeque::new(),
                incoming: Queue::new(queue_len),
                queue_len,
                leaving: false,
            }),
            wake: Notify::new(),
            phase: watch::Sender::new(Phase::Connecting),
            clock,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under the lock is a bug of ours; what the others see is at worst an unanswered request.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `act` on the endpoint with the time of now.
    pub(crate) fn with_endpoint<T>(&self, act: impl FnOnce(&mut ClientEndpoint, Now) -> T) -> T {
        let mut state = self.lock();
        act(&mut state.endpoint, self.clock.now())
    }

    pub(crate) fn incoming(&self) -> Queue<Unasked> {
        self.lock().incoming.clone()
    }

    pub(crate) fn is_leaving(&self) -> bool {
        self.lock().leaving
    }

    /// Begins to leave: the driver says goodbye and ends.
    pub(crate) fn leave(&self) {
        let mut state = self.lock();
        if !state.leaving {
            state.leaving = true;
            let now = self.clock.now();
            state.endpoint.disconnect(now, CloseCode::NORMAL, "");
        }
        drop(state);
        self.wake.notify_one();
    }

    /// Sends a message without an answer.
    pub(crate) fn send(&self, message: Outgoing) -> Result<(), Error> {
        let mut state = self.lock();
        let sent = state.endpoint.send(self.clock.now(), message);
        drop(state);
        self.wake.notify_one();
        sent.map_err(refusal)
    }

    /// Sends a request whose answer comes by what is returned; dropped, that forgets the request.
    pub(crate) fn request(self: &Arc<Self>, message: Outgoing) -> Result<Waiting, Error> {
        self.request_and(message, |_, _| ())
    }

    /// Opens a stream: its queue is in place before the first item can come.
    pub(crate) fn open_stream(
        self: &Arc<Self>,
        message: Outgoing,
    ) -> Result<(Waiting, StreamQueue), Error> {
        let mut opened = None;
        let waiting = self.request_and(message, |state, id| {
            let queue = Queue::new(state.queue_len);
            state.streams.insert(id, queue.clone());
            opened = Some(queue);
        })?;
        let queue = opened.ok_or(Error::NotConnected)?;
        Ok((waiting, queue))
    }

    fn request_and(
        self: &Arc<Self>,
        message: Outgoing,
        then: impl FnOnce(&mut State, u32),
    ) -> Result<Waiting, Error> {
        let (sender, answer) = oneshot::channel();
        let mut state = self.lock();
        let id = state
            .endpoint
            .request(self.clock.now(), message)
            .map_err(refusal)?
            .0;
        state.waiting.insert(id, sender);
        then(&mut state, id);
        drop(state);
        self.wake.notify_one();
        Ok(Waiting {
            connection: Arc::clone(self),
            id,
            answer,
        })
    }

    /// Forgets a stream and tells the server, if it is the one that `queue` belongs to and is still open. A stream of an earlier session may
    /// have had the same id.
    pub(crate) fn close_stream(&self, id: u32, queue: &StreamQueue) {
        let mut state = self.lock();
        if !state.streams.get(&id).is_some_and(|open| open.is(queue)) {
            return;
        }
        state.close_stream(self.clock.now(), id);
        drop(state);
        self.wake.notify_one();
    }

    /// Hands in what `next` receives into `buffer`, until it has no more: answers to all of it leave together.
    pub(crate) fn receive(
        &self,
        from: SocketAddr,
        buffer: &mut [u8],
        mut next: impl FnMut(&mut [u8]) -> Option<usize>,
    ) {
        let mut state = self.lock();
        let now = self.clock.now();
        while let Some(len) = next(buffer) {
            if let Some(datagram) = buffer.get_mut(..len) {
                state.endpoint.handle_datagram(now, from, datagram);
            }
        }
    }

    /// Does what is due, tells everybody what happened, and appends what is to be sent to `out`. Returns when to come again.
    pub(crate) fn turn(
        &self,
        out: &mut Vec<u8>,
        transmits: &mut Vec<Transmit>,
        changes: &mut Vec<Change>,
    ) -> Option<Monotonic> {
        let mut state = self.lock();
        let now = self.clock.now();
        let due = state.endpoint.poll_timeout();
        if due.is_some_and(|at| at <= now.monotonic) {
            state.endpoint.handle_timeout(now);
        }
        while let Some(event) = state.endpoint.poll_event() {
            changes.extend(state.handle(now, event));
        }
        state.close_unclosed(now);
        while transmits.len() < TRANSMITS_PER_TURN {
            let Some(transmit) = state.endpoint.poll_transmit(now, out) else {
                break;
            };
            transmits.push(transmit);
        }
        state.endpoint.poll_timeout()
    }

    /// Whether the endpoint has nothing left to say.
    pub(crate) fn is_idle(&self) -> bool {
        self.lock().endpoint.is_idle()
    }

    /// The end: whoever still waits for anything hears of it.
    pub(crate) fn end(&self, ending: Ending) {
        let mut state = self.lock();
        state.disconnected();
        let last = Unasked::Event(Event::Disconnected(ending.clone()));
        state.incoming.finish(Some(last));
        drop(state);
        self.phase.send_replace(Phase::Ended(ending));
    }

    /// Tells the reader of [`Incoming`](crate::Incoming) something.
    pub(crate) fn tell(&self, event: Event) {
        self.lock().tell(event);
    }
}

impl State {
    fn handle(&mut self, now: Now, event: ClientEvent) -> Option<Change> {
        match event {
            ClientEvent::Connected { server_time_ms, .. } => {
                Some(Change::Connected { server_time_ms })
            }
            ClientEvent::Failed(failure) => Some(Change::Ended(Ending::Failed(failure))),
            ClientEvent::Session(event) => self.handle_session(now, event),
        }
    }

    fn handle_session(&mut self, now: Now, event: SessionEvent) -> Option<Change> {
        match event {
            SessionEvent::Response {
                request,
                outcome,
                body,
            } => {
                if let Some(waiting) = self.waiting.remove(&request.0) {
                    // Who asked may have gone.
                    let _ = waiting.send(Answer { outcome, body });
                }
            }
            SessionEvent::Message {
                request: Some(request),
                ..
            } => {
                let outcome = Outcome::Bad(Detail::UNKNOWN_OPCODE);
                let _ = self.endpoint.respond(now, request, outcome, Bytes::new());
            }
            SessionEvent::Message {
                opcode,
                version,
                channel,
                mode,
                request: None,
                body,
            } => self.handle_message(
                now,
                Message {
                    opcode,
                    version,
                    mode,
                    channel,
                    body,
                },
            ),
            SessionEvent::Away => self.tell(Event::Away),
            SessionEvent::Back => self.tell(Event::Back),
            SessionEvent::Alive { .. } => {}
            SessionEvent::Closed {
                by_peer,
                code,
                text,
            } => {
                self.disconnected();
                return Some(Change::Ended(match (self.leaving, by_peer) {
                    (true, _) => Ending::Left,
                    (false, true) => Ending::Closed { code, text },
                    (false, false) => Ending::Lost { code },
                }));
            }
        }
        None
    }

    /// A message without a request. What is malformed, or of no stream that is known, is discarded.
    fn handle_message(&mut self, now: Now, message: Message) {
        match message.opcode {
            Opcode::STREAM => {
                if let Ok(push) = stream::Push::decode(&message.body) {
                    self.handle_push(now, &message.body, push);
                }
            }
            Opcode::BROADCAST => {
                if let Ok(broadcast) = Broadcast::decode(&message.body, message.mode) {
                    self.tell(Event::Broadcast(broadcast));
                }
            }
            opcode if opcode.belongs_to_modules() => self.tell(Event::Message(message)),
            _ => {}
        }
    }

    /// What finds no room is counted in its queue.
    fn tell(&self, event: Event) {
        let _ = self.incoming.push(Unasked::Event(event));
    }

    fn close_stream(&mut self, now: Now, id: u32) {
        self.streams.remove(&id);
        self.unclosed.push_back(id);
        self.close_unclosed(now);
    }

    /// Tells the server which streams are not read any more, as far as requests can be made now.
    fn close_unclosed(&mut self, now: Now) {
        while let Some(&id) = self.unclosed.front() {
            // Until the server hears of it, what still comes on the stream is discarded.
            if matches!(self.request_close(now, id), Err(SendError::Busy)) {
                return;
            }
            self.unclosed.pop_front();
        }
    }

    fn request_close(&mut self, now: Now, id: u32) -> Result<(), SendError> {
        let message = Outgoing {
            opcode: Opcode::STREAM,
            version: 0,
            channel: 0,
            mode: Mode::ReliableOrdered,
            body: stream::Request::Close { stream: id }.to_bytes(),
        };
        // Nobody waits for the answer.
        self.endpoint.request(now, message).map(drop)
    }

    fn handle_push(&mut self, now: Now, body: &Bytes, push: stream::Push<'_>) {
        let id = push.stream;
        match push.event {
            stream::Event::Item(item) => {
                if let Some(queue) = self.streams.get(&id) {
                    let _ = queue.push(Ok(body.slice_ref(item)));
                }
            }
            stream::Event::End { outcome, text } => {
                if let Some(queue) = self.streams.remove(&id) {
                    queue.finish(match outcome {
                        Outcome::Done => None,
                        Outcome::Bad(_) | Outcome::Err(_) => {
                            let text = Bytes::copy_from_slice(text.as_bytes());
                            let failure = Failure::new(outcome, &text);
                            Some(Err(StreamError::Ended(failure)))
                        }
                    });
                }
            }
            stream::Event::Begin { topic } => {
                // The server may begin as many as it may have open; more would be its fault.
                let known = self.streams.contains_key(&id) || self.streams.len() >= STREAMS_MAX;
                if id & stream::SERVER_BEGUN == 0 || known {
                    return;
                }
                let queue = Queue::new(self.queue_len);
                self.streams.insert(id, queue.clone());
                let topic = topic.as_str().to_owned();
                let begun = Unasked::Stream { id, topic, queue };
                if self.incoming.push(begun).is_err() {
                    self.close_stream(now, id);
                }
            }
        }
    }

    fn disconnected(&mut self) {
        // Dropping the senders is what tells those who wait.
        self.waiting.clear();
        self.unclosed.clear();
        for (_, queue) in self.streams.drain() {
            queue.finish(Some(Err(StreamError::Disconnected)));
        }
    }
}

/// A request that waits for its answer.
pub(crate) struct Waiting {
    connection: Arc<Connection>,
    pub(crate) id: u32,
    answer: oneshot::Receiver<Answer>,
}

impl Waiting {
    /// The answer, unless `timeout` passes before.
    pub(crate) async fn answer(mut self, timeout: core::time::Duration) -> Result<Bytes, Error> {
        match tokio::time::timeout(timeout, &mut self.answer).await {
            Ok(Ok(answer)) => answer.into_result(),
            Ok(Err(_)) => Err(Error::Disconnected),
            Err(_) => Err(Error::NoAnswer),
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // Most are answered, and then there is nothing to forget.
        if self.answer.is_terminated() {
            return;
        }
        let mut state = self.connection.lock();
        // The id may belong to another request of a later session by now: that one's answer is still waited for.
        self.answer.close();
        if state
            .waiting
            .get(&self.id)
            .is_some_and(oneshot::Sender::is_closed)
        {
            state.waiting.remove(&self.id);
            state.endpoint.forget(RequestId(self.id));
        }
    }
}

fn refusal(error: SendError) -> Error {
    match error {
        SendError::Busy => Error::Busy,
        SendError::TooLarge => Error::TooLarge,
        SendError::Closed => Error::NotConnected,
        SendError::Form => Error::Argument(Malformed::Choice("the channel or mode")),
    }
}

/// Sends between two looks at the events: a turn must not starve those who wait for the lock.
pub(crate) const TRANSMITS_PER_TURN: usize = 64;
/// Streams at once: those that a client opens and those that the server begins (PROTOCOL.md 12).
const STREAMS_MAX: usize = 128;
