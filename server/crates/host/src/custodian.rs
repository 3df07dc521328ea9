//! The control side of modules: what the folder holds becomes prepared code, the code replicas in their homes, and the homes' calls find them in the
//! catalog. It loads, swaps and unloads, one change after another, and waits for the homes to say what came of each order. It watches no files and owns
//! no thread.

pub mod check;
mod claims;
mod compiling;
mod plan;
mod seating;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cohnect_capabilities::{DurationUs, InstanceId};

use self::compiling::{Compiled, Compiling};
use self::plan::{Plan, Seat};
use self::seating::{Seated, first_problem, made, settled};
use crate::catalog::{Catalogs, Module};
use crate::context::Capabilities;
use crate::deadline::Ticker;
use crate::escaped::Escaped;
use crate::export::{ServerEvent, StartReason, StopReason};
use crate::load::{Found, Scan};
use crate::mail::{HomeId, Post};
use crate::order::Order;
use crate::replica::Language;

/// What a custodian works with.
#[derive(Clone)]
pub struct Setup {
    /// The boxes of all homes.
    pub post: Arc<Post>,
    /// Where catalogs are published.
    pub catalogs: Arc<Catalogs>,
    /// What stands behind the contract.
    pub capabilities: Capabilities,
    /// The guest languages, in the order that the scans were made with.
    pub languages: Vec<Arc<dyn Language>>,
    /// The tick, which ends code that runs too long while it is loaded.
    pub ticker: Ticker,
    /// Which server.
    pub instance: InstanceId,
    /// What the replicas' generators are derived from.
    pub seed: [u8; 32],
    /// Whether code is compiled on threads of its own, which needs a runtime with a clock to wait for them; otherwise it is done at once, however long it
    /// takes.
    pub aside: bool,
}

impl core::fmt::Debug for Setup {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Setup").finish_non_exhaustive()
    }
}

/// What came of one change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Which module.
    pub module: Arc<str>,
    /// What came of it.
    pub change: Change,
    /// What its author may want to know.
    pub notes: Vec<String>,
}

/// What came of one change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is there, as this generation.
    Loaded(u64),
    /// New code took over, as this generation.
    Swapped(u64),
    /// It is gone.
    Unloaded,
    /// Nothing has changed; the text says why, for its author.
    Refused(String),
}

/// The control side of modules.
#[derive(Debug)]
pub struct Custodian {
    setup: Setup,
    loaded: BTreeMap<Arc<str>, Loaded>,
    /// What was refused, so that it is tried again only when it changes.
    refused: BTreeMap<Arc<str>, [u8; 32]>,
    /// Those of them that were refused for what another claims: they are tried again when others change.
    contested: BTreeSet<Arc<str>>,
    /// The copies of the change under way. A server that ends in the middle of it stops these, too.
    coming: Vec<Seated>,
    compiling: Compiling,
    generation: u64,
}

/// A module that is there.
#[derive(Debug)]
struct Loaded {
    hash: [u8; 32],
    plan: Plan,
    generation: u64,
    module: Arc<Module>,
    seats: Vec<Seated>,
}

