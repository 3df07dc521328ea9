//! The copies of modules in their homes: what goes over every swap with a copy, the orders that bring it there and away, and what comes of them. Which copies
//! there are is decided above.

use std::sync::{Arc, Mutex};

use futures_util::future::join_all;
use tokio::sync::oneshot;

use super::Custodian;
use super::plan::{self, Plan, Seat};
use crate::catalog::Copy;
use crate::context::{Charter, Identity, Timers};
use crate::export::{Snapshot, StartReason, StopReason};
use crate::mail::{Address, HomeId, Mail};
use crate::order::{Install, Order};

/// One copy, with what belongs to the module's name and goes over every swap.
#[derive(Clone, Debug)]
pub(super) struct Seated {
    pub(super) name: Arc<str>,
    pub(super) seat: Seat,
    pub(super) copy: Copy,
    pub(super) timers: Arc<Mutex<Timers>>,
    pub(super) signals: Arc<core::sync::atomic::AtomicU32>,
}

impl Seated {
    pub(super) fn new(name: &Arc<str>, seat: Seat) -> Self {
        Self {
            name: Arc::clone(name),
            seat,
            copy: Copy::new(seat.home, seat.number),
            timers: Arc::default(),
            signals: Arc::default(),
        }
    }

    pub(super) fn address(&self) -> Address {
        Address {
            module: Arc::clone(&self.name),
            copy: self.seat.number,
        }
    }

    pub(super) fn is_at(&self, seat: &Seat) -> bool {
        self.seat.home == seat.home && self.seat.number == seat.number
    }
}

/// What comes of an order.
pub(super) type Came = oneshot::Receiver<Result<Option<Snapshot>, String>>;

impl Custodian {
    /// Sends an order for one copy: `Switch` where it `stays`, else `Install`.
    pub(super) fn order(
        &self,
        plan: &Plan,
        generation: u64,
        seated: &Seated,
        reason: StartReason,
        snapshot: Option<Snapshot>,
        stays: bool,
    ) -> Came {
        let (done, came) = oneshot::channel();
        let install = Box::new(Install {
            copy: seated.address(),
            prepared: Arc::clone(&plan.prepared),
            charter: Charter {
                identity: Identity {
                    module: Arc::clone(&plan.name),
                    address: Arc::clone(&plan.name),
                    generation,
                    copy: seated.seat.number,
                    replica: 0,
                    instance: self.setup.instance,
                },
                grants: Arc::clone(&plan.grants),
                limits: plan.limits,
                config: Arc::clone(&plan.config) as _,
                capabilities: self.setup.capabilities.clone(),
                timers: Arc::clone(&seated.timers),
                signals: Arc::clone(&seated.signals),
                told: Arc::clone(&seated.copy.told),
                asked: Arc::clone(&seated.copy.asked),
                carrier: self.carrier(seated),
                outlet: None,
            },
            seed: plan::seed(&self.setup, &plan.name, generation, seated.seat.number),
            healthy: Arc::clone(&seated.copy.healthy),
            replicas_max: seated.seat.replicas_max,
            reason,
            snapshot,
            done,
        });
        let order = if stays {
            Order::Switch(install)
        } else {
            Order::Install(install)
        };
        self.send(seated.seat.home, order);
        came
    }

    /// The shard that carries out what a copy leaves.
    fn carrier(&self, seated: &Seated) -> HomeId {
        let layout = self.setup.post.layout();
        if layout.is_shard(seated.seat.home) {
            seated.seat.home
        } else {
            layout.shard_of_effects(&seated.name)
        }
    }

    pub(super) async fn remove<'a>(
        &self,
        seats: impl Iterator<Item = &'a Seated>,
        reason: StopReason,
    ) {
        let gone = seats.map(|seated| {
            let (done, gone) = oneshot::channel();
            let order = Order::Remove {
                copy: seated.address(),
                reason,
                done,
            };
            self.send(seated.seat.home, order);
            gone
        });
        // A home that is gone has taken its replicas with it.
        for gone in gone.collect::<Vec<_>>() {
            gone.await.ok();
        }
    }

    pub(super) fn send(&self, home: HomeId, order: Order) {
        let control = self.setup.post.layout().control();
        self.setup
            .post
            .deliver(control, home, &mut vec![Mail::Order(order)]);
    }
}

pub(super) async fn settled(orders: Vec<Came>) -> Vec<Result<Option<Snapshot>, String>> {
    join_all(orders)
        .await
        .into_iter()
        .map(|came| came.unwrap_or_else(|_| Err("its home is gone".to_owned())))
        .collect()
}

pub(super) fn first_problem(outcomes: &[Result<Option<Snapshot>, String>]) -> Option<String> {
    outcomes
        .iter()
        .find_map(|outcome| outcome.as_ref().err())
        .cloned()
}

pub(super) fn made<'a>(
    seats: &'a [Seated],
    outcomes: &[Result<Option<Snapshot>, String>],
) -> impl Iterator<Item = &'a Seated> {
    seats
        .iter()
        .zip(outcomes)
        .filter(|(_, outcome)| outcome.is_ok())
        .map(|(seated, _)| seated)
}
