//! GET (PROTOCOL.md 6.2): reads one value of the state.

use cohnect_capabilities::state::State as _;
use cohnect_capabilities::{ClientId, Error};
use cohnect_protocol::ops::get::{Request, Response};
use cohnect_protocol::ops::{Body as _, Detail};

use super::{Op, malformed, place};
use crate::Shard;
use crate::outcome::{self, Reply};
use crate::policy::Leniency;

impl Shard {
    pub(super) fn get(&mut self, id: ClientId, op: &Op) -> Reply {
        let request = match Request::decode(&op.body) {
            Ok(request) => request,
            Err(error) => return malformed(error),
        };
        if !self.admits(Leniency::Get, |policy| policy.may_get(&request.scope)) {
            return outcome::failed(Detail::NOT_ALLOWED);
        }
        match self.state.get(&place(&request.scope, id), &request.key) {
            Ok(entry) => outcome::done(
                Response {
                    version: entry.version,
                    value: &entry.value,
                }
                .to_bytes(),
            ),
            Err(Error::NotFound) => outcome::failed(Detail::NOT_FOUND),
            Err(error) => outcome::of_error(&error),
        }
    }
}
