//! Mail between homes. Each home has one box, swapped out whole; a turn stages its mail per destination and hands it over once; only a home that has
//! announced sleep is woken. What is bounded is the queue of each replica (a call takes a place when it is made) and, in bytes between two homes, what
//! fans out, what runs through stages, and what workers leave; replies and control messages always fit. Nothing ever blocks on a full box: only a worker's
//! replica waits before its next call, until a shard has taken what it left. Shards never wait, so two homes cannot wait for each other.

mod homes;
mod letters;
pub(crate) mod weight;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

pub use homes::{HomeId, Layout};
pub(crate) use homes::{spread, spread_over};
pub use letters::{
    Address, Answer, Answered, Call, Fanout, Mail, NotRun, Outgoing, Recipients, Relay, Walk,
};

/// Bytes of fan-outs that may wait between two homes: a second of 1,000 subscribers' snapshots at 60 Hz counts once a shard, about 64 KiB; this is
/// a hundred times as much, and what a stalled shard may cost in memory.
pub const FANOUT_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Bytes of effects that may wait between a worker and a shard before the worker's replicas begin no further call. What they run then still adds its own,
/// at most [`crate::limits::SENT_BYTES_MAX`] a replica, so a worker needs no room to end a call. As much as fan-outs may take.
pub const EFFECTS_BYTES_MAX: u64 = FANOUT_BYTES_MAX;

/// Wakes a sleeping home from any thread: an eventfd, a task's notifier.
pub trait Waker: Send + Sync {
    /// Wakes it; waking one that is awake does no harm.
    fn wake(&self);
}

/// All boxes of a server.
pub struct Post {
    layout: Layout,
    boxes: Vec<Mailbox>,
    /// Bytes of fan-outs and walks under way, by (from, to).
    fanouts: Vec<AtomicU64>,
    /// Bytes of effects under way, the same.
    effects: Vec<AtomicU64>,
}

struct Mailbox {
    mail: Mutex<Vec<(HomeId, Mail)>>,
    sleeping: AtomicBool,
    waker: Arc<dyn Waker>,
}

impl core::fmt::Debug for Post {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Post")
            .field("layout", &self.layout)
            .finish_non_exhaustive()
    }
}

impl Post {
    /// The boxes of a server with this layout; `waker` makes the waker of each home.
    pub fn new(layout: Layout, mut waker: impl FnMut(HomeId) -> Arc<dyn Waker>) -> Arc<Self> {
        let boxes = (0..layout.boxes())
            .map(|n| Mailbox {
                mail: Mutex::default(),
                sleeping: AtomicBool::new(false),
                waker: waker(HomeId(n as u16)),
            })
            .collect();
        let pairs = layout.boxes() * layout.boxes();
        let none = || (0..pairs).map(|_| AtomicU64::new(0)).collect();
        Arc::new(Self {
            layout,
            boxes,
            fanouts: none(),
            effects: none(),
        })
    }

    /// Which homes there are.
    #[must_use]
    pub const fn layout(&self) -> Layout {
        self.layout
    }

    /// Takes everything out of a home's box, in the order in which it came from each sender. `mail` is emptied first and its room used again.
    pub fn collect(&self, home: HomeId, mail: &mut Vec<(HomeId, Mail)>) {
        mail.clear();
        let Some(own) = self.boxes.get(usize::from(home.0)) else {
            return;
        };
        core::mem::swap(
            &mut *own.mail.lock().unwrap_or_else(PoisonError::into_inner),
            mail,
        );
        for (from, letter) in &*mail {
            match letter {
                Mail::Fanout(fanout) => self.landed(*from, home, fanout.what.weight()),
                Mail::Walk(walk) => self.landed(*from, home, walk.weight()),
                Mail::Effects(_, effects) => self.taken(*from, home, weight::of_all(effects)),
                Mail::Call(_) | Mail::Reply(..) | Mail::Relay(_) | Mail::Order(_) => {}
            }
        }
    }

    fn landed(&self, from: HomeId, to: HomeId, weight: u64) {
        if let Some(under_way) = self.pair(&self.fanouts, from, to) {
            under_way.fetch_sub(weight, Ordering::Relaxed);
        }
    }

    /// Effects were taken out of a box; if that made room, the worker whose replicas wait for it is woken.
    fn taken(&self, from: HomeId, to: HomeId, weight: u64) {
        let Some(under_way) = self.pair(&self.effects, from, to) else {
            return;
        };
        let before = under_way.fetch_sub(weight, Ordering::Relaxed);
        let crossed = before > EFFECTS_BYTES_MAX && before - weight <= EFFECTS_BYTES_MAX;
        if let (true, Some(sender)) = (crossed, self.boxes.get(usize::from(from.0))) {
            sender.waker.wake();
        }
    }

