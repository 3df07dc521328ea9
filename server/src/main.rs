//! The binary: parses the command line and carries it out.
#![forbid(unsafe_code)]

fn main() {}
