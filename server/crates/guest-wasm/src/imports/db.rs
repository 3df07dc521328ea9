//! `db`: SQL databases, with transactions and cursors as resources. A resource lives at most as long as the call that made it; its number is never used
//! again, so a component that keeps one meets `closed` and not somebody else's.

use std::collections::BTreeMap;

use cohnect_capabilities as plain;
use cohnect_capabilities::BoxFuture;
use cohnect_capabilities::db as backend;
use cohnect_host::function::HostFunction as F;
use wasmtime::Result as Call;
use wasmtime::component::Resource;

use crate::contract::bindings::cohnect::module::db as wit;
use crate::contract::types::{Error, all};
use crate::store::{Host, Stop};

/// Transactions and cursors that one call may hold at once: each holds a connection, and a pool has about as many.
const OPEN_MAX: usize = 8;

/// `transaction`, as a component names it.
#[derive(Debug)]
#[allow(
    unreachable_pub,
    reason = "the generated bindings export what they are given"
)]
pub enum Transaction {}

/// `cursor`, as a component names it.
#[derive(Debug)]
#[allow(
    unreachable_pub,
    reason = "the generated bindings export what they are given"
)]
pub enum Cursor {}

enum Open {
    Transaction(Box<dyn backend::Transaction>),
    Cursor(Box<dyn backend::Cursor>),
}

/// The transactions and cursors of the running call.
#[derive(Default)]
pub(crate) struct Handles {
    last: u32,
    open: BTreeMap<u32, Open>,
}

impl Handles {
    /// Rolls back and closes whatever is open.
    pub(crate) fn clear(&mut self) {
        if !self.open.is_empty() {
            self.open.clear();
        }
    }

    fn room(&self) -> plain::Result<()> {
        if self.open.len() >= OPEN_MAX {
            return Err(plain::Error::limit(
                "open-handles",
                OPEN_MAX as u64,
                OPEN_MAX as u64 + 1,
            ));
        }
        Ok(())
    }

    fn insert(&mut self, open: Open) -> u32 {
        self.last = self.last.wrapping_add(1);
        self.open.insert(self.last, open);
        self.last
    }

    fn transaction(&mut self, number: u32) -> plain::Result<&mut dyn backend::Transaction> {
        match self.open.get_mut(&number) {
            Some(Open::Transaction(transaction)) => Ok(&mut **transaction),
            Some(Open::Cursor(_)) | None => Err(plain::Error::Closed),
        }
    }

    fn take(&mut self, number: u32) -> plain::Result<Box<dyn backend::Transaction>> {
        match self.open.remove(&number) {
            Some(Open::Transaction(transaction)) => Ok(transaction),
            Some(Open::Cursor(_)) | None => Err(plain::Error::Closed),
        }
    }

    fn cursor(&mut self, number: u32) -> plain::Result<&mut dyn backend::Cursor> {
        match self.open.get_mut(&number) {
            Some(Open::Cursor(cursor)) => Ok(&mut **cursor),
            Some(Open::Transaction(_)) | None => Err(plain::Error::Closed),
        }
    }
}

impl Host {
    /// Waits for a backend; what the thread does meanwhile is not held against the call.
    pub(crate) async fn wait<T>(
        &mut self,
        function: F,
        work: BoxFuture<'_, plain::Result<T>>,
    ) -> Result<T, Error> {
        self.pause();
        let answer = work.await;
        self.told(function, answer)
    }

    /// A step of an open transaction or cursor.
    async fn step<T>(
        &mut self,
        function: F,
        step: impl for<'a> FnOnce(&'a mut Handles) -> plain::Result<BoxFuture<'a, plain::Result<T>>>,
    ) -> Call<Result<T, Error>>
    where
        T: Send + 'static,
    {
        self.pause();
        let answer = match self.context.enter(function) {
            Ok(mut entered) => {
                match step(&mut self.handles).and_then(|work| entered.db_step(work)) {
                    Ok(work) => work.await,
                    Err(error) => Err(error),
                }
            }
            Err(error) => Err(error),
        };
        self.refuse_runaway()?;
        Ok(self.told(function, answer))
    }
}

impl wit::Host for Host {
    async fn query(
        &mut self,
        database: String,
        statement: String,
        params: Vec<wit::Value>,
    ) -> Call<Result<wit::RowSet, Error>> {
        let begun = self.answer(F::DbQuery, |c| {
            c.db_query(&database, statement, all(params))
        })?;
        match begun {
            Ok(work) => Ok(self.wait(F::DbQuery, work).await.map(Into::into)),
            Err(error) => Ok(Err(error)),
        }
    }

    async fn execute(
        &mut self,
        database: String,
        statement: String,
        params: Vec<wit::Value>,
    ) -> Call<Result<u64, Error>> {
        let begun = self.answer(F::DbExecute, |c| {
            c.db_execute(&database, statement, all(params))
        })?;
        match begun {
            Ok(work) => Ok(self.wait(F::DbExecute, work).await),
            Err(error) => Ok(Err(error)),
        }
    }

    async fn execute_batch(
        &mut self,
        database: String,
        statement: String,
        params: Vec<Vec<wit::Value>>,
    ) -> Call<Result<u64, Error>> {
        let begun = self.answer(F::DbExecuteBatch, |c| {
            c.db_execute_batch(&database, statement, params.into_iter().map(all).collect())
        })?;
        match begun {
            Ok(work) => Ok(self.wait(F::DbExecuteBatch, work).await),
            Err(error) => Ok(Err(error)),
        }
    }

