//! A server under test: a child process, alone on its core, that says on stderr where it listens.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::Outcome;
use crate::baseline;
use crate::machine::Cores;
use crate::stats::{float, now};

/// How long a server may take until it listens.
const START: Duration = Duration::from_secs(20);
/// The kernel counts a process's time in hundredths of a second, on every architecture.
const TICKS_PER_SECOND: f64 = 100.0;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// The least that does the same work: see [`baseline`](crate::baseline).
    Bare,
    /// The program.
    Pointsman,
}

/// A running one. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    folder: TempDir,
    /// Where clients connect.
    pub(crate) clients: SocketAddr,
    /// Where events are published.
    pub(crate) admin: SocketAddr,
}

impl Server {
    /// Starts it with this configuration, which the bare one has no use for, and waits until it listens.
    pub(crate) fn start(subject: Subject, configuration: &str, cores: Cores) -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        let mut command = match subject {
            Subject::Bare => {
                let mut command = Command::new(std::env::current_exe()?);
                command.arg(baseline::ARGUMENT);
                command
            }
            Subject::Pointsman => {
                let file = folder.path().join("pointsman.yaml");
                fs::write(&file, configuration)?;
                let mut command = Command::new(env!("CARGO_BIN_EXE_pointsman"));
                command.arg("serve").arg("--config").arg(file).args(["--log", "json"]);
                command
            }
        };
        // A file, not a pipe: nobody has to read along while the load generator works.
        let log = File::create(folder.path().join("log"))?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = cores.apart(|| command.spawn())??;
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut server = Self { child, folder, clients: nowhere, admin: nowhere };
        server.wait_until_it_listens()?;
        Ok(server)
    }

    /// Memory that it has in RAM, in bytes.
    pub(crate) fn resident(&self) -> Outcome<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
        Ok(kibibytes.ok_or("the system does not tell the server's memory")?.parse::<u64>()? * 1024)
    }

    /// CPU time that it has used, in seconds.
    pub(crate) fn cpu_seconds(&self) -> Outcome<f64> {
        cpu_seconds(&self.child.id().to_string())
    }

    /// Adds what the server has said last to an error of a benchmark.
    pub(crate) fn explain<T>(&self, outcome: Outcome<T>) -> Outcome<T> {
        outcome.map_err(|error| {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let last = lines[lines.len().saturating_sub(10)..].join("\n  ");
            if last.is_empty() { error } else { format!("{error}; the server's last words:\n  {last}").into() }
        })
    }

    fn wait_until_it_listens(&mut self) -> Outcome<()> {
        let deadline = now() + START;
        loop {
            let log = self.log();
            if let (Some(clients), Some(admin)) = (listening(&log, "clients"), listening(&log, "admin")) {
                (self.clients, self.admin) = (clients, admin);
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                return self.explain(Err(format!("the server ended before it listened, with {status}").into()));
            }
            if now() > deadline {
                return self.explain(Err(format!("the server does not listen after {START:?}").into()));
            }
            thread::park_timeout(Duration::from_millis(5));
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already; there is nothing more to do about it.
        self.child.kill().ok();
        self.child.wait().ok();
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

/// The address that a log line names for this listener. Its fields stand at the top or under `fields`.
fn listening(log: &str, listener: &str) -> Option<SocketAddr> {
    log.lines().find_map(|line| {
        let line: Value = serde_json::from_str(line).ok()?;
        let field = |name: &str| line.get(name).or_else(|| line.get("fields")?.get(name))?.as_str();
        (field("message") == Some("listening") && field("listener") == Some(listener))
            .then(|| field("address"))??
            .parse()
            .ok()
    })
}
