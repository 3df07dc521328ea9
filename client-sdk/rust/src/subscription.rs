//! A stream of items on a topic, as its reader holds it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;

use crate::connection::Handle;
use crate::queue::{Queue, Taken};
use crate::{Error, Failure};

/// What comes on one stream, in order. It ends with none when its module ended it well, and after every error but [`StreamError::Lost`]. It
/// keeps the connection open; dropped, it closes the stream.
#[derive(Debug)]
pub struct Subscription {
    id: u32,
    topic: String,
    queue: Queue<Result<Bytes, StreamError>>,
    handle: Arc<Handle>,
    finished: bool,
}

pub(crate) type StreamQueue = Queue<Result<Bytes, StreamError>>;

impl Subscription {
    pub(crate) const fn new(
        id: u32,
        topic: String,
        queue: StreamQueue,
        handle: Arc<Handle>,
    ) -> Self {
        Self {
            id,
            topic,
            queue,
            handle,
            finished: false,
        }
    }

    /// The topic.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The number of the stream in its session.
    #[must_use]
    pub const fn id(&self) -> u32 {
        self.id
    }

    /// The next item; none after the end.
    ///
    /// # Errors
    /// [`StreamError`] says what is missing, or why there will be no more.
    pub async fn next(&mut self) -> Option<Result<Bytes, StreamError>> {
        std::future::poll_fn(|context| self.poll(context)).await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, StreamError>>> {
        if self.finished {
            return Poll::Ready(None);
        }
        self.queue.poll_take(context).map(|taken| match taken {
            Taken::Next(item) => Some(item),
            Taken::Lost(count) => Some(Err(StreamError::Lost(count))),
            Taken::Finished => {
                self.finished = true;
                None
            }
        })
    }
}

impl Stream for Subscription {
    type Item = Result<Bytes, StreamError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll(context)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        drop(self.queue.abandon());
        self.handle.connection().close_stream(self.id, &self.queue);
    }
}

/// What interrupts or ends a stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// So many items were dropped here, because the stream was read too slowly. More will come.
    #[error("{0} items were dropped by a slow reader")]
    Lost(u64),
    /// The module, or the server, ended the stream with this.
    #[error(transparent)]
    Ended(#[from] Failure),
    /// The session ended, and the stream with it. In the next session it is opened anew.
    #[error("the session ended")]
    Disconnected,
}

impl From<StreamError> for Error {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::Ended(failure) => Self::Answer(failure),
            StreamError::Lost(_) | StreamError::Disconnected => Self::Disconnected,
        }
    }
}
