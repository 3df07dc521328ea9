//! EXECUTE (PROTOCOL.md 6.2): calls an action of a module, here or in another home.

use std::sync::Arc;

use cohnect_capabilities::{Caller, ClientId};
use cohnect_host::export::{Export, Request as Call};
use cohnect_host::mail::Answer;
use cohnect_protocol::ops::execute::Request;
use cohnect_protocol::ops::{Body as _, Detail};

use super::{Op, malformed};
use crate::Shard;
use crate::outcome::{self, Reply};
use crate::policy::Entry;
use crate::shard::Continuation;

/// Internal actions that are remembered as said: more than a server for development has.
const SAID_MAX: usize = 1_024;

impl Shard {
    /// None: the answer comes later.
    pub(super) fn execute(&mut self, id: ClientId, op: &Op) -> Option<Reply> {
        let request = match Request::decode(&op.body) {
            Ok(request) => request,
            Err(error) => return Some(malformed(error)),
        };
        // No module of this version has instances by key.
        let module = match request.target() {
            (name, None) => self.catalog.module(name).cloned(),
            (_, Some(_)) => None,
        };
        let Some(module) = module else {
            return Some(outcome::failed(Detail::NOT_FOUND));
        };
        if module.copies.is_empty() {
            return Some(outcome::failed(Detail::UNAVAILABLE));
        }
        let Some((name, action)) = module.actions.get_key_value(request.action.as_str()) else {
            return Some(outcome::failed(Detail::NOT_FOUND));
        };
        match self.policy.entry(action.access) {
            Entry::Admitted => {}
            Entry::AdmittedInDev => self.say_internal(&module.name, name),
            Entry::Denied => return Some(outcome::failed(Detail::NOT_ALLOWED)),
        }
        if !self.directory.fits(id, &action.requires) {
            return Some(outcome::failed(Detail::NOT_ALLOWED));
        }
        let route = match self.route_for(&module, id, op.client) {
            Ok(route) => route,
            Err(why) => return Some(outcome::of_not_run(why)),
        };
        let call = Call {
            id: self.next_request(),
            name: Arc::clone(name),
            caller: Caller::Client(self.as_caller(id, action.wants)),
            received_at: op.received_at,
            input: op.body.slice_ref(request.input),
        };
        let answer = self.answer_to(op);
        self.call(route, Export::Execute(call), answer);
        None
    }

    /// Where the answer to a client's request goes, when it comes from a module.
    pub(super) fn answer_to(&mut self, op: &Op) -> Answer {
        op.request.map_or(Answer::Nobody, |request| {
            let respond = Continuation::Respond {
                client: op.client,
                request,
            };
            Answer::Home(self.id, self.continuations.insert(respond, None))
        })
    }

    fn say_internal(&mut self, module: &Arc<str>, action: &Arc<str>) {
        if self.said.len() < SAID_MAX && self.said.insert((Arc::clone(module), Arc::clone(action)))
        {
            tracing::info!(
                %module,
                %action,
                "a client called an internal action; `serve` would refuse it until it has `access`"
            );
        }
    }
}
