//! One message to a thousand clients, beside a bare `sendmmsg` to as many sockets that are read by the same generator.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, TryRecvError};
use std::time::{Duration, Instant};

use anyhow::bail;
use cohnect_protocol::ops::{Body as _, broadcast, stream};
use cohnect_protocol::{Mode, Opcode};

use super::{PATIENCE, PROTECTION, Print, name, question};
use crate::answering::Answering;
use crate::load::Crowd;
use crate::peers::{BarePeer, Question, WirePeer};
use crate::subject::Subject;
use crate::table::Row;
use crate::{Options, cpu};

/// Clients that listen.
const AUDIENCE: u32 = 1_000;
/// What a full socket buffer lost is not waited for longer than this.
const ROUND_MAX: Duration = Duration::from_millis(200);
/// Messages of the bare reference.
const BARE_ROUNDS: u64 = 200;

/// What a load of messages came to.
struct Delivered {
    messages: u64,
    deliveries: u64,
    /// Of one delivery, without its protection.
    size: usize,
    cpu_ns: f64,
}

pub(super) fn measure(
    options: &Options,
    subject: &Subject,
    print: Print<'_>,
) -> anyhow::Result<()> {
    let ours = wire(options, subject)?;
    let reference = bare_fan_out(ours.size)?;
    print(Row {
        what: format!("BROADCAST 32 B to {AUDIENCE} clients, for each delivery"),
        bare: format!("{:.2} µs CPU (sendmmsg)", reference / 1_000.0),
        ours: format!(
            "{:.2} µs CPU, {} deliveries of {} messages",
            ours.cpu_ns / 1_000.0,
            ours.deliveries,
            ours.messages
        ),
        ratio: Some(reference / ours.cpu_ns),
        aim: "≥ 0.85 × (later)",
    });
    Ok(())
}

fn wire(options: &Options, subject: &Subject) -> anyhow::Result<Delivered> {
    let topic = name("bench")?;
    let cry = broadcast::Request {
        topic,
        audience: broadcast::Audience::Subscribers,
        not_me: false,
        payload: &[7; 32],
    };
    let cry = Question {
        opcode: Opcode::BROADCAST,
        body: cry.to_bytes(),
        mode: Mode::Unreliable,
    };
    let mut crowd = listeners(subject)?;
    let received =
        |crowd: &mut Crowd<WirePeer>| crowd.peers().map(|peer| peer.received).sum::<u64>();
    let traffic = |crowd: &mut Crowd<WirePeer>| {
        crowd.peers().fold((0, 0), |(bytes, datagrams), peer| {
            (bytes + peer.came.bytes, datagrams + peer.came.datagrams)
        })
    };
    let (before, came, used) = (received(&mut crowd), traffic(&mut crowd), subject.cpu_ns());
    let (began, mut messages) = (Instant::now(), 0);
    while began.elapsed() < options.time {
        messages += 1;
        let wanted = before + messages * u64::from(AUDIENCE);
        if let Some(first) = crowd.peers().next() {
            first.ask(Instant::now(), cry.clone());
        }
        crowd.flush_all();
        let patience = Instant::now() + ROUND_MAX;
        while received(&mut crowd) < wanted && Instant::now() < patience {
            crowd.until(Instant::now() + Duration::from_micros(200), &mut |_| {});
        }
    }
    let spent = subject.cpu_ns().saturating_sub(used);
    let deliveries = received(&mut crowd) - before;
    let (bytes, datagrams) = traffic(&mut crowd);
    let size = (bytes - came.0) / u64::max(datagrams - came.1, 1);
    Ok(Delivered {
        messages,
        deliveries,
        size: usize::try_from(size)?.saturating_sub(PROTECTION),
        cpu_ns: spent as f64 / deliveries.max(1) as f64,
    })
}

/// Clients that have the topic open.
fn listeners(subject: &Subject) -> anyhow::Result<Crowd<WirePeer>> {
    let open = stream::Request::Open {
        topic: name("bench")?,
        arguments: b"",
    };
    let open = question(Opcode::STREAM, open.to_bytes());
    let clients = (0..AUDIENCE)
        .map(|_| subject.client(None, None, 0))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let mut crowd = Crowd::new(subject.address, clients)?;
    crowd.gather(PATIENCE)?;
    for opened in 0..AUDIENCE as usize {
        // One after the other: the answers of a thousand at once would fill a socket buffer.
        if let Some(peer) = crowd.peers().nth(opened) {
            peer.ask(Instant::now(), open.clone());
        }
        crowd.flush_all();
        let (end, mut answers, mut refusals) = (Instant::now() + PATIENCE, 0, 0);
        while answers + refusals == 0 && Instant::now() < end {
            crowd.turn(&mut |answer| {
                *if answer.ok {
                    &mut answers
                } else {
                    &mut refusals
                } += 1
            });
        }
        anyhow::ensure!(
            refusals == 0 && answers == 1,
            "the topic `bench` cannot be opened"
        );
    }
    Ok(crowd)
}

/// CPU of sending one datagram in a bare fan-out, in nanoseconds.
fn bare_fan_out(size: usize) -> anyhow::Result<f64> {
    let (tell, told) = mpsc::channel::<Vec<SocketAddr>>();
    let (end, ended) = mpsc::channel();
    let received = Arc::new(AtomicU64::new(0));
    let arrived = Arc::clone(&received);
    let sending = Answering::start("bare-fan-out", move |mut batch, _| {
        let bytes = vec![7; size];
        let addresses = told.recv().unwrap_or_default();
        let all: Vec<_> = addresses.iter().map(|to| (*to, &*bytes)).collect();
        let (mut sent, mut spent) = (0, 0);
        for _ in 0..BARE_ROUNDS {
            let before = cpu::own_ns();
            sent += batch.send(&all) as u64;
            spent += cpu::own_ns() - before;
            let patience = Instant::now() + ROUND_MAX;
            while arrived.load(Ordering::Relaxed) < sent && Instant::now() < patience {
                std::thread::sleep(Duration::from_micros(100));
            }
        }
        end.send(spent as f64 / sent.max(1) as f64).ok();
    })?;
    let listeners = (0..AUDIENCE).map(|_| BarePeer::new(size, 0));
    let mut crowd = Crowd::new(sending.address, listeners)?;
    tell.send(crowd.addresses())?;
    loop {
        match ended.try_recv() {
            Ok(cost) => return Ok(cost),
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => bail!("the bare fan-out ended too early"),
        }
        crowd.until(Instant::now() + Duration::from_micros(200), &mut |_| {});
        let sum = crowd.peers().map(|peer| peer.received).sum();
        received.store(sum, Ordering::Relaxed);
    }
}
