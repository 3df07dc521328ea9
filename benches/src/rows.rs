//! The rows: what is asked, of whom, and what stands beside it.

use std::net::UdpSocket;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cohnect_protocol::ops::{Body as _, Name8, Scope, broadcast, execute, get, set, stream};
use cohnect_protocol::{Mode, Opcode};

use crate::bare::{self, Echo};
use crate::calls;
use crate::load::{Crowd, Load, Peer as _};
use crate::peers::{BarePeer, Question, WirePeer};
use crate::subject::{ECHO_LUAU, Subject};
use crate::table::{Row, thousands};
use crate::{Options, cpu};

/// Protection of a datagram: header, packet number and tag. The bare reference sends the same datagrams without it.
const PROTECTION: usize = 64;
/// Answers before these do not count.
const WARM_UP: Duration = Duration::from_millis(500);
/// Longest time until all clients of a row are connected.
const PATIENCE: Duration = Duration::from_secs(60);
/// Clients of the fan-out.
const AUDIENCE: u32 = 1_000;
/// Sessions of the memory row.
const SESSIONS: u32 = 10_000;

type Print<'a> = &'a mut dyn FnMut(Row);

/// Measures everything that the options ask for.
pub(crate) fn measure(options: &Options, binary: &Path, print: Print<'_>) -> anyhow::Result<()> {
    let wanted = |name: &str| options.only.as_deref().is_none_or(|only| name.contains(only));
    if wanted("module call") {
        for row in calls::measure()? {
            print(row);
        }
    }
    let subject = match &options.server {
        Some(ready) => Subject::running(ready)?,
        None => Subject::start(binary, options.shards, None)?,
    };
    let idle_kib = subject.resident_kib();
    let in_flight: Vec<u32> = options.in_flight.map_or_else(|| vec![2, 16], |n| vec![n]);
    for under_way in in_flight {
        if wanted("loaded") {
            loaded(options, &subject, under_way, print)?;
        }
    }
    if wanted("sequential") {
        sequential(options, &subject, print)?;
    }
    if wanted("fan-out") {
        fan_out(options, &subject, print)?;
    }
    if wanted("swap") {
        swaps(options, &subject, print)?;
    }
    if wanted("runaway") {
        runaway(options, &subject, print)?;
    }
    if wanted("sessions") {
        sessions(&subject, idle_kib, print)?;
    }
    let folder = subject.end();
    if wanted("start") && options.server.is_none() {
        start(options, binary, folder, print)?;
    }
    if wanted("another shard") && options.server.is_none() {
        another_shard(options, binary, print)?;
    }
    Ok(())
}

/// What a row with a reference compares.
struct Measured {
    load: Load,
    /// CPU of the server's threads for one operation, in nanoseconds.
    cpu_ns: f64,
}

fn under_load<P: crate::load::Peer>(crowd: &mut Crowd<P>, time: Duration, used: impl Fn() -> u64) -> anyhow::Result<Measured> {
    crowd.gather(PATIENCE)?;
    let mut marks = Vec::with_capacity(2);
    let load = crowd.run(WARM_UP, time, || marks.push(used()));
    let spent = marks.last().copied().unwrap_or(0).saturating_sub(marks.first().copied().unwrap_or(0));
    let cpu_ns = spent as f64 / load.operations.max(1) as f64;
    Ok(Measured { load, cpu_ns })
}

fn bare(clients: u32, in_flight: u32, size: usize, time: Duration) -> anyhow::Result<Measured> {
    let echo = Echo::start()?;
    let mut crowd = Crowd::new(echo.address, (0..clients).map(|_| BarePeer::new(size, in_flight)))?;
    under_load(&mut crowd, time, || echo.cpu_ns())
}

