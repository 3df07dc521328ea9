//! The task behind a client: it owns the socket, carries datagrams and time between it and the endpoint, and comes back after a loss. It
//! knows nothing of operations.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use cohnect_protocol::{DATAGRAM_LEN_MAX, Monotonic, Transmit};
use tokio::net::UdpSocket;
use tokio::time::{Instant, Sleep};

use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::connection::{Change, Connection, Phase, TRANSMITS_PER_TURN};
use crate::entropy::fraction;
use crate::incoming::{Ending, Event};

/// Datagrams taken from the socket in one turn, so that their acknowledgements share one and nobody waits long for the lock.
const RECEIVED_PER_TURN: usize = 32;
/// One byte more than a datagram may have, so that one that is too long is seen to be.
const RECEIVE_LEN: usize = DATAGRAM_LEN_MAX + 1;
/// PROTOCOL.md 3.5.
const BACKOFF_FIRST: Duration = Duration::from_millis(500);
const BACKOFF_LONGEST: Duration = Duration::from_secs(30);
/// A session that lived so long was a success, and the pauses begin anew.
const STEADY: Duration = Duration::from_secs(10);
/// A goodbye that takes longer than a graceful close may take is given up.
const GOODBYE_MAX: Duration = Duration::from_secs(2);

pub(crate) struct Driver {
    pub(crate) connection: Arc<Connection>,
    pub(crate) socket: UdpSocket,
    pub(crate) clock: Clock,
    pub(crate) server: SocketAddr,
    pub(crate) bind: Option<SocketAddr>,
    pub(crate) reconnect: bool,
    /// Until when the first connection is tried for.
    pub(crate) patience_ends: Monotonic,
}

/// Where the driver stands between two turns.
struct Standing {
    backoff: Backoff,
    /// When the next attempt begins, if none is under way.
    retry_at: Option<Monotonic>,
    /// When the last session began; none when there has never been one.
    connected_at: Option<Monotonic>,
    /// When a goodbye is given up.
    goodbye_ends: Option<Monotonic>,
}

