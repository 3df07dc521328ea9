//! Datagrams out: those for one client with one system call, cut by the kernel (GSO), those for many in batches. What finds no room in the kernel is
//! dropped: whatever must arrive is sent again by its session.

use std::io::IoSlice;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use cohnect_protocol::Transmit;
use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessage, MsgFlags, MultiHeaders, SockaddrStorage, sendmmsg, sendmsg,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::receive::BATCH_MAX;

/// How long a full socket is waited for, once for each batch: it drains at the speed of the link.
const PATIENCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 1_000_000,
};

/// Puts datagrams into one socket.
pub(crate) struct Sender {
    headers: MultiHeaders<SockaddrStorage>,
    /// The bytes of the batch.
    bytes: Vec<u8>,
    /// Where each datagram of the batch ends, and where it goes.
    batch: Vec<(usize, SocketAddr)>,
    gso: bool,
    pub(crate) sent: u64,
    pub(crate) dropped: u64,
}

impl Sender {
    pub(crate) fn new() -> Self {
        Self {
            headers: MultiHeaders::preallocate(BATCH_MAX, None),
            bytes: Vec::new(),
            batch: Vec::with_capacity(BATCH_MAX),
            gso: true,
            sent: 0,
            dropped: 0,
        }
    }

    /// Sends everything that `next` hands out.
    pub(crate) fn send_all(
        &mut self,
        socket: &UdpSocket,
        mut next: impl FnMut(&mut Vec<u8>) -> Option<Transmit>,
    ) {
        loop {
            let before = self.bytes.len();
            let Some(transmit) = next(&mut self.bytes) else {
                break;
            };
            if transmit.len > transmit.segment_len && self.gso {
                // Everything before it has to leave first: it may be for the same client.
                let segments = self.bytes.split_off(before);
                self.flush(socket);
                self.send_segments(socket, &transmit, &segments);
                continue;
            }
            let mut end = before;
            for len in segment_lens(&transmit) {
                end += len;
                self.batch.push((end, transmit.to));
            }
            if self.batch.len() >= BATCH_MAX {
                self.flush(socket);
            }
        }
        self.flush(socket);
    }

    /// Several datagrams for one client; the kernel cuts them.
    fn send_segments(&mut self, socket: &UdpSocket, transmit: &Transmit, bytes: &[u8]) {
        let size = transmit.segment_len as u16;
        let to = SockaddrStorage::from(transmit.to);
        let count = segment_lens(transmit).count() as u64;
        let control = [ControlMessage::UdpGsoSegments(&size)];
        let fd = socket.as_raw_fd();
        let flags = MsgFlags::MSG_DONTWAIT;
        let send = || sendmsg(fd, &[IoSlice::new(bytes)], &control, flags, Some(&to));
        let first = send();
        let outcome = match first {
            Err(Errno::EAGAIN) if wait_for_room(socket) => send(),
            outcome => outcome,
        };
        match outcome {
            Ok(_) => self.sent += count,
            // These go one by one. When it is the address or the route that is at fault, the others are cut all the same: no peer can end that for all.
            Err(error @ (Errno::EIO | Errno::EINVAL | Errno::EOPNOTSUPP | Errno::ENOPROTOOPT)) => {
                if error != Errno::EINVAL {
                    tracing::info!(
                        "the system does not cut datagrams; each costs its own share of a system call"
                    );
                    self.gso = false;
                }
                let mut end = 0;
                for len in segment_lens(transmit) {
                    end += len;
                    self.batch.push((end, transmit.to));
                }
                self.bytes.extend_from_slice(bytes);
                self.flush(socket);
            }
            Err(_) => self.dropped += count,
        }
    }

