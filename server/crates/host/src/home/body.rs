//! How a replica is made and called, on a shard and on a worker alike: the one place that knows both kinds. Who it belongs to is [`super::slot`]'s.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::sync::Arc;

use cohnect_capabilities::{Caller, Effect};
use tracing::Instrument as _;

use crate::context::{Arming, Charter, Context, Identity, Outlet, Phase};
use crate::escaped::Escaped;
use crate::export::{Ending, Export, Fault, Outcome, Returned, Snapshot, StartInfo, StartReason};
use crate::limits::SETUP_WALL;
use crate::mail::HomeId;
use crate::now::{Clock, Now};
use crate::replica::{Prepared, Replica, WaitingReplica};
use crate::seeded::Seeded;

/// Whether a home's replicas may wait.
#[derive(Clone)]
pub(crate) enum Lane {
    /// On a shard.
    Fast,
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
pub(super) struct Code {
    pub(super) prepared: Arc<dyn Prepared>,
    pub(super) charter: Charter,
    pub(super) seed: [u8; 32],
}

/// A replica that exists.
pub(super) struct Body {
    guest: Guest,
    pub(super) lifecycle: bool,
}

enum Guest {
    Fast(Box<dyn Replica>),
    Waiting(Box<dyn WaitingReplica>),
}

impl Body {
    pub(super) fn context(&mut self) -> &mut Context {
        match &mut self.guest {
            Guest::Fast(replica) => replica.context(),
            Guest::Waiting(replica) => replica.context(),
        }
    }

    pub(super) async fn call(&mut self, export: &Export, wall: Duration) -> Outcome {
        let outcome = self.run(export, wall).await;
        outcome.map_err(|fault| match fault {
            // Whoever reads of a limit wants to know how to raise it.
            Fault::Ended(Ending::Memory, text) => {
                let mib = self.context().limits().memory_bytes >> 20;
                let text = format!("it had {mib} MiB, its `memory_mib`: {text}");
                Fault::Ended(Ending::Memory, text)
            }
            other @ (Fault::Ended(..) | Fault::Raised(_)) => other,
        })
    }

    async fn run(&mut self, export: &Export, wall: Duration) -> Outcome {
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

impl Lane {
    pub(super) fn wall_limit(&self, now: Now, wall: Duration) -> Option<u64> {
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
pub(super) async fn make(
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
        let outcome =
            call_for_setup(&mut body, &restore, Phase::Transfer, lane, clock, effects).await;
        done(&mut body, outcome, "restore")?;
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
        let outcome = call_for_setup(&mut body, &start, Phase::Call, lane, clock, effects).await;
        done(&mut body, outcome, "start")?;
    }
    Ok((body, identity))
}

fn done(body: &mut Body, outcome: Outcome, what: &str) -> Result<(), String> {
    match outcome {
        Ok(Returned::Done(Err(error))) => {
            let said = body.context().named(&error);
            let said = said.unwrap_or_else(|| error.to_string());
            Err(format!("`{what}` failed: {said}"))
        }
        Ok(_) => Ok(()),
        Err(fault) => Err(format!("`{what}` failed: {fault}")),
    }
}

/// One of the calls around a replica's life, under the setup budgets.
pub(super) async fn call_for_setup(
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
pub(super) fn log_failure(identity: &Identity, handler: &str, text: &str) {
    tracing::warn!(
        module = %identity.module,
        generation = identity.generation,
        export = handler,
        "{}",
        Escaped(super::blame::cut(text))
    );
}
