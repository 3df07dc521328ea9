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

/// Why a server has no door.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// Somebody else listens there, perhaps another server of this kind.
    #[error("the address {0} is already in use")]
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
        probe(address)?;
        let refused = |error| refusal(address, error);
        let first = member(address).map_err(refused)?;
        // With port 0 the first socket chooses, and the others join it.
        let address = first
            .local_addr()
            .map_err(|error| DoorError::Bind { address, error })?;
        let mut sockets = vec![first];
        for _ in 1..shards.max(1) {
            sockets.push(member(address).map_err(refused)?);
        }
        if shards > 1
            && let Some(first) = sockets.first()
            && let Err(error) = steering::attach(first, keys, shards)
        {
            tracing::warn!(%error, "the system does not steer datagrams to shards; there will be one shard");
            // The others leave the group before anything has come.
            sockets.truncate(1);
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

/// Binds a plain socket to the address and closes it: members of a group would share the port with another server's, half of the datagrams each.
fn probe(address: SocketAddr) -> Result<(), DoorError> {
    UdpSocket::bind(address)
        .map(drop)
        .map_err(|error| refusal(address, error))
}

fn member(address: SocketAddr) -> nix::Result<UdpSocket> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    };
    let flags = SockFlag::SOCK_CLOEXEC;
    let fd = socket(family, SockType::Datagram, flags, None)?;
    setsockopt(&fd, sockopt::ReusePort, &true)?;
    // The system caps what it gives; a smaller buffer is no reason to refuse.
    setsockopt(&fd, sockopt::RcvBuf, &BUFFER_BYTES).ok();
    setsockopt(&fd, sockopt::SndBuf, &BUFFER_BYTES).ok();
    bind(fd.as_raw_fd(), &SockaddrStorage::from(address))?;
    Ok(UdpSocket::from(fd))
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

    #[test]
    fn a_taken_address_is_refused_by_its_name() {
        let keys = SteeringKeys::new(1, 1);
        let door = Door::open("127.0.0.1:0".parse().unwrap(), 2, keys).unwrap();
        let refused = Door::open(door.address(), 2, keys).unwrap_err();
        assert!(matches!(refused, DoorError::AddressInUse(address) if address == door.address()));
        assert!(refused.to_string().contains(&door.address().to_string()));
    }

    #[test]
    fn an_address_of_somebody_else_is_refused() {
        let refused = Door::open("192.0.2.1:0".parse().unwrap(), 1, SteeringKeys::new(1, 1));
        assert!(matches!(refused, Err(DoorError::Bind { .. })));
    }
}
