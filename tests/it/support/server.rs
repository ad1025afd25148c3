//! The program under test, started as an operator would: a folder with a configuration, and the built binary.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{interval, timeout};

use super::http::{self, Answer};
use super::process::{DEADLINE, Process, Stream};

/// The built program.
pub const POINTSMAN: &str = env!("CARGO_BIN_EXE_pointsman");

/// A running server. Killed when it is dropped.
#[derive(Debug)]
pub struct Server {
    process: Process,
    folder: TempDir,
    /// Where clients connect.
    pub clients: SocketAddr,
    /// The admin listener.
    pub admin: SocketAddr,
}

/// What to start a server with, beyond its configuration.
#[derive(Debug, Default)]
pub struct Setup<'a> {
    /// Files beside the configuration, by name.
    pub files: &'a [(&'a str, &'a str)],
    /// More arguments of `serve`.
    pub arguments: &'a [&'a str],
    /// More variables.
    pub environment: &'a [(&'a str, &'a str)],
    /// A limit of the system, as arguments of the shell's `ulimit`.
    pub ulimit: Option<&'a str>,
}

impl Server {
    /// Starts a server with this configuration. Where it says nothing of `listen` or `admin`, both choose their ports.
    pub async fn start(yaml: &str) -> Self {
        Self::start_with(yaml, &Setup::default()).await
    }

    /// Starts the demo: the shipped configuration, on ports of the system's choice.
    pub async fn demo() -> Self {
        let yaml = include_str!("../../../config/pointsman.yaml")
            .replace("127.0.0.1:8080 ", "127.0.0.1:0 ")
            .replace("127.0.0.1:9090 ", "127.0.0.1:0 ");
        let files = [("demo.sql", include_str!("../../../config/demo.sql"))];
        Self::start_with(&yaml, &Setup { files: &files, ..Setup::default() }).await
    }

    /// Starts a server with this configuration and more.
    pub async fn start_with(yaml: &str, setup: &Setup<'_>) -> Self {
        let folder = folder(yaml, setup);
        let mut command = command(folder.path(), "pointsman.yaml", setup);
        Self::started(&mut command, folder).await
    }

    /// Starts a server with a configuration that stays where it is, in a folder of its own.
    pub async fn start_file(file: &str, environment: &[(&str, &str)], arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = command(folder.path(), file, &Setup { arguments, environment, ..Setup::default() });
        Self::started(&mut command, folder).await
    }

    /// Starts a server in a folder that is there already, with this file of it. It must say where to listen.
    pub async fn start_in(folder: TempDir, file: &str) -> Self {
        let mut command = command(folder.path(), file, &Setup::default());
        Self::started(&mut command, folder).await
    }

    async fn started(command: &mut Command, folder: TempDir) -> Self {
        let process = Process::start("pointsman", command, Stream::Stderr);
        let clients = address(&process, "clients").await;
        let admin = address(&process, "admin").await;
        Self { process, folder, clients, admin }
    }

    /// The folder that it runs in; its configuration is `pointsman.yaml`.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Sends one event, which must be accepted.
    pub async fn publish(&self, event: Value) {
        let answer = self.post("/publish", event.to_string()).await;
        assert_eq!((answer.status, answer.json()["accepted"].as_u64()), (202, Some(1)), "{}", answer.body);
    }

    /// `GET` on the admin listener.
    pub async fn get(&self, path: &str) -> Answer {
        http::request(self.admin, "GET", path, &[], String::new()).await
    }

    /// `POST` on the admin listener.
    pub async fn post(&self, path: &str, body: String) -> Answer {
        http::request(self.admin, "POST", path, &[("content-type", "application/json")], body).await
    }

