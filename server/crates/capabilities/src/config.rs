//! `config`: a module's own section of its manifest, and the secrets it was granted.

use crate::Scalar;

/// What one module may read.
pub trait Config: Send + Sync {
    /// By dotted key; arrays and tables as JSON text.
    fn value(&self, key: &str) -> Option<Scalar>;
}

/// The secrets of the server's configuration, by name. They are never printed.
pub trait Secrets: Send + Sync {
    /// The secret of this name.
    fn secret(&self, name: &str) -> Option<String>;
}
