//! The state against a naive map, and its bounds.

use cohnect_capabilities::state::State as _;
use proptest::prelude::*;

use super::usage::{CLIENT_BYTES_MAX, CLIENT_ENTRIES_MAX, ENTRIES_MAX, NAMED_BYTES_MAX, NAMED_MAX};
use super::*;

const ADA: ClientId = ClientId { hi: 1, lo: 2 };

fn limit(error: &Error) -> &str {
    let Error::LimitExceeded(limit) = error else {
        panic!("no limit: {error}")
    };
    &limit.what
}

#[test]
fn a_guard_is_not_fooled_by_delete_and_set() {
    let state = State::new();
    let first = state.set(&Place::Shared, "k", "a".into()).unwrap();
    assert_eq!(state.remove(&Place::Shared, "k"), Ok(true));
    let second = state.set(&Place::Shared, "k", "a".into()).unwrap();
    assert!(second > first);
    let guarded = state.compare_and_set(&Place::Shared, "k", first, "b".into());
    assert_eq!(guarded, Err(Error::Conflict));
    assert_eq!(
        state.compare_and_remove(&Place::Shared, "k", first),
        Err(Error::Conflict)
    );
    assert_eq!(
        state.compare_and_remove(&Place::Shared, "k", second),
        Ok(true)
    );
    assert_eq!(state.compare_and_remove(&Place::Shared, "k", 0), Ok(false));
    assert_eq!(state.version(&Place::Shared, "k"), Ok(0));
}

#[test]
fn a_client_that_is_not_here_has_no_values() {
    let state = State::new();
    let mine = Place::Client(ADA);
    let gone = Err(Error::unavailable("the client is not here"));
    assert_eq!(state.set(&mine, "k", "v".into()), gone);
    assert_eq!(state.scan(&mine, "", None, 0), gone.map(|_| vec![]));
    state.open_client(ADA);
    assert_eq!(state.get(&mine, "k"), Err(Error::NotFound));
    state.set(&mine, "k", "v".into()).unwrap();
    assert_eq!(state.remove(&mine, "k"), Ok(true));
    assert_eq!(state.get(&mine, "k"), Err(Error::NotFound));
    state.set(&mine, "k", "v".into()).unwrap();
    state.close_client(ADA);
    assert!(matches!(state.get(&mine, "k"), Err(Error::Unavailable(_))));
    state.open_client(ADA);
    assert_eq!(state.scan(&mine, "", None, 0), Ok(vec![]));
}

#[test]
fn mine_holds_so_many_keys_and_bytes() {
    let state = State::new();
    state.open_client(ADA);
    let mine = Place::Client(ADA);
    for n in 0..CLIENT_ENTRIES_MAX {
        state.set(&mine, &n.to_string(), "v".into()).unwrap();
    }
    let more = state.set(&mine, "more", "v".into()).unwrap_err();
    assert_eq!(limit(&more), "entries");
    state.remove(&mine, "0").unwrap();
    let large = Bytes::from(vec![0; CLIENT_BYTES_MAX as usize]);
    assert_eq!(
        limit(&state.set(&mine, "large", large).unwrap_err()),
        "scope-bytes"
    );
    state.set(&mine, "small", "v".into()).unwrap();
}

#[test]
fn keys_and_values_have_their_lengths() {
    let state = State::new();
    for key in ["", &"k".repeat(256)] {
        assert!(matches!(
            state.set(&Place::Shared, key, "v".into()),
            Err(Error::InvalidArgument(_))
        ));
    }
    let key = "k".repeat(255);
    let value = Bytes::from(vec![1; VALUE_BYTES_MAX]);
    state.set(&Place::Shared, &key, value).unwrap();
    let value = Bytes::from(vec![1; VALUE_BYTES_MAX + 1]);
    let refused = state.set(&Place::Shared, &key, value).unwrap_err();
    assert_eq!(limit(&refused), "value-bytes");
}

