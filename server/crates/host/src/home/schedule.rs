//! What one replica does by itself: timers, the ticker, the background step and the signals that wake it. It says what is due; its home queues that as
//! calls, and tells it how they ended. All of it belongs to the module's name, so it goes over a swap.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use cohnect_capabilities::mailbox::Place;
use cohnect_capabilities::signals::Signal;
use cohnect_capabilities::{Effect, TimestampUs};

use super::pulse::Pulse;
use crate::context::{Timer, Timers};
use crate::export::{Export, Exports, Next, Outcome, Returned, Wake};
use crate::limits::Limits;
use crate::now::Now;

/// Calls of its own timers that may wait for one replica: the timers themselves are bounded, but periodic ones come again and again. What is due
/// beyond that stays set until these have run.
const TIMERS_QUEUED_MAX: usize = 64;
/// Names of timers that are said to be heard by nobody: one that sets more of them makes them up.
const UNHEARD_MAX: usize = 16;
/// A background step that failed begins anew after this time: long enough not to fill the log.
const STEP_PAUSE_US: u64 = 1_000_000;

/// Where the background step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// There is none, or it said that it has finished.
    None,
    /// Due at this monotonic moment, or when signalled.
    At(u64),
    /// Due when signalled.
    WhenSignalled,
    /// Due at this monotonic moment, whatever is signalled: it failed, and begins anew.
    AnewAt(u64),
    /// In the queue, or running.
    Queued,
}

/// What one replica does by itself.
#[derive(Debug)]
pub(crate) struct Schedule {
    /// A timer stays in here until its call begins: one that finds no replica, or goes with its queue, is not lost.
    timers: Arc<Mutex<Timers>>,
    /// The timers by when they are due, without those that are queued. A replica of other code may share the map, so it is asked again before one runs.
    due: BTreeSet<(TimestampUs, Arc<str>)>,
    on_timer: bool,
    /// The timers that are queued as calls.
    queued: BTreeSet<(TimestampUs, Arc<str>)>,
    pulse: Option<Pulse>,
    step: Step,
    /// The next step is the first of its replica.
    fresh: bool,
    signals: Vec<(Signal, Place)>,
    /// Timers that came without anybody to hear of them, by name: those of this code, and of these those of which nothing was said yet.
    unheard: BTreeSet<Arc<str>>,
    unsaid: Vec<Arc<str>>,
}

impl Schedule {
    /// The schedule of a replica that has just been made.
    pub(crate) fn new(
        timers: Arc<Mutex<Timers>>,
        exports: &Exports,
        limits: &Limits,
        now: Now,
    ) -> Self {
        let mut schedule = Self {
            timers,
            due: BTreeSet::new(),
            on_timer: false,
            queued: BTreeSet::new(),
            pulse: None,
            step: Step::None,
            fresh: true,
            signals: Vec::new(),
            unheard: BTreeSet::new(),
            unsaid: Vec::new(),
        };
        schedule.index();
        schedule.adopt(exports, limits, now);
        schedule
    }

    /// New code took over: it is asked for its plan, and its background begins.
    pub(crate) fn adopt(&mut self, exports: &Exports, limits: &Limits, now: Now) {
        self.on_timer = exports.timers;
        self.unheard.clear();
        self.pulse = exports.ticker.as_ref().map(|plan| {
            let mut pulse = self.pulse.take().unwrap_or_default();
            pulse.plan(plan, limits.tick_hz, now);
            pulse
        });
        if !exports.background {
            self.step = Step::None;
            self.signals.clear();
        } else if self.step != Step::Queued {
            self.step = Step::At(now.monotonic_us);
        }
        self.fresh = true;
    }

    /// The replica ended; a fresh one begins its background anew.
    pub(crate) fn restart(&mut self, exports: &Exports, now: Now) {
        // A step that ended its replica is due already, after a pause.
        let is_due = matches!(self.step, Step::Queued | Step::AnewAt(_));
        if exports.background && !is_due {
            self.step = Step::At(now.monotonic_us);
        }
        self.fresh = true;
    }

