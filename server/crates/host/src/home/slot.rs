//! One replica and what its home keeps of it: the code it was made from, the newest snapshot, the schedule, the circuit. How it is made, called, ended,
//! made again and swapped is written here once, for shards and workers; a shard polls these futures once, since nothing on a shard waits.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;
use std::sync::Arc;

use cohnect_capabilities::{Caller, Effect};
use tracing::Instrument as _;

use super::aside::Aside;
use super::circuit::Circuit;
use super::schedule::Schedule;
use crate::context::{Arming, Charter, Context, Identity, Outlet, Phase};
use crate::export::{
    Ending, Export, Exports, Fault, Outcome, Returned, Snapshot, StartInfo, StartReason,
    StopReason, Wake,
};
use crate::limits::SETUP_WALL;
use crate::mail::{Address, HomeId, NotRun};
use crate::now::{Clock, Now};
use crate::order::Install;
use crate::replica::{Prepared, Replica, WaitingReplica};
use crate::seeded::Seeded;

/// Whether a home's replicas may wait.
#[derive(Clone)]
pub(crate) enum Lane {
    /// On a shard.
    Fast,
    #[allow(dead_code, reason = "workers are driven by a file that follows")]
    /// On a worker, where effects leave through this outlet whenever a call waits.
    Waiting(Arc<dyn Outlet>),
}

/// Numbers for replicas, unique on this server: each home counts its own.
#[derive(Debug)]
pub(crate) struct ReplicaNumbers {
    next: AtomicU64,
}

impl ReplicaNumbers {
    pub(crate) fn new(home: HomeId) -> Self {
        Self {
            next: AtomicU64::new((u64::from(home.0) + 1) << 36),
        }
    }

    fn next(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }
}

/// What replicas of one load of a module are made from.
struct Code {
    prepared: Arc<dyn Prepared>,
    charter: Charter,
    seed: [u8; 32],
}

/// A replica that exists.
struct Body {
    guest: Guest,
    lifecycle: bool,
}

enum Guest {
    Fast(Box<dyn Replica>),
    Waiting(Box<dyn WaitingReplica>),
}

impl Body {
    fn context(&mut self) -> &mut Context {
        match &mut self.guest {
            Guest::Fast(replica) => replica.context(),
            Guest::Waiting(replica) => replica.context(),
        }
    }

    async fn call(&mut self, export: &Export, wall: Duration) -> Outcome {
        match &mut self.guest {
            Guest::Fast(replica) => {
                let span = span_of(replica.context().identity(), export);
                span.in_scope(|| replica.call(export))
            }
            Guest::Waiting(replica) => {
                let span = span_of(replica.context().identity(), export);
                tokio::time::timeout(wall, replica.call(export).instrument(span))
                    .await
                    .unwrap_or_else(|_| {
                        Err(Fault::Ended(
                            Ending::Wall,
                            format!("it had {} ms", wall.as_millis()),
                        ))
                    })
            }
        }
    }
}

/// What came of a call.
pub(crate) struct Ran {
    /// The outcome, or why it was not begun.
    pub(crate) outcome: Result<Outcome, NotRun>,
    /// Who ran it.
    pub(crate) identity: Arc<Identity>,
    /// What it left for others.
    pub(crate) effects: Vec<Effect>,
}

/// One replica's seat in its home.
pub(crate) struct Slot {
    pub(crate) address: Address,
    code: Code,
    identity: Arc<Identity>,
    body: Option<Body>,
    snapshot: Option<Snapshot>,
    pub(crate) schedule: Schedule,
    pub(crate) circuit: Circuit,
    healthy: Arc<AtomicBool>,
    /// What the `start` of a replica that was made again left; it leaves with the call that follows.
    left: Vec<Effect>,
    lane: Lane,
    aside: Option<Arc<Aside>>,
    numbers: Arc<ReplicaNumbers>,
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
            healthy: Arc::clone(&install.healthy),
            left: Vec::new(),
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

