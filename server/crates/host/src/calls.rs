//! Modules that talk to modules: a call that waits for its answer, a place in another's queue, and who is loaded. It finds the callee in the catalog,
//! sends the call through the post to wherever it lives, and keeps the one table of who waits for whom, so that a circle is refused and not waited for.

use core::sync::atomic::{AtomicU64, Ordering};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cohnect_capabilities::mailbox::{Mailboxes, Place, Reserved, Sender};
use cohnect_capabilities::modules::{ModuleInfo, Modules};
use cohnect_capabilities::{BoxFuture, Caller, Error, Payload, Result};
use tokio::sync::oneshot;

use crate::catalog::{Catalogs, Module, Placement};
use crate::context::{Calls, Origin};
use crate::export::{Export, Request, Returned};
use crate::mail::{Address, Answer, Answered, Call, HomeId, Mail, NotRun, Post, spread};
use crate::now::Clock;

/// Numbers of requests between modules begin here, above those that shards give to their clients' requests and below 2^53.
const REQUEST_ID_MIN: u64 = 1 << 52;

/// What stands behind `modules` and `mailbox`.
pub struct Exchange {
    catalogs: Arc<Catalogs>,
    post: Arc<Post>,
    clock: Arc<dyn Clock>,
    requests: AtomicU64,
    waits: Arc<Waits>,
}

impl core::fmt::Debug for Exchange {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Exchange").finish_non_exhaustive()
    }
}

impl Exchange {
    /// An exchange over what is loaded.
    #[must_use]
    pub fn new(catalogs: Arc<Catalogs>, post: Arc<Post>, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self {
            catalogs,
            post,
            clock,
            requests: AtomicU64::new(REQUEST_ID_MIN),
            waits: Arc::default(),
        })
    }

    fn module(&self, name: &str) -> Result<Arc<Module>> {
        self.catalogs
            .newest()
            .module(name)
            .cloned()
            .ok_or(Error::NotFound)
    }

    fn send(
        &self,
        origin: &Origin,
        callee: &Module,
        action: &str,
        input: Payload,
    ) -> Result<oneshot::Receiver<Answered>> {
        if callee.copies.is_empty() {
            return Err(unavailable(callee));
        }
        let action = callee
            .actions
            .get_key_value(action)
            .map(|(name, _)| Arc::clone(name))
            .ok_or(Error::NotFound)?;
        let control = self.post.layout().control();
        let copy = callee.copy_for(control, origin.replica);
        if !copy.healthy.load(Ordering::Relaxed) {
            return Err(unavailable(callee));
        }
        let place = Place::take(&copy.taken, callee.queue_max).ok_or(Error::Busy)?;
        let now = self.clock.now();
        let remaining_us = u64::try_from(origin.remaining.as_micros()).unwrap_or(u64::MAX);
        let (answer, came) = oneshot::channel();
        let call = Call {
            to: Address {
                module: Arc::clone(&callee.name),
                copy: copy.number,
            },
            export: Export::Execute(Request {
                id: self.requests.fetch_add(1, Ordering::Relaxed),
                name: action,
                caller: Caller::Module(Arc::clone(&origin.caller)),
                received_at: now.wall_us,
                input,
            }),
            answer: Answer::Waiter(answer),
            chain: origin.chain.clone(),
            expires_us: Some(now.monotonic_us.saturating_add(remaining_us)),
            place: Some(place),
        };
        self.post
            .deliver(control, copy.home, &mut vec![Mail::Call(call)]);
        Ok(came)
    }
}

impl Calls for Exchange {
    fn call(
        &self,
        origin: &Origin,
        module: &str,
        action: &str,
        input: Payload,
    ) -> BoxFuture<'static, Result<Payload>> {
        let begun = self.module(module).and_then(|callee| {
            // Copies of which there are several are not in the table: depth and time bound them.
            let single = callee.placement == Placement::Single
                && self
                    .module(&origin.caller)
                    .is_ok_and(|caller| caller.placement == Placement::Single);
            let waiting = if single {
                Some(Waits::enter(&self.waits, &origin.caller, &callee.name)?)
            } else {
                None
            };
            Ok((self.send(origin, &callee, action, input)?, waiting))
        });
        Box::pin(async move {
            let (came, waiting) = begun?;
            let answered = came.await;
            drop(waiting);
            match answered {
                Ok(answered) => answer_of(answered),
                Err(_) => Err(Error::unavailable("the callee's home is gone")),
            }
        })
    }
}

impl Mailboxes for Exchange {
    fn reserve(&self, from: Sender<'_>, module: &str, action: &str) -> Result<Reserved> {
        let module = self.module(module)?;
        let copy = match &module.copies[..] {
            [] => return Err(unavailable(&module)),
            [only] => only,
            _ => module.copy_for(HomeId(from.shard), spread(from.module)),
        };
        if !module.actions.contains_key(action) {
            return Err(Error::NotFound);
        }
        if !copy.healthy.load(Ordering::Relaxed) {
            return Err(unavailable(&module));
        }
        let place = Place::take(&copy.taken, module.queue_max).ok_or(Error::Busy)?;
        Ok(Reserved {
            copy: copy.number,
            place,
        })
    }
}

