//! A shard's replicas: their queues, what is due by itself, and the custodian's orders. It runs one call at a time, to its end, and
//! hands the outcome and the effects for others to whoever drives it. It opens no socket, reads no clock and sends no mail of its own but the answers
//! of calls that it can no longer run. A worker's replicas are driven by [`crate::worker`].

mod aside;
mod blame;
pub(crate) mod body;
mod circuit;
mod fair_queue;
mod faults;
mod pulse;
mod schedule;
pub(crate) mod slot;
mod switch;
#[cfg(test)]
mod tests;

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use cohnect_capabilities::Effect;
use cohnect_capabilities::mailbox::Place;
use futures_util::FutureExt as _;

use self::body::{Lane, ReplicaNumbers};
use self::fair_queue::{FairQueue, Share};
use self::slot::{Slot, Turn};
use crate::context::Identity;
use crate::deadline::{Running, TICK_PERIOD, Ticker};
use crate::export::{Export, Exports, ServerEvent, ServerEvents, StopReason};
use crate::limits::TOLD_MAX;
use crate::mail::{Address, Answer, Answered, Call, HomeId, NotRun, Staging};
use crate::now::Now;
use crate::order::{Install, Order};
use crate::untold::Untold;

/// Which seat of a home ran a call; for [`Home::recycle`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotId(u32);

/// A call that has been run, or cannot be.
#[derive(Debug)]
pub struct Finished {
    /// Whose outbox may be given back.
    pub slot: SlotId,
    /// Who ran it.
    pub identity: Arc<Identity>,
    /// Who gets what came of it.
    pub answer: Answer,
    /// What came of it.
    pub answered: Answered,
    /// What it left for others, in order; what concerns the replica itself is already taken out.
    pub effects: Vec<Effect>,
}

/// The replicas of one shard.
pub struct Home {
    id: HomeId,
    ticker: Ticker,
    /// Held from the first call of a batch until nothing is queued: taking it costs a fence.
    running: Option<Running>,
    seats: Vec<Option<Seat>>,
    index: BTreeMap<Address, u32>,
    turns: FairQueue,
    /// What starts, stops and swaps left, to be carried out by whoever asks next.
    finished: VecDeque<Finished>,
    numbers: Arc<ReplicaNumbers>,
    /// Server events that no place was found for.
    untold: Untold,
    /// The tick at which the thread's CPU was looked at last, and what it showed.
    seen: (u64, u64),
    /// The last moment that was passed in; relates the two clocks to each other.
    now: Now,
}

struct Seat {
    slot: Slot,
    /// With the number of its arrival.
    queue: VecDeque<(u64, Call)>,
    /// News that came to its turn while the circuit was open, or that no replica could be made for, to be told once there is one. The places that it
    /// holds bound it.
    held: VecDeque<(u64, Call)>,
    share: Share,
}

impl Seat {
    /// Queues a call behind the others.
    fn push(&mut self, n: u32, call: Call, turns: &mut FairQueue) {
        self.queue.push_back((turns.arrive(), call));
        self.wait(n, turns);
    }

    /// Waits for its turn, if it has anything to do.
    fn wait(&mut self, n: u32, turns: &mut FairQueue) {
        if let Some((first, _)) = self.queue.front() {
            turns.wait(n, &mut self.share, *first);
        }
    }

    /// Queues what is due by itself, and what was held, once it may run.
    fn queue_due(&mut self, n: u32, now: Now, turns: &mut FairQueue) {
        let (slot, queue) = (&mut self.slot, &mut self.queue);
        let to = slot.address.clone();
        slot.poll(now, |export| {
            queue.push_back((turns.arrive(), Call::own(to.clone(), export)));
        });
        if !self.held.is_empty() && !slot.circuit.is_open() {
            // It came before everything that is in the queue.
            while let Some(call) = self.held.pop_back() {
                queue.push_front(call);
            }
        }
        self.wait(n, turns);
    }
}

impl core::fmt::Debug for Home {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Home")
            .field("id", &self.id)
            .field("queued", &self.queued())
            .finish_non_exhaustive()
    }
}

