//! One shard's thread: receive, turn, send, and sleep when there is nothing to do. What the shard does with it is the engine's.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use cohnect_engine::{Shard, ShardCounters};
use cohnect_protocol::{Counters, Monotonic, Now};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::Clock;
use crate::receive::{BATCH_MAX, Receiver};
use crate::send::{Left, Sender};
use crate::waker::EventWaker;

/// The longest sleep: a bound on how late a missed wake-up would be noticed, and how old a report may be.
const SLEEP_MAX_US: u64 = 1_000_000;
/// The shortest sleep before a full socket: what is due meanwhile may have to be sent itself, so that looking again at once would only spin.
const FULL_SLEEP_MIN_US: u64 = 1_000;
/// How often a busy shard reports.
const REPORT_EVERY_US: u64 = 1_000_000;
/// Turns between two looks at the socket while there is work: a turn is at most 64 calls or a tick, so this is some hundred microseconds of them.
const TURNS_PER_LOOK: usize = 4;

/// What a shard's sockets have counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetCounters {
    /// Datagrams that were sent.
    pub sent: u64,
    /// Datagrams that the system did not take, at the end those that it had not taken yet, too.
    pub dropped: u64,
    /// Times that reading the socket failed.
    pub failures: u64,
}

/// What a shard has counted, as of at most a second ago.
#[derive(Clone, Debug)]
pub struct Report {
    /// Of the shard.
    pub shard: ShardCounters,
    /// Of its endpoint: what came, and why some of it was dropped.
    pub endpoint: Counters,
    /// Of its socket.
    pub net: NetCounters,
}

/// What a shard's thread and its owner share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// How far the server is on its way out.
    pub(crate) phase: AtomicU8,
    /// How far the shard itself is: it has done what the phase asks for, and handed over what comes of it.
    pub(crate) reached: AtomicU8,
    pub(crate) sessions: AtomicUsize,
    pub(crate) report: Mutex<Option<Report>>,
}

/// The phases of a server's life, each further than the one before.
pub(crate) mod phase {
    /// Clients come and go.
    pub(crate) const OPEN: u8 = 0;
    /// New clients are sent elsewhere.
    pub(crate) const DRAINING: u8 = 1;
    /// Everybody is told goodbye.
    pub(crate) const CLOSING: u8 = 2;
    /// The thread ends.
    pub(crate) const STOPPED: u8 = 3;
}

pub(crate) struct Driver {
    pub(crate) shard: Shard,
    pub(crate) socket: UdpSocket,
    pub(crate) waker: Arc<EventWaker>,
    pub(crate) clock: Clock,
    pub(crate) shared: Arc<Shared>,
    pub(crate) receiver: Receiver,
    pub(crate) sender: Sender,
    pub(crate) counters: NetCounters,
}

impl Driver {
    /// Drives the shard until its owner stops it.
    pub(crate) fn run(mut self) {
        let mut phase = phase::OPEN;
        let mut report_due = 0;
        loop {
            let received = self.receive();
            let mut now = self.clock.now();
            let wanted = self.shared.phase.load(Ordering::Acquire);
            if wanted > phase {
                phase = wanted;
                self.change_phase(now, phase);
            }
            self.do_what_is_due(now);
            let mut left = Left::Nothing;
            for _ in 0..TURNS_PER_LOOK {
                self.shard.turn(now);
                // Before anybody hears of it, so that whoever does finds it counted.
                self.count_sessions();
                left = self.send(now);
                if left != Left::Nothing || !self.shard.has_work() {
                    break;
                }
                now = self.clock.now();
            }
            self.count_sessions();
            self.shared.reached.store(phase, Ordering::Release);
            let sleeping = received < BATCH_MAX && left != Left::More && !self.shard.has_work();
            if now.monotonic.0 >= report_due || (sleeping && phase >= phase::CLOSING) {
                report_due = now.monotonic.0 + REPORT_EVERY_US;
                self.report();
            }
            if phase >= phase::STOPPED {
                self.give_up(now);
                return;
            }
            if sleeping {
                self.sleep(left == Left::Full);
            }
        }
    }