    /// Takes the effects that concern the replica itself out of an outbox; what is left is for others. `wall_us` is what the call took for now.
    pub(crate) fn absorb(&mut self, effects: &mut Vec<Effect>, wall_us: TimestampUs, now: Now) {
        if !effects.iter().any(is_own) {
            return;
        }
        let all = core::mem::take(effects);
        for effect in all {
            match effect {
                Effect::TimerSet {
                    name,
                    delay,
                    periodic,
                    data,
                } => self.set_timer(
                    name,
                    Timer {
                        due_at: wall_us.saturating_add(delay),
                        period_us: periodic.then_some(delay),
                        data,
                    },
                ),
                Effect::TimerCancel { name } => self.cancel_timer(&name),
                Effect::TickRate { hz } => {
                    if let Some(pulse) = &mut self.pulse {
                        pulse.set_rate(hz, now);
                    }
                }
                Effect::Signal { name, body, place } => {
                    if self.step != Step::None {
                        self.signals.push((Signal { name, body }, place));
                    }
                }
                other @ (Effect::Send { .. }
                | Effect::SendTo { .. }
                | Effect::SendEach { .. }
                | Effect::Broadcast { .. }
                | Effect::Disconnect { .. }
                | Effect::Publish { .. }
                | Effect::PublishOne { .. }
                | Effect::Finish { .. }
                | Effect::Attach { .. }
                | Effect::Detach { .. }
                | Effect::Mail { .. }) => effects.push(other),
            }
        }
    }

    /// Queues what is due.
    pub(crate) fn poll(&mut self, now: Now, mut queue: impl FnMut(Export)) {
        while self.queued.len() < TIMERS_QUEUED_MAX
            && self
                .due
                .first()
                .is_some_and(|(due_at, _)| *due_at <= now.wall_us)
        {
            let Some((due_at, name)) = self.due.pop_first() else {
                break;
            };
            if !self.on_timer {
                // Nobody wants to hear of it, now or again.
                self.timers().remove(&name);
                if self.unheard.len() < UNHEARD_MAX && self.unheard.insert(Arc::clone(&name)) {
                    self.unsaid.push(name);
                }
            } else if self.queued.insert((due_at, Arc::clone(&name))) {
                let data = Bytes::new();
                queue(Export::Timer { name, data, due_at });
            }
        }
        if let Some(pulse) = &mut self.pulse
            && pulse.poll(now)
        {
            queue(Export::Tick(crate::export::Tick::default()));
        }
        let stepping = match self.step {
            Step::None | Step::Queued => false,
            Step::At(due) => due <= now.monotonic_us || !self.signals.is_empty(),
            Step::AnewAt(due) => due <= now.monotonic_us,
            Step::WhenSignalled => !self.signals.is_empty(),
        };
        if stepping {
            self.step = Step::Queued;
            queue(Export::Step(Wake::Elapsed));
        }
    }

    /// Timers that came, and are set no more, because the code has nothing that hears of timers; each name once for a code.
    pub(crate) fn take_unheard(&mut self) -> Vec<Arc<str>> {
        core::mem::take(&mut self.unsaid)
    }

    /// The next monotonic moment at which something is due; none when nothing is.
    pub(crate) fn next_us(&self, now: Now) -> Option<u64> {
        let timer = (self.queued.len() < TIMERS_QUEUED_MAX)
            .then(|| self.due.first())
            .flatten()
            .map(|(due_at, _)| now.monotonic_of(*due_at));
        let tick = self.pulse.as_ref().and_then(Pulse::next_us);
        let step = match self.step {
            Step::None | Step::Queued => None,
            Step::AnewAt(due) => Some(due),
            Step::At(_) | Step::WhenSignalled if !self.signals.is_empty() => Some(now.monotonic_us),
            Step::At(due) => Some(due),
            Step::WhenSignalled => None,
        };
        [timer, tick, step].into_iter().flatten().min()
    }

    /// A call of its own begins: fills in what is known only now. False when there is nothing to run any more: a timer that was cancelled or moved while it
    /// was queued, or that a replica of other code has heard of.
    #[must_use]
    pub(crate) fn begin(&mut self, export: &mut Export, now: Now) -> bool {
        if let Export::Timer { name, data, due_at } = export {
            let Some(fired) = self.fire(name, *due_at, now) else {
                return false;
            };
            *data = fired;
        } else if let Export::Step(wake) = export
            && *wake != Wake::Stopping
        {
            *wake = if core::mem::take(&mut self.fresh) {
                Wake::Started
            } else if self.signals.is_empty() {
                Wake::Elapsed
            } else {
                Wake::Signalled(self.signals.drain(..).map(|(signal, _)| signal).collect())
            };
        } else if let (Export::Tick(tick), Some(pulse)) = (export, &mut self.pulse) {
            *tick = pulse.take(now);
        }
        true
    }

