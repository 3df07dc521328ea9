//! What the keys of a module's table mean together: which exclude each other, and which handlers nobody would ever call.

use cohnect_host::catalog::overlap;
use cohnect_host::export::TopicClaim;
use mlua::Table;

use super::{Shape, Wrong, place_of, topic_entries};
use cohnect_host::nearest::suggestion;

/// What `keep`, `schema`, `upgrade` and `migration` mean together.
pub(super) fn check_state(shape: &mut Shape) -> Result<(), Wrong> {
    let handlers = &shape.handlers;
    let by_hand = handlers.save.is_some() || handlers.restore.is_some();
    if by_hand && handlers.keep.is_some() {
        return Err("`keep` and `migration` say the same in two ways: give one of them".into());
    }
    if handlers.upgrade.is_some() && handlers.keep.is_none() {
        return Err(
            "`upgrade` turns older data of `keep` into newer; without `keep` it has nothing to do"
                .into(),
        );
    }
    if handlers.upgrade.is_some() && handlers.schema == 0 {
        return Err(
            "`upgrade` turns data of an older `schema` into that of this one; without `schema`, 1 or higher, it is never called"
                .into(),
        );
    }
    if handlers.save.is_some() != handlers.restore.is_some() {
        return Err("`migration` needs both `save` and `restore`".into());
    }
    shape.exports.migration = by_hand || handlers.keep.is_some();
    Ok(())
}

/// A stream closes for the module whose `stream_handler` opened it, so what closes must be something that it opens.
pub(super) fn check_closed(streams: &[TopicClaim], closed: &Table) -> Result<(), Wrong> {
    let claimed: Vec<String> = streams.iter().map(|claim| segments(&claim.topic)).collect();
    for (topic, handler) in topic_entries(closed)? {
        let pattern = segments(&topic);
        if claimed.iter().any(|claim| overlap(claim, &pattern)) {
            continue;
        }
        let advice = if streams.is_empty() {
            "the module has no `stream_handler`".to_owned()
        } else {
            let known: Vec<&str> = streams.iter().map(|claim| &*claim.topic).collect();
            suggestion(&topic, &known)
        };
        let text = format!(
            "`stream_closed`: \"{topic}\": it would never be called, since no `stream_handler` of this module opens such a topic; {advice}"
        );
        return Err(Wrong::from(text).at(|| place_of(&handler)));
    }
    Ok(())
}

/// A topic as the catalog compares it.
fn segments(topic: &str) -> String {
    topic.replace("{key}", "*")
}
