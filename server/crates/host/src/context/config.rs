//! `config`: the module's own section, and the secrets it was granted.

use cohnect_capabilities::Scalar;

use super::Entered;
use crate::escaped::Escaped;

/// Names of secrets that a replica is told about: one that asks for more of them makes them up.
const MISSED_MAX: usize = 16;

impl Entered<'_> {
    /// `config.get`
    #[must_use]
    pub fn config_get(&self, key: &str) -> Option<Scalar> {
        self.context.charter.config.value(key)
    }

    /// `config.secret`: none without its grant, and none that is not configured; the log says which of the two.
    #[must_use]
    pub fn config_secret(&mut self, name: &str) -> Option<String> {
        if !self.context.charter.grants.secrets.contains(name) {
            let shown = Escaped(name);
            self.missed(
                name,
                &format!("the grant \"secret:{shown}\" is missing in its manifest"),
            );
            return None;
        }
        let secret = self.capabilities().secrets.secret(name);
        if secret.is_none() {
            self.missed(name, "the server's configuration has no such secret");
        }
        secret
    }

    /// Says once for each replica and name why a secret is not to be had.
    fn missed(&mut self, name: &str, why: &str) {
        let missed = &mut self.context.secrets_missed;
        if missed.len() >= MISSED_MAX || missed.iter().any(|known| known == name) {
            return;
        }
        missed.push(name.to_owned());
        let identity = &self.context.charter.identity;
        tracing::warn!(
            module = %identity.module,
            generation = identity.generation,
            "config.secret: the module gets no secret `{}`: {why}",
            Escaped(name)
        );
    }
}
