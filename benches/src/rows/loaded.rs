//! Many clients with requests under way all the time: EXECUTE in both languages, GET and SET, and EXECUTE of a module that lives on another shard.

use cohnect_protocol::Opcode;
use cohnect_protocol::ops::{Body as _, Scope, get, set};

use super::{
    Asking, Measured, Print, bare_echo, echo, echo_size, name, question, refused, wire_alone,
};
use crate::Options;
use crate::peers::Question;
use crate::subject::Subject;
use crate::table::{Row, thousands};

/// At 2 and at 16 under way.
type Aims = [&'static str; 2];

const NEAR: Aims = ["≥ 0.6 × (later 0.8)", ""];
const FAR: Aims = ["≥ 0.4 × (later)", "≥ 0.55 × (later)"];
const NONE: Aims = ["", ""];

/// Modules on the client's own shard, and the values of the server.
pub(super) fn near(
    options: &Options,
    subject: &Subject,
    seed: u64,
    print: Print<'_>,
) -> anyhow::Result<()> {
    let key = name("bench")?;
    let scope = Scope::Shared;
    let get = get::Request { scope, key };
    let set = set::Request {
        scope,
        key,
        expected: None,
        value: Some(&[7; 32]),
    };
    let (wasm, luau) = (echo("echo_wasm")?, echo("echo_luau")?);
    let set = question(Opcode::SET, set.to_bytes());
    let get = question(Opcode::GET, get.to_bytes());
    let questions = [
        ("EXECUTE echo 32 B, Rust component", &wasm, NEAR),
        ("EXECUTE echo 32 B, Luau", &luau, NEAR),
        // SET comes first, so that GET finds a value.
        ("SET 32 B", &set, NONE),
        ("GET 32 B", &get, NONE),
    ];
    let size = echo_size(subject)?;
    for in_flight in under_way(options) {
        let beside = Beside::bare(options, in_flight, size)?;
        let asking = beside.asking(&luau, None);
        let alone = wire_alone(&asking, seed, options.time)?;
        print(beside.row("the same datagrams, no engine, no module", &alone, NONE));
        for (what, question, aims) in questions {
            let ours = beside
                .asking(question, None)
                .measure(subject, options.time)?;
            print(beside.row(what, &ours, aims));
        }
    }
    Ok(())
}

/// Modules on the second shard, clients on the first.
pub(super) fn far(options: &Options, subject: &Subject, print: Print<'_>) -> anyhow::Result<()> {
    let questions = [
        (
            "EXECUTE echo 32 B, Rust component on another shard",
            echo("far_wasm")?,
        ),
        (
            "EXECUTE echo 32 B, Luau on another shard",
            echo("far_luau")?,
        ),
    ];
    let size = echo_size(subject)?;
    for in_flight in under_way(options) {
        let beside = Beside::bare(options, in_flight, size)?;
        for (what, question) in &questions {
            let asking = beside.asking(question, Some(0));
            let ours = asking.measure(subject, options.time)?;
            print(beside.row(what, &ours, FAR));
        }
    }
    Ok(())
}

fn under_way(options: &Options) -> Vec<u32> {
    options.in_flight.map_or_else(|| vec![2, 16], |n| vec![n])
}

/// The bare echo under a load, and what is measured beside it under the same.
struct Beside {
    clients: u32,
    in_flight: u32,
    reference: Measured,
}

impl Beside {
    fn bare(options: &Options, in_flight: u32, size: usize) -> anyhow::Result<Self> {
        Ok(Self {
            clients: options.clients,
            in_flight,
            reference: bare_echo(options.clients, in_flight, size, options.time)?,
        })
    }

    const fn asking<'a>(&self, question: &'a Question, shard: Option<u32>) -> Asking<'a> {
        Asking {
            question,
            clients: self.clients,
            in_flight: self.in_flight,
            shard,
        }
    }

    fn row(&self, what: &str, ours: &Measured, aims: Aims) -> Row {
        Row {
            what: format!("{what}, {} × {}", self.clients, self.in_flight),
            bare: shown(&self.reference),
            ours: format!("{}{}", shown(ours), refused(&ours.load)),
            ratio: Some(self.reference.cpu_ns / ours.cpu_ns),
            aim: match self.in_flight {
                2 => aims[0],
                16 => aims[1],
                _ => "",
            },
        }
    }
}

fn shown(measured: &Measured) -> String {
    format!(
        "{:.2} µs CPU, {}/s",
        measured.cpu_ns / 1_000.0,
        thousands(measured.load.rate())
    )
}
