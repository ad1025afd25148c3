//! The process, by the names that all programs use: read from the system for each scrape.

use std::fmt;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

/// Ticks of a second in `/proc`: the same on every Linux, whatever its kernel counts by.
const TICKS: f64 = 100.0;

/// Reads them.
#[derive(Debug)]
struct Process;

pub(super) fn registry() -> Registry {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Process));
    registry
}

impl Collector for Process {
    /// What the system does not say is left out.
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let (status, stat, limits) = (read("/proc/self/status"), read("/proc/self/stat"), read("/proc/self/limits"));
        if let Some(seconds) = cpu_seconds(&stat) {
            let help = "Processor time that the process has used.";
            let metric = encoder.encode_descriptor("process_cpu", help, Some(&Unit::Seconds), MetricType::Counter)?;
            ConstCounter::new(seconds).encode(metric)?;
        }
        let start = start_seconds(&stat, &read("/proc/stat"));
        let seconds = [("process_start_time", "When the process began, since 1970.", start)];
        for (name, help, value) in seconds {
            let Some(value) = value else { continue };
            ConstGauge::new(value).encode(encoder.encode_descriptor(
                name,
                help,
                Some(&Unit::Seconds),
                MetricType::Gauge,
            )?)?;
        }
        let bytes = [
            ("process_resident_memory", "Memory of the process that is in use.", kilobytes(&status, "VmRSS")),
            ("process_virtual_memory", "Memory of the process that has an address.", kilobytes(&status, "VmSize")),
        ];
        for (name, help, value) in bytes {
            let Some(value) = value else { continue };
            let metric = encoder.encode_descriptor(name, help, Some(&Unit::Bytes), MetricType::Gauge)?;
            ConstGauge::new(value).encode(metric)?;
        }
        let counts = [
            ("process_open_fds", "Descriptors that the process has open.", open_descriptors()),
            ("process_max_fds", "Descriptors that it may have open.", soft_limit(&limits, "Max open files")),
            ("process_threads", "Threads of the process.", field(&status, "Threads").and_then(|n| n.parse().ok())),
        ];
        for (name, help, value) in counts {
            let Some(value) = value else { continue };
            ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
        }
        Ok(())
    }
}

/// How many descriptors are open. Newer kernels say it as the folder's size; else they are counted.
fn open_descriptors() -> Option<u64> {
    let folder = "/proc/self/fd";
    match fs::metadata(folder).ok()?.len() {
        0 => u64::try_from(fs::read_dir(folder).ok()?.count()).ok(),
        open => Some(open),
    }
}

/// A line of `/proc/self/status`.
fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

fn kilobytes(status: &str, name: &str) -> Option<u64> {
    Some(field(status, name)?.strip_suffix(" kB")?.trim().parse::<u64>().ok()? * 1024)
}

fn soft_limit(limits: &str, name: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// A field of `/proc/self/stat` by its number in the manual. The second one, a name in brackets, may hold anything.
fn ticks(stat: &str, number: usize) -> Option<f64> {
    stat[stat.rfind(')')? + 1..].split_whitespace().nth(number - 3)?.parse().ok()
}

fn cpu_seconds(stat: &str) -> Option<f64> {
    Some((ticks(stat, 14)? + ticks(stat, 15)?) / TICKS)
}

fn start_seconds(stat: &str, system: &str) -> Option<f64> {
    let boot: f64 = system.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(boot + ticks(stat, 22)? / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str =
        "41 (a) b (c) R 1 41 41 0 -1 4194304 99 0 0 0 1250 50 0 0 20 0 9 0 3000 1 2 18446744073709551615";

    #[test]
    fn what_the_system_says_is_read() {
        let status = "Name:\tpointsman\nVmSize:\t  2048 kB\nVmRSS:\t   12 kB\nThreads:\t9\n";
        assert_eq!((kilobytes(status, "VmRSS"), kilobytes(status, "VmSize")), (Some(12 << 10), Some(2 << 20)));
        assert_eq!(field(status, "Threads"), Some("9"));
        let limits =
            "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024                 4096  files\n";
        assert_eq!(soft_limit(limits, "Max open files"), Some(1024));
        assert_eq!(cpu_seconds(STAT), Some(13.0));
        assert_eq!(start_seconds(STAT, "cpu 1 2\nbtime 1000\n"), Some(1030.0));
    }

    #[test]
    fn what_it_does_not_say_is_left_out() {
        assert_eq!((kilobytes("", "VmRSS"), cpu_seconds(""), cpu_seconds("1 (a)")), (None, None, None));
        assert_eq!(soft_limit("Max open files  unlimited  unlimited  files", "Max open files"), None);
    }
}
