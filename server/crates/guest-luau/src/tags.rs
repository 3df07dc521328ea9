//! `tags` for scripts: written from `wit/tags.wit` by `module-sdk/generator`. Do not edit.

use cohnect_capabilities::ClientId;
use cohnect_host::function::HostFunction;

use crate::binding::Binder;
use crate::convert::{Need, Pass};

pub(crate) fn bind(binder: &Binder<'_>) -> mlua::Result<()> {
    binder.fallible(
        "add",
        HostFunction::TagsAdd,
        &["id", "tag"],
        |entered, (Need(mut id), Need(mut tag)): (Need<ClientId>, Need<String>)| {
            entered.tags_add(id.pass(), tag.pass())
        },
    )?;
    binder.fallible(
        "remove",
        HostFunction::TagsRemove,
        &["id", "tag"],
        |entered, (Need(mut id), Need(mut tag)): (Need<ClientId>, Need<String>)| {
            entered.tags_remove(id.pass(), tag.pass())
        },
    )?;
    binder.fallible(
        "replace",
        HostFunction::TagsReplace,
        &["id", "tags"],
        |entered, (Need(mut id), Need(mut tags)): (Need<ClientId>, Need<Vec<String>>)| {
            entered.tags_replace(id.pass(), tags.pass())
        },
    )?;
    binder.plain(
        "has",
        HostFunction::TagsHas,
        &["id", "tag"],
        |entered, (Need(mut id), Need(mut tag)): (Need<ClientId>, Need<String>)| {
            entered.tags_has(id.pass(), tag.pass())
        },
    )?;
    binder.fallible(
        "of",
        HostFunction::TagsOf,
        &["id"],
        |entered, Need(mut id): Need<ClientId>| entered.tags_of(id.pass()),
    )?;
    Ok(())
}
