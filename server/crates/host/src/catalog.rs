//! What is loaded, as every home sees it: which modules there are, where their copies live, and who claims which opcode and topic. A catalog never
//! changes; a load, swap or unload publishes a new one, and a home looks for it once a turn.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use cohnect_capabilities::modules::ModuleInfo;
use cohnect_capabilities::streams::TOPIC_BYTES_MAX;
use cohnect_capabilities::{ClientId, Opcode};

use crate::export::{ActionInfo, Exports, PacketClaim, TopicClaim};
use crate::mail::HomeId;

/// How many copies there are, and what a module's globals mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Placement {
    /// One on this server.
    #[default]
    Single,
    /// One a shard, or several on the workers.
    PerShard,
}

impl Placement {
    /// As a manifest says it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::PerShard => "per-shard",
        }
    }
}

/// What happens to a packet whose stage fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// The sender is told.
    #[default]
    Reject,
    /// As if the stage were not there.
    Pass,
    /// It ends without a word.
    Drop,
}

/// One copy of a module and its queue, as those who call it see it.
#[derive(Clone, Debug)]
pub struct Copy {
    /// Where it lives.
    pub home: HomeId,
    /// Its number among the copies.
    pub number: u32,
    /// Places taken in its queue.
    pub taken: Arc<AtomicU32>,
    /// Places taken by what it is told without anybody waiting for an answer: events. They are counted apart, so that a crowd that comes or leaves makes
    /// no caller wait, and callers lose no event.
    pub told: Arc<AtomicU32>,
    /// Places taken by the answers that it waits for, those to its mail. They are counted apart as well, so that no crowd keeps it from asking.
    pub asked: Arc<AtomicU32>,
    /// False while its circuit is open.
    pub healthy: Arc<AtomicBool>,
}

impl Copy {
    /// A copy that has just got its place, which is not well yet.
    #[must_use]
    pub fn new(home: HomeId, number: u32) -> Self {
        Self {
            home,
            number,
            taken: Arc::default(),
            told: Arc::default(),
            asked: Arc::default(),
            healthy: Arc::default(),
        }
    }
}

/// A loaded module.
#[derive(Debug)]
pub struct Module {
    /// Its name.
    pub name: Arc<str>,
    /// Which load of it.
    pub generation: u64,
    /// From its manifest, or empty.
    pub version: String,
    /// How many copies.
    pub placement: Placement,
    /// Whether it lives on workers.
    pub waits: bool,
    /// Its copies; none when its code was refused, and then it answers nothing but *unavailable*.
    pub copies: Vec<Copy>,
    /// Places in each copy's queue.
    pub queue_max: u32,
    /// What a failing stage means.
    pub on_failure: OnFailure,
    /// What it exports, as far as the manifest admits.
    pub exports: Exports,
    /// False while the circuit of its only copy is open; where there are several, each has its own, and refuses by itself.
    pub healthy: Arc<AtomicBool>,
    /// Its actions by name.
    pub actions: BTreeMap<Arc<str>, ActionInfo>,
}

/// Where the calls of a module without copies go: a home that does not exist. Callers look at `copies` first.
static NOWHERE: LazyLock<Copy> = LazyLock::new(|| Copy::new(HomeId(u16::MAX), 0));

impl Module {
    /// A module whose code was refused: it is there by name, and that is all.
    #[must_use]
    pub fn refused(name: Arc<str>) -> Self {
        Self {
            name,
            generation: 0,
            version: String::new(),
            placement: Placement::Single,
            waits: false,
            copies: Vec::new(),
            queue_max: 0,
            on_failure: OnFailure::Reject,
            exports: Exports::default(),
            healthy: Arc::default(),
            actions: BTreeMap::new(),
        }
    }

    /// The copy for something that comes from `home`: the one that lives there, or the only one, or one chosen by `spread` (a client's or sender's
    /// number), so that the calls of one client to one module all meet one copy.
    #[must_use]
    pub fn copy_for(&self, home: HomeId, spread: u64) -> &Copy {
        self.copies
            .iter()
            .find(|copy| copy.home == home)
            .or_else(|| {
                let n = spread.checked_rem(self.copies.len() as u64)?;
                self.copies.get(usize::try_from(n).ok()?)
            })
            .unwrap_or(&NOWHERE)
    }

