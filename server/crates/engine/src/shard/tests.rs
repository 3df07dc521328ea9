//! Whole operations, with one shard and with two.
