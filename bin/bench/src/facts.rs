//! What the kernel tells of a process and of the machine.

use std::fs;

use nix::sys::resource::{Resource, getrlimit};

use crate::Trouble;

/// The proportional set size of a process, in KiB: its own memory, and its share of what it has in common with others.
pub fn pss_kib(pid: u32) -> Result<f64, Trouble> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).map_err(|error| Trouble::new(format!("{path}: {error}")))?;
    number_after(&text, "Pss:").ok_or_else(|| Trouble::new(format!("{path} says no Pss")))
}

/// How often the threads of a process were put on or taken off a processor, by their own will or not.
pub fn switches(pid: u32) -> Result<u64, Trouble> {
    let mut all = 0.0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(thread?.path().join("status"))?;
        for key in ["voluntary_ctxt_switches:", "nonvoluntary_ctxt_switches:"] {
            all += number_after(&text, key).unwrap_or(0.0);
        }
    }
    Ok(all as u64)
}

fn number_after(text: &str, key: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.split_whitespace().next()?.parse().ok())
}

/// The machine in a line: processors, memory, kernel, and how busy it was.
pub fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = fs::read_to_string("/proc/meminfo").ok().and_then(|text| number_after(&text, "MemTotal:"));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let memory = memory.map_or_else(|| "?".into(), |kib| format!("{:.1}", kib / 1_048_576.0));
    let load = load.split_whitespace().next().unwrap_or("?").to_owned();
    format!("{cores} processors, {memory} GiB, Linux {}, load {load} at the start", kernel.trim())
}

/// Whether more ran in the last minute than a bench that begins can be blamed for.
pub fn is_busy() -> bool {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().and_then(|load| load.parse::<f64>().ok()).is_some_and(|load| load > 1.0)
}

/// How many workers this user may have: descriptors (three a worker where output is logged) and processes are limited.
pub fn workers_at_most() -> u32 {
    let descriptors = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(_, hard)| hard);
    let by_descriptors = descriptors.saturating_sub(100) / 3;
    // Root is not held to the limit of processes.
    let processes = match getrlimit(Resource::RLIMIT_NPROC) {
        Ok((soft, _)) if !nix::unistd::geteuid().is_root() => soft.saturating_sub(own_tasks() + 50),
        _ => u64::MAX,
    };
    u32::try_from(by_descriptors.min(processes)).unwrap_or(u32::MAX)
}

/// About how many processes and threads this user has.
fn own_tasks() -> u64 {
    use std::os::unix::fs::MetadataExt;
    let me = nix::unistd::geteuid().as_raw();
    let Ok(processes) = fs::read_dir("/proc") else { return 0 };
    let mine = processes
        .filter_map(Result::ok)
        .filter(|entry| entry.metadata().is_ok_and(|found| found.uid() == me));
    mine.filter_map(|entry| Some(fs::read_dir(entry.path().join("task")).ok()?.count() as u64)).sum()
}
