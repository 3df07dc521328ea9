//! From open to drained: silence, away and back, the two ways to close (PROTOCOL.md 5, 6.4, 6.6). It sends nothing itself.

use core::time::Duration;

use super::message::{Role, SessionEvent};
use super::{SendQueue, Session};
use crate::limits::{CLOSE_COUNT, CLOSE_INTERVAL, DEAF_MAX, LINGER_MAX};
use crate::wire::CloseCode;
use crate::{Monotonic, PacketKey};

/// Where a session is on its way.
#[derive(Debug)]
pub(super) enum Stage {
    Open,
    /// Closing as soon as all is acknowledged, or at `until`.
    Lingering {
        until: Monotonic,
        code: CloseCode,
        text: String,
    },
    /// CLOSE is sent `left` more times, next at `next`.
    Closing {
        left: u8,
        next: Monotonic,
        code: CloseCode,
        text: String,
    },
    Drained,
}

/// The stage and the silences.
#[derive(Debug)]
pub(super) struct Life {
    stage: Stage,
    idle_timeout: Duration,
    keepalive: Duration,
    away_max: Duration,
    last_heard: Monotonic,
    last_sent: Monotonic,
    /// When messages last came or went.
    last_busy: Monotonic,
    /// The peer was heard at least once.
    alive: bool,
    away_since: Option<Monotonic>,
    /// When the peer was heard after a silence: what it did not acknowledge during it is no fault.
    heard_again: Monotonic,
}

impl Life {
    pub(super) const fn new(
        now: Monotonic,
        idle_timeout: Duration,
        keepalive: Duration,
        away_max: Duration,
    ) -> Self {
        Self {
            stage: Stage::Open,
            idle_timeout,
            keepalive,
            away_max,
            last_heard: now,
            last_sent: now,
            last_busy: now,
            alive: false,
            away_since: None,
            heard_again: now,
        }
    }

    pub(super) const fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open)
    }

    pub(super) const fn is_closed(&self) -> bool {
        matches!(self.stage, Stage::Closing { .. } | Stage::Drained)
    }

    pub(super) const fn is_drained(&self) -> bool {
        matches!(self.stage, Stage::Drained)
    }

    pub(super) const fn is_away(&self) -> bool {
        self.away_since.is_some()
    }

    pub(super) const fn last_heard(&self) -> Monotonic {
        self.last_heard
    }

    pub(super) const fn sent(&mut self, now: Monotonic) {
        self.last_sent = now;
    }

    pub(super) const fn busy(&mut self, now: Monotonic) {
        self.last_busy = now;
    }

    /// The CLOSE to send now; afterwards [`Self::close_sent`].
    pub(super) fn close_due(&self, now: Monotonic) -> Option<(CloseCode, &str)> {
        match &self.stage {
            Stage::Closing {
                next, code, text, ..
            } if *next <= now => Some((*code, text)),
            Stage::Open | Stage::Lingering { .. } | Stage::Closing { .. } | Stage::Drained => None,
        }
    }

    /// The last of three CLOSE ends the session.
    pub(super) fn close_sent(&mut self, now: Monotonic) {
        if let Stage::Closing { left, next, .. } = &mut self.stage {
            *left = left.saturating_sub(1);
            *next = now.plus(CLOSE_INTERVAL);
            if *left == 0 {
                self.stage = Stage::Drained;
            }
        }
    }
}

impl<K: PacketKey> Session<K> {
    /// Ends the session gracefully: nothing more can be sent, and CLOSE leaves when all that was sent is acknowledged, at the latest after 1 s.
    /// Text beyond 64 bytes is left out. Nothing happens in a session that is ending already.
    pub fn close(&mut self, now: Monotonic, code: CloseCode, text: &str) {
        if !self.life.is_open() {
            return;
        }
        if self.queue.is_empty() {
            self.close_now(now, code, text);
            return;
        }
        self.life.stage = Stage::Lingering {
            until: now.plus(LINGER_MAX),
            code,
            text: text.to_owned(),
        };
    }

    /// Ends the session at once: what waits is dropped, CLOSE leaves three times within 100 ms. Nothing happens in one that has ended.
    pub fn close_now(&mut self, now: Monotonic, code: CloseCode, text: &str) {
        if self.life.is_closed() {
            return;
        }
        self.life.stage = Stage::Closing {
            left: CLOSE_COUNT,
            next: now,
            code,
            text: text.to_owned(),
        };
        self.end(false, code, text.to_owned());
    }

