//! `feature-flags`: values that an operator changes while the server runs.

use crate::{ClientId, Field, Scalar};

/// For whom a flag is asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Subject {
    /// A client.
    pub client: Option<ClientId>,
    /// A user.
    pub user: Option<String>,
    /// Anything else that a rule may look at.
    pub attributes: Vec<Field>,
}

/// The flags as they are now. A look never waits.
pub trait FeatureFlags: Send + Sync {
    /// The flag's value for this subject; none when there is no such flag, or it is off.
    fn value(&self, name: &str, who: &Subject) -> Option<Scalar>;

    /// The flag as a switch; `fallback` when there is none, or it is no boolean.
    fn enabled(&self, name: &str, who: &Subject, fallback: bool) -> bool {
        match self.value(name, who) {
            Some(Scalar::Boolean(on)) => on,
            Some(Scalar::Integer(_) | Scalar::Number(_) | Scalar::Text(_) | Scalar::Blob(_))
            | None => fallback,
        }
    }
}