impl Modules for Exchange {
    fn loaded(&self) -> Vec<ModuleInfo> {
        self.catalogs.newest().infos()
    }
}

fn unavailable(module: &Module) -> Error {
    Error::unavailable(format!("the module `{}` is not well", module.name))
}

/// What a caller gets of what came of its call.
fn answer_of(answered: Answered) -> Result<Payload> {
    match answered.outcome {
        Ok(Ok(Returned::Answer(answer))) => answer,
        Ok(Ok(_)) => Err(Error::Unsupported),
        Ok(Err(fault)) => Err(Error::from(&fault)),
        Err(NotRun::Unknown) => Err(Error::NotFound),
        Err(NotRun::Busy) => Err(Error::Busy),
        Err(NotRun::Unavailable) => Err(Error::unavailable("the callee is not well, or going")),
    }
}

/// Who waits for whom: each replica runs one call at a time, so each waits for one at the most.
#[derive(Debug, Default)]
struct Waits(Mutex<BTreeMap<Arc<str>, Arc<str>>>);

impl Waits {
    /// Notes that `caller` waits for `callee`, unless `callee` already waits, directly or not, for `caller`.
    fn enter(waits: &Arc<Self>, caller: &Arc<str>, callee: &Arc<str>) -> Result<Waiting> {
        let mut table = waits.lock();
        let mut next = Some(callee);
        // The table has no circle, so this ends; its length bounds it all the same.
        for _ in 0..=table.len() {
            match next {
                Some(module) if module == caller => return Err(Error::Recursive),
                Some(module) => next = table.get(module),
                None => break,
            }
        }
        table.insert(Arc::clone(caller), Arc::clone(callee));
        drop(table);
        Ok(Waiting {
            waits: Arc::clone(waits),
            caller: Arc::clone(caller),
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Arc<str>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One entry of the table; dropping it takes it out.
struct Waiting {
    waits: Arc<Waits>,
    caller: Arc<str>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.waits.lock().remove(&self.caller);
    }
}

#[cfg(test)]
mod tests {
    use crate::catalog::{Catalog, Copy};
    use crate::export::ActionInfo;
    use crate::mail::{Layout, Waker};
    use crate::testing::World;

    use super::*;

    struct Deaf;

    impl Waker for Deaf {
        fn wake(&self) {}
    }

    /// A module with a copy on each of two shards, one place in each queue, and one action.
    fn exchange() -> (Arc<Exchange>, Arc<Module>) {
        let layout = Layout {
            shards: 2,
            workers: 1,
        };
        let copy = |n: u16| Copy {
            home: HomeId(n),
            number: n.into(),
            taken: Arc::default(),
            told: Arc::default(),
            asked: Arc::default(),
            healthy: Arc::new(true.into()),
        };
        let module = Arc::new(Module {
            placement: Placement::PerShard,
            copies: vec![copy(0), copy(1)],
            queue_max: 1,
            actions: BTreeMap::from([("join".into(), ActionInfo::default())]),
            ..Module::refused("m".into())
        });
        let catalogs = Arc::<Catalogs>::default();
        catalogs.publish(Catalog {
            modules: BTreeMap::from([("m".into(), Arc::clone(&module))]),
            ..Catalog::default()
        });
        let post = Post::new(layout, |_| Arc::new(Deaf));
        (Exchange::new(catalogs, post, World::new()), module)
    }

    fn sender(shard: u16) -> Sender<'static> {
        Sender { module: "s", shard }
    }

    #[test]
    fn mail_takes_its_place_in_the_copy_that_gets_it() {
        let (exchange, module) = exchange();
        for shard in [0, 1] {
            let reserved = exchange.reserve(sender(shard), "m", "join").unwrap();
            assert_eq!(reserved.copy, u32::from(shard));
            let taken = module
                .copies
                .iter()
                .map(|c| c.taken.load(Ordering::Relaxed));
            let expected = [u32::from(shard == 0), u32::from(shard == 1)];
            assert_eq!(taken.collect::<Vec<_>>(), expected);
            let second = exchange.reserve(sender(shard), "m", "join");
            assert!(matches!(second, Err(Error::Busy)), "that copy is full");
        }
    }

    #[test]
    fn an_action_that_the_module_does_not_answer_to_gets_no_mail() {
        let (exchange, module) = exchange();
        let refused = exchange.reserve(sender(0), "m", "secret");
        assert!(matches!(refused, Err(Error::NotFound)));
        assert_eq!(module.copies[0].taken.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_circle_of_waits_is_refused_and_ends_with_its_waits() {
        let waits = Arc::<Waits>::default();
        let [a, b, c] = ["a", "b", "c"].map(Arc::<str>::from);
        let first = Waits::enter(&waits, &a, &b).unwrap();
        let second = Waits::enter(&waits, &b, &c).unwrap();
        assert!(matches!(
            Waits::enter(&waits, &c, &a),
            Err(Error::Recursive)
        ));
        assert!(matches!(
            Waits::enter(&waits, &c, &c),
            Err(Error::Recursive)
        ));
        drop(second);
        let third = Waits::enter(&waits, &c, &a).unwrap();
        assert!(matches!(
            Waits::enter(&waits, &b, &c),
            Err(Error::Recursive)
        ));
        drop((first, third));
        assert!(waits.lock().is_empty());
    }
}
