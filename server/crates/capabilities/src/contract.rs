//! The tests that every backend of a capability passes, one file per interface, for the backends' own test suites: a failed promise panics with the
//! promise's name. It starts nothing; the backend under test is handed in.

pub mod db;
