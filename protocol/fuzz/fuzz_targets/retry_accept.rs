//! Runs `fuzzing::retry_accept` of the protocol's crate.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cohnect_protocol::fuzzing::retry_accept(bytes));
