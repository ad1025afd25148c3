//! A server under test: a child process, alone on its core, that says on stderr where it listens.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::net::{SocketAddr, TcpStream};
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

/// What a server says, from some time on.
#[derive(Debug)]
pub(crate) struct Tail {
    file: File,
    text: String,
}

impl Server {
    /// Starts it with this configuration, which the bare one has no use for, and waits until it listens.
    pub(crate) fn start(subject: Subject, configuration: &str, cores: Cores) -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        let command = match subject {
            Subject::Bare => {
                let mut command = Command::new(std::env::current_exe()?);
                command.arg(baseline::ARGUMENT);
                command
            }
            Subject::Pointsman => {
                fs::write(folder.path().join("pointsman.yaml"), configuration)?;
                pointsman(&folder, "pointsman.yaml")
            }
        };
        Self::started(command, folder, cores)
    }

    /// Starts the program in a folder that is there already, with this file of it, and waits until it listens.
    pub(crate) fn start_in(folder: TempDir, file: &str, cores: Cores) -> Outcome<Self> {
        Self::started(pointsman(&folder, file), folder, cores)
    }

    fn started(mut command: Command, folder: TempDir, cores: Cores) -> Outcome<Self> {
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

    /// What it says from now on.
    pub(crate) fn tail(&self) -> Outcome<Tail> {
        let mut file = File::open(self.folder.path().join("log"))?;
        file.seek(SeekFrom::End(0))?;
        Ok(Tail { file, text: String::new() })
    }

    /// Asks its admin listener, and answers the body, which must be JSON, of an answer that is not about a fault.
    pub(crate) fn ask(admin: SocketAddr, method: &str, path: &str) -> Outcome<Value> {
        let mut stream = TcpStream::connect(admin)?;
        let head =
            format!("{method} {path} HTTP/1.1\r\nHost: {admin}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or("no answer")?;
        if !head.starts_with("HTTP/1.1 200 ") {
            return Err(format!("{method} {path}: {answer}").into());
        }
        Ok(serde_json::from_str(body)?)
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

impl Tail {
    /// Waits until a rulebook of this generation is in force. Nothing is asked of the server for that.
    pub(crate) fn wait_for_generation(&mut self, generation: u64) -> Outcome<()> {
        self.wait_for_rulebook(|line| field(line, "generation").and_then(Value::as_u64) >= Some(generation))
    }

    /// Waits until a change of this file is in force.
    pub(crate) fn wait_for_change(&mut self, file: &str) -> Outcome<()> {
        self.wait_for_rulebook(|line| field(line, "changed").is_some_and(|changed| changed.to_string().contains(file)))
    }

    fn wait_for_rulebook(&mut self, is_it: impl Fn(&Value) -> bool) -> Outcome<()> {
        let deadline = now() + START;
        loop {
            self.file.read_to_string(&mut self.text)?;
            while let Some((line, rest)) = self.text.split_once('\n') {
                let line: Value = serde_json::from_str(line)?;
                self.text = rest.to_owned();
                if field(&line, "message").is_some_and(|message| message == "rulebook in force") && is_it(&line) {
                    return Ok(());
                }
            }
            if now() > deadline {
                return Err(format!("a change did not come into force within {START:?}").into());
            }
            thread::park_timeout(Duration::from_millis(1));
        }
    }
}

fn pointsman(folder: &TempDir, file: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pointsman"));
    command.arg("serve").arg("--config").arg(folder.path().join(file)).args(["--log", "json"]);
    command
}

/// A field of a log line: they stand at the top or under `fields`.
fn field<'l>(line: &'l Value, name: &str) -> Option<&'l Value> {
    line.get(name).or_else(|| line.get("fields")?.get(name))
}

/// The address that a log line names for this listener.
fn listening(log: &str, listener: &str) -> Option<SocketAddr> {
    log.lines().find_map(|line| {
        let line: Value = serde_json::from_str(line).ok()?;
        let text = |name: &str| field(&line, name)?.as_str();
        (text("message") == Some("listening") && text("listener") == Some(listener))
            .then(|| text("address"))??
            .parse()
            .ok()
    })
}
