//! Where the generator's randomness comes from: one printed seed, so that a run can be repeated. Fit for a scratch server on loopback and for nothing else.

use cohnect_protocol::Entropy;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};

/// A stream of bytes that its seed and its number repeat.
#[derive(Clone, Debug)]
pub(crate) struct Seeded(ChaCha8Rng);

impl Seeded {
    /// The stream with this number.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        Self(rng)
    }
}

impl Entropy for Seeded {
    fn fill(&mut self, out: &mut [u8]) {
        self.0.fill_bytes(out);
    }
}

/// A seed that nobody chose.
pub(crate) fn fresh() -> anyhow::Result<u64> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes)
        .map_err(|error| anyhow::anyhow!("the operating system gives no randomness: {error}"))?;
    Ok(u64::from_be_bytes(bytes))
}
