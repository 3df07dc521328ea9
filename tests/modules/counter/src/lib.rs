//! A module that counts twice, in `state` and in its own memory, the same as the script in `tests/swaps/counter.rs`. A test makes many versions of it by
//! writing another number and manner into the finished component.
#![forbid(unsafe_code)]

use cohnect_module::lifecycle::StartInfo;
use cohnect_module::messagepack;
use cohnect_module::prelude::*;

/// What a test overwrites: the version, then whether `restore` is `fine` or `poor`.
static LABEL: &str = "counter-version-0000-fine";

/// The label as it stands in memory; without this the compiler would write its own copy of each part into the code.
fn label() -> &'static str {
    core::hint::black_box(LABEL)
}

#[derive(Default, serde::Serialize, serde::Deserialize)]
struct Counter {
    count: u64,
    #[serde(skip)]
    since: u64,
}

impl Action for Counter {
    fn describe() -> Vec<ActionInfo> {
        ["add", "trap"]
            .map(|name| ActionInfo::named(name).for_clients())
            .into()
    }

    fn execute(&mut self, request: Request) -> Result<Payload, Error> {
        if request.name == "trap" {
            if clock::now() - self.since < 100_000 {
                return Err(Error::refused(1, "not yet"));
            }
            panic!("told to trap");
        }
        self.count += 1;
        let total = state::add(&Scope::Shared, "total", 1, 0)?;
        let version: u32 = label()[16..20].parse().map_err(Error::invalid)?;
        Ok(format!("{version} {total} {}", self.count).into_bytes())
    }
}

impl Lifecycle for Counter {
    fn start(&mut self, _info: StartInfo) -> Result<(), Error> {
        self.since = clock::now();
        Ok(())
    }
}

impl Migration for Counter {
    fn save(&mut self) -> Result<Snapshot, Error> {
        messagepack::snapshot(0, self)
    }

    fn restore(&mut self, snapshot: Snapshot) -> Result<(), Error> {
        if label().ends_with("poor") {
            return Err(Error::other("test", "told to refuse"));
        }
        *self = messagepack::parse(&snapshot.data)?;
        Ok(())
    }
}

cohnect_module::export!(Counter: action, lifecycle, migration);
