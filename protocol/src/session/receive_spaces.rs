//! Exactly once and in order, on the receiving side (PROTOCOL.md 5, 6.4): which ids of each space were seen, and ordered messages that came too
//! early. A space is made at its first message and holds memory beyond its next id only while there are gaps.

use std::collections::BTreeMap;

use super::send_queue::Message;
use crate::limits::{CHANNELS, MESSAGE_WINDOW};
use crate::wire::{FrameError, Mode, OpFrame};

/// What to do with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is new and its turn.
    Deliver,
    /// It is new, ordered, and others come first.
    Hold,
    /// It was there before, or a newer one was.
    Drop,
}

/// A reliable unordered space: all ids below `lowest` were seen.
#[derive(Debug)]
struct Unordered {
    lowest: u32,
    /// Which of the 1,024 ids from `lowest` on were seen, by their low bits; only while some are.
    seen: Option<Box<[u64; SEEN_WORDS]>>,
    /// How many bits are set.
    early: u32,
}

const SEEN_WORDS: usize = MESSAGE_WINDOW as usize / 64;

/// A reliable ordered space: all ids below `next` were delivered.
#[derive(Debug)]
struct Ordered {
    next: u32,
    /// Messages above `next`; a map, so that a peer that leaves gaps occupies what it sent and no more.
    early: BTreeMap<u32, Message>,
}

/// No space was made yet for a channel.
const NONE: u8 = u8::MAX;

/// All spaces of one direction.
#[derive(Debug)]
pub(super) struct ReceiveSpaces {
    /// The number of each channel's space in the list of its mode.
    unordered_numbers: [u8; CHANNELS as usize],
    ordered_numbers: [u8; CHANNELS as usize],
    unordered: Vec<Unordered>,
    ordered: Vec<Ordered>,
    /// The newest id of each sequenced channel that was used.
    sequenced: Option<Box<[Option<u32>; CHANNELS as usize]>>,
}

impl ReceiveSpaces {
    pub(super) const fn new() -> Self {
        Self {
            unordered_numbers: [NONE; CHANNELS as usize],
            ordered_numbers: [NONE; CHANNELS as usize],
            unordered: Vec::new(),
            ordered: Vec::new(),
            sequenced: None,
        }
    }

    /// Looks at a message whose channel exists, and marks it as seen.
    pub(super) fn see(&mut self, op: &OpFrame<'_>) -> Result<Verdict, FrameError> {
        let channel = usize::from(op.channel % CHANNELS);
        match op.mode {
            Mode::Unreliable => Ok(Verdict::Deliver),
            Mode::UnreliableSequenced => {
                let newest = &mut self.sequenced.get_or_insert_default()[channel];
                let later = newest.is_none_or(|newest| {
                    let ahead = op.message_id.wrapping_sub(newest);
                    ahead > 0 && ahead <= u32::MAX / 2
                });
                if !later {
                    return Ok(Verdict::Drop);
                }
                *newest = Some(op.message_id);
                Ok(Verdict::Deliver)
            }
            Mode::ReliableUnordered => {
                let number = &mut self.unordered_numbers[channel];
                if *number == NONE {
                    *number = self.unordered.len() as u8;
                    self.unordered.push(Unordered {
                        lowest: 1,
                        seen: None,
                        early: 0,
                    });
                }
                self.unordered[usize::from(*number)].see(op.message_id)
            }
            Mode::ReliableOrdered => {
                let number = &mut self.ordered_numbers[channel];
                if *number == NONE {
                    *number = self.ordered.len() as u8;
                    self.ordered.push(Ordered {
                        next: 1,
                        early: BTreeMap::new(),
                    });
                }
                self.ordered[usize::from(*number)].see(op.message_id)
            }
        }
    }

    /// Keeps an ordered message that [`Verdict::Hold`] met.
    pub(super) fn hold(&mut self, message_id: u32, message: Message) {
        if let Some(space) = self.ordered_space(message.channel) {
            space.early.insert(message_id, message);
        }
    }

    /// The next ordered message of a channel whose turn has come.
    pub(super) fn next_in_order(&mut self, channel: u8) -> Option<Message> {
        let space = self.ordered_space(channel)?;
        if space.early.is_empty() {
            return None;
        }
        let message = space.early.remove(&space.next)?;
        space.next += 1;
        Some(message)
    }

    fn ordered_space(&mut self, channel: u8) -> Option<&mut Ordered> {
        let number = self.ordered_numbers[usize::from(channel % CHANNELS)];
        self.ordered.get_mut(usize::from(number))
    }

    #[cfg(test)]
    pub(super) fn heap_len(&self) -> usize {
        let seen = self.unordered.iter().filter(|space| space.seen.is_some());
        self.unordered.capacity() * size_of::<Unordered>()
            + self.ordered.capacity() * size_of::<Ordered>()
            + seen.count() * size_of::<[u64; SEEN_WORDS]>()
            + self.sequenced.as_ref().map_or(0, |_| 256)
    }
}

impl Unordered {
    fn see(&mut self, id: u32) -> Result<Verdict, FrameError> {
        let Some(ahead) = id.checked_sub(self.lowest) else {
            return Ok(Verdict::Drop);
        };
        if ahead >= MESSAGE_WINDOW {
            return Err(FrameError::MessageId(id));
        }
        if ahead == 0 {
            self.lowest += 1;
            self.close_gap();
            return Ok(Verdict::Deliver);
        }
        let seen = self.seen.get_or_insert_with(|| Box::new([0; SEEN_WORDS]));
        let (word, bit) = place(id);
        if seen[word] & bit != 0 {
            return Ok(Verdict::Drop);
        }
        seen[word] |= bit;
        self.early += 1;
        Ok(Verdict::Deliver)
    }

