//! Whole operations, from a client's datagram to its answer, with one shard and with two.
#![expect(
    clippy::unwrap_in_result,
    clippy::wildcard_enum_match_arm,
    reason = "fake modules answer what a test asks and fail it by panicking"
)]

mod broadcast;
mod execute;
mod fanout;
mod life;
mod mail;
mod packet;
mod site;
mod stream;
mod values;

/// Everything holds for one shard and for several.
fn with_shards(test: impl Fn(u16)) {
    for shards in [1, 2] {
        test(shards);
    }
}
