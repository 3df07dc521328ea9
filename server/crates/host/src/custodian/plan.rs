//! From a module's files to a plan for it: prepared code whose imports its grants cover, its lane, its copies and their homes, its limits. A plan changes
//! nothing yet.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use cohnect_capabilities::Error;

use super::{Setup, claims};
use crate::catalog::{Copy, Module, OnFailure, Placement};
use crate::config::Section;
use crate::context::{Charter, Context, Grants, Identity};
use crate::export::{Exports, PacketClaim, TopicClaim};
use crate::function::Interface;
use crate::limits::{FAST_DEADLINE, Limits};
use crate::load::Files;
use crate::mail::{HomeId, spread_over};
use crate::manifest::{Manifest, Narrow};
use crate::replica::{Prepared, Source};
use crate::seeded::Seeded;

/// One copy of a module, before it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seat {
    /// Where it is to live.
    pub(super) home: HomeId,
    /// Its number among the copies.
    pub(super) number: u32,
    /// How many replicas it may have.
    pub(super) replicas_max: u32,
}

/// What is to become of a module's files.
pub(super) struct Plan {
    pub(super) name: Arc<str>,
    pub(super) prepared: Arc<dyn Prepared>,
    pub(super) version: String,
    pub(super) placement: Placement,
    pub(super) waits: bool,
    /// What makes it wait, and so live on a worker.
    pub(super) why_waits: Option<String>,
    pub(super) seats: Vec<Seat>,
    pub(super) limits: Limits,
    pub(super) grants: Arc<Grants>,
    pub(super) config: Arc<Section>,
    pub(super) on_failure: OnFailure,
    /// As far as the manifest admits.
    pub(super) exports: Exports,
    /// What the author may want to know.
    pub(super) notes: Vec<String>,
}

impl core::fmt::Debug for Plan {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Plan")
            .field("name", &self.name)
            .field("placement", &self.placement)
            .field("waits", &self.waits)
            .field("seats", &self.seats)
            .finish_non_exhaustive()
    }
}

impl Plan {
    /// The module as homes see it in the catalog.
    pub(super) fn module(&self, generation: u64, copies: Vec<Copy>) -> Module {
        let healthy = match &copies[..] {
            [only] => Arc::clone(&only.healthy),
            _ => Arc::new(AtomicBool::new(true)),
        };
        Module {
            name: Arc::clone(&self.name),
            generation,
            version: self.version.clone(),
            placement: self.placement,
            waits: self.waits,
            copies,
            queue_max: self.limits.queue,
            on_failure: self.on_failure,
            actions: self
                .exports
                .actions
                .iter()
                .map(|action| (Arc::clone(&action.name), action.clone()))
                .collect(),
            exports: self.exports.clone(),
            healthy,
        }
    }
}

/// Prepares a module's files and decides where it lives.
pub(super) fn plan(setup: &Setup, files: &Files) -> Result<Plan, String> {
    let language = setup
        .languages
        .get(files.language)
        .ok_or_else(|| "its language is not here".to_owned())?;
    let mut manifest = files.manifest.clone();
    let memory_mib = manifest.memory_mib.unwrap_or_else(|| language.memory_mib());
    let grants = Arc::new(manifest.grants.clone());
    let config = Arc::new(Section(manifest.config.clone()));
    let probe = || {
        let limits = limits(&manifest, true, memory_mib);
        context(setup, files, &grants, &config, limits)
    };
    let source = Source {
        name: Arc::clone(&files.name),
        entry: files.entry.clone(),
        code: files.code.clone(),
        folder: files.folder.clone(),
        files: files.others.clone(),
        memory_bytes: memory_mib as usize * 1024 * 1024,
    };
    // What the language refuses names its file itself.
    let in_code = |problem: String| format!("{}: {problem}", files.entry.display());
    let in_manifest = |problem: String| format!("{}: {problem}", files.manifest_path().display());
    let running = setup.ticker.running();
    let prepared = language.prepare(&source, probe()).map_err(|e| e.message)?;
    drop(running);
    let judge = probe();
    for import in prepared.imports() {
        judge.may_import(*import).map_err(in_code)?;
    }
    let said = manifest.adopt(prepared.manifest());
    said.map_err(|e| in_code(e.message))?;
    let deadline = manifest.deadline.unwrap_or(FAST_DEADLINE);
    let slow: Vec<_> = prepared.imports().iter().filter(|i| i.waits()).collect();
    let waits = !slow.is_empty() || deadline > FAST_DEADLINE;
    let why_waits = waits.then(|| {
        slow.first().map_or_else(
            || format!("its `deadline_ms` is {}", deadline.as_millis()),
            |i| format!("it imports `{}`", i.name()),
        )
    });
    let mut exports = prepared.exports().clone();
    let has_stages = !exports.packets.is_empty() || !exports.broadcasts.is_empty();
    if has_stages && let Some(why) = &why_waits {
        return Err(in_code(format!(
            "it has stages, which never wait, but {why}; put the stages into a module of their own"
        )));
    }
    claims::check_own(&exports).map_err(in_code)?;
    check_requires(setup, &exports).map_err(in_code)?;
    let placement = manifest.placement.unwrap_or_else(|| {
        if has_stages && only_stages(&exports) {
            Placement::PerShard
        } else {
            Placement::Single
        }
    });
    if placement == Placement::PerShard && exports.background {
        let problem = "it has a `background`, so its `placement` is \"single\"";
        return Err(in_code(problem.to_owned()));
    }
    let limits = limits(&manifest, waits, memory_mib);
    let seats = seats(setup, &manifest, &files.name, placement, waits, &limits);
    let seats = seats.map_err(|problem| match files.manifest.shard {
        Some(_) => in_manifest(problem),
        None => in_code(problem),
    })?;
    let notes = notes(&exports, prepared.imports(), &grants, &limits);
    narrow(&mut exports, &manifest.narrow).map_err(in_manifest)?;
    Ok(Plan {
        name: Arc::clone(&files.name),
        prepared,
        version: manifest.version.unwrap_or_default(),
        placement,
        waits,
        why_waits,
        seats,
        limits,
        grants,
        config,
        on_failure: manifest.on_failure.unwrap_or_default(),
        exports,
        notes,
    })
}

