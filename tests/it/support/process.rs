//! A program that a test starts, and the lines that it writes.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::watch;
use tokio::time::timeout;

/// How long a test waits for a fact before it fails. Long, since machines that run tests are busy.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Which stream's lines are kept. The other one of them goes to the test's own output.
#[derive(Clone, Copy, Debug)]
pub enum Stream {
    Stdout,
    Stderr,
}

/// A running program. Killed when it is dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    pid: Pid,
    lines: watch::Receiver<Vec<String>>,
    status: watch::Receiver<Option<ExitStatus>>,
}

impl Process {
    /// Starts a program that has nothing to read.
    pub fn start(name: &str, command: &mut Command, stream: Stream) -> Self {
        Self::spawn(name, command.stdin(Stdio::null()), stream).0
    }

    /// Starts a program, and answers what it reads from.
    pub fn start_fed(name: &str, command: &mut Command, stream: Stream) -> (Self, ChildStdin) {
        let (process, input) = Self::spawn(name, command.stdin(Stdio::piped()), stream);
        (process, input.expect("piped"))
    }

    fn spawn(name: &str, command: &mut Command, stream: Stream) -> (Self, Option<ChildStdin>) {
        match stream {
            Stream::Stdout => command.stdout(Stdio::piped()),
            Stream::Stderr => command.stdout(Stdio::null()).stderr(Stdio::piped()),
        };
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        let pid = Pid::from_child(&child);
        let input = child.stdin.take();
        let (said, lines) = watch::channel(Vec::new());
        let (ended, status) = watch::channel(None);
        let read = thread::spawn({
            let output = output(&mut child, stream);
            move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    said.send_modify(|lines: &mut Vec<String>| lines.push(line));
                }
            }
        });
        thread::spawn(move || {
            // Its last lines are there before its status is.
            read.join().expect("reads to the end");
            ended.send(child.wait().ok()).ok();
        });
        (Self { name: name.to_owned(), pid, lines, status }, input)
    }

    /// The names of its threads, in order. Those that resolve names for an event loop do not count: they end by
    /// themselves when idle.
    pub fn threads(&self) -> Vec<String> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid.as_raw_nonzero()));
        let tasks = tasks.unwrap_or_else(|error| panic!("{} cannot be looked into: {error}", self.name));
        let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
        let names = names.map(|name| name.trim().to_owned()).filter(|name| name != "tokio-rt-worker");
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    /// Its number.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// All lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines.borrow().clone()
    }

    /// Waits until what the lines say, all of them together, answers something.
    pub async fn wait_for<T>(&self, what: &str, mut find: impl FnMut(&[String]) -> Option<T>) -> T {
        let mut lines = self.lines.clone();
        let found = timeout(DEADLINE, async {
            loop {
                if let Some(found) = find(&lines.borrow_and_update()) {
                    return Some(found);
                }
                if lines.changed().await.is_err() {
                    // What came before it ended counts.
                    return find(&lines.borrow());
                }
            }
        });
        match found.await {
            Ok(Some(found)) => found,
            Ok(None) => panic!("{} ended without {what}. It said:\n{}", self.name, self.lines().join("\n")),
            Err(_) => panic!("{} has not said {what} in time, but:\n{}", self.name, self.lines().join("\n")),
        }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid, signal).unwrap_or_else(|error| panic!("cannot signal {}: {error}", self.name));
    }

    /// Waits for its end.
    pub async fn ended(&self) -> ExitStatus {
        let mut status = self.status.clone();
        let ended = timeout(DEADLINE, status.wait_for(Option::is_some)).await;
        match ended {
            Ok(Ok(status)) => status.expect("waited for"),
            Ok(Err(_)) => panic!("{} cannot be waited for", self.name),
            Err(_) => panic!("{} has not ended in time. It said:\n{}", self.name, self.lines().join("\n")),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Not after its end, when the number may be another's.
        if self.status.borrow().is_none() {
            kill_process(self.pid, Signal::KILL).ok();
        }
    }
}

fn output(child: &mut Child, stream: Stream) -> Box<dyn Read + Send> {
    match stream {
        Stream::Stdout => Box::new(child.stdout.take().expect("piped")),
        Stream::Stderr => Box::new(child.stderr.take().expect("piped")),
    }
}
