//! `tags`: the tags that the server gives.

use cohnect_host::function::HostFunction as F;
use wasmtime::Result as Call;

use crate::contract::bindings::cohnect::module::tags as wit;
use crate::contract::types::{ClientId, Error};
use crate::store::Host;

impl wit::Host for Host {
    fn add(&mut self, id: ClientId, tag: String) -> Call<Result<bool, Error>> {
        self.answer(F::TagsAdd, |c| c.tags_add(id.into(), &tag))
    }

    fn remove(&mut self, id: ClientId, tag: String) -> Call<Result<bool, Error>> {
        self.answer(F::TagsRemove, |c| c.tags_remove(id.into(), &tag))
    }

    fn replace(&mut self, id: ClientId, tags: Vec<String>) -> Call<Result<(), Error>> {
        self.answer(F::TagsReplace, |c| c.tags_replace(id.into(), &tags))
    }

    fn has(&mut self, id: ClientId, tag: String) -> Call<bool> {
        self.plain(F::TagsHas, |c| c.tags_has(id.into(), &tag))
    }

    fn of(&mut self, id: ClientId) -> Call<Result<Vec<String>, Error>> {
        self.answer(F::TagsOf, |c| c.tags_of(id.into()))
    }
}
