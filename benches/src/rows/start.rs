//! From the start of `cohnect dev` to the first answered EXECUTE, with components that were compiled before.

use std::path::Path;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{PATIENCE, Print, echo};
use crate::load::{Crowd, Peer as _};
use crate::subject::Subject;
use crate::table::Row;

/// The figure is the middle one of so many starts.
const STARTS: usize = 5;

pub(super) fn measure(
    mut folder: TempDir,
    binary: &Path,
    seed: u64,
    print: Print<'_>,
) -> anyhow::Result<()> {
    let mut times = Vec::with_capacity(STARTS);
    for _ in 0..STARTS {
        let (ready, answered, kept) = start(folder, binary, seed)?;
        times.push((answered, ready));
        folder = kept;
    }
    times.sort_unstable();
    let (answered, ready) = times[STARTS / 2];
    print(Row {
        what: "from start to the first answered EXECUTE, artefacts compiled before".into(),
        bare: format!("{} ms until the ready file", ready.as_millis()),
        ours: format!("{} ms", answered.as_millis()),
        ratio: None,
        aim: "< 300 ms",
    });
    Ok(())
}

/// One start: when the ready file was there, when the answer was.
fn start(
    folder: TempDir,
    binary: &Path,
    seed: u64,
) -> anyhow::Result<(Duration, Duration, TempDir)> {
    let began = Instant::now();
    let subject = Subject::start_in(folder, binary, seed)?;
    let client = subject.client(None, Some(echo("echo_wasm")?), 1)?;
    let mut crowd = Crowd::new(subject.address, [client])?;
    crowd.gather(PATIENCE)?;
    crowd.peers().for_each(|peer| peer.start(Instant::now()));
    crowd.flush_all();
    let mut answered = None;
    while answered.is_none() {
        anyhow::ensure!(
            began.elapsed() < PATIENCE,
            "the first EXECUTE was not answered"
        );
        crowd
            .turn(&mut |answer| answered = answered.or_else(|| answer.ok.then(|| began.elapsed())));
    }
    let ready = subject.start;
    let kept = subject.end();
    let kept = kept.ok_or_else(|| anyhow::anyhow!("invariant: we started it in a folder"))?;
    Ok((ready, answered.unwrap_or_default(), kept))
}