    async fn begin(
        &mut self,
        database: String,
        isolation: wit::Isolation,
    ) -> Call<Result<Resource<Transaction>, Error>> {
        let room = self.handles.room();
        let begun = self.answer(F::DbBegin, |c| {
            room?;
            c.db_begin(&database, isolation.into())
        })?;
        let opened = match begun {
            Ok(work) => self.wait(F::DbBegin, work).await,
            Err(error) => Err(error),
        };
        Ok(opened.map(|open| Resource::new_own(self.handles.insert(Open::Transaction(open)))))
    }

    async fn open(
        &mut self,
        database: String,
        statement: String,
        params: Vec<wit::Value>,
    ) -> Call<Result<Resource<Cursor>, Error>> {
        let room = self.handles.room();
        let begun = self.answer(F::DbOpen, |c| {
            room?;
            c.db_open(&database, statement, all(params))
        })?;
        let opened = match begun {
            Ok(work) => self.wait(F::DbOpen, work).await,
            Err(error) => Err(error),
        };
        Ok(opened.map(|open| Resource::new_own(self.handles.insert(Open::Cursor(open)))))
    }
}

impl wit::HostTransaction for Host {
    async fn query(
        &mut self,
        transaction: Resource<Transaction>,
        statement: String,
        params: Vec<wit::Value>,
    ) -> Call<Result<wit::RowSet, Error>> {
        let params = all(params);
        let found = self
            .step(F::DbTransactionQuery, |handles| {
                let open = handles.transaction(transaction.rep())?;
                Ok(Box::pin(
                    async move { open.query(&statement, params).await },
                ))
            })
            .await?;
        Ok(found.map(Into::into))
    }

    async fn execute(
        &mut self,
        transaction: Resource<Transaction>,
        statement: String,
        params: Vec<wit::Value>,
    ) -> Call<Result<u64, Error>> {
        let params = all(params);
        self.step(F::DbTransactionExecute, |handles| {
            let open = handles.transaction(transaction.rep())?;
            Ok(Box::pin(
                async move { open.execute(&statement, params).await },
            ))
        })
        .await
    }

    async fn commit(&mut self, tx: Resource<Transaction>) -> Call<Result<(), Error>> {
        self.step(F::DbTransactionCommit, |handles| {
            Ok(handles.take(tx.rep())?.commit())
        })
        .await
    }

    async fn rollback(&mut self, tx: Resource<Transaction>) -> Call<Result<(), Error>> {
        self.step(F::DbTransactionRollback, |handles| {
            Ok(handles.take(tx.rep())?.rollback())
        })
        .await
    }

    fn drop(&mut self, transaction: Resource<Transaction>) -> Call<()> {
        self.handles.open.remove(&transaction.rep());
        Ok(())
    }
}

impl wit::HostCursor for Host {
    fn columns(&mut self, cursor: Resource<Cursor>) -> Call<Vec<String>> {
        let columns = self.handles.cursor(cursor.rep()).map(|open| open.columns());
        self.plain(F::DbCursorColumns, |_| columns)?
            .map_err(|_closed| {
                Stop::Refused("db.[method]cursor.columns: the cursor is closed".into()).into()
            })
    }

    async fn next(
        &mut self,
        cursor: Resource<Cursor>,
        limit: u32,
    ) -> Call<Result<Vec<Vec<wit::Value>>, Error>> {
        let rows = self
            .step(F::DbCursorNext, |handles| {
                Ok(handles.cursor(cursor.rep())?.next(limit))
            })
            .await?;
        Ok(rows.map(|rows| rows.into_iter().map(all).collect()))
    }

    fn drop(&mut self, cursor: Resource<Cursor>) -> Call<()> {
        self.handles.open.remove(&cursor.rep());
        Ok(())
    }
}

impl From<wit::Isolation> for backend::Isolation {
    fn from(value: wit::Isolation) -> Self {
        match value {
            wit::Isolation::Serializable => Self::Serializable,
            wit::Isolation::RepeatableRead => Self::RepeatableRead,
            wit::Isolation::ReadCommitted => Self::ReadCommitted,
        }
    }
}

impl From<wit::Value> for backend::Value {
    fn from(value: wit::Value) -> Self {
        match value {
            wit::Value::Null => Self::Null,
            wit::Value::Boolean(v) => Self::Boolean(v),
            wit::Value::Integer(v) => Self::Integer(v),
            wit::Value::Real(v) => Self::Real(v),
            wit::Value::Text(v) => Self::Text(v),
            wit::Value::Blob(v) => Self::Blob(v.into()),
            wit::Value::Timestamp(v) => Self::Timestamp(v),
            wit::Value::Uuid((hi, lo)) => Self::Uuid(hi, lo),
            wit::Value::Json(v) => Self::Json(v),
            wit::Value::Decimal(v) => Self::Decimal(v),
        }
    }
}

impl From<backend::Value> for wit::Value {
    fn from(value: backend::Value) -> Self {
        match value {
            backend::Value::Null => Self::Null,
            backend::Value::Boolean(v) => Self::Boolean(v),
            backend::Value::Integer(v) => Self::Integer(v),
            backend::Value::Real(v) => Self::Real(v),
            backend::Value::Text(v) => Self::Text(v),
            backend::Value::Blob(v) => Self::Blob(v.into()),
            backend::Value::Timestamp(v) => Self::Timestamp(v),
            backend::Value::Uuid(hi, lo) => Self::Uuid((hi, lo)),
            backend::Value::Json(v) => Self::Json(v),
            backend::Value::Decimal(v) => Self::Decimal(v),
        }
    }
}

impl From<backend::RowSet> for wit::RowSet {
    fn from(value: backend::RowSet) -> Self {
        Self {
            columns: value.columns,
            rows: value.rows.into_iter().map(all).collect(),
            truncated: value.truncated,
        }
    }
}
