//! `db`: SQL databases. Each wait ends before the call's own wall limit, so that a slow database costs an error and not the replica.

use core::time::Duration;
use std::sync::Arc;

use cohnect_capabilities::db::{Cursor, Isolation, RowSet, Transaction, Value};
use cohnect_capabilities::{BoxFuture, Detail, Error, Result};

use super::Entered;
use crate::escaped::OneLine;

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
        let (databases, name, time) = self.database(database, &statement)?;
        Ok(bounded(time, async move {
            let done = databases.query(&name, &statement, params).await;
            named(done, &statement)
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
        let (databases, name, time) = self.database(database, &statement)?;
        Ok(bounded(time, async move {
            let done = databases.execute(&name, &statement, params).await;
            named(done, &statement)
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
        let (databases, name, time) = self.database(database, &statement)?;
        Ok(bounded(time, async move {
            let done = databases.execute_batch(&name, &statement, params).await;
            named(done, &statement)
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
        let (databases, name, time) = self.database(database, "")?;
        Ok(bounded(time, async move {
            let begun = databases.begin(&name, isolation).await?;
            Ok(Box::new(Named(begun)) as Box<dyn Transaction>)
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
        let (databases, name, time) = self.database(database, &statement)?;
        Ok(bounded(time, async move {
            let opened = databases.open(&name, &statement, params).await;
            named(opened, &statement)
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
        // Which statement it is only the transaction knows.
        self.context.statement.clear();
        let time = self.wait()?;
        Ok(bounded(time, step))
    }

    fn database(
        &mut self,
        name: &str,
        statement: &str,
    ) -> Result<(
        Arc<dyn cohnect_capabilities::db::Databases>,
        String,
        Duration,
    )> {
        name.clone_into(&mut self.context.database);
        // As much of it as is shown, and a character that says that there is more; most calls need neither.
        let kept = statement.floor_char_boundary(STATEMENT_BYTES_MAX + 4);
        statement[..kept].clone_into(&mut self.context.statement);
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

/// A transaction that says which statement met an error.
struct Named(Box<dyn Transaction>);

impl Transaction for Named {
    fn query<'a>(
        &'a mut self,
        statement: &'a str,
        params: Vec<Value>,
    ) -> BoxFuture<'a, Result<RowSet>> {
        let found = self.0.query(statement, params);
        Box::pin(async move { named(found.await, statement) })
    }

    fn execute<'a>(
        &'a mut self,
        statement: &'a str,
        params: Vec<Value>,
    ) -> BoxFuture<'a, Result<u64>> {
        let changed = self.0.execute(statement, params);
        Box::pin(async move { named(changed.await, statement) })
    }

    fn commit(self: Box<Self>) -> BoxFuture<'static, Result<()>> {
        self.0.commit()
    }

    fn rollback(self: Box<Self>) -> BoxFuture<'static, Result<()>> {
        self.0.rollback()
    }
}

/// Bytes of a statement that an error shows: enough to find it in the module, and less than a line of the log.
const STATEMENT_BYTES_MAX: usize = 200;

/// What came of a statement. What is wrong with SQL is said in words that mean little without it, so the error shows it, in one line.
fn named<T>(mut done: Result<T>, statement: &str) -> Result<T> {
    if let Err(Error::Other(Detail { message: text, .. }) | Error::InvalidArgument(text)) =
        &mut done
    {
        text.push_str(&shown(statement));
    }
    done
}

/// A statement behind what is said of it; nothing for none.
pub(super) fn shown(statement: &str) -> String {
    let cut = statement.floor_char_boundary(STATEMENT_BYTES_MAX);
    let words: Vec<&str> = statement[..cut].split_whitespace().collect();
    if words.is_empty() {
        return String::new();
    }
    let rest = if cut < statement.len() { " …" } else { "" };
    format!(", in `{}{rest}`", OneLine(words.join(" ")))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_sql_shows_its_statement_in_one_line() {
        let failed = |statement: &str| {
            let error = Error::other("42000", "near \"FORM\": syntax error");
            named::<()>(Err(error), statement).unwrap_err().to_string()
        };
        let text = failed("SELECT *\n    FORM t");
        assert!(
            text.ends_with("syntax error, in `SELECT * FORM t`"),
            "{text}"
        );
        let text = failed(&"ä".repeat(1_000));
        assert!(
            text.ends_with(&format!("in `{} …`", "ä".repeat(100))),
            "{text}"
        );
        let text = failed("SELECT '\u{1b}[2J'");
        assert!(!text.contains('\u{1b}'), "{text}");
        assert_eq!(named::<()>(Err(Error::Denied), "x"), Err(Error::Denied));
    }
}
