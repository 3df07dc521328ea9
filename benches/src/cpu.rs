//! How much CPU threads have used and how much memory a process holds, as Linux tells it.

use std::path::Path;

use nix::time::{ClockId, clock_gettime};

/// CPU of all threads of a process, in nanoseconds: every thread counts, the tick's and the workers', too.
#[must_use]
pub(crate) fn of_process(pid: u32) -> u64 {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else {
        return 0;
    };
    tasks
        .filter_map(Result::ok)
        .map(|task| of_task(&task.path()))
        .sum()
}

/// CPU of one other thread of this process, by its number, in nanoseconds.
#[must_use]
pub(crate) fn of_thread(tid: i32) -> u64 {
    of_task(Path::new(&format!("/proc/self/task/{tid}")))
}

/// CPU of the calling thread in nanoseconds.
#[must_use]
pub(crate) fn own_ns() -> u64 {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(0, |time| {
        let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
        seconds * 1_000_000_000 + u64::try_from(time.tv_nsec()).unwrap_or(0)
    })
}

fn of_task(task: &Path) -> u64 {
    // The first number of schedstat is the time on a processor, in nanoseconds.
    std::fs::read_to_string(task.join("schedstat"))
        .ok()
        .and_then(|text| text.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

/// Resident memory of a process in KiB.
#[must_use]
pub(crate) fn resident_kib(pid: u32) -> u64 {
    field(&format!("/proc/{pid}/status"), "VmRSS:")
        .and_then(|value| value.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

/// The processor's name.
#[must_use]
pub(crate) fn model() -> String {
    field("/proc/cpuinfo", "model name").map_or_else(
        || "unknown processor".into(),
        |name| name.trim_start_matches([' ', '\t', ':']).to_owned(),
    )
}

/// The operating system and its version.
#[must_use]
pub(crate) fn system() -> String {
    nix::sys::utsname::uname().map_or_else(
        |_| "unknown system".into(),
        |name| {
            format!(
                "{} {}",
                name.sysname().to_string_lossy(),
                name.release().to_string_lossy()
            )
        },
    )
}

/// What follows `key` on its first line of a file of `/proc`.
fn field(file: &str, key: &str) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    text.lines()
        .find_map(|line| line.strip_prefix(key))
        .map(|value| value.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_computes_has_used_cpu_and_memory() {
        let before = own_ns();
        let mut sum = 0_u64;
        while own_ns() - before < 2_000_000 {
            sum = sum.wrapping_mul(31).wrapping_add(own_ns());
        }
        assert!(of_process(std::process::id()) >= 2_000_000, "{sum}");
        assert!(of_thread(nix::unistd::gettid().as_raw()) > 0);
        assert!(resident_kib(std::process::id()) > 100);
    }
}
