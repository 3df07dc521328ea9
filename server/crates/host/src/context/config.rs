//! `config`: the module's own section, and the secrets it was granted.

use cohnect_capabilities::Scalar;

use super::Entered;

impl Entered<'_> {
    /// `config.get`
    #[must_use]
    pub fn config_get(&self, key: &str) -> Option<Scalar> {
        self.context.charter.config.value(key)
    }

    /// `config.secret`: none without its grant.
    #[must_use]
    pub fn config_secret(&self, name: &str) -> Option<String> {
        if self.context.charter.grants.secrets.contains(name) {
            self.capabilities().secrets.secret(name)
        } else {
            None
        }
    }
}