#[test]
fn a_scope_is_full_at_its_bounds_and_others_are_not() {
    let state = State::new();
    let module = Place::Module("m".into());
    let value = Bytes::from(vec![0; VALUE_BYTES_MAX]);
    let mut n = 0;
    let full = loop {
        match state.set(&module, &n.to_string(), value.clone()) {
            Ok(_) => n += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(limit(&full), "scope-bytes");
    assert_eq!(n, 1_023, "keys count as well");
    state
        .set(&Place::Module("other".into()), "k", value)
        .unwrap();
    for n in 0..ENTRIES_MAX {
        state
            .set(&Place::Shared, &n.to_string(), Bytes::new())
            .unwrap();
    }
    let full = state.set(&Place::Shared, "more", Bytes::new()).unwrap_err();
    assert_eq!(limit(&full), "entries");
    state.set(&Place::Shared, "0", "again".into()).unwrap();
}

#[test]
fn names_of_scopes_are_bounded_and_empty_ones_are_given_back() {
    let state = State::new();
    let named = |n: usize| Place::Named(n.to_string().into());
    for n in 0..NAMED_MAX {
        state.set(&named(n), "k", "v".into()).unwrap();
    }
    let refused = state.set(&named(NAMED_MAX), "k", "v".into()).unwrap_err();
    assert_eq!(limit(&refused), "scopes");
    // What somebody owns is not counted among them.
    state.set(&Place::Shared, "k", "v".into()).unwrap();
    state
        .set(&Place::Module("m".into()), "k", "v".into())
        .unwrap();
    state.remove(&named(7), "k").unwrap();
    state.set(&named(NAMED_MAX), "k", "v".into()).unwrap();
}

#[test]
fn all_named_scopes_together_hold_so_much() {
    let state = State::new();
    let value = Bytes::from(vec![7; 60_000]);
    let mut refused = None;
    for n in 0..10_000 {
        let place = Place::Named((n % 50).to_string().into());
        if let Err(error) = state.set(&place, &n.to_string(), value.clone()) {
            refused = Some((n, error));
            break;
        }
    }
    let (n, error) = refused.unwrap();
    assert_eq!(limit(&error), "named-bytes");
    let room = NAMED_BYTES_MAX / 60_000;
    assert!((room * 9 / 10..=room).contains(&n), "{n}");
    state.set(&Place::Shared, "k", value.clone()).unwrap();
    // What is removed makes room, and a value that is replaced counts once.
    state.remove(&Place::Named("0".into()), "0").unwrap();
    state
        .set(&Place::Named("1".into()), "1", value.clone())
        .unwrap();
    state
        .set(&Place::Named("0".into()), "again", value)
        .unwrap();
}

#[test]
fn a_counter_is_decimal_text() {
    let state = State::new();
    assert_eq!(state.add(&Place::Shared, "n", -3), Ok(-3));
    assert_eq!(&state.get(&Place::Shared, "n").unwrap().value[..], b"-3");
    state
        .set(&Place::Shared, "n", i64::MAX.to_string().into())
        .unwrap();
    assert_eq!(
        limit(&state.add(&Place::Shared, "n", 1).unwrap_err()),
        "counter"
    );
    state.set(&Place::Shared, "n", "three".into()).unwrap();
    assert!(matches!(
        state.add(&Place::Shared, "n", 1),
        Err(Error::InvalidArgument(_))
    ));
}

#[derive(Clone, Debug)]
enum Step {
    Set(u8, String, String),
    Guarded(u8, String, bool, String),
    Add(u8, String, i64),
    Remove(u8, String),
    Scan(u8, String, Option<String>, u32),
}

fn step() -> impl Strategy<Value = Step> {
    let key = "[ab]{1,3}";
    prop_oneof![
        (0_u8..4, key, "[0-9]{0,3}").prop_map(|(p, k, v)| Step::Set(p, k, v)),
        (0_u8..4, key, any::<bool>(), "[0-9]{0,3}")
            .prop_map(|(p, k, ok, v)| Step::Guarded(p, k, ok, v)),
        (0_u8..4, key, -9_i64..9).prop_map(|(p, k, d)| Step::Add(p, k, d)),
        (0_u8..4, key).prop_map(|(p, k)| Step::Remove(p, k)),
        (0_u8..4, "[ab]{0,2}", prop::option::of(key), 0_u32..5)
            .prop_map(|(p, x, a, l)| Step::Scan(p, x, a, l)),
    ]
}

fn place(n: u8) -> Place {
    match n {
        0 => Place::Shared,
        1 => Place::Module("m".into()),
        2 => Place::Named("n".into()),
        _ => Place::Client(ADA),
    }
}

proptest! {
    #[test]
    fn it_is_a_naive_map(steps in prop::collection::vec(step(), 0..120)) {
        let state = State::new();
        state.open_client(ADA);
        let mut naive: BTreeMap<(u8, String), (u64, String)> = BTreeMap::new();
        let mut newest = 0;
        for step in steps {
            match step {
                Step::Set(p, k, v) => {
                    let version = state.set(&place(p), &k, v.clone().into()).unwrap();
                    prop_assert!(version > newest, "no number is used twice");
                    newest = version;
                    naive.insert((p, k), (version, v));
                }
                Step::Guarded(p, k, right, v) => {
                    let now = naive.get(&(p, k.clone())).map_or(0, |(version, _)| *version);
                    let expected = if right { now } else { now + 1 };
                    match state.compare_and_set(&place(p), &k, expected, v.clone().into()) {
                        Ok(version) => {
                            prop_assert!(right && version > newest);
                            newest = version;
                            naive.insert((p, k), (version, v));
                        }
                        Err(error) => prop_assert!(!right && error == Error::Conflict),
                    }
                }
                Step::Add(p, k, delta) => {
                    let before = naive.get(&(p, k.clone())).map_or("0", |(_, v)| v.as_str());
                    match (state.add(&place(p), &k, delta), before.parse::<i64>()) {
                        (Ok(sum), Ok(before)) => {
                            prop_assert_eq!(sum, before + delta);
                            newest = state.version(&place(p), &k).unwrap();
                            naive.insert((p, k), (newest, sum.to_string()));
                        }
                        (Err(_), Err(_)) => {}
                        (sum, before) => prop_assert!(false, "{sum:?} from {before:?}"),
                    }
                }
                Step::Remove(p, k) => {
                    let was_there = naive.remove(&(p, k.clone())).is_some();
                    prop_assert_eq!(state.remove(&place(p), &k), Ok(was_there));
                }
                Step::Scan(p, prefix, after, limit) => {
                    let found = state.scan(&place(p), &prefix, after.as_deref(), limit).unwrap();
                    let found: Vec<_> = found
                        .into_iter()
                        .map(|item| (item.key, (item.version, String::from_utf8(item.value.to_vec()).unwrap())))
                        .collect();
                    let most = if limit == 0 { PAGE_MAX } else { limit as usize };
                    let expected: Vec<_> = naive
                        .iter()
                        .filter(|((q, k), _)| *q == p && k.starts_with(&prefix))
                        .filter(|((_, k), _)| after.as_ref().is_none_or(|after| k > after))
                        .map(|((_, k), entry)| (k.clone(), entry.clone()))
                        .take(most)
                        .collect();
                    prop_assert_eq!(found, expected);
                }
            }
        }
        for ((p, k), (version, value)) in &naive {
            let entry = Entry { value: value.clone().into(), version: *version };
            prop_assert_eq!(state.get(&place(*p), k), Ok(entry));
        }
    }
}
