//! The bodies of the operations against `vectors/operations.json`: every body means what the file says and is written back byte for byte,
//! every malformed one is refused; and properties that hold for any bytes.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure")]

use cohnect_protocol::PeerId;
use cohnect_protocol::ops::expression::Expression;
use cohnect_protocol::ops::{
    Body, ListedTag, Malformed, Name8, Outcome, Refusal, Scope, Tag, broadcast, execute, get, set,
    stream, tags,
};
use proptest::prelude::*;
use serde_json::{Value, json};

fn vectors() -> Value {
    serde_json::from_str(include_str!("../vectors/operations.json")).unwrap()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2)
        .map(|n| u8::from_str_radix(&text[2 * n..2 * n + 2], 16).unwrap())
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn scope(scope: Scope<'_>) -> Value {
    match scope {
        Scope::Shared => json!("shared"),
        Scope::Mine => json!("mine"),
        Scope::Named(name) => json!({ "named": name.as_str() }),
    }
}

fn push(push: &stream::Push<'_>) -> Value {
    let id = push.stream;
    match push.event {
        stream::Event::Item(item) => json!({"stream": id, "item": hex(item)}),
        stream::Event::Begin { topic } => json!({"stream": id, "begin": topic.as_str()}),
        stream::Event::End { outcome, text } => {
            let (status, detail) = (outcome.status() as u8, outcome.detail().0);
            json!({"stream": id, "end": {"status": status, "detail": detail, "text": text}})
        }
    }
}

fn broadcast_request(request: &broadcast::Request<'_>) -> Result<Value, Malformed> {
    let audience = match request.audience {
        broadcast::Audience::Subscribers => json!("subscribers"),
        broadcast::Audience::Everyone => json!("everyone"),
        broadcast::Audience::Tagged(text) => {
            text.parse()?;
            json!({"tagged": text.as_str()})
        }
    };
    Ok(json!({
        "topic": request.topic.as_str(),
        "audience": audience,
        "not_me": request.not_me,
        "payload": hex(request.payload),
    }))
}

/// Reads `bytes` in `form`, says what they mean and writes them again.
fn read(form: &str, bytes: &[u8]) -> Result<(Value, Vec<u8>), Malformed> {
    fn both<'a, B: Body<'a>>(
        bytes: &'a [u8],
        describe: impl Fn(&B) -> Result<Value, Malformed>,
    ) -> Result<(Value, Vec<u8>), Malformed> {
        let body = B::decode(bytes)?;
        Ok((describe(&body)?, body.to_bytes().to_vec()))
    }
    match form {
        "GET request" => both(bytes, |b: &get::Request<'_>| {
            Ok(json!({"scope": scope(b.scope), "key": b.key.as_str()}))
        }),
        "GET response" => both(bytes, |b: &get::Response<'_>| {
            Ok(json!({"version": b.version, "value": hex(b.value)}))
        }),
        "SET request" => both(bytes, |b: &set::Request<'_>| {
            let (key, value) = (b.key.as_str(), b.value.map(hex));
            Ok(json!({"scope": scope(b.scope), "key": key, "expected": b.expected, "value": value}))
        }),
        "SET response" => both(bytes, |b: &set::Response| Ok(json!({"version": b.version}))),
        "SET conflict" => both(bytes, |b: &set::Conflict| Ok(json!({"version": b.version}))),
        "SET_CLIENT_TAGS request" => both(bytes, |b: &tags::Request<'_>| {
            let mode = match b.mode() {
                tags::Mode::Replace => "replace",
                tags::Mode::Add => "add",
                tags::Mode::Remove => "remove",
            };
            let tags: Vec<_> = b.tags().iter().map(|tag| tag.as_str()).collect();
            Ok(json!({"mode": mode, "tags": tags}))
        }),
        "SET_CLIENT_TAGS response" => both(bytes, |b: &tags::Response<'_>| {
            let tags: Vec<_> = b.tags().iter().map(ToString::to_string).collect();
            Ok(json!({"tags": tags}))
        }),
        "EXECUTE request" => both(bytes, |b: &execute::Request<'_>| {
            let (module, action) = (b.module.as_str(), b.action.as_str());
            Ok(json!({"module": module, "action": action, "input": hex(b.input)}))
        }),
        "refusal" => both(bytes, |b: &Refusal<'_>| {
            Ok(json!({"code": b.code, "text": b.text}))
        }),
        "STREAM request" => both(bytes, |b: &stream::Request<'_>| {
            Ok(match b {
                stream::Request::Open { topic, arguments } => {
                    json!({"open": topic.as_str(), "arguments": hex(arguments)})
                }
                stream::Request::Close { stream } => json!({"close": stream}),
            })
        }),
        "STREAM push" => both(bytes, |b: &stream::Push<'_>| Ok(push(b))),
        "BROADCAST request" => both(bytes, broadcast_request),
        "BROADCAST response" => both(bytes, |b: &broadcast::Response| {
            Ok(json!({"recipients": b.recipients}))
        }),
        "BROADCAST push" => both(bytes, |b: &broadcast::Push<'_>| {
            let sender = b.sender.map(|id| id.to_string());
            Ok(json!({"sender": sender, "topic": b.topic.as_str(), "payload": hex(b.payload)}))
        }),
        other => panic!("a form without a reader: {other}"),
    }
}

