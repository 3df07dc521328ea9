//! A worker: replicas that may wait, each a local task of one thread, one call at a time each. This file takes the mail and brings it to the copies;
//! what becomes of a call is [`crate::home`]'s, the same as on a shard. It spawns no thread and reads no clock but the one it is given and tokio's, so
//! it runs in a paused runtime as well.
//!
//! What a replica leaves goes to one shard, always the same, at once when the replica waits and when a call ends, and the answers of its calls go the same
//! way; so their order stays. Only calls that were never begun, which have left nothing, are answered directly.

mod replica_task;
mod station;
#[cfg(test)]
mod tests;

use core::cell::{Cell, RefCell};
use core::panic::AssertUnwindSafe;
use core::sync::atomic::Ordering;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use cohnect_capabilities::Effect;
use futures_util::FutureExt as _;
use tokio::sync::{Notify, oneshot};

use self::station::Station;
use crate::context::{Identity, Outlet};
use crate::deadline::Ticker;
use crate::escaped::Escaped;
use crate::export::{ServerEvent, StartReason, StopReason};
use crate::home::body::{Lane, ReplicaNumbers};
use crate::home::news;
use crate::home::slot::{Slot, Turn};
use crate::lost_mail::LostMail;
use crate::mail::{Address, Answer, Answered, Call, HomeId, Mail, NotRun, Post, Relay, Waker};
use crate::now::{Clock, Now};
use crate::order::{Install, Order};
use crate::untold::Untold;

/// Wakes a worker: the waker of its box.
#[derive(Debug, Default)]
pub struct Bell(Notify);

impl Waker for Bell {
    fn wake(&self) {
        self.0.notify_one();
    }
}

/// What a worker works with.
#[derive(Clone)]
pub struct WorkerSetup {
    /// Which home it is.
    pub id: HomeId,
    /// The boxes of all homes.
    pub post: Arc<Post>,
    /// The waker that its own box was made with.
    pub bell: Arc<Bell>,
    /// The server's clock; it runs as fast as tokio's.
    pub clock: Arc<dyn Clock>,
    /// The tick.
    pub ticker: Ticker,
}

impl core::fmt::Debug for WorkerSetup {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("WorkerSetup")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// Runs a worker until `stop` is done. Its replicas are local tasks, so it needs a `LocalSet` or a `LocalRuntime`; the custodian removes them before
/// the worker is stopped.
///
/// # Panics
/// When one of its replicas' tasks has panicked, which is a fault of the server: whoever waits for anything here is told first, and then the worker's
/// thread ends with that panic, so that whoever watches the thread sees it.
pub async fn run(setup: WorkerSetup, stop: impl Future<Output = ()>) {
    let shared = Rc::new(Shared::new(setup));
    let mut stop = core::pin::pin!(stop);
    let mut mail = Vec::new();
    loop {
        shared.setup.post.collect(shared.setup.id, &mut mail);
        if let Some(panic) = shared.fallen.take() {
            shared.fall(mail.drain(..).map(|(_, letter)| letter));
            std::panic::resume_unwind(panic);
        }
        for (_, letter) in mail.drain(..) {
            shared.take(letter);
        }
        shared.room.notify_waiters();
        shared.staff_all();
        let idle = shared.setup.post.doze(shared.setup.id);
        tokio::select! {
            biased;
            () = &mut stop => return,
            () = shared.setup.bell.0.notified(), if idle => {}
            // The replicas have their turn even while mail keeps coming.
            () = tokio::task::yield_now(), if !idle => {}
        }
        if idle {
            shared.setup.post.awake(shared.setup.id);
        }
    }
}

/// What the tasks of one worker have in common.
struct Shared {
    setup: WorkerSetup,
    numbers: Arc<ReplicaNumbers>,
    stations: RefCell<BTreeMap<Address, Rc<Station>>>,
    /// Copies whose first replica is being made, each with the removal that came meanwhile.
    making: RefCell<BTreeMap<Address, Option<Removal>>>,
    /// Rings whenever the worker looks up: there may be room again for what its replicas leave.
    room: Notify,
    /// Whether a further replica would have been made, had there been room for what it leaves.
    starved: Cell<bool>,
    /// Server events that no place was found for.
    untold: RefCell<Untold>,
    /// Mail that nobody was there for.
    lost: RefCell<LostMail>,
    /// The panic of a replica's task.
    fallen: Cell<Option<Panic>>,
}

/// Why a copy goes, and who is told once it is gone.
type Removal = (StopReason, oneshot::Sender<()>);

/// What a panic was raised with.
type Panic = Box<dyn core::any::Any + Send>;

impl Shared {
    fn new(setup: WorkerSetup) -> Self {
        Self {
            numbers: Arc::new(ReplicaNumbers::new(setup.id)),
            setup,
            stations: RefCell::default(),
            making: RefCell::default(),
            room: Notify::new(),
            starved: Cell::new(false),
            untold: RefCell::default(),
            lost: RefCell::default(),
            fallen: Cell::new(None),
        }
    }

