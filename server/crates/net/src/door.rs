//! The sockets of a server, one for each shard, on one address. They are bound in shard order, since the steering counts them so.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;

use cohnect_host::mail::Waker;
use cohnect_protocol::SteeringKeys;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, setsockopt, socket, sockopt,
};

use crate::steering;
use crate::waker::EventWaker;

/// Bytes that the kernel may hold for a socket in each direction, if it lets us: at 100,000 datagrams a second, some 30 ms of them.
const BUFFER_BYTES: usize = 4 * 1024 * 1024;
/// Datagrams that are thrown away at most before a socket is first read; more than its buffer holds.
const STRAYS_MAX: usize = 65_536;

/// Why a server has no door.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// Somebody else listens there, perhaps another server of this kind.
    #[error(
        "the address {0} is already in use: end whoever has it, or take another; port 0 takes a free one"
    )]
    AddressInUse(SocketAddr),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {error}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// The system gave no file for waking a thread.
    #[error("cannot make what wakes a shard: {0}")]
    Waker(io::Error),
}

/// A server's sockets, bound and not yet read.
#[derive(Debug)]
pub struct Door {
    address: SocketAddr,
    sockets: Vec<UdpSocket>,
    wakers: Vec<Arc<EventWaker>>,
}

impl Door {
    /// Binds a socket for each shard. Where the system does not steer, there is one shard, and the log says so.
    ///
    /// # Errors
    /// When the address is taken or cannot be bound.
    pub fn open(address: SocketAddr, shards: u16, keys: SteeringKeys) -> Result<Self, DoorError> {
        Self::bind(address, shards, |first| {
            Ok(steering::attach(first, keys, shards)?)
        })
    }

    fn bind(
        address: SocketAddr,
        shards: u16,
        steer: impl FnOnce(&UdpSocket) -> io::Result<()>,
    ) -> Result<Self, DoorError> {
        let refused = |error| refusal(address, error);
        // The first socket is bound without SO_REUSEPORT, so that the system refuses an address, or with port 0 avoids a port, that anybody else has;
        // only then is it opened to the others. A socket that only tries the address and is closed again would leave a moment in which two servers
        // that start together find it free, and could not try port 0 at all.
        let first = UdpSocket::bind(address).map_err(refused)?;
        let address = first.local_addr().map_err(refused)?;
        let mut sockets = vec![first];
        if shards > 1 {
            sockets = join(sockets, address, shards, steer).map_err(refused)?;
        }
        for socket in &sockets {
            enlarge_buffers(socket);
            discard_strays(socket).map_err(refused)?;
        }
        let wakers = sockets
            .iter()
            .map(|_| EventWaker::new().map(Arc::new))
            .collect::<io::Result<_>>()
            .map_err(DoorError::Waker)?;
        Ok(Self {
            address,
            sockets,
            wakers,
        })
    }

    /// Where it is, with the port that was chosen.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many shards there can be.
    #[must_use]
    pub fn shards(&self) -> u16 {
        self.sockets.len() as u16
    }

    /// What wakes a shard's thread; none for a shard that there is not.
    #[must_use]
    pub fn waker(&self, shard: u16) -> Option<Arc<dyn Waker>> {
        let waker = self.wakers.get(usize::from(shard))?;
        Some(Arc::clone(waker) as Arc<dyn Waker>)
    }

    pub(crate) fn into_parts(self) -> impl Iterator<Item = (UdpSocket, Arc<EventWaker>)> {
        self.sockets.into_iter().zip(self.wakers)
    }

    #[cfg(test)]
    pub(crate) fn sockets(&self) -> &[UdpSocket] {
        &self.sockets
    }
}

/// Binds the others to the first one's address, in the order of their shards, and steers.
fn join(
    mut sockets: Vec<UdpSocket>,
    address: SocketAddr,
    shards: u16,
    steer: impl FnOnce(&UdpSocket) -> io::Result<()>,
) -> io::Result<Vec<UdpSocket>> {
    for first in &sockets {
        setsockopt(first, sockopt::ReusePort, &true)?;
    }
    while sockets.len() < usize::from(shards) {
        sockets.push(member(address)?);
    }
    if let Err(error) = sockets.first().map_or(Ok(()), steer) {
        tracing::warn!(%error, "the system does not steer datagrams to shards; there will be one shard");
        sockets.truncate(1);
        for first in &sockets {
            setsockopt(first, sockopt::ReusePort, &false)?;
        }
    }
    Ok(sockets)
}

fn member(address: SocketAddr) -> io::Result<UdpSocket> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    };
    let flags = SockFlag::SOCK_CLOEXEC;
    let fd = socket(family, SockType::Datagram, flags, None)?;
    setsockopt(&fd, sockopt::ReusePort, &true)?;
    bind(fd.as_raw_fd(), &SockaddrStorage::from(address))?;
    Ok(UdpSocket::from(fd))
}