    /// The home is about to sleep: from now on mail wakes it. False when mail has come in the meantime; then it must not sleep.
    #[must_use]
    pub fn doze(&self, home: HomeId) -> bool {
        let Some(own) = self.boxes.get(usize::from(home.0)) else {
            return true;
        };
        own.sleeping.store(true, Ordering::SeqCst);
        let empty = own
            .mail
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_empty();
        if !empty {
            own.sleeping.store(false, Ordering::SeqCst);
        }
        empty
    }

    /// The home is awake: mail need not wake it.
    pub fn awake(&self, home: HomeId) {
        if let Some(own) = self.boxes.get(usize::from(home.0)) {
            own.sleeping.store(false, Ordering::SeqCst);
        }
    }

    /// Puts mail into one box. `mail` is emptied.
    pub fn deliver(&self, from: HomeId, to: HomeId, mail: &mut Vec<Mail>) {
        let Some(other) = self.boxes.get(usize::from(to.0)) else {
            mail.clear();
            return;
        };
        if mail.is_empty() {
            return;
        }
        // Shards carry their own effects out.
        if !self.layout.is_shard(from)
            && let Some(under_way) = self.pair(&self.effects, from, to)
        {
            for letter in &*mail {
                if let Mail::Effects(_, effects) = letter {
                    under_way.fetch_add(weight::of_all(effects), Ordering::Relaxed);
                }
            }
        }
        other
            .mail
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(mail.drain(..).map(|letter| (from, letter)));
        if other.sleeping.swap(false, Ordering::SeqCst) {
            other.waker.wake();
        }
    }

    /// Whether a worker's replicas may begin a call whose effects go to this shard. Where it is false, [`Post::collect`] wakes the worker once it is
    /// true again.
    #[must_use]
    pub fn has_room_for_effects(&self, from: HomeId, to: HomeId) -> bool {
        self.pair(&self.effects, from, to)
            .is_none_or(|under_way| under_way.load(Ordering::Relaxed) <= EFFECTS_BYTES_MAX)
    }

    /// Takes room for a fan-out or a walk between two homes; false when there is none, and its sender drops it and counts it, or says *busy*.
    #[must_use]
    pub fn admit_fanout(&self, from: HomeId, to: HomeId, weight: u64) -> bool {
        let Some(under_way) = self.pair(&self.fanouts, from, to) else {
            return false;
        };
        under_way
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |bytes| {
                (bytes + weight <= FANOUT_BYTES_MAX).then_some(bytes + weight)
            })
            .is_ok()
    }

    fn pair<'a>(&self, pairs: &'a [AtomicU64], from: HomeId, to: HomeId) -> Option<&'a AtomicU64> {
        pairs.get(usize::from(from.0) * self.layout.boxes() + usize::from(to.0))
    }
}

/// The mail that one turn of a home has for others, by destination.
#[derive(Debug)]
pub struct Staging {
    from: HomeId,
    boxes: Vec<Vec<Mail>>,
    any: bool,
    /// Fan-outs that found no room.
    pub dropped: u64,
}

impl Staging {
    /// An empty staging of this home.
    #[must_use]
    pub fn new(from: HomeId, layout: Layout) -> Self {
        Self {
            from,
            boxes: (0..layout.boxes()).map(|_| Vec::new()).collect(),
            any: false,
            dropped: 0,
        }
    }

    /// The home whose mail it is.
    #[must_use]
    pub const fn from(&self) -> HomeId {
        self.from
    }

    /// Stages mail.
    pub fn send(&mut self, to: HomeId, mail: Mail) {
        if let Some(waiting) = self.boxes.get_mut(usize::from(to.0)) {
            waiting.push(mail);
            self.any = true;
        }
    }

    /// Stages a fan-out if there is room for it between the two homes.
    pub fn fan_out(&mut self, post: &Post, to: HomeId, fanout: Fanout) {
        if post.admit_fanout(self.from, to, fanout.what.weight()) {
            self.send(to, Mail::Fanout(fanout));
        } else {
            self.dropped += 1;
        }
    }