    /// Runs a replica's life beside the others. Its panic would lie unseen in a handle that nobody joins, so it is handed to the worker.
    fn spawn(self: &Rc<Self>, life: impl Future<Output = ()> + 'static) {
        let shared = Rc::clone(self);
        tokio::task::spawn_local(async move {
            // What the panic left half done is not looked at again: the worker ends.
            if let Err(panic) = AssertUnwindSafe(life).catch_unwind().await {
                shared.fallen.set(Some(panic));
                shared.setup.bell.wake();
            }
        });
    }

    /// The worker ends: whoever waits for it is told, and nobody is to begin waiting.
    fn fall(&self, mail: impl Iterator<Item = Mail>) {
        for station in core::mem::take(&mut *self.stations.borrow_mut()).values() {
            station.code().healthy.store(false, Ordering::Relaxed);
            self.refuse_all(station);
        }
        self.making.take();
        for letter in mail {
            match letter {
                Mail::Call(call) => self.refuse(call),
                Mail::Walk(walk) => {
                    self.answer(walk.answer, Answered::not_run(NotRun::Unavailable));
                }
                // Whoever waits for an order learns from its dropped end that the home is gone.
                Mail::Order(_)
                | Mail::Reply(..)
                | Mail::Relay(_)
                | Mail::Effects(..)
                | Mail::Fanout(_) => {}
            }
        }
    }

    /// One replica of a copy less. Where it was the last, nobody is there for what still waits.
    fn quit(&self, station: &Station) {
        station.quit();
        if station.is_deserted() {
            self.refuse_all(station);
        }
    }

    fn refuse_all(&self, station: &Station) {
        for call in station.drain() {
            self.refuse(call);
        }
        station.refuse_orders("its replica is gone");
    }

    /// Answers a call that nobody is there for.
    fn refuse(&self, call: Call) {
        let now_us = self.now().monotonic_us;
        self.lost.borrow_mut().note_unread(now_us, &call);
        self.answer(call.answer, Answered::not_run(NotRun::Unavailable));
    }

    fn now(&self) -> Now {
        self.setup.clock.now()
    }

    fn take(self: &Rc<Self>, letter: Mail) {
        match letter {
            Mail::Call(call) => self.queue(call),
            Mail::Order(Order::Install(install)) => self.install(*install),
            Mail::Order(Order::Switch(install)) => self.switch(*install),
            Mail::Order(Order::Remove { copy, reason, done }) => {
                self.remove(&copy, reason, done);
            }
            Mail::Order(Order::Event(event)) => self.announce(&event),
            // Stages never wait, so none of them lives here.
            Mail::Walk(walk) => {
                self.answer(walk.answer, Answered::not_run(NotRun::Unavailable));
            }
            // A worker calls nobody by ticket, carries nothing out, passes nothing on and has no clients.
            Mail::Reply(..) | Mail::Relay(_) | Mail::Effects(..) | Mail::Fanout(_) => {}
        }
    }

