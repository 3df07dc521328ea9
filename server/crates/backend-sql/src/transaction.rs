//! An open transaction: a task that owns the writing connection and takes one request after the other, and the handle that the module holds.

use core::time::Duration;

use cohnect_capabilities::db::{RowSet, Transaction, Value};
use cohnect_capabilities::{BoxFuture, Error, Result};
use tokio::sync::{mpsc, oneshot};

use crate::call::Call;
use crate::connection::{Connection, Seen};
use crate::pool::Lease;

/// What the module asks of its transaction.
#[derive(Debug)]
pub(crate) enum Request {
    /// Rows.
    Query(String, Vec<Value>, oneshot::Sender<Result<RowSet>>),
    /// An effect.
    Execute(String, Vec<Value>, oneshot::Sender<Result<u64>>),
    /// The end.
    Commit(oneshot::Sender<Result<()>>),
    /// The end, with nothing done.
    Rollback(oneshot::Sender<Result<()>>),
}

/// The module's side. Dropping it tells the task to roll back.
#[derive(Debug)]
pub(crate) struct Open {
    requests: mpsc::Sender<Request>,
}

/// The two sides of a transaction. One request waits at most: the handle is used by one caller, and only one whose future was dropped leaves its request.
pub(crate) fn pair() -> (Open, mpsc::Receiver<Request>) {
    let (requests, received) = mpsc::channel(1);
    (Open { requests }, received)
}

impl Open {
    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T>>) -> Request + Send,
    ) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        // The task has ended, so it has rolled back: its time was over.
        self.requests
            .send(request(reply))
            .await
            .map_err(|_| Error::Aborted)?;
        answer.await.unwrap_or(Err(Error::Aborted))
    }
}

impl Transaction for Open {
    fn query<'a>(
        &'a mut self,
        statement: &'a str,
        params: Vec<Value>,
    ) -> BoxFuture<'a, Result<RowSet>> {
        Box::pin(self.ask(move |reply| Request::Query(statement.to_owned(), params, reply)))
    }

    fn execute<'a>(
        &'a mut self,
        statement: &'a str,
        params: Vec<Value>,
    ) -> BoxFuture<'a, Result<u64>> {
        Box::pin(self.ask(move |reply| Request::Execute(statement.to_owned(), params, reply)))
    }

    fn commit(self: Box<Self>) -> BoxFuture<'static, Result<()>> {
        Box::pin(async move { self.ask(Request::Commit).await })
    }

    fn rollback(self: Box<Self>) -> BoxFuture<'static, Result<()>> {
        Box::pin(async move { self.ask(Request::Rollback).await })
    }
}

/// Serves the transaction that was begun on this connection until it ends, its handle is dropped, or it has been open for `held_max`.
pub(crate) async fn serve(
    mut lease: Lease,
    mut requests: mpsc::Receiver<Request>,
    limit: Duration,
    held_max: Duration,
) {
    let mut over = core::pin::pin!(tokio::time::sleep(held_max));
    // SQLite has undone it: what follows would run outside of any transaction.
    let mut lost = false;
    loop {
        let request = tokio::select! {
            biased;
            request = requests.recv() => request,
            () = &mut over => None,
        };
        let Some(request) = request else {
            break;
        };
        let connection = &mut lease.connection;
        match request {
            Request::Query(text, params, reply) => {
                let mut call = Call::new(reply, limit);
                lost |= run(
                    &mut call,
                    connection,
                    lost,
                    async |connection: &mut Connection| {
                        match connection.query(&text, &params).await? {
                            Seen::Rows(rows) => Ok(rows),
                            // Not on the writing connection.
                            Seen::Writes => Err(Error::Denied),
                        }
                    },
                )
                .await;
            }
            Request::Execute(text, params, reply) => {
                let mut call = Call::new(reply, limit);
                let work =
                    async |connection: &mut Connection| connection.execute(&text, &params).await;
                lost |= run(&mut call, connection, lost, work).await;
            }
            Request::Commit(reply) => {
                let mut call = Call::new(reply, limit);
                run(
                    &mut call,
                    connection,
                    lost,
                    async |connection: &mut Connection| connection.commit().await,
                )
                .await;
                break;
            }
            Request::Rollback(reply) => {
                lease.give_back().await;
                drop(reply.send(Ok(())));
                return;
            }
        }
    }
    lease.give_back().await;
}

/// Runs one request; whether the transaction is lost after it.
async fn run<T>(
    call: &mut Call<T>,
    connection: &mut Connection,
    lost: bool,
    work: impl AsyncFnOnce(&mut Connection) -> Result<T>,
) -> bool {
    if lost {
        call.answer(Err(Error::Aborted));
        return true;
    }
    let gate = std::sync::Arc::clone(connection.gate());
    let done = call.supervise(&gate, work(connection)).await;
    gate.clear_interrupt();
    let lost = match &done {
        Some(Ok(_)) => false,
        // Some errors undo the whole transaction and some only the statement; SQLite knows which.
        Some(Err(_)) => connection.has_lost_transaction().await,
        // An interrupted statement may have been half of the module's plan; the rest of it must not be committed alone.
        None => true,
    };
    if let Some(done) = done {
        call.answer(done);
    }
    lost
}
