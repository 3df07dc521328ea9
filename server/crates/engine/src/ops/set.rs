//! SET (PROTOCOL.md 6.2): writes or deletes one value of the state, guarded by a version where the caller wants it.

use cohnect_capabilities::state::State as _;
use cohnect_capabilities::{ClientId, Error};
use cohnect_protocol::ops::set::{Conflict, Request, Response};
use cohnect_protocol::ops::{Body as _, Detail, Outcome};

use super::{Op, malformed, place};
use crate::Shard;
use crate::outcome::{self, Reply};
use crate::policy::Leniency;
use crate::state::Gate;

impl Shard {
    pub(super) fn set(&mut self, id: ClientId, op: &Op) -> Reply {
        let request = match Request::decode(&op.body) {
            Ok(request) => request,
            Err(error) => return malformed(error),
        };
        if !self.admits(Leniency::Set, |policy| policy.may_set(&request.scope)) {
            return outcome::failed(Detail::NOT_ALLOWED);
        }
        let (place, key) = (place(&request.scope, id), request.key.as_str());
        let written = match (request.value, request.expected) {
            (Some(value), None) => self.state.set(&place, key, op.body.slice_ref(value)),
            (Some(value), Some(expected)) => {
                let value = op.body.slice_ref(value);
                self.state.compare_and_set(&place, key, expected, value)
            }
            (None, None) => self.state.remove(&place, key).map(|_| 0),
            (None, Some(expected)) => {
                let removed = self.state.compare_and_remove(&place, key, expected);
                removed.map(|_| 0)
            }
        };
        match self.state.gate() {
            Gate::Open => {}
        }
        match written {
            Ok(version) => outcome::done(Response { version }.to_bytes()),
            Err(Error::Conflict) => {
                let version = self.state.version(&place, key).unwrap_or(0);
                let conflict = Conflict { version }.to_bytes();
                (Outcome::of(Detail::CONFLICT), conflict)
            }
            // What it would store has no room, in bytes or in entries.
            Err(Error::LimitExceeded(_)) => outcome::failed(Detail::TOO_LARGE),
            Err(error) => outcome::of_error(&error),
        }
    }
}
