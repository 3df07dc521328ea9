//! Many clients with requests under way all the time: EXECUTE in both languages, GET and SET, and EXECUTE of a module that lives on another shard.

use core::time::Duration;

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
        let beside = Beside::new(options, in_flight, size);
        let asking = beside.asking(&luau, None);
        let alone = || wire_alone(&asking, seed, options.time);
        print(beside.row("the same datagrams, no engine, no module", NONE, alone)?);
        for (what, question, aims) in questions {
            let asking = beside.asking(question, None);
            let ours = || asking.measure(subject, options.time);
            print(beside.row(what, aims, ours)?);
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
        let beside = Beside::new(options, in_flight, size);
        for (what, question) in &questions {
            let asking = beside.asking(question, Some(0));
            let ours = || asking.measure(subject, options.time);
            print(beside.row(what, FAR, ours)?);
        }
    }
    Ok(())
}

fn under_way(options: &Options) -> Vec<u32> {
    options.in_flight.map_or_else(|| vec![2, 16], |n| vec![n])
}

/// A load, and the bare echo under the same. The echo is measured right before and right after each row: a machine that others use, too, changes its speed
/// within seconds, and a ratio of two moments would say more about them than about the server.
struct Beside {
    clients: u32,
    in_flight: u32,
    size: usize,
    /// Of each of the two measurements of the echo.
    time: Duration,
}

impl Beside {
    const fn new(options: &Options, in_flight: u32, size: usize) -> Self {
        Self {
            clients: options.clients,
            in_flight,
            size,
            time: Duration::from_millis(options.time.as_millis() as u64 / 2),
        }
    }

    fn echo(&self) -> anyhow::Result<Measured> {
        bare_echo(self.clients, self.in_flight, self.size, self.time)
    }

    const fn asking<'a>(&self, question: &'a Question, shard: Option<u32>) -> Asking<'a> {
        Asking {
            question,
            clients: self.clients,
            in_flight: self.in_flight,
            shard,
        }
    }

    fn row(
        &self,
        what: &str,
        aims: Aims,
        measure: impl FnOnce() -> anyhow::Result<Measured>,
    ) -> anyhow::Result<Row> {
        let before = self.echo()?;
        let ours = measure()?;
        let after = self.echo()?;
        let bare_ns = f64::midpoint(before.cpu_ns, after.cpu_ns);
        let bare_rate = f64::midpoint(before.load.rate(), after.load.rate());
        Ok(Row {
            what: format!("{what}, {} × {}", self.clients, self.in_flight),
            bare: shown(bare_ns, bare_rate),
            ours: format!(
                "{}{}",
                shown(ours.cpu_ns, ours.load.rate()),
                refused(&ours.load)
            ),
            ratio: Some(bare_ns / ours.cpu_ns),
            aim: match self.in_flight {
                2 => aims[0],
                16 => aims[1],
                _ => "",
            },
        })
    }
}

fn shown(cpu_ns: f64, rate: f64) -> String {
    format!("{:.2} µs CPU, {}/s", cpu_ns / 1_000.0, thousands(rate))
}
