//! A server under test: a child process, alone on its core, that says on stderr where it listens.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::Outcome;
use crate::baseline;
use crate::machine::Cores;
use crate::process::Running;
use crate::stats::now;

/// How long a server may take until it listens.
const START: Duration = Duration::from_secs(20);

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
    pub(crate) process: Running,
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
        let mut server = Self { process: Running::new(child), folder, clients: nowhere, admin: nowhere };
        let addresses = |log: &str| Some((listening(log, "clients")?, listening(log, "admin")?));
        (server.clients, server.admin) = server.wait_until("listens", addresses)?;
        Ok(server)
    }

    /// Waits until it consumes what the broker has.
    pub(crate) fn wait_until_it_consumes(&mut self) -> Outcome<()> {
        self.wait_until("consumes", |log| log.contains(r#""connected to the broker""#).then_some(()))
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

    fn wait_until<T>(&mut self, what: &str, find: impl Fn(&str) -> Option<T>) -> Outcome<T> {
        let deadline = now() + START;
        loop {
            if let Some(found) = find(&self.log()) {
                return Ok(found);
            }
            if let Some(status) = self.process.ended()? {
                return self.explain(Err(format!("the server ended before it {what}, with {status}").into()));
            }
            if now() > deadline {
                return self.explain(Err(format!("{START:?} have gone before the server {what}").into()));
            }
            thread::park_timeout(Duration::from_millis(5));
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
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