/// A socket for one server. It is connected, so that the kernel drops what comes from elsewhere and reports what it hears of unreachability.
pub(crate) async fn socket(server: SocketAddr, bind: Option<SocketAddr>) -> io::Result<UdpSocket> {
    let any = match server {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(bind.unwrap_or(any)).await?;
    socket.connect(server).await?;
    Ok(socket)
}

impl Driver {
    /// Runs until the client has left or its end was final.
    pub(crate) async fn run(mut self) {
        let mut standing = Standing {
            backoff: Backoff::new(BACKOFF_FIRST, BACKOFF_LONGEST),
            retry_at: None,
            connected_at: None,
            goodbye_ends: None,
        };
        let mut received = Box::new([0; RECEIVE_LEN]);
        let mut out = Vec::new();
        let mut transmits = Vec::new();
        let mut changes = Vec::new();
        let mut timer = Timer::new();
        self.connection
            .with_endpoint(|endpoint, now| endpoint.connect(now));
        loop {
            let due = self.connection.turn(&mut out, &mut transmits, &mut changes);
            // What was sent may have made room for more.
            let more = transmits.len() >= TRANSMITS_PER_TURN;
            self.send(&mut out, &mut transmits).await;
            for change in changes.drain(..) {
                if let Some(ending) = self.handle(&mut standing, change) {
                    self.finish(&mut out, &mut transmits, ending).await;
                    return;
                }
            }
            if let Some(ending) = self.leave(&mut standing) {
                self.connection.end(ending);
                return;
            }
            if self.retry(&mut standing).await || more {
                continue;
            }
            let next = [due, standing.retry_at, standing.goodbye_ends]
                .into_iter()
                .flatten()
                .min();
            timer.arm(next.map(|at| self.clock.instant(at).into()));
            tokio::select! {
                biased;
                ready = self.socket.readable() => self.receive(ready, &mut received[..]),
                () = self.connection.wake.notified() => {}
                () = timer.fired() => {}
            }
        }
    }

    fn receive(&self, ready: io::Result<()>, received: &mut [u8]) {
        if ready.is_err() {
            return;
        }
        let mut left = RECEIVED_PER_TURN;
        self.connection.receive(self.server, received, |buffer| {
            left = left.checked_sub(1)?;
            match self.socket.try_recv(buffer) {
                Ok(len) => Some(len),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
                // What the network reports of unreachability is a hint and ends nothing (PROTOCOL.md 7).
                Err(_) => Some(0),
            }
        });
    }

    async fn send(&self, out: &mut Vec<u8>, transmits: &mut Vec<Transmit>) {
        let mut rest = out.as_slice();
        for transmit in transmits.drain(..) {
            let Some((appended, after)) = rest.split_at_checked(transmit.len) else {
                break;
            };
            rest = after;
            for datagram in transmit.datagrams(appended) {
                // A datagram that the socket refuses is lost like any other, and repeated like any other.
                let sent = self.socket.try_send(datagram);
                if sent.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
                    let _ = self.socket.send(datagram).await;
                }
            }
        }
        out.clear();
        // Thousands of clients in one process each keep what an ordinary turn needs, not what the busiest needed.
        out.shrink_to(4 * DATAGRAM_LEN_MAX);
    }

    /// Acts upon what the endpoint told; returns how the client ended, if it did.
    fn handle(&self, standing: &mut Standing, change: Change) -> Option<Ending> {
        match change {
            Change::Connected { server_time_ms } => {
                if standing.connected_at.is_some() {
                    self.connection.tell(Event::Connected { server_time_ms });
                }
                standing.connected_at = Some(self.clock.now().monotonic);
                // A session that took another's place needs no attempt, and above all no other socket.
                standing.retry_at = None;
                self.connection.phase.send_replace(Phase::Connected);
                None
            }
            Change::Ended(ending) => {
                let again = ending.allows_return()
                    && if standing.connected_at.is_some() {
                        self.reconnect
                    } else {
                        self.clock.now().monotonic < self.patience_ends
                    };
                if !again {
                    return Some(ending);
                }
                let lost = *self.connection.phase.borrow() == Phase::Connected;
                if lost {
                    self.connection.phase.send_replace(Phase::Connecting);
                    self.connection.tell(Event::Disconnected(ending));
                }
                let now = self.clock.now().monotonic;
                let steady = standing
                    .connected_at
                    .is_some_and(|at| now.since(at) >= STEADY);
                // A server that ends each session at once must not be asked ever so often.
                if lost && steady {
                    standing.backoff.reset();
                }
                let pause = standing.backoff.next(fraction());
                standing.retry_at = Some(now.plus(pause));
                None
            }
        }
    }

    /// Begins the next attempt when its time has come, from a fresh socket: the network may be another one now.
    async fn retry(&mut self, standing: &mut Standing) -> bool {
        let due = standing
            .retry_at
            .is_some_and(|at| at <= self.clock.now().monotonic);
        if !due {
            return false;
        }
        standing.retry_at = None;
        if let Ok(fresh) = socket(self.server, self.bind).await {
            self.socket = fresh;
        }
        self.connection
            .with_endpoint(|endpoint, now| endpoint.connect(now));
        true
    }

    /// How the client ended, once its handles are gone and everything is said.
    fn leave(&self, standing: &mut Standing) -> Option<Ending> {
        if !self.connection.is_leaving() {
            return None;
        }
        let now = self.clock.now().monotonic;
        let ends = *standing
            .goodbye_ends
            .get_or_insert_with(|| now.plus(GOODBYE_MAX));
        standing.retry_at = None;
        (self.connection.is_idle() || ends <= now).then_some(Ending::Left)
    }

    /// Tells everybody of the end, then says what is left to say.
    async fn finish(&self, out: &mut Vec<u8>, transmits: &mut Vec<Transmit>, ending: Ending) {
        self.connection.end(ending);
        // Where no new session is wanted, one that took the old one's place is told so.
        self.connection.leave();
        let ends = self.clock.now().monotonic.plus(GOODBYE_MAX);
        loop {
            let mut changes = Vec::new();
            let due = self.connection.turn(out, transmits, &mut changes);
            self.send(out, transmits).await;
            let now = self.clock.now().monotonic;
            if self.connection.is_idle() || ends <= now {
                return;
            }
            let next = due.map_or(ends, |at| at.min(ends));
            tokio::time::sleep_until(self.clock.instant(next).into()).await;
        }
    }
}

/// A timer that is moved only when it has to fire earlier: most deadlines move away before they are reached.
struct Timer {
    sleep: std::pin::Pin<Box<Sleep>>,
    armed: bool,
}

impl Timer {
    fn new() -> Self {
        Self {
            sleep: Box::pin(tokio::time::sleep_until(Instant::now())),
            armed: false,
        }
    }

    fn arm(&mut self, at: Option<Instant>) {
        let Some(at) = at else {
            // It may fire once for nothing, which costs a turn.
            return;
        };
        if !self.armed || at < self.sleep.deadline() {
            self.sleep.as_mut().reset(at);
            self.armed = true;
        }
    }

    async fn fired(&mut self) {
        if self.armed {
            self.sleep.as_mut().await;
            self.armed = false;
        } else {
            std::future::pending::<()>().await;
        }
    }
}
