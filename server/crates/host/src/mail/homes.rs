//! Which homes a server has, and which of them a name belongs to. It moves no mail.

/// A home: shards first, then workers, then control.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HomeId(pub u16);

/// Which homes a server has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// How many shards, at least 1.
    pub shards: u16,
    /// How many workers, at least 1.
    pub workers: u16,
}

impl Layout {
    /// The shard of this number.
    #[must_use]
    pub const fn shard(self, n: u16) -> HomeId {
        HomeId(n % self.shards)
    }

    /// The worker of this number.
    #[must_use]
    pub const fn worker(self, n: u16) -> HomeId {
        HomeId(self.shards + n % self.workers)
    }

    /// The shard that carries out what a module on a worker leaves: always the same one, so that its order stays.
    #[must_use]
    pub fn shard_of_effects(self, module: &str) -> HomeId {
        self.shard(spread_over(module, self.shards))
    }

    /// Where the control thread's replies go.
    #[must_use]
    pub const fn control(self) -> HomeId {
        HomeId(self.shards + self.workers)
    }

    /// Whether this home is a shard.
    #[must_use]
    pub const fn is_shard(self, home: HomeId) -> bool {
        home.0 < self.shards
    }

    /// All boxes: shards, workers, control.
    #[must_use]
    pub const fn boxes(self) -> usize {
        self.shards as usize + self.workers as usize + 1
    }
}

/// A number that spreads names over homes and copies, the same for one name in every run.
pub(crate) fn spread(name: &str) -> u64 {
    let hash = blake3::hash(name.as_bytes());
    let [a, b, c, d, ..] = *hash.as_bytes();
    u32::from_le_bytes([a, b, c, d]).into()
}

/// One of so many homes for a name.
pub(crate) fn spread_over(name: &str, homes: u16) -> u16 {
    (spread(name) % u64::from(homes.max(1))) as u16
}