    /// Sends the batch.
    fn flush(&mut self, socket: &UdpSocket) {
        let (mut at, mut start, mut waited) = (0, 0, false);
        while at < self.batch.len() {
            let part = self.batch.get(at..).unwrap_or_default();
            let part = part.get(..BATCH_MAX).unwrap_or(part);
            let mut from = start;
            let slices: Vec<[IoSlice<'_>; 1]> = part
                .iter()
                .map(|(end, _)| {
                    let datagram = self.bytes.get(from..*end).unwrap_or_default();
                    from = *end;
                    [IoSlice::new(datagram)]
                })
                .collect();
            let to: Vec<Option<SockaddrStorage>> =
                part.iter().map(|(_, to)| Some((*to).into())).collect();
            let sent = sendmmsg(
                socket.as_raw_fd(),
                &mut self.headers,
                slices.iter(),
                &to,
                [],
                MsgFlags::MSG_DONTWAIT,
            );
            let gone = match sent.map(Iterator::count) {
                Ok(count) => {
                    self.sent += count as u64;
                    count
                }
                Err(Errno::EINTR) => 0,
                Err(Errno::EAGAIN) if !waited => {
                    waited = true;
                    wait_for_room(socket);
                    0
                }
                Err(Errno::EAGAIN) => {
                    self.dropped += part.len() as u64;
                    part.len()
                }
                // This one cannot be sent; those behind it may.
                Err(_) => {
                    self.dropped += 1;
                    1
                }
            };
            at += gone;
            if let Some((end, _)) = at.checked_sub(1).and_then(|last| self.batch.get(last)) {
                start = *end;
            }
        }
        self.batch.clear();
        self.bytes.clear();
    }
}

/// The lengths of the datagrams of one transmit.
fn segment_lens(transmit: &Transmit) -> impl Iterator<Item = usize> {
    let (len, segment) = (transmit.len, transmit.segment_len.max(1));
    (0..len)
        .step_by(segment)
        .map(move |at| segment.min(len - at))
}

/// Waits a moment for room in the socket; false when there is none.
fn wait_for_room(socket: &UdpSocket) -> bool {
    let mut fds = [PollFd::new(socket, PollFlags::OUT)];
    poll(&mut fds, Some(&PATIENCE)).is_ok_and(|ready| ready > 0)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::time::Duration;

    use crate::receive::Receiver;

    use super::*;

    fn transmits(to: SocketAddr, plan: &[(usize, usize)]) -> VecDeque<(Transmit, Vec<u8>)> {
        let mut n = 0_u8;
        plan.iter()
            .map(|(len, segment_len)| {
                let bytes = (0..*len).map(|at| {
                    n = n.wrapping_add(u8::from(at % segment_len == 0));
                    n
                });
                let transmit = Transmit {
                    to,
                    len: *len,
                    segment_len: *segment_len,
                };
                (transmit, bytes.collect())
            })
            .collect()
    }

    fn check(gso: bool) {
        let from = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = UdpSocket::bind("127.0.0.1:0").unwrap();
        to.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let plan = [
            (80, 80),
            (3_000, 1_200),
            (64, 64),
            (300, 100),
            (1_200, 1_200),
        ];
        let mut waiting = transmits(to.local_addr().unwrap(), &plan);
        let mut sender = Sender::new();
        sender.gso = gso;
        sender.send_all(&from, |out| {
            let (transmit, bytes) = waiting.pop_front()?;
            out.extend_from_slice(&bytes);
            Some(transmit)
        });
        assert_eq!((sender.sent, sender.dropped), (9, 0));
        let mut receiver = Receiver::new();
        let mut lens = Vec::new();
        while lens.len() < 9 {
            let mut expected = lens.len() as u8;
            let took = receiver.receive(&to, |_, datagram| {
                expected += 1;
                assert!(datagram.iter().all(|byte| *byte == expected));
                lens.push(datagram.len());
            });
            took.unwrap();
        }
        assert_eq!(lens, [80, 1_200, 1_200, 600, 64, 100, 100, 100, 1_200]);
    }

    #[test]
    fn datagrams_arrive_in_order_whether_or_not_the_kernel_cuts_them() {
        check(true);
        check(false);
    }

    #[test]
    fn an_address_that_takes_nothing_does_not_stop_the_cutting_for_others() {
        let from = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = UdpSocket::bind("127.0.0.1:0").unwrap();
        let nowhere = "127.0.0.1:0".parse().unwrap();
        let mut waiting = transmits(nowhere, &[(300, 100), (80, 80)]);
        waiting.extend(transmits(to.local_addr().unwrap(), &[(200, 100)]));
        let mut sender = Sender::new();
        sender.send_all(&from, |out| {
            let (transmit, bytes) = waiting.pop_front()?;
            out.extend_from_slice(&bytes);
            Some(transmit)
        });
        assert_eq!((sender.sent, sender.dropped), (2, 4));
        assert!(sender.gso);
    }

    #[test]
    fn more_than_a_batch_goes_out_and_comes_in() {
        let from = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = UdpSocket::bind("127.0.0.1:0").unwrap();
        let plan = vec![(100, 100); 150];
        let mut waiting = transmits(to.local_addr().unwrap(), &plan);
        let mut sender = Sender::new();
        sender.send_all(&from, |out| {
            let (transmit, bytes) = waiting.pop_front()?;
            out.extend_from_slice(&bytes);
            Some(transmit)
        });
        let mut receiver = Receiver::new();
        let own = from.local_addr().unwrap();
        let mut batches = Vec::new();
        while batches.iter().sum::<usize>() < 150 {
            let took = receiver.receive(&to, |from, _| assert_eq!(from, own));
            batches.push(took.unwrap());
        }
        assert!(batches.iter().all(|batch| *batch <= BATCH_MAX));
        assert_eq!(receiver.receive(&to, |_, _| {}), Ok(0));
    }
}
