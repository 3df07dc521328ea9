//! What `cohnect bench` runs: a whole server in a process of its own under a generator that also drives the bare references. Every figure stands beside its
//! reference, taken in the same run, since absolute figures hold for one machine and ratios travel. How to read them is in `README.md`.
#![forbid(unsafe_code)]

mod answering;
mod bare;
mod calls;
mod cpu;
mod load;
mod peers;
mod rows;
mod seed;
mod subject;
mod table;
mod wire;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use rows::ROWS;

/// What to measure.
#[derive(Clone, Debug)]
pub struct Options {
    /// Shards of the server.
    pub shards: u16,
    /// Clients of the loaded rows.
    pub clients: u32,
    /// Requests that each has under way; none for a row with 2 and a row with 16.
    pub in_flight: Option<u32>,
    /// How long each row is measured.
    pub time: Duration,
    /// Only these groups of [`ROWS`]; empty for all.
    pub only: Vec<String>,
    /// The ready file of a server that runs already.
    pub server: Option<PathBuf>,
    /// What the clients' keys are drawn from; none draws a fresh one.
    pub seed: Option<u64>,
}

/// Measures and prints, row by row. `binary` is the server's.
///
/// # Errors
/// When a server cannot be started or reached; what was measured so far has been printed.
pub fn run(options: &Options, binary: &Path, print: &mut dyn FnMut(&str)) -> anyhow::Result<()> {
    raise_file_limit();
    let seed = options.seed.map_or_else(seed::fresh, Ok)?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    print(&format!(
        "cohnect {} · {cores} × {} · {} · {} shard(s) · seed {seed} · {:.1} s a row",
        env!("CARGO_PKG_VERSION"),
        cpu::model(),
        cpu::system(),
        options.shards,
        options.time.as_secs_f64(),
    ));
    if cfg!(debug_assertions) {
        print("This is not a release build: the figures say little.");
    }
    print("");
    print(table::HEAD);
    rows::measure(options, seed, binary, &mut |row| print(&row.line()))
}

/// The rows with many clients need a socket each.
fn raise_file_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // Where it cannot be raised, the rows that need it say so.
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).ok();
    }
}
