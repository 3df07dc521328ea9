//! The vocabulary: one file per interface that modules import, with its types and the trait that whatever stands behind it implements, the shared
//! error, and the effects that a call leaves. It names no vendor, no runtime and no guest language, and holds no behaviour beyond its types.
#![forbid(unsafe_code)]

pub mod clients;
pub mod clock;
pub mod config;
#[cfg(feature = "contract")]
pub mod contract;
pub mod db;
mod effect;
mod error;
pub mod feature_flags;
pub mod logging;
pub mod mailbox;
pub mod modules;
pub mod random;
pub mod signals;
pub mod state;
pub mod streams;
pub mod tags;
pub mod timers;
mod types;

pub use effect::Effect;
pub use error::{Detail, Error, Failure, LimitInfo, Result};
pub use types::{
    Audience, Caller, Client, ClientId, ClientParts, CloseReason, Delivery, DurationUs, Field,
    InstanceId, Opcode, Payload, Scalar, Scope, TimestampUs,
};

/// A future that may move between threads, as the capabilities that wait return them.
pub type BoxFuture<'a, T> = core::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;