const FORMS: [&str; 14] = [
    "GET request",
    "GET response",
    "SET request",
    "SET response",
    "SET conflict",
    "SET_CLIENT_TAGS request",
    "SET_CLIENT_TAGS response",
    "EXECUTE request",
    "refusal",
    "STREAM request",
    "STREAM push",
    "BROADCAST request",
    "BROADCAST response",
    "BROADCAST push",
];

#[test]
fn every_body_means_what_the_file_says() {
    let vectors = vectors();
    let bodies = vectors["bodies"].as_array().unwrap();
    for vector in bodies {
        let bytes = unhex(vector["hex"].as_str().unwrap());
        let (meaning, written) = read(vector["form"].as_str().unwrap(), &bytes)
            .unwrap_or_else(|error| panic!("{}: {error}", vector["name"]));
        assert_eq!(meaning, vector["means"], "{}", vector["name"]);
        assert_eq!(written, bytes, "{}", vector["name"]);
    }
    for form in FORMS {
        assert!(bodies.iter().any(|vector| vector["form"] == form), "{form}");
    }
}

/// AUTH is a later revision's, and has no reader yet; its bodies are made of parts that have one.
#[test]
fn bodies_of_later_revisions_mean_what_the_file_says() {
    let vectors = vectors();
    let [request, response] = &vectors["not_announced"].as_array().unwrap()[..] else {
        panic!("AUTH has two bodies");
    };
    let bytes = unhex(request["hex"].as_str().unwrap());
    let (kind, token) = bytes.split_first().unwrap();
    assert_eq!(json!({"kind": kind, "token": hex(token)}), request["means"]);
    let bytes = unhex(response["hex"].as_str().unwrap());
    let (len, rest) = bytes.split_first().unwrap();
    let (user, tags) = rest.split_at(usize::from(*len));
    let (listed, _) = read("SET_CLIENT_TAGS response", tags).unwrap();
    let user = core::str::from_utf8(user).unwrap();
    assert_eq!(
        json!({"user": user, "tags": listed["tags"]}),
        response["means"]
    );
}

/// The bodies that the normative text shows are those of the file.
#[test]
fn the_text_shows_bodies_of_the_file() {
    let vectors = vectors();
    let bodies = vectors["bodies"].as_array().unwrap();
    let text = include_str!("../PROTOCOL.md");
    let (_, text) = text.split_once("### Bodies one by one").unwrap();
    let lines: Vec<_> = text.split("```").nth(1).unwrap().trim().lines().collect();
    for line in &lines {
        let shown: String = line[39..].split_whitespace().collect();
        let found = bodies.iter().any(|vector| vector["hex"] == *shown);
        assert!(found, "{line}");
    }
    assert!(lines.len() >= 26);
}

#[test]
fn every_malformed_body_is_refused() {
    for vector in vectors()["malformed"].as_array().unwrap() {
        let form = vector["form"].as_str().unwrap();
        let bytes = unhex(vector["hex"].as_str().unwrap());
        assert!(read(form, &bytes).is_err(), "{form}: {}", vector["why"]);
    }
}

#[test]
fn expressions_hold_for_whom_the_file_says() {
    let vectors = vectors();
    for vector in vectors["expressions"].as_array().unwrap() {
        let text = vector["text"].as_str().unwrap();
        let expression = Expression::parse(text).unwrap();
        assert_eq!(expression.to_string(), vector["tree"].as_str().unwrap());
        for (list, expected) in [("holds_for", true), ("fails_for", false)] {
            for tags in vector[list].as_array().unwrap() {
                let tags: Vec<_> = tags
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|tag| ListedTag::new(tag.as_str().unwrap()).unwrap())
                    .collect();
                let holds = expression
                    .holds(&mut |pattern| tags.iter().any(|t| pattern.fits(t.own, t.tag.as_str())));
                assert_eq!(holds, expected, "{text} for {tags:?}");
            }
        }
    }
    for text in vectors["malformed_expressions"].as_array().unwrap() {
        assert!(Expression::parse(text.as_str().unwrap()).is_err(), "{text}");
    }
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof!["\\PC{1,20}", Just("n".repeat(255))]
}

