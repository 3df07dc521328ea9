//! One shard's part of the directory: its clients by id and by slot, and for each tag and each topic the set of slots that have it. It has no lock of
//! its own and knows no other part.

use std::collections::BTreeMap;
use std::sync::Arc;

use cohnect_capabilities::ClientId;
use cohnect_host::limits::MESSAGE_BYTES_MAX;
use cohnect_protocol::ops::expression::{Expression, Pattern};
use cohnect_protocol::ops::tags::{Mode, OWN_TAGS_MAX};
use cohnect_protocol::ops::{TAG_LEN_MAX, Tag};
use roaring::RoaringBitmap;

use super::Card;

/// Tags that modules may give one client: with the 32 of its own, each with a length byte, the list stays within a few messages.
pub(super) const GIVEN_TAGS_MAX: usize = 128;

/// A client's place in the part of its shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat {
    /// The slot: a small number, used again after the client left.
    pub slot: u32,
    /// The part's count of removals when the slot was given out. What was addressed to the slot before is not meant for this client.
    pub since: u64,
}

/// Why a client's own tags stay as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnTagsError {
    /// It would have more than 32 of its own, or the list of all would not fit an answer. Tags are taken away all the same.
    TooMany,
    /// It is not here.
    Gone,
}

/// A client in its slot.
pub(super) struct Member {
    pub(super) card: Arc<Card>,
    /// Sorted.
    given: Vec<Arc<str>>,
    /// Sorted, without the `~`.
    own: Vec<Arc<str>>,
    topics: Vec<Arc<str>>,
    /// Made when somebody asks, until a tag changes.
    listed: core::cell::OnceCell<Arc<[Arc<str>]>>,
}

impl Member {
    /// Given tags, then its own with their `~`: sorted by bytes, since `~` is above every byte of a tag.
    pub(super) fn listed(&self) -> Arc<[Arc<str>]> {
        Arc::clone(self.listed.get_or_init(|| {
            let own = self.own.iter().map(|tag| Arc::from(format!("~{tag}")));
            self.given.iter().cloned().chain(own).collect()
        }))
    }

    pub(super) fn has_tag_like(&self, pattern: &Pattern) -> bool {
        let tags = if pattern.own { &self.own } else { &self.given };
        if pattern.prefix {
            tags.iter().any(|tag| pattern.fits(pattern.own, tag))
        } else {
            tags.binary_search_by(|tag| (**tag).cmp(&pattern.name))
                .is_ok()
        }
    }

    pub(super) fn has_listed(&self, tag: &str) -> bool {
        let (tags, tag) = match tag.strip_prefix('~') {
            Some(own) => (&self.own, own),
            None => (&self.given, tag),
        };
        tags.binary_search_by(|each| (**each).cmp(tag)).is_ok()
    }

    pub(super) fn given(&self) -> &[Arc<str>] {
        &self.given
    }
}

/// The clients of one shard.
#[derive(Default)]
pub(super) struct Part {
    clients: BTreeMap<ClientId, u32>,
    slots: Vec<Option<Member>>,
    free: Vec<u32>,
    occupied: RoaringBitmap,
    given: Index,
    own: Index,
    topics: Index,
    removals: u64,
}

