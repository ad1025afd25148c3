//! What the server holds: memory, threads, descriptors, connections.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::{Instant, interval};

use crate::support::http;
use crate::support::process::Process;

/// A server may hold so much more memory than before.
const MEMORY: f64 = 1.3;
/// Figures are the least of so many looks: what is given back soon is not held.
const LOOKS: usize = 10;
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What it holds at one time.
#[derive(Clone, Debug)]
pub(crate) struct Vitals {
    /// Bytes in RAM.
    pub(crate) resident: u64,
    /// By name.
    pub(crate) threads: Vec<String>,
    /// Open descriptors, but for the connections to the database and the endpoint for tokens: a pool holds as many of
    /// those as it needed.
    pub(crate) descriptors: usize,
    /// By the metrics.
    pub(crate) gauges: Vec<(&'static str, i64)>,
}

/// What must come back, beside what the system counts.
const GAUGES: [&str; 5] = [
    "pointsman_connections",
    "pointsman_sessions",
    "pointsman_subscriptions",
    "pointsman_outbox_messages",
    "pointsman_broker_connected",
];

impl Vitals {
    /// Those of now. `pooled` is where the connections lead that do not count.
    pub(crate) async fn take(process: &Process, admin: SocketAddr, pooled: &[SocketAddr]) -> Self {
        let mut looks = interval(LOOK_EVERY);
        let (mut resident, mut open) = (u64::MAX, usize::MAX);
        for _ in 0..LOOKS {
            looks.tick().await;
            resident = resident.min(resident_of(process.pid()));
            open = open.min(descriptors(process.pid(), pooled));
        }
        let mut gauges = Vec::new();
        for name in GAUGES {
            gauges.push((name, metric(admin, name).await));
        }
        Self { resident, threads: process.threads(), descriptors: open, gauges }
    }

    /// What is not as it was.
    pub(crate) fn compare(&self, now: &Self) -> Vec<String> {
        let mut wrong = Vec::new();
        #[expect(clippy::cast_precision_loss, reason = "far less than 2^53 bytes")]
        let grown = now.resident as f64 / self.resident as f64;
        if grown > MEMORY {
            wrong.push(format!("memory is {grown:.2} × what it was, and may be {MEMORY} ×"));
        }
        if now.threads != self.threads {
            wrong.push(format!("threads were {:?} and are {:?}", self.threads, now.threads));
        }
        if now.descriptors != self.descriptors {
            wrong.push(format!("{} descriptors were open and {} are", self.descriptors, now.descriptors));
        }
        for ((name, before), (_, now)) in self.gauges.iter().zip(&now.gauges) {
            if before != now {
                wrong.push(format!("{name} was {before} and is {now}"));
            }
        }
        wrong
    }
}

/// A counter or gauge, the sum of all its series; 0 where it is not there.
pub(crate) async fn metric(admin: SocketAddr, name: &str) -> i64 {
    let answer = http::request(admin, "GET", "/metrics", &[], String::new()).await;
    let value = |line: &str| {
        let rest = line.strip_prefix(name).filter(|rest| rest.starts_with([' ', '{']))?;
        rest.rsplit(' ').next()?.parse::<i64>().ok()
    };
    answer.body.lines().filter_map(value).sum()
}

/// Waits until a gauge has this value; answers whether it came to that in time.
pub(crate) async fn comes_to(admin: SocketAddr, name: &str, expected: i64, patience: Duration) -> bool {
    let (begun, mut ask) = (Instant::now(), interval(LOOK_EVERY));
    while begun.elapsed() < patience {
        ask.tick().await;
        if metric(admin, name).await == expected {
            return true;
        }
    }
    false
}

fn resident_of(process: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
    kibibytes.and_then(|kibibytes| kibibytes.parse::<u64>().ok()).unwrap_or_default() * 1024
}

fn descriptors(process: i32, pooled: &[SocketAddr]) -> usize {
    // `local remote state ... inode` by columns; addresses are `0100007F:PORT`, in hexadecimal digits.
    let table = fs::read_to_string(format!("/proc/{process}/net/tcp")).unwrap_or_default();
    let leads_there = |remote: &str| {
        let port = remote.rsplit(':').next().and_then(|port| u16::from_str_radix(port, 16).ok());
        pooled.iter().any(|address| Some(address.port()) == port)
    };
    let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let ours: BTreeSet<String> =
        rows.filter(|row| row.len() > 9 && leads_there(row[2])).map(|row| format!("socket:[{}]", row[9])).collect();
    let open = fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten();
    let targets = open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    targets.filter(|target| !ours.contains(target.to_string_lossy().as_ref())).count()
}
