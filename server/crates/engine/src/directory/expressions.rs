//! Tag expressions, each parsed once: the same few texts come with every message. It evaluates nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use cohnect_protocol::ops::Malformed;
use cohnect_protocol::ops::expression::Expression;

/// Expressions that are remembered: more than the modules of a server use; a client that sends others makes them be parsed again, which takes a
/// microsecond.
const REMEMBERED_MAX: usize = 256;

#[derive(Default)]
pub(super) struct Expressions {
    compiled: Mutex<BTreeMap<Box<str>, Arc<Expression>>>,
}

impl Expressions {
    /// What a text means.
    ///
    /// # Errors
    /// When it is outside the grammar.
    pub(super) fn compiled(&self, text: &str) -> Result<Arc<Expression>, Malformed> {
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = compiled.get(text) {
            return Ok(Arc::clone(known));
        }
        let parsed = Arc::new(Expression::parse(text)?);
        if compiled.len() >= REMEMBERED_MAX {
            compiled.clear();
        }
        compiled.insert(text.into(), Arc::clone(&parsed));
        Ok(parsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_bound_is_remembered() {
        let expressions = Expressions::default();
        for n in 0..1_000 {
            assert!(expressions.compiled(&format!("tag{n}")).is_ok());
        }
        assert!(expressions.compiled("a b").is_err());
        assert!(expressions.compiled.lock().unwrap().len() <= REMEMBERED_MAX);
    }
}
