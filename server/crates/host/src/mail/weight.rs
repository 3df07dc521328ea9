//! What mail weighs against the bytes that may be under way between two homes, and what an effect weighs against those that one call may leave: payloads
//! and, for each piece, about what the piece itself takes.

use cohnect_capabilities::{Audience, Effect};

use super::{Outgoing, Walk};

/// What a piece of mail takes beside its payload.
const PIECE: usize = 128;
/// What one more client takes in a list of recipients: its UUID.
const CLIENT: usize = 16;
/// What one more recipient takes beside what is written of it: a payload of its own, a name.
const RECIPIENT: usize = 48;

impl Outgoing {
    /// What it weighs against [`super::FANOUT_BYTES_MAX`]; control messages always fit.
    #[must_use]
    pub const fn weight(&self) -> u64 {
        let bytes = match self {
            Self::Packet { payload, .. }
            | Self::Broadcast { payload, .. }
            | Self::Item { payload, .. } => payload.len(),
            Self::Finish { .. }
            | Self::Disconnect { .. }
            | Self::Attach { .. }
            | Self::Detach { .. } => return 0,
        };
        (bytes + PIECE) as u64
    }
}

impl Walk {
    /// What it weighs against [`super::FANOUT_BYTES_MAX`].
    pub(super) fn weight(&self) -> u64 {
        (self.message.payload.len() + self.message.topic.len() + PIECE) as u64
    }
}

/// What a call's effects weigh against [`super::EFFECTS_BYTES_MAX`].
pub(super) fn of_all(effects: &[Effect]) -> u64 {
    effects.iter().map(|effect| of(effect) as u64).sum()
}

/// What an effect weighs, there and against [`crate::limits::SENT_BYTES_MAX`].
pub(crate) fn of(effect: &Effect) -> usize {
    let bytes = match effect {
        Effect::Send { payload, .. } => payload.len(),
        Effect::Publish { topic, payload, .. } | Effect::PublishOne { topic, payload, .. } => {
            topic.len() + payload.len()
        }
        Effect::SendTo { to, payload, .. } => payload.len() + of_audience(to),
        Effect::Broadcast {
            topic, to, payload, ..
        } => topic.len() + payload.len() + of_audience(to),
        Effect::SendEach { items, .. } => items
            .iter()
            .map(|item| item.payload.len() + RECIPIENT)
            .sum(),
        Effect::Disconnect { message, .. } => message.len(),
        Effect::Finish { topic, reason } => topic.len() + reason.len(),
        Effect::Mail { input, .. } => input.len(),
        Effect::TimerSet { data, .. } => data.len(),
        Effect::Signal { body, .. } => body.len(),
        Effect::Attach { topic, .. } | Effect::Detach { topic, .. } => topic.len(),
        Effect::TimerCancel { .. } | Effect::TickRate { .. } => 0,
    };
    bytes + PIECE
}

fn of_audience(to: &Audience) -> usize {
    match to {
        Audience::Clients(ids) => ids.len() * CLIENT,
        Audience::Users(names) | Audience::Topics(names) => {
            names.iter().map(|name| name.len() + RECIPIENT).sum()
        }
        Audience::User(text)
        | Audience::Tagged(text)
        | Audience::Topic(text)
        | Audience::MembersOf(text) => text.len(),
        Audience::Everyone | Audience::Client(_) | Audience::Members => 0,
    }
}
