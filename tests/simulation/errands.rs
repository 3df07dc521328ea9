//! What clients of a simulation ask, and what the answers must be: a model of the server as one client may know it. It sends nothing.

use std::collections::BTreeMap;

use bytes::Bytes;
use cohnect_protocol::ops::{
    Body as _, Detail, ListedTag, Name8, Outcome, Scope, Tag, broadcast, execute, get, set, stream,
    tags,
};
use cohnect_protocol::{Opcode, PeerId};

use crate::chance::Chance;

/// Calls of the module that never returns, for each client: fewer in all than open its circuit.
const SPINS_MAX: u64 = 1;

/// Something that was asked, with what its answer is checked against.
#[derive(Clone, Debug)]
pub(crate) enum Errand {
    /// Opens a topic.
    Open(&'static str),
    /// Counts one up.
    Bump,
    /// Has a worker ask the counter.
    Audit,
    /// Meets an endless loop.
    Spin,
    /// Writes an own value, or deletes it.
    Set(Option<u64>),
    /// Reads it: what was written last.
    Get(Option<u64>),
    /// Reads the pot.
    Look,
    /// Puts one into the pot as it was when it was read.
    Put(u64, u64),
    /// Says something to the others, or something that the filter drops.
    Say(u64, bool),
    /// Calls itself something.
    Tag(String),
    /// Calls a module that is not there.
    Stray,
    /// Sends a body that is none.
    Garble,
    /// Asks a module for its sums.
    Sums(&'static str),
}

/// What one client has learnt.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) opened: u32,
    /// Each count that it was told, with the version of the code.
    pub(crate) counts: Vec<(u64, u64)>,
    pub(crate) audits: u64,
    pub(crate) spins: u64,
    /// Puts into the pot that were taken.
    pub(crate) puts: u64,
    pub(crate) conflicts: u64,
    /// Messages that the filter let through.
    pub(crate) said: u64,
    /// The last message of each of the others, and the mark that the filter left on it.
    pub(crate) heard: BTreeMap<PeerId, (u64, char)>,
    /// The topics that are open, by stream, with the last number that was published there.
    pub(crate) streams: BTreeMap<u32, (&'static str, Option<u64>)>,
    /// What modules answered to [`Errand::Sums`].
    pub(crate) sums: BTreeMap<&'static str, String>,
    mine: Option<u64>,
    written: u64,
    spun: u64,
    named: u64,
}

impl Findings {
    /// Chooses what to ask next.
    pub(crate) fn choose(&mut self, chance: &mut Chance) -> Errand {
        match chance.below(100) {
            0..30 => Errand::Bump,
            30..45 => {
                let is_dropped = chance.below(5) == 0;
                self.said += u64::from(!is_dropped);
                Errand::Say(self.said, is_dropped)
            }
            45..55 => {
                self.written += 1;
                self.mine = (chance.below(5) > 0).then_some(self.written);
                Errand::Set(self.mine)
            }
            55..65 => Errand::Get(self.mine),
            65..78 => Errand::Look,
            78..88 => Errand::Audit,
            88..92 => {
                self.named += 1;
                Errand::Tag(format!("name/{}", self.named))
            }
            92..94 if self.spun < SPINS_MAX => {
                self.spun += 1;
                Errand::Spin
            }
            94..97 => Errand::Stray,
            _ => Errand::Garble,
        }
    }

    /// A new session begins: what was the old one's is gone.
    pub(crate) fn forget(&mut self) {
        self.mine = None;
        self.streams.clear();
    }

    /// Checks an answer; returns what it says, for the journal, and what to ask because of it.
    pub(crate) fn answered(
        &mut self,
        errand: &Errand,
        outcome: Outcome,
        body: &Bytes,
    ) -> (String, Option<Errand>) {
        let text = || String::from_utf8_lossy(body).into_owned();
        let mut then = None;
        let said = match errand {
            Errand::Open(_) => {
                assert_eq!(outcome, Outcome::Done);
                self.opened += 1;
                String::new()
            }
            Errand::Bump => {
                assert_eq!(outcome, Outcome::Done, "{}", text());
                let [version, count, _visits] = numbers(&text());
                if let Some((before, last)) = self.counts.last() {
                    assert!(version >= *before, "older code after newer: {}", text());
                    assert!(count > *last, "{count} after {last}");
                }
                self.counts.push((version, count));
                text()
            }
            Errand::Audit => {
                assert_eq!(outcome, Outcome::Done, "{}", text());
                let [_version, noted, count] = numbers(&text());
                assert!(noted <= count, "{noted} notes of {count}");
                self.audits += 1;
                text()
            }
            Errand::Spin => {
                assert_eq!(outcome, Outcome::Err(Detail::MODULE_FAILED));
                self.spins += 1;
                String::new()
            }
            Errand::Set(value) => {
                assert_eq!(outcome, Outcome::Done);
                let set::Response { version } = set::Response::decode(body).expect("a version");
                assert_eq!(version == 0, value.is_none());
                format!("{version}")
            }
            Errand::Get(None) => {
                assert_eq!(outcome, Outcome::Bad(Detail::NOT_FOUND));
                String::new()
            }
            Errand::Get(Some(value)) => {
                assert_eq!(outcome, Outcome::Done);
                let found = get::Response::decode(body).expect("a value");
                assert_eq!(found.value, value.to_string().as_bytes());
                format!("{}", found.version)
            }
            Errand::Look => {
                let (version, value) = pot(outcome, body);
                then = Some(Errand::Put(version, value + 1));
                format!("{value} at {version}")
            }
            Errand::Put(expected, _) => self.put(*expected, outcome, body),
            Errand::Say(_, is_dropped) => {
                assert_eq!(outcome, Outcome::Done);
                let reached = broadcast::Response::decode(body).expect("a count");
                // The two others, also one whose network is gone for a while.
                assert_eq!(reached.recipients, if *is_dropped { 0 } else { 2 });
                String::new()
            }
            Errand::Tag(tag) => {
                assert_eq!(outcome, Outcome::Done);
                let listed = tags::Response::decode(body).expect("tags");
                let own = Tag::new(tag).expect("a tag");
                assert_eq!(
                    listed.tags(),
                    [ListedTag {
                        own: true,
                        tag: own
                    }]
                );
                String::new()
            }
            Errand::Stray => {
                assert_eq!(outcome, Outcome::Bad(Detail::NOT_FOUND));
                String::new()
            }
            Errand::Garble => {
                assert_eq!(outcome, Outcome::Bad(Detail::MALFORMED_BODY));
                String::new()
            }
            Errand::Sums(module) => {
                assert_eq!(outcome, Outcome::Done, "{}", text());
                self.sums.insert(module, text());
                text()
            }
        };
        (said, then)
    }

    fn put(&mut self, expected: u64, outcome: Outcome, body: &Bytes) -> String {
        if outcome == Outcome::Done {
            let set::Response { version } = set::Response::decode(body).expect("a version");
            assert!(version > expected, "{version} after {expected}");
            self.puts += 1;
            return format!("taken at {version}");
        }
        assert_eq!(outcome, Outcome::Bad(Detail::CONFLICT));
        let found = set::Conflict::decode(body).expect("a version");
        assert!(found.version > expected, "{} was expected", found.version);
        self.conflicts += 1;
        format!("conflict with {}", found.version)
    }

    /// Takes what another client said: everything of it, once, in its order.
    pub(crate) fn hear(&mut self, body: &[u8]) -> String {
        let push = broadcast::Push::decode(body).expect("a message");
        let sender = push.sender.expect("a sender");
        let text = String::from_utf8_lossy(push.payload).into_owned();
        let (said, mark) = text.split_at(text.len() - 1);
        let said: u64 = said.parse().expect("a number");
        let mark = mark.chars().next().expect("a mark");
        let (last, before) = self.heard.get(&sender).copied().unwrap_or((0, '!'));
        assert_eq!(said, last + 1, "from {sender:?}");
        assert!(
            mark == before || (before, mark) == ('!', '?'),
            "an older filter after a newer one"
        );
        self.heard.insert(sender, (said, mark));
        format!("{sender} says {text}")
    }

    /// The last number that was published on a topic.
    pub(crate) fn published(&self, topic: &str) -> Option<u64> {
        self.streams
            .values()
            .find(|(name, _)| *name == topic)
            .and_then(|(_, last)| *last)
    }

    /// Takes what was published: every number from the first on.
    pub(crate) fn item(&mut self, body: &[u8]) -> String {
        let push = stream::Push::decode(body).expect("a stream's item");
        let stream::Event::Item(item) = push.event else {
            panic!("no stream ends or begins by itself: {push:?}");
        };
        let count: u64 = String::from_utf8_lossy(item).parse().expect("a number");
        let stream = self.streams.get_mut(&push.stream);
        let (topic, last) = stream.expect("an open stream");
        if let Some(last) = last {
            assert_eq!(count, *last + 1, "{topic}");
        }
        *last = Some(count);
        format!("{topic} {count}")
    }
}

impl Errand {
    /// The operation and its body.
    pub(crate) fn request(&self) -> (Opcode, Bytes) {
        match self {
            Self::Open(topic) => {
                let (topic, arguments) = (name(topic), &b""[..]);
                let open = stream::Request::Open { topic, arguments };
                (Opcode::STREAM, open.to_bytes())
            }
            Self::Bump => call("counter", "bump"),
            Self::Audit => call("ledger", "audit"),
            Self::Spin => call("runaway", "spin"),
            Self::Stray => call("nobody", "home"),
            Self::Sums(module) => call(module, "sums"),
            Self::Set(value) => set_value(Scope::Mine, "mine", None, *value),
            Self::Get(_) => get_value(Scope::Mine, "mine"),
            Self::Look => get_value(Scope::Shared, "pot"),
            Self::Put(expected, value) => {
                set_value(Scope::Shared, "pot", Some(*expected), Some(*value))
            }
            Self::Say(said, is_dropped) => {
                let text = if *is_dropped {
                    format!("drop after {said}")
                } else {
                    said.to_string()
                };
                let request = broadcast::Request {
                    topic: name("chat"),
                    audience: broadcast::Audience::Subscribers,
                    not_me: true,
                    payload: text.as_bytes(),
                };
                (Opcode::BROADCAST, request.to_bytes())
            }
            Self::Tag(tag) => {
                let tag = Tag::new(tag).expect("a tag");
                let request = tags::Request::new(tags::Mode::Replace, vec![tag]);
                let body = request.expect("one tag").to_bytes();
                (Opcode::SET_CLIENT_TAGS, body)
            }
            Self::Garble => (Opcode::EXECUTE, Bytes::from_static(b"\xff?")),
        }
    }
}

fn name(text: &str) -> Name8<'_> {
    Name8::new(text).expect("a short name")
}

fn call(module: &str, action: &str) -> (Opcode, Bytes) {
    let request = execute::Request {
        module: name(module),
        action: name(action),
        input: b"",
    };
    (Opcode::EXECUTE, request.to_bytes())
}

fn get_value(scope: Scope<'_>, key: &str) -> (Opcode, Bytes) {
    let key = name(key);
    (Opcode::GET, get::Request { scope, key }.to_bytes())
}

fn set_value(
    scope: Scope<'_>,
    key: &str,
    expected: Option<u64>,
    value: Option<u64>,
) -> (Opcode, Bytes) {
    let value = value.map(|value| value.to_string());
    let request = set::Request {
        scope,
        key: name(key),
        expected,
        value: value.as_ref().map(String::as_bytes),
    };
    (Opcode::SET, request.to_bytes())
}

/// The pot's version and value; nothing is zero at version zero.
fn pot(outcome: Outcome, body: &[u8]) -> (u64, u64) {
    if outcome == Outcome::Bad(Detail::NOT_FOUND) {
        return (0, 0);
    }
    assert_eq!(outcome, Outcome::Done);
    let found = get::Response::decode(body).expect("a value");
    let value = String::from_utf8_lossy(found.value).parse();
    (found.version, value.expect("a number"))
}

/// The numbers of a text, as many as are wanted.
pub(crate) fn numbers<const N: usize>(text: &str) -> [u64; N] {
    let all: Vec<u64> = text
        .split(' ')
        .map(|word| word.parse().expect("a number"))
        .collect();
    all.try_into().expect("as many numbers as are wanted")
}
