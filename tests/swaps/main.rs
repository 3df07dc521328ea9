//! Code is exchanged under load: whatever is saved, broken code and code that refuses and code that ends by itself among it, every request gets its one
//! answer, `state` stays, and what a module keeps goes over.

mod arena;
mod counter;
mod load;

use cohnect_client::{Client, Detail, Error, Scope};
use cohnect_tests::{PATIENCE, Server, eventually};

use counter::{Component, Kind, Script, Version};
use load::Load;

/// How often the module's file is saved: enough that every kind of version follows every other.
const SAVES: u32 = 20;

/// What each save brings: a quarter does not load, a quarter does not take the snapshot, and the rest takes over; of those three end by themselves, fewer
/// than the circuit bears in ten seconds.
fn kind(save: u32) -> Kind {
    match save % 4 {
        1 => Kind::Broken,
        2 => Kind::Refusing,
        _ if save.is_multiple_of(3) => Kind::Trapping,
        _ => Kind::Fine,
    }
}

/// One server under load, and whose turn it is.
struct Play {
    server: Server,
    runtime: tokio::runtime::Runtime,
    client: Client,
    load: Load,
    traps: usize,
}

impl Play {
    fn begin(files: &[(&str, &[u8])], shards: &str) -> Self {
        let server = Server::dev_of(files, &["--shards", shards]);
        let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
        let (client, _) = runtime
            .block_on(Client::connect(server.client()))
            .expect("the server answers");
        let load = runtime.block_on(Load::begin(&server));
        let play = Self {
            server,
            runtime,
            client,
            load,
            traps: 0,
        };
        play.took_over(0);
        play
    }

    /// Waits until a call was answered by this version.
    fn took_over(&self, version: u32) {
        eventually("the new version", || {
            (self.load.newest() == Some(version)).then_some(())
        });
    }

    /// How often the server has said that a file was refused.
    fn refusals(&self) -> usize {
        self.server.log().matches("refused: ").count()
    }

    /// Saves a version and waits until it has had its effect.
    fn save(&mut self, file: &str, version: Version, bytes: &[u8]) {
        let refused = self.refusals();
        self.server.save_of(file, bytes);
        match version.kind {
            Kind::Fine => self.took_over(version.number),
            Kind::Broken | Kind::Refusing => {
                eventually("the refusal", || (self.refusals() > refused).then_some(()));
            }
            Kind::Trapping => {
                self.took_over(version.number);
                self.trap();
            }
        }
    }

    /// Asks the replica to end, which it does from 100 ms after its start on. Only this call meets the end.
    fn trap(&mut self) {
        let began = std::time::Instant::now();
        loop {
            let call = self.client.execute("counter", "trap", "");
            let error = self
                .runtime
                .block_on(call)
                .expect_err("it refuses or it ends");
            match error.detail() {
                Some(Detail::MODULE_FAILED) => break,
                Some(Detail::REFUSED) if began.elapsed() < PATIENCE => {}
                _ => panic!("{error}\n{}", self.server.log()),
            }
        }
        self.traps += 1;
    }

    /// Ends the load and looks at all that was answered.
    fn end(self) {
        let story = self.runtime.block_on(self.load.end());
        let ok = story.len() as u64;
        story.check(self.traps);
        let stored = self
            .runtime
            .block_on(self.client.get(Scope::Shared, "total"))
            .expect("it is answered")
            .expect("it is there");
        assert_eq!(
            stored.value,
            ok.to_string(),
            "`state` counts what was answered"
        );
        self.runtime.block_on(self.client.close());
    }
}

#[test]
fn twenty_saves_of_a_script_lose_no_request() {
    for shards in ["1", "2"] {
        let first = Script::of(Version::first()).bytes();
        let mut play = Play::begin(&[("counter.luau", &first)], shards);
        for number in 1..=SAVES {
            let version = Version {
                number,
                kind: kind(number),
            };
            play.save("counter.luau", version, &Script::of(version).bytes());
        }
        play.end();
    }
}

#[test]
fn twenty_saves_of_a_component_lose_no_request() {
    let component = Component::build();
    for shards in ["1", "2"] {
        let first = component.of(Version::first());
        let mut play = Play::begin(&[("counter.wasm", &first)], shards);
        for number in 1..=SAVES {
            let version = Version {
                number,
                kind: kind(number),
            };
            play.save("counter.wasm", version, &component.of(version));
        }
        play.end();
    }
}

#[test]
fn a_script_and_a_component_take_over_from_each_other() {
    let component = Component::build();
    for shards in ["1", "2"] {
        let script = Script::of(Version::first()).bytes();
        let compiled = component.of(Version {
            number: 1_000,
            kind: Kind::Trapping,
        });
        let entry = |file: &str| format!("entry = \"{file}\"\n");
        let mut play = Play::begin(
            &[
                ("counter/counter.luau", &script),
                ("counter/counter.wasm", &compiled),
                ("counter/module.toml", entry("counter.luau").as_bytes()),
            ],
            shards,
        );
        for round in 0..3 {
            play.server
                .save("counter/module.toml", &entry("counter.wasm"));
            play.took_over(1_000);
            if round == 1 {
                play.trap();
            }
            play.server
                .save("counter/module.toml", &entry("counter.luau"));
            play.took_over(0);
        }
        play.end();
    }
}

#[test]
fn an_unlucky_call_is_the_only_one_that_fails() {
    // What the tests above build on: the action ends its replica for good, whoever asks.
    let script = Script::of(Version::first()).bytes();
    let server = Server::dev_of(&[("counter.luau", &script)], &[]);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
    runtime.block_on(async {
        let (client, _) = Client::connect(server.client()).await.expect("it answers");
        let add = client.execute("counter", "add", "").await;
        assert_eq!(add, Ok("0 1 1".into()));
        loop {
            match client.execute("counter", "trap", "").await {
                Err(Error::Answer(no)) if no.detail() == Detail::MODULE_FAILED => break,
                Err(Error::Answer(no)) if no.detail() == Detail::REFUSED => {}
                other => panic!("{other:?}"),
            }
        }
        let add = client.execute("counter", "add", "").await;
        assert_eq!(
            add,
            Ok("0 2 1".into()),
            "`state` stays, memory begins anew without a snapshot"
        );
    });
}