    fn queue(self: &Rc<Self>, call: Call) {
        let station = self.stations.borrow().get(&call.to).cloned();
        let Some(station) = station else {
            // It has moved since its caller found it in the catalog, or is going.
            self.refuse(call);
            return;
        };
        // Its replicas have a circuit each; what they have in common is whether the copy is well.
        let well = station.code().healthy.load(Ordering::Relaxed);
        match Turn::of(well, &call.export) {
            Turn::Run => {
                station.push(call);
                self.staff(&station);
            }
            Turn::Hold => station.hold(call),
            Turn::Refuse => self.refuse(call),
        }
    }

    /// Looks again whether copies need further replicas, if one was not made for want of room.
    fn staff_all(self: &Rc<Self>) {
        if self.starved.take() {
            let stations: Vec<_> = self.stations.borrow().values().cloned().collect();
            for station in stations {
                for _ in 0..station.wanted() {
                    self.staff(&station);
                }
            }
        }
    }

    /// Makes one more replica for a copy that may have several, if all of them are busy.
    fn staff(self: &Rc<Self>, station: &Rc<Station>) {
        if !self.has_room(station) {
            // One more would only wait for the same room.
            self.starved.set(true);
            return;
        }
        if !station.hires() {
            return;
        }
        let (shared, station) = (Rc::clone(self), Rc::clone(station));
        self.spawn(async move {
            let code = station.code();
            let epoch = station.epoch();
            // Its timers and signals are its own: those of the name belong to the first.
            let mut again = code.again(StartReason::Loaded);
            again.charter.timers = Arc::default();
            again.charter.signals = Arc::default();
            match shared.make(&again).await {
                Ok(slot) => replica_task::live(shared, station, slot, epoch).await,
                Err(problem) => {
                    tracing::warn!(module = %station.address().module, "no further replica: {}", Escaped(&problem));
                    shared.quit(&station);
                }
            }
        });
    }

    fn remove(&self, copy: &Address, reason: StopReason, done: oneshot::Sender<()>) {
        // One that is still being made is stopped by who makes it: its `start` may have begun.
        if let Some(removal) = self.making.borrow_mut().get_mut(copy) {
            *removal = Some((reason, done));
            return;
        }
        let station = self.stations.borrow_mut().remove(copy);
        match station {
            Some(station) => station.leave(reason, done),
            None => done.send(()).unwrap_or_default(),
        }
    }

    fn install(self: &Rc<Self>, install: Install) {
        if self.stations.borrow().contains_key(&install.copy)
            || self.making.borrow().contains_key(&install.copy)
        {
            install
                .done
                .send(Err("this copy is already here".to_owned()))
                .unwrap_or_default();
            return;
        }
        let copy = install.copy.clone();
        self.making.borrow_mut().insert(copy.clone(), None);
        let shared = Rc::clone(self);
        self.spawn(async move {
            let made = shared.make(&install).await;
            let removal = shared.making.borrow_mut().remove(&copy).flatten();
            match (made, removal) {
                (made, Some((reason, done))) => {
                    if let Ok(mut slot) = made {
                        replica_task::stop(&shared, &mut slot, reason).await;
                    }
                    let problem = "it was removed while it was being made".to_owned();
                    install.done.send(Err(problem)).unwrap_or_default();
                    done.send(()).unwrap_or_default();
                }
                (Err(problem), None) => install.done.send(Err(problem)).unwrap_or_default(),
                (Ok(slot), None) => {
                    let carrier = shared.setup.post.layout().shard_of_effects(&copy.module);
                    let code = install.again(StartReason::Loaded);
                    let station = Rc::new(Station::new(code, carrier));
                    let here = Rc::clone(&station);
                    shared.stations.borrow_mut().insert(copy, here);
                    install.done.send(Ok(None)).unwrap_or_default();
                    replica_task::live(shared, station, slot, 0).await;
                }
            }
        });
    }