impl Part {
    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.clients.len()).unwrap_or(u32::MAX)
    }

    pub(super) const fn removals(&self) -> u64 {
        self.removals
    }

    pub(super) const fn occupied(&self) -> &RoaringBitmap {
        &self.occupied
    }

    pub(super) fn admit(&mut self, card: Arc<Card>, given: &[String]) -> Seat {
        self.release(card.id);
        let id = card.id;
        let mut tags: Vec<Arc<str>> = given
            .iter()
            .filter(|tag| Tag::new(tag).is_ok())
            .map(|tag| Arc::from(tag.as_str()))
            .collect();
        tags.sort_unstable();
        tags.dedup();
        tags.truncate(GIVEN_TAGS_MAX);
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1)
                .expect("invariant: sessions are far fewer than 2^32")
        });
        for tag in &tags {
            self.given.insert(tag, slot);
        }
        self.occupied.insert(slot);
        self.clients.insert(id, slot);
        self.slots[slot as usize] = Some(Member {
            card,
            given: tags,
            own: Vec::new(),
            topics: Vec::new(),
            listed: core::cell::OnceCell::new(),
        });
        Seat {
            slot,
            since: self.removals,
        }
    }

    pub(super) fn release(&mut self, id: ClientId) -> Option<Arc<[Arc<str>]>> {
        let slot = self.clients.remove(&id)?;
        let member = self.slots.get_mut(slot as usize)?.take()?;
        for (index, names) in [
            (&mut self.given, &member.given),
            (&mut self.own, &member.own),
            (&mut self.topics, &member.topics),
        ] {
            for name in names {
                index.remove(name, slot);
            }
        }
        self.occupied.remove(slot);
        self.free.push(slot);
        self.removals += 1;
        Some(member.listed())
    }

    pub(super) fn slot(&self, id: ClientId) -> Option<u32> {
        self.clients.get(&id).copied()
    }

    pub(super) fn find(&self, id: ClientId) -> Option<&Member> {
        self.member(self.slot(id)?)
    }

    pub(super) fn member(&self, slot: u32) -> Option<&Member> {
        self.slots.get(slot as usize)?.as_ref()
    }

    /// The ids after one, ascending.
    pub(super) fn after(&self, after: Option<ClientId>) -> impl Iterator<Item = (ClientId, u32)> {
        let from = after.map_or(core::ops::Bound::Unbounded, core::ops::Bound::Excluded);
        self.clients
            .range((from, core::ops::Bound::Unbounded))
            .map(|(id, slot)| (*id, *slot))
    }

    pub(super) fn change_own(
        &mut self,
        id: ClientId,
        mode: Mode,
        tags: &[Tag<'_>],
    ) -> Result<Arc<[Arc<str>]>, OwnTagsError> {
        let slot = self.slot(id).ok_or(OwnTagsError::Gone)?;
        let member = self.slots.get_mut(slot as usize).and_then(Option::as_mut);
        let member = member.ok_or(OwnTagsError::Gone)?;
        let mut wanted = match mode {
            Mode::Replace => Vec::new(),
            Mode::Add | Mode::Remove => member.own.clone(),
        };
        for tag in tags {
            let text = tag.as_str();
            match (mode, wanted.binary_search_by(|each| (**each).cmp(text))) {
                (Mode::Replace | Mode::Add, Err(at)) => wanted.insert(at, Arc::from(text)),
                (Mode::Remove, Ok(at)) => drop(wanted.remove(at)),
                (Mode::Replace | Mode::Add, Ok(_)) | (Mode::Remove, Err(_)) => {}
            }
        }
        let listed_bytes = 1
            + member.given.iter().map(|tag| 1 + tag.len()).sum::<usize>()
            + wanted.iter().map(|tag| 2 + tag.len()).sum::<usize>();
        // To take tags away is always allowed: it leaves less than there was, also where modules gave more than an answer can list (PROTOCOL.md 6.5).
        if mode != Mode::Remove && (wanted.len() > OWN_TAGS_MAX || listed_bytes > MESSAGE_BYTES_MAX)
        {
            return Err(OwnTagsError::TooMany);
        }
        for tag in &member.own {
            self.own.remove(tag, slot);
        }
        for tag in &wanted {
            self.own.insert(tag, slot);
        }
        member.own = wanted;
        member.listed.take();
        Ok(member.listed())
    }

    /// Gives a tag; false when the client has it. `None` when there are too many or the client is not here, told apart by the caller.
    pub(super) fn give(&mut self, id: ClientId, tag: &str) -> Option<Result<bool, usize>> {
        let slot = self.slot(id)?;
        let member = self.slots.get_mut(slot as usize)?.as_mut()?;
        let Err(at) = member.given.binary_search_by(|each| (**each).cmp(tag)) else {
            return Some(Ok(false));
        };
        if member.given.len() >= GIVEN_TAGS_MAX {
            return Some(Err(member.given.len() + 1));
        }
        let tag: Arc<str> = tag.into();
        self.given.insert(&tag, slot);
        member.given.insert(at, tag);
        member.listed.take();
        Some(Ok(true))
    }

    /// Takes a given tag away; true when the client had it.
    pub(super) fn take(&mut self, id: ClientId, tag: &str) -> Option<bool> {
        let slot = self.slot(id)?;
        let member = self.slots.get_mut(slot as usize)?.as_mut()?;
        let Ok(at) = member.given.binary_search_by(|each| (**each).cmp(tag)) else {
            return Some(false);
        };
        self.given.remove(tag, slot);
        member.given.remove(at);
        member.listed.take();
        Some(true)
    }

    pub(super) fn subscribe(&mut self, id: ClientId, topic: &Arc<str>) -> bool {
        let Some(slot) = self.slot(id) else {
            return false;
        };
        let Some(member) = self.slots.get_mut(slot as usize).and_then(Option::as_mut) else {
            return false;
        };
        if self.topics.insert(topic, slot) {
            member.topics.push(Arc::clone(topic));
        }
        true
    }

    pub(super) fn unsubscribe(&mut self, id: ClientId, topic: &str) {
        let Some(slot) = self.slot(id) else { return };
        if let Some(member) = self.slots.get_mut(slot as usize).and_then(Option::as_mut) {
            member.topics.retain(|each| **each != *topic);
            self.topics.remove(topic, slot);
        }
    }

    pub(super) fn subscribers(&self, topic: &str) -> Option<&RoaringBitmap> {
        self.topics.slots.get(topic)
    }

    /// The slots whose tags fit.
    pub(super) fn tagged(&self, expression: &Expression) -> RoaringBitmap {
        match expression {
            Expression::Tag(pattern) => {
                let index = if pattern.own { &self.own } else { &self.given };
                index.like(pattern)
            }
            Expression::Not(inner) => &self.occupied - self.tagged(inner),
            Expression::All(parts) => parts
                .iter()
                .map(|part| self.tagged(part))
                .reduce(|all, one| all & one)
                .unwrap_or_default(),
            Expression::Any(parts) => parts
                .iter()
                .map(|part| self.tagged(part))
                .reduce(|all, one| all | one)
                .unwrap_or_default(),
        }
    }
}

