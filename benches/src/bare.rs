//! The references: a UDP echo and a fan-out that do nothing else. They batch system calls as the server does, and know no encryption and no module.

use std::io::{IoSlice, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, SockaddrStorage, recvmmsg, sendmmsg};

use crate::cpu;

/// Datagrams of one system call, as many as the server takes.
const BATCH: usize = 64;
/// Room for one datagram.
const DATAGRAM: usize = 1_500;

/// A running echo.
#[derive(Debug)]
pub(crate) struct Echo {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    tid: i32,
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    /// Starts it on a free port of loopback, in a thread of its own.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        // It looks whether it should end as often as this.
        socket.set_read_timeout(Some(Duration::from_millis(20)))?;
        let address = socket.local_addr()?;
        let end = Arc::new(AtomicBool::new(false));
        let (tell, told) = std::sync::mpsc::channel();
        let ended = Arc::clone(&end);
        let thread = std::thread::Builder::new().name("bare-echo".into()).spawn(move || {
            drop(tell.send(nix::unistd::gettid().as_raw()));
            while !ended.load(Ordering::Relaxed) {
                turn(&socket);
            }
        })?;
        Ok(Self { address, tid: told.recv()?, end, thread: Some(thread) })
    }

    /// CPU that it has used, in nanoseconds.
    pub(crate) fn cpu_ns(&self) -> u64 {
        cpu::of_thread(self.tid)
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// One batch in, the same batch out; an empty one when nothing comes.
fn turn(socket: &UdpSocket) {
    let mut room = vec![[0_u8; DATAGRAM]; BATCH];
    let mut headers: MultiHeaders<SockaddrIn> = MultiHeaders::preallocate(BATCH, None);
    loop {
        let mut slices: Vec<[IoSliceMut<'_>; 1]> = room.iter_mut().map(|buffer| [IoSliceMut::new(buffer)]).collect();
        let Ok(received) = recvmmsg(socket.as_raw_fd(), &mut headers, slices.iter_mut(), MsgFlags::MSG_WAITFORONE, None) else { return };
        let arrived: Vec<(usize, Option<SockaddrIn>)> = received.map(|message| (message.bytes, message.address)).collect();
        drop(slices);
        if arrived.is_empty() {
            return;
        }
        let answers: Vec<[IoSlice<'_>; 1]> = arrived.iter().zip(&room).map(|((len, _), buffer)| [IoSlice::new(&buffer[..*len])]).collect();
        let addresses: Vec<Option<SockaddrIn>> = arrived.iter().map(|(_, address)| *address).collect();
        let mut out: MultiHeaders<SockaddrIn> = MultiHeaders::preallocate(answers.len(), None);
        // What the kernel does not take is lost, as on any network.
        drop(sendmmsg(socket.as_raw_fd(), &mut out, &answers, &addresses, [], MsgFlags::empty()).map(Iterator::count));
    }
}

/// Sends the same bytes to all of these, batch by batch; how many went out.
pub(crate) fn fan_out(socket: &UdpSocket, to: &[SocketAddr], bytes: &[u8]) -> usize {
    let mut sent = 0;
    for chunk in to.chunks(BATCH) {
        let slices: Vec<[IoSlice<'_>; 1]> = chunk.iter().map(|_| [IoSlice::new(bytes)]).collect();
        let addresses: Vec<Option<SockaddrStorage>> = chunk.iter().map(|address| Some(SockaddrStorage::from(*address))).collect();
        let mut headers: MultiHeaders<SockaddrStorage> = MultiHeaders::preallocate(chunk.len(), None);
        sent += sendmmsg(socket.as_raw_fd(), &mut headers, &slices, &addresses, [], MsgFlags::empty()).map_or(0, Iterator::count);
    }
    sent
}
