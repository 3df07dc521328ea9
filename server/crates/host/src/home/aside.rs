//! Where the effects of a call on a worker go while it waits: those for others leave at once, those for the replica itself are laid aside until its
//! home looks.

use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use cohnect_capabilities::Effect;

use super::schedule::{Schedule, is_own};
use crate::context::{Identity, Outlet, Timer, Timers};
use crate::now::Now;

/// The outlet of one replica's seat.
pub(crate) struct Aside {
    timers: Arc<Mutex<Timers>>,
    /// Rates and signals; a call's own bounds hold for them.
    rest: Mutex<Vec<Effect>>,
    touched: AtomicBool,
    others: Arc<dyn Outlet>,
}

impl Aside {
    pub(crate) fn new(timers: Arc<Mutex<Timers>>, others: Arc<dyn Outlet>) -> Self {
        Self {
            timers,
            rest: Mutex::default(),
            touched: AtomicBool::new(false),
            others,
        }
    }

    /// Hands over what was laid aside.
    pub(crate) fn settle(&self, schedule: &mut Schedule, now: Now) {
        if self.touched.swap(false, Ordering::Relaxed) {
            schedule.index();
            let mut rest =
                core::mem::take(&mut *self.rest.lock().unwrap_or_else(PoisonError::into_inner));
            schedule.absorb(&mut rest, now.wall_us, now);
        }
    }
}

impl Outlet for Aside {
    fn release(&self, identity: &Identity, now: Now, effects: Vec<Effect>) {
        let (own, others): (Vec<_>, Vec<_>) = effects.into_iter().partition(is_own);
        if !own.is_empty() {
            self.touched.store(true, Ordering::Relaxed);
            let mut timers = self.timers.lock().unwrap_or_else(PoisonError::into_inner);
            let mut rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner);
            for effect in own {
                match effect {
                    Effect::TimerSet {
                        name,
                        delay,
                        periodic,
                        data,
                    } => {
                        let timer = Timer {
                            due_at: now.wall_us.saturating_add(delay),
                            period_us: periodic.then_some(delay),
                            data,
                        };
                        timers.insert(name, timer);
                    }
                    Effect::TimerCancel { name } => {
                        timers.remove(&name);
                    }
                    Effect::TickRate { .. }
                    | Effect::Signal { .. }
                    | Effect::Send { .. }
                    | Effect::SendTo { .. }
                    | Effect::SendEach { .. }
                    | Effect::Broadcast { .. }
                    | Effect::Disconnect { .. }
                    | Effect::Publish { .. }
                    | Effect::PublishOne { .. }
                    | Effect::Finish { .. }
                    | Effect::Attach { .. }
                    | Effect::Detach { .. }
                    | Effect::Mail { .. } => rest.push(effect),
                }
            }
        }
        if !others.is_empty() {
            self.others.release(identity, now, others);
        }
    }
}
