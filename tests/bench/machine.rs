//! The machine that the figures are from: its cores, its name, and what else it did meanwhile.

use std::fs;
use std::thread::available_parallelism;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::Outcome;
use crate::process::TICKS_PER_SECOND;
use crate::stats::float;

/// Shares of the machine's time, given to other machines and used by other processes, from which on a report says so.
const STOLEN: f64 = 0.01;
const OTHERS: f64 = 0.03;

/// Which core has which part, where there are two at least.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cores(Option<Pair>);

#[derive(Clone, Copy, Debug)]
struct Pair {
    server: usize,
    load: usize,
}

/// Chooses the first and the last core that this process may use.
pub(crate) fn cores() -> Outcome<Cores> {
    let allowed = sched_getaffinity(None)?;
    let mut cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
    let pair = cores.next().zip(cores.next_back());
    Ok(Cores(pair.map(|(server, load)| Pair { server, load })))
}

impl Cores {
    /// Does something that starts processes: those run on the server's core, this thread on the load's.
    ///
    /// A process inherits the affinity of the thread that starts it, so there is no moment at which it runs elsewhere.
    pub(crate) fn apart<T>(self, start: impl FnOnce() -> T) -> Outcome<T> {
        let Some(Pair { server, load }) = self.0 else { return Ok(start()) };
        pin(server)?;
        let started = start();
        pin(load)?;
        Ok(started)
    }

    /// From now on this thread, and whatever it starts, runs on the load's core.
    pub(crate) fn beside(self) -> Outcome<()> {
        self.0.map_or(Ok(()), |Pair { load, .. }| pin(load))
    }

    /// Seconds for which the load's core has been at work since the machine started. Nothing where there is one core.
    pub(crate) fn load_core_seconds(self) -> Option<f64> {
        let stat = fs::read_to_string("/proc/stat").ok()?;
        let name = format!("cpu{} ", self.0?.load);
        let [user, nice, system, _idle, _waiting, irq, softirq] =
            *numbers(stat.lines().find_map(|line| line.strip_prefix(&name))?.split(' ')).first_chunk()?;
        Some(float(user + nice + system + irq + softirq) / TICKS_PER_SECOND)
    }
}

fn pin(core: usize) -> Outcome<()> {
    let mut set = CpuSet::new();
    set.set(core);
    Ok(sched_setaffinity(None, &set)?)
}

/// Allows as many open files as the system lets this process and its children have.
pub(crate) fn raise_descriptor_limit() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Where it fails, the benchmark that needs more says so by itself.
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).ok();
}

/// One line for the head of a report.
pub(crate) fn describe(cores: Cores) -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let kernel = read("/proc/sys/kernel/osrelease");
    let processor = read("/proc/cpuinfo");
    let processor = processor.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let processor = processor.map_or("unknown processor", |(_, name)| name);
    let count = available_parallelism().map_or(1, usize::from);
    let pinned = match cores.0 {
        Some(Pair { server, load }) => format!("server on core {server}, load generator on core {load}"),
        None => "server and load generator share the one core, so that no figure is worth much".to_owned(),
    };
    let load = read("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or("unknown");
    format!(
        "Machine: {count} × {processor}, Linux {}; {pinned}; loopback, no TLS; load average at the start {load}.",
        kernel.trim_end()
    )
}

/// What else the machine did since this was made.
#[derive(Debug)]
pub(crate) struct Disturbance(Option<Ticks>);

/// Time of all cores, in ticks.
#[derive(Clone, Copy, Debug)]
struct Ticks {
    all: u64,
    /// Given to other machines on the same host.
    stolen: u64,
    /// Used by processes that are neither this one nor its descendants.
    others: u64,
}

impl Disturbance {
    pub(crate) fn watch() -> Self {
        Self(ticks())
    }

    /// A remark, where it was much.
    pub(crate) fn note(&self) -> Option<String> {
        let (before, now) = (self.0?, ticks()?);
        let all = float((now.all - before.all).max(1));
        let share = |before, now: u64| float(now.saturating_sub(before)) / all;
        let (stolen, others) = (share(before.stolen, now.stolen), share(before.others, now.others));
        (stolen >= STOLEN || others >= OTHERS).then(|| {
            let (stolen, others) = (stolen * 100.0, others * 100.0);
            format!(
                "Noisy: other processes used {others:.1} % of this machine's time, and its host gave {stolen:.1} % away."
            )
        })
    }
}

/// Since the machine started.
fn ticks() -> Option<Ticks> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    let fields: Vec<u64> = numbers(text.lines().next()?.split_whitespace().skip(1));
    // What follows the eighth is counted in the first already.
    let [user, nice, system, idle, waiting, irq, softirq, stolen] = *fields.first_chunk()?;
    let own = family()?;
    let busy = user + nice + system + irq + softirq;
    Some(Ticks { all: busy + idle + waiting + stolen, stolen, others: busy.saturating_sub(own) })
}

/// What this process, its descendants, and those of its descendants that have ended have used, in ticks.
fn family() -> Option<u64> {
    let processes: Vec<[u64; 3]> = fs::read_dir("/proc").ok()?.filter_map(|entry| process(&entry.ok()?)).collect();
    let mut members = vec![u64::from(std::process::id())];
    let mut at = 0;
    while let Some(member) = members.get(at).copied() {
        members.extend(processes.iter().filter(|[_, parent, _]| *parent == member).map(|[id, ..]| id));
        at += 1;
    }
    Some(processes.iter().filter(|[id, ..]| members.contains(id)).map(|[.., ticks]| ticks).sum())
}

/// Its id, its parent's, and the time of itself and of its children that have ended.
fn process(entry: &fs::DirEntry) -> Option<[u64; 3]> {
    let id = entry.file_name().to_str()?.parse().ok()?;
    let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
    // After the name in brackets: the state, the parent; user and system time, of both kinds, from the 12th on.
    let fields = stat.rsplit_once(") ")?.1;
    let parent = fields.split(' ').nth(1)?.parse().ok()?;
    Some([id, parent, numbers(fields.split(' ').skip(11).take(4)).iter().sum()])
}

fn numbers<'a>(words: impl Iterator<Item = &'a str>) -> Vec<u64> {
    words.map_while(|word| word.parse().ok()).collect()
}
