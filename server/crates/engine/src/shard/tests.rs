//! Whole operations, from a client's datagram to its answer, with one shard and with two.

mod execute;
mod site;
mod values;

/// Everything holds for one shard and for several.
fn with_shards(test: impl Fn(u16)) {
    for shards in [1, 2] {
        test(shards);
    }
}