    /// Puts new code into the place of the old one, which goes on if anything fails. Returns the snapshot that went over.
    ///
    /// # Errors
    /// Why nothing has changed, for the log.
    pub(crate) async fn switch(
        &mut self,
        install: &Install,
        clock: &dyn Clock,
        effects: &mut Vec<Effect>,
    ) -> Result<Option<Snapshot>, String> {
        let candidates = self.carry(install, clock, effects).await?;
        let mut charter = install.charter.clone();
        charter.timers = Arc::clone(self.schedule.timers_shared());
        charter.signals = Arc::clone(&self.code.charter.signals);
        charter.outlet.clone_from(&self.code.charter.outlet);
        let code = Code {
            prepared: Arc::clone(&install.prepared),
            charter,
            seed: install.seed,
        };
        let mut failure = String::new();
        for carried in candidates {
            let mut left = Vec::new();
            match make(
                &code,
                &self.lane,
                &self.numbers,
                carried.as_ref(),
                install.reason,
                clock,
                &mut left,
            )
            .await
            {
                Err(text) => failure = text,
                Ok((body, identity)) => {
                    let now = clock.now();
                    let old = self.take_over(code, body, identity, carried.clone(), now);
                    self.healthy = Arc::clone(&install.healthy);
                    self.healthy.store(true, Ordering::Relaxed);
                    self.absorb(&mut left, now);
                    effects.append(&mut left);
                    let reason = if install.reason == StartReason::RolledBack {
                        StopReason::RolledBack
                    } else {
                        StopReason::Swapped
                    };
                    if let Some((mut old, was)) = old {
                        self.stop_body(&mut old, &was, reason, clock, effects).await;
                    }
                    return Ok(carried);
                }
            }
        }
        Err(failure)
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
            return self.refuse(export, now);
        }
        if self.body.is_none()
            && let Err(text) = self.revive(clock).await
        {
            let outcome = Err(Fault::Ended(Ending::Trap, text));
            return self.ended(export, outcome, clock.now());
        }
        let Some(body) = self.body.as_mut() else {
            return self.refuse(export, now);
        };
        self.schedule.begin(export, now);
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
            Ok(_) | Err(Fault::Raised(_)) => self.returned(export, outcome, now),
        }
    }

    #[allow(dead_code, reason = "workers are driven by a file that follows")]
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
        if let Some(mut body) = self.body.take() {
            let identity = Arc::clone(&self.identity);
            if self.schedule.steps() {
                let step = Export::Step(Wake::Stopping);
                let stepped =
                    call_for_setup(&mut body, &step, Phase::Call, &self.lane, clock, effects).await;
                if let Err(fault) = stepped {
                    log_fault(&identity, &step, &fault);
                    if let Fault::Ended(..) = fault {
                        return;
                    }
                }
            }
            self.stop_body(&mut body, &identity, reason, clock, effects)
                .await;
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
        self.circuit
            .retry_us()
            .or_else(|| self.schedule.next_us(now))
    }

    /// Queues what is due, unless the circuit is open.
    pub(crate) fn poll(&mut self, now: Now, queue: impl FnMut(Export)) {
        self.retry(now);
        if !self.circuit.is_open() {
            self.schedule.poll(now, queue);
        }
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
            identity: Arc::clone(&self.identity),
            effects: Vec::new(),
        }
    }

    fn returned(&mut self, export: &Export, outcome: Outcome, now: Now) -> Ran {
        if let Err(fault) = &outcome {
            log_fault(&self.identity, export, fault);
        } else if let Ok(Returned::Next(Err(error)) | Returned::Done(Err(error))) = &outcome {
            tracing::warn!(
                module = %self.identity.module,
                generation = self.identity.generation,
                export = export.name(),
                "failed: {error}"
            );
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
            identity: Arc::clone(&self.identity),
            effects,
        }
    }

    fn ended(&mut self, export: &Export, outcome: Outcome, now: Now) -> Ran {
        if let Err(fault) = &outcome {
            log_fault(&self.identity, export, fault);
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
            identity: Arc::clone(&self.identity),
            effects: core::mem::take(&mut self.left),
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
        Ok(())
    }

    fn seat(&mut self, body: Body, identity: Arc<Identity>) {
        self.body = Some(body);
        self.identity = identity;
    }

    fn take_over(
        &mut self,
        code: Code,
        body: Body,
        identity: Arc<Identity>,
        snapshot: Option<Snapshot>,
        now: Now,
    ) -> Option<(Body, Arc<Identity>)> {
        let was = Arc::clone(&self.identity);
        let old = self.body.replace(body).map(|old| (old, was));
        self.code = code;
        self.identity = identity;
        self.snapshot = snapshot;
        self.circuit.reset();
        self.schedule
            .adopt(self.code.prepared.exports(), &self.code.charter.limits, now);
        old
    }

    /// What new code may be given to restore, the best first; never empty.
    async fn carry(
        &mut self,
        install: &Install,
        clock: &dyn Clock,
        effects: &mut Vec<Effect>,
    ) -> Result<Vec<Option<Snapshot>>, String> {
        if !install.prepared.exports().migration {
            return Ok(vec![None]);
        }
        let back = install.reason == StartReason::RolledBack;
        let kept = install.snapshot.clone();
        let Some(body) = self
            .body
            .as_mut()
            .filter(|_| self.code.prepared.exports().migration)
        else {
            let newest = if back {
                kept
            } else {
                self.snapshot.clone().or(kept)
            };
            return Ok(vec![newest]);
        };
        let mut left = Vec::new();
        let saved = call_for_setup(
            body,
            &Export::Save,
            Phase::Transfer,
            &self.lane,
            clock,
            &mut left,
        )
        .await;
        let now = clock.now();
        let failure = match saved {
            Ok(Returned::Saved(Ok(snapshot))) => {
                self.absorb(&mut left, now);
                effects.append(&mut left);
                if back {
                    return Ok(vec![Some(snapshot), kept]);
                }
                self.snapshot = Some(snapshot.clone());
                return Ok(vec![Some(snapshot)]);
            }
            Ok(Returned::Saved(Err(error))) => error.to_string(),
            Ok(_) => "it returned no snapshot".to_owned(),
            Err(fault) => {
                let text = fault.to_string();
                if let Fault::Ended(..) = fault {
                    self.ended(&Export::Save, Err(fault), now);
                }
                text
            }
        };
        if back || install.force {
            let newest = if back {
                kept
            } else {
                self.snapshot.clone().or(kept)
            };
            return Ok(vec![newest]);
        }
        Err(format!("`save` of the running code failed: {failure}"))
    }

    async fn stop_body(
        &mut self,
        body: &mut Body,
        identity: &Identity,
        reason: StopReason,
        clock: &dyn Clock,
        effects: &mut Vec<Effect>,
    ) {
        if !body.lifecycle {
            return;
        }
        let stop = Export::Stop(reason);
        let mut left = Vec::new();
        let stopped = call_for_setup(body, &stop, Phase::Call, &self.lane, clock, &mut left).await;
        match stopped {
            Ok(_) => {
                self.absorb(&mut left, clock.now());
                effects.append(&mut left);
            }
            Err(fault) => log_fault(identity, &stop, &fault),
        }
    }

    fn absorb(&mut self, effects: &mut Vec<Effect>, now: Now) {
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

impl Lane {
    fn wall_limit(&self, now: Now, wall: Duration) -> Option<u64> {
        match self {
            Self::Fast => None,
            Self::Waiting(_) => Some(
                now.monotonic_us
                    .saturating_add(u64::try_from(wall.as_micros()).unwrap_or(u64::MAX)),
            ),
        }
    }
}

/// Makes a replica, restores it and starts it. `effects` gets what it left; on an error they are the caller's to forget.
async fn make(
    code: &Code,
    lane: &Lane,
    numbers: &ReplicaNumbers,
    snapshot: Option<&Snapshot>,
    reason: StartReason,
    clock: &dyn Clock,
    effects: &mut Vec<Effect>,
) -> Result<(Body, Arc<Identity>), String> {
    let mut charter = code.charter.clone();
    charter.identity.replica = numbers.next();
    let identity = Arc::new(charter.identity.clone());
    let random = Seeded::new(&code.seed, identity.replica);
    let mut context = Context::new(charter, Box::new(random));
    let exports = code.prepared.exports();
    let now = clock.now();
    context.arm(Arming {
        phase: Phase::Load,
        setup: true,
        wall_us: now.wall_us,
        monotonic_us: now.monotonic_us,
        wall_limit_us: None,
        chain: Vec::new(),
    });
    let guest = match lane {
        Lane::Fast => code.prepared.replica(context).map(Guest::Fast),
        Lane::Waiting(_) => code.prepared.waiting_replica(context).map(Guest::Waiting),
    }
    .map_err(|e| e.message)?;
    let mut body = Body {
        guest,
        lifecycle: exports.lifecycle,
    };
    if let (true, Some(snapshot)) = (exports.migration, snapshot) {
        let restore = Export::Restore(snapshot.clone());
        done(
            call_for_setup(&mut body, &restore, Phase::Transfer, lane, clock, effects).await,
            "restore",
        )?;
    }
    if exports.lifecycle {
        let start = Export::Start(StartInfo {
            module: Arc::clone(&identity.module),
            generation: identity.generation,
            key: "".into(),
            arguments: bytes::Bytes::new(),
            creator: Caller::System("host".into()),
            replica: identity.copy,
            instance: identity.instance,
            reason,
        });
        done(
            call_for_setup(&mut body, &start, Phase::Call, lane, clock, effects).await,
            "start",
        )?;
    }
    Ok((body, identity))
}

fn done(outcome: Outcome, what: &str) -> Result<(), String> {
    match outcome {
        Ok(Returned::Done(Err(error))) => Err(format!("`{what}` failed: {error}")),
        Ok(_) => Ok(()),
        Err(fault) => Err(format!("`{what}` failed: {fault}")),
    }
}

/// One of the calls around a replica's life, under the setup budgets.
async fn call_for_setup(
    body: &mut Body,
    export: &Export,
    phase: Phase,
    lane: &Lane,
    clock: &dyn Clock,
    effects: &mut Vec<Effect>,
) -> Outcome {
    let now = clock.now();
    body.context().arm(Arming {
        phase,
        setup: true,
        wall_us: now.wall_us,
        monotonic_us: now.monotonic_us,
        wall_limit_us: lane.wall_limit(now, SETUP_WALL),
        chain: Vec::new(),
    });
    let outcome = body.call(export, SETUP_WALL).await;
    if !matches!(outcome, Err(Fault::Ended(..))) {
        effects.append(&mut body.context().take_outbox());
    }
    outcome
}

fn span_of(identity: &Identity, export: &Export) -> tracing::Span {
    tracing::debug_span!(
        "call",
        module = %identity.module,
        generation = identity.generation,
        export = export.name()
    )
}

/// The one place where a fault's text goes: the server's own log.
fn log_fault(identity: &Identity, export: &Export, fault: &Fault) {
    tracing::warn!(
        module = %identity.module,
        generation = identity.generation,
        export = export.name(),
        "{fault}"
    );
}