/// Asks for room, past the system's limit where that is allowed. Where it is not, the system caps what it gives; a smaller buffer is no reason to refuse.
fn enlarge_buffers(socket: &UdpSocket) {
    if setsockopt(socket, sockopt::RcvBufForce, &BUFFER_BYTES).is_err() {
        setsockopt(socket, sockopt::RcvBuf, &BUFFER_BYTES).ok();
    }
    if setsockopt(socket, sockopt::SndBufForce, &BUFFER_BYTES).is_err() {
        setsockopt(socket, sockopt::SndBuf, &BUFFER_BYTES).ok();
    }
}

/// Throws away what came before the group was whole: it may lie in another socket than its session's, which would never hear of it again. Whoever sent
/// it sends it once more.
fn discard_strays(socket: &UdpSocket) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    for _ in 0..STRAYS_MAX {
        if socket.recv_from(&mut []).is_err() {
            break;
        }
    }
    Ok(())
}

fn refusal(address: SocketAddr, error: impl Into<io::Error>) -> DoorError {
    let error = error.into();
    if error.kind() == io::ErrorKind::AddrInUse {
        DoorError::AddressInUse(address)
    } else {
        DoorError::Bind { address, error }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any_port() -> SocketAddr {
        "127.0.0.1:0".parse().unwrap()
    }

    #[test]
    fn a_taken_address_is_refused_by_its_name_until_it_is_free() {
        let keys = SteeringKeys::new(1, 1);
        for (first, second) in [(1, 1), (1, 2), (2, 1), (2, 2)] {
            let door = Door::open(any_port(), first, keys).unwrap();
            let address = door.address();
            let refused = Door::open(address, second, keys).unwrap_err();
            assert!(matches!(refused, DoorError::AddressInUse(taken) if taken == address));
            assert!(refused.to_string().contains(&address.to_string()));
            drop(door);
            assert_eq!(
                Door::open(address, second, keys).unwrap().address(),
                address
            );
        }
    }

    #[test]
    fn a_program_that_shares_its_port_is_refused_too() {
        let taken = member(any_port()).unwrap();
        let address = taken.local_addr().unwrap();
        for shards in [1, 2] {
            let refused = Door::open(address, shards, SteeringKeys::new(1, 1)).unwrap_err();
            assert!(matches!(refused, DoorError::AddressInUse(_)), "{refused}");
        }
    }

    #[test]
    fn servers_that_start_together_do_not_share_a_port() {
        let keys = SteeringKeys::new(1, 1);
        let free = UdpSocket::bind(any_port()).unwrap().local_addr().unwrap();
        for _ in 0..20 {
            let open = || Door::open(free, 2, keys);
            let doors = std::thread::scope(|threads| {
                let others: Vec<_> = (0..4).map(|_| threads.spawn(open)).collect();
                let ends = others.into_iter().map(|one| one.join().unwrap());
                ends.collect::<Vec<_>>()
            });
            let opened = doors.iter().filter(|door| door.is_ok()).count();
            // None, should a test beside this one have been given the port meanwhile.
            assert!(opened <= 1, "{opened} servers on one port");
        }
    }

    #[test]
    fn servers_that_take_any_port_never_share_one() {
        let keys = SteeringKeys::new(1, 1);
        let doors: Vec<_> = (0..50)
            .map(|n| Door::open(any_port(), 1 + n % 3, keys).unwrap())
            .collect();
        let ports: std::collections::BTreeSet<_> =
            doors.iter().map(|door| door.address().port()).collect();
        assert_eq!(ports.len(), doors.len());
    }

    #[test]
    fn without_steering_there_is_one_shard_which_gets_everything() {
        let door = Door::bind(any_port(), 4, |_| {
            Err(io::Error::from(io::ErrorKind::Unsupported))
        })
        .unwrap();
        assert_eq!(door.shards(), 1);
        assert!(door.waker(0).is_some() && door.waker(1).is_none());
        assert!(member(door.address()).is_err(), "nobody else may join");
        let client = UdpSocket::bind(any_port()).unwrap();
        for n in 0..20 {
            client.send_to(&[n; 64], door.address()).unwrap();
            // Loopback delivers within the system call that sends.
            let mut datagram = [0; 64];
            door.sockets()[0].recv(&mut datagram).unwrap();
            assert_eq!(datagram, [n; 64]);
        }
    }

    #[test]
    fn what_came_before_the_group_was_whole_is_thrown_away() {
        let client = UdpSocket::bind(any_port()).unwrap();
        let door = Door::bind(any_port(), 2, |first| {
            let address = first.local_addr()?;
            for _ in 0..100 {
                client.send_to(&[1; 64], address)?;
            }
            Ok(())
        })
        .unwrap();
        for socket in door.sockets() {
            let nothing = socket.recv(&mut [0; 64]).unwrap_err();
            assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
        }
    }

    #[test]
    fn an_address_of_somebody_else_is_refused() {
        let refused = Door::open("192.0.2.1:0".parse().unwrap(), 1, SteeringKeys::new(1, 1));
        assert!(matches!(refused, Err(DoorError::Bind { .. })));
    }
}
