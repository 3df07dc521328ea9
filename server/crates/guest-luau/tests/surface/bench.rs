//! The bench on which the tests try scripts: a world, a language with its tick, and shortcuts for calls.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use cohnect_capabilities::{Caller, Client, ClientId, Effect, Payload, Result};
use cohnect_guest_luau::Luau;
use cohnect_host::context::{Arming, Context};
use cohnect_host::deadline::Ticker;
use cohnect_host::export::{Export, Fault, Outcome, Request, Returned};
use cohnect_host::replica::{Language, LoadError, Prepared, Replica, Source, WaitingReplica};
use cohnect_host::seeded::Seeded;
use cohnect_host::testing::World;

/// A client that the tests know.
pub(crate) const ADA: ClientId = ClientId {
    hi: 0xc44b_be47_9bdd_83c8,
    lo: 0xa994_6b3e_0a1c_e92a,
};
/// Its id in Luau.
pub(crate) const ADA_TEXT: &str = "c44bbe47-9bdd-83c8-a994-6b3e0a1ce92a";

/// A world and a language.
pub(crate) struct Bench {
    pub(crate) world: Arc<World>,
    pub(crate) ticker: Ticker,
    pub(crate) luau: Luau,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let ticker = Ticker::default();
        Self {
            world: World::new(),
            luau: Luau::new(ticker.clone()),
            ticker,
        }
    }

    /// The files of a module of one file.
    pub(crate) fn source(code: &str) -> Source {
        Source {
            name: "hello".into(),
            entry: PathBuf::from("modules/hello.luau"),
            code: Payload::copy_from_slice(code.as_bytes()),
            folder: None,
            files: BTreeMap::new(),
            memory_bytes: 16 * 1024 * 1024,
        }
    }

    /// The files of a module that is a folder; the first one is its entry.
    pub(crate) fn folder(files: &[(&str, &str)]) -> Source {
        let folder = PathBuf::from("modules/hello");
        Source {
            entry: folder.join(files[0].0),
            code: Payload::copy_from_slice(files[0].1.as_bytes()),
            folder: Some(folder),
            files: files
                .iter()
                .map(|(path, text)| {
                    (
                        PathBuf::from(path),
                        Payload::copy_from_slice(text.as_bytes()),
                    )
                })
                .collect(),
            ..Self::source("")
        }
    }

    pub(crate) fn context(&self, waits: bool) -> Context {
        Context::new(
            self.world.charter("hello", waits),
            Box::new(Seeded::new(&[7; 32], 0)),
        )
    }

    pub(crate) fn prepare(
        &self,
        source: &Source,
    ) -> core::result::Result<Arc<dyn Prepared>, LoadError> {
        self.luau.prepare(source, self.world.probe("hello"))
    }

    /// Why this code is not loaded.
    pub(crate) fn refusal(&self, code: &str) -> String {
        match self.prepare(&Self::source(code)) {
            Ok(_) => panic!("it was loaded: {code}"),
            Err(error) => error.message,
        }
    }

    /// A replica on a shard.
    pub(crate) fn load(&self, code: &str) -> Copy<'_> {
        self.load_source(&Self::source(code))
    }

    pub(crate) fn load_source(&self, source: &Source) -> Copy<'_> {
        let prepared = self
            .prepare(source)
            .unwrap_or_else(|error| panic!("{error}"));
        let replica = prepared
            .replica(self.context(false))
            .unwrap_or_else(|error| panic!("{error}"));
        Copy {
            bench: self,
            replica,
        }
    }

    /// A replica on a worker.
    pub(crate) fn load_waiting(&self, code: &str) -> Box<dyn WaitingReplica> {
        let prepared = self
            .prepare(&Self::source(code))
            .unwrap_or_else(|error| panic!("{error}"));
        prepared
            .waiting_replica(self.context(true))
            .unwrap_or_else(|error| panic!("{error}"))
    }
}

/// A replica on a shard of this bench.
pub(crate) struct Copy<'a> {
    pub(crate) bench: &'a Bench,
    pub(crate) replica: Box<dyn Replica>,
}

impl Copy<'_> {
    pub(crate) fn call(&mut self, export: &Export) -> Outcome {
        let arming = self.bench.world.arming(false);
        self.call_armed(export, arming)
    }

    pub(crate) fn call_armed(&mut self, export: &Export, arming: Arming) -> Outcome {
        self.replica.context().arm(arming);
        self.replica.call(export)
    }

    /// An action, as Ada calls it.
    pub(crate) fn execute(&mut self, action: &str, input: &str) -> Result<String> {
        answer(self.call(&Export::Execute(request(action, input))))
    }

    /// The fault in which an action ends.
    pub(crate) fn fault(&mut self, action: &str) -> Fault {
        match self.call(&Export::Execute(request(action, ""))) {
            Ok(returned) => panic!("{action} returned {returned:?}"),
            Err(fault) => fault,
        }
    }

    /// What the last call left.
    pub(crate) fn effects(&mut self) -> Vec<Effect> {
        self.replica.context().take_outbox()
    }
}

/// The answer of an action.
pub(crate) fn answer(outcome: Outcome) -> Result<String> {
    match outcome {
        Ok(Returned::Answer(answer)) => {
            answer.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        }
        other => panic!("not an answer: {other:?}"),
    }
}

pub(crate) fn client(id: ClientId) -> Client {
    Client {
        id,
        ..Client::default()
    }
}

pub(crate) fn request(action: &str, input: &str) -> Request {
    Request {
        id: 1,
        name: action.into(),
        caller: Caller::Client(client(ADA)),
        received_at: 1_700_000_000_123_456,
        input: Payload::copy_from_slice(input.as_bytes()),
    }
}
