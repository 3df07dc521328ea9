//! One replica and what its home keeps of it: the code it was made from, the newest snapshot, the schedule, the circuit. How it lives, ends and is made
//! again is written here once, for shards and workers; a shard polls these futures once, since nothing on a shard waits.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use core::time::Duration;
use std::sync::Arc;

use cohnect_capabilities::Effect;

use super::aside::Aside;
use super::blame;
use super::body::{Body, Code, Lane, ReplicaNumbers, call_for_setup, log_failure, make};
use super::circuit::Circuit;
use super::faults::Faults;
use super::schedule::Schedule;
use crate::context::{Arming, Identity, Outlet, Phase};
use crate::deadline::TICK_PERIOD;
use crate::escaped::Escaped;
use crate::export::{
    Ending, Export, Exports, Fault, Outcome, Returned, Snapshot, StartReason, StopReason, Wake,
};
use crate::lost_mail::{Letter, Loss, LostMail};
use crate::mail::{Address, Call, NotRun};
use crate::now::{Clock, Now};
use crate::order::Install;

/// What came of a call.
pub(crate) struct Ran {
    /// The outcome, or why it was not begun.
    pub(crate) outcome: Result<Outcome, NotRun>,
    /// It is news that no replica has heard, since there was none and none could be made: it waits for one.
    pub(crate) again: bool,
    /// Who ran it.
    pub(crate) identity: Arc<Identity>,
    /// What it left for others.
    pub(crate) effects: Vec<Effect>,
}

/// What becomes of a call that has come to its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It runs.
    Run,
    /// It waits until the circuit closes.
    Hold,
    /// It is not begun.
    Refuse,
}

impl Turn {
    /// What becomes of a call: while the copy is not well nothing runs, and what happens once waits until it is.
    pub(crate) const fn of(well: bool, export: &Export) -> Self {
        if well {
            Self::Run
        } else if export.is_news() {
            Self::Hold
        } else {
            Self::Refuse
        }
    }
}

/// One replica's seat in its home.
pub(crate) struct Slot {
    pub(crate) address: Address,
    pub(super) code: Code,
    pub(super) identity: Arc<Identity>,
    pub(super) body: Option<Body>,
    pub(super) snapshot: Option<Snapshot>,
    pub(crate) schedule: Schedule,
    pub(crate) circuit: Circuit,
    pub(super) healthy: Arc<AtomicBool>,
    faults: Faults,
    /// What ended the last replica, until the next one is there.
    pub(super) ending: Option<String>,
    /// What the `start` of a replica that was made again left; it leaves with the call that follows.
    left: Vec<Effect>,
    /// Mail that it was sent and that came to nothing.
    lost: LostMail,
    pub(super) lane: Lane,
    aside: Option<Arc<Aside>>,
    pub(super) numbers: Arc<ReplicaNumbers>,
}

/// A replica that has been taken out of its seat.
pub(super) struct Going {
    pub(super) body: Body,
    pub(super) identity: Arc<Identity>,
    /// Whether its background still steps.
    pub(super) steps: bool,
}

impl core::fmt::Debug for Slot {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Slot")
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

impl Slot {
    /// Makes the first replica of a copy. What its `start` leaves for others is added to `effects`.
    ///
    /// # Errors
    /// Why there is none, for the log.
    pub(crate) async fn install(
        install: &Install,
        lane: Lane,
        numbers: Arc<ReplicaNumbers>,
        clock: &dyn Clock,
        effects: &mut Vec<Effect>,
    ) -> Result<Self, String> {
        let exports = install.prepared.exports();
        let now = clock.now();
        let schedule = Schedule::new(
            Arc::clone(&install.charter.timers),
            exports,
            &install.charter.limits,
            now,
        );
        let mut charter = install.charter.clone();
        let aside = match &lane {
            Lane::Fast => None,
            Lane::Waiting(outlet) => Some(Arc::new(Aside::new(
                Arc::clone(&charter.timers),
                Arc::clone(outlet),
            ))),
        };
        charter.outlet = aside.clone().map(|aside| aside as Arc<dyn Outlet>);
        let mut slot = Self {
            address: install.copy.clone(),
            identity: Arc::new(charter.identity.clone()),
            code: Code {
                prepared: Arc::clone(&install.prepared),
                charter,
                seed: install.seed,
            },
            body: None,
            snapshot: install.snapshot.clone(),
            schedule,
            circuit: Circuit::default(),
            faults: Faults::default(),
            healthy: Arc::clone(&install.healthy),
            ending: None,
            left: Vec::new(),
            lost: LostMail::default(),
            lane,
            aside,
            numbers,
        };
        let mut left = Vec::new();
        let (body, identity) = make(
            &slot.code,
            &slot.lane,
            &slot.numbers,
            slot.snapshot.as_ref(),
            install.reason,
            clock,
            &mut left,
        )
        .await?;
        slot.seat(body, identity);
        slot.absorb(&mut left, clock.now());
        effects.append(&mut left);
        slot.healthy.store(true, Ordering::Relaxed);
        Ok(slot)
    }