    fn switch(self: &Rc<Self>, install: Install) {
        let station = self.stations.borrow().get(&install.copy).cloned();
        let Some(station) = station else {
            install
                .done
                .send(Err("this copy is not here".to_owned()))
                .unwrap_or_default();
            return;
        };
        if station.is_single() && install.replicas_max == 1 {
            let now = self.now();
            station.order(install, now);
            return;
        }
        // Where there are several, new calls go to new replicas and the old ones end when they are idle; no state goes over.
        let shared = Rc::clone(self);
        self.spawn(async move {
            match shared.make(&install).await {
                Err(problem) => install.done.send(Err(problem)).unwrap_or_default(),
                Ok(slot) => {
                    let epoch = station.renew(install.again(StartReason::Loaded));
                    install.done.send(Ok(None)).unwrap_or_default();
                    replica_task::live(shared, station, slot, epoch).await;
                }
            }
        });
    }

    async fn make(&self, install: &Install) -> Result<Slot, String> {
        let outlet = Arc::new(ShardOutlet {
            post: Arc::clone(&self.setup.post),
            from: self.setup.id,
        });
        let mut effects = Vec::new();
        let making = Slot::install(
            install,
            Lane::Waiting(outlet),
            Arc::clone(&self.numbers),
            &*self.setup.clock,
            &mut effects,
        );
        let slot = replica_task::metered(&self.setup.ticker, making).await?;
        self.release(slot.identity(), effects);
        Ok(slot)
    }

    fn announce(self: &Rc<Self>, event: &ServerEvent) {
        let stations: Vec<_> = self.stations.borrow().values().cloned().collect();
        for station in stations {
            let code = station.code();
            let exports = code.prepared.exports();
            match news(station.address(), exports, &code.charter.told, event) {
                Some(Ok(call)) => self.queue(call),
                Some(Err(untold)) => {
                    let now_us = self.now().monotonic_us;
                    let module = &station.address().module;
                    self.untold.borrow_mut().note(now_us, module, &untold);
                }
                None => {}
            }
        }
    }

    /// Whether there is room for what a call of this copy may leave.
    fn has_room(&self, station: &Station) -> bool {
        let (post, to) = (&self.setup.post, station.carrier());
        post.has_room_for_effects(self.setup.id, to)
    }

    /// Waits until there may be room for what calls leave, or something else has happened to the copy. Whoever waits here is this worker alone: the shard
    /// that makes the room waits for nobody.
    async fn wait_for_room(&self, station: &Station) {
        tokio::select! {
            () = self.room.notified() => {}
            () = station.rung() => {}
        }
    }

    /// Sends what a replica left to the shard that carries it out.
    fn release(&self, identity: &Identity, effects: Vec<Effect>) {
        send_effects(&self.setup.post, self.setup.id, identity, effects);
    }

    /// Answers a call that has run, by way of the shard that carries out what its copy leaves.
    fn relay(&self, carrier: HomeId, relay: Relay) {
        match relay.answer {
            Answer::Home(..) => {
                let mut mail = vec![Mail::Relay(relay)];
                self.setup.post.deliver(self.setup.id, carrier, &mut mail);
            }
            // A task that waits reads nothing else of what the call left.
            Answer::Nobody | Answer::Waiter(_) => self.answer(relay.answer, relay.answered),
        }
    }

    fn answer(&self, answer: Answer, answered: Answered) {
        match answer {
            Answer::Nobody => {}
            Answer::Home(home, ticket) => {
                let reply = Mail::Reply(ticket, answered);
                self.setup
                    .post
                    .deliver(self.setup.id, home, &mut vec![reply]);
            }
            // A waiter that is gone has given the answer up.
            Answer::Waiter(waiter) => drop(waiter.send(answered)),
        }
    }
}

/// Carries the effects of a call away while it waits.
struct ShardOutlet {
    post: Arc<Post>,
    from: HomeId,
}

impl Outlet for ShardOutlet {
    fn release(&self, identity: &Identity, _now: Now, effects: Vec<Effect>) {
        send_effects(&self.post, self.from, identity, effects);
    }
}

fn send_effects(post: &Post, from: HomeId, identity: &Identity, effects: Vec<Effect>) {
    if !effects.is_empty() {
        let to = post.layout().shard_of_effects(&identity.module);
        let mail = Mail::Effects(Arc::clone(&identity.address), effects);
        post.deliver(from, to, &mut vec![mail]);
    }
}

/// Why replicas of a copy that may have several end when new code came.
const REPLACED: StopReason = StopReason::Swapped;
