//! The custodian of modules: what they may touch and use, where they live, how they are called and swapped. It names no guest language, opens no socket
//! and reads no clock; those are passed in.
#![forbid(unsafe_code)]

pub mod calendar;
pub mod calls;
pub mod catalog;
pub mod config;
pub mod context;
pub mod custodian;
pub mod deadline;
pub mod escaped;
pub mod export;
pub mod function;
pub mod home;
pub mod limits;
pub mod load;
pub mod lost_mail;
pub mod mail;
pub mod manifest;
pub mod nearest;
pub mod now;
pub mod order;
pub mod replica;
pub mod seeded;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod untold;
pub mod watch;
pub mod worker;
