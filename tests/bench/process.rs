//! A child process that is measured, and what it costs.

use std::fs;
use std::process::{Child, ExitStatus};

use rustix::process::{Pid, Signal, kill_process};

use crate::Outcome;
use crate::stats::float;

/// The kernel counts a process's time in hundredths of a second, on every architecture.
pub(crate) const TICKS_PER_SECOND: f64 = 100.0;

/// A running one. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Running(Child);

impl Running {
    pub(crate) fn new(child: Child) -> Self {
        Self(child)
    }

    /// Memory that it has in RAM, in bytes.
    pub(crate) fn resident(&self) -> Outcome<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
        Ok(kibibytes.ok_or("the system does not tell a process's memory")?.parse::<u64>()? * 1024)
    }

    /// CPU time that it has used, in seconds.
    pub(crate) fn cpu_seconds(&self) -> Outcome<f64> {
        cpu_seconds(&self.0.id().to_string())
    }

    /// Holds it up, so that what is sent to it waits.
    pub(crate) fn pause(&self) -> Outcome<()> {
        Ok(kill_process(Pid::from_child(&self.0), Signal::STOP)?)
    }

    /// Lets it go on.
    pub(crate) fn resume(&self) -> Outcome<()> {
        Ok(kill_process(Pid::from_child(&self.0), Signal::CONT)?)
    }

    /// How it ended, where it has.
    pub(crate) fn ended(&mut self) -> Outcome<Option<ExitStatus>> {
        Ok(self.0.try_wait()?)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already; there is nothing more to do about it.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// CPU time that this process itself has used, in seconds.
pub(crate) fn own_cpu_seconds() -> Outcome<f64> {
    cpu_seconds("self")
}

fn cpu_seconds(process: &str) -> Outcome<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The second field is a name in brackets, which may hold anything; user and system time are the 14th and 15th.
    let (_, fields) = stat.rsplit_once(") ").ok_or("the system does not tell a process's CPU time")?;
    let ticks = fields.split(' ').skip(11).take(2).map(str::parse::<u64>).sum::<Result<u64, _>>()?;
    Ok(float(ticks) / TICKS_PER_SECOND)
}