    /// When [`Self::handle_timeout`], or [`Self::poll_transmit`] for what waited for its time, wants to be called; a moment that has passed means
    /// at once. None in a drained session.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Monotonic> {
        let life = &self.life;
        let mut next = match (&life.stage, life.away_since) {
            (Stage::Drained, _) => return None,
            (Stage::Closing { next, .. }, _) => return Some(*next),
            (Stage::Open | Stage::Lingering { .. }, Some(since)) => since.plus(life.away_max),
            (Stage::Open | Stage::Lingering { .. }, None) => {
                life.last_heard.plus(life.idle_timeout)
            }
        };
        if let Stage::Lingering { until, .. } = &life.stage {
            next = next.min(*until);
        }
        if let Some(at) = self.arrivals.due_at() {
            next = next.min(at);
        }
        if let Some(at) = self.recovery.poll_timeout(self.is_probing()) {
            next = next.min(at);
        }
        if let Some(at) = self.keepalive_at() {
            next = next.min(at);
        }
        Some(next)
    }

    /// Does what time brings: losses, probes, PING, away, the end. Early calls do no harm.
    pub fn handle_timeout(&mut self, now: Monotonic) {
        if self.life.is_closed() {
            return;
        }
        if self.recovery.handle_timeout(now, self.is_probing()) {
            self.detect_losses(now);
        }
        if self.keepalive_at().is_some_and(|at| at <= now) {
            self.ping_due = true;
            self.rest_if_quiet(now);
        }
        match self.life.away_since {
            None if self.life.last_heard.plus(self.life.idle_timeout) <= now => {
                self.life.away_since = Some(now);
                self.queue.drop_loose();
                self.rest();
                self.events.push_back((0, SessionEvent::Away));
            }
            Some(since) if since.plus(self.life.away_max) <= now => {
                self.life.stage = Stage::Drained;
                self.end(false, CloseCode::IDLE, String::new());
                return;
            }
            None | Some(_) => {}
        }
        self.finish_lingering(now);
    }

    /// A datagram of the peer opened and was read whole.
    pub(super) fn heard(&mut self, now: Monotonic) {
        let life = &mut self.life;
        let silence = now.since(life.last_heard);
        life.last_heard = now;
        if !life.alive {
            life.alive = true;
            let rtt = self.recovery.rtt();
            self.events.push_back((0, SessionEvent::Alive { rtt }));
        }
        if life.away_since.take().is_some() {
            life.heard_again = now;
            self.recovery.restart();
            self.events.push_back((0, SessionEvent::Back));
        } else if silence > life.keepalive + Duration::from_secs(1) {
            // Longer than any keep-alive: the network was silent, not the peer deaf.
            life.heard_again = now;
        }
    }

    /// Closes on a peer that is heard but acknowledges nothing.
    pub(super) fn check_deaf(&mut self, now: Monotonic) {
        let deaf = self
            .recovery
            .oldest_at()
            .is_some_and(|oldest| now.since(oldest.max(self.life.heard_again)) >= DEAF_MAX);
        if deaf {
            self.close_now(now, CloseCode::INTERNAL, "nothing is acknowledged");
        }
    }

    /// The peer said CLOSE: it is never answered.
    pub(super) fn closed_by_peer(&mut self, code: CloseCode, text: &str) {
        self.life.stage = Stage::Drained;
        self.end(true, code, text.to_owned());
    }

    /// Closes when a graceful close has nothing left to wait for, or has waited long enough.
    pub(super) fn finish_lingering(&mut self, now: Monotonic) {
        if let Stage::Lingering { until, code, text } = &mut self.life.stage
            && (*until <= now || self.queue.is_empty() && self.recovery.in_flight() == 0)
        {
            let (code, text) = (*code, core::mem::take(text));
            self.close_now(now, code, &text);
        }
    }

    /// Gives memory back when nothing has moved for a second.
    pub(super) fn rest_if_quiet(&mut self, now: Monotonic) {
        if now.since(self.life.last_busy) >= Duration::from_secs(1) {
            self.life.last_busy = now;
            self.rest();
        }
    }

    /// A server does not probe a client that is away: its PING will tell that it is back. The client goes on, for the same reason.
    const fn is_probing(&self) -> bool {
        !(self.life.is_away() && matches!(self.role, Role::Server))
    }

    fn keepalive_at(&self) -> Option<Monotonic> {
        let waits = self.role == Role::Client && !self.ping_due;
        waits.then(|| self.life.last_sent.plus(self.life.keepalive))
    }

    fn end(&mut self, by_peer: bool, code: CloseCode, text: String) {
        // All memory but that of what happened before goes at once: a closing session only repeats its CLOSE.
        self.queue = SendQueue::new(0);
        self.spaces = super::ReceiveSpaces::new();
        self.window_due = false;
        self.ping_due = false;
        let closed = SessionEvent::Closed {
            by_peer,
            code,
            text,
        };
        self.events.push_back((0, closed));
    }
}
