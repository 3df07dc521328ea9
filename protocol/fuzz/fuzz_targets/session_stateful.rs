//! Runs `fuzzing::session_stateful` of the protocol's crate.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cohnect_protocol::fuzzing::session_stateful(bytes));
