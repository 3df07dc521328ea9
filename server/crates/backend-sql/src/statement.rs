//! A module's statement, checked before it runs: one statement, its parameters `$1`, `$2` …, and what its columns hold. It runs nothing.

use std::sync::Arc;

use cohnect_capabilities::db::Value;
use cohnect_capabilities::{Error, Result};

use crate::authorizer::{Parsed, Shape};
use crate::gate::Gate;
use crate::value::{Kind, weight};
use crate::{MATCH_BYTES_MAX, STATEMENT_BYTES_MAX};

/// A statement that may run.
#[derive(Clone, Debug)]
pub(crate) struct Statement {
    /// Its text.
    pub text: Arc<str>,
    /// Its columns' names.
    pub columns: Vec<String>,
    /// What they hold.
    pub kinds: Vec<Kind>,
    /// It changes nothing.
    pub reads_only: bool,
    /// SQLite's number of changed rows is about it.
    pub counts_rows: bool,
    /// It may make the schema larger.
    pub grows_schema: bool,
    /// It searches text, with what a parameter may hold.
    pub searches: bool,
}

impl Statement {
    /// Refuses parameters that are each within their limits, and too long for this statement.
    ///
    /// # Errors
    /// It searches text, and one of them is longer than an expression for that may be.
    pub(crate) fn check(&self, params: &[Value]) -> Result<()> {
        match params.iter().map(weight).max() {
            Some(found) if self.searches && found > MATCH_BYTES_MAX => Err(Error::limit(
                "match-bytes",
                MATCH_BYTES_MAX as u64,
                found as u64,
            )),
            Some(_) | None => Ok(()),
        }
    }
}

/// Refuses a text that must not even be compiled.
///
/// # Errors
/// It is too long, or has a zero byte, behind which SQLite would not read.
pub(crate) fn check_text(text: &str) -> Result<()> {
    if text.len() > STATEMENT_BYTES_MAX {
        return Err(Error::limit(
            "statement-bytes",
            STATEMENT_BYTES_MAX as u64,
            text.len() as u64,
        ));
    }
    if text.contains('\0') {
        return Err(Error::invalid("the statement has a zero byte"));
    }
    Ok(())
}

/// The statement that was parsed, to be run with so many parameters; the gate has seen what it does.
///
/// # Errors
/// It is none or more than one, its parameters are not written `$1`, `$2` …, or there are more or fewer of them than values.
pub(crate) fn of(text: Arc<str>, parsed: Parsed, given: usize, gate: &Gate) -> Result<Statement> {
    let shape = match parsed {
        Parsed::One(shape) => shape,
        Parsed::Empty => return Err(Error::invalid("the statement is empty")),
        Parsed::Several => {
            return Err(Error::invalid(
                "more than one statement: run one a call, several in a transaction",
            ));
        }
    };
    let taken = parameters(&shape)?;
    if taken != given {
        return Err(Error::invalid(format!(
            "the statement takes {taken} parameters, {given} were given"
        )));
    }
    let kinds = shape
        .columns
        .iter()
        .map(|(_, declared)| Kind::of(declared.as_deref()))
        .collect();
    Ok(Statement {
        text,
        columns: shape.columns.into_iter().map(|(name, _)| name).collect(),
        kinds,
        reads_only: shape.reads_only,
        counts_rows: gate.counts_rows(),
        grows_schema: gate.grows_schema(),
        searches: gate.searches(),
    })
}

/// The highest number among the parameters. Each must be `$` and a plain number: sqlx reads them so, and other backends know no other.
fn parameters(shape: &Shape) -> Result<usize> {
    let mut highest = 0;
    for name in &shape.parameters {
        let written = name.as_deref().unwrap_or("?");
        let digits = written.strip_prefix('$').unwrap_or_default();
        let plain = digits.bytes().all(|c| c.is_ascii_digit()) && !digits.starts_with('0');
        match digits.parse::<usize>() {
            Ok(number) if plain => highest = highest.max(number),
            _ => {
                return Err(Error::invalid(format!(
                    "a parameter is written $1, $2 and so on, not {written}"
                )));
            }
        }
    }
    Ok(highest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(names: &[Option<&str>]) -> Result<usize> {
        parameters(&Shape {
            parameters: names.iter().map(|name| name.map(str::to_owned)).collect(),
            ..Shape::default()
        })
    }

    #[test]
    fn parameters_are_numbered() {
        assert_eq!(check(&[]), Ok(0));
        assert_eq!(check(&[Some("$2"), Some("$1")]), Ok(2));
        for wrong in [
            None,
            Some("?1"),
            Some(":a"),
            Some("@a"),
            Some("$a"),
            Some("$0"),
            Some("$01"),
            Some("$1a"),
            Some("$1::x"),
            Some("$"),
            Some("$99999999999999999999999"),
        ] {
            let expected = format!(
                "a parameter is written $1, $2 and so on, not {}",
                wrong.unwrap_or("?")
            );
            assert_eq!(check(&[wrong]), Err(Error::invalid(expected)));
        }
    }

    #[test]
    fn a_text_that_sqlite_would_not_read_to_its_end_is_refused() {
        assert!(check_text("select 1").is_ok());
        assert!(check_text("select 1\0; attach 'x' as y").is_err());
        assert!(check_text(&" ".repeat(STATEMENT_BYTES_MAX + 1)).is_err());
    }
}
