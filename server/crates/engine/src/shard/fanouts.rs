//! Messages that are on their way to many clients of this shard, a few at a time, in order: no client gets a later one before an earlier one. It knows
//! slots and hands out which are next; sending is the shard's.

use std::collections::VecDeque;

use cohnect_capabilities::ClientId;
use cohnect_host::mail::FANOUT_BYTES_MAX;
use cohnect_protocol::SessionHandle;
use roaring::RoaringBitmap;

/// Recipients of one fan-out in one turn: sealing that many datagrams takes about a tenth of a millisecond.
pub(crate) const RECIPIENTS_PER_TURN: usize = 128;
/// Recipients of all fan-outs in one turn, so that many of them do not hold up what comes in.
pub(crate) const SENDS_PER_TURN: usize = 2_048;
/// Bytes of payloads that may wait here: those of two homes at their bound.
const WAITING_BYTES_MAX: u64 = 2 * FANOUT_BYTES_MAX;

/// Who is meant.
#[derive(Debug)]
pub(crate) enum To {
    /// The client of this session, in this slot.
    One(SessionHandle, u32),
    /// Those in these slots who were there at this count of removals.
    Slots(RoaringBitmap, u64),
    /// Everybody but one.
    Everyone(Option<ClientId>),
}

/// A message on its way; recipients below the cursor have it.
#[derive(Debug)]
pub(crate) struct OnTheWay<P> {
    pub(crate) to: To,
    pub(crate) parcel: P,
    weight: u64,
    cursor: u32,
}

/// All messages on their way.
#[derive(Debug)]
pub(crate) struct Fanouts<P> {
    waiting: VecDeque<OnTheWay<P>>,
    bytes: u64,
}

impl<P> Default for Fanouts<P> {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
            bytes: 0,
        }
    }
}

impl<P> Fanouts<P> {
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether everything on its way is past this slot, so that what goes there directly overtakes nothing.
    pub(crate) fn passed(&self, slot: u32) -> bool {
        // None is ahead of the one before it, so the last one is the furthest behind.
        self.waiting.back().is_none_or(|last| slot < last.cursor)
    }

    /// Sends a message on its way; false when there is no room. One that weighs nothing always fits.
    pub(crate) fn push(&mut self, to: To, parcel: P, weight: u64) -> bool {
        if weight > 0 && self.bytes + weight > WAITING_BYTES_MAX {
            return false;
        }
        self.bytes += weight;
        self.waiting.push_back(OnTheWay {
            to,
            parcel,
            weight,
            cursor: 0,
        });
        true
    }

    /// Moves everything on by one turn: `deliver` is called for each recipient whose turn it is, and says how many messages he got. `slots_end` is the first
    /// slot that nobody has.
    pub(crate) fn advance(
        &mut self,
        slots_end: u32,
        mut deliver: impl FnMut(&OnTheWay<P>, u32) -> usize,
    ) {
        let mut budget = SENDS_PER_TURN;
        let mut limit = u32::MAX;
        for each in &mut self.waiting {
            let due = each.next(limit, slots_end, RECIPIENTS_PER_TURN.min(budget));
            let sent: usize = due
                .slots
                .iter()
                .map(|slot| deliver(each, *slot).max(1))
                .sum();
            budget = budget.saturating_sub(sent);
            each.cursor = if due.more { due.cursor } else { u32::MAX };
            limit = due.cursor;
            if budget == 0 {
                break;
            }
        }
        self.waiting.retain(|each| {
            if each.cursor == u32::MAX {
                self.bytes -= each.weight;
            }
            each.cursor < u32::MAX
        });
    }
}

/// Who is next, where to go on after that, and whether there is anybody from there on.
struct Due {
    slots: Vec<u32>,
    cursor: u32,
    more: bool,
}

impl<P> OnTheWay<P> {
    /// At most `most` recipients from the cursor on and below `limit`.
    fn next(&self, limit: u32, slots_end: u32, most: usize) -> Due {
        let all: Vec<u32> = match &self.to {
            To::One(_, slot) => Some(*slot)
                .filter(|slot| (self.cursor..limit).contains(slot))
                .into_iter()
                .take(most)
                .collect(),
            To::Slots(slots, _) => slots.range(self.cursor..limit).take(most).collect(),
            To::Everyone(_) => (self.cursor..limit.min(slots_end)).take(most).collect(),
        };
        let cursor = match all.last() {
            Some(last) if all.len() == most => last.saturating_add(1),
            Some(_) | None if most == 0 => self.cursor,
            Some(_) | None => limit,
        };
        let more = match &self.to {
            To::One(_, slot) => *slot >= cursor,
            To::Slots(slots, _) => slots.max().is_some_and(|last| last >= cursor),
            To::Everyone(_) => slots_end > cursor,
        };
        Due {
            slots: all,
            cursor,
            more,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn everybody_gets_everything_once_and_in_order(
            messages in prop::collection::vec((0_u8..3, prop::collection::btree_set(0_u32..600, 1..300)), 0..12),
            turns_between in prop::collection::vec(0_usize..4, 12),
        ) {
            const END: u32 = 600;
            let mut fanouts = Fanouts::default();
            let mut got: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
            let mut expected: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
            for (n, (kind, slots)) in messages.iter().enumerate() {
                let to = if *kind == 0 { To::Everyone(None) } else { To::Slots(slots.iter().copied().collect(), 0) };
                let meant: Vec<u32> = if *kind == 0 { (0..END).collect() } else { slots.iter().copied().collect() };
                for slot in meant {
                    expected.entry(slot).or_default().push(n);
                }
                prop_assert!(fanouts.push(to, n, 10));
                for _ in 0..turns_between[n] {
                    let mut sends = 0;
                    fanouts.advance(END, |each, slot| { got.entry(slot).or_default().push(each.parcel); sends += 1; 1 });
                    prop_assert!(sends <= SENDS_PER_TURN);
                }
                // What goes to a slot directly must not overtake what is on its way there.
                for slot in (0..END).step_by(37) {
                    if fanouts.passed(slot) {
                        prop_assert_eq!(got.get(&slot), expected.get(&slot));
                    }
                }
            }
            for _ in 0..1_000 {
                fanouts.advance(END, |each, slot| { got.entry(slot).or_default().push(each.parcel); 1 });
            }
            prop_assert!(fanouts.is_empty());
            prop_assert_eq!(fanouts.bytes, 0);
            prop_assert_eq!(got, expected);
        }
    }

    #[test]
    fn no_more_waits_than_may() {
        let mut fanouts = Fanouts::default();
        let to = || To::Everyone(None);
        assert!(fanouts.push(to(), (), WAITING_BYTES_MAX));
        assert!(!fanouts.push(to(), (), 1));
        assert!(fanouts.push(to(), (), 0), "control messages always fit");
        fanouts.advance(1, |_, _| 1);
        assert!(fanouts.push(to(), (), 1));
    }
}
