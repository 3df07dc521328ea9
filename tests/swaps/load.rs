//! Clients that call the counting module all the time, and what their answers say about it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use cohnect_client::Client;
use cohnect_tests::Server;
use tokio::task::JoinSet;

/// Several, so that with two shards both have some.
const CLIENTS: usize = 6;
/// Each has so many calls under way, so that calls are queued whenever code changes hands.
const UNDER_WAY: usize = 3;

/// One answer of `add`.
#[derive(Clone, Copy, Debug)]
struct Answer {
    version: u32,
    total: u64,
    own: u64,
}

impl Answer {
    fn read(text: &[u8]) -> Self {
        let text = core::str::from_utf8(text).expect("it is text");
        let mut parts = text.split(' ');
        let mut next = || parts.next().and_then(|part| part.parse().ok());
        let (Some(version), Some(total), Some(own)) = (next(), next(), next()) else {
            panic!("not an answer: {text}");
        };
        Self {
            version: u32::try_from(version).expect("it is small"),
            total,
            own,
        }
    }
}

/// The running load.
pub(crate) struct Load {
    /// The newest answer: its total above, the version that gave it below.
    newest: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    callers: JoinSet<Vec<Answer>>,
}

impl Load {
    pub(crate) async fn begin(server: &Server) -> Self {
        let newest = Arc::new(AtomicU64::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let mut callers = JoinSet::new();
        for _ in 0..CLIENTS {
            let (client, _) = Client::connect(server.client())
                .await
                .expect("the server answers");
            for _ in 0..UNDER_WAY {
                let call = caller(client.clone(), Arc::clone(&newest), Arc::clone(&stop));
                callers.spawn(call);
            }
        }
        Self {
            newest,
            stop,
            callers,
        }
    }

    /// Which version gave the newest answer; none before the first.
    pub(crate) fn newest(&self) -> Option<u32> {
        let newest = self.newest.load(Ordering::Acquire);
        (newest != 0).then_some(newest as u32)
    }

    /// Lets every call that is under way end.
    pub(crate) async fn end(self) -> Story {
        self.stop.store(true, Ordering::Release);
        let mut all: Vec<_> = self
            .callers
            .join_all()
            .await
            .into_iter()
            .flatten()
            .collect();
        all.sort_by_key(|answer| answer.total);
        Story(all)
    }
}

/// Calls again and again. Every call is answered, and with what it asked for: the calls of this load never end a replica.
async fn caller(client: Client, newest: Arc<AtomicU64>, stop: Arc<AtomicBool>) -> Vec<Answer> {
    let mut answers: Vec<Answer> = Vec::new();
    while !stop.load(Ordering::Acquire) {
        let answer = client.execute("counter", "add", "").await;
        let answer = Answer::read(&answer.expect("every call is answered"));
        if let Some(before) = answers.last() {
            assert!(before.total < answer.total, "{before:?} then {answer:?}");
        }
        newest.fetch_max(
            answer.total << 32 | u64::from(answer.version),
            Ordering::AcqRel,
        );
        answers.push(answer);
    }
    answers
}

/// Every answer, in the order in which the module gave them.
pub(crate) struct Story(Vec<Answer>);

impl Story {
    pub(crate) const fn len(&self) -> usize {
        self.0.len()
    }

    /// Holds the answers against what was promised, when so many replicas have ended on the way.
    pub(crate) fn check(&self, traps: usize) {
        let mut ends = 0;
        // What the module's memory was when the running code took over: what its newest snapshot holds.
        let mut snapshot = 0;
        for (place, answer) in self.0.iter().enumerate() {
            assert_eq!(
                answer.total,
                place as u64 + 1,
                "`state` counts each answer once"
            );
            let before = place.checked_sub(1).and_then(|before| self.0.get(before));
            let Some(before) = before else {
                assert_eq!(answer.own, 1);
                continue;
            };
            if before.version != answer.version {
                snapshot = before.own;
            }
            if answer.own != before.own + 1 {
                assert_eq!(
                    before.version, answer.version,
                    "a swap loses nothing: {before:?} then {answer:?}"
                );
                assert_eq!(
                    answer.own,
                    snapshot + 1,
                    "it goes on from the newest snapshot: {before:?} then {answer:?}"
                );
                ends += 1;
            }
        }
        assert_eq!(ends, traps);
    }
}
