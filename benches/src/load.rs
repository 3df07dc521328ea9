//! The generator: many clients in one thread, each with so many requests under way. The same loop drives the bare echo and a real server, so that the
//! two differ in what is measured and in nothing else.

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

/// What came of a run.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    /// Requests that were answered.
    pub(crate) operations: u64,
    /// Requests that were refused.
    pub(crate) refused: u64,
    /// How long it ran.
    pub(crate) elapsed: Duration,
    /// Time from request to answer in nanoseconds.
    pub(crate) latency: Histogram<u64>,
    /// The longest time in which no answer came to anybody.
    pub(crate) longest_gap: Duration,
}

impl Load {
    /// Answers per second.
    pub(crate) fn rate(&self) -> f64 {
        self.operations as f64 / self.elapsed.as_secs_f64()
    }

    /// A quantile of the latency in microseconds.
    pub(crate) fn quantile_us(&self, quantile: f64) -> f64 {
        self.latency.value_at_quantile(quantile) as f64 / 1_000.0
    }
}

/// One client of the generator.
pub(crate) trait Peer {
    /// Takes a datagram; each answer in it is told to `answered` with the moment at which it was asked, and whether it was OK.
    fn receive(&mut self, now: Instant, datagram: &mut [u8], answered: &mut dyn FnMut(Instant, bool));
    /// Gives the next datagram to send.
    fn transmit(&mut self, now: Instant, out: &mut Vec<u8>) -> bool;
    /// Lets timers run.
    fn tick(&mut self, now: Instant);
    /// Begins to ask.
    fn start(&mut self, now: Instant);
    /// Whether it is ready to ask.
    fn ready(&self) -> bool;
}

struct Seat<P> {
    peer: P,
    socket: UdpSocket,
}

/// Clients on sockets of their own.
pub(crate) struct Crowd<P> {
    seats: Vec<Seat<P>>,
    epoll: Epoll,
    room: Vec<u8>,
    out: Vec<u8>,
}

impl<P: Peer> Crowd<P> {
    /// Gives each peer a socket that is connected to the server.
    pub(crate) fn new(server: SocketAddr, peers: impl IntoIterator<Item = P>) -> anyhow::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::empty())?;
        let mut seats = Vec::new();
        for peer in peers {
            let socket = UdpSocket::bind("127.0.0.1:0")?;
            socket.connect(server)?;
            socket.set_nonblocking(true)?;
            epoll.add(borrowed(&socket), EpollEvent::new(EpollFlags::EPOLLIN, seats.len() as u64))?;
            seats.push(Seat { peer, socket });
        }
        Ok(Self { seats, epoll, room: vec![0; 2_048], out: Vec::with_capacity(2_048) })
    }

    /// The local addresses.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.seats.iter().filter_map(|seat| seat.socket.local_addr().ok()).collect()
    }

    /// The peers.
    pub(crate) fn peers(&mut self) -> impl Iterator<Item = &mut P> {
        self.seats.iter_mut().map(|seat| &mut seat.peer)
    }

    /// Runs until everybody is ready to ask.
    pub(crate) fn gather(&mut self, patience: Duration) -> anyhow::Result<()> {
        let began = Instant::now();
        while !self.seats.iter().all(|seat| seat.peer.ready()) {
            anyhow::ensure!(began.elapsed() < patience, "the clients of the benchmark could not connect within {patience:?}");
            self.flush_all();
            self.turn(&mut |_, _| {});
        }
        Ok(())
    }

    /// Lets everybody ask for this long, after a warm-up whose answers do not count. `watch` is called at the begin and the end of what counts.
    pub(crate) fn run(&mut self, warm_up: Duration, time: Duration, mut watch: impl FnMut()) -> Load {
        let now = Instant::now();
        for seat in &mut self.seats {
            seat.peer.start(now);
        }
        self.flush_all();
        self.until(Instant::now() + warm_up, &mut |_, _| {});
        watch();
        let began = Instant::now();
        let mut load = Load {
            operations: 0,
            refused: 0,
            elapsed: time,
            // From 0.1 µs to 10 s, to three digits: these bounds are constants, so they are valid.
            latency: Histogram::new_with_bounds(100, 10_000_000_000, 3).expect("invariant: constant bounds"),
            longest_gap: Duration::ZERO,
        };
        let mut last = began;
        self.until(began + time, &mut |asked, ok| {
            let now = Instant::now();
            load.longest_gap = load.longest_gap.max(now - last);
            last = now;
            if ok {
                load.operations += 1;
            } else {
                load.refused += 1;
            }
            load.latency.saturating_record(u64::try_from((now - asked).as_nanos()).unwrap_or(u64::MAX));
        });
        load.elapsed = began.elapsed();
        watch();
        load
    }

    /// Takes turns until this moment.
    pub(crate) fn until(&mut self, end: Instant, answered: &mut dyn FnMut(Instant, bool)) {
        while Instant::now() < end {
            self.turn(answered);
        }
    }

    fn turn(&mut self, answered: &mut dyn FnMut(Instant, bool)) {
        let mut events = [EpollEvent::empty(); 64];
        // Timers of the wire are milliseconds; a look each millisecond is exact enough.
        let ready = self.epoll.wait(&mut events, EpollTimeout::from(1_u8)).unwrap_or(0);
        if ready == 0 {
            let now = Instant::now();
            for seat in &mut self.seats {
                seat.peer.tick(now);
                flush(seat, &mut self.out);
            }
        }
        for event in &events[..ready] {
            let Some(seat) = self.seats.get_mut(event.data() as usize) else { continue };
            for _ in 0..64 {
                let Ok(len) = seat.socket.recv(&mut self.room) else { break };
                seat.peer.receive(Instant::now(), &mut self.room[..len], answered);
            }
            flush(seat, &mut self.out);
        }
    }

    /// Sends what everybody has to send.
    pub(crate) fn flush_all(&mut self) {
        for seat in &mut self.seats {
            flush(seat, &mut self.out);
        }
    }
}

fn flush<P: Peer>(seat: &mut Seat<P>, out: &mut Vec<u8>) {
    let now = Instant::now();
    loop {
        out.clear();
        if !seat.peer.transmit(now, out) {
            return;
        }
        // A full buffer loses a datagram, as a network would; the wire repeats what must arrive.
        drop(seat.socket.send(out));
    }
}

fn borrowed(socket: &UdpSocket) -> BorrowedFd<'_> {
    socket.as_fd()
}
