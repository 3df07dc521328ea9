//! SET_CLIENT_TAGS (PROTOCOL.md 6.2): a client changes the tags that it set for itself, and learns all of its tags.

use cohnect_capabilities::ClientId;
use cohnect_protocol::ops::tags::{Request, Response};
use cohnect_protocol::ops::{Body as _, Detail, ListedTag};

use super::{Op, malformed};
use crate::outcome::{self, Reply};
use crate::{OwnTagsError, Shard};

impl Shard {
    pub(super) fn set_client_tags(&self, id: ClientId, op: &Op) -> Reply {
        let request = match Request::decode(&op.body) {
            Ok(request) => request,
            Err(error) => return malformed(error),
        };
        match self
            .directory
            .change_own_tags(id, request.mode(), request.tags())
        {
            Ok(tags) => {
                let listed = tags.iter().filter_map(|tag| ListedTag::new(tag).ok());
                outcome::done(Response::new(listed.collect()).to_bytes())
            }
            Err(OwnTagsError::TooMany) => outcome::failed(Detail::TOO_LARGE),
            Err(OwnTagsError::Gone) => outcome::failed(Detail::UNAVAILABLE),
        }
    }
}
