//! `cohnect check`: loads and links every module without serving, and says what each needs, claims and costs.

use std::process::ExitCode;
use std::sync::Arc;

use cohnect_host::custodian::check::check as look;
use cohnect_host::escaped::Escaped;
use cohnect_host::load::{self, Scan};
use cohnect_host::mail::Layout;
use cohnect_net::Clock;
use serde_json::json;

use crate::assemble::{Surroundings, assemble, steering};
use crate::cli::Check;
use crate::cli::exit::code_of;
use crate::cli::run::configuration_of;
use crate::output;

/// Checks a folder.
pub(crate) fn check(check: &Check) -> ExitCode {
    match examine(check) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            output::note(Escaped(format!("{e:#}")).to_string());
            code_of(&e)
        }
    }
}

fn examine(check: &Check) -> anyhow::Result<bool> {
    let mut config = configuration_of(&check.dir)?;
    for missing in config.check_secrets(&check.dir.join("cohnect.toml")) {
        output::note(format!("{missing}; modules find this secret absent"));
    }
    // A look leaves nothing behind.
    let scratch = tempfile::tempdir()?;
    config.server.data_dir = scratch.path().to_owned();
    config.database.clear();
    let shards = u16::try_from(config.server.shards.unwrap_or(1))?;
    let workers = u16::try_from(config.server.workers.unwrap_or(1))?;
    let surroundings = Surroundings {
        clock: Arc::new(Clock::new()),
        steering: steering(&config),
        wakers: Vec::new(),
    };
    let parts = assemble(&config, Layout { shards, workers }, surroundings)?;
    let ticker = parts.ticker.clone();
    let scan = load::scan(
        &config.server.modules_dir,
        &parts.custodian.languages,
        &Scan::default(),
    )?;
    let checked = std::thread::scope(|threads| {
        threads.spawn(|| ticker.run(std::thread::sleep));
        let _stop = ticker.stop_when_dropped();
        look(&parts.custodian, &scan)
    });
    if check.json {
        let modules: serde_json::Map<_, _> = checked
            .modules
            .iter()
            .map(|(name, outcome)| {
                let value = match outcome {
                    Ok(lines) => json!({ "well": true, "says": lines }),
                    Err(problem) => json!({ "well": false, "problem": problem }),
                };
                (name.to_string(), value)
            })
            .collect();
        output::line(json!({ "modules": modules, "hops": checked.hops }).to_string());
    } else {
        output::raw(checked.to_string().as_bytes());
    }
    Ok(checked.is_well())
}