    /// The copy of this number.
    #[must_use]
    pub fn copy(&self, number: u32) -> Option<&Copy> {
        self.copies.iter().find(|copy| copy.number == number)
    }

    /// As [`Module::copy_for`], for a client.
    #[must_use]
    pub fn copy_for_client(&self, home: HomeId, client: ClientId) -> &Copy {
        self.copy_for(home, client.lo)
    }
}

/// One stage of a pipeline.
#[derive(Clone, Debug)]
pub struct Stage<C> {
    /// Whose.
    pub module: Arc<Module>,
    /// What it claims.
    pub claim: C,
}

/// All modules at one moment.
#[derive(Debug, Default)]
pub struct Catalog {
    /// By name.
    pub modules: BTreeMap<Arc<str>, Arc<Module>>,
    /// Stages of opcodes, by order, then by name.
    pub packet_stages: Vec<Stage<PacketClaim>>,
    /// Stages of BROADCAST topics, by order, then by name.
    pub broadcast_stages: Vec<Stage<TopicClaim>>,
    /// Claims of STREAM topics, the most specific first.
    pub stream_claims: Vec<Stage<TopicClaim>>,
}

impl Catalog {
    /// The module of this name.
    #[must_use]
    pub fn module(&self, name: &str) -> Option<&Arc<Module>> {
        self.modules.get(name)
    }

    /// The stages that a packet runs through, in order.
    pub fn stages_of_packet(
        &self,
        opcode: Opcode,
        version: u8,
    ) -> impl Iterator<Item = &Stage<PacketClaim>> {
        self.packet_stages.iter().filter(move |stage| {
            stage.claim.first <= opcode
                && opcode <= stage.claim.last
                && stage.claim.version.is_none_or(|v| v == version)
        })
    }

    /// The stages that a BROADCAST to this topic runs through, in order.
    pub fn stages_of_broadcast<'a>(
        &'a self,
        topic: &'a str,
    ) -> impl Iterator<Item = &'a Stage<TopicClaim>> {
        self.broadcast_stages
            .iter()
            .filter(move |stage| matches(&stage.claim.topic, topic))
    }

    /// Who answers for this STREAM topic.
    #[must_use]
    pub fn stream_claim(&self, topic: &str) -> Option<&Stage<TopicClaim>> {
        self.stream_claims
            .iter()
            .find(|stage| matches(&stage.claim.topic, topic))
    }

    /// What modules are told of each other.
    #[must_use]
    pub fn infos(&self) -> Vec<ModuleInfo> {
        self.modules
            .values()
            .filter(|module| !module.copies.is_empty())
            .map(|module| ModuleInfo {
                name: Arc::clone(&module.name),
                kinds: module.exports.kinds(),
                version: module.version.clone(),
                generation: module.generation,
                healthy: module.healthy.load(Ordering::Relaxed)
                    && (module.copies.iter()).all(|copy| copy.healthy.load(Ordering::Relaxed)),
            })
            .collect()
    }
}

/// Whether a topic fits a pattern: segments between slashes, `*` stands for one segment, at the end for one or more.
#[must_use]
pub fn matches(pattern: &str, topic: &str) -> bool {
    let (mut patterns, mut topics) = (pattern.split('/').peekable(), topic.split('/'));
    while let Some(wanted) = patterns.next() {
        let Some(found) = topics.next() else {
            return false;
        };
        if wanted == "*" && patterns.peek().is_none() {
            return true;
        }
        if wanted != "*" && wanted != found {
            return false;
        }
    }
    topics.next().is_none()
}

/// Whether there is a topic that fits both patterns.
#[must_use]
pub fn overlap(a: &str, b: &str) -> bool {
    let (mut a, mut b) = (a.split('/').peekable(), b.split('/').peekable());
    loop {
        match (a.next(), b.next()) {
            (None, None) => return true,
            (Some(x), Some(y)) => {
                let rest = (x == "*" && a.peek().is_none()) || (y == "*" && b.peek().is_none());
                if rest {
                    return true;
                }
                if x != y && x != "*" && y != "*" {
                    return false;
                }
            }
            (Some(_), None) | (None, Some(_)) => return false,
        }
    }
}

