//! What one call of a warm replica costs: 64 bytes in, one host call, 64 bytes out, beside a packet, a refusal and a tick. The host's fakes stand behind the
//! contract, so what is measured is this crate. `cargo bench -p cohnect-guest-luau`.
#![allow(clippy::print_stdout, reason = "a bench prints what it measured")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use cohnect_capabilities::{Caller, Client, ClientId, Delivery, Payload};
use cohnect_guest_luau::Luau;
use cohnect_host::context::Context;
use cohnect_host::deadline::Ticker;
use cohnect_host::export::{Export, Packet, Request, Tick};
use cohnect_host::replica::{Language, Replica, Source};
use cohnect_host::seeded::Seeded;
use cohnect_host::testing::World;

const CODE: &str = r#"
local clock = require("@cohnect/clock")
local errors = require("@cohnect/errors")
local n = 0
return {
    action = {
        echo = function(request) local _ = clock.now() return request.input end,
        bare = function(request) return request.input end,
        client = function(request) local _ = request.client.id return request.input end,
        refuse = function() return nil, "denied" end,
        raise = function() errors.raise("denied") end,
    },
    pipeline = { [0x0101] = function(packet) n += #packet.payload return "drop" end },
    ticker = { hz = 20, on_tick = function(tick) n += tick.step end },
}"#;

/// Calls of one batch, and batches; the fastest batch counts, since a busy machine only ever adds.
const CALLS: u32 = 20_000;
const BATCHES: u32 = 40;

fn main() {
    let world = World::new();
    let luau = Luau::new(Ticker::default());
    let source = Source {
        name: "echo".into(),
        entry: PathBuf::from("echo.luau"),
        code: Payload::from_static(CODE.as_bytes()),
        folder: None,
        files: BTreeMap::new(),
        memory_bytes: 16 * 1024 * 1024,
    };
    let context = || {
        Context::new(
            world.charter("echo", false),
            Box::new(Seeded::new(&[7; 32], 0)),
        )
    };
    let prepared = luau.prepare(&source, context()).expect("it loads");
    let started = Instant::now();
    let mut replica = prepared.replica(context()).expect("it is made");
    println!(
        "{:<10} {:>8.1} µs",
        "replica",
        started.elapsed().as_nanos() as f64 / 1e3
    );
    let sender = Client {
        id: ClientId { hi: 1, lo: 2 },
        ..Client::default()
    };
    for action in ["echo", "bare", "client", "refuse", "raise"] {
        let export = Export::Execute(Request {
            id: 1,
            name: action.into(),
            caller: Caller::Client(sender.clone()),
            received_at: 1_700_000_000_000_000,
            input: Payload::from_static(&[b'x'; 64]),
        });
        measure(action, &mut *replica, &world, &export);
    }
    let packet = Export::Handle(Packet {
        sender,
        opcode: 0x0101,
        version: 0,
        delivery: Delivery::UnreliableSequenced,
        channel: 0,
        wants_reply: false,
        received_at: 1_700_000_000_000_000,
        payload: Payload::from_static(&[b'x'; 64]),
    });
    measure("packet", &mut *replica, &world, &packet);
    measure(
        "tick",
        &mut *replica,
        &world,
        &Export::Tick(Tick {
            step: 50_000,
            ..Tick::default()
        }),
    );
}

fn measure(name: &str, replica: &mut dyn Replica, world: &World, export: &Export) {
    let mut fastest = f64::INFINITY;
    for _ in 0..BATCHES {
        let started = Instant::now();
        for _ in 0..CALLS {
            replica.context().arm(world.arming(false));
            let outcome = replica.call(export);
            assert!(outcome.is_ok(), "{outcome:?}");
        }
        fastest = fastest.min(started.elapsed().as_nanos() as f64 / f64::from(CALLS));
    }
    println!("{name:<10} {fastest:>8.1} ns");
}
