//! Datagrams out: those for one client with one system call, cut by the kernel (GSO), those for many in batches. It never waits: what finds no room in
//! the kernel is kept for the next turn, and what was not asked for yet stays in its session.

use std::io::IoSlice;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use cohnect_protocol::Transmit;
use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessage, MsgFlags, MultiHeaders, SockaddrStorage, sendmmsg, sendmsg,
};

use crate::receive::BATCH_MAX;

/// Datagrams that one turn sends: one or two milliseconds of system calls, in which the shard reads nothing. A message to a thousand clients fits.
const DATAGRAMS_PER_TURN: usize = 1_024;

/// Datagrams that are asked for at the end only to be counted: one for each of the clients of a full server. Beyond that the number says enough.
const GIVEN_UP_MAX: u64 = 131_072;

/// What a turn left to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// Nothing.
    Nothing,
    /// There may be more: the turn's share is used up, and the next one goes on at once.
    More,
    /// The socket takes no more now; it can be polled for room.
    Full,
}

/// What takes datagrams without waiting: a socket, and in tests one that is full.
pub(crate) trait Outlet {
    /// One datagram to each address; how many went.
    fn send_many(
        &self,
        headers: &mut MultiHeaders<SockaddrStorage>,
        datagrams: &[[IoSlice<'_>; 1]],
        to: &[Option<SockaddrStorage>],
    ) -> nix::Result<usize>;

    /// Datagrams of this length to one address.
    fn send_cut(&self, bytes: &[u8], len: u16, to: &SockaddrStorage) -> nix::Result<()>;
}

impl Outlet for UdpSocket {
    fn send_many(
        &self,
        headers: &mut MultiHeaders<SockaddrStorage>,
        datagrams: &[[IoSlice<'_>; 1]],
        to: &[Option<SockaddrStorage>],
    ) -> nix::Result<usize> {
        let flags = MsgFlags::MSG_DONTWAIT;
        sendmmsg(self.as_raw_fd(), headers, datagrams, to, [], flags).map(Iterator::count)
    }

    fn send_cut(&self, bytes: &[u8], len: u16, to: &SockaddrStorage) -> nix::Result<()> {
        let (bytes, control) = (
            [IoSlice::new(bytes)],
            [ControlMessage::UdpGsoSegments(&len)],
        );
        let flags = MsgFlags::MSG_DONTWAIT;
        sendmsg(self.as_raw_fd(), &bytes, &control, flags, Some(to)).map(drop)
    }
}

/// Puts datagrams into one socket.
pub(crate) struct Sender {
    headers: MultiHeaders<SockaddrStorage>,
    /// The bytes of the batch.
    bytes: Vec<u8>,
    /// Where each datagram of the batch ends, and where it goes. After a turn it holds only what found no room, less than two batches.
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

    /// Sends what is left of the last turn and then what `next` hands out, at most a turn's share.
    pub(crate) fn send_all(
        &mut self,
        outlet: &impl Outlet,
        mut next: impl FnMut(&mut Vec<u8>) -> Option<Transmit>,
    ) -> Left {
        let mut room = self.flush(outlet);
        let mut taken = 0;
        while room && taken < DATAGRAMS_PER_TURN {
            let before = self.bytes.len();
            let Some(transmit) = next(&mut self.bytes) else {
                return if self.flush(outlet) {
                    Left::Nothing
                } else {
                    Left::Full
                };
            };
            taken += segment_lens(&transmit).count();
            if transmit.len > transmit.segment_len && self.gso {
                // Everything before it has to leave first: it may be for the same client.
                let segments = self.bytes.split_off(before);
                room = self.flush(outlet);
                if room {
                    room = self.send_segments(outlet, &transmit, &segments);
                } else {
                    self.add(&transmit, &segments);
                }
                continue;
            }
            self.add(&transmit, &[]);
            if self.batch.len() >= BATCH_MAX {
                room = self.flush(outlet);
            }
        }
        if room && self.flush(outlet) {
            Left::More
        } else {
            Left::Full
        }
    }

    /// The end: counts as dropped what found no room and what `next` still hands out, and says how many that were.
    pub(crate) fn give_up(
        &mut self,
        mut next: impl FnMut(&mut Vec<u8>) -> Option<Transmit>,
    ) -> u64 {
        let mut unsent = self.batch.len() as u64;
        self.batch.clear();
        self.bytes.clear();
        while unsent < GIVEN_UP_MAX
            && let Some(transmit) = next(&mut self.bytes)
        {
            unsent += segment_lens(&transmit).count() as u64;
            self.bytes.clear();
        }
        self.dropped += unsent;
        unsent
    }

    /// Adds a transmit to the batch, each datagram by itself; `bytes` are those that the batch does not have yet.
    fn add(&mut self, transmit: &Transmit, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        let mut end = self.bytes.len() - transmit.len;
        for len in segment_lens(transmit) {
            end += len;
            self.batch.push((end, transmit.to));
        }
    }

    /// Several datagrams for one client; the kernel cuts them. False when the socket is full.
    fn send_segments(&mut self, outlet: &impl Outlet, transmit: &Transmit, bytes: &[u8]) -> bool {
        let count = segment_lens(transmit).count() as u64;
        let to = SockaddrStorage::from(transmit.to);
        match outlet.send_cut(bytes, transmit.segment_len as u16, &to) {
            Ok(()) => {
                self.sent += count;
                true
            }
            Err(Errno::EAGAIN) => {
                self.add(transmit, bytes);
                false
            }
            // These go one by one. When it is the address or the route that is at fault, the others are cut all the same: no peer can end that for all.
            Err(error @ (Errno::EIO | Errno::EINVAL | Errno::EOPNOTSUPP | Errno::ENOPROTOOPT)) => {
                if error != Errno::EINVAL {
                    tracing::info!(
                        "the system does not cut datagrams; each costs its own share of a system call"
                    );
                    self.gso = false;
                }
                self.add(transmit, bytes);
                self.flush(outlet)
            }
            Err(_) => {
                self.dropped += count;
                true
            }
        }
    }

    /// Sends the batch; false when the socket took only its beginning, and the rest waits here.
    fn flush(&mut self, outlet: &impl Outlet) -> bool {
        let (mut at, mut start, mut room) = (0, 0, true);
        while room && at < self.batch.len() {
            let part = self.batch.get(at..).unwrap_or_default();
            let part = part.get(..BATCH_MAX).unwrap_or(part);
            let mut from = start;
            let datagrams: Vec<[IoSlice<'_>; 1]> = part
                .iter()
                .map(|(end, _)| {
                    let datagram = self.bytes.get(from..*end).unwrap_or_default();
                    from = *end;
                    [IoSlice::new(datagram)]
                })
                .collect();
            let to: Vec<Option<SockaddrStorage>> =
                part.iter().map(|(_, to)| Some((*to).into())).collect();
            at += match outlet.send_many(&mut self.headers, &datagrams, &to) {
                Ok(count) => {
                    self.sent += count as u64;
                    count
                }
                Err(Errno::EINTR) => 0,
                Err(Errno::EAGAIN) => {
                    room = false;
                    0
                }
                // This one cannot be sent; those behind it may.
                Err(_) => {
                    self.dropped += 1;
                    1
                }
            };
            if let Some((end, _)) = at.checked_sub(1).and_then(|last| self.batch.get(last)) {
                start = *end;
            }
        }
        self.batch.drain(..at);
        self.bytes.drain(..start);
        for (end, _) in &mut self.batch {
            *end -= start;
        }
        room
    }
}

/// The lengths of the datagrams of one transmit.
fn segment_lens(transmit: &Transmit) -> impl Iterator<Item = usize> {
    let (len, segment) = (transmit.len, transmit.segment_len.max(1));
    (0..len)
        .step_by(segment)
        .map(move |at| segment.min(len - at))
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
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

    fn hand_out(
        waiting: &mut VecDeque<(Transmit, Vec<u8>)>,
        out: &mut Vec<u8>,
    ) -> Option<Transmit> {
        let (transmit, bytes) = waiting.pop_front()?;
        out.extend_from_slice(&bytes);
        Some(transmit)
    }

    /// A socket with room for so many datagrams, which counts how often it was asked.
    #[derive(Default)]
    struct Narrow {
        room: Cell<usize>,
        calls: Cell<usize>,
        took: RefCell<Vec<u8>>,
    }

    impl Narrow {
        fn take<'a>(&self, datagrams: impl Iterator<Item = &'a [u8]>) -> nix::Result<usize> {
            self.calls.set(self.calls.get() + 1);
            let taken: Vec<u8> = datagrams
                .take(self.room.get())
                .map(|datagram| datagram[0])
                .collect();
            if taken.is_empty() {
                return Err(Errno::EAGAIN);
            }
            self.room.set(self.room.get() - taken.len());
            self.took.borrow_mut().extend(&taken);
            Ok(taken.len())
        }
    }

    impl Outlet for Narrow {
        fn send_many(
            &self,
            _headers: &mut MultiHeaders<SockaddrStorage>,
            datagrams: &[[IoSlice<'_>; 1]],
            _to: &[Option<SockaddrStorage>],
        ) -> nix::Result<usize> {
            self.take(datagrams.iter().map(|datagram| &datagram[0][..]))
        }

        fn send_cut(&self, bytes: &[u8], len: u16, _to: &SockaddrStorage) -> nix::Result<()> {
            if self.room.get() == 0 {
                return Err(Errno::EAGAIN);
            }
            // A socket that has any room takes all of one call.
            let count = bytes.chunks(len.into()).count();
            self.room.set(self.room.get().max(count));
            self.take(bytes.chunks(len.into())).map(drop)
        }
    }

    fn nowhere() -> SocketAddr {
        "127.0.0.1:9".parse().unwrap()
    }

    #[test]
    fn a_full_socket_is_asked_once_a_turn_and_loses_nothing() {
        for gso in [true, false] {
            let plan = [(80, 80), (300, 100), (64, 64), (200, 100), (90, 90)];
            let mut waiting = transmits(nowhere(), &[plan, plan].concat());
            let (outlet, mut sender) = (Narrow::default(), Sender::new());
            sender.gso = gso;
            let mut turns = 0;
            loop {
                let left = sender.send_all(&outlet, |out| hand_out(&mut waiting, out));
                if left == Left::Nothing {
                    break;
                }
                assert_eq!(left, Left::Full);
                // Sessions keep what was not asked for: not everything was taken out of them at once.
                let calls = outlet.calls.replace(0);
                assert!(calls <= 4, "{calls} calls in turn {turns}");
                outlet.room.set(turns % 3);
                turns += 1;
                assert!(turns < 100);
            }
            assert_eq!((sender.sent, sender.dropped), (16, 0));
            assert_eq!(*outlet.took.borrow(), (1..=16).collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_is_behind_a_full_socket_stays_in_the_sessions() {
        let mut waiting = transmits(nowhere(), &vec![(6_400, 100); 50]);
        let (outlet, mut sender) = (Narrow::default(), Sender::new());
        for _ in 0..10 {
            let left = sender.send_all(&outlet, |out| hand_out(&mut waiting, out));
            assert_eq!(left, Left::Full);
        }
        assert_eq!(waiting.len(), 49);
        assert_eq!(sender.batch.len(), 64);
    }

    #[test]
    fn what_is_unsent_at_the_end_is_counted_as_dropped() {
        let mut waiting = transmits(nowhere(), &[(80, 80), (300, 100), (64, 64), (200, 100)]);
        let (outlet, mut sender) = (Narrow::default(), Sender::new());
        outlet.room.set(1);
        let left = sender.send_all(&outlet, |out| hand_out(&mut waiting, out));
        assert_eq!(left, Left::Full);
        assert_eq!(sender.give_up(|out| hand_out(&mut waiting, out)), 6);
        assert_eq!((sender.sent, sender.dropped), (1, 6));
        assert!(waiting.is_empty() && sender.batch.is_empty());
        assert_eq!(sender.give_up(|_| None), 0, "each is counted once");
    }

    #[test]
    fn one_turn_sends_its_share_and_leaves_the_rest_to_the_next() {
        let mut waiting = transmits(nowhere(), &vec![(100, 100); DATAGRAMS_PER_TURN + 10]);
        let (outlet, mut sender) = (Narrow::default(), Sender::new());
        outlet.room.set(usize::MAX);
        let left = sender.send_all(&outlet, |out| hand_out(&mut waiting, out));
        assert_eq!((left, waiting.len()), (Left::More, 10));
        let left = sender.send_all(&outlet, |out| hand_out(&mut waiting, out));
        assert_eq!((left, waiting.len()), (Left::Nothing, 0));
        assert_eq!(sender.sent, DATAGRAMS_PER_TURN as u64 + 10);
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
        let left = sender.send_all(&from, |out| hand_out(&mut waiting, out));
        assert_eq!(left, Left::Nothing);
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
        let left = sender.send_all(&from, |out| hand_out(&mut waiting, out));
        assert_eq!(left, Left::Nothing);
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
        let left = sender.send_all(&from, |out| hand_out(&mut waiting, out));
        assert_eq!(left, Left::Nothing);
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
