//! One copy on a worker, as its replicas share it: the queue they take calls from, the orders for it, the code that further replicas are made from. It
//! runs nothing.

use core::cell::{Cell, RefCell};
use core::time::Duration;
use std::collections::VecDeque;
use std::rc::Rc;

use tokio::sync::{Notify, oneshot};

use crate::export::{Export, StopReason};
use crate::home::slot::Turn;
use crate::mail::{Address, Call, HomeId};
use crate::now::Now;
use crate::order::Install;

/// One copy, with one replica or several.
pub(super) struct Station {
    address: Address,
    /// The shard that carries its effects out.
    carrier: HomeId,
    code: RefCell<Rc<Install>>,
    /// Counts the codes; a replica of an older one ends when it is idle.
    epoch: Cell<u64>,
    /// Counts the replicas that ended since newer code was there.
    successions: Cell<u64>,
    /// Bounded by the places that calls bring.
    queue: RefCell<VecDeque<Call>>,
    /// News that came to its turn while a replica's circuit was open, or that no replica could be made for. It came before all that is in the queue, and is
    /// told before that. The places that it holds bound it.
    held: RefCell<VecDeque<Call>>,
    /// Swaps that wait for the running call, each with its moment of giving up; the custodian sends one at a time.
    orders: RefCell<VecDeque<(Install, u64)>>,
    leaving: Cell<Option<StopReason>>,
    gone: Cell<Option<oneshot::Sender<()>>>,
    replicas: Cell<u32>,
    idle: Cell<u32>,
    /// Rings for each call, and for all replicas when the copy itself changes.
    bell: Notify,
    /// Rings when an order comes, also for a replica that runs a call.
    hurry: Notify,
}

impl Station {
    /// A copy whose first replica has just been made.
    pub(super) fn new(code: Install, carrier: HomeId) -> Self {
        Self {
            address: code.copy.clone(),
            carrier,
            code: RefCell::new(Rc::new(code)),
            epoch: Cell::new(0),
            successions: Cell::new(0),
            queue: RefCell::default(),
            held: RefCell::default(),
            orders: RefCell::default(),
            leaving: Cell::new(None),
            gone: Cell::new(None),
            replicas: Cell::new(1),
            idle: Cell::new(0),
            bell: Notify::new(),
            hurry: Notify::new(),
        }
    }

    pub(super) const fn address(&self) -> &Address {
        &self.address
    }

    pub(super) const fn carrier(&self) -> HomeId {
        self.carrier
    }

    pub(super) fn code(&self) -> Rc<Install> {
        Rc::clone(&self.code.borrow())
    }

    pub(super) const fn epoch(&self) -> u64 {
        self.epoch.get()
    }

    pub(super) const fn successions(&self) -> u64 {
        self.successions.get()
    }

    /// A replica of older code has ended. It set timers as long as it lived, and whoever has the same timers looks at them again.
    pub(super) fn succeed(&self) {
        self.successions.set(self.successions.get() + 1);
        self.bell.notify_waiters();
    }

    pub(super) fn is_single(&self) -> bool {
        self.code.borrow().replicas_max == 1
    }

    pub(super) fn push(&self, call: Call) {
        self.queue.borrow_mut().push_back(call);
        self.bell.notify_one();
    }

    /// Queues news for a replica that is not well, which looks for it by itself when it is.
    pub(super) fn hold(&self, call: Call) {
        self.queue.borrow_mut().push_back(call);
    }

    /// Puts news back that no replica has heard.
    pub(super) fn put_back(&self, call: Call) {
        self.held.borrow_mut().push_front(call);
    }

    /// The next call that need not wait any longer, by what becomes of each. What is to be held is laid aside on the way, so that it is looked at only once.
    pub(super) fn next_call(&self, turn: impl Fn(&Export) -> Turn) -> Option<Call> {
        let (mut queue, mut held) = (self.queue.borrow_mut(), self.held.borrow_mut());
        let holds = |call: &Call| turn(&call.export) == Turn::Hold;
        if held.front().is_some_and(|call| !holds(call)) {
            return held.pop_front();
        }
        while let Some(call) = queue.pop_front() {
            if !holds(&call) {
                return Some(call);
            }
            held.push_back(call);
        }
        None
    }

    pub(super) fn drain(&self) -> VecDeque<Call> {
        let mut all = self.held.take();
        all.append(&mut self.queue.borrow_mut());
        all
    }

    /// Takes a place for one more replica, if calls wait and all of those that are there are busy.
    pub(super) fn hires(&self) -> bool {
        let wanted = self.wanted() > 0;
        if wanted {
            self.replicas.set(self.replicas.get() + 1);
        }
        wanted
    }

    /// How many more replicas there should be: one for each call that no idle one will take, as far as there may be more.
    pub(super) fn wanted(&self) -> usize {
        if self.leaving.get().is_some() {
            return 0;
        }
        let waiting = self.queue.borrow().len() + self.held.borrow().len();
        let most = self.code.borrow().replicas_max;
        let free = most.saturating_sub(self.replicas.get()) as usize;
        waiting.saturating_sub(self.idle.get() as usize).min(free)
    }

    /// One replica less; the last one to go says so.
    pub(super) fn quit(&self) {
        self.replicas.set(self.replicas.get().saturating_sub(1));
        if self.replicas.get() == 0
            && let Some(gone) = self.gone.take()
        {
            gone.send(()).unwrap_or_default();
        }
    }