fn scope_of(kind: u8, name: &str) -> Scope<'_> {
    match kind {
        0 => Scope::Shared,
        1 => Scope::Mine,
        _ => Scope::Named(Name8::new(name).unwrap()),
    }
}

fn comes_back<'a, B: Body<'a> + PartialEq + core::fmt::Debug>(body: &B, bytes: &'a [u8]) {
    assert_eq!(B::decode(bytes).as_ref(), Ok(body));
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(
        a in name(),
        b in name(),
        kind in 0..3_u8,
        number: u64,
        guarded in any::<Option<u64>>(),
        value in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..50)),
        id: [u8; 16],
        not_me: bool,
    ) {
        let scope = scope_of(kind, &b);
        let key = Name8::new(&a).unwrap();
        let named = Name8::new(&b).unwrap();
        let payload = value.as_deref().unwrap_or_default();
        let small = number as u32;

        let body = get::Request { scope, key };
        comes_back(&body, &body.to_bytes());
        let body = get::Response { version: number, value: payload };
        comes_back(&body, &body.to_bytes());
        let body = set::Request { scope, key, expected: guarded, value: value.as_deref() };
        comes_back(&body, &body.to_bytes());
        let body = execute::Request { module: key, action: named, input: payload };
        comes_back(&body, &body.to_bytes());
        let body = stream::Request::Open { topic: key, arguments: payload };
        comes_back(&body, &body.to_bytes());
        let sender = Some(PeerId::from_bytes(id)).filter(|_| id != [0; 16]);
        let body = broadcast::Push { sender, topic: key, payload };
        comes_back(&body, &body.to_bytes());
        let text = broadcast::ExpressionText::new("red & !~away").unwrap();
        let audience = match kind {
            0 => broadcast::Audience::Subscribers,
            1 => broadcast::Audience::Everyone,
            _ => broadcast::Audience::Tagged(text),
        };
        let body = broadcast::Request { topic: key, audience, not_me, payload };
        comes_back(&body, &body.to_bytes());
        let detail = cohnect_protocol::ops::Detail((number as u16).max(1));
        for event in [
            stream::Event::Item(payload),
            stream::Event::Begin { topic: named },
            stream::Event::End { outcome: Outcome::Bad(detail), text: &a },
            stream::Event::End { outcome: Outcome::Done, text: "" },
        ] {
            let body = stream::Push { stream: small, event };
            comes_back(&body, &body.to_bytes());
        }
    }

    #[test]
    fn tags_are_read_again(
        given in proptest::collection::vec("[A-Za-z0-9_.:/-]{1,64}", 0..=32),
        own in proptest::collection::vec("[A-Za-z0-9_.:/-]{1,64}", 0..=32),
    ) {
        let tags: Vec<_> = own.iter().map(|text| Tag::new(text).unwrap()).collect();
        let request = tags::Request::new(tags::Mode::Add, tags.clone()).unwrap();
        comes_back(&request, &request.to_bytes());
        let listed = given
            .iter()
            .map(|text| ListedTag { own: false, tag: Tag::new(text).unwrap() })
            .chain(tags.into_iter().map(|tag| ListedTag { own: true, tag }));
        let response = tags::Response::new(listed.collect());
        comes_back(&response, &response.to_bytes());
    }

    /// Whatever is taken is written back as it came: no two bodies mean the same.
    #[test]
    fn any_bytes_are_refused_or_written_back(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        for form in FORMS {
            if let Ok((_, written)) = read(form, &bytes) {
                prop_assert_eq!(&written, &bytes, "{}", form);
            }
        }
    }

    /// Near misses: a good body, cut, or with one byte changed.
    #[test]
    fn damaged_bodies_are_refused_or_written_back(which: prop::sample::Index, at: prop::sample::Index, byte: u8, cut: bool) {
        let vectors = vectors();
        let bodies = vectors["bodies"].as_array().unwrap();
        let vector = &bodies[which.index(bodies.len())];
        let mut bytes = unhex(vector["hex"].as_str().unwrap());
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] = byte }
        if let Ok((_, written)) = read(vector["form"].as_str().unwrap(), &bytes) {
            prop_assert_eq!(written, bytes);
        }
    }
}
