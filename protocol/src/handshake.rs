//! How two strangers become a session (PROTOCOL.md 3): messages, cookies and the key exchange, each without memory. Who is remembered, for how
//! long and what is answered is the endpoints' affair.

pub(crate) mod cookie;
pub(crate) mod exchange;
pub(crate) mod messages;
pub(crate) mod payload;
mod resolver;

#[cfg(test)]
mod vectors;
