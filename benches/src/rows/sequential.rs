//! One client that asks, waits for the answer, and asks again: latency without load.

use super::{Asking, Print, bare_echo, echo, echo_size, refused};
use crate::Options;
use crate::load::Load;
use crate::subject::Subject;
use crate::table::Row;

pub(super) fn measure(
    options: &Options,
    subject: &Subject,
    print: Print<'_>,
) -> anyhow::Result<()> {
    let size = echo_size(subject)?;
    for (what, module) in [("Rust component", "echo_wasm"), ("Luau", "echo_luau")] {
        let asking = Asking {
            question: &echo(module)?,
            clients: 1,
            in_flight: 1,
            shard: None,
        };
        let reference = bare_echo(1, 1, size, options.time)?.load;
        let ours = asking.measure(subject, options.time)?.load;
        print(Row {
            what: format!("EXECUTE echo 32 B, {what}, one client, sequential"),
            bare: shown(&reference),
            ours: format!("{}{}", shown(&ours), refused(&ours)),
            ratio: Some(reference.quantile_us(0.5) / ours.quantile_us(0.5)),
            aim: "p50 ≤ bare + 15 µs",
        });
    }
    Ok(())
}

pub(super) fn shown(load: &Load) -> String {
    format!(
        "p50 {:.1} µs, p99 {:.1} µs",
        load.quantile_us(0.5),
        load.quantile_us(0.99)
    )
}