/// Names that one line of the log holds.
const NAMES_MAX: usize = 16;

/// What is said of new code that takes nothing over of what the old one kept.
pub(super) fn lost(old: &Plan, new: &Plan) -> Option<String> {
    if !old.exports.migration || new.exports.migration {
        return None;
    }
    let (what, names) = match &old.exports.declared {
        Some(names) => ("`keep`", &names[..]),
        None => ("`keep` or `save`", &[][..]),
    };
    let mut listed: Vec<String> = names
        .iter()
        .take(NAMES_MAX)
        .map(|name| format!("`{name}`"))
        .collect();
    if names.len() > NAMES_MAX {
        listed.push(format!("{} more", names.len() - NAMES_MAX));
    }
    let listed = if listed.is_empty() {
        String::new()
    } else {
        format!(" ({})", listed.join(", "))
    };
    Some(format!(
        "what {what} of the old code held{listed} is lost: the new code has neither `keep` nor `migration`"
    ))
}

/// What a copy's generator begins with.
pub(super) fn seed(setup: &Setup, module: &str, generation: u64, copy: u32) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_keyed(&setup.seed);
    hasher.update(module.as_bytes());
    hasher.update(&generation.to_le_bytes());
    hasher.update(&copy.to_le_bytes());
    *hasher.finalize().as_bytes()
}

fn context(
    setup: &Setup,
    files: &Files,
    grants: &Arc<Grants>,
    config: &Arc<Section>,
    limits: Limits,
) -> Context {
    let charter = Charter {
        identity: Identity {
            module: Arc::clone(&files.name),
            address: Arc::clone(&files.name),
            generation: 0,
            copy: 0,
            replica: 0,
            instance: setup.instance,
        },
        grants: Arc::clone(grants),
        limits,
        config: Arc::clone(config) as _,
        capabilities: setup.capabilities.clone(),
        timers: Arc::default(),
        signals: Arc::default(),
        told: Arc::default(),
        asked: Arc::default(),
        carrier: HomeId(0),
        outlet: None,
    };
    let seed = seed(setup, &files.name, 0, 0);
    Context::new(charter, Box::new(Seeded::new(&seed, 0)))
}

fn limits(manifest: &Manifest, waits: bool, memory_mib: u32) -> Limits {
    let lane = Limits::of(waits, memory_mib);
    Limits {
        deadline: manifest.deadline.unwrap_or(lane.deadline),
        queue: manifest.queue_max.unwrap_or(lane.queue),
        tick_hz: manifest.tick_hz_max.unwrap_or(lane.tick_hz),
        instances: manifest.instances_max.unwrap_or(lane.instances),
        swap_wait: manifest.swap_wait.unwrap_or(lane.swap_wait),
        ..lane
    }
}

/// What a client must match is read once more for each of its messages, and where it cannot be read nobody matches it: so it is read here first.
fn check_requires(setup: &Setup, exports: &Exports) -> Result<(), String> {
    let actions = exports
        .actions
        .iter()
        .map(|action| (format!("the action `{}`", action.name), &action.requires));
    let packets = exports.packets.iter().map(|claim| {
        let PacketClaim { first, last, .. } = claim;
        let what = if first == last {
            format!("the stage of opcode {first:#06x}")
        } else {
            format!("the stage of opcodes {first:#06x} to {last:#06x}")
        };
        (what, &claim.requires)
    });
    let of_topics = |what: &'static str| {
        move |claim: &'_ TopicClaim| format!("the {what} of the topic `{}`", claim.topic)
    };
    let (stage, stream) = (of_topics("stage"), of_topics("stream"));
    let broadcasts = exports.broadcasts.iter();
    let broadcasts = broadcasts.map(|claim| (stage(claim), &claim.requires));
    let streams = exports.streams.iter();
    let streams = streams.map(|claim| (stream(claim), &claim.requires));
    for (what, requires) in actions.chain(packets).chain(broadcasts).chain(streams) {
        if requires.is_empty() {
            continue;
        }
        let checked = setup.capabilities.clients.check_expression(requires);
        if let Err(Error::InvalidArgument(problem)) = checked {
            return Err(format!("{what} requires `{requires}`: {problem}"));
        }
    }
    Ok(())
}

