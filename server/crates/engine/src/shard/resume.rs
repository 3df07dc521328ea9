//! Answers that have come, or have not come in time, and what is done with each: the other half of everything that could not be answered at once.

use std::sync::Arc;

use cohnect_capabilities::Error;
use cohnect_capabilities::mailbox::Awaited;
use cohnect_host::export::Export;
use cohnect_host::mail::{Address, Answered, Call, Relay};

use super::{Continuation, Shard};
use crate::outcome;

impl Shard {
    /// An answer has come. A late one finds nothing.
    pub(super) fn resume(&mut self, ticket: u64, answered: Answered) {
        let Some(continuation) = self.continuations.take(ticket) else {
            return;
        };
        match continuation {
            Continuation::Respond { client, request } => {
                self.respond_in_order(client, request, outcome::of_answered(answered));
            }
            Continuation::Packet(walk) => self.packet_ruled(walk, answered),
            Continuation::Broadcast(walk) => self.broadcast_ruled(walk, answered),
            Continuation::Open(opening) => self.opened(*opening, answered),
            Continuation::Subscribed { subscriber, answer } => self.relay(Relay {
                subscriber: Some(subscriber),
                answer,
                answered,
            }),
            Continuation::Connecting(client, module) => {
                self.admission(client, &module, answered);
            }
            Continuation::ConnectingLate(_) => {}
            Continuation::Mailed { module, awaited } => {
                self.mail_answered(&module, *awaited, outcome::as_answer(answered));
            }
        }
    }

    /// Nobody has answered in time.
    pub(super) fn give_up(&mut self, continuation: Continuation) {
        match continuation {
            Continuation::ConnectingLate(client) => self.admission_late(client),
            Continuation::Mailed { module, awaited } => {
                self.mail_answered(&module, *awaited, Err(Error::Timeout));
            }
            // These have no deadline: whoever runs a call ends it.
            Continuation::Respond { .. }
            | Continuation::Packet(_)
            | Continuation::Broadcast(_)
            | Continuation::Open(_)
            | Continuation::Subscribed { .. }
            | Continuation::Connecting(..) => {}
        }
    }

    fn mail_answered(
        &mut self,
        module: &Arc<str>,
        awaited: Awaited,
        answer: cohnect_capabilities::Result<bytes::Bytes>,
    ) {
        let Awaited { tag, to, .. } = awaited;
        // The answer is the asking copy's. Where that has gone, its successor begins empty and has asked nothing.
        let Some(copy) = self.catalog.module(module).and_then(|m| m.copy(to.copy)) else {
            return;
        };
        let home = copy.home;
        let address = Address {
            module: Arc::clone(module),
            copy: to.copy,
        };
        let call = Call {
            place: Some(to.place),
            ..Call::own(address, Export::Reply { tag, answer })
        };
        self.send_call(home, call);
    }
}
