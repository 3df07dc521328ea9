//! The key that a deployment shares with its clients (PROTOCOL.md 3.4). It reads no file and is never printed.

use core::fmt;

/// A deployment's shared key; zeros where there is none.
#[derive(Clone, Copy, Default)]
pub struct Psk([u8; 32]);

impl Psk {
    /// The key of these bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes, for the key exchange.
    pub(crate) const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Psk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Psk")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ClientConfig, CookieSecret, Entropy, ServerConfig, StaticKeys, SteeringKeys};

    struct Constant(u8);

    impl Entropy for Constant {
        fn fill(&mut self, out: &mut [u8]) {
            out.fill(self.0);
        }
    }

    #[test]
    fn no_secret_is_shown_by_what_holds_it() {
        let keys = || StaticKeys::from_secret([219; 32]);
        let pin = StaticKeys::from_secret([1; 32]).public();
        let mut server = ServerConfig::new(keys(), CookieSecret::new(&mut Constant(219)));
        server.psk = Psk::new([219; 32]);
        let mut client = ClientConfig::new(keys(), "192.0.2.1:4433".parse().unwrap(), pin);
        client.psk = Psk::new([219; 32]);
        let steering = SteeringKeys::new(231, 231);
        for shown in [format!("{server:?}"), format!("{client:?}")] {
            assert!(!shown.contains("219, 219"), "{shown}");
        }
        assert_eq!(format!("{steering:?}"), "SteeringKeys");
    }
}
