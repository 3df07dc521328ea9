//! Ten thousand sessions: what a handshake costs, and what a session holds.

use std::time::{Duration, Instant};

use super::{PATIENCE, Print};
use crate::load::Crowd;
use crate::subject::Subject;
use crate::table::{Row, thousands};

/// Sessions of the row.
const SESSIONS: u32 = 10_000;
/// Clients that exist at the same time: a socket is needed only while its session is made, the session stays.
const GROUP: usize = 500;
/// Until what the last clients of a group said is handled.
const SETTLE: Duration = Duration::from_millis(50);

pub(super) fn measure(subject: &Subject, idle_kib: u64, print: Print<'_>) -> anyhow::Result<()> {
    let mut clients = (0..SESSIONS)
        .map(|_| subject.client(None, None, 0))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let (held, used) = (subject.resident_kib(), subject.cpu_ns());
    let mut elapsed = Duration::ZERO;
    while !clients.is_empty() {
        let group = clients.split_off(clients.len().saturating_sub(GROUP));
        let began = Instant::now();
        let mut crowd = Crowd::new(subject.address, group)?;
        crowd.gather(PATIENCE)?;
        elapsed += began.elapsed();
        crowd.until(Instant::now() + SETTLE, &mut |_| {});
    }
    let sessions = f64::from(SESSIONS);
    let cpu_us = subject.cpu_ns().saturating_sub(used) as f64 / 1_000.0 / sessions;
    let grown = subject.resident_kib().saturating_sub(held) as f64;
    print(Row {
        what: "a handshake".into(),
        bare: "about 33 µs for each X25519 product".into(),
        ours: format!(
            "{cpu_us:.0} µs CPU ({}/s a core), {}/s with the clients on this machine",
            thousands(1_000_000.0 / cpu_us),
            thousands(sessions / elapsed.as_secs_f64())
        ),
        ratio: None,
        aim: "≥ 6 k/s a core (later)",
    });
    print(Row {
        what: format!("resident memory, idle and for {SESSIONS} sessions"),
        bare: String::new(),
        ours: format!(
            "{:.1} MiB, {:.1} MiB ({:.1} KiB each)",
            idle_kib as f64 / 1024.0,
            grown / 1024.0,
            grown / sessions
        ),
        ratio: None,
        aim: "≤ 4 KiB each (later)",
    });
    Ok(())
}