    /// Moves `lowest` over what was seen early.
    fn close_gap(&mut self) {
        let Some(seen) = &mut self.seen else { return };
        while self.early > 0 {
            let (word, bit) = place(self.lowest);
            if seen[word] & bit == 0 {
                return;
            }
            seen[word] &= !bit;
            self.early -= 1;
            self.lowest += 1;
        }
        self.seen = None;
    }
}

const fn place(id: u32) -> (usize, u64) {
    ((id % MESSAGE_WINDOW / 64) as usize, 1 << (id % 64))
}

impl Ordered {
    fn see(&mut self, id: u32) -> Result<Verdict, FrameError> {
        let Some(ahead) = id.checked_sub(self.next) else {
            return Ok(Verdict::Drop);
        };
        if ahead >= MESSAGE_WINDOW {
            return Err(FrameError::MessageId(id));
        }
        if ahead == 0 {
            self.next += 1;
            return Ok(Verdict::Deliver);
        }
        if self.early.contains_key(&id) {
            return Ok(Verdict::Drop);
        }
        Ok(Verdict::Hold)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::wire::OpKind;

    fn op(mode: Mode, channel: u8, message_id: u32) -> OpFrame<'static> {
        OpFrame {
            mode,
            channel,
            version: 0,
            opcode: 1,
            message_id,
            kind: OpKind::Message,
            body: &[],
        }
    }

    fn message(channel: u8, id: u32) -> Message {
        Message {
            mode: Mode::ReliableOrdered,
            channel,
            version: 0,
            opcode: 1,
            kind: OpKind::Message,
            body: Bytes::copy_from_slice(&id.to_be_bytes()),
        }
    }

    #[test]
    fn ids_beyond_the_window_are_refused() {
        for mode in [Mode::ReliableUnordered, Mode::ReliableOrdered] {
            let mut spaces = ReceiveSpaces::new();
            assert!(spaces.see(&op(mode, 3, 1_024)).is_ok());
            assert_eq!(
                spaces.see(&op(mode, 3, 1_025)),
                Err(FrameError::MessageId(1_025))
            );
            assert_eq!(spaces.see(&op(mode, 3, 1)), Ok(Verdict::Deliver));
            assert!(spaces.see(&op(mode, 3, 1_025)).is_ok());
            assert!(spaces.see(&op(mode, 4, u32::MAX - 1)).is_err());
        }
    }

    #[test]
    fn the_newest_of_a_sequenced_channel_wins_around_the_end() {
        let mut spaces = ReceiveSpaces::new();
        for (channel, id, verdict) in [
            (0, 5, Verdict::Deliver),
            (0, 5, Verdict::Drop),
            (0, 4, Verdict::Drop),
            (1, 0xffff_fff0, Verdict::Deliver),
            (1, 0xffff_ffef, Verdict::Drop),
            (0, 0x8000_0000, Verdict::Deliver),
            (0, 0xffff_ffff, Verdict::Deliver),
            (0, 2, Verdict::Deliver),
            (0, 0xffff_ffff, Verdict::Drop),
        ] {
            let seen = spaces.see(&op(Mode::UnreliableSequenced, channel, id));
            assert_eq!(seen, Ok(verdict), "{id}");
        }
    }

    #[test]
    fn a_closed_gap_holds_no_memory() {
        let mut spaces = ReceiveSpaces::new();
        for id in (2..=1_024).rev().chain([1]) {
            let seen = spaces.see(&op(Mode::ReliableUnordered, 0, id));
            assert_eq!(seen, Ok(Verdict::Deliver));
        }
        assert!(spaces.unordered[0].seen.is_none());
        assert_eq!(spaces.unordered[0].lowest, 1_025);
    }

    proptest! {
        #[test]
        fn unordered_ids_are_delivered_exactly_once(steps in proptest::collection::vec(0..1_200_u32, 1..600)) {
            let (mut spaces, mut seen) = (ReceiveSpaces::new(), BTreeSet::new());
            let mut lowest = 1;
            for step in steps {
                // Half of the steps fill the lowest gap, so that the window moves on and around.
                let id = if step % 2 == 0 { lowest } else { lowest + step };
                let verdict = spaces.see(&op(Mode::ReliableUnordered, 0, id));
                if id >= lowest + 1_024 {
                    prop_assert_eq!(verdict, Err(FrameError::MessageId(id)));
                } else if seen.insert(id) {
                    prop_assert_eq!(verdict, Ok(Verdict::Deliver));
                } else {
                    prop_assert_eq!(verdict, Ok(Verdict::Drop));
                }
                while seen.contains(&lowest) {
                    lowest += 1;
                }
            }
        }

        #[test]
        fn ordered_ids_come_in_order(mut ids in proptest::collection::vec(1..60_u32, 1..400)) {
            let mut spaces = ReceiveSpaces::new();
            let mut delivered = Vec::new();
            ids.extend(1..60);
            for id in ids {
                match spaces.see(&op(Mode::ReliableOrdered, 9, id)).unwrap() {
                    Verdict::Deliver => delivered.push(id),
                    Verdict::Hold => spaces.hold(id, message(9, id)),
                    Verdict::Drop => {}
                }
                while let Some(message) = spaces.next_in_order(9) {
                    delivered.push(u32::from_be_bytes(message.body[..].try_into().unwrap()));
                }
            }
            prop_assert_eq!(delivered, (1..60).collect::<Vec<_>>());
        }
    }
}
