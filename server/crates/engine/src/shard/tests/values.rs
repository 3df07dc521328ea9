//! GET, SET and SET_CLIENT_TAGS.

use bytes::Bytes;
use cohnect_protocol::ops::{Body as _, Detail, Name8, Outcome, Scope, get, set};

use super::site::Site;
use super::with_shards;
use crate::Policy;

const DONE: Outcome = Outcome::Done;

fn get(scope: Scope<'_>, key: &str) -> Bytes {
    let key = Name8::new(key).unwrap();
    get::Request { scope, key }.to_bytes()
}

fn set(scope: Scope<'_>, key: &str, expected: Option<u64>, value: Option<&[u8]>) -> Bytes {
    let key = Name8::new(key).unwrap();
    set::Request {
        scope,
        key,
        expected,
        value,
    }
    .to_bytes()
}

fn version(answer: &(Outcome, Bytes)) -> u64 {
    set::Response::decode(&answer.1).unwrap().version
}

#[test]
fn a_value_is_set_read_guarded_and_deleted_by_clients_of_any_shard() {
    with_shards(|shards| {
        let mut site = Site::new(shards);
        let (ada, bob) = (site.connect(0), site.connect(1));
        let first = site.request(ada, 2, set(Scope::Shared, "k", None, Some(b"one")));
        let found = site.request(bob, 1, get(Scope::Shared, "k"));
        let found = get::Response::decode(&found.1).unwrap();
        assert_eq!((found.version, found.value), (version(&first), &b"one"[..]));
        let wrong = Some(version(&first) + 1);
        let (outcome, body) = site.request(bob, 2, set(Scope::Shared, "k", wrong, Some(b"two")));
        assert_eq!(outcome, Outcome::Bad(Detail::CONFLICT));
        let conflict = set::Conflict::decode(&body).unwrap();
        assert_eq!(conflict.version, version(&first));
        let right = Some(version(&first));
        let second = site.request(bob, 2, set(Scope::Shared, "k", right, Some(b"")));
        assert!(version(&second) > version(&first));
        let gone = site.request(ada, 2, set(Scope::Shared, "k", None, None));
        assert_eq!((gone.0, version(&gone)), (DONE, 0));
        let gone = site.request(ada, 2, set(Scope::Shared, "k", Some(0), None));
        assert_eq!(version(&gone), 0);
        let found = site.request(ada, 1, get(Scope::Shared, "k"));
        assert_eq!(found, (Outcome::Bad(Detail::NOT_FOUND), Bytes::new()));
    });
}

#[test]
fn mine_is_the_clients_own_and_goes_with_its_session() {
    with_shards(|shards| {
        let mut site = Site::new(shards);
        let keys = site.keys(0);
        let ada = site.knock_as(keys.clone());
        let bob = site.connect(1);
        site.request(ada, 2, set(Scope::Mine, "k", None, Some(b"secret")));
        assert_eq!(site.request(ada, 1, get(Scope::Mine, "k")).0, DONE);
        let absent = Outcome::Bad(Detail::NOT_FOUND);
        assert_eq!(site.request(bob, 1, get(Scope::Mine, "k")).0, absent);
        site.leave(ada);
        let again = site.knock_as(keys);
        assert_eq!(site.request(again, 1, get(Scope::Mine, "k")).0, absent);
    });
}

#[test]
fn serve_lets_clients_read_what_is_shared_and_write_what_is_theirs() {
    let mut site = Site::with_policy(1, Policy::Serve);
    let player = site.connect(0);
    let named = Scope::Named(Name8::new("n").unwrap());
    let denied = Outcome::Bad(Detail::NOT_ALLOWED);
    for (scope, read, written) in [
        (Scope::Shared, Outcome::Bad(Detail::NOT_FOUND), denied),
        (Scope::Mine, Outcome::Bad(Detail::NOT_FOUND), DONE),
        (named, denied, denied),
    ] {
        assert_eq!(site.request(player, 1, get(scope, "k")).0, read);
        let set = set(scope, "k", None, Some(b"v"));
        assert_eq!(site.request(player, 2, set).0, written);
    }
}

#[test]
fn what_has_no_room_is_too_large_and_what_has_no_form_malformed() {
    let mut site = Site::new(1);
    let player = site.connect(0);
    for n in 0..64 {
        let body = set(Scope::Mine, &n.to_string(), None, Some(b"v"));
        assert_eq!(site.request(player, 2, body).0, DONE);
    }
    let (outcome, _) = site.request(player, 2, set(Scope::Mine, "more", None, Some(b"v")));
    assert_eq!(outcome, Outcome::Bad(Detail::TOO_LARGE));
    // A module may keep more than one message holds.
    let state = std::sync::Arc::clone(&site.state);
    let large = Bytes::from(vec![7; 5_000]);
    let place = cohnect_capabilities::state::Place::Shared;
    cohnect_capabilities::state::State::set(&*state, &place, "large", large).unwrap();
    let (outcome, body) = site.request(player, 1, get(Scope::Shared, "large"));
    assert_eq!((outcome, body.len()), (Outcome::Bad(Detail::TOO_LARGE), 0));
    for (opcode, body) in [
        (1, &b"\x00\x00"[..]),
        (2, b"\x00\x01k\x04"),
        (3, b"\x00\x01\x02~a"),
    ] {
        let (outcome, _) = site.request(player, opcode, Bytes::from_static(body));
        assert_eq!(outcome, Outcome::Bad(Detail::MALFORMED_BODY));
    }
    assert_eq!(site.players[player].closed, None);
}

#[test]
fn own_tags_are_listed_with_their_sign_beside_those_that_were_given() {
    with_shards(|shards| {
        let mut site = Site::new(shards);
        let player = site.connect(1);
        let id = site.id(player);
        cohnect_capabilities::tags::Tags::add(&*site.directory, id, "vip").unwrap();
        let add = Bytes::from_static(b"\x01\x02\x03lfg\x05admin");
        let (outcome, body) = site.request(player, 3, add);
        assert_eq!(
            (outcome, &body[..]),
            (DONE, &b"\x03\x03vip\x06~admin\x04~lfg"[..])
        );
        let replace = Bytes::from_static(b"\x00\x00");
        let (_, body) = site.request(player, 3, replace);
        assert_eq!(&body[..], b"\x01\x03vip");
        let mut many = vec![1, 32];
        for n in 10..42 {
            many.extend_from_slice(&[2, b'0' + n / 10, b'0' + n % 10]);
        }
        assert_eq!(site.request(player, 3, many.into()).0, DONE);
        let more = Bytes::from_static(b"\x01\x01\x04more");
        let too_many = site.request(player, 3, more);
        assert_eq!(too_many, (Outcome::Bad(Detail::TOO_LARGE), Bytes::new()));
    });
}
