//! The first stage of the chat: five messages in ten seconds for each client, counted by this copy. The second is the profanity filter in `profanity.luau`.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, VecDeque};

use cohnect_module::broadcast::{Claim, Message, Verdict};
use cohnect_module::clock;
use cohnect_module::prelude::*;
use cohnect_module::{Failure, client_events};

/// Messages of one client in one window.
const MESSAGES_MAX: usize = 5;
/// Microseconds.
const WINDOW_US: u64 = 10_000_000;

#[derive(Default)]
struct Limiter {
    recent: BTreeMap<ClientId, VecDeque<u64>>,
}

impl Broadcast for Limiter {
    fn describe() -> Vec<Claim> {
        vec![Claim {
            topic: "chat/*".into(),
            order: 10,
            ..Claim::default()
        }]
    }

    fn handle(&mut self, message: Message) -> Verdict {
        let now = clock::now();
        let recent = self.recent.entry(message.sender.id).or_default();
        while recent.front().is_some_and(|at| at + WINDOW_US <= now) {
            recent.pop_front();
        }
        if recent.len() >= MESSAGES_MAX {
            return Verdict::Reject(Failure {
                code: 1,
                message: "you talk too fast".into(),
            });
        }
        recent.push_back(now);
        Verdict::Pass
    }
}

impl ClientEvents for Limiter {
    fn describe() -> client_events::EventSet {
        client_events::EventSet::DISCONNECTED
    }

    fn on_disconnected(&mut self, client: Client, _reason: CloseReason) {
        self.recent.remove(&client.id);
    }
}

cohnect_module::export!(Limiter: broadcast, client_events);
