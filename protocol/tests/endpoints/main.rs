//! Both ends of the wire over a simulated network under virtual time: handshakes, delivery, ends, and what bad input does to them. Every test
//! prints its seed, and fails when a key and nonce are used twice.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "all of it is test code, which clippy sees only in functions marked as tests; what is printed is shown when a test fails"
)]

mod bad_input;
mod delivery;
mod entropy;
mod handshakes;
mod life;
mod network;
mod recording;
mod world;
