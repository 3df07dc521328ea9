//! Datagrams in, a batch with each system call. It looks into none of them.

use std::io::IoSliceMut;
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg};

/// Datagrams of one batch.
pub(crate) const BATCH_MAX: usize = 64;
/// Room for one datagram: more than any has, so that a longer one is seen to be too long.
const ROOM: usize = 1_536;

/// Takes datagrams out of one socket.
pub(crate) struct Receiver {
    headers: MultiHeaders<SockaddrStorage>,
    room: Vec<u8>,
    arrived: Vec<(SocketAddr, usize)>,
}

impl Receiver {
    pub(crate) fn new() -> Self {
        Self {
            headers: MultiHeaders::preallocate(BATCH_MAX, None),
            room: vec![0; BATCH_MAX * ROOM],
            arrived: Vec::with_capacity(BATCH_MAX),
        }
    }

    /// Takes what is there, at most one batch, without waiting; returns how many datagrams it was.
    ///
    /// # Errors
    /// What the system said, but for *nothing there* and for the echo of datagrams that could not be delivered.
    pub(crate) fn receive(
        &mut self,
        socket: &UdpSocket,
        mut take: impl FnMut(SocketAddr, &mut [u8]),
    ) -> nix::Result<usize> {
        self.arrived.clear();
        {
            let mut room = self.room.chunks_mut(ROOM);
            let mut slices: [[IoSliceMut<'_>; 1]; BATCH_MAX] =
                core::array::from_fn(|_| [IoSliceMut::new(room.next().unwrap_or_default())]);
            let flags = MsgFlags::MSG_DONTWAIT;
            let fd = socket.as_raw_fd();
            match recvmmsg(fd, &mut self.headers, slices.iter_mut(), flags, None) {
                Ok(received) => self.arrived.extend(received.map(|message| {
                    // Without an address it goes to nobody: length 0 is no datagram of ours.
                    match message.address.as_ref().and_then(address) {
                        Some(from) => (from, message.bytes),
                        None => (NOBODY, 0),
                    }
                })),
                Err(Errno::EAGAIN | Errno::EINTR | Errno::ECONNREFUSED) => return Ok(0),
                Err(error) => return Err(error),
            }
        }
        for ((from, len), room) in self.arrived.iter().zip(self.room.chunks_mut(ROOM)) {
            if let Some(datagram) = room.get_mut(..*len) {
                take(*from, datagram);
            }
        }
        Ok(self.arrived.len())
    }
}

const NOBODY: SocketAddr = SocketAddr::V4(SocketAddrV4::new(std::net::Ipv4Addr::UNSPECIFIED, 0));

fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = storage.as_sockaddr_in() {
        return Some(SocketAddr::V4(SocketAddrV4::from(*v4)));
    }
    let v6 = storage.as_sockaddr_in6()?;
    Some(SocketAddr::V6(SocketAddrV6::from(*v6)))
}
