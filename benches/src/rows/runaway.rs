//! An innocent module beside one that is called into an endless loop, on the same shard.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::sequential::shown;
use super::{Asking, PATIENCE, Print, echo, execute, refused};
use crate::Options;
use crate::load::{Crowd, Peer as _};
use crate::subject::Subject;
use crate::table::Row;

pub(super) fn measure(
    options: &Options,
    subject: &Subject,
    print: Print<'_>,
) -> anyhow::Result<()> {
    let asking = Asking {
        question: &echo("echo_wasm")?,
        clients: 1,
        in_flight: 1,
        shard: None,
    };
    let alone = asking.measure(subject, options.time)?.load;
    let ended = AtomicBool::new(false);
    let (beside, offender) = std::thread::scope(|threads| {
        let offending = threads.spawn(|| call_for_ever(subject, &ended));
        let beside = asking.measure(subject, options.time);
        ended.store(true, Ordering::Relaxed);
        (beside, offending.join())
    });
    let calls = offender.map_err(|_| anyhow::anyhow!("whoever called the runaway panicked"))??;
    let beside = beside?.load;
    print(Row {
        what: format!("an innocent module beside an endless loop ({calls} calls into it)"),
        bare: format!("{} alone", shown(&alone)),
        ours: format!(
            "{}, max {:.1} ms{}",
            shown(&beside),
            beside.longest_gap.as_secs_f64() * 1_000.0,
            refused(&beside)
        ),
        ratio: None,
        aim: "p99 ≤ 2 × its own (later)",
    });
    Ok(())
}

/// Calls into the loop again and again, as soon as the last call was refused; how many there were.
fn call_for_ever(subject: &Subject, ended: &AtomicBool) -> anyhow::Result<u64> {
    let spin = execute("runaway", "spin", b"")?;
    let mut crowd = Crowd::new(subject.address, [subject.client(None, Some(spin), 1)?])?;
    crowd.gather(PATIENCE)?;
    crowd.peers().for_each(|peer| peer.start(Instant::now()));
    crowd.flush_all();
    let mut calls = 0;
    while !ended.load(Ordering::Relaxed) {
        crowd.until(Instant::now() + Duration::from_millis(5), &mut |_| {
            calls += 1
        });
    }
    Ok(calls)
}
