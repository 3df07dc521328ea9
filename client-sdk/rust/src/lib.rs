//! A client of cohnect: the operations, streams and messages over its encrypted UDP wire, for Tokio. The wire itself is `cohnect-protocol`'s;
//! this crate owns the socket, the clock, the waiting and the coming back.
//!
//! ```no_run
//! use cohnect_client::{Client, Config};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let pin = "8f40c5adb68f25624ae5b214ea767a6ec94d829d3d7b5e1ad1ba6f3e2138285f".parse()?;
//! let (client, incoming) = Client::connect(Config::new("127.0.0.1:4433".parse()?, pin)).await?;
//! drop(incoming); // nobody reads what comes unasked
//!
//! let mut scores = client.stream("scores", "").await?;
//! while let Some(item) = scores.next().await {
//!     println!("{:?}", item?);
//! }
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod backoff;
mod client;
mod clock;
mod config;
mod connection;
mod driver;
mod entropy;
mod error;
mod identity;
mod incoming;
mod queue;
mod subscription;

pub use client::{Client, ConnectError, ScopeName as Scope, To, Versioned};
pub use config::Config;
pub use entropy::OsEntropy;
pub use error::{Error, Failure, Reason};
pub use identity::{Identity, IdentityError};
pub use incoming::{Broadcast, Ending, Event, Incoming, Message};
pub use subscription::{StreamError, Subscription};

pub use cohnect_protocol::ops::{Detail, Outcome, Repeat, Status};
pub use cohnect_protocol::{
    CloseCode, ConnectFailure, ConnectHint, Mode, Opcode, PeerId, PublicKey, SteeringKeys,
};
