//! The two ends of the wire, sans-IO: a server's, with many sessions, and a client's, with one. They own addresses, handshakes and the finding
//! of sessions; what happens inside a session is `session`'s, and sockets and clocks are the caller's.
//!
//! Both are driven alike. The caller hands in every datagram (`handle_datagram`) and, when `poll_timeout` has come, calls `handle_timeout`;
//! then it polls until there is no more: events (`poll_event`) and datagrams (`poll_transmit`). Nothing that a datagram contains makes any of
//! these fail: what is not understood is dropped and counted.

mod client;
mod connections;
mod counters;
mod half_opens;
mod server;
mod transmit;

pub use client::{ClientConfig, ClientEndpoint, ClientEvent, ConnectFailure, ConnectHint};
pub use connections::SessionHandle;
pub use counters::{Counter, Counters};
pub use server::{Availability, ServerConfig, ServerEndpoint, ServerEvent};
pub use transmit::Transmit;
