//! What `cohnect check` says: for each module its grants, what it answers to, where it would live, and where packets would hop from shard to shard. It
//! prepares everything and starts nothing.

use core::fmt;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::plan::{self, Plan};
use super::{Setup, claims};
use crate::catalog::{Catalog, Copy, Module, Placement};
use crate::escaped::Escaped;
use crate::load::Scan;

/// What became of each module of a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// By name: lines that describe it, or why it cannot be loaded.
    pub modules: BTreeMap<Arc<str>, Result<Vec<String>, String>>,
    /// Where packets and messages hop.
    pub hops: Vec<String>,
}

impl Checked {
    /// Whether everything can be loaded.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.modules.values().all(Result::is_ok)
    }
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, outcome) in &self.modules {
            match outcome {
                Ok(lines) => {
                    writeln!(f, "{name}: well")?;
                    for line in lines {
                        writeln!(f, "  {}", Escaped(line))?;
                    }
                }
                Err(problem) => writeln!(f, "{name}: refused\n  {}", Escaped(problem))?,
            }
        }
        if !self.hops.is_empty() {
            writeln!(f, "hops:")?;
            for hop in &self.hops {
                writeln!(f, "  {}", Escaped(hop))?;
            }
        }
        Ok(())
    }
}

/// Loads and links every module of a folder without starting any.
#[must_use]
pub fn check(setup: &Setup, scan: &Scan) -> Checked {
    let mut modules: BTreeMap<Arc<str>, Arc<Module>> = BTreeMap::new();
    let mut checked = Checked::default();
    for (name, found) in &scan.modules {
        let outcome = found
            .files
            .as_ref()
            .map_err(|e| e.message.clone())
            .and_then(|files| plan::plan(setup, files))
            .and_then(|plan| {
                let others = modules.values().map(|module| &**module);
                claims::check(name, &plan.exports, others)?;
                Ok(plan)
            });
        let outcome = outcome.map(|plan| {
            let lines = describe(setup, &plan);
            modules.insert(Arc::clone(name), Arc::new(plan.module(0, copies(&plan))));
            lines
        });
        checked.modules.insert(Arc::clone(name), outcome);
    }
    checked.hops = hops(&claims::catalog(modules.into_values()));
    checked
}

fn copies(plan: &Plan) -> Vec<Copy> {
    plan.seats
        .iter()
        .map(|seat| Copy::new(seat.home, seat.number))
        .collect()
}

fn describe(setup: &Setup, plan: &Plan) -> Vec<String> {
    let mut lines = vec![lives(setup, plan)];
    let mut list = |what: &str, names: Vec<String>| {
        if !names.is_empty() {
            lines.push(format!("{what}: {}", names.join(", ")));
        }
    };
    list(
        "imports",
        plan.prepared
            .imports()
            .iter()
            .map(|import| import.name().to_owned())
            .collect(),
    );
    let databases = plan
        .grants
        .databases
        .iter()
        .map(|name| format!("db:{name}"));
    let secrets = plan
        .grants
        .secrets
        .iter()
        .map(|name| format!("secret:{name}"));
    list("grants", databases.chain(secrets).collect());
    let exports = &plan.exports;
    list(
        "actions",
        exports
            .actions
            .iter()
            .map(|action| format!("{} ({:?})", action.name, action.access).to_lowercase())
            .collect(),
    );
    list(
        "opcodes",
        exports
            .packets
            .iter()
            .map(|claim| span(claim.first, claim.last, claim.order))
            .collect(),
    );
    let topic = |claim: &crate::export::TopicClaim| claim.topic.clone();
    list("broadcast", exports.broadcasts.iter().map(topic).collect());
    list("stream", exports.streams.iter().map(topic).collect());
    let runs = [
        ("background", exports.background),
        ("ticker", exports.ticker.is_some()),
        ("timers", exports.timers),
        ("replies", exports.replies),
        ("lifecycle", exports.lifecycle),
        (
            "client_events",
            exports.client_events != crate::export::ClientEvents::default(),
        ),
        (
            "server_events",
            exports.server_events != crate::export::ServerEvents::default(),
        ),
        ("state goes over swaps", exports.migration),
    ];
    list(
        "also",
        runs.iter()
            .filter(|(_, is)| *is)
            .map(|(what, _)| (*what).to_owned())
            .collect(),
    );
    list("note", plan.notes.clone());
    lines
}

fn lives(setup: &Setup, plan: &Plan) -> String {
    let layout = setup.post.layout();
    let place = |home: crate::mail::HomeId| {
        if layout.is_shard(home) {
            format!("shard {}", home.0)
        } else {
            format!("worker {}", home.0 - layout.shards)
        }
    };
    match (plan.placement, plan.waits) {
        (Placement::Single, _) => plan.seats.first().map_or_else(String::new, |seat| {
            format!("single, on {}", place(seat.home))
        }),
        (Placement::PerShard, false) => format!("per-shard, {} copies", plan.seats.len()),
        (Placement::PerShard, true) => format!(
            "per-shard, up to {} copies on workers",
            plan.limits.instances
        ),
    }
}

fn span(first: u16, last: u16, order: i32) -> String {
    if first == last {
        format!("{first:#06x} (order {order})")
    } else {
        format!("{first:#06x} to {last:#06x} (order {order})")
    }
}

/// A stage with one copy makes what comes from other shards hop.
fn hops(catalog: &Catalog) -> Vec<String> {
    let hop = |module: &Module, what: String| {
        (module.placement == Placement::Single).then(|| {
            format!(
                "{what} hops to `{}`, a single stage; `placement = \"per-shard\"` keeps it on its sender's shard",
                module.name
            )
        })
    };
    let packets = catalog.packet_stages.iter().filter_map(|stage| {
        let claim = &stage.claim;
        let what = format!("opcode {}", span(claim.first, claim.last, claim.order));
        hop(&stage.module, what)
    });
    let messages = catalog.broadcast_stages.iter().filter_map(|stage| {
        let what = format!("BROADCAST to `{}`", stage.claim.topic);
        hop(&stage.module, what)
    });
    packets.chain(messages).collect()
}