fn wire(subject: &Subject, clients: u32, in_flight: u32, question: &Question, time: Duration, shard: Option<u32>) -> anyhow::Result<(Measured, f64)> {
    let configs = (0..clients).map(|_| subject.client(shard)).collect::<anyhow::Result<Vec<_>>>()?;
    let peers = configs.into_iter().map(|config| WirePeer::new(config, Some(question.clone()), in_flight));
    let mut crowd = Crowd::new(subject.address, peers)?;
    let measured = under_load(&mut crowd, time, || subject.cpu_ns())?;
    let (bytes, datagrams) = crowd.peers().fold((0, 0), |sum, peer| (sum.0 + peer.traffic.0, sum.1 + peer.traffic.1));
    Ok((measured, bytes as f64 / f64::max(datagrams as f64, 1.0)))
}

fn name(text: &str) -> anyhow::Result<Name8<'_>> {
    Name8::new(text).ok_or_else(|| anyhow::anyhow!("`{text}` is no name"))
}

/// EXECUTE of an echo of 32 bytes.
fn echo(module: &str) -> anyhow::Result<Question> {
    let request = execute::Request { module: name(module)?, action: name("echo")?, input: &[7; 32] };
    Ok(Question { opcode: Opcode::EXECUTE, body: Bytes::from(request.to_bytes()), mode: Mode::ReliableOrdered })
}

fn loaded(options: &Options, subject: &Subject, in_flight: u32, print: Print<'_>) -> anyhow::Result<()> {
    // A datagram with one such request and an acknowledgement, without its protection, is about this long.
    let size = 32 + 15 + 15 + 16;
    let reference = bare(options.clients, in_flight, size, options.time)?;
    let shown = format!("{:.2} µs CPU, {}/s", reference.cpu_ns / 1_000.0, thousands(reference.load.rate()));
    let get = get::Request { scope: Scope::Shared, key: name("bench")? };
    let set = set::Request { scope: Scope::Shared, key: name("bench")?, expected: None, value: Some(&[7; 32]) };
    let operation = |opcode, body: Vec<u8>| Question { opcode, body: Bytes::from(body), mode: Mode::ReliableOrdered };
    let questions = [
        ("EXECUTE echo 32 B, Rust component", echo("echo_wasm")?, if in_flight == 2 { "≥ 0.6 ×" } else { "" }),
        ("EXECUTE echo 32 B, Luau", echo("echo_luau")?, if in_flight == 2 { "≥ 0.6 ×" } else { "" }),
        ("SET 32 B", operation(Opcode::SET, set.to_bytes().into()), ""),
        ("GET 32 B", operation(Opcode::GET, get.to_bytes().into()), ""),
    ];
    for (what, question, aim) in questions {
        let (ours, _) = wire(subject, options.clients, in_flight, &question, options.time, None)?;
        let refused = if ours.load.refused > 0 { format!(", {} refused", ours.load.refused) } else { String::new() };
        print(Row {
            what: format!("{what}, {} × {in_flight}", options.clients),
            bare: shown.clone(),
            ours: format!("{:.2} µs CPU, {}/s{refused}", ours.cpu_ns / 1_000.0, thousands(ours.load.rate())),
            ratio: Some(reference.cpu_ns / ours.cpu_ns),
            aim,
        });
    }
    Ok(())
}

fn sequential(options: &Options, subject: &Subject, print: Print<'_>) -> anyhow::Result<()> {
    let size = 32 + 15 + 15 + 16;
    let reference = bare(1, 1, size, options.time)?.load;
    for (what, module) in [("Rust component", "echo_wasm"), ("Luau", "echo_luau")] {
        let (ours, _) = wire(subject, 1, 1, &echo(module)?, options.time, None)?;
        print(Row {
            what: format!("EXECUTE echo 32 B, {what}, one client, sequential"),
            bare: format!("p50 {:.1} µs, p99 {:.1} µs", reference.quantile_us(0.5), reference.quantile_us(0.99)),
            ours: format!("p50 {:.1} µs, p99 {:.1} µs", ours.load.quantile_us(0.5), ours.load.quantile_us(0.99)),
            ratio: Some(reference.quantile_us(0.5) / ours.load.quantile_us(0.5)),
            aim: "p50 ≤ bare + 15 µs",
        });
    }
    Ok(())
}