impl Home {
    /// A home without replicas.
    #[must_use]
    pub fn new(id: HomeId, ticker: Ticker) -> Self {
        Self {
            id,
            ticker,
            running: None,
            seats: Vec::new(),
            index: BTreeMap::new(),
            turns: FairQueue::default(),
            finished: VecDeque::new(),
            numbers: Arc::new(ReplicaNumbers::new(id)),
            untold: Untold::default(),
            seen: (u64::MAX, 0),
            now: Now::default(),
        }
    }

    /// Which home it is.
    #[must_use]
    pub const fn id(&self) -> HomeId {
        self.id
    }

    /// Queues a call. What bounds the queue is the place that the call brings.
    ///
    /// # Errors
    /// The call, with why it is not queued: `Unavailable` when the copy is not here, or while its circuit is open, unless it is news. Whoever sends a call
    /// has found the copy in a catalog, so one that is not here has moved since, or is going. The call is not passed on to its new home: what its sender
    /// sent there by the newest catalog may be there already, and each sender's calls come in their order.
    #[expect(
        clippy::result_large_err,
        reason = "the call goes back to the one who answers it, and a box would cost every call an allocation"
    )]
    pub fn push(&mut self, call: Call) -> Result<(), (Call, NotRun)> {
        let found = self.index.get(&call.to).and_then(|&n| {
            let seat = self.seats.get_mut(n as usize)?.as_mut()?;
            Some((n, seat))
        });
        let Some((n, seat)) = found else {
            return Err((call, NotRun::Unavailable));
        };
        if seat.slot.turn(&call.export) == Turn::Refuse {
            return Err((call, NotRun::Unavailable));
        }
        seat.push(n, call, &mut self.turns);
        Ok(())
    }

    /// Does what the custodian says, at once: on a shard nothing is running between two calls. Calls of a replica that goes are answered through
    /// `staging`; what its last calls left comes from [`Home::run_next`].
    pub fn obey(&mut self, now: Now, order: Order, staging: &mut Staging) {
        self.now = now;
        self.hold_ticker();
        match order {
            Order::Install(install) => self.install(*install, now),
            Order::Switch(install) => self.switch(*install, now),
            Order::Remove { copy, reason, done } => {
                self.remove(&copy, reason, now, staging);
                // A custodian that no longer waits has given up on the whole server.
                done.send(()).ok();
            }
            Order::Event(event) => self.announce(&event),
        }
    }

    /// Runs one queued call to its end: the first of the replica whose turn it is.
    pub fn run_next(&mut self, now: Now) -> Option<Finished> {
        self.now = now;
        if let Some(finished) = self.finished.pop_front() {
            return Some(finished);
        }
        let (n, arrival, mut call) = loop {
            let Some(n) = self.turns.next() else {
                self.running = None;
                return None;
            };
            let Some(seat) = self.seats.get_mut(n as usize).and_then(Option::as_mut) else {
                continue;
            };
            FairQueue::turn(&mut seat.share);
            let Some((arrival, call)) = seat.queue.pop_front() else {
                continue;
            };
            match seat.slot.turn(&call.export) {
                Turn::Hold => {
                    seat.held.push_back((arrival, call));
                    seat.wait(n, &mut self.turns);
                }
                // What is refused is answered as what ran is.
                Turn::Run | Turn::Refuse => break (n, arrival, call),
            }
        };
        self.hold_ticker();
        let seat = self.seats.get_mut(n as usize).and_then(Option::as_mut)?;
        let tick = self.ticker.ticks();
        // Once a tick, so that most calls pay for no look at the CPU's clock.
        if self.seen.0 != tick {
            self.seen = (tick, seat.slot.cpu_us());
        }
        let lived = seat.slot.lives();
        let ran = at_once(seat.slot.run(
            &mut call.export,
            core::mem::take(&mut call.chain),
            call.expires_us,
            &now,
        ));
        let ticks = self.ticker.ticks().wrapping_sub(tick);
        seat.share.charge(ticks);
        // A replica that was made for this call was judged by another budget.
        if ticks > 1 && lived {
            seat.slot.charge(ticks, self.seen.1, now);
        }
        let answer = core::mem::replace(&mut call.answer, Answer::Nobody);
        if ran.again {
            seat.held.push_back((arrival, call));
        }
        seat.queue_due(n, now, &mut self.turns);
        Some(Finished {
            slot: SlotId(n),
            answer,
            answered: Answered {
                generation: if ran.outcome.is_ok() {
                    ran.identity.generation
                } else {
                    0
                },
                outcome: ran.outcome,
            },
            identity: ran.identity,
            effects: ran.effects,
        })
    }

    /// Takes the outbox of a call back, emptied, so that the next call of that replica need not allocate one.
    pub fn recycle(&mut self, slot: SlotId, outbox: Vec<Effect>) {
        if let Some(Some(seat)) = self.seats.get_mut(slot.0 as usize) {
            seat.slot.recycle(outbox);
        }
    }

    /// Queues what is due by itself: timers, ticks, background steps; tries replicas again whose pause is over.
    pub fn handle_timeout(&mut self, now: Now) {
        self.now = now;
        for (n, seat) in self.seats.iter_mut().enumerate() {
            if let Some(seat) = seat {
                seat.queue_due(n as u32, now, &mut self.turns);
            }
        }
    }

    /// When [`Home::handle_timeout`] has something to do, in microseconds of the monotonic clock; none when never.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<u64> {
        self.seats
            .iter()
            .flatten()
            .filter_map(|seat| seat.slot.next_us(self.now))
            .min()
    }

    /// Whether nothing is queued.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.turns.is_empty() && self.finished.is_empty()
    }

    /// How many calls are queued.
    #[must_use]
    pub fn queued(&self) -> usize {
        let seats = self.seats.iter().flatten();
        seats.map(|seat| seat.queue.len()).sum()
    }

    fn hold_ticker(&mut self) {
        if self.running.is_none() {
            self.running = Some(self.ticker.running());
        }
    }

    fn install(&mut self, install: Install, now: Now) {
        if self.index.contains_key(&install.copy) {
            drop(
                install
                    .done
                    .send(Err("this copy is already here".to_owned())),
            );
            return;
        }
        let mut effects = Vec::new();
        let made = at_once(Slot::install(
            &install,
            Lane::Fast,
            Arc::clone(&self.numbers),
            &now,
            &mut effects,
        ));
        let outcome = match made {
            Err(text) => Err(text),
            Ok(slot) => {
                let n = self.free_seat();
                self.index.insert(install.copy, n);
                let identity = Arc::clone(slot.identity());
                let mut seat = Seat {
                    slot,
                    queue: VecDeque::new(),
                    held: VecDeque::new(),
                    share: Share::default(),
                };
                seat.queue_due(n, now, &mut self.turns);
                if let Some(place) = self.seats.get_mut(n as usize) {
                    *place = Some(seat);
                }
                self.leave(n, identity, effects);
                Ok(None)
            }
        };
        drop(install.done.send(outcome));
    }

    fn switch(&mut self, install: Install, now: Now) {
        let found = self.index.get(&install.copy).copied();
        let Some((n, seat)) = found.and_then(|n| {
            let seat = self.seats.get_mut(n as usize).and_then(Option::as_mut)?;
            Some((n, seat))
        }) else {
            drop(install.done.send(Err("this copy is not here".to_owned())));
            return;
        };
        let mut effects = Vec::new();
        let outcome = at_once(seat.slot.switch(&install, &now, &mut effects));
        let identity = Arc::clone(seat.slot.identity());
        seat.queue_due(n, now, &mut self.turns);
        self.leave(n, identity, effects);
        drop(install.done.send(outcome));
    }

    fn remove(&mut self, copy: &Address, reason: StopReason, now: Now, staging: &mut Staging) {
        let Some(n) = self.index.remove(copy) else {
            return;
        };
        let Some(mut seat) = self.seats.get_mut(n as usize).and_then(Option::take) else {
            return;
        };
        self.turns.forget(n);
        let mut effects = Vec::new();
        let began = self.ticker.ticks();
        let ticks = farewell(reason).as_micros() / TICK_PERIOD.as_micros();
        // What was held came before everything that is in the queue.
        for (_, mut call) in seat.held.into_iter().chain(seat.queue) {
            if Slot::last_turn(&call.export) != Turn::Run {
                seat.slot.note_unread(now, &call);
                staging.answer(call.answer, Answered::not_run(NotRun::Unavailable));
                continue;
            }
            // What has happened before it goes it hears first: that clients have gone, and that it goes itself. None is made only to hear that.
            let late = u128::from(self.ticker.ticks().wrapping_sub(began)) >= ticks;
            let heard = !late && seat.slot.lives() && {
                let ran = seat.slot.run(&mut call.export, Vec::new(), None, &now);
                let mut ran = at_once(ran);
                effects.append(&mut ran.effects);
                !ran.again
            };
            if !heard {
                self.untold
                    .note(now.monotonic_us, &copy.module, &call.export);
            }
        }
        at_once(seat.slot.stop(reason, &now, &mut effects));
        self.leave(n, Arc::clone(seat.slot.identity()), effects);
    }

    fn announce(&mut self, event: &ServerEvent) {
        for (n, seat) in self.seats.iter_mut().enumerate() {
            let Some(seat) = seat else { continue };
            let slot = &seat.slot;
            match news(&slot.address, slot.exports(), slot.told(), event) {
                Some(Ok(call)) => {
                    seat.push(n as u32, call, &mut self.turns);
                }
                Some(Err(untold)) => {
                    let module = &slot.address.module;
                    self.untold.note(self.now.monotonic_us, module, &untold);
                }
                None => {}
            }
        }
    }

    fn leave(&mut self, n: u32, identity: Arc<Identity>, effects: Vec<Effect>) {
        if !effects.is_empty() {
            self.finished.push_back(Finished {
                slot: SlotId(n),
                answer: Answer::Nobody,
                answered: Answered {
                    generation: identity.generation,
                    outcome: Ok(Ok(crate::export::Returned::Nothing)),
                },
                identity,
                effects,
            });
        }
    }

    fn free_seat(&mut self) -> u32 {
        if let Some(n) = self.seats.iter().position(Option::is_none) {
            return n as u32;
        }
        self.seats.push(None);
        (self.seats.len() - 1) as u32
    }
}