    /// A counter or gauge, by its name with labels as rendered: `pointsman_drops_total{cause="no_route"}`.
    /// 0 where it is not there yet.
    pub async fn metric(&self, name: &str) -> i64 {
        let answer = self.get("/metrics").await;
        let line = answer.body.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0, |value| value.parse().unwrap_or_else(|_| panic!("{name} is {value}")))
    }

    /// The names of its threads: see [`Process::threads`].
    pub fn threads(&self) -> Vec<String> {
        self.process.threads()
    }

    /// Waits until a counter or gauge has this value.
    pub async fn wait_for_metric(&self, name: &str, expected: i64) {
        // Nothing tells of a metric but asking again.
        let mut ticks = interval(Duration::from_millis(5));
        let is = async {
            while self.metric(name).await != expected {
                ticks.tick().await;
            }
        };
        let is = timeout(DEADLINE, is).await;
        assert!(is.is_ok(), "{name} is {}, and not {expected}, in time", self.metric(name).await);
    }

    /// How many descriptors it has open.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.process.pid())).unwrap().count()
    }

    /// Sets its soft limit on descriptors, while it runs. Returns the former one. A limit of 0 keeps it from opening any.
    pub fn limit_descriptors(&self, soft: u64) -> u64 {
        // Only root may raise the hard limit, so it stays.
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", self.process.pid())).unwrap();
        let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("a limit");
        let maximum = line.split_whitespace().nth(4).and_then(|number| number.parse().ok());
        let limit = Rlimit { current: Some(soft), maximum };
        prlimit(Pid::from_raw(self.process.pid()), Resource::Nofile, limit).unwrap().current.expect("a soft limit")
    }

    /// The most memory it has ever held (resident), in bytes.
    pub fn peak_memory(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
    }

    /// The log so far; a line that is no JSON is a string.
    pub fn log(&self) -> Vec<Value> {
        self.process.lines().iter().map(|line| entry(line)).collect()
    }

    /// Waits for a line of the log.
    pub async fn wait_for_log(&self, what: &str, mut is_it: impl FnMut(&Value) -> bool) -> Value {
        self.process.wait_for(what, |lines| lines.iter().map(|line| entry(line)).find(&mut is_it)).await
    }

    /// As [`wait_for_log`](Self::wait_for_log), after the first lines. Answers also how many lines there are up to it.
    pub async fn wait_for_log_from(
        &self,
        first: usize,
        what: &str,
        mut is_it: impl FnMut(&Value) -> bool,
    ) -> (usize, Value) {
        let read = |lines: &[String]| {
            let entries = lines.iter().enumerate().skip(first).map(|(index, line)| (index + 1, entry(line)));
            entries.into_iter().find(|(_, entry)| is_it(entry))
        };
        self.process.wait_for(what, read).await
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Waits for its end. Answers its exit code.
    pub async fn exit_code(&self) -> Option<i32> {
        self.process.ended().await.code()
    }

    /// Asks it to leave, and waits for that. Answers its exit code.
    pub async fn terminate(&self) -> Option<i32> {
        self.signal(Signal::TERM);
        self.exit_code().await
    }
}

/// A folder with this configuration as `pointsman.yaml`.
fn folder(yaml: &str, setup: &Setup<'_>) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let says = |key: &str| yaml.lines().any(|line| line.starts_with(key));
    let mut text = String::new();
    if !says("listen:") {
        text.push_str("listen: 127.0.0.1:0\n");
    }
    if !says("admin:") {
        text.push_str("admin: { listen: 127.0.0.1:0 }\n");
    }
    text.push_str(yaml);
    for (name, content) in [("pointsman.yaml", text.as_str())].iter().chain(setup.files) {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    folder
}

fn command(folder: &Path, file: &str, setup: &Setup<'_>) -> Command {
    let mut command = match setup.ulimit {
        None => Command::new(POINTSMAN),
        Some(limit) => {
            let mut shell = Command::new("sh");
            shell.args(["-c", &format!("ulimit {limit} && exec \"$@\""), "sh", POINTSMAN]);
            shell
        }
    };
    command.current_dir(folder).args(["serve", "--config", file, "--log", "json"]).args(setup.arguments);
    command.env_remove("POINTSMAN_LOG").env_remove("POINTSMAN_ADMIN_KEY").envs(setup.environment.iter().copied());
    command
}

async fn address(process: &Process, listener: &str) -> SocketAddr {
    process
        .wait_for(&format!("where its listener for {listener} is"), |lines| {
            let entries = lines.iter().map(|line| entry(line));
            let mut own = entries.filter(|entry| entry["message"] == "listening" && entry["listener"] == listener);
            own.find_map(|entry| entry["address"].as_str()?.parse().ok())
        })
        .await
}

fn entry(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|_| Value::String(line.to_owned()))
}