    pub(super) const fn is_deserted(&self) -> bool {
        self.replicas.get() == 0
    }

    /// New code for replicas that carry nothing over; the first of them is there. Returns its number.
    pub(super) fn renew(&self, code: Install) -> u64 {
        *self.code.borrow_mut() = Rc::new(code);
        self.epoch.set(self.epoch.get() + 1);
        self.replicas.set(self.replicas.get() + 1);
        self.bell.notify_waiters();
        self.epoch.get()
    }

    /// New code took over in the one replica.
    pub(super) fn took_over(&self, code: Install) {
        *self.code.borrow_mut() = Rc::new(code);
    }

    /// The copy goes: its replicas end when they are idle.
    pub(super) fn leave(&self, reason: StopReason, done: oneshot::Sender<()>) {
        self.leaving.set(Some(reason));
        if self.is_deserted() {
            done.send(()).unwrap_or_default();
            return;
        }
        self.gone.set(Some(done));
        self.bell.notify_waiters();
    }

    pub(super) const fn leaving(&self) -> Option<StopReason> {
        self.leaving.get()
    }

    /// A swap for the one replica.
    pub(super) fn order(&self, install: Install, now: Now) {
        let wait = install.charter.limits.swap_wait;
        let wait_us = u64::try_from(wait.as_micros()).unwrap_or(u64::MAX);
        let until_us = now.monotonic_us.saturating_add(wait_us);
        self.orders.borrow_mut().push_back((install, until_us));
        self.bell.notify_waiters();
        self.hurry.notify_one();
    }

    pub(super) fn next_order(&self) -> Option<Install> {
        let (install, _) = self.orders.borrow_mut().pop_front()?;
        Some(install)
    }

    /// Whether the first order does not wait for the running call.
    pub(super) fn is_forced(&self) -> bool {
        self.orders
            .borrow()
            .front()
            .is_some_and(|(install, _)| install.is_forced())
    }

    /// When the first order gives up.
    pub(super) fn gives_up_us(&self) -> Option<u64> {
        self.orders.borrow().front().map(|(_, until_us)| *until_us)
    }

    /// Gives the first order up, saying for what it waited.
    pub(super) fn give_up(&self, running: &str) {
        if let Some(install) = self.next_order() {
            let waited = install.charter.limits.swap_wait.as_secs();
            let problem = format!("it waited {waited} s for the running call, `{running}`, to end");
            install.done.send(Err(problem)).unwrap_or_default();
        }
    }

    /// Nobody is there to obey any more.
    pub(super) fn refuse_orders(&self, why: &str) {
        for (install, _) in self.orders.take() {
            install.done.send(Err(why.to_owned())).unwrap_or_default();
        }
    }

    /// Waits for something to do, at most this long.
    pub(super) async fn wait(&self, at_most: Option<Duration>) {
        self.idle.set(self.idle.get() + 1);
        let rung = self.bell.notified();
        match at_most {
            None => rung.await,
            Some(time) => drop(tokio::time::timeout(time, rung).await),
        }
        self.idle.set(self.idle.get().saturating_sub(1));
    }

    /// Waits for a call, or for a change of the copy itself.
    pub(super) async fn rung(&self) {
        self.bell.notified().await;
    }

    /// Waits until an order comes.
    pub(super) async fn hurried(&self) {
        self.hurry.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use cohnect_capabilities::{Client, CloseReason};

    use super::*;
    use crate::export::StartReason;
    use crate::testing::World;
    use crate::testing::script::prepared;

    fn station() -> Station {
        let copy = Address {
            module: "a".into(),
            copy: 0,
        };
        let code = Install {
            copy,
            prepared: prepared("events disconnected"),
            charter: World::new().charter("a", true),
            seed: [1; 32],
            healthy: std::sync::Arc::default(),
            replicas_max: 1,
            reason: StartReason::Loaded,
            snapshot: None,
            done: oneshot::channel().0,
        };
        Station::new(code, HomeId(0))
    }

    fn news(station: &Station) -> Call {
        let event = Export::Disconnected(Client::default(), CloseReason::Left);
        Call::own(station.address().clone(), event)
    }

    #[test]
    fn news_is_looked_at_once_while_the_circuit_is_open_and_told_first_when_it_closes() {
        let station = station();
        for _ in 0..1_000 {
            station.push(news(&station));
        }
        let alive = Export::Alive(Client::default(), 1);
        station.push(Call::own(station.address().clone(), alive));
        let ill = |export: &Export| {
            if export.is_news() {
                Turn::Hold
            } else {
                Turn::Refuse
            }
        };
        let well = |_: &Export| Turn::Run;
        let refused = station.next_call(ill).unwrap();
        assert!(!refused.export.is_news());
        assert!(station.next_call(ill).is_none());
        assert!(
            station.queue.borrow().is_empty(),
            "nobody walks over it again"
        );
        station.push(refused);
        for _ in 0..1_000 {
            assert!(station.next_call(well).unwrap().export.is_news());
        }
        let first = station.next_call(well).unwrap();
        assert!(!first.export.is_news());
        station.put_back(news(&station));
        station.push(first);
        assert_eq!(station.drain().len(), 2);
    }
}
