//! The directory against plain sets, with one part and with several.

use std::collections::BTreeMap;

use cohnect_capabilities::clients::Clients;
use cohnect_capabilities::streams::Streams;
use cohnect_capabilities::tags::Tags;
use cohnect_capabilities::{Audience, Error};
use cohnect_host::mail::Recipients;
use cohnect_protocol::ops::expression::Expression;
use proptest::prelude::*;

use super::*;

fn id(n: u64) -> ClientId {
    ClientId {
        hi: n % 7,
        lo: n.wrapping_mul(0x9e37_79b9_7f4a_7c15),
    }
}

fn directory(shards: u16) -> Directory {
    Directory::new(shards, SteeringKeys::new(0x9e37_79b9, 0x85eb_ca6b))
}

fn admit(directory: &Directory, n: u64, given: &[&str]) -> Seat {
    let card = Card::new(id(n), ([127, 0, 0, 1], 9).into(), 5, 1);
    let given: Vec<_> = given.iter().map(ToString::to_string).collect();
    directory.admit(Arc::new(card), &given)
}

fn tags(texts: &[&'static str]) -> Vec<Tag<'static>> {
    texts.iter().map(|text| Tag::new(text).unwrap()).collect()
}

#[test]
fn own_tags_and_given_ones_never_meet() {
    let directory = directory(2);
    admit(&directory, 1, &["admin"]);
    admit(&directory, 2, &[]);
    let listed = directory.change_own_tags(id(2), Mode::Add, &tags(&["admin", "lfg"]));
    let texts: Vec<_> = listed.unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["~admin", "~lfg"]);
    let ids = |text: &str| directory.ids(&Audience::Tagged(text.into()), None, 0);
    assert_eq!(ids("admin"), Ok(vec![id(1)]));
    assert_eq!(ids("~admin"), Ok(vec![id(2)]));
    assert_eq!(ids("!admin & ~l*"), Ok(vec![id(2)]));
    assert!(matches!(ids("a b"), Err(Error::InvalidArgument(_))));
    assert!(directory.has(id(2), "~lfg") && !directory.has(id(2), "lfg"));
    assert!(directory.fits(id(1), "admin & !~admin"));
    assert_eq!(Tags::remove(&directory, id(2), "admin"), Ok(false));
}

#[test]
fn the_33rd_own_tag_and_a_list_without_room_change_nothing() {
    let directory = directory(1);
    admit(&directory, 1, &[]);
    let names: Vec<_> = (0..33).map(|n| format!("t{n}")).collect();
    let all: Vec<_> = names.iter().map(|name| Tag::new(name).unwrap()).collect();
    let change = |mode, tags| directory.change_own_tags(id(1), mode, tags);
    assert_eq!(change(Mode::Replace, &all[..32]).unwrap().len(), 32);
    assert_eq!(change(Mode::Add, &all[32..]), Err(OwnTagsError::TooMany));
    assert_eq!(change(Mode::Remove, &all[..2]).unwrap().len(), 30);
    let long: Vec<_> = (0..20).map(|n| format!("{n:0>64}")).collect();
    let long: Vec<_> = long.iter().map(|name| Tag::new(name).unwrap()).collect();
    assert_eq!(change(Mode::Replace, &long), Err(OwnTagsError::TooMany));
    assert_eq!(directory.of(id(1)).unwrap().len(), 30);
    assert_eq!(
        directory.change_own_tags(id(9), Mode::Add, &[]),
        Err(OwnTagsError::Gone)
    );
}

#[test]
fn own_tags_can_be_taken_away_though_the_given_ones_fill_more_than_an_answer() {
    let directory = directory(1);
    admit(&directory, 1, &[]);
    let own = [Tag::new("lfg").unwrap(), Tag::new("afk").unwrap()];
    let change = |mode, tags| directory.change_own_tags(id(1), mode, tags);
    change(Mode::Replace, &own).unwrap();
    for n in 0..20 {
        directory.add(id(1), &format!("{n:0>64}")).unwrap();
    }
    assert_eq!(change(Mode::Add, &own), Err(OwnTagsError::TooMany));
    assert_eq!(change(Mode::Replace, &[]), Err(OwnTagsError::TooMany));
    assert_eq!(directory.of(id(1)).unwrap().len(), 22, "nothing changes");
    assert_eq!(change(Mode::Remove, &own[..1]).unwrap().len(), 21);
    assert_eq!(change(Mode::Remove, &own[1..]).unwrap().len(), 20);
}

#[test]
fn given_tags_are_bounded_and_replaced_at_once() {
    let directory = directory(1);
    admit(&directory, 1, &["a", "no tag", "b"]);
    assert_eq!(directory.of(id(1)).unwrap(), ["a", "b"]);
    Tags::replace(&directory, id(1), &["b".into(), "c".into(), "c".into()]).unwrap();
    assert_eq!(directory.of(id(1)).unwrap(), ["b", "c"]);
    for n in 0..126 {
        assert_eq!(Tags::add(&directory, id(1), &format!("n{n}")), Ok(true));
    }
    assert!(matches!(
        Tags::add(&directory, id(1), "one-more"),
        Err(Error::LimitExceeded(_))
    ));
    assert_eq!(Tags::add(&directory, id(1), "b"), Ok(false));
    assert_eq!(Tags::add(&directory, id(2), "b"), Err(Error::Closed));
}

#[test]
fn a_slot_that_changed_hands_carries_a_later_count() {
    let directory = directory(1);
    let first = admit(&directory, 1, &["red"]);
    let fan = directory
        .fan(&Audience::Tagged("red".into()), None)
        .unwrap();
    let (_, Recipients::Slots { slots, removals }) = &fan.shards[0] else {
        panic!("one shard, by slots: {fan:?}")
    };
    assert!(slots.contains(first.slot) && first.since <= *removals);
    directory.release(id(1)).unwrap();
    let second = admit(&directory, 2, &[]);
    assert_eq!(second.slot, first.slot);
    assert!(second.since > *removals, "what was sent before is not his");
}

#[test]
fn whoever_left_has_no_tag_and_no_topic() {
    let directory = directory(2);
    let topic: Arc<str> = "chat".into();
    admit(&directory, 1, &["red"]);
    assert!(directory.subscribe(id(1), &topic));
    assert!(directory.is_open("chat", id(1)));
    assert_eq!(directory.subscribers("chat"), 1);
    assert_eq!(&*directory.release(id(1)).unwrap()[0], "red");
    assert_eq!(directory.subscribers("chat"), 0);
    assert!(!directory.subscribe(id(1), &topic));
    assert_eq!(directory.count(&Audience::Tagged("red".into())), Ok(0));
    assert_eq!(directory.info(id(1)), Err(Error::NotFound));
    assert_eq!(directory.admits(id(1)), Err(Error::Closed));
    assert!(directory.is_empty());
}

#[test]
fn a_full_backlog_is_busy() {
    let directory = directory(1);
    let card = Arc::new(Card::new(id(1), ([127, 0, 0, 1], 9).into(), 5, 1));
    directory.admit(Arc::clone(&card), &[]);
    assert_eq!(directory.admits(id(1)), Ok(()));
    card.set_backlogged(true);
    assert_eq!(directory.admits(id(1)), Err(Error::Busy));
}

#[test]
fn users_are_nobody_and_members_are_a_later_part() {
    let directory = directory(2);
    admit(&directory, 1, &[]);
    assert_eq!(directory.count(&Audience::User("ada".into())), Ok(0));
    assert_eq!(
        directory.fan(&Audience::Users(vec![]), None).unwrap().count,
        0
    );
    assert_eq!(directory.count(&Audience::Members), Err(Error::Unsupported));
    assert_eq!(
        directory.online_users(&["ada".into()]),
        Vec::<String>::new()
    );
}

/// Every client that a fan-out means, as a shard would find them.
fn recipients(directory: &Directory, fan: &Fan) -> Vec<ClientId> {
    let mut ids = Vec::new();
    for (shard, to) in &fan.shards {
        let part = directory.parts[usize::from(*shard)].lock();
        match to {
            Recipients::One(id) => ids.push(*id),
            Recipients::Everyone { except } => {
                ids.extend(
                    part.after(None)
                        .map(|(id, _)| id)
                        .filter(|id| Some(*id) != *except),
                );
            }
            Recipients::Slots { slots, .. } => {
                ids.extend(slots.iter().map(|slot| part.member(slot).unwrap().card.id));
            }
        }
    }
    ids.sort_unstable();
    ids
}

type Meant<'a> = &'a dyn Fn(&ClientId) -> bool;

proptest! {
    #[test]
    fn audiences_are_those_of_a_naive_list(
        shards in 1_u16..4,
        clients in prop::collection::btree_map(0_u64..40, prop::collection::btree_set("[ab]{1,2}", 0..4), 0..30),
        gone in prop::collection::vec(0_u64..40, 0..10),
        text in "!?[ab]{1,2}\\*?([&|]!?[ab]{1,2}\\*?){0,3}",
        except in 0_u64..40,
        some in prop::collection::vec(0_u64..40, 0..6),
        limit in 1_u32..9,
    ) {
        let directory = directory(shards);
        let mut naive = BTreeMap::new();
        for (n, tags) in &clients {
            let tags: Vec<_> = tags.iter().map(String::as_str).collect();
            admit(&directory, *n, &tags);
            naive.insert(id(*n), tags);
        }
        for n in &gone {
            directory.release(id(*n));
            naive.remove(&id(*n));
        }
        let expression = Expression::parse(&text).unwrap();
        let tagged = |tags: &Vec<&str>| {
            expression.holds(&mut |pattern| tags.iter().any(|tag| pattern.fits(false, tag)))
        };
        let some: Vec<_> = some.into_iter().map(id).collect();
        let everyone = |_: &ClientId| true;
        let fits = |id: &ClientId| naive.get(id).is_some_and(tagged);
        let listed = |id: &ClientId| some.contains(id);
        let third = |one: &ClientId| *one == id(3);
        let cases: [(Audience, Meant<'_>); 4] = [
            (Audience::Everyone, &everyone),
            (Audience::Tagged(text), &fits),
            (Audience::Clients(some.clone()), &listed),
            (Audience::Client(id(3)), &third),
        ];
        for (audience, meant) in cases {
            let expected: Vec<_> = naive.keys().copied().filter(|id| meant(id)).collect();
            prop_assert_eq!(directory.count(&audience), Ok(expected.len() as u32));
            let mut paged = Vec::new();
            loop {
                let page = directory.ids(&audience, paged.last().copied(), limit).unwrap();
                prop_assert!(page.len() <= limit as usize);
                if page.is_empty() {
                    break;
                }
                paged.extend(page);
            }
            prop_assert_eq!(&paged, &expected);
            let except = Some(id(except));
            let expected: Vec<_> = expected.into_iter().filter(|id| Some(*id) != except).collect();
            prop_assert_eq!(directory.reach(&audience, except), Ok(expected.len() as u32));
            let fan = directory.fan(&audience, except).unwrap();
            prop_assert_eq!(fan.count, expected.len() as u32);
            prop_assert_eq!(recipients(&directory, &fan), expected);
        }
    }
}

#[test]
fn modules_and_the_wire_agree_on_what_a_tag_is() {
    let (longest, too_long) = ("a".repeat(64), "a".repeat(65));
    for text in [
        "",
        "vip",
        "team/red:captain",
        "A_z.0-9",
        "bad tag",
        "~own",
        "\u{fc}",
        &longest,
        &too_long,
    ] {
        let checked = cohnect_capabilities::tags::check(text);
        assert_eq!(checked.is_ok(), Tag::new(text).is_ok(), "{text}");
        let named = checked
            .err()
            .is_none_or(|error| error.to_string().contains(text.get(..64).unwrap_or(text)));
        assert!(named, "{text}");
    }
}