fn only_stages(exports: &Exports) -> bool {
    let others = !exports.actions.is_empty()
        || !exports.streams.is_empty()
        || exports.ticker.is_some()
        || exports.background
        || exports.timers
        || exports.replies
        || exports.client_events != crate::export::ClientEvents::default()
        || exports.server_events != crate::export::ServerEvents::default();
    !others
}

fn seats(
    setup: &Setup,
    manifest: &Manifest,
    name: &str,
    placement: Placement,
    waits: bool,
    limits: &Limits,
) -> Result<Vec<Seat>, String> {
    let layout = setup.post.layout();
    if let Some(shard) = manifest.shard {
        if waits {
            return Err(
                "`shard` is for a module on a shard; this one lives on a worker".to_owned(),
            );
        }
        if placement != Placement::Single {
            return Err("`shard` is for a module with one copy".to_owned());
        }
        if shard >= layout.shards {
            return Err(format!(
                "`shard` is {shard}, and there are {} shards, counted from 0",
                layout.shards
            ));
        }
    }
    let seat = |home, number, replicas_max| Seat {
        home,
        number,
        replicas_max,
    };
    Ok(match (placement, waits) {
        (Placement::Single, false) => {
            let n = manifest
                .shard
                .unwrap_or_else(|| spread_over(name, layout.shards));
            vec![seat(layout.shard(n), 0, 1)]
        }
        (Placement::Single, true) => {
            vec![seat(layout.worker(spread_over(name, layout.workers)), 0, 1)]
        }
        (Placement::PerShard, false) => (0..layout.shards)
            .map(|n| seat(layout.shard(n), u32::from(n), 1))
            .collect(),
        (Placement::PerShard, true) => {
            // No more workers than replicas, and as many replicas on each as make them up.
            let workers = u32::from(layout.workers).min(limits.instances);
            (0..workers)
                .map(|n| {
                    let share = limits.instances.div_ceil(workers);
                    seat(layout.worker(n as u16), n, share)
                })
                .collect()
        }
    })
}

fn notes(
    exports: &Exports,
    imports: &[Interface],
    grants: &Grants,
    limits: &Limits,
) -> Vec<String> {
    let mut notes = Vec::new();
    if !grants.databases.is_empty() && !imports.contains(&Interface::Db) {
        notes.push("it has grants for databases, but does not import `db`".to_owned());
    }
    for event in exports.server_events.never() {
        notes.push(format!(
            "it wants to hear of the event `{event}`, which does not happen in this version"
        ));
    }
    if let Some(plan) = &exports.ticker
        && plan.hz > limits.tick_hz
    {
        notes.push(format!(
            "its ticker asks for {} ticks a second and gets `tick_hz_max`, {}",
            plan.hz, limits.tick_hz
        ));
    }
    notes
}

/// Takes away what the manifest does not admit. What it admits must be there.
fn narrow(exports: &mut Exports, narrow: &Narrow) -> Result<(), String> {
    if let Some(names) = &narrow.actions {
        let known = |name: &str| exports.actions.iter().any(|action| *action.name == *name);
        missing("actions", names.iter().find(|name| !known(name)))?;
        exports
            .actions
            .retain(|action| names.contains(&*action.name));
    }
    if let Some(opcodes) = &narrow.opcodes {
        let claims = |opcode: u16| {
            let of = move |claim: &&PacketClaim| claim.first <= opcode && opcode <= claim.last;
            exports.packets.iter().filter(of)
        };
        let unknown = opcodes
            .iter()
            .find(|opcode| claims(**opcode).next().is_none());
        missing("opcodes", unknown.map(|opcode| format!("{opcode:#06x}")))?;
        let packets = opcodes
            .iter()
            .flat_map(|opcode| {
                claims(*opcode).map(|claim| PacketClaim {
                    first: *opcode,
                    last: *opcode,
                    ..claim.clone()
                })
            })
            .collect();
        exports.packets = packets;
    }
    let topics = |key, claims: &mut Vec<TopicClaim>, names: &Option<_>| {
        let Some(names): &Option<std::collections::BTreeSet<String>> = names else {
            return Ok(());
        };
        let known = |name: &String| claims.iter().any(|claim| claim.topic == *name);
        missing(key, names.iter().find(|name| !known(name)))?;
        claims.retain(|claim| names.contains(&claim.topic));
        Ok(())
    };
    topics("topics", &mut exports.broadcasts, &narrow.topics)?;
    topics("streams", &mut exports.streams, &narrow.streams)
}

fn missing(key: &str, name: Option<impl core::fmt::Display>) -> Result<(), String> {
    name.map_or(Ok(()), |name| {
        Err(format!(
            "`narrow.{key}` names `{name}`, which the module does not have"
        ))
    })
}
