//! Who claims what: conflicts between modules, found when one is loaded, and the catalog in the order in which claims are asked.

use std::sync::Arc;

use crate::catalog::{Catalog, Module, PACKET_CLAIMS_MAX, Stage, TOPIC_CLAIMS_MAX, check_pattern};
use crate::export::{Exports, PacketClaim, TopicClaim};

/// Refuses claims that are too many, and topics that are none.
pub(super) fn check_own(exports: &Exports) -> Result<(), String> {
    for (what, count, most) in [
        (
            "ranges of commands",
            exports.packets.len(),
            PACKET_CLAIMS_MAX,
        ),
        (
            "BROADCAST topics",
            exports.broadcasts.len(),
            TOPIC_CLAIMS_MAX,
        ),
        ("STREAM topics", exports.streams.len(), TOPIC_CLAIMS_MAX),
    ] {
        if count > most {
            return Err(format!(
                "it claims {count} {what}, and a module has at most {most}; a pattern such as `chat/*` stands for many topics"
            ));
        }
    }
    let mut topics = exports.broadcasts.iter().chain(&exports.streams);
    topics.try_for_each(|claim| check_pattern(&claim.topic))
}

/// Refuses claims that leave open who comes first: two of one command, or of one topic, with the same order.
pub(super) fn check<'a>(
    name: &str,
    exports: &Exports,
    others: impl Iterator<Item = &'a Module> + Clone,
) -> Result<(), String> {
    for (n, claim) in exports.packets.iter().enumerate() {
        let own = exports.packets.iter().take(n).map(|other| (name, other));
        let others = others
            .clone()
            .flat_map(|m| m.exports.packets.iter().map(|other| (&*m.name, other)));
        if let Some((whose, _)) = own
            .chain(others)
            .find(|(_, other)| same_packet(claim, other))
        {
            return Err(format!(
                "opcodes {:#06x} to {:#06x} are claimed with order {} by `{whose}`, too: give one of them another order",
                claim.first, claim.last, claim.order
            ));
        }
    }
    let topics = [
        ("BROADCAST", &exports.broadcasts, true),
        ("STREAM", &exports.streams, false),
    ];
    for (operation, claims, ordered) in topics {
        for (n, claim) in claims.iter().enumerate() {
            let own = claims.iter().take(n).map(|other| (name, other));
            let others = others.clone().flat_map(|m| {
                let claims = if ordered {
                    &m.exports.broadcasts
                } else {
                    &m.exports.streams
                };
                claims.iter().map(|other| (&*m.name, other))
            });
            let clash = own.chain(others).find(|(_, other)| {
                other.topic == claim.topic && (!ordered || other.order == claim.order)
            });
            if let Some((whose, _)) = clash {
                let order = if ordered {
                    format!(" with order {}", claim.order)
                } else {
                    String::new()
                };
                return Err(format!(
                    "the {operation} topic `{}` is claimed{order} by `{whose}`, too",
                    claim.topic
                ));
            }
        }
    }
    Ok(())
}

/// The catalog of these modules.
pub(super) fn catalog(modules: impl Iterator<Item = Arc<Module>>) -> Catalog {
    let mut catalog = Catalog::default();
    for module in modules {
        let stage = |claim: &TopicClaim| Stage {
            module: Arc::clone(&module),
            claim: claim.clone(),
        };
        let packets = module.exports.packets.iter().map(|claim| Stage {
            module: Arc::clone(&module),
            claim: claim.clone(),
        });
        catalog.packet_stages.extend(packets);
        let broadcasts = module.exports.broadcasts.iter().map(stage);
        catalog.broadcast_stages.extend(broadcasts);
        let streams = module.exports.streams.iter().map(stage);
        catalog.stream_claims.extend(streams);
        catalog.modules.insert(Arc::clone(&module.name), module);
    }
    // Modules came by name and the sort is stable, so equal orders are by name.
    catalog.packet_stages.sort_by_key(|stage| stage.claim.order);
    catalog
        .broadcast_stages
        .sort_by_key(|stage| stage.claim.order);
    catalog
        .stream_claims
        .sort_by_cached_key(|stage| breadth(&stage.claim.topic));
    catalog
}

fn same_packet(a: &PacketClaim, b: &PacketClaim) -> bool {
    let versions = a.version.is_none() || b.version.is_none() || a.version == b.version;
    a.order == b.order && versions && a.first <= b.last && b.first <= a.last
}

/// How much a pattern matches, segment by segment; the least comes first.
fn breadth(pattern: &str) -> Vec<u8> {
    let mut segments: Vec<u8> = pattern
        .split('/')
        .map(|segment| u8::from(segment == "*"))
        .collect();
    if segments.last() == Some(&1) {
        // At the end it stands for any number of segments.
        segments.push(2);
    }
    segments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_pattern_comes_first() {
        let mut patterns = [
            "*",
            "chat/*",
            "chat/*/x",
            "chat/eu",
            "arena/*/x",
            "arena/blue/*",
        ];
        patterns.sort_by_cached_key(|pattern| breadth(pattern));
        let place = |pattern| patterns.iter().position(|p| *p == pattern).unwrap();
        assert!(place("chat/eu") < place("chat/*"));
        assert!(place("chat/*/x") < place("chat/*"));
        assert!(place("arena/blue/*") < place("arena/*/x"));
        assert_eq!(place("*"), 5);
    }

    #[test]
    fn claims_are_counted() {
        let topics = |count: usize| -> Vec<_> {
            (0..count)
                .map(|n| TopicClaim {
                    topic: format!("t/{n}/*"),
                    ..TopicClaim::default()
                })
                .collect()
        };
        let exports = |packets: usize, broadcasts: usize, streams: usize| Exports {
            packets: vec![PacketClaim::default(); packets],
            broadcasts: topics(broadcasts),
            streams: topics(streams),
            ..Exports::default()
        };
        let most = exports(PACKET_CLAIMS_MAX, TOPIC_CLAIMS_MAX, TOPIC_CLAIMS_MAX);
        assert_eq!(check_own(&most), Ok(()));
        for (exports, what) in [
            (
                exports(PACKET_CLAIMS_MAX + 1, 0, 0),
                "1025 ranges of commands",
            ),
            (exports(0, TOPIC_CLAIMS_MAX + 1, 0), "65 BROADCAST topics"),
            (exports(0, 0, TOPIC_CLAIMS_MAX + 1), "65 STREAM topics"),
        ] {
            let problem = check_own(&exports).unwrap_err();
            assert!(problem.contains(what), "{problem}");
        }
    }

    #[test]
    fn claims_overlap_by_range_version_and_order() {
        let claim = |first, last, version, order| PacketClaim {
            first,
            last,
            version,
            order,
            ..PacketClaim::default()
        };
        let base = claim(0x100, 0x1ff, None, 0);
        for (other, clash) in [
            (claim(0x1ff, 0x200, None, 0), true),
            (claim(0x200, 0x200, None, 0), false),
            (claim(0x180, 0x180, Some(1), 0), true),
            (claim(0x180, 0x180, None, 1), false),
        ] {
            assert_eq!(same_packet(&base, &other), clash, "{other:?}");
        }
        let versions = (claim(1, 1, Some(1), 0), claim(1, 1, Some(2), 0));
        assert!(!same_packet(&versions.0, &versions.1));
    }
}
