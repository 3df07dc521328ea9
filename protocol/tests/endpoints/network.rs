//! A network under virtual time: it loses, repeats, reorders, delays and bends datagrams as its seed says, and forgets those for an address
//! that is cut off.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use cohnect_protocol::Monotonic;

use crate::entropy::Seeded;

/// How bad a network is, in parts of a thousand and milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Conditions {
    pub(crate) lost: u64,
    /// Once something was lost, what follows is lost so often: bursts.
    pub(crate) lost_again: u64,
    pub(crate) repeated: u64,
    pub(crate) bent: u64,
    pub(crate) delay_ms: u64,
    /// Each datagram waits up to this much longer, so that they overtake each other.
    pub(crate) jitter_ms: u64,
}

impl Conditions {
    pub(crate) const PERFECT: Self = Self {
        lost: 0,
        lost_again: 0,
        repeated: 0,
        bent: 0,
        delay_ms: 10,
        jitter_ms: 0,
    };

    pub(crate) const AWFUL: Self = Self {
        lost: 200,
        lost_again: 400,
        repeated: 100,
        bent: 50,
        delay_ms: 30,
        jitter_ms: 60,
    };
}

#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) bytes: Vec<u8>,
}

/// Says which datagrams get lost besides those that chance loses.
pub(crate) type Sieve = fn(&Packet) -> bool;

#[derive(Debug)]
pub(crate) struct SimulatedNetwork {
    pub(crate) conditions: Conditions,
    random: Seeded,
    under_way: BTreeMap<(Monotonic, u64), Packet>,
    cut_off: BTreeSet<SocketAddr>,
    sequence: u64,
    losing: bool,
    /// What it says yes to never arrives.
    pub(crate) sieve: Option<Sieve>,
    /// Everything that was ever sent, kept only when somebody wants to replay it.
    pub(crate) record: Option<Vec<Packet>>,
}

impl SimulatedNetwork {
    pub(crate) fn new(conditions: Conditions, random: Seeded) -> Self {
        Self {
            conditions,
            random,
            under_way: BTreeMap::new(),
            cut_off: BTreeSet::new(),
            sequence: 0,
            losing: false,
            sieve: None,
            record: None,
        }
    }

    /// From now on nothing reaches or leaves this address, or it does again.
    pub(crate) fn cut(&mut self, address: SocketAddr, off: bool) {
        if off {
            self.cut_off.insert(address);
        } else {
            self.cut_off.remove(&address);
        }
    }

    pub(crate) fn send(&mut self, now: Monotonic, packet: Packet) {
        if let Some(record) = &mut self.record {
            record.push(packet.clone());
        }
        let cut_off = self.cut_off.contains(&packet.from) || self.cut_off.contains(&packet.to);
        if cut_off || self.sieve.is_some_and(|lost| lost(&packet)) {
            return;
        }
        let rate = if self.losing {
            self.conditions.lost_again
        } else {
            self.conditions.lost
        };
        self.losing = self.random.per_mille(rate);
        if self.losing {
            return;
        }
        if self.random.per_mille(self.conditions.repeated) {
            self.deliver_later(now, packet.clone());
        }
        self.deliver_later(now, packet);
    }

    fn deliver_later(&mut self, now: Monotonic, mut packet: Packet) {
        if self.random.per_mille(self.conditions.bent) && !packet.bytes.is_empty() {
            let at = self.random.below(packet.bytes.len() as u64) as usize;
            packet.bytes[at] ^= 1 << self.random.below(8);
        }
        let wait_us = self.conditions.delay_ms * 1_000
            + self.random.below(self.conditions.jitter_ms * 1_000 + 1);
        self.sequence += 1;
        self.under_way.insert(
            (now.plus(Duration::from_micros(wait_us)), self.sequence),
            packet,
        );
    }

    /// The next datagram that has arrived.
    pub(crate) fn poll(&mut self, now: Monotonic) -> Option<Packet> {
        let entry = self.under_way.first_entry()?;
        if entry.key().0 > now {
            return None;
        }
        let packet = entry.remove();
        // An address that was cut off meanwhile gets nothing.
        if self.cut_off.contains(&packet.to) {
            return self.poll(now);
        }
        Some(packet)
    }

    pub(crate) fn poll_timeout(&self) -> Option<Monotonic> {
        self.under_way.first_key_value().map(|((at, _), _)| *at)
    }
}
