//! The generator: many clients in one thread, each with so many requests under way. The same loop drives the bare echo and a real server, so that the
//! two differ in what is measured and in nothing else.

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use hdrhistogram::Histogram;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

/// Clients that connect at the same time: what a server's socket buffer holds of their first datagrams.
const CONNECTING_MAX: usize = 32;
/// Datagrams that one client takes before the others have their turn.
const RECEIVED_MAX: usize = 64;
/// The timers of the wire are milliseconds; looks at this distance are exact enough and cost a thousand clients little.
const TICK: Duration = Duration::from_millis(4);

/// An answer that came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    /// When its request left.
    pub(crate) asked: Instant,
    /// When it came.
    pub(crate) at: Instant,
    /// Whether it was OK.
    pub(crate) ok: bool,
}

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
    fn new() -> Self {
        Self {
            operations: 0,
            refused: 0,
            elapsed: Duration::ZERO,
            // From 0.1 µs to 10 s, to three digits.
            latency: Histogram::new_with_bounds(100, 10_000_000_000, 3)
                .expect("invariant: these constants are valid bounds"),
            longest_gap: Duration::ZERO,
        }
    }

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
    /// Begins to connect.
    fn connect(&mut self, now: Instant);
    /// Whether it is ready to ask.
    fn ready(&self) -> bool;
    /// Begins to ask; it goes on by itself, and a second call changes nothing.
    fn start(&mut self, now: Instant);
    /// Takes a datagram and tells each answer in it.
    fn receive(&mut self, now: Instant, datagram: &mut [u8], answered: &mut dyn FnMut(Answer));
    /// Appends datagrams to send, and says how long each but the last of them is.
    fn transmit(&mut self, now: Instant, out: &mut Vec<u8>) -> Option<usize>;
    /// Lets timers run.
    fn tick(&mut self, now: Instant);
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
    ticked: Instant,
}

impl<P: Peer> Crowd<P> {
    /// Gives each peer a socket that is connected to the server.
    pub(crate) fn new(
        server: SocketAddr,
        peers: impl IntoIterator<Item = P>,
    ) -> anyhow::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::empty())?;
        let mut seats = Vec::new();
        for peer in peers {
            let socket = UdpSocket::bind("127.0.0.1:0")
                .with_context(|| format!("client {} gets no socket", seats.len()))?;
            socket.connect(server)?;
            socket.set_nonblocking(true)?;
            let number = seats.len() as u64;
            epoll.add(socket.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, number))?;
            seats.push(Seat { peer, socket });
        }
        Ok(Self {
            seats,
            epoll,
            room: vec![0; 2_048],
            out: Vec::with_capacity(2_048),
            ticked: Instant::now(),
        })
    }

    /// The local addresses.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.seats
            .iter()
            .filter_map(|seat| seat.socket.local_addr().ok())
            .collect()
    }

    /// The peers.
    pub(crate) fn peers(&mut self) -> impl Iterator<Item = &mut P> {
        self.seats.iter_mut().map(|seat| &mut seat.peer)
    }

    /// Runs until everybody is ready to ask. They connect a few at a time.
    pub(crate) fn gather(&mut self, patience: Duration) -> anyhow::Result<()> {
        let end = Instant::now() + patience;
        let (mut begun, mut ready) = (0, 0);
        while ready < self.seats.len() {
            anyhow::ensure!(
                Instant::now() < end,
                "{ready} of {} clients could connect within {patience:?}",
                self.seats.len()
            );
            while begun < self.seats.len().min(ready + CONNECTING_MAX) {
                let seat = &mut self.seats[begun];
                seat.peer.connect(Instant::now());
                flush(seat, &mut self.out);
                begun += 1;
            }
            self.turn(&mut |_| {});
            ready = self.seats[..begun]
                .iter()
                .filter(|seat| seat.peer.ready())
                .count();
        }
        Ok(())
    }

    /// Lets everybody ask for this long, after a warm-up whose answers do not count. `watch` is called at the begin and the end of what counts.
    pub(crate) fn run(
        &mut self,
        warm_up: Duration,
        time: Duration,
        mut watch: impl FnMut(),
    ) -> Load {
        let now = Instant::now();
        for seat in &mut self.seats {
            seat.peer.start(now);
        }
        self.flush_all();
        self.until(Instant::now() + warm_up, &mut |_| {});
        watch();
        let began = Instant::now();
        let mut load = Load::new();
        let mut last = began;
        self.until(began + time, &mut |answer| {
            load.longest_gap = load
                .longest_gap
                .max(answer.at.saturating_duration_since(last));
            last = answer.at;
            if answer.ok {
                load.operations += 1;
            } else {
                load.refused += 1;
            }
            let latency = answer.at.saturating_duration_since(answer.asked).as_nanos();
            load.latency
                .saturating_record(u64::try_from(latency).unwrap_or(u64::MAX));
        });
        load.elapsed = began.elapsed();
        load.longest_gap = load.longest_gap.max(last.elapsed());
        watch();
        load
    }

    /// Takes turns until this moment.
    pub(crate) fn until(&mut self, end: Instant, answered: &mut dyn FnMut(Answer)) {
        while Instant::now() < end {
            self.turn(answered);
        }
    }

    /// Waits at most a millisecond for something, and handles it.
    pub(crate) fn turn(&mut self, answered: &mut dyn FnMut(Answer)) {
        let mut events = [EpollEvent::empty(); 64];
        let ready = self
            .epoll
            .wait(&mut events, EpollTimeout::from(1_u8))
            .unwrap_or(0);
        for event in events.iter().take(ready) {
            let seat = usize::try_from(event.data())
                .ok()
                .and_then(|number| self.seats.get_mut(number));
            let Some(seat) = seat else { continue };
            for _ in 0..RECEIVED_MAX {
                let Ok(len) = seat.socket.recv(&mut self.room) else {
                    break;
                };
                seat.peer
                    .receive(Instant::now(), &mut self.room[..len], answered);
            }
            flush(seat, &mut self.out);
        }
        let now = Instant::now();
        if now.duration_since(self.ticked) >= TICK {
            self.ticked = now;
            for seat in &mut self.seats {
                seat.peer.tick(now);
                flush(seat, &mut self.out);
            }
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
        let Some(segment) = seat.peer.transmit(now, out) else {
            return;
        };
        for datagram in out.chunks(segment.max(1)) {
            // A full buffer loses a datagram, as a network would; the wire repeats what must arrive.
            drop(seat.socket.send(datagram));
        }
    }
}
