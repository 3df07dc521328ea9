//! Compiling, which takes as long as the code wants: each module's on a thread of its own, awaited for a moment, looked at again later, and given up after a
//! limit. It loads nothing.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::oneshot::{self, error::TryRecvError};

use super::plan::{self, Plan};
use super::{Found, Setup};
use crate::load::Files;

/// How long compiling may take. A component of 18 MB takes a few seconds on a slow machine; what takes longer than this was made to, or holds up whoever
/// saves it more than it helps him.
pub(super) const COMPILE_MAX: Duration = Duration::from_secs(30);
/// How long a change waits for one module's code before it sees to the others: most are compiled long before.
pub(super) const MOMENT: Duration = Duration::from_secs(1);

/// What is being compiled, one code of each module at a time.
#[derive(Debug, Default)]
pub(super) struct Compiling(BTreeMap<Arc<str>, Under>);

/// One code on its thread.
#[derive(Debug)]
struct Under {
    hash: [u8; 32],
    came: oneshot::Receiver<Result<Plan, String>>,
    since_us: u64,
    /// Nobody wants it any more; it ends when it ends, since no thread can be ended from outside.
    given_up: bool,
    /// That newer code waits for this was said.
    said: bool,
}

/// How far a module's code is.
pub(super) enum Compiled {
    Done(Box<Result<Plan, String>>),
    NotYet,
}

impl Compiling {
    /// Whether somebody should look again before long.
    pub(super) fn is_under_way(&self) -> bool {
        self.0.values().any(|under| !under.given_up || under.said)
    }

    /// Gives up the codes that are wanted no more, because their file has gone or says something else, and forgets those of them that have ended.
    pub(super) fn keep(&mut self, wanted: impl Fn(&str) -> Option<[u8; 32]>) {
        self.0.retain(|name, under| {
            under.given_up |= wanted(name) != Some(under.hash);
            !under.given_up || matches!(under.came.try_recv(), Err(TryRecvError::Empty))
        });
    }

    /// Prepares a module's code: begins with it, or looks how far it is, and waits for it as long as this.
    pub(super) async fn prepare(
        &mut self,
        setup: &Setup,
        name: &Arc<str>,
        found: &Found,
        files: &Arc<Files>,
        patience: Duration,
    ) -> Compiled {
        let now_us = || (setup.capabilities.stopwatch)();
        if !setup.aside {
            return Compiled::Done(Box::new(plan::plan(setup, files)));
        }
        if !self.0.contains_key(name) {
            match begin(setup, files) {
                Ok(came) => self.0.insert(
                    Arc::clone(name),
                    Under {
                        hash: found.hash,
                        came,
                        since_us: now_us(),
                        given_up: false,
                        said: false,
                    },
                ),
                Err(e) => return Compiled::Done(Box::new(Err(e))),
            };
        }
        let Some(under) = self.0.get_mut(name) else {
            return Compiled::NotYet;
        };
        if under.given_up {
            if !core::mem::replace(&mut under.said, true) {
                tracing::warn!(module = %name, "its new code waits: what was saved before is still being compiled");
            }
            return Compiled::NotYet;
        }
        let taken_us = now_us().saturating_sub(under.since_us);
        let left = COMPILE_MAX.saturating_sub(Duration::from_micros(taken_us));
        let came = tokio::time::timeout(left.min(patience), &mut under.came).await;
        match came {
            Ok(Ok(plan)) => {
                self.0.remove(name);
                Compiled::Done(Box::new(plan))
            }
            Ok(Err(_)) => {
                self.0.remove(name);
                let problem = "compiling it panicked: a fault of the server, whose log says more";
                Compiled::Done(Box::new(Err(problem.to_owned())))
            }
            Err(_) if left > patience => Compiled::NotYet,
            Err(_) => {
                under.given_up = true;
                Compiled::Done(Box::new(Err(format!(
                    "compiling took more than {} s and was given up; deeply nested loops and very large functions take longest",
                    COMPILE_MAX.as_secs()
                ))))
            }
        }
    }
}

