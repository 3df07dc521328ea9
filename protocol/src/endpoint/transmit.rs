//! What an endpoint hands to its caller for sending: datagrams to one address, joined so that one system call can send them all. It sends
//! nothing.

use std::net::SocketAddr;

use crate::{DATAGRAM_LEN_MAX, Monotonic, PacketKey, Session};

/// One or more datagrams to one address, appended to the caller's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Where they go.
    pub to: SocketAddr,
    /// Bytes that were appended.
    pub len: usize,
    /// Bytes of each datagram but the last, which may be shorter.
    pub segment_len: usize,
}

impl Transmit {
    /// The datagrams that this describes, `appended` being the bytes that were appended.
    pub fn datagrams<'a>(&self, appended: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        appended.chunks(self.segment_len.max(1))
    }

    pub(super) const fn single(to: SocketAddr, len: usize) -> Self {
        Self {
            to,
            len,
            segment_len: len,
        }
    }
}

/// Segments that one system call takes at most (Linux's `UDP_MAX_SEGMENTS` was 64 before 6.2).
const SEGMENTS_MAX: usize = 64;
/// Bytes that one system call takes at most: what an IPv4 packet holds behind its headers.
const BATCH_LEN_MAX: usize = 65_507;

/// Takes what a session wants to send, as much as one system call may carry.
pub(super) struct Batch {
    /// A datagram that was longer than those before it, so that it begins the next batch.
    carried: Option<(SocketAddr, Vec<u8>)>,
}

impl Batch {
    pub(super) const fn new() -> Self {
        Self { carried: None }
    }

    /// The datagram left over from the last batch, if there is one.
    pub(super) fn carry(&mut self, out: &mut Vec<u8>) -> Option<Transmit> {
        let (to, datagram) = self.carried.take()?;
        out.extend_from_slice(&datagram);
        Some(Transmit::single(to, datagram.len()))
    }

    /// Fills one batch; none when the session has nothing to send now.
    pub(super) fn fill<K: PacketKey>(
        &mut self,
        now: Monotonic,
        to: SocketAddr,
        session: &mut Session<K>,
        out: &mut Vec<u8>,
    ) -> Option<Transmit> {
        let start = out.len();
        let mut segment_len = 0;
        for segments in 0..SEGMENTS_MAX {
            let before = out.len();
            if segments > 0 && before - start + DATAGRAM_LEN_MAX > BATCH_LEN_MAX {
                break;
            }
            if !session.poll_transmit(now, out) {
                break;
            }
            let len = out.len() - before;
            if segments == 0 {
                segment_len = len;
            } else if len > segment_len {
                self.carried = Some((to, out.split_off(before)));
                break;
            }
            if len < segment_len {
                break;
            }
        }
        (out.len() > start).then_some(Transmit {
            to,
            len: out.len() - start,
            segment_len,
        })
    }
}
