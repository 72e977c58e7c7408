//! What this machine has and how busy it is, read from the kernel.

use std::path::Path;

use serde::Serialize;

/// Processors, memory and disk at one moment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct HostFacts {
    pub(crate) cores: u64,
    /// 1, 5 and 15 minutes.
    pub(crate) load: [f64; 3],
    /// MHz.
    pub(crate) frequency: Frequency,
    pub(crate) memory_total: u64,
    pub(crate) memory_available: u64,
    pub(crate) disk_total: u64,
    pub(crate) disk_available: u64,
    pub(crate) architecture: &'static str,
    pub(crate) vendor: String,
    pub(crate) model: String,
}

/// Slowest and fastest clock, MHz. Never missing: hosts without frequency scaling show the current one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Frequency {
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl HostFacts {
    /// Reads the facts; `disk` names a folder on the file system that holds volumes. Blocks for about a
    /// millisecond.
    pub(crate) fn read(disk: &Path) -> Self {
        let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let (memory_total, memory_available) = memory_of(&text("/proc/meminfo"));
        let processor = Processor::of(&text("/proc/cpuinfo"));
        let megahertz = |name: &str| {
            let path = format!("/sys/devices/system/cpu/cpu0/cpufreq/{name}");
            text(&path).trim().parse::<f64>().ok().map(|kilohertz| kilohertz / 1000.0)
        };
        let frequency = Frequency {
            min: megahertz("cpuinfo_min_freq").unwrap_or(processor.megahertz),
            max: megahertz("cpuinfo_max_freq").unwrap_or(processor.megahertz),
        };
        let (disk_total, disk_available) = match rustix::fs::statvfs(disk) {
            Ok(stat) => (stat.f_blocks * stat.f_frsize, stat.f_bavail * stat.f_frsize),
            Err(_) => (0, 0),
        };
        Self {
            cores: std::thread::available_parallelism().map_or(1, |n| n.get() as u64),
            load: load_of(&text("/proc/loadavg")),
            frequency,
            memory_total,
            memory_available,
            disk_total,
            disk_available,
            architecture: match std::env::consts::ARCH {
                "aarch64" => "arm64",
                other => other,
            },
            vendor: processor.vendor,
            model: processor.model,
        }
    }
}

/// `MemTotal` and `MemAvailable` in bytes.
fn memory_of(meminfo: &str) -> (u64, u64) {
    let value = |key: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(key))?;
        let kibibytes: u64 = line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().ok()?;
        Some(kibibytes * 1024)
    };
    (value("MemTotal").unwrap_or(0), value("MemAvailable").unwrap_or(0))
}

fn load_of(loadavg: &str) -> [f64; 3] {
    let mut load = [0.0; 3];
    for (slot, word) in load.iter_mut().zip(loadavg.split_whitespace()) {
        *slot = word.parse().unwrap_or(0.0);
    }
    load
}

struct Processor {
    vendor: String,
    model: String,
    megahertz: f64,
}

impl Processor {
    fn of(cpuinfo: &str) -> Self {
        let value = |key: &str| {
            let line = cpuinfo.lines().find(|line| line.starts_with(key))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        Self {
            vendor: value("vendor_id").unwrap_or_else(|| "unknown".to_owned()),
            model: value("model name").unwrap_or_else(|| "unknown".to_owned()),
            megahertz: value("cpu MHz").and_then(|text| text.parse().ok()).unwrap_or(0.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_files() {
        assert_eq!(memory_of("MemTotal:       16 kB\nMemFree: 1 kB\nMemAvailable:    4 kB\n"), (16384, 4096));
        assert_eq!(memory_of(""), (0, 0));
        assert_eq!(load_of("1.20 1.00 0.90 1/100 5\n"), [1.2, 1.0, 0.9]);
        let processor = Processor::of("vendor_id\t: GenuineIntel\nmodel name\t: X\ncpu MHz\t\t: 2600.0\n");
        assert_eq!((processor.vendor.as_str(), processor.megahertz), ("GenuineIntel", 2600.0));
    }

    #[test]
    fn this_machine() {
        let facts = HostFacts::read(Path::new("/"));
        assert!(facts.cores > 0 && facts.memory_total > 0 && facts.disk_total > 0, "{facts:?}");
    }
}