impl Custodian {
    /// A custodian of nothing yet.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        Self {
            setup,
            loaded: BTreeMap::new(),
            refused: BTreeMap::new(),
            contested: BTreeSet::new(),
            coming: Vec::new(),
            compiling: Compiling::default(),
            generation: 0,
        }
    }

    /// Loads what is there when the server starts. Each refusal is one report; `serve` refuses to start over one, `dev` goes on without the module.
    pub async fn load_all(&mut self, scan: &Scan) -> Vec<Report> {
        self.change(scan, StartReason::Boot).await
    }

    /// Whether code is still being compiled: whoever tends the custodian lets it look at the same scan again before long.
    #[must_use]
    pub fn is_compiling(&self) -> bool {
        self.compiling.is_under_way()
    }

    /// Brings what is loaded into line with what the folder holds: new modules are loaded, changed ones swapped, those that are gone unloaded.
    pub async fn apply(&mut self, scan: &Scan) -> Vec<Report> {
        self.change(scan, StartReason::Loaded).await
    }

    /// Tells every module that described the event.
    pub fn announce(&self, event: &ServerEvent) {
        let layout = self.setup.post.layout();
        for n in 0..layout.shards + layout.workers {
            self.send(HomeId(n), Order::Event(event.clone()));
        }
    }

    /// Ends every module, after telling those that want to know how much time is left. A change that was given up half-way ends with them.
    pub async fn shut_down(&mut self, left: DurationUs) {
        self.announce(&ServerEvent::Stopping(left));
        let loaded = core::mem::take(&mut self.loaded);
        self.refused.clear();
        self.publish();
        let coming = core::mem::take(&mut self.coming);
        let seats = loaded.values().flat_map(|one| &one.seats).chain(&coming);
        self.remove(seats, StopReason::Shutdown).await;
    }

    /// The modules that are loaded, by name.
    pub fn loaded(&self) -> impl Iterator<Item = &Arc<Module>> {
        self.loaded.values().map(|one| &one.module)
    }

    async fn change(&mut self, scan: &Scan, reason: StartReason) -> Vec<Report> {
        let mut reports = Vec::new();
        let gone: Vec<_> = self
            .loaded
            .keys()
            .filter(|name| !scan.modules.contains_key(*name))
            .cloned()
            .collect();
        for name in gone {
            reports.push(self.unload(name).await);
            // A file that was renamed comes before its old name is gone.
            self.try_contested_again();
        }
        let refused = self.refused.len();
        self.refused
            .retain(|name, _| scan.modules.contains_key(name));
        if self.refused.len() < refused {
            self.publish();
        }
        self.compiling
            .keep(|name| scan.modules.get(name).map(|found| found.hash));
        self.bring_changed(scan, reason, &mut reports).await;
        let swapped = |report: &Report| matches!(report.change, Change::Swapped(_));
        if reports.iter().any(swapped) && self.try_contested_again() {
            self.bring_changed(scan, reason, &mut reports).await;
        }
        reports
    }

    /// Brings into line what was neither loaded nor refused as it is now.
    async fn bring_changed(&mut self, scan: &Scan, reason: StartReason, reports: &mut Vec<Report>) {
        for (name, found) in &scan.modules {
            if self.loaded.get(name).map(|one| &one.hash) == Some(&found.hash) {
                if self.refused.remove(name).is_some() {
                    tracing::info!(module = %name, "well again: what runs is what the file says");
                }
                continue;
            }
            if self.refused.get(name) == Some(&found.hash) {
                continue;
            }
            // Whoever tends the custodian may want to hear of other things in between.
            tokio::task::yield_now().await;
            reports.extend(self.bring(name, found, reason).await);
        }
    }

    /// Forgets refusals for claims, which may be free now; says whether there were any.
    fn try_contested_again(&mut self) -> bool {
        let contested = core::mem::take(&mut self.contested);
        self.refused.retain(|name, _| !contested.contains(name));
        !contested.is_empty()
    }

    /// Brings one module into line; none while its code is still being compiled.
    async fn bring(
        &mut self,
        name: &Arc<str>,
        found: &Found,
        reason: StartReason,
    ) -> Option<Report> {
        self.coming.clear();
        let mut notes = Vec::new();
        let brought = match self.prepare(name, found, reason).await? {
            Err(problem) => Err(problem),
            Ok(mut plan) => {
                notes = core::mem::take(&mut plan.notes);
                if self.loaded.contains_key(name) {
                    self.swap(found.hash, plan).await.map(Change::Swapped)
                } else {
                    let loaded = self.load(found.hash, plan, reason).await;
                    loaded.map(Change::Loaded)
                }
            }
        };
        let change = match brought {
            Ok(change) => {
                tracing::info!(module = %name, "{}", said(&change));
                change
            }
            Err(problem) => {
                self.refused.insert(Arc::clone(name), found.hash);
                self.publish();
                let kept = if self.loaded.contains_key(name) {
                    "; the code that ran before goes on"
                } else {
                    ""
                };
                tracing::warn!(module = %name, "refused: {}{kept}", Escaped(&problem));
                Change::Refused(problem)
            }
        };
        for note in &notes {
            tracing::info!(module = %name, "{}", Escaped(note));
        }
        Some(Report {
            module: Arc::clone(name),
            change,
            notes,
        })
    }

    async fn prepare(
        &mut self,
        name: &Arc<str>,
        found: &Found,
        reason: StartReason,
    ) -> Option<Result<Plan, String>> {
        // At the start each waits for those before it, so that of two modules that cannot be there together it is always the same that is.
        let patience = if reason == StartReason::Boot {
            compiling::COMPILE_MAX
        } else {
            compiling::MOMENT
        };
        let files = match &found.files {
            Ok(files) => files,
            Err(e) => return Some(Err(e.message.clone())),
        };
        match self
            .compiling
            .prepare(&self.setup, name, found, files, patience)
            .await
        {
            Compiled::NotYet => None,
            Compiled::Done(plan) => {
                self.contested.remove(name);
                let claimed = match *plan {
                    Ok(plan) => self.claimed(name, plan),
                    Err(problem) => Err(problem),
                };
                Some(claimed)
            }
        }
    }

    fn claimed(&mut self, name: &Arc<str>, plan: Plan) -> Result<Plan, String> {
        let others = self
            .loaded
            .values()
            .map(|one| &*one.module)
            .filter(|module| module.name != *name);
        let free = claims::check(name, &plan.exports, others);
        if free.is_err() {
            self.contested.insert(Arc::clone(name));
        }
        free.map(|()| plan)
    }

    async fn load(
        &mut self,
        hash: [u8; 32],
        plan: Plan,
        reason: StartReason,
    ) -> Result<u64, String> {
        let generation = self.next_generation();
        let seats: Vec<_> = plan
            .seats
            .iter()
            .map(|seat| Seated::new(&plan.name, *seat))
            .collect();
        self.coming.clone_from(&seats);
        let orders = seats
            .iter()
            .map(|seated| self.order(&plan, generation, seated, reason, None, false));
        let outcomes = settled(orders.collect()).await;
        if let Some(problem) = first_problem(&outcomes) {
            let made = made(&seats, &outcomes);
            self.remove(made, StopReason::Unloaded).await;
            return Err(problem);
        }
        let name = Arc::clone(&plan.name);
        self.keep(hash, plan, generation, seats);
        self.announce(&ServerEvent::ModuleLoaded(name.to_string()));
        Ok(generation)
    }

    async fn swap(&mut self, hash: [u8; 32], plan: Plan) -> Result<u64, String> {
        let generation = self.next_generation();
        let Some(old) = self.loaded.get(&plan.name) else {
            return Err("it is gone".to_owned());
        };
        // A copy that stays where it is goes over with its state; any other begins empty.
        let stays = |seat: &Seat| {
            let same_lane = old.plan.waits == plan.waits;
            old.seats
                .iter()
                .find(|seated| same_lane && seated.is_at(seat))
        };
        let seats: Vec<_> = plan
            .seats
            .iter()
            .map(|seat| {
                stays(seat).map_or_else(
                    || Seated::new(&plan.name, *seat),
                    |seated| Seated {
                        seat: *seat,
                        ..seated.clone()
                    },
                )
            })
            .collect();
        self.coming = seats
            .iter()
            .filter(|seated| stays(&seated.seat).is_none())
            .cloned()
            .collect();
        let orders = seats.iter().map(|seated| {
            let stays = stays(&seated.seat).is_some();
            self.order(&plan, generation, seated, StartReason::Swapped, None, stays)
        });
        let outcomes = settled(orders.collect()).await;
        let (staying, coming): (Vec<_>, Vec<_>) = seats
            .iter()
            .zip(&outcomes)
            .filter_map(|(seated, outcome)| Some((seated, outcome.as_ref().ok()?)))
            .partition(|(seated, _)| stays(&seated.seat).is_some());
        if let Some(problem) = first_problem(&outcomes) {
            let back = staying.iter().map(|(seated, snapshot)| {
                self.order(
                    &old.plan,
                    old.generation,
                    seated,
                    StartReason::RolledBack,
                    (*snapshot).clone(),
                    true,
                )
            });
            for lost in settled(back.collect())
                .await
                .iter()
                .filter_map(|o| o.as_ref().err())
            {
                tracing::error!(module = %plan.name, "a copy could not be swapped back: {}", Escaped(lost));
            }
            let coming = coming.iter().map(|(seated, _)| *seated);
            self.remove(coming, StopReason::RolledBack).await;
            return Err(problem);
        }
        let left: Vec<_> = old
            .seats
            .iter()
            .filter(|was| {
                old.plan.waits != plan.waits || !seats.iter().any(|is| is.is_at(&was.seat))
            })
            .cloned()
            .collect();
        if !left.is_empty() {
            tracing::warn!(
                module = %plan.name,
                "it moved, and began empty in its new home, without what `keep` or `save` held and without its timers: {}",
                moved(&old.plan, &plan)
            );
        }
        let lost = plan::lost(&old.plan, &plan).or_else(|| {
            let several = |seats: &[Seated]| seats.iter().any(|one| one.seat.replicas_max > 1);
            let is_lost = old.plan.waits
                && plan.waits
                && old.plan.exports.migration
                && (several(&old.seats) || several(&seats));
            is_lost.then(|| {
                "what `keep` or `save` held is lost: on workers the copies of a module that is `per-shard`, or has `instances_max`, come and go, and none hands over to another"
                    .to_owned()
            })
        });
        if let Some(lost) = lost {
            tracing::warn!(module = %plan.name, "{}", Escaped(&lost));
        }
        self.keep(hash, plan, generation, seats);
        self.remove(left.iter(), StopReason::Swapped).await;
        Ok(generation)
    }

    async fn unload(&mut self, name: Arc<str>) -> Report {
        self.announce(&ServerEvent::ModuleUnloading(name.to_string()));
        if let Some(one) = self.loaded.remove(&name) {
            self.publish();
            self.remove(one.seats.iter(), StopReason::Unloaded).await;
        }
        tracing::info!(module = %name, "unloaded");
        Report {
            module: name,
            change: Change::Unloaded,
            notes: Vec::new(),
        }
    }

    fn keep(&mut self, hash: [u8; 32], plan: Plan, generation: u64, seats: Vec<Seated>) {
        self.coming.clear();
        let name = Arc::clone(&plan.name);
        self.refused.remove(&name);
        let copies = seats.iter().map(|seated| seated.copy.clone()).collect();
        let module = Arc::new(plan.module(generation, copies));
        let one = Loaded {
            hash,
            plan,
            generation,
            module,
            seats,
        };
        self.loaded.insert(name, one);
        self.publish();
    }

    fn publish(&self) {
        let loaded = self.loaded.values().map(|one| Arc::clone(&one.module));
        // Whoever calls a module that is there and broken learns that it is unavailable, not that there is none.
        let refused = self
            .refused
            .keys()
            .filter(|name| !self.loaded.contains_key(*name))
            .map(|name| Arc::new(Module::refused(Arc::clone(name))));
        self.setup
            .catalogs
            .publish(claims::catalog(loaded.chain(refused)));
    }

    const fn next_generation(&mut self) -> u64 {
        self.generation += 1;
        self.generation
    }
}

/// Why copies of a module could not stay where they were.
fn moved(old: &Plan, new: &Plan) -> String {
    match (&old.why_waits, &new.why_waits) {
        (None, Some(why)) => format!("it lives on a worker now, since {why}"),
        (Some(was), None) => {
            format!("it lives on a shard now; it lived on a worker, since {was}")
        }
        _ if old.placement != new.placement => format!(
            "its placement is `{}` now and was `{}`",
            new.placement.name(),
            old.placement.name()
        ),
        _ => "its `shard` or the number of its copies has changed".to_owned(),
    }
}

fn said(change: &Change) -> String {
    match change {
        Change::Loaded(generation) => format!("loaded, generation {generation}"),
        Change::Swapped(generation) => format!("swapped, generation {generation}"),
        Change::Unloaded => "unloaded".to_owned(),
        Change::Refused(problem) => format!("refused: {}", Escaped(problem)),
    }
}
