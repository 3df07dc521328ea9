//! `db`: SQL databases by name. Everything here waits, so it is for workers; the futures run on the backends' runtime.

use crate::{BoxFuture, Payload, Result, TimestampUs};

/// A value of a parameter or a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing.
    Null,
    /// True or false.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// A number.
    Real(f64),
    /// Text.
    Text(String),
    /// Bytes.
    Blob(Payload),
    /// Microseconds since the Unix epoch.
    Timestamp(TimestampUs),
    /// A UUID as two big-endian halves.
    Uuid(u64, u64),
    /// JSON text.
    Json(String),
    /// An exact number, as text.
    Decimal(String),
}

/// What a query found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RowSet {
    /// The columns' names.
    pub columns: Vec<String>,
    /// The rows, each as long as `columns`.
    pub rows: Vec<Vec<Value>>,
    /// The result was cut at the row or byte limit.
    pub truncated: bool,
}

/// What concurrent transactions may see of each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// Nothing.
    #[default]
    Serializable,
    /// New rows at the most.
    RepeatableRead,
    /// What was committed.
    ReadCommitted,
}

/// The configured databases, by name.
///
/// Every future is bounded in time by its caller: dropping one interrupts the statement and gives the connection back clean. Errors: `NotFound` for an
/// unknown database; `AlreadyExists` for a taken unique key; `Aborted` for a lost race; `Denied` for a statement that leaves the sandbox;
/// `Unavailable` when the database is not reached or locked; `Other` with the SQLSTATE (or the vendor's code) for anything else.
pub trait Databases: Send + Sync {
    /// Reads.
    fn query<'a>(
        &'a self,
        database: &'a str,
        statement: &'a str,
        params: Vec<Value>,
    ) -> BoxFuture<'a, Result<RowSet>>;
    /// Writes; the number of rows changed.
    fn execute<'a>(
        &'a self,
        database: &'a str,
        statement: &'a str,
        params: Vec<Value>,
    ) -> BoxFuture<'a, Result<u64>>;
    /// The same statement for each, in one transaction.
    fn execute_batch<'a>(
        &'a self,
        database: &'a str,
        statement: &'a str,
        params: Vec<Vec<Value>>,
    ) -> BoxFuture<'a, Result<u64>>;
    /// Begins a transaction; dropping it rolls it back.
    fn begin<'a>(
        &'a self,
        database: &'a str,
        isolation: Isolation,
    ) -> BoxFuture<'a, Result<Box<dyn Transaction>>>;
    /// Opens a result of any size.
    fn open<'a>(
        &'a self,
        database: &'a str,
        statement: &'a str,
        params: Vec<Value>,
    ) -> BoxFuture<'a, Result<Box<dyn Cursor>>>;
}

/// An open transaction; dropping it rolls it back.
pub trait Transaction: Send {
    /// Reads.
    fn query<'a>(
        &'a mut self,
        statement: &'a str,
        params: Vec<Value>,
    ) -> BoxFuture<'a, Result<RowSet>>;
    /// Writes; the number of rows changed.
    fn execute<'a>(
        &'a mut self,
        statement: &'a str,
        params: Vec<Value>,
    ) -> BoxFuture<'a, Result<u64>>;
    /// Makes it permanent.
    fn commit(self: Box<Self>) -> BoxFuture<'static, Result<()>>;
    /// Undoes it.
    fn rollback(self: Box<Self>) -> BoxFuture<'static, Result<()>>;
}

/// A result read by pages; dropping it closes it.
pub trait Cursor: Send {
    /// The columns' names.
    fn columns(&self) -> Vec<String>;
    /// The next rows, at most `limit` (0: the backend's own); empty at the end.
    fn next(&mut self, limit: u32) -> BoxFuture<'_, Result<Vec<Vec<Value>>>>;
}
