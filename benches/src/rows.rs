//! The rows: which there are, in which order they are measured, and what they share. What is asked, of whom, and what stands beside it is each row's own.

mod broadcast;
mod loaded;
mod runaway;
mod sequential;
mod sessions;
mod start;
mod swap;

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use cohnect_protocol::ops::{Body as _, Name8, execute};
use cohnect_protocol::{ClientConfig, Mode, Opcode, StaticKeys};

use crate::load::{Crowd, Load, Peer};
use crate::peers::{BarePeer, Question, WirePeer};
use crate::seed::Seeded;
use crate::subject::Subject;
use crate::table::Row;
use crate::{Options, bare, calls, wire};

/// What protects a datagram: header, packet number and tag. The bare reference sends the same datagrams without it.
const PROTECTION: usize = 64;
/// Answers before these do not count.
const WARM_UP: Duration = Duration::from_millis(500);
/// Longest time until all clients of a row are connected.
const PATIENCE: Duration = Duration::from_secs(60);

/// The groups of rows, in the order in which they are measured.
pub const ROWS: [&str; 9] = [
    "calls",
    "loaded",
    "sequential",
    "broadcast",
    "swap",
    "runaway",
    "sessions",
    "start",
    "far",
];

type Print<'a> = &'a mut dyn FnMut(Row);

/// Measures everything that the options ask for.
pub(crate) fn measure(
    options: &Options,
    seed: u64,
    binary: &Path,
    print: Print<'_>,
) -> anyhow::Result<()> {
    let row = |name: &str| options.only.is_empty() || options.only.iter().any(|only| only == name);
    if row("calls") {
        calls::measure(options.time, print)?;
    }
    let apart = ["calls", "far"];
    let served = |name: &&str| !apart.contains(name) && row(name);
    if ROWS.iter().any(served) {
        let subject = match &options.server {
            Some(ready) => Subject::running(ready, seed)?,
            None => Subject::start(binary, options.shards, seed)?,
        };
        let idle_kib = subject.resident_kib();
        if row("loaded") {
            loaded::near(options, &subject, seed, print)?;
        }
        if row("sequential") {
            sequential::measure(options, &subject, print)?;
        }
        if row("broadcast") {
            broadcast::measure(options, &subject, print)?;
        }
        if row("swap") {
            swap::measure(options, &subject, print)?;
        }
        if row("runaway") {
            runaway::measure(options, &subject, print)?;
        }
        if row("sessions") {
            sessions::measure(&subject, idle_kib, print)?;
        }
        if let (true, Some(folder)) = (row("start"), subject.end()) {
            start::measure(folder, binary, seed, print)?;
        }
    }
    // This row needs a server with more shards than the others have.
    if row("far") && options.server.is_none() {
        let subject = Subject::start(binary, options.shards.max(2), seed)?;
        loaded::far(options, &subject, print)?;
    }
    Ok(())
}

/// A load, and what it cost whoever answered.
struct Measured {
    load: Load,
    /// CPU of the answering threads for one operation, in nanoseconds.
    cpu_ns: f64,
}

fn under_load<P: Peer>(
    crowd: &mut Crowd<P>,
    time: Duration,
    used: impl Fn() -> u64,
) -> anyhow::Result<Measured> {
    crowd.gather(PATIENCE)?;
    let mut marks = Vec::with_capacity(2);
    let load = crowd.run(WARM_UP, time, || marks.push(used()));
    let spent = match marks[..] {
        [before, after] => after.saturating_sub(before),
        _ => 0,
    };
    let answered = (load.operations + load.refused).max(1);
    let cpu_ns = spent as f64 / answered as f64;
    Ok(Measured { load, cpu_ns })
}

/// The bare echo under the same load: one datagram for each operation.
fn bare_echo(
    clients: u32,
    in_flight: u32,
    size: usize,
    time: Duration,
) -> anyhow::Result<Measured> {
    let echo = bare::echo()?;
    let peers = (0..clients).map(|_| BarePeer::new(size, in_flight));
    let mut crowd = Crowd::new(echo.address, peers)?;
    under_load(&mut crowd, time, || echo.cpu_ns())
}

/// A crowd that asks one thing again and again.
struct Asking<'a> {
    question: &'a Question,
    clients: u32,
    in_flight: u32,
    /// Where the clients live; none where their keys put them.
    shard: Option<u32>,
}

/// The wire alone under a load: sessions and encryption, no engine and no module.
fn wire_alone(asking: &Asking<'_>, seed: u64, time: Duration) -> anyhow::Result<Measured> {
    let (answering, pin) = wire::start(seed)?;
    let clients = (0..u64::from(asking.clients)).map(|number| {
        let mut entropy = Seeded::new(seed, number);
        let keys = StaticKeys::generate(&mut entropy);
        let config = ClientConfig::new(keys, answering.address, pin);
        let question = Some(asking.question.clone());
        WirePeer::new(config, Box::new(entropy), question, asking.in_flight)
    });
    let mut crowd = Crowd::new(answering.address, clients)?;
    under_load(&mut crowd, time, || answering.cpu_ns())
}

impl Asking<'_> {
    fn measure(&self, subject: &Subject, time: Duration) -> anyhow::Result<Measured> {
        self.with_size(subject, time).map(|(measured, _)| measured)
    }

    /// Beside it how long a datagram of a client was, without its protection.
    fn with_size(&self, subject: &Subject, time: Duration) -> anyhow::Result<(Measured, usize)> {
        let peers = (0..self.clients)
            .map(|_| subject.client(self.shard, Some(self.question.clone()), self.in_flight))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let mut crowd = Crowd::new(subject.address, peers)?;
        let measured = under_load(&mut crowd, time, || subject.cpu_ns())?;
        let (bytes, datagrams) = crowd.peers().fold((0, 0), |(bytes, datagrams), peer| {
            (bytes + peer.sent.bytes, datagrams + peer.sent.datagrams)
        });
        let size = usize::try_from(bytes / u64::max(datagrams, 1))?.saturating_sub(PROTECTION);
        Ok((measured, size))
    }
}

/// How long the datagram of one echo is without its protection: what the bare reference sends.
fn echo_size(subject: &Subject) -> anyhow::Result<usize> {
    let asking = Asking {
        question: &echo("echo_luau")?,
        clients: 1,
        in_flight: 1,
        shard: None,
    };
    let (_, size) = asking.with_size(subject, Duration::from_millis(100))?;
    Ok(size)
}

/// EXECUTE of an echo of 32 bytes.
fn echo(module: &str) -> anyhow::Result<Question> {
    execute(module, "echo", &[7; 32])
}

fn execute(module: &str, action: &str, input: &[u8]) -> anyhow::Result<Question> {
    let request = execute::Request {
        module: name(module)?,
        action: name(action)?,
        input,
    };
    Ok(question(Opcode::EXECUTE, request.to_bytes()))
}

const fn question(opcode: Opcode, body: Bytes) -> Question {
    Question {
        opcode,
        body,
        mode: Mode::ReliableOrdered,
    }
}

fn name(text: &str) -> anyhow::Result<Name8<'_>> {
    Name8::new(text).ok_or_else(|| anyhow::anyhow!("`{text}` is no name"))
}

/// How many requests were refused, where any were: a figure of refusals is no figure.
fn refused(load: &Load) -> String {
    match load.refused {
        0 => String::new(),
        refused => format!(", {refused} REFUSED"),
    }
}