/// How long a replica that goes may take to hear what has happened before: at the end of the server nobody else has to be served, and what a thousand
/// clients' goodbyes take is a few hundredths of a second; while the others of its home play, it is not more than a hiccup for them.
pub(crate) const fn farewell(reason: StopReason) -> Duration {
    match reason {
        StopReason::Shutdown => Duration::from_secs(1),
        StopReason::Unloaded
        | StopReason::Swapped
        | StopReason::Idle
        | StopReason::Finished
        | StopReason::RolledBack => Duration::from_millis(50),
    }
}

/// The value of a future on a shard.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    future
        .now_or_never()
        .expect("invariant: a replica on a shard never waits")
}

/// An event as a call for a copy with these exports, in one of the places for what it is told; the event alone when there is none, and nothing when it
/// does not want it.
pub(crate) fn news(
    to: &Address,
    exports: &Exports,
    told: &Arc<AtomicU32>,
    event: &ServerEvent,
) -> Option<Result<Call, Export>> {
    if !wants(&exports.server_events, event) {
        return None;
    }
    let export = Export::Event(event.clone());
    let Some(place) = Place::take(told, TOLD_MAX) else {
        return Some(Err(export));
    };
    Some(Ok(Call {
        place: Some(place),
        ..Call::own(to.clone(), export)
    }))
}

/// Whether a module described that it wants this event.
const fn wants(described: &ServerEvents, event: &ServerEvent) -> bool {
    match event {
        ServerEvent::Started => described.started,
        ServerEvent::Stopping(_) => described.stopping,
        ServerEvent::ConfigChanged(_) => described.config_changed,
        ServerEvent::FlagChanged(_) => described.flag_changed,
        ServerEvent::ModuleLoaded(_) => described.module_loaded,
        ServerEvent::ModuleUnloading(_) => described.module_unloading,
        ServerEvent::InstanceJoined(_) => described.instance_joined,
        ServerEvent::InstanceLeft(_) => described.instance_left,
        ServerEvent::Other(..) => described.other,
    }
}
