//! Audiences: who is meant, counted, listed, and split into one fan-out for each shard. An expression is compiled once and evaluated on each part. It
//! sends nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use cohnect_capabilities::{Audience, ClientId, Error, Result};
use cohnect_host::mail::Recipients;
use cohnect_protocol::ops::expression::Expression;
use roaring::RoaringBitmap;

use super::part::Part;
use super::{Directory, Locked};

/// Clients in one page of a list, and what a caller may ask for at most: 16 KiB of ids.
const PAGE_MAX: usize = 1_000;

/// A message's recipients, by shard.
#[derive(Debug)]
pub struct Fan {
    /// How many clients in all.
    pub count: u32,
    /// Who they are in each shard where there are any.
    pub shards: Vec<(u16, Recipients)>,
}

/// An audience that was understood.
enum Who<'a> {
    Everyone,
    These(BTreeSet<ClientId>),
    Tagged(Arc<Expression>),
    Topics(&'a [String]),
    Topic(&'a str),
    /// Users, until there are tokens.
    Nobody,
}

impl Directory {
    /// The recipients of a message, without `except`.
    ///
    /// # Errors
    /// `InvalidArgument` for a malformed expression, `Unsupported` for members.
    pub fn fan(&self, who: &Audience, except: Option<ClientId>) -> Result<Fan> {
        let who = self.understand(who)?;
        Ok(match &who {
            Who::Nobody => Fan {
                count: 0,
                shards: Vec::new(),
            },
            Who::Everyone => self.fan_everyone(except),
            Who::These(ids) => self.fan_these(ids, except),
            Who::Tagged(_) | Who::Topics(_) | Who::Topic(_) => self.fan_slots(&who, except),
        })
    }

    /// Whether an audience is one that can be meant.
    ///
    /// # Errors
    /// As [`Directory::fan`].
    pub fn check(&self, who: &Audience) -> Result<()> {
        self.understand(who).map(drop)
    }

    /// Whoever has this topic open.
    #[must_use]
    pub fn fan_topic(&self, topic: &str) -> Fan {
        self.fan_slots(&Who::Topic(topic), None)
    }

    /// How many clients an audience has, without `except`.
    ///
    /// # Errors
    /// As [`Directory::fan`].
    pub(super) fn size(&self, who: &Audience, except: Option<ClientId>) -> Result<u32> {
        let who = self.understand(who)?;
        Ok(match &who {
            Who::Nobody => 0,
            Who::Everyone => self.fan_everyone(except).count,
            Who::These(ids) => {
                let here = ids.iter().filter(|id| Some(**id) != except);
                here.filter(|id| self.part(**id).slot(**id).is_some())
                    .count() as u32
            }
            Who::Tagged(_) | Who::Topics(_) | Who::Topic(_) => self.fan_slots(&who, except).count,
        })
    }

    /// A page of an audience, ascending by id.
    ///
    /// # Errors
    /// As [`Directory::fan`].
    pub(super) fn page(
        &self,
        who: &Audience,
        after: Option<ClientId>,
        limit: u32,
    ) -> Result<Vec<ClientId>> {
        let who = self.understand(who)?;
        let limit = match limit as usize {
            0 => PAGE_MAX,
            n => n.min(PAGE_MAX),
        };
        let beyond = |id: &ClientId| after.is_none_or(|after| *id > after);
        if let Who::These(ids) = &who {
            let here = ids.iter().copied().filter(beyond);
            return Ok(here
                .filter(|id| self.part(*id).slot(*id).is_some())
                .take(limit)
                .collect());
        }
        // Each part gives its first ones; of all of them the first ones are the page.
        let mut first = BTreeSet::new();
        for locked in &self.parts {
            let part = locked.lock();
            let Some(slots) = select(&part, &who) else {
                continue;
            };
            for (id, slot) in part.after(after) {
                let full = first.len() >= limit;
                if full && first.last().is_some_and(|last| id > *last) {
                    break;
                }
                if slots.contains(slot) {
                    first.insert(id);
                    if full {
                        first.pop_last();
                    }
                }
            }
        }
        Ok(first.into_iter().collect())
    }

    fn understand<'a>(&self, who: &'a Audience) -> Result<Who<'a>> {
        Ok(match who {
            Audience::Everyone => Who::Everyone,
            Audience::Client(id) => Who::These([*id].into()),
            Audience::Clients(ids) => Who::These(ids.iter().copied().collect()),
            Audience::User(_) | Audience::Users(_) => Who::Nobody,
            Audience::Tagged(text) => Who::Tagged(
                self.expressions
                    .compiled(text)
                    .map_err(|malformed| Error::invalid(malformed.to_string()))?,
            ),
            Audience::Topic(topic) => Who::Topic(topic),
            Audience::Topics(topics) => Who::Topics(topics),
            Audience::Members | Audience::MembersOf(_) => return Err(Error::Unsupported),
        })
    }

    fn fan_everyone(&self, except: Option<ClientId>) -> Fan {
        let mut count: u32 = 0;
        let mut shards = Vec::new();
        for (n, locked) in self.parts.iter().enumerate() {
            let here = locked.count.load(Ordering::Relaxed);
            count = count.saturating_add(here);
            if here > 0 {
                shards.push((n as u16, Recipients::Everyone { except }));
            }
        }
        if except.is_some_and(|id| self.part(id).slot(id).is_some()) {
            count = count.saturating_sub(1);
        }
        Fan { count, shards }
    }

    fn fan_these(&self, ids: &BTreeSet<ClientId>, except: Option<ClientId>) -> Fan {
        let mut by_shard: BTreeMap<u16, Vec<ClientId>> = BTreeMap::new();
        for id in ids.iter().copied().filter(|id| Some(*id) != except) {
            by_shard.entry(self.shard_of(id)).or_default().push(id);
        }
        let mut count: u32 = 0;
        let mut shards = Vec::new();
        for (shard, ids) in by_shard {
            let Some(part) = self.parts.get(usize::from(shard)).map(Locked::lock) else {
                continue;
            };
            let slots: RoaringBitmap = ids.iter().filter_map(|id| part.slot(*id)).collect();
            let here = u32::try_from(slots.len()).unwrap_or(u32::MAX);
            count = count.saturating_add(here);
            match (ids.as_slice(), here) {
                (_, 0) => {}
                ([id], _) => shards.push((shard, Recipients::One(*id))),
                (_, _) => {
                    let removals = part.removals();
                    shards.push((shard, Recipients::Slots { slots, removals }));
                }
            }
        }
        Fan { count, shards }
    }

    fn fan_slots(&self, who: &Who<'_>, except: Option<ClientId>) -> Fan {
        let mut count: u32 = 0;
        let mut shards = Vec::new();
        for (n, locked) in self.parts.iter().enumerate() {
            let part = locked.lock();
            let Some(mut slots) = select(&part, who) else {
                continue;
            };
            if let Some(slot) = except.and_then(|id| part.slot(id)) {
                slots.remove(slot);
            }
            let removals = part.removals();
            if !slots.is_empty() {
                let here = u32::try_from(slots.len()).unwrap_or(u32::MAX);
                count = count.saturating_add(here);
                shards.push((n as u16, Recipients::Slots { slots, removals }));
            }
        }
        Fan { count, shards }
    }
}

/// The slots of a part that are meant; none where nobody is.
fn select(part: &Part, who: &Who<'_>) -> Option<RoaringBitmap> {
    let slots = match who {
        Who::Everyone => part.occupied().clone(),
        Who::Tagged(expression) => part.tagged(expression),
        Who::Topic(topic) => part.subscribers(topic)?.clone(),
        Who::Topics(topics) => topics
            .iter()
            .filter_map(|topic| part.subscribers(topic))
            .fold(RoaringBitmap::new(), |all, slots| all | slots),
        // Both are answered without a part's sets.
        Who::These(_) | Who::Nobody => return None,
    };
    Some(slots)
}
