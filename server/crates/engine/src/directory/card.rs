//! What is known of one client, shared by the shard that owns it and whoever looks: fixed facts, and a few numbers that the owner brings up to date.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use cohnect_capabilities::{ClientId, DurationUs, TimestampUs};

/// One client's card.
#[derive(Debug)]
pub struct Card {
    /// Who it is.
    pub id: ClientId,
    /// Where its datagrams come from; the address of its handshake until sessions may move.
    pub address: SocketAddr,
    /// When its session began.
    pub connected_at: TimestampUs,
    /// The version of the wire it speaks.
    pub protocol_version: u8,
    last_seen_at: AtomicU64,
    rtt: AtomicU64,
    backlogged: AtomicBool,
}

impl Card {
    /// The card of a client that has just connected.
    #[must_use]
    pub const fn new(
        id: ClientId,
        address: SocketAddr,
        connected_at: TimestampUs,
        protocol_version: u8,
    ) -> Self {
        Self {
            id,
            address,
            connected_at,
            protocol_version,
            last_seen_at: AtomicU64::new(connected_at),
            rtt: AtomicU64::new(0),
            backlogged: AtomicBool::new(false),
        }
    }

    /// When it was last heard.
    pub fn last_seen_at(&self) -> TimestampUs {
        self.last_seen_at.load(Ordering::Relaxed)
    }

    /// The smoothed round-trip time; 0 until it is known.
    pub fn rtt(&self) -> DurationUs {
        self.rtt.load(Ordering::Relaxed)
    }

    /// Whether as much waits for it as may wait.
    pub fn backlogged(&self) -> bool {
        self.backlogged.load(Ordering::Relaxed)
    }

    /// The owner heard of it.
    pub fn seen(&self, at: TimestampUs, rtt: DurationUs) {
        self.last_seen_at.store(at, Ordering::Relaxed);
        self.rtt.store(rtt, Ordering::Relaxed);
    }

    /// The owner saw what waits for it.
    pub fn set_backlogged(&self, backlogged: bool) {
        self.backlogged.store(backlogged, Ordering::Relaxed);
    }
}