fn fan_out(options: &Options, subject: &Subject, print: Print<'_>) -> anyhow::Result<()> {
    let topic = name("bench")?;
    let payload = [7; 32];
    let request = broadcast::Request { topic, audience: broadcast::Audience::Subscribers, not_me: false, payload: &payload };
    let cry = Question { opcode: Opcode::BROADCAST, body: Bytes::from(request.to_bytes()), mode: Mode::Unreliable };
    let open = stream::Request::Open { topic, arguments: b"" };
    let listen = Question { opcode: Opcode::STREAM, body: Bytes::from(open.to_bytes()), mode: Mode::ReliableOrdered };
    let configs = (0..AUDIENCE).map(|_| subject.client(None)).collect::<anyhow::Result<Vec<_>>>()?;
    let mut crowd = Crowd::new(subject.address, configs.into_iter().map(|config| WirePeer::new(config, None, 0)))?;
    crowd.gather(PATIENCE)?;
    let now = Instant::now();
    crowd.peers().for_each(|peer| peer.ask(now, listen.clone()));
    crowd.flush_all();
    crowd.until(Instant::now() + Duration::from_secs(1), &mut |_, _| {});
    let received = |crowd: &mut Crowd<WirePeer>| crowd.peers().map(|peer| peer.received).sum::<u64>();
    let (before, used, began) = (received(&mut crowd), subject.cpu_ns(), Instant::now());
    let mut cries = 0_u32;
    while began.elapsed() < options.time {
        cries += 1;
        let wanted = before + u64::from(cries) * u64::from(AUDIENCE);
        if let Some(first) = crowd.peers().next() {
            first.ask(Instant::now(), cry.clone());
        }
        crowd.flush_all();
        // One cry at a time; what a full socket buffer lost is not waited for.
        let patience = Instant::now() + Duration::from_millis(200);
        while received(&mut crowd) < wanted && Instant::now() < patience {
            crowd.until(Instant::now() + Duration::from_micros(200), &mut |_, _| {});
        }
    }
    let delivered = received(&mut crowd) - before;
    let ours = (subject.cpu_ns() - used) as f64 / delivered.max(1) as f64;
    let reference = bare_fan_out(&mut crowd)?;
    print(Row {
        what: format!("BROADCAST 32 B to {AUDIENCE} clients, for each delivery"),
        bare: format!("{:.2} µs CPU (sendmmsg)", reference / 1_000.0),
        ours: format!("{:.2} µs CPU, {} deliveries of {}", ours / 1_000.0, delivered, u64::from(cries) * u64::from(AUDIENCE)),
        ratio: Some(reference / ours),
        aim: "≥ 0.85 × (later)",
    });
    Ok(())
}

/// CPU of sending one datagram in a bare fan-out to the same sockets, in nanoseconds.
fn bare_fan_out(crowd: &mut Crowd<WirePeer>) -> anyhow::Result<f64> {
    // Sockets of the crowd are connected to the server and drop what comes from elsewhere, so the kernel's work is the same up to the last step.
    let sockets = crowd.addresses().iter().map(|_| UdpSocket::bind("127.0.0.1:0")).collect::<Result<Vec<_>, _>>()?;
    let addresses = sockets.iter().map(UdpSocket::local_addr).collect::<Result<Vec<_>, _>>()?;
    let sender = UdpSocket::bind("127.0.0.1:0")?;
    let tid = nix::unistd::gettid().as_raw();
    let (mut sent, used) = (0, cpu::of_thread(tid));
    for _ in 0..100 {
        sent += bare::fan_out(&sender, &addresses, &[7; 32 + 7 + 16 + 7]);
    }
    Ok((cpu::of_thread(tid) - used) as f64 / sent.max(1) as f64)
}

