//! `clients`: who is connected, and packets to them. The queries are answered by a directory; the sends are [`crate::Effect`]s.

use crate::{Audience, ClientId, Delivery, DurationUs, Payload, Result, TimestampUs};

/// How a packet travels. All zeros: reliable, ordered, channel 0, command version 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendOptions {
    /// What the network owes it.
    pub delivery: Delivery,
    /// 0..=31; order holds within one channel.
    pub channel: u8,
    /// The command version beside the opcode.
    pub version: u8,
}

/// A payload for one client among many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addressed {
    /// For whom.
    pub to: ClientId,
    /// What.
    pub payload: Payload,
}

/// What the server knows of a client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientInfo {
    /// Who it is.
    pub id: ClientId,
    /// The verified subject of its token.
    pub user: Option<String>,
    /// Its tags, sorted.
    pub tags: Vec<String>,
    /// Where its datagrams come from.
    pub address: String,
    /// When its session began.
    pub connected_at: TimestampUs,
    /// When it was last heard, to a tenth of a second.
    pub last_seen_at: TimestampUs,
    /// The smoothed round-trip time.
    pub rtt: DurationUs,
    /// The protocol version it speaks.
    pub protocol_version: u8,
}

/// The directory of all connected clients, shared by every home. Each answer is one short look; nothing here waits.
pub trait Clients: Send + Sync {
    /// Whether this is a tag expression.
    ///
    /// # Errors
    /// `InvalidArgument` for one outside the grammar, which says where.
    fn check_expression(&self, expression: &str) -> Result<()>;
    /// Whether this client is connected.
    fn online(&self, id: ClientId) -> bool;
    /// Which of these users have a client connected.
    fn online_users(&self, users: &[String]) -> Vec<String>;
    /// What is known of it.
    ///
    /// # Errors
    /// `NotFound` when it is not connected.
    fn info(&self, id: ClientId) -> Result<ClientInfo>;
    /// The ids after `after`, ascending; `limit` 0 is the directory's own, which no limit exceeds.
    ///
    /// # Errors
    /// `InvalidArgument` for a malformed expression, `Unsupported` for members.
    fn ids(&self, who: &Audience, after: Option<ClientId>, limit: u32) -> Result<Vec<ClientId>>;
    /// As [`Clients::ids`], with what is known of each.
    ///
    /// # Errors
    /// As [`Clients::ids`].
    fn infos(&self, who: &Audience, after: Option<ClientId>, limit: u32)
    -> Result<Vec<ClientInfo>>;
    /// How many.
    ///
    /// # Errors
    /// As [`Clients::ids`].
    fn count(&self, who: &Audience) -> Result<u32>;
    /// How many a message to this audience would be queued for, without `except`.
    ///
    /// # Errors
    /// As [`Clients::ids`].
    fn reach(&self, who: &Audience, except: Option<ClientId>) -> Result<u32>;
    /// Whether a reliable message for this client can be queued now.
    ///
    /// # Errors
    /// `Closed` when it is not connected, `Busy` when what waits for it has reached its bound.
    fn admits(&self, id: ClientId) -> Result<()>;
}
