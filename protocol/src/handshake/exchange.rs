//! The key exchange, `Noise_IKpsk2_25519_AESGCM_SHA256`, as two small states: the client's, which waits for message 2, and the server's,
//! which answers message 1 at once. It knows no datagram layout and keeps no table.

use core::fmt;

use snow::{Builder, HandshakeState};
use zeroize::Zeroizing;

use super::resolver::Resolver;
use crate::{Entropy, PublicKey, StaticKeys};

/// Bytes of Noise message 1 besides its payload: ephemeral key, sealed static key, tag.
pub(crate) const MESSAGE_1_OVERHEAD: usize = 96;
/// Bytes of Noise message 2 besides its payload: ephemeral key, tag.
pub(crate) const MESSAGE_2_OVERHEAD: usize = 48;

/// What both sides know afterwards and nobody else.
pub(crate) struct Secrets {
    /// For what the client sends.
    pub(crate) client_to_server: Zeroizing<[u8; 32]>,
    /// For what the server sends.
    pub(crate) server_to_client: Zeroizing<[u8; 32]>,
    /// Names this handshake: the same on both sides, never twice.
    pub(crate) hash: [u8; 32],
}

impl Secrets {
    /// The name of the session that follows, as `live` carries it.
    pub(crate) fn live(&self) -> [u8; 8] {
        let mut live = [0; 8];
        live.copy_from_slice(&self.hash[..8]);
        live
    }

    fn of(mut state: HandshakeState) -> Self {
        let (client_to_server, server_to_client) = state.dangerously_get_raw_split();
        let mut hash = [0; 32];
        hash.copy_from_slice(&state.get_handshake_hash()[..32]);
        Self {
            client_to_server: Zeroizing::new(client_to_server),
            server_to_client: Zeroizing::new(server_to_client),
            hash,
        }
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets")
    }
}

/// The client between message 1 and message 2.
pub(crate) struct Initiator {
    state: Box<HandshakeState>,
}

impl Initiator {
    /// Begins an exchange with the server of `server`, and writes message 1 with `payload` to `out`, whose length must be exact.
    pub(crate) fn begin(
        keys: &StaticKeys,
        server: &PublicKey,
        psk: &[u8; 32],
        prologue: &[u8],
        entropy: &mut dyn Entropy,
        payload: &[u8],
        out: &mut [u8],
    ) -> Option<Self> {
        let mut state = builder(keys, psk, prologue, entropy)?
            .remote_public_key(server.as_bytes())
            .ok()?
            .build_initiator()
            .ok()?;
        let written = state.write_message(payload, out).ok()?;
        (written == out.len()).then(|| Self {
            state: Box::new(state),
        })
    }

    /// Reads message 2, whose payload must fill `payload`. A message that does not open leaves the exchange as it was.
    pub(crate) fn finish(mut self, message: &[u8], payload: &mut [u8]) -> Result<Secrets, Self> {
        if message.len() != payload.len() + MESSAGE_2_OVERHEAD {
            return Err(self);
        }
        match self.state.read_message(message, payload) {
            Ok(_) => Ok(Secrets::of(*self.state)),
            Err(_) => Err(self),
        }
    }
}

impl fmt::Debug for Initiator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Initiator")
    }
}

/// The server between reading message 1 and writing message 2.
pub(crate) struct Responder {
    state: Box<HandshakeState>,
    /// The client's static key, authenticated by message 1.
    pub(crate) client: PublicKey,
}

impl Responder {
    /// Reads message 1 and appends its payload to `payload`; none when it does not open.
    pub(crate) fn read(
        keys: &StaticKeys,
        psk: &[u8; 32],
        prologue: &[u8],
        entropy: &mut dyn Entropy,
        message: &[u8],
        payload: &mut Vec<u8>,
    ) -> Option<Self> {
        let mut state = builder(keys, psk, prologue, entropy)?
            .build_responder()
            .ok()?;
        payload.resize(message.len().checked_sub(MESSAGE_1_OVERHEAD)?, 0);
        state.read_message(message, payload).ok()?;
        let client = PublicKey::from_bytes(state.get_remote_static()?.try_into().ok()?);
        Some(Self {
            state: Box::new(state),
            client,
        })
    }

    /// Writes message 2 with `payload` to `out`, whose length must be exact.
    pub(crate) fn write(mut self, payload: &[u8], out: &mut [u8]) -> Option<Secrets> {
        let written = self.state.write_message(payload, out).ok()?;
        (written == out.len()).then(|| Secrets::of(*self.state))
    }
}

impl fmt::Debug for Responder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Responder")
    }
}

fn builder<'a>(
    keys: &'a StaticKeys,
    psk: &'a [u8; 32],
    prologue: &'a [u8],
    entropy: &mut dyn Entropy,
) -> Option<Builder<'a>> {
    let mut ephemeral = Zeroizing::new([0; 32]);
    entropy.fill(&mut *ephemeral);
    let resolver = Resolver {
        keys: keys.clone(),
        ephemeral,
    };
    Builder::with_resolver(PATTERN.parse().ok()?, Box::new(resolver))
        .local_private_key(keys.secret())
        .ok()?
        .psk(2, psk)
        .ok()?
        .prologue(prologue)
        .ok()
}

const PATTERN: &str = "Noise_IKpsk2_25519_AESGCM_SHA256";
