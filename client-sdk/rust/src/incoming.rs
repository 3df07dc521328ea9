//! What comes without having been asked for: broadcasts, messages of modules, streams that the server begins, and news of the connection.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use cohnect_protocol::ops::{Body, Malformed, broadcast};
use cohnect_protocol::{CloseCode, ConnectFailure, Mode, Opcode, PeerId};
use futures_util::Stream;

use crate::Subscription;
use crate::connection::Handle;
use crate::queue::{Queue, Taken};
use crate::subscription::StreamQueue;

/// Everything that comes unasked, as a stream. It keeps the connection open; dropped, it lets what comes be forgotten.
#[derive(Debug)]
pub struct Incoming {
    queue: Queue<Unasked>,
    handle: Arc<Handle>,
}

/// What waits to be read. A stream is not yet a [`Subscription`]: one that is dropped talks to the connection, which holds this queue.
#[derive(Debug)]
pub(crate) enum Unasked {
    Event(Event),
    Stream {
        id: u32,
        topic: String,
        queue: StreamQueue,
    },
}

impl Incoming {
    pub(crate) const fn new(queue: Queue<Unasked>, handle: Arc<Handle>) -> Self {
        Self { queue, handle }
    }

    /// The next event; none after the client's end.
    pub async fn next(&mut self) -> Option<Event> {
        std::future::poll_fn(|context| self.poll(context)).await
    }

    fn poll(&self, context: &mut Context<'_>) -> Poll<Option<Event>> {
        self.queue.poll_take(context).map(|taken| match taken {
            Taken::Next(Unasked::Event(event)) => Some(event),
            Taken::Next(Unasked::Stream { id, topic, queue }) => {
                let handle = Arc::clone(&self.handle);
                Some(Event::Stream(Subscription::new(id, topic, queue, handle)))
            }
            Taken::Lost(count) => Some(Event::Lost(count)),
            Taken::Finished => None,
        })
    }
}

impl Stream for Incoming {
    type Item = Event;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        self.poll(context)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        for left in self.queue.abandon() {
            if let Unasked::Stream { id, queue, .. } = left {
                self.handle.connection().close_stream(id, &queue);
            }
        }
    }
}

/// Something that came unasked.
#[derive(Debug)]
pub enum Event {
    /// A client, or the server, sent to many.
    Broadcast(Broadcast),
    /// A module sent to this client.
    Message(Message),
    /// The server began a stream.
    Stream(Subscription),
    /// There is a session again, after a [`Disconnected`](Self::Disconnected). Tags and streams of the one before are gone.
    Connected {
        /// The server's clock when it answered, in milliseconds since the Unix epoch.
        server_time_ms: u64,
    },
    /// The session ended. Unless this was the end of the client, a new one is tried for.
    Disconnected(Ending),
    /// The server has been silent for a while; what is reliable waits.
    Away,
    /// The server is heard again.
    Back,
    /// So many events were dropped here, because this was read too slowly.
    Lost(u64),
}

/// A message to many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broadcast {
    /// The client that sent it; none when it was the server.
    pub sender: Option<PeerId>,
    /// What was sent.
    pub payload: Bytes,
    /// How it travelled.
    pub mode: Mode,
    topic: Bytes,
}

impl Broadcast {
    pub(crate) fn decode(body: &Bytes, mode: Mode) -> Result<Self, Malformed> {
        let push = broadcast::Push::decode(body)?;
        Ok(Self {
            sender: push.sender,
            payload: body.slice_ref(push.payload),
            mode,
            topic: body.slice_ref(push.topic.as_bytes()),
        })
    }

    /// The topic that it was sent to.
    #[must_use]
    pub fn topic(&self) -> &str {
        // It was text when it was decoded.
        core::str::from_utf8(&self.topic).unwrap_or_default()
    }
}

/// A message of a module, on one of the modules' own opcodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The opcode, at least 0x0100.
    pub opcode: Opcode,
    /// The command version.
    pub version: u8,
    /// How it travelled.
    pub mode: Mode,
    /// On which channel.
    pub channel: u8,
    /// What the module sent.
    pub body: Bytes,
}

/// How a session, or the attempt to get one, ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ending {
    /// This client left.
    #[error("closed by this client")]
    Left,
    /// The server said goodbye.
    #[error("closed by the server: {code}{}", said(text))]
    Closed {
        /// Why.
        code: CloseCode,
        /// The server's words.
        text: String,
    },
    /// Something ended it on this side.
    #[error("lost: {code}")]
    Lost {
        /// What: mostly *idle*.
        code: CloseCode,
    },
    /// No session came to be.
    #[error("{0}")]
    Failed(ConnectFailure),
}

/// The server's words behind the code's name, if it had any.
fn said(text: &str) -> String {
    if text.is_empty() {
        String::new()
    } else {
        format!(": {text}")
    }
}

impl Ending {
    /// Whether a client may come back by itself after this.
    pub(crate) fn allows_return(&self) -> bool {
        match self {
            Self::Left => false,
            Self::Closed { code, .. } | Self::Lost { code } => {
                ![CloseCode::SUPERSEDED, CloseCode::KICKED, CloseCode::REFUSED].contains(code)
            }
            Self::Failed(_) => true,
        }
    }
}
