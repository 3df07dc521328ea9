//! The references: a UDP echo and a fan-out that do nothing else. They batch system calls as the server does, and know no encryption and no module.

use std::io::{IoSlice, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, SockaddrStorage, recvmmsg, sendmmsg};

use crate::answering::Answering;

/// Datagrams of one system call, as many as the server takes.
const BATCH: usize = 64;
/// Room for one datagram: more than any has.
const DATAGRAM: usize = 1_536;
/// How often who waits for datagrams looks whether it should end, or whether a timer is due.
const PATIENCE: Duration = Duration::from_millis(20);

/// Starts an echo on a free port of loopback.
pub(crate) fn echo() -> anyhow::Result<Answering> {
    Answering::start("bare-echo", |mut batch, ended| {
        while !ended() {
            batch.receive();
            batch.send_back();
        }
    })
}

/// A socket with room for one batch, made once, as in the server.
pub(crate) struct Batch {
    socket: UdpSocket,
    room: Vec<[u8; DATAGRAM]>,
    arrived: Vec<(usize, Option<SockaddrIn>)>,
    incoming: MultiHeaders<SockaddrIn>,
    outgoing: MultiHeaders<SockaddrIn>,
}

impl Batch {
    /// Binds a free port of loopback.
    pub(crate) fn bind() -> anyhow::Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Self {
            socket,
            room: vec![[0; DATAGRAM]; BATCH],
            arrived: Vec::with_capacity(BATCH),
            incoming: MultiHeaders::preallocate(BATCH, None),
            outgoing: MultiHeaders::preallocate(BATCH, None),
        })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.socket.local_addr()?)
    }

    /// Waits a while for datagrams and takes those that are there.
    pub(crate) fn receive(&mut self) {
        self.arrived.clear();
        let mut slices: Vec<[IoSliceMut<'_>; 1]> = self
            .room
            .iter_mut()
            .map(|buffer| [IoSliceMut::new(buffer)])
            .collect();
        let (fd, flags) = (self.socket.as_raw_fd(), MsgFlags::MSG_WAITFORONE);
        // An error means that nothing came for a while.
        if let Ok(received) = recvmmsg(fd, &mut self.incoming, slices.iter_mut(), flags, None) {
            let arrived = received.map(|each| (each.bytes, each.address));
            self.arrived.extend(arrived);
        }
    }

    /// What came, and from where.
    pub(crate) fn datagrams(&mut self) -> impl Iterator<Item = (SocketAddr, &mut [u8])> {
        self.arrived
            .iter()
            .zip(&mut self.room)
            .filter_map(|((len, from), buffer)| {
                Some((SocketAddr::V4((*from)?.into()), &mut buffer[..*len]))
            })
    }

    /// Sends everything that came back to where it came from.
    pub(crate) fn send_back(&mut self) {
        let slices: Vec<[IoSlice<'_>; 1]> = self
            .arrived
            .iter()
            .zip(&self.room)
            .map(|((len, _), buffer)| [IoSlice::new(&buffer[..*len])])
            .collect();
        let to: Vec<Option<SockaddrIn>> = self.arrived.iter().map(|(_, from)| *from).collect();
        let (fd, flags) = (self.socket.as_raw_fd(), MsgFlags::empty());
        // What the kernel does not take is lost, as on any network.
        sendmmsg(fd, &mut self.outgoing, &slices, &to, [], flags).ok();
    }

    /// Sends these, one batch after the other; how many went out.
    pub(crate) fn send(&mut self, datagrams: &[(SocketAddr, &[u8])]) -> usize {
        let (fd, flags) = (self.socket.as_raw_fd(), MsgFlags::empty());
        let mut sent = 0;
        for chunk in datagrams.chunks(BATCH) {
            let slices: Vec<[IoSlice<'_>; 1]> = chunk
                .iter()
                .map(|(_, bytes)| [IoSlice::new(bytes)])
                .collect();
            let to: Vec<Option<SockaddrIn>> = chunk.iter().map(|(to, _)| v4(*to)).collect();
            sent += sendmmsg(fd, &mut self.outgoing, &slices, &to, [], flags)
                .map_or(0, Iterator::count);
        }
        sent
    }
}

/// The address as the system wants it; the bench lives on IPv4's loopback.
fn v4(address: SocketAddr) -> Option<SockaddrIn> {
    SockaddrStorage::from(address).as_sockaddr_in().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_echo_answers_and_the_fan_out_reaches_everybody() {
        let echo = echo().unwrap();
        let clients: Vec<_> = (0..=BATCH)
            .map(|_| UdpSocket::bind("127.0.0.1:0").unwrap())
            .collect();
        let mut room = [0; 16];
        for client in &clients {
            client
                .set_read_timeout(Some(Duration::from_secs(10)))
                .unwrap();
            client.send_to(b"hello", echo.address).unwrap();
            assert_eq!(client.recv_from(&mut room).unwrap(), (5, echo.address));
        }
        assert!(echo.cpu_ns() > 0);
        let all: Vec<_> = clients
            .iter()
            .map(|client| (client.local_addr().unwrap(), &b"all"[..]))
            .collect();
        assert_eq!(Batch::bind().unwrap().send(&all), clients.len());
        for client in &clients {
            assert_eq!(client.recv(&mut room).unwrap(), 3);
        }
    }
}
