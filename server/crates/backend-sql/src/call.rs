//! One question from a module: its answer, its time limit, and what happens when the limit passes or the module no longer waits. It knows nothing of SQL.

use core::future::Future;
use core::pin::Pin;
use core::time::Duration;

use cohnect_capabilities::{Error, Result};
use tokio::sync::oneshot;
use tokio::time::Sleep;

use crate::gate::Gate;

/// The backend's side of a question.
#[derive(Debug)]
pub(crate) struct Call<T> {
    /// Taken by the first answer.
    reply: Option<oneshot::Sender<Result<T>>>,
    limit: Pin<Box<Sleep>>,
}

impl<T> Call<T> {
    /// A call to be answered within `limit`, beginning now. To be made on the backends' runtime, whose clock it uses.
    pub(crate) fn new(reply: oneshot::Sender<Result<T>>, limit: Duration) -> Self {
        Self {
            reply: Some(reply),
            limit: Box::pin(tokio::time::sleep(limit)),
        }
    }

    /// Gives the answer; a second one, or one that nobody waits for, goes nowhere.
    pub(crate) fn answer(&mut self, answer: Result<T>) {
        if let Some(reply) = self.reply.take() {
            // The error is the answer itself: the asker has gone, and dropping the answer undoes what hangs on it.
            drop(reply.send(answer));
        }
    }

    /// Waits for something that may simply be dropped. None when the call is over before: it has been answered, and there is nothing left to do.
    pub(crate) async fn wait<W>(&mut self, work: impl Future<Output = Result<W>>) -> Option<W> {
        match self.until_over(work).await {
            Some(Ok(done)) => Some(done),
            Some(Err(error)) => {
                self.answer(Err(error));
                None
            }
            None => None,
        }
    }

    /// Waits for something that uses a connection and must come to its own end. When the call is over before that, it is answered at once, the statement
    /// is interrupted, and the wait goes on for as long as an end can take; then none.
    pub(crate) async fn supervise<W>(
        &mut self,
        gate: &Gate,
        work: impl Future<Output = W>,
    ) -> Option<W> {
        let mut work = core::pin::pin!(work);
        if let Some(done) = self.until_over(work.as_mut()).await {
            return Some(done);
        }
        gate.interrupt();
        if tokio::time::timeout(END_MAX, work).await.is_err() {
            gate.abandon();
        }
        None
    }

    /// The work's outcome; none, and the call answered, when its asker goes or its time ends first.
    async fn until_over<W>(&mut self, work: impl Future<Output = W>) -> Option<W> {
        let reply = self.reply.as_mut()?;
        tokio::select! {
            biased;
            done = work => return Some(done),
            () = reply.closed() => {}
            () = &mut self.limit => {}
        }
        self.answer(Err(Error::Timeout));
        None
    }
}

/// How long an interrupted statement, or a connection that is asked whether it is idle, may take to come to its end: a hundred of SQLite's slowest
/// instructions and a slow disk fit in. Beyond it the connection is closed instead of lent again, and its thread ends when it can.
pub(crate) const END_MAX: Duration = Duration::from_secs(10);