fn swaps(options: &Options, subject: &Subject, print: Print<'_>) -> anyhow::Result<()> {
    let question = echo("echo_luau")?;
    let configs = (0..options.clients).map(|_| subject.client(None)).collect::<anyhow::Result<Vec<_>>>()?;
    let peers = configs.into_iter().map(|config| WirePeer::new(config, Some(question.clone()), 2));
    let mut crowd = Crowd::new(subject.address, peers)?;
    crowd.gather(PATIENCE)?;
    if subject.save("echo_luau.luau", ECHO_LUAU.as_bytes()).is_none() {
        return Ok(());
    }
    let calm = crowd.run(WARM_UP, options.time, || {});
    let (end, swaps) = (std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false)), std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0)));
    let load = std::thread::scope(|threads| {
        let (ended, counted) = (std::sync::Arc::clone(&end), std::sync::Arc::clone(&swaps));
        threads.spawn(move || {
            while !ended.load(std::sync::atomic::Ordering::Relaxed) {
                let n = counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                let _saved = subject.save("echo_luau.luau", format!("{ECHO_LUAU}-- {n}\n").as_bytes());
                std::thread::park_timeout(Duration::from_millis(250));
            }
        });
        let load = crowd.run(Duration::ZERO, options.time, || {});
        end.store(true, std::sync::atomic::Ordering::Relaxed);
        load
    });
    print(Row {
        what: format!("swaps under load ({} saves), longest gap between answers", swaps.load(std::sync::atomic::Ordering::Relaxed)),
        bare: format!("{:.2} ms without a swap", calm.longest_gap.as_secs_f64() * 1_000.0),
        ours: format!("{:.2} ms; {} answered, {} refused", load.longest_gap.as_secs_f64() * 1_000.0, load.operations, load.refused),
        ratio: None,
        aim: "< 5 ms (later)",
    });
    Ok(())
}

fn runaway(options: &Options, subject: &Subject, print: Print<'_>) -> anyhow::Result<()> {
    let question = echo("echo_wasm")?;
    let alone = wire(subject, 1, 1, &question, options.time, None)?.0.load;
    let spin = execute::Request { module: name("runaway")?, action: name("spin")?, input: b"" };
    let spin = Question { opcode: Opcode::EXECUTE, body: Bytes::from(spin.to_bytes()), mode: Mode::ReliableOrdered };
    let address = subject.address;
    let offender = subject.client(None)?;
    let end = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let beside = std::thread::scope(|threads| {
        let ended = std::sync::Arc::clone(&end);
        threads.spawn(move || -> anyhow::Result<()> {
            let mut crowd = Crowd::new(address, [WirePeer::new(offender, Some(spin), 1)])?;
            crowd.gather(PATIENCE)?;
            crowd.peers().for_each(|peer| peer.start(Instant::now()));
            crowd.flush_all();
            while !ended.load(std::sync::atomic::Ordering::Relaxed) {
                crowd.until(Instant::now() + Duration::from_millis(20), &mut |_, _| {});
            }
            Ok(())
        });
        let beside = wire(subject, 1, 1, &question, options.time, None);
        end.store(true, std::sync::atomic::Ordering::Relaxed);
        beside
    })?;
    let beside = beside.0.load;
    print(Row {
        what: "an innocent module beside one that is called into an endless loop".into(),
        bare: format!("p50 {:.1} µs, p99 {:.1} µs alone", alone.quantile_us(0.5), alone.quantile_us(0.99)),
        ours: format!("p50 {:.1} µs, p99 {:.1} µs, {} refused", beside.quantile_us(0.5), beside.quantile_us(0.99), beside.refused),
        ratio: None,
        aim: "p99 ≤ 2 × its own (later)",
    });
    Ok(())
}

