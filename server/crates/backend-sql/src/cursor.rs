//! An open result: a task that owns a reading connection and hands out pages of a running statement, and the handle that the module holds.

use core::time::Duration;
use std::sync::{Arc, Mutex, PoisonError};

use cohnect_capabilities::db::{Cursor, Value};
use cohnect_capabilities::{BoxFuture, Error, Result};
use futures_util::{FutureExt, StreamExt};
use sqlx::Either;
use sqlx::sqlite::SqliteArguments;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use crate::call::Call;
use crate::connection::{Connection, Rows};
use crate::failure::Failure;
use crate::gate::Gate;
use crate::opening::Patience;
use crate::pool::Lease;
use crate::statement::Statement;
use crate::value::{self, Kind};
use crate::{RESULT_BYTES_MAX, RESULT_ROWS_MAX};

type Page = Vec<Vec<Value>>;

/// The module's side. Dropping it closes the result, and makes room for another cursor at once: that its connection still comes to rest is the pool's affair.
#[derive(Debug)]
pub(crate) struct Open {
    columns: Vec<String>,
    requests: mpsc::Sender<(usize, oneshot::Sender<Result<Page>>)>,
    place: Arc<Place>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.place.leave();
    }
}

/// A place among the open cursors, left once: when the module drops its side, or when the task ends, whichever comes first.
#[derive(Debug)]
pub(crate) struct Place(Mutex<Option<OwnedSemaphorePermit>>);

impl Place {
    pub(crate) fn new(permit: OwnedSemaphorePermit) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Some(permit))))
    }

    fn leave(&self) {
        drop(self.0.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

impl Cursor for Open {
    fn columns(&self) -> Vec<String> {
        self.columns.clone()
    }

    fn next(&mut self, limit: u32) -> BoxFuture<'_, Result<Page>> {
        let rows = match usize::try_from(limit) {
            Ok(0) => PAGE_ROWS,
            Ok(limit) => limit.min(RESULT_ROWS_MAX),
            Err(_) => RESULT_ROWS_MAX,
        };
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            // The task has ended: an error, or the time for it.
            self.requests
                .send((rows, reply))
                .await
                .map_err(|_| Error::Closed)?;
            answer.await.unwrap_or(Err(Error::Closed))
        })
    }
}

/// What a cursor is opened for, and its bounds.
#[derive(Debug)]
pub(crate) struct Opening {
    /// The statement's text.
    pub text: String,
    /// Its parameters.
    pub params: Vec<Value>,
    /// For one call.
    pub limit: Duration,
    /// For all of them.
    pub held_max: Duration,
    /// The place among the open cursors.
    pub place: Arc<Place>,
}

/// Opens the result, answers the call that asked for it, and serves its pages until they end, the handle is dropped, or it has been open too long.
pub(crate) async fn serve(mut call: Call<Box<dyn Cursor>>, mut lease: Lease, opening: Opening) {
    let gate = Arc::clone(lease.connection.gate());
    let connection = &mut lease.connection;
    let read = call
        .supervise(&gate, prepare(connection, &opening.text, &opening.params))
        .await;
    match read {
        Some(Ok((statement, arguments))) => {
            pages(
                &mut call, connection, &gate, &statement, &arguments, &opening,
            )
            .await;
            // A statement that is not at its end ends now.
            gate.interrupt();
        }
        Some(Err(error)) => {
            // Before the answer: whoever hears it may open the next at once.
            opening.place.leave();
            call.answer(Err(error));
        }
        None => {}
    }
    lease.give_back().await;
    opening.place.leave();
}

async fn prepare(
    connection: &mut Connection,
    text: &str,
    params: &[Value],
) -> Result<(Statement, SqliteArguments)> {
    let arguments = value::arguments(params)?;
    let statement = connection.read(text, params).await?;
    if !statement.reads_only {
        return Err(Error::invalid(
            "a cursor reads; use `query` for a statement that writes and returns rows",
        ));
    }
    Ok((statement, arguments))
}

async fn pages(
    call: &mut Call<Box<dyn Cursor>>,
    connection: &mut Connection,
    gate: &Gate,
    statement: &Statement,
    arguments: &SqliteArguments,
    opening: &Opening,
) {
    // The first row is looked at before the call is answered: what is wrong with the statement shows in `open`, and a lock is waited for there.
    let mut patience = Patience::default();
    let (first, mut rows) = loop {
        let mut rows = connection.rows(statement, arguments.clone());
        let Some(first) = call.supervise(gate, rows.next()).await else {
            return;
        };
        let Some(Err(error)) = first else {
            break (first.and_then(core::result::Result::ok), rows);
        };
        drop(rows);
        match connection.failure(&error) {
            Failure::Busy => {
                if call.wait(patience.pause().map(Ok)).await.is_none() {
                    return;
                }
            }
            failure @ (Failure::Broken(_) | Failure::Answer(_) | Failure::Full) => {
                opening.place.leave();
                return call.answer(Err(failure.into()));
            }
        }
    };
    let (requests, mut received) = mpsc::channel(1);
    call.answer(Ok(Box::new(Open {
        columns: statement.columns.clone(),
        requests,
        place: Arc::clone(&opening.place),
    })));
    let mut reader = Reader {
        waiting: first,
        ended: false,
        kinds: &statement.kinds,
        gate,
    };
    let mut over = core::pin::pin!(tokio::time::sleep(opening.held_max));
    loop {
        let request = tokio::select! {
            biased;
            request = received.recv() => request,
            () = &mut over => None,
        };
        let Some((most, reply)) = request else {
            return;
        };
        let mut call = Call::new(reply, opening.limit);
        // A page that nobody got is lost, so the cursor ends with it.
        match call.supervise(gate, reader.page(&mut rows, most)).await {
            Some(Ok(page)) => call.answer(Ok(page)),
            Some(Err(error)) => return call.answer(Err(error)),
            None => return,
        }
    }
}

type Item = Either<sqlx::sqlite::SqliteQueryResult, sqlx::sqlite::SqliteRow>;

/// Cuts a stream of rows into pages.
struct Reader<'a> {
    /// The row that was looked at before it was asked for, or that did not fit into the last page.
    waiting: Option<Item>,
    /// The statement has come to its end.
    ended: bool,
    kinds: &'a [Kind],
    gate: &'a Gate,
}

impl Reader<'_> {
    async fn page(&mut self, rows: &mut Rows<'_>, most: usize) -> Result<Page> {
        let mut page = Page::new();
        let mut bytes_left = RESULT_BYTES_MAX;
        while page.len() < most && !self.ended {
            let item = match self.waiting.take() {
                Some(item) => item,
                None => match rows.next().await {
                    Some(Ok(item)) => item,
                    Some(Err(error)) => return Err(Failure::of_sqlx(&error, self.gate).into()),
                    None => return Err(Error::unavailable("the database: its connection died")),
                },
            };
            let Either::Right(row) = &item else {
                self.ended = true;
                break;
            };
            let (values, bytes) = value::row(row, self.kinds)?;
            // At least one row a page, or an empty page would look like the end.
            if bytes > bytes_left && !page.is_empty() {
                self.waiting = Some(item);
                break;
            }
            bytes_left = bytes_left.saturating_sub(bytes);
            page.push(values);
        }
        Ok(page)
    }
}

/// A page when the module names no size.
const PAGE_ROWS: usize = 256;