    /// A call ended, or could not begin.
    pub(crate) fn finish(&mut self, export: &Export, outcome: &Outcome, now: Now) {
        if let Export::Timer { name, due_at, .. } = export {
            let key = (*due_at, Arc::clone(name));
            let is_set = self
                .timers()
                .get(name)
                .is_some_and(|timer| timer.due_at == *due_at);
            if self.queued.remove(&key) && is_set {
                // It has not begun.
                self.due.insert(key);
            }
        } else if let (Export::Tick(_), Some(pulse)) = (export, &mut self.pulse) {
            pulse.ran();
        } else if let Export::Step(wake) = export
            && *wake != Wake::Stopping
        {
            self.step = self.after_step(outcome, now);
            if self.step == Step::None {
                self.signals.clear();
            }
        }
    }

    /// Whether the background step would want to know that its replica goes: it has begun, and has not said that it has finished.
    pub(crate) fn steps(&self) -> bool {
        self.step != Step::None && !self.fresh
    }

    /// Looks at the timers again, since somebody else changed the map.
    pub(crate) fn index(&mut self) {
        let due = self
            .timers()
            .iter()
            .map(|(name, timer)| (timer.due_at, Arc::clone(name)))
            .filter(|timer| !self.queued.contains(timer))
            .collect();
        self.due = due;
    }

    /// The timers, for whoever makes the next replica's context.
    pub(crate) const fn timers_shared(&self) -> &Arc<Mutex<Timers>> {
        &self.timers
    }

    fn after_step(&mut self, outcome: &Outcome, now: Now) -> Step {
        match outcome {
            Ok(Returned::Next(Ok(Next::After(time)))) => {
                Step::At(now.monotonic_us.saturating_add(*time))
            }
            Ok(Returned::Next(Ok(Next::AtOnce))) => Step::At(now.monotonic_us),
            Ok(Returned::Next(Ok(Next::WhenSignalled))) => Step::WhenSignalled,
            Ok(Returned::Next(Err(_))) | Err(_) => {
                self.fresh = true;
                Step::AnewAt(now.monotonic_us.saturating_add(STEP_PAUSE_US))
            }
            // `finished`, or the module has no step.
            Ok(_) => Step::None,
        }
    }

    /// Takes a timer that is due for its call, if it is still set for this moment.
    fn fire(
        &mut self,
        name: &Arc<str>,
        due_at: TimestampUs,
        now: Now,
    ) -> Option<cohnect_capabilities::Payload> {
        let mut timers = self.timers.lock().unwrap_or_else(PoisonError::into_inner);
        let timer = timers
            .get_mut(name)
            .filter(|timer| timer.due_at == due_at)?;
        let data = timer.data.clone();
        if let Some(period) = timer.period_us.filter(|period| *period > 0) {
            // Periods that nobody could keep up with are left out, not run one after the other.
            let missed = now.wall_us.saturating_sub(due_at) / period;
            timer.due_at = due_at.saturating_add(period.saturating_mul(missed.saturating_add(1)));
            let again = (timer.due_at, Arc::clone(name));
            drop(timers);
            self.due.insert(again);
        } else {
            timers.remove(name);
        }
        Some(data)
    }

    fn set_timer(&mut self, name: Arc<str>, timer: Timer) {
        let due_at = timer.due_at;
        let before = self.timers().insert(Arc::clone(&name), timer);
        if let Some(before) = before {
            self.due.remove(&(before.due_at, Arc::clone(&name)));
        }
        self.due.insert((due_at, name));
    }

    fn cancel_timer(&mut self, name: &Arc<str>) {
        let before = self.timers().remove(name);
        if let Some(before) = before {
            self.due.remove(&(before.due_at, Arc::clone(name)));
        }
    }

    fn timers(&self) -> MutexGuard<'_, Timers> {
        self.timers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an effect concerns the replica itself.
pub(crate) const fn is_own(effect: &Effect) -> bool {
    matches!(
        effect,
        Effect::TimerSet { .. }
            | Effect::TimerCancel { .. }
            | Effect::TickRate { .. }
            | Effect::Signal { .. }
    )
}