    /// What becomes of a call of this replica, whose circuit says whether it is well.
    pub(crate) const fn turn(&self, export: &Export) -> Turn {
        Turn::of(!self.circuit.is_open(), export)
    }

    /// What becomes of a call that waits for a replica that goes: what has happened it still hears, that it goes among it.
    pub(crate) const fn last_turn(export: &Export) -> Turn {
        if export.is_news() {
            Turn::Run
        } else {
            Turn::Refuse
        }
    }

    /// Runs one call to its end.
    pub(crate) async fn run(
        &mut self,
        export: &mut Export,
        chain: Vec<Arc<str>>,
        expires_us: Option<u64>,
        clock: &dyn Clock,
    ) -> Ran {
        let now = clock.now();
        if self.circuit.is_open() || expires_us.is_some_and(|end| end <= now.monotonic_us) {
            self.note_mail(export, expires_us, now, &Err(NotRun::Unavailable));
            return self.refuse(export, now);
        }
        if self.body.is_none()
            && let Err(text) = self.revive(clock).await
        {
            let outcome = Err(Fault::Ended(Ending::Trap, text));
            return Ran {
                again: export.is_news(),
                ..self.ended(export, outcome, clock.now())
            };
        }
        let Some(body) = self.body.as_mut() else {
            return self.refuse(export, now);
        };
        if !self.schedule.begin(export, now) {
            return self.pass_over(export, now);
        }
        let limits = &self.code.charter.limits;
        let wall = expires_us.map_or(limits.wall, |end| {
            limits
                .wall
                .min(Duration::from_micros(end - now.monotonic_us))
        });
        body.context().arm(Arming {
            phase: Phase::Call,
            setup: false,
            wall_us: now.wall_us,
            monotonic_us: now.monotonic_us,
            wall_limit_us: self.lane.wall_limit(now, wall),
            chain,
        });
        let outcome = body.call(export, wall).await;
        let overrun_us = body.context().overrun_us();
        let now = match self.lane {
            Lane::Fast => now,
            Lane::Waiting(_) => clock.now(),
        };
        if overrun_us > 0 && self.circuit.overran(now.monotonic_us, overrun_us) {
            self.open(now, "its calls used too much CPU");
        }
        match outcome {
            Err(Fault::Ended(..)) => self.ended(export, outcome, now),
            Ok(_) | Err(Fault::Raised(_)) => {
                let ran = self.returned(export, outcome, now);
                self.note_mail(export, expires_us, now, &ran.outcome);
                ran
            }
        }
    }

    /// Says in the log that a call was mail and came to nothing: nobody may wait for its answer, so this is where its sender's author finds out.
    fn note_mail(
        &mut self,
        export: &Export,
        expires_us: Option<u64>,
        now: Now,
        outcome: &Result<Outcome, NotRun>,
    ) {
        let loss = match outcome {
            Err(_) => Loss::Unread,
            Ok(Ok(Returned::Answer(Err(error)))) => Loss::Refused(error),
            Ok(_) => return,
        };
        if let Some(letter) = Letter::of(&self.address.module, export, expires_us) {
            self.lost.note(now.monotonic_us, letter, loss);
        }
    }

    /// As [`Slot::note_mail`], of a call that it goes without having run.
    pub(super) fn note_unread(&mut self, now: Now, call: &Call) {
        self.lost.note_unread(now.monotonic_us, call);
    }

    /// What the thread's CPU clock shows.
    pub(super) fn cpu_us(&self) -> u64 {
        self.code.charter.capabilities.cpu.thread_us()
    }

    /// Whether there is a replica.
    pub(crate) const fn lives(&self) -> bool {
        self.body.is_some()
    }

