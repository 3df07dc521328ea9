//! A call into a warm copy of a module, in process: as a home makes it, without the sessions around it. Beside it a native call through the same trait that
//! does the same with the host, so that what is left is the price of the guest language.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use bytes::Bytes;
use cohnect_capabilities::{Caller, Client, ClientId};
use cohnect_guest_luau::Luau;
use cohnect_guest_wasm::Wasm;
use cohnect_host::context::Context;
use cohnect_host::deadline::Ticker;
use cohnect_host::export::{Export, Outcome, Request, Returned};
use cohnect_host::function::HostFunction;
use cohnect_host::replica::{Language, Replica, Source};
use cohnect_host::seeded::Seeded;
use cohnect_host::testing::World;

use crate::cpu;
use crate::subject::{ECHO_LUAU, ECHO_WASM};
use crate::table::Row;

/// In and out.
const INPUT: [u8; 64] = [7; 64];
/// Who calls.
const CALLER: ClientId = ClientId { hi: 1, lo: 2 };
/// Calls of one batch; the figure is the middle batch, so that neither a tick nor another process decides it.
const BATCH: u32 = 2_000;

/// One row for each action and language.
pub(crate) fn measure(time: Duration, print: &mut dyn FnMut(Row)) -> anyhow::Result<()> {
    let ticking = Ticking::start()?;
    let ticker = &ticking.ticker;
    let world = World::new();
    let wasm = Wasm::new(ticker, None)?;
    let luau = Luau::new(ticker.clone());
    let mut native: Box<dyn Replica> = Box::new(Native {
        context: context(&world),
    });
    let mut component = replica(&wasm, "echo.wasm", ECHO_WASM, &world)?;
    let mut script = replica(&luau, "echo.luau", ECHO_LUAU.as_bytes(), &world)?;
    // The tick goes on as it does while a shard is busy.
    let _running = ticker.running();
    for (action, what, aims) in [
        ("echo", "no host call", ["", ""]),
        ("stamp", "one host call", ["≤ 250 ns", "≤ 150 ns"]),
    ] {
        let export = execute(action);
        let reference = median_ns(&mut *native, &export, &world, time / 4)?;
        let guests = [("Rust component", &mut component), ("Luau", &mut script)];
        for ((language, replica), aim) in guests.into_iter().zip(aims) {
            let ours = median_ns(&mut **replica, &export, &world, time / 4)?;
            print(Row {
                what: format!("call of a warm replica, 64 B in, {what}, 64 B out, {language}"),
                bare: format!("{reference:.0} ns CPU (native, by `dyn`)"),
                ours: format!("{ours:.0} ns CPU"),
                ratio: Some(reference / ours),
                aim,
            });
        }
    }
    Ok(())
}

/// The tick, in a thread of its own as in a server.
struct Ticking {
    ticker: Ticker,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Ticking {
    fn start() -> anyhow::Result<Self> {
        let ticker = Ticker::default();
        let own = ticker.clone();
        let thread = std::thread::Builder::new()
            .name("bench-tick".into())
            .spawn(move || own.run(std::thread::sleep))?;
        Ok(Self {
            ticker,
            thread: Some(thread),
        })
    }
}

impl Drop for Ticking {
    fn drop(&mut self) {
        self.ticker.stop();
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// What the guests are compared with: the same host call, the same bytes out, no guest.
struct Native {
    context: Context,
}

impl Replica for Native {
    fn context(&mut self) -> &mut Context {
        &mut self.context
    }

    fn call(&mut self, export: &Export) -> Outcome {
        let Export::Execute(request) = export else {
            return Ok(Returned::Nothing);
        };
        if &*request.name == "stamp" {
            let entered = self.context.enter(HostFunction::ClockNow);
            std::hint::black_box(entered.map(|entered| entered.clock_now()).ok());
        }
        let answer = Bytes::copy_from_slice(&request.input);
        Ok(Returned::Answer(Ok(answer)))
    }
}

fn context(world: &Arc<World>) -> Context {
    Context::new(
        world.charter("echo", false),
        Box::new(Seeded::new(&[7; 32], 0)),
    )
}

/// A copy of a module as a shard makes it.
fn replica(
    language: &dyn Language,
    file: &str,
    code: &'static [u8],
    world: &Arc<World>,
) -> anyhow::Result<Box<dyn Replica>> {
    let source = Source {
        name: "echo".into(),
        entry: file.into(),
        code: Bytes::from_static(code),
        folder: None,
        files: std::collections::BTreeMap::new(),
        memory_bytes: language.memory_mib() as usize * 1024 * 1024,
    };
    let prepared = language.prepare(&source, world.probe("echo"))?;
    Ok(prepared.replica(context(world))?)
}

fn execute(action: &str) -> Export {
    Export::Execute(Request {
        id: 1,
        name: action.into(),
        caller: Caller::Client(Client {
            id: CALLER,
            user: None,
            tags: Arc::default(),
        }),
        received_at: 1,
        input: Bytes::from_static(&INPUT),
    })
}

/// One call as a home makes it: armed before, its outbox taken after.
fn call(replica: &mut dyn Replica, export: &Export, world: &World) -> anyhow::Result<Bytes> {
    replica.context().arm(world.arming(false));
    let outcome = replica.call(export);
    let context = replica.context();
    let outbox = context.take_outbox();
    context.recycle(outbox);
    match outcome {
        Ok(Returned::Answer(Ok(answer))) => Ok(answer),
        Ok(other) => bail!("the echo returned {other:?}"),
        Err(fault) => Err(anyhow!(fault).context("the echo failed")),
    }
}

/// CPU of one call in the middle batch, in nanoseconds.
fn median_ns(
    replica: &mut dyn Replica,
    export: &Export,
    world: &World,
    time: Duration,
) -> anyhow::Result<f64> {
    let mut batches = Vec::new();
    let end = Instant::now() + time;
    while batches.is_empty() || Instant::now() < end {
        let before = cpu::own_ns();
        for _ in 0..BATCH {
            let answer = call(replica, export, world)?;
            anyhow::ensure!(answer == INPUT[..], "the echo is none: {answer:?}");
        }
        batches.push(cpu::own_ns() - before);
    }
    // The first batch warms up.
    let warm = batches
        .get_mut(1..)
        .context("invariant: one batch at least")?;
    warm.sort_unstable();
    let middle = warm.get(warm.len() / 2).copied().unwrap_or(batches[0]);
    Ok(middle as f64 / f64::from(BATCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the bench relies on, whatever the module is built from.
    fn check(language: &dyn Language, file: &str, code: &'static [u8]) {
        let world = World::new();
        let mut replica = replica(language, file, code, &world).unwrap();
        for action in ["echo", "stamp"] {
            let answer = call(&mut *replica, &execute(action), &world).unwrap();
            assert_eq!(answer, INPUT[..], "{action}");
        }
        assert!(call(&mut *replica, &execute("unknown"), &world).is_err());
    }

    #[test]
    fn the_script_does_what_the_bench_needs() {
        check(
            &Luau::new(Ticker::default()),
            "echo.luau",
            ECHO_LUAU.as_bytes(),
        );
    }

    #[test]
    fn the_component_does_what_the_bench_needs() {
        let wasm = Wasm::new(&Ticker::default(), None).unwrap();
        check(&wasm, "echo.wasm", ECHO_WASM);
    }

    #[test]
    fn a_native_call_does_what_the_guests_do() {
        let world = World::new();
        let mut native = Native {
            context: context(&world),
        };
        let measured = median_ns(&mut native, &execute("stamp"), &world, Duration::ZERO).unwrap();
        assert!(measured > 0.0);
    }
}