/// Sets of slots by name; a name without slots is not kept.
#[derive(Default)]
struct Index {
    slots: BTreeMap<Arc<str>, RoaringBitmap>,
}

impl Index {
    fn insert(&mut self, name: &Arc<str>, slot: u32) -> bool {
        if let Some(slots) = self.slots.get_mut(name) {
            return slots.insert(slot);
        }
        self.slots
            .insert(Arc::clone(name), RoaringBitmap::from_iter([slot]));
        true
    }

    fn remove(&mut self, name: &str, slot: u32) {
        if let Some(slots) = self.slots.get_mut(name) {
            slots.remove(slot);
            if slots.is_empty() {
                self.slots.remove(name);
            }
        }
    }

    fn like(&self, pattern: &Pattern) -> RoaringBitmap {
        if !pattern.prefix {
            return self.slots.get(&*pattern.name).cloned().unwrap_or_default();
        }
        self.slots
            .range::<str, _>((
                core::ops::Bound::Included(&*pattern.name),
                core::ops::Bound::Unbounded,
            ))
            .take_while(|(name, _)| name.starts_with(&*pattern.name))
            .fold(RoaringBitmap::new(), |all, (_, slots)| all | slots)
    }
}

const _: () = assert!(TAG_LEN_MAX < 255, "a listed tag fits a name8");