    /// This many ticks fell into a call on a shard that has returned. The call's own clock begins at the first tick that its guest looks at, so a library
    /// function that looks at none would be free: what the ticks show, and the thread's CPU since before the call confirms, counts for the circuit. Either
    /// alone would blame a call for what it had no part in: for not being scheduled, or for a tick that came late.
    pub(super) fn charge(&mut self, ticks: u64, cpu_before_us: u64, now: Now) {
        let cpu_us = self.cpu_us().saturating_sub(cpu_before_us);
        let Some(body) = self.body.as_mut() else {
            return;
        };
        // The first tick may have come right after the call began.
        let period_us = u64::try_from(TICK_PERIOD.as_micros()).unwrap_or(u64::MAX);
        let used_us = ticks
            .saturating_sub(1)
            .saturating_mul(period_us)
            .min(cpu_us);
        let budget_us = self.code.charter.limits.deadline.as_micros();
        let over_us = used_us
            .saturating_sub(u64::try_from(budget_us).unwrap_or(u64::MAX))
            .saturating_sub(body.context().overrun_us());
        if over_us > 0 && self.circuit.overran(now.monotonic_us, over_us) {
            self.open(now, "its calls used too much CPU");
        }
    }

    /// The running call was given up: its replica is gone.
    pub(crate) fn abandon(&mut self, export: &Export, why: &str, now: Now) -> Ran {
        let outcome = Err(Fault::Ended(Ending::Wall, why.to_owned()));
        self.ended(export, outcome, now)
    }

    /// Tells the replica that it goes, and lets it go.
    pub(crate) async fn stop(
        &mut self,
        reason: StopReason,
        clock: &dyn Clock,
        effects: &mut Vec<Effect>,
    ) {
        self.log_repeated(clock.now(), true);
        if let Some(body) = self.body.take() {
            let going = Going {
                body,
                identity: Arc::clone(&self.identity),
                steps: self.schedule.steps(),
            };
            self.stop_body(going, reason, clock, effects).await;
        }
    }

    /// Looks whether the pause of an open circuit is over.
    pub(crate) fn retry(&mut self, now: Now) {
        if self.circuit.retry(now.monotonic_us) {
            self.healthy.store(true, Ordering::Relaxed);
        }
    }

    /// The next monotonic moment at which there is something to do.
    pub(crate) fn next_us(&self, now: Now) -> Option<u64> {
        let work = self
            .circuit
            .retry_us()
            .or_else(|| self.schedule.next_us(now));
        [work, self.faults.next_us()].into_iter().flatten().min()
    }

    /// Queues what is due, unless the circuit is open.
    pub(crate) fn poll(&mut self, now: Now, queue: impl FnMut(Export)) {
        self.retry(now);
        self.log_repeated(now, false);
        if !self.circuit.is_open() {
            self.schedule.poll(now, queue);
        }
        for name in self.schedule.take_unheard() {
            tracing::warn!(
                module = %self.identity.module,
                generation = self.identity.generation,
                "the timer `{}` came, and the module has no handler for timers: it is set no more",
                Escaped(name)
            );
        }
    }

    /// Places taken by what it is told.
    pub(crate) const fn told(&self) -> &Arc<AtomicU32> {
        &self.code.charter.told
    }

    /// Gives an emptied outbox back.
    pub(crate) fn recycle(&mut self, outbox: Vec<Effect>) {
        if let Some(body) = &mut self.body {
            body.context().recycle(outbox);
        }
    }

    /// What the code exports.
    pub(crate) fn exports(&self) -> &Exports {
        self.code.prepared.exports()
    }

    /// Who the replica is.
    pub(crate) const fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    fn refuse(&mut self, export: &Export, now: Now) -> Ran {
        let refused = Err(Fault::Raised(String::new()));
        self.schedule.finish(export, &refused, now);
        Ran {
            outcome: Err(NotRun::Unavailable),
            again: export.is_news(),
            identity: Arc::clone(&self.identity),
            effects: Vec::new(),
        }
    }

    /// There is nothing left to run.
    fn pass_over(&mut self, export: &Export, now: Now) -> Ran {
        let outcome = Ok(Returned::Nothing);
        self.schedule.finish(export, &outcome, now);
        Ran {
            outcome: Ok(outcome),
            again: false,
            identity: Arc::clone(&self.identity),
            effects: core::mem::take(&mut self.left),
        }
    }

    fn returned(&mut self, export: &Export, outcome: Outcome, now: Now) -> Ran {
        let large = outcome
            .as_ref()
            .ok()
            .and_then(|returned| blame::too_large(export, returned));
        if let Some(text) = large {
            self.log(export, &text, now);
        }
        let outcome = blame::judge(self.body.as_mut(), export, outcome);
        if let Err(fault) = &outcome {
            self.log(export, &fault.to_string(), now);
        } else if let Some(error) = outcome.as_ref().ok().and_then(blame::unsaid) {
            self.log(export, &format!("failed: {error}"), now);
        }
        let mut effects = self
            .body
            .as_mut()
            .map_or_else(Vec::new, |body| body.context().take_outbox());
        self.absorb(&mut effects, now);
        if !self.left.is_empty() {
            effects.splice(..0, self.left.drain(..));
        }
        self.schedule.finish(export, &outcome, now);
        Ran {
            outcome: Ok(outcome),
            again: false,
            identity: Arc::clone(&self.identity),
            effects,
        }
    }