    /// Stages a BROADCAST for the home of its next stage.
    ///
    /// # Errors
    /// The BROADCAST, when there is no room for it between the two homes.
    pub fn walk(&mut self, post: &Post, to: HomeId, walk: Box<Walk>) -> Result<(), Box<Walk>> {
        if !post.admit_fanout(self.from, to, walk.weight()) {
            return Err(walk);
        }
        self.send(to, Mail::Walk(walk));
        Ok(())
    }

    /// Answers a call: a reply to a home is staged, a waiter gets it at once.
    pub fn answer(&mut self, answer: Answer, answered: Answered) {
        match answer {
            Answer::Nobody => {}
            Answer::Home(home, ticket) => self.send(home, Mail::Reply(ticket, answered)),
            // A waiter that is gone has given the answer up.
            Answer::Waiter(waiter) => drop(waiter.send(answered)),
        }
    }

    /// Hands everything over, one lock and at most one wake for each destination.
    pub fn hand_over(&mut self, post: &Post) {
        if core::mem::take(&mut self.any) {
            for (n, waiting) in self.boxes.iter_mut().enumerate() {
                if !waiting.is_empty() {
                    post.deliver(self.from, HomeId(n as u16), waiting);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use bytes::Bytes;
    use cohnect_capabilities::{Delivery, Effect};

    use super::*;

    #[derive(Default)]
    struct Wakes(AtomicU32);

    impl Waker for Wakes {
        fn wake(&self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    const LAYOUT: Layout = Layout {
        shards: 2,
        workers: 1,
    };

    fn effects() -> Mail {
        Mail::Effects("m".into(), Vec::new())
    }

    #[test]
    fn only_a_home_that_sleeps_is_woken_and_only_once() {
        let wakes = Arc::new(Wakes::default());
        let post = Post::new(LAYOUT, |_| Arc::clone(&wakes) as Arc<dyn Waker>);
        let mut staging = Staging::new(HomeId(0), LAYOUT);
        staging.send(HomeId(1), effects());
        staging.hand_over(&post);
        assert_eq!(wakes.0.load(Ordering::Relaxed), 0);
        assert!(!post.doze(HomeId(1)), "there is mail");
        let mut mail = Vec::new();
        post.collect(HomeId(1), &mut mail);
        assert_eq!(mail.len(), 1);
        assert!(post.doze(HomeId(1)));
        for _ in 0..3 {
            staging.send(HomeId(1), effects());
            staging.hand_over(&post);
        }
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn fan_outs_between_two_homes_are_bounded_until_they_are_collected() {
        let post = Post::new(LAYOUT, |_| Arc::new(Wakes::default()) as Arc<dyn Waker>);
        let mut staging = Staging::new(HomeId(0), LAYOUT);
        let fanout = || Fanout {
            to: Recipients::Everyone { except: None },
            what: Outgoing::Item {
                topic: "t".into(),
                payload: Bytes::from(vec![0; 1 << 20]),
                delivery: Delivery::Unreliable,
            },
        };
        for _ in 0..10 {
            staging.fan_out(&post, HomeId(1), fanout());
        }
        assert_eq!(staging.dropped, 3);
        staging.hand_over(&post);
        post.collect(HomeId(1), &mut Vec::new());
        staging.fan_out(&post, HomeId(1), fanout());
        assert_eq!(staging.dropped, 3);
    }

    #[test]
    fn a_worker_hears_when_there_is_room_again_for_what_it_leaves() {
        let (worker, wakes) = (HomeId(2), Arc::new(Wakes::default()));
        let post = Post::new(LAYOUT, |home| {
            if home == worker {
                Arc::clone(&wakes) as Arc<dyn Waker>
            } else {
                Arc::new(Wakes::default())
            }
        });
        let left = || {
            let effect = Effect::Publish {
                topic: "t".into(),
                payload: Bytes::from(vec![0; 1 << 20]),
                delivery: Delivery::Unreliable,
            };
            Mail::Effects("m".into(), vec![effect])
        };
        for n in 0..8 {
            assert!(post.has_room_for_effects(worker, HomeId(0)), "{n}");
            post.deliver(worker, HomeId(0), &mut vec![left()]);
        }
        assert!(!post.has_room_for_effects(worker, HomeId(0)));
        assert!(
            post.has_room_for_effects(worker, HomeId(1)),
            "another shard"
        );
        assert_eq!(wakes.0.load(Ordering::Relaxed), 0);
        let mut mail = Vec::new();
        post.collect(HomeId(0), &mut mail);
        assert_eq!(mail.len(), 8, "nothing is lost");
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1, "and it is woken once");
        assert!(post.has_room_for_effects(worker, HomeId(0)));
    }
}
