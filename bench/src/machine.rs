//! What the figures were measured on, and the operating system's own accounting.

use std::collections::BTreeMap;
use std::fs;

use rustix::time::{ClockId, clock_gettime};

/// Clock ticks of `/proc/<pid>/stat` a second: fixed by Linux's interface to programs.
const USER_HZ: f64 = 100.0;

/// How many numbers [`memory_latency_ns`] walks through: 64 MiB, more than caches hold.
const WALKED: usize = 1 << 24;

/// One line: processor, cores, memory and how far away it is, kernel.
///
/// A database's work is mostly reads of memory, and on a shared machine their price changes by several times
/// while the load average and the price of arithmetic stay: figures say little without it.
pub(crate) fn describe() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| {
            line.strip_prefix("model name")?.split_once(':').map(|(_, name)| name.trim().to_owned())
        })
        .unwrap_or_else(|| "unknown processor".to_owned());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let gib = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse::<f64>().ok())
        .unwrap_or(0.0)
        / 1024.0
        / 1024.0;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "{model}, {cores} cores, {gib:.0} GiB at {:.0} ns, Linux {}, load {:.1} at start",
        memory_latency_ns(),
        kernel.trim(),
        load()
    )
}

/// Nanoseconds of processor for a read of memory that no cache holds and that the next one depends on.
fn memory_latency_ns() -> f64 {
    const STEPS: u32 = 1_000_000;
    // x → 1664525 x + 12345 modulo a power of two visits every number once before it begins anew.
    let increments = std::hint::black_box(vec![12_345_u32; WALKED]);
    let mut at = 0_u32;
    let start = thread_cpu_seconds();
    for _ in 0..STEPS {
        let increment = increments.get(at as usize % WALKED).copied().unwrap_or_default();
        at = at.wrapping_mul(1_664_525).wrapping_add(increment);
    }
    std::hint::black_box(at);
    (thread_cpu_seconds() - start) * 1e9 / f64::from(STEPS)
}

/// Processes that want to run, mean of the last minute.
pub(crate) fn load() -> f64 {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split_whitespace().next().and_then(|text| text.parse().ok()).unwrap_or(0.0)
}

/// Processor seconds (user and system) of a process, all threads.
pub(crate) fn cpu_seconds(pid: u32) -> f64 {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return 0.0 };
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / USER_HZ
}

/// Processor seconds of this process, all threads.
pub(crate) fn own_cpu_seconds() -> f64 {
    seconds(ClockId::ProcessCPUTime)
}

/// Processor seconds of the calling thread.
pub(crate) fn thread_cpu_seconds() -> f64 {
    seconds(ClockId::ThreadCPUTime)
}

fn seconds(clock: ClockId) -> f64 {
    let time = clock_gettime(clock);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Processor seconds of this process's living threads, by their names without numbers.
pub(crate) fn cpu_by_stage() -> BTreeMap<String, f64> {
    let mut stages = BTreeMap::new();
    let Ok(tasks) = fs::read_dir("/proc/self/task") else { return stages };
    for task in tasks.flatten() {
        let read = |name: &str| fs::read_to_string(task.path().join(name)).unwrap_or_default();
        let stage = read("comm")
            .trim()
            .trim_end_matches(|last: char| last.is_ascii_digit() || last == '-')
            .to_owned();
        let nanos = read("schedstat").split_whitespace().next().and_then(|text| text.parse::<f64>().ok());
        *stages.entry(stage).or_insert(0.0) += nanos.unwrap_or(0.0) / 1e9;
    }
    stages
}

/// Resident memory of a process, MiB.
pub(crate) fn resident_mib(pid: u32) -> f64 {
    status_mib(pid, "VmRSS:")
}

/// Most resident memory of a process since [`forget_peak`], MiB.
pub(crate) fn peak_mib(pid: u32) -> f64 {
    status_mib(pid, "VmHWM:")
}

/// Starts a new measurement of this process's [`peak_mib`].
pub(crate) fn forget_peak() {
    // Where that is not allowed, the peak includes what was made before: a larger figure, never a smaller.
    let _ = fs::write("/proc/self/clear_refs", "5");
}

/// The same for another process.
pub(crate) fn forget_peak_of(pid: u32) {
    let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
}

fn status_mib(pid: u32, field: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix(field)?.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok())
        .unwrap_or(0.0)
        / 1024.0
}
