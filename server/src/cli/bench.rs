//! `cohnect bench`: hands its options to the benchmarks and prints what they tell. It measures nothing itself.

use std::process::ExitCode;

use crate::cli::Bench;
use crate::output;

pub(crate) fn bench(bench: &Bench) -> ExitCode {
    let options = cohnect_benches::Options {
        shards: bench.shards,
        clients: bench.clients,
        in_flight: bench.in_flight,
        time: bench.seconds,
        only: bench.only.clone(),
        server: bench.server.clone(),
        seed: bench.seed,
    };
    let measured = std::env::current_exe()
        .map_err(anyhow::Error::from)
        .and_then(|binary| cohnect_benches::run(&options, &binary, &mut |row| output::line(row)));
    match measured {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::note(format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