    pub(super) fn ended(&mut self, export: &Export, outcome: Outcome, now: Now) -> Ran {
        if let Err(fault) = &outcome {
            self.log(export, &fault.to_string(), now);
            // The text is the module's own, of any length and with anything in it, and stays until a call comes.
            self.ending = Some(Escaped(blame::in_short(export, fault)).to_string());
        }
        self.body = None;
        self.schedule.finish(export, &outcome, now);
        self.schedule.restart(self.code.prepared.exports(), now);
        self.settle_aside(now);
        if self.circuit.ended(now.monotonic_us) {
            self.open(now, "its replicas ended too often");
        }
        Ran {
            outcome: Ok(outcome),
            again: false,
            identity: Arc::clone(&self.identity),
            effects: core::mem::take(&mut self.left),
        }
    }

    /// Writes what was wrong with a call, or counts it where that was written a moment ago: a client may ask for it again and again.
    fn log(&mut self, export: &Export, text: &str, now: Now) {
        if self.faults.is_news(export, text, now.monotonic_us) {
            log_failure(&self.identity, &export.handler(), text);
        }
    }

    /// Writes how often calls failed in the same way as before; `all` of it when the code goes.
    pub(super) fn log_repeated(&mut self, now: Now, all: bool) {
        for repeated in self.faults.take_repeated(now.monotonic_us, all) {
            log_failure(&self.identity, &repeated.handler, &repeated.to_string());
        }
        if all {
            self.faults = Faults::default();
        }
    }

    fn open(&self, now: Now, why: &str) {
        self.healthy.store(false, Ordering::Relaxed);
        let pause_us = self
            .circuit
            .retry_us()
            .unwrap_or_default()
            .saturating_sub(now.monotonic_us);
        tracing::warn!(
            module = %self.identity.module,
            generation = self.identity.generation,
            "unavailable for {} s: {why}",
            pause_us / 1_000_000
        );
    }

    async fn revive(&mut self, clock: &dyn Clock) -> Result<(), String> {
        let mut left = Vec::new();
        let (body, identity) = make(
            &self.code,
            &self.lane,
            &self.numbers,
            self.snapshot.as_ref(),
            StartReason::Restarted,
            clock,
            &mut left,
        )
        .await?;
        self.seat(body, identity);
        self.absorb(&mut left, clock.now());
        self.left.append(&mut left);
        let from = match &self.snapshot {
            Some(_) if self.exports().migration => "the snapshot of its last swap",
            Some(_) | None => "the beginning",
        };
        tracing::warn!(
            module = %self.identity.module,
            generation = self.identity.generation,
            "started anew from {from}, after {}",
            self.ending.take().unwrap_or_default()
        );
        Ok(())
    }

    fn seat(&mut self, body: Body, identity: Arc<Identity>) {
        self.body = Some(body);
        self.identity = identity;
    }

    /// Tells a replica that goes: first its background, which may want to tidy up, then `stop`.
    pub(super) async fn stop_body(
        &mut self,
        going: Going,
        reason: StopReason,
        clock: &dyn Clock,
        effects: &mut Vec<Effect>,
    ) {
        let Going {
            mut body,
            identity,
            steps,
        } = going;
        let step = steps.then_some(Export::Step(Wake::Stopping));
        let stop = body.lifecycle.then_some(Export::Stop(reason));
        for last in step.into_iter().chain(stop) {
            let mut left = Vec::new();
            let told =
                call_for_setup(&mut body, &last, Phase::Call, &self.lane, clock, &mut left).await;
            self.absorb(&mut left, clock.now());
            effects.append(&mut left);
            if let Err(fault) = told {
                log_failure(&identity, &last.handler(), &fault.to_string());
                if let Fault::Ended(..) = fault {
                    return;
                }
            }
        }
    }

    pub(super) fn absorb(&mut self, effects: &mut Vec<Effect>, now: Now) {
        self.settle_aside(now);
        if !effects.is_empty() {
            self.schedule.absorb(effects, now.wall_us, now);
        }
    }

    fn settle_aside(&mut self, now: Now) {
        if let Some(aside) = &self.aside {
            aside.settle(&mut self.schedule, now);
        }
    }
}
