//! `db`: SQL databases. Each wait ends before the call's own wall limit, so that a slow database costs an error and not the replica.

use core::time::Duration;
use std::sync::Arc;

use cohnect_capabilities::db::{Cursor, Isolation, RowSet, Transaction, Value};
use cohnect_capabilities::{BoxFuture, Error, Result};

use super::Entered;

impl Entered<'_> {
    /// `db.query`
    ///
    /// # Errors
    /// `Denied` without the grant; in the future, what [`cohnect_capabilities::db::Databases`] says, or `Timeout`. So for all of these.
    pub fn db_query(
        &mut self,
        database: &str,
        statement: String,
        params: Vec<Value>,
    ) -> Result<BoxFuture<'static, Result<RowSet>>> {
        let (databases, name, time) = self.database(database)?;
        Ok(bounded(time, async move {
            databases.query(&name, &statement, params).await
        }))
    }

    /// `db.execute`
    ///
    /// # Errors
    /// As [`Entered::db_query`].
    pub fn db_execute(
        &mut self,
        database: &str,
        statement: String,
        params: Vec<Value>,
    ) -> Result<BoxFuture<'static, Result<u64>>> {
        let (databases, name, time) = self.database(database)?;
        Ok(bounded(time, async move {
            databases.execute(&name, &statement, params).await
        }))
    }

    /// `db.execute-batch`
    ///
    /// # Errors
    /// As [`Entered::db_query`].
    pub fn db_execute_batch(
        &mut self,
        database: &str,
        statement: String,
        params: Vec<Vec<Value>>,
    ) -> Result<BoxFuture<'static, Result<u64>>> {
        let (databases, name, time) = self.database(database)?;
        Ok(bounded(time, async move {
            databases.execute_batch(&name, &statement, params).await
        }))
    }

    /// `db.begin`
    ///
    /// # Errors
    /// As [`Entered::db_query`].
    pub fn db_begin(
        &mut self,
        database: &str,
        isolation: Isolation,
    ) -> Result<BoxFuture<'static, Result<Box<dyn Transaction>>>> {
        let (databases, name, time) = self.database(database)?;
        Ok(bounded(time, async move {
            databases.begin(&name, isolation).await
        }))
    }

    /// `db.open`
    ///
    /// # Errors
    /// As [`Entered::db_query`].
    pub fn db_open(
        &mut self,
        database: &str,
        statement: String,
        params: Vec<Value>,
    ) -> Result<BoxFuture<'static, Result<Box<dyn Cursor>>>> {
        let (databases, name, time) = self.database(database)?;
        Ok(bounded(time, async move {
            databases.open(&name, &statement, params).await
        }))
    }

    /// A step of an open transaction or cursor, bounded as the others are.
    ///
    /// # Errors
    /// `WouldBlock` where waiting is not allowed.
    pub fn db_step<'a, T: Send + 'a>(
        &mut self,
        step: BoxFuture<'a, Result<T>>,
    ) -> Result<BoxFuture<'a, Result<T>>> {
        let time = self.wait()?;
        Ok(bounded(time, step))
    }

    fn database(
        &mut self,
        name: &str,
    ) -> Result<(
        Arc<dyn cohnect_capabilities::db::Databases>,
        String,
        Duration,
    )> {
        name.clone_into(&mut self.context.database);
        if !self.context.charter.grants.databases.contains(name) {
            return Err(Error::Denied);
        }
        let time = self.wait()?;
        Ok((
            Arc::clone(&self.capabilities().databases),
            name.to_owned(),
            time,
        ))
    }
}

/// Waits at most this long; dropping the backend's future interrupts what it does.
pub(super) fn bounded<'a, T: Send + 'a>(
    time: Duration,
    work: impl Future<Output = Result<T>> + Send + 'a,
) -> BoxFuture<'a, Result<T>> {
    Box::pin(async move {
        tokio::time::timeout(time, work)
            .await
            .unwrap_or(Err(Error::Timeout))
    })
}
