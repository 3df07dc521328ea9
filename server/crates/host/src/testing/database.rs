//! The database of the world for tests: it answers with the rows that were pushed, or hangs.

use std::collections::VecDeque;

use cohnect_capabilities::db::{Cursor, Databases, Isolation, RowSet, Transaction, Value};
use cohnect_capabilities::{BoxFuture, Result};

use super::World;

impl Databases for World {
    fn query<'a>(
        &'a self,
        _database: &'a str,
        statement: &'a str,
        params: Vec<Value>,
    ) -> BoxFuture<'a, Result<RowSet>> {
        self.run(statement, params)
    }

    fn execute<'a>(
        &'a self,
        _database: &'a str,
        statement: &'a str,
        params: Vec<Value>,
    ) -> BoxFuture<'a, Result<u64>> {
        let rows = self.run(statement, params);
        Box::pin(async move { Ok(rows.await?.rows.len() as u64) })
    }

    fn execute_batch<'a>(
        &'a self,
        _database: &'a str,
        statement: &'a str,
        params: Vec<Vec<Value>>,
    ) -> BoxFuture<'a, Result<u64>> {
        let runs: Vec<_> = params
            .into_iter()
            .map(|params| self.run(statement, params))
            .collect();
        Box::pin(async move {
            let count = runs.len() as u64;
            for run in runs {
                run.await?;
            }
            Ok(count)
        })
    }

    fn begin<'a>(
        &'a self,
        _database: &'a str,
        _isolation: Isolation,
    ) -> BoxFuture<'a, Result<Box<dyn Transaction>>> {
        let begun = self.run("begin", Vec::new());
        let rest: VecDeque<_> = core::mem::take(&mut self.inner().rows);
        Box::pin(async move {
            begun.await?;
            Ok(Box::new(Scripted { rows: rest }) as Box<dyn Transaction>)
        })
    }

    fn open<'a>(
        &'a self,
        _database: &'a str,
        statement: &'a str,
        params: Vec<Value>,
    ) -> BoxFuture<'a, Result<Box<dyn Cursor>>> {
        let rows = self.run(statement, params);
        Box::pin(async move {
            let rows = rows.await?;
            Ok(Box::new(Pages(rows)) as Box<dyn Cursor>)
        })
    }
}

/// A transaction that answers with the rows that were pushed before it began.
#[derive(Debug)]
struct Scripted {
    rows: VecDeque<Result<RowSet>>,
}

impl Transaction for Scripted {
    fn query<'a>(
        &'a mut self,
        _statement: &'a str,
        _params: Vec<Value>,
    ) -> BoxFuture<'a, Result<RowSet>> {
        let rows = self.rows.pop_front();
        Box::pin(async move { rows.unwrap_or_else(|| Ok(RowSet::default())) })
    }

    fn execute<'a>(
        &'a mut self,
        statement: &'a str,
        params: Vec<Value>,
    ) -> BoxFuture<'a, Result<u64>> {
        let rows = self.query(statement, params);
        Box::pin(async move { Ok(rows.await?.rows.len() as u64) })
    }

    fn commit(self: Box<Self>) -> BoxFuture<'static, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn rollback(self: Box<Self>) -> BoxFuture<'static, Result<()>> {
        Box::pin(async { Ok(()) })
    }
}

struct Pages(RowSet);

impl Cursor for Pages {
    fn columns(&self) -> Vec<String> {
        self.0.columns.clone()
    }

    fn next(&mut self, limit: u32) -> BoxFuture<'_, Result<Vec<Vec<Value>>>> {
        let limit = if limit == 0 { 2 } else { limit as usize };
        let rest = self.0.rows.split_off(limit.min(self.0.rows.len()));
        let page = core::mem::replace(&mut self.0.rows, rest);
        Box::pin(async move { Ok(page) })
    }
}