/// Topics and patterns that a module claims of one kind. A person writes a dozen and a pattern for the rest; each is compared with those of every other module
/// when one is loaded, and with each topic that a client opens.
pub const TOPIC_CLAIMS_MAX: usize = 64;
/// Ranges of commands that a module claims: a handler for each message of a large game. Each is compared with those of every other module.
pub const PACKET_CLAIMS_MAX: usize = 1_024;
/// Segments of what a module claims: more than names ever nest, and few enough that a pattern is compared in a fraction of a microsecond.
pub const SEGMENTS_MAX: usize = 16;

/// Whether what a module claims is a topic or a pattern; what is neither would load and never match.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub fn check_pattern(pattern: &str) -> Result<(), String> {
    let no = |why: &str| Err(format!("`{pattern}` is no topic and no pattern: {why}"));
    if pattern.is_empty() {
        return Err("a topic has at least one byte, and the module claims \"\"".to_owned());
    }
    if pattern.len() > TOPIC_BYTES_MAX {
        return no("it has more than 255 bytes");
    }
    if pattern.split('/').count() > SEGMENTS_MAX {
        return no("it has more than 16 segments between slashes");
    }
    for segment in pattern.split('/') {
        if segment == "{key}" {
            return no(
                "`{key}` names the instance of a keyed module, and this version has none; `*` stands for any one segment",
            );
        }
        if segment.contains(['{', '}']) {
            return no(
                "braces stand only in `{key}`, which is for keyed modules, and this version has none",
            );
        }
        if segment.contains('*') && segment != "*" {
            return no(
                "`*` is a whole segment between slashes, as in `chat/*`, where it stands for one segment, and at the end for one or more",
            );
        }
    }
    Ok(())
}

/// Where the newest catalog is found.
#[derive(Debug, Default)]
pub struct Catalogs {
    version: AtomicU64,
    newest: RwLock<Arc<Catalog>>,
}

impl Catalogs {
    /// Publishes a catalog.
    pub fn publish(&self, catalog: Catalog) {
        *self.newest.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(catalog);
        self.version.fetch_add(1, Ordering::Release);
    }

    /// The newest one.
    #[must_use]
    pub fn newest(&self) -> Arc<Catalog> {
        Arc::clone(&self.newest.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Grows with each catalog that is published; one load.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_never_match_is_no_pattern() {
        let (long, deep) = ("a".repeat(256), ["a"; SEGMENTS_MAX + 1].join("/"));
        for (pattern, why) in [
            ("", "at least one byte"),
            ("chat/**x", "whole segment"),
            ("a**b", "whole segment"),
            ("chat/**", "whole segment"),
            ("{x", "braces"),
            ("arena/{key}/spectate", "keyed module"),
            (&*long, "255 bytes"),
            (&*deep, "16 segments"),
        ] {
            let problem = check_pattern(pattern).unwrap_err();
            assert!(problem.contains(why), "{pattern}: {problem}");
        }
        for pattern in ["chat", "*", "chat/*", "arena/*/spectate", "a b/\u{fc}"] {
            assert_eq!(check_pattern(pattern), Ok(()), "{pattern}");
        }
    }

    #[test]
    fn patterns_overlap_where_a_topic_fits_both() {
        for (a, b, fits) in [
            ("chat", "chat", true),
            ("chat", "news", false),
            ("chat/*", "chat/eu", true),
            ("chat/*", "chat", false),
            ("chat/*", "chat/*/loud", true),
            ("*/eu", "chat/*", true),
            ("*/eu", "chat/us", false),
            ("*/eu", "chat/eu/1", false),
            ("*", "a/b/c", true),
            ("a/*/c", "a/b/*", true),
        ] {
            assert_eq!(overlap(a, b), fits, "{a} {b}");
            assert_eq!(overlap(b, a), fits, "{b} {a}");
        }
    }

    #[test]
    fn patterns_match_by_segments() {
        for (pattern, topic, fits) in [
            ("chat", "chat", true),
            ("chat", "chat/eu", false),
            ("chat/*", "chat/eu", true),
            ("chat/*", "chat/eu/1", true),
            ("chat/*", "chat", false),
            ("*", "chat/eu", true),
            ("arena/*/spectate", "arena/blue/spectate", true),
            ("arena/*/spectate", "arena/blue/red/spectate", false),
        ] {
            assert_eq!(matches(pattern, topic), fits, "{pattern} {topic}");
        }
    }
}
