//! What the log says of calls that fail again and again: the first time the whole text, then how often it came, at most once in five seconds for each handler.
//! It writes no line itself.

use core::hash::{BuildHasher as _, BuildHasherDefault};
use std::collections::{BTreeMap, VecDeque};
use std::hash::DefaultHasher;

use crate::export::Export;

/// How long a failure that comes again is only counted: a ticker that fails at 128 Hz writes a line in five seconds, and whoever reads along still sees that it
/// goes on.
const WINDOW_US: u64 = 5_000_000;
/// Different texts of one handler that are written whole in one window: a message that holds a number is a new one each time.
const TEXTS_MAX: usize = 4;
/// Handlers of one replica that are told apart: more of them do not fail at once but where everything fails. The others share one place for each export.
const HANDLERS_MAX: usize = 64;

/// The failures of one replica.
#[derive(Debug, Default)]
pub(super) struct Faults {
    seen: BTreeMap<String, Seen>,
}

#[derive(Debug)]
struct Seen {
    since_us: u64,
    /// Hashes of the texts that were written last, the oldest first; at most [`TEXTS_MAX`].
    texts: VecDeque<u64>,
    /// How many were written in this window.
    written: usize,
    /// How many were not.
    again: u64,
}

/// A failure that came again.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Repeated {
    /// Whose it is, as the log names it.
    pub(super) handler: String,
    text: String,
}

impl core::fmt::Display for Repeated {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&self.text)
    }
}

impl Faults {
    /// A call failed with this text; true when it is to be written whole.
    pub(super) fn is_news(&mut self, export: &Export, text: &str, now_us: u64) -> bool {
        let key = self.key(export, now_us);
        let seen = self.seen.entry(key).or_insert_with(|| Seen {
            since_us: now_us,
            texts: VecDeque::new(),
            written: 0,
            again: 0,
        });
        if seen.again == 0 && seen.is_over(now_us) {
            // It has been quiet since.
            *seen = Seen {
                since_us: now_us,
                texts: VecDeque::new(),
                written: 0,
                again: 0,
            };
        }
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(text);
        if seen.written == TEXTS_MAX || seen.texts.contains(&hash) {
            seen.again += 1;
            return false;
        }
        if seen.texts.len() == TEXTS_MAX {
            seen.texts.pop_front();
        }
        seen.texts.push_back(hash);
        seen.written += 1;
        true
    }

    /// What came again in windows that are over; with `all`, in those that are not as well.
    pub(super) fn take_repeated(&mut self, now_us: u64, all: bool) -> Vec<Repeated> {
        let due = self
            .seen
            .iter_mut()
            .filter(|(_, seen)| seen.again > 0 && (all || seen.is_over(now_us)));
        due.map(|(handler, seen)| {
            // To the nearest second: a home looks a moment after the window is over.
            let past_us = now_us.saturating_sub(seen.since_us);
            let seconds = past_us.saturating_add(500_000) / 1_000_000;
            let seconds = seconds.max(1);
            let what = if seen.texts.len() == 1 {
                "the same again"
            } else {
                "it failed again"
            };
            let text = match seen.again {
                1 => format!("{what} once in {seconds} s"),
                times => format!("{what} {times} times in {seconds} s"),
            };
            seen.since_us = now_us;
            seen.written = 0;
            seen.again = 0;
            Repeated {
                handler: handler.clone(),
                text,
            }
        })
        .collect()
    }

    /// The next moment at which there is something to take; none when nothing came again.
    pub(super) fn next_us(&self) -> Option<u64> {
        let waiting = self.seen.values().filter(|seen| seen.again > 0);
        waiting.map(|seen| seen.since_us + WINDOW_US).min()
    }

    /// Under what a handler is counted. Topics, timers and tags are of anybody's making, so they are counted together.
    fn key(&mut self, export: &Export, now_us: u64) -> String {
        let key = if matches!(export, Export::Execute(_) | Export::Handle(_)) {
            export.handler()
        } else {
            return export.name().to_owned();
        };
        if self.seen.len() >= HANDLERS_MAX && !self.seen.contains_key(&key) {
            self.seen
                .retain(|_, seen| seen.again > 0 || !seen.is_over(now_us));
            if self.seen.len() >= HANDLERS_MAX {
                return export.name().to_owned();
            }
        }
        key
    }
}

impl Seen {
    const fn is_over(&self, now_us: u64) -> bool {
        now_us >= self.since_us.saturating_add(WINDOW_US)
    }
}

#[cfg(test)]
mod tests {
    use cohnect_capabilities::Caller;

    use super::*;
    use crate::export::{Request, Tick};

    fn tick() -> Export {
        Export::Tick(Tick::default())
    }

    fn action(name: &str) -> Export {
        Export::Execute(Request {
            id: 1,
            name: name.into(),
            caller: Caller::System("test".into()),
            received_at: 0,
            input: bytes::Bytes::new(),
        })
    }

    fn texts(faults: &mut Faults, now_us: u64, all: bool) -> Vec<String> {
        let repeated = faults.take_repeated(now_us, all);
        repeated
            .iter()
            .map(|one| format!("{}: {one}", one.handler))
            .collect()
    }

    #[test]
    fn a_ticker_that_fails_each_time_is_written_once_and_then_counted() {
        let mut faults = Faults::default();
        let mut whole = 0;
        let mut counts = Vec::new();
        for n in 0..301 {
            let now = n * 50_000;
            counts.extend(texts(&mut faults, now, false));
            whole += usize::from(faults.is_news(&tick(), "m:3: boom", now));
        }
        assert_eq!(whole, 1);
        let same = |times| format!("ticker.on-tick: the same again {times} times in 5 s");
        assert_eq!(counts, [same(99), same(100), same(100)]);
        assert_eq!(faults.next_us(), Some(20_000_000));
    }

    #[test]
    fn a_failure_after_a_quiet_time_is_written_whole_again() {
        let mut faults = Faults::default();
        assert!(faults.is_news(&tick(), "boom", 0));
        assert_eq!(faults.next_us(), None, "nothing came again");
        assert!(!faults.is_news(&tick(), "boom", 1));
        assert_eq!(
            texts(&mut faults, 5_000_000, false),
            ["ticker.on-tick: the same again once in 5 s"]
        );
        assert!(faults.is_news(&tick(), "boom", 10_000_000));
    }

    #[test]
    fn texts_that_differ_each_time_are_bounded() {
        let mut faults = Faults::default();
        let whole = (0..100)
            .filter(|n| faults.is_news(&tick(), &format!("at tick {n}"), *n))
            .count();
        assert_eq!(whole, TEXTS_MAX);
        assert_eq!(
            texts(&mut faults, 100, true),
            ["ticker.on-tick: it failed again 96 times in 1 s"]
        );
        assert!(
            faults.is_news(&tick(), "another", 101),
            "in the next window"
        );
    }

    #[test]
    fn handlers_are_counted_apart_up_to_a_bound() {
        let mut faults = Faults::default();
        for round in 0..2 {
            for n in 0..1_000 {
                let news = faults.is_news(&action(&format!("a{n}")), "boom", round);
                assert_eq!(news, round == 0 && n <= HANDLERS_MAX as u64, "{n}");
            }
        }
        assert_eq!(faults.seen.len(), HANDLERS_MAX + 1);
    }
}