    fn count_sessions(&self) {
        let sessions = self.shard.sessions();
        self.shared.sessions.store(sessions, Ordering::Release);
    }

    fn receive(&mut self) -> usize {
        // One `now` for the whole batch; most looks find nothing or little.
        let now = self.clock.now();
        let (shard, receiver) = (&mut self.shard, &mut self.receiver);
        let received = receiver.receive(&self.socket, |from, datagram| {
            shard.handle_datagram(now, from, datagram);
        });
        received.unwrap_or_else(|error| {
            self.counters.failures += 1;
            tracing::debug!(%error, "reading the socket failed");
            0
        })
    }

    fn do_what_is_due(&mut self, now: Now) {
        if self
            .shard
            .poll_timeout()
            .is_some_and(|at| at <= now.monotonic)
        {
            self.shard.handle_timeout(now);
        }
    }

    fn send(&mut self, now: Now) -> Left {
        let shard = &mut self.shard;
        self.sender
            .send_all(&self.socket, |out| shard.poll_transmit(now, out))
    }

    /// Nobody comes back for what the socket has not taken by now.
    fn give_up(&mut self, now: Now) {
        let shard = &mut self.shard;
        let unsent = self.sender.give_up(|out| shard.poll_transmit(now, out));
        if unsent > 0 {
            tracing::info!("{unsent} datagrams were not sent: the system took no more");
            self.report();
        }
    }

    fn change_phase(&mut self, now: Now, phase: u8) {
        if phase >= phase::DRAINING {
            self.shard.drain();
        }
        if phase >= phase::CLOSING {
            self.shard.shut_down(now);
        }
    }

    fn report(&mut self) {
        self.counters.sent = self.sender.sent;
        self.counters.dropped = self.sender.dropped;
        let report = Report {
            shard: self.shard.counters(),
            endpoint: self.shard.endpoint_counters().clone(),
            net: self.counters,
        };
        let mut place = self
            .shared
            .report
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *place = Some(report);
    }

    /// Sleeps until a datagram, a wake, what is due next, or room in a `full` socket.
    fn sleep(&self, full: bool) {
        if !self.shard.doze() {
            return;
        }
        let now = Monotonic(self.clock.monotonic_us());
        let pause_us = pause_us(now, self.shard.poll_timeout(), full);
        if pause_us > 0 {
            let pause = Timespec {
                tv_sec: (pause_us / 1_000_000) as i64,
                tv_nsec: (pause_us % 1_000_000 * 1_000) as i64,
            };
            let wanted = if full {
                PollFlags::IN | PollFlags::OUT
            } else {
                PollFlags::IN
            };
            let mut fds = [
                PollFd::new(&self.socket, wanted),
                PollFd::new(&*self.waker, PollFlags::IN),
            ];
            // An interrupted sleep is a short one.
            poll(&mut fds, Some(&pause)).ok();
            if !fds[1].revents().is_empty() {
                self.waker.clear();
            }
        }
        self.shard.awake();
    }
}

/// How long a shard may sleep when this is due next.
fn pause_us(now: Monotonic, due: Option<Monotonic>, full: bool) -> u64 {
    let shortest = if full { FULL_SLEEP_MIN_US } else { 0 };
    due.map_or(SLEEP_MAX_US, |at| at.0.saturating_sub(now.0))
        .clamp(shortest, SLEEP_MAX_US)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_before_a_full_socket_does_not_spin() {
        let now = Monotonic(5_000_000);
        for (due, full, pause) in [
            (None, false, SLEEP_MAX_US),
            (Some(5_000_200), false, 200),
            (Some(4_999_000), false, 0),
            (Some(60_000_000), false, SLEEP_MAX_US),
            (Some(4_999_000), true, FULL_SLEEP_MIN_US),
            (Some(5_007_000), true, 7_000),
            (None, true, SLEEP_MAX_US),
        ] {
            assert_eq!(
                pause_us(now, due.map(Monotonic), full),
                pause,
                "{due:?} {full}"
            );
        }
    }
}
