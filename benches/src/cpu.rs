//! How much CPU threads have used and how much memory a process holds, as Linux tells it.

use std::path::Path;

/// CPU of all threads of a process whose name the filter takes, in nanoseconds.
#[must_use]
pub(crate) fn of_threads(pid: u32, wanted: impl Fn(&str) -> bool) -> u64 {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return 0 };
    tasks
        .filter_map(Result::ok)
        .filter(|task| std::fs::read_to_string(task.path().join("comm")).is_ok_and(|name| wanted(name.trim())))
        .map(|task| of_task(&task.path()))
        .sum()
}

/// CPU of one thread of this process, by its number, in nanoseconds.
#[must_use]
pub(crate) fn of_thread(tid: i32) -> u64 {
    of_task(Path::new(&format!("/proc/self/task/{tid}")))
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
    std::fs::read_to_string(format!("/proc/{pid}/status"))
        .ok()
        .and_then(|text| text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

/// The processor's name.
#[must_use]
pub(crate) fn model() -> String {
    std::fs::read_to_string("/proc/cpuinfo")
        .ok()
        .and_then(|text| text.lines().find(|line| line.starts_with("model name"))?.split(':').nth(1).map(|name| name.trim().to_owned()))
        .unwrap_or_else(|| "unknown processor".into())
}
