//! Saving a module again and again under load: nobody may be refused, and the gap between answers stays short.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::{PATIENCE, Print, WARM_UP, echo, execute, refused};
use crate::Options;
use crate::load::Crowd;
use crate::subject::{ECHO_LUAU, Subject};
use crate::table::Row;

/// A save that is not live by then never will be.
const LIVE_MAX: Duration = Duration::from_secs(5);
/// Between two saves.
const PAUSE: Duration = Duration::from_millis(20);

pub(super) fn measure(
    options: &Options,
    subject: &Subject,
    print: Print<'_>,
) -> anyhow::Result<()> {
    let Some(modules) = subject.modules() else {
        return Ok(());
    };
    let question = echo("echo_luau")?;
    let clients = (0..options.clients)
        .map(|_| subject.client(None, Some(question.clone()), 2))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let mut crowd = Crowd::new(subject.address, clients)?;
    crowd.gather(PATIENCE)?;
    let calm = crowd.run(WARM_UP, options.time, || {});
    let ended = AtomicBool::new(false);
    let (load, saved) = std::thread::scope(|threads| {
        let saving = threads.spawn(|| save_again_and_again(subject, &modules, &ended));
        let load = crowd.run(Duration::ZERO, options.time, || {});
        ended.store(true, Ordering::Relaxed);
        (load, saving.join())
    });
    let mut live = saved.map_err(|_| anyhow::anyhow!("whoever saved panicked"))??;
    live.sort_unstable();
    let ms = |time: Duration| time.as_secs_f64() * 1_000.0;
    print(Row {
        what: format!(
            "{} swaps under load, longest gap between answers",
            live.len()
        ),
        bare: format!("{:.2} ms without a swap", ms(calm.longest_gap)),
        ours: format!(
            "{:.2} ms, {} answered{}",
            ms(load.longest_gap),
            load.operations,
            refused(&load)
        ),
        ratio: None,
        aim: "< 5 ms (later), 0 refused",
    });
    let median = live.get(live.len() / 2).copied().unwrap_or_default();
    print(Row {
        what: "from saving a Luau module to its first answer, under load".into(),
        bare: String::new(),
        ours: format!(
            "p50 {:.0} ms, max {:.0} ms",
            ms(median),
            ms(live.last().copied().unwrap_or_default())
        ),
        ratio: None,
        aim: "< 100 ms (later)",
    });
    Ok(())
}

/// How long each save took until a client met its code.
fn save_again_and_again(
    subject: &Subject,
    modules: &Path,
    ended: &AtomicBool,
) -> anyhow::Result<Vec<Duration>> {
    let mut crowd = Crowd::new(subject.address, [subject.client(None, None, 0)?])?;
    crowd.gather(PATIENCE)?;
    let version = execute("echo_luau", "version", b"")?;
    let mut live = Vec::new();
    while !ended.load(Ordering::Relaxed) {
        let number = (live.len() + 1).to_string();
        let began = Instant::now();
        save(modules, &number)?;
        loop {
            let peer = crowd.peers().next().context("invariant: one client")?;
            if peer.latest == number.as_bytes() {
                break;
            }
            anyhow::ensure!(
                began.elapsed() < LIVE_MAX,
                "save {number} was not live after {LIVE_MAX:?}"
            );
            peer.ask(Instant::now(), version.clone());
            crowd.flush_all();
            let (mut answers, patience) = (0, Instant::now() + Duration::from_millis(100));
            while answers == 0 && Instant::now() < patience {
                crowd.turn(&mut |_| answers += 1);
            }
        }
        live.push(began.elapsed());
        crowd.until(Instant::now() + PAUSE, &mut |_| {});
    }
    // The rows that follow meet the code that the first ones met.
    save(modules, "0")?;
    Ok(live)
}

/// Writes the module beside its place and renames it, as an editor does.
fn save(modules: &Path, version: &str) -> anyhow::Result<()> {
    let code = ECHO_LUAU.replace("VERSION = \"0\"", &format!("VERSION = \"{version}\""));
    let temporary = modules.join(".echo_luau.new");
    std::fs::write(&temporary, code)?;
    std::fs::rename(&temporary, modules.join("echo_luau.luau"))?;
    Ok(())
}