fn sessions(subject: &Subject, idle_kib: u64, print: Print<'_>) -> anyhow::Result<()> {
    let before = subject.resident_kib();
    let used = subject.cpu_ns();
    let began = Instant::now();
    let configs = (0..SESSIONS).map(|_| subject.client(None)).collect::<anyhow::Result<Vec<_>>>()?;
    let made = began.elapsed();
    // In groups, so that a socket is needed only while its session is made; the session stays.
    for group in configs.chunks(500) {
        let mut crowd = Crowd::new(subject.address, group.iter().map(|config| WirePeer::new(config.clone(), None, 0)))?;
        crowd.gather(PATIENCE)?;
    }
    let elapsed = (began.elapsed() - made).as_secs_f64();
    let cpu_us = (subject.cpu_ns() - used) as f64 / 1_000.0 / f64::from(SESSIONS);
    print(Row {
        what: "handshakes".into(),
        bare: "33 µs for each of 4 X25519 products, at most".into(),
        ours: format!("{cpu_us:.0} µs CPU each, {}/s with the clients on the same machine", thousands(f64::from(SESSIONS) / elapsed)),
        ratio: None,
        aim: "≥ 6 k/s a core (later)",
    });
    let grown = subject.resident_kib().saturating_sub(before);
    print(Row {
        what: format!("resident memory: idle, and for {SESSIONS} sessions"),
        bare: String::new(),
        ours: format!("{:.1} MiB, {:.1} MiB ({:.1} KiB each)", idle_kib as f64 / 1024.0, grown as f64 / 1024.0, grown as f64 / f64::from(SESSIONS)),
        ratio: None,
        aim: "≤ 4 KiB each (later)",
    });
    Ok(())
}

fn start(options: &Options, binary: &Path, folder: Option<tempfile::TempDir>, print: Print<'_>) -> anyhow::Result<()> {
    let began = Instant::now();
    let subject = Subject::start(binary, options.shards, folder)?;
    let mut crowd = Crowd::new(subject.address, [WirePeer::new(subject.client(None)?, Some(echo("echo_wasm")?), 1)])?;
    crowd.gather(PATIENCE)?;
    crowd.peers().for_each(|peer| peer.start(Instant::now()));
    crowd.flush_all();
    let mut answered = None;
    while answered.is_none() && began.elapsed() < PATIENCE {
        crowd.until(Instant::now() + Duration::from_micros(200), &mut |_, _| answered = answered.or_else(|| Some(began.elapsed())));
    }
    print(Row {
        what: "from start to the first answered EXECUTE, artefacts compiled before".into(),
        bare: format!("{:.0} ms until the ready file", subject.start.as_secs_f64() * 1_000.0),
        ours: format!("{:.0} ms", answered.unwrap_or_default().as_secs_f64() * 1_000.0),
        ratio: None,
        aim: "< 300 ms",
    });
    Ok(())
}

fn another_shard(options: &Options, binary: &Path, print: Print<'_>) -> anyhow::Result<()> {
    let subject = Subject::start(binary, options.shards.max(2), None)?;
    let size = 32 + 15 + 15 + 16;
    for in_flight in options.in_flight.map_or_else(|| vec![2, 16], |n| vec![n]) {
        let reference = bare(options.clients, in_flight, size, options.time)?;
        for (what, module) in [("Rust component", "far_wasm"), ("Luau", "far_luau")] {
            let (ours, _) = wire(&subject, options.clients, in_flight, &echo(module)?, options.time, Some(0))?;
            print(Row {
                what: format!("EXECUTE echo 32 B, {what}, module on another shard, {} × {in_flight}", options.clients),
                bare: format!("{:.2} µs CPU, {}/s", reference.cpu_ns / 1_000.0, thousands(reference.load.rate())),
                ours: format!("{:.2} µs CPU, {}/s", ours.cpu_ns / 1_000.0, thousands(ours.load.rate())),
                ratio: Some(reference.cpu_ns / ours.cpu_ns),
                aim: "≥ 0.4 × (later)",
            });
        }
    }
    Ok(())
}