/// Compiles on a thread of its own.
fn begin(
    setup: &Setup,
    files: &Arc<Files>,
) -> Result<oneshot::Receiver<Result<Plan, String>>, String> {
    let (done, came) = oneshot::channel();
    let (setup, files) = (setup.clone(), Arc::clone(files));
    std::thread::Builder::new()
        .name("compile".into())
        .spawn(move || drop(done.send(plan::plan(&setup, &files))))
        .map_err(|e| format!("the system gives no thread to compile it: {e}"))?;
    Ok(came)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
    use std::sync::{Mutex, PoisonError};

    use super::super::{Change, Custodian, Report};
    use super::*;
    use crate::catalog::Catalogs;
    use crate::context::Context;
    use crate::deadline::Ticker;
    use crate::load::{Scan, scan};
    use crate::mail::{Layout, Mail, Post, Staging, Waker};
    use crate::now::Clock as _;
    use crate::order::Order;
    use crate::replica::{Language, LoadError, Prepared, Source};
    use crate::testing::{ScriptLanguage, World};

    const LAYOUT: Layout = Layout {
        shards: 1,
        workers: 1,
    };

    struct Awake;

    impl Waker for Awake {
        fn wake(&self) {}
    }

    /// The language of the tests, but what says `slow` takes until the test lets it go.
    struct Slow(Mutex<Receiver<()>>);

    impl Language for Slow {
        fn name(&self) -> &'static str {
            ScriptLanguage.name()
        }
        fn endings(&self) -> &'static [&'static str] {
            ScriptLanguage.endings()
        }
        fn memory_mib(&self) -> u32 {
            ScriptLanguage.memory_mib()
        }
        fn belongs(&self, file: &Path) -> bool {
            ScriptLanguage.belongs(file)
        }
        fn prepare(&self, source: &Source, probe: Context) -> Result<Arc<dyn Prepared>, LoadError> {
            if source.code.starts_with(b"# slow") {
                let gate = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                gate.recv()
                    .map_err(|_| LoadError::new("the test is over"))?;
            }
            ScriptLanguage.prepare(source, probe)
        }
    }

    struct Rig {
        folder: tempfile::TempDir,
        world: Arc<World>,
        languages: Vec<Arc<dyn Language>>,
        custodian: Custodian,
        home: crate::home::Home,
        post: Arc<Post>,
        let_go: SyncSender<()>,
    }

    impl Rig {
        fn new() -> Self {
            let world = World::new();
            world.follow_tokio();
            let (let_go, gate) = sync_channel(8);
            let languages: Vec<Arc<dyn Language>> = vec![Arc::new(Slow(Mutex::new(gate)))];
            let post = Post::new(LAYOUT, |_| Arc::new(Awake));
            let ticker = Ticker::default();
            let custodian = Custodian::new(Setup {
                post: Arc::clone(&post),
                catalogs: Arc::<Catalogs>::default(),
                capabilities: world.capabilities(),
                languages: languages.clone(),
                ticker: ticker.clone(),
                instance: cohnect_capabilities::InstanceId { hi: 1, lo: 2 },
                seed: [9; 32],
                aside: true,
            });
            Self {
                folder: tempfile::tempdir().unwrap(),
                world,
                languages,
                custodian,
                home: crate::home::Home::new(LAYOUT.shard(0), ticker),
                post,
                let_go,
            }
        }

        fn write(&self, name: &str, text: &str) {
            std::fs::write(self.folder.path().join(name), text).unwrap();
        }

        fn scan(&self) -> Scan {
            scan(self.folder.path(), &self.languages, &Scan::default()).unwrap()
        }

        /// What comes of one look, while the home obeys.
        async fn apply(&mut self) -> Vec<Report> {
            let scan = self.scan();
            let mut applying = core::pin::pin!(self.custodian.apply(&scan));
            loop {
                tokio::select! {
                    biased;
                    reports = &mut applying => return reports,
                    () = tokio::time::sleep(Duration::from_millis(10)) => {}
                }
                let mut mail = Vec::new();
                self.post.collect(self.home.id(), &mut mail);
                let mut staging = Staging::new(self.home.id(), LAYOUT);
                for (_, letter) in mail {
                    if let Mail::Order(order @ (Order::Install(_) | Order::Switch(_))) = letter {
                        self.home.obey(self.world.now(), order, &mut staging);
                    }
                }
            }
        }

        /// The first report of this module; virtual time goes on meanwhile, and its thread has as long as it takes.
        async fn report(&mut self, module: &str) -> Change {
            loop {
                let reports = self.apply().await;
                if let Some(report) = reports.into_iter().find(|r| &*r.module == module) {
                    return report.change;
                }
                std::thread::yield_now();
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn code_that_takes_long_holds_nobody_up_and_is_given_up_in_the_end() {
        let mut rig = Rig::new();
        rig.write("slow.script", "# slow");
        rig.write("zeal.script", "");
        let began = tokio::time::Instant::now();
        let Change::Loaded(_) = rig.report("zeal").await else {
            panic!("the other one is loaded");
        };
        assert!(began.elapsed() < Duration::from_secs(10));
        assert!(rig.custodian.is_compiling());
        let Change::Refused(problem) = rig.report("slow").await else {
            panic!("it takes too long");
        };
        assert!(
            problem.starts_with("compiling took more than 30 s"),
            "{problem}"
        );
        assert!(began.elapsed() < Duration::from_secs(40));
        assert!(!rig.custodian.is_compiling(), "nobody waits for it");

        rig.write("slow.script", "");
        assert!(rig.apply().await.is_empty(), "it waits for the one before");
        assert!(rig.custodian.is_compiling());
        rig.let_go.send(()).unwrap();
        let Change::Loaded(_) = rig.report("slow").await else {
            panic!("what was saved after it is loaded");
        };
        assert!(!rig.custodian.is_compiling());
    }

    #[tokio::test(start_paused = true)]
    async fn code_that_was_saved_over_meanwhile_is_not_loaded() {
        let mut rig = Rig::new();
        rig.write("a.script", "# slow");
        assert!(rig.apply().await.is_empty());
        rig.write("a.script", "broken as it is");
        assert!(rig.apply().await.is_empty());
        rig.let_go.send(()).unwrap();
        let Change::Refused(problem) = rig.report("a").await else {
            panic!("the newer file is what counts");
        };
        assert!(problem.contains("as it is"), "{problem}");
    }
}
