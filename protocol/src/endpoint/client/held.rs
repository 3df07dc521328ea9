//! The session that a client holds, and the handshake that may take its place. They keep their times and send nothing.

use core::time::Duration;

use super::super::half_opens::HALF_OPEN_LIFE;
use super::attempt::Accepted;
use super::config::ClientConfig;
use crate::handshake::payload::ServerPayload;
use crate::{Monotonic, PacketKey, PeerId, Role, Session, SessionSetup};

/// A session with what its handshake said.
pub(super) struct Held<K: PacketKey> {
    pub(super) session: Session<K>,
    pub(super) server: PeerId,
    pub(super) number: u8,
    pub(super) live: [u8; 8],
    since: Monotonic,
    /// PINGs that hurried the first sign of life, and when the next is due.
    nudges: usize,
    next_nudge: Option<Monotonic>,
}

impl<K: PacketKey> Held<K> {
    /// The session of an accepted handshake.
    pub(super) fn new(
        now: Monotonic,
        config: &ClientConfig,
        accepted: &Accepted,
        skip_seed: u64,
    ) -> Self {
        let Accepted {
            server,
            secrets,
            answer,
            rtt,
        } = accepted;
        let setup = SessionSetup {
            role: Role::Client,
            local: config.keys.peer_id(),
            peer: *server,
            number: answer.session,
            seal: K::derive(&secrets.client_to_server),
            open: K::derive(&secrets.server_to_client),
            peer_max_message: answer.max_message,
            peer_max_ack_delay: Duration::from_millis(answer.max_ack_delay_ms.into()),
            max_ack_delay: config.max_ack_delay,
            idle_timeout: idle_timeout(answer),
            keepalive: keepalive(answer),
            away: config.away,
            handshake_rtt: *rtt,
            skip_seed,
        };
        Self {
            session: Session::new(setup, now),
            server: *server,
            number: answer.session,
            live: secrets.live(),
            since: now,
            nudges: 0,
            next_nudge: NUDGES.first().map(|pause| now.plus(*pause)),
        }
    }

    /// While the server was never heard: when it has certainly forgotten the handshake.
    pub(super) fn unconfirmed_until(&self) -> Option<Monotonic> {
        (self.session.last_heard() <= self.since).then(|| self.since.plus(HALF_OPEN_LIFE))
    }

    /// When [`Self::nudge`] wants to be called.
    pub(super) fn next_nudge(&self) -> Option<Monotonic> {
        self.next_nudge
    }

    /// The first datagram is all that makes a session of the server's handshake: it is repeated sooner than a probe would be, for an estimate of
    /// the round trip is missing.
    pub(super) fn nudge(&mut self, now: Monotonic) {
        if self.unconfirmed_until().is_none() {
            self.next_nudge = None;
        } else if self.next_nudge.is_some_and(|at| at <= now) {
            self.session.ping();
            self.nudges += 1;
            self.next_nudge = NUDGES.get(self.nudges).map(|pause| now.plus(*pause));
        }
    }
}

/// An accepted handshake whose server says that it still holds the session.
pub(super) struct Waiting {
    pub(super) accepted: Accepted,
    pub(super) since: Monotonic,
    next_ping: Monotonic,
}

impl Waiting {
    pub(super) const fn new(now: Monotonic, accepted: Accepted) -> Self {
        Self {
            accepted,
            since: now,
            next_ping: now,
        }
    }

    /// When the session has been silent for long enough.
    pub(super) const fn ends_at(&self) -> Monotonic {
        self.since.plus(LIVE_SILENCE)
    }

    pub(super) fn poll_timeout(&self) -> Monotonic {
        self.ends_at().min(self.next_ping)
    }

    /// Whether the session is to be asked for a sign of life now.
    pub(super) fn wants_ping(&mut self, now: Monotonic) -> bool {
        let due = self.next_ping <= now;
        if due {
            self.next_ping = now.plus(LIVE_PING_INTERVAL);
        }
        due
    }
}

/// A server that names no silence gets the default.
fn idle_timeout(answer: &ServerPayload) -> Duration {
    match answer.idle_timeout_s {
        0 => Duration::from_secs(15),
        seconds => Duration::from_secs(seconds.into()),
    }
}

fn keepalive(answer: &ServerPayload) -> Duration {
    match answer.keepalive_s {
        0 => idle_timeout(answer) / 3,
        seconds => Duration::from_secs(seconds.into()),
    }
}

/// How long a session that the server says it holds may still be silent.
const LIVE_SILENCE: Duration = Duration::from_secs(3);
/// How often it is asked for a sign of life meanwhile: on a bad network one or two are not enough.
const LIVE_PING_INTERVAL: Duration = Duration::from_millis(300);
/// The pauses between the first datagrams of a session.
const NUDGES: [Duration; 4] = [
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(1),
];
