//! Real parts end with the tests, however these end: a small process of its own waits for the end of a pipe.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Pid, Signal, geteuid, kill_process};

/// A temporary folder, a process that runs in it, and who cleans up after both.
///
/// The process's id stands in `pid` in the folder. When the pipe closes, because this is dropped or because the tests
/// are gone, even by SIGKILL, the process is killed and the folder removed.
#[derive(Debug)]
pub(crate) struct Keeper {
    folder: PathBuf,
    watcher: Child,
    /// Taken when it is dropped: that closes the pipe.
    pipe: Option<ChildStdin>,
}

/// `$1` is the folder, `$2` a command that runs beside the process.
const SCRIPT: &str = r#"
sh -c "exec $2" & beside=$!
cat > /dev/null
kill -KILL "$beside"
kill -KILL "$(cat "$1/pid")"
until rm -rf "$1"; do sleep 0.1; done
"#;

impl Keeper {
    /// Makes a folder, and runs `beside` for as long as this lives.
    pub(crate) fn new(beside: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("pointsman-test-").tempdir().unwrap().keep();
        let mut keeper = Command::new("sh");
        keeper.args(["-c", SCRIPT, "keeper"]).arg(&folder).arg(beside);
        // A group of its own: an interrupt from the keyboard ends the tests and must not end this.
        std::os::unix::process::CommandExt::process_group(&mut keeper, 0);
        let mut watcher = keeper.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let pipe = watcher.stdin.take();
        Self { folder, watcher, pipe }
    }

    /// The folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// A command that writes its process's id to the folder before it becomes `program`. Its group is its own.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", r#"echo $$ > pid; exec "$@""#, "kept", program]).current_dir(&self.folder);
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command.stdin(Stdio::null());
        command
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.pipe.take());
        self.watcher.wait().unwrap();
    }
}

/// Sends a signal to a child.
pub(crate) fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_child(child);
    kill_process(pid, signal).unwrap();
}

/// A port that nobody listens at.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Starts a server, and returns when a line of what it writes to its error stream holds `mark`.
pub(crate) fn awaited(name: &str, command: &mut Command, mark: &'static str) -> Child {
    let mut server = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let output = BufReader::new(server.stderr.take().unwrap());
    let (up, is_up) = mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let mut said = Vec::new();
        // Read to its end, so that the server never waits for it.
        for line in output.lines().map_while(Result::ok) {
            let is_it = line.contains(mark);
            said.push(line);
            if is_it {
                up.try_send(Ok(())).ok();
            }
        }
        up.try_send(Err(said)).ok();
    });
    let is_up = is_up.recv_timeout(Duration::from_mins(1));
    match is_up.unwrap_or_else(|error| panic!("{name} does not start within a minute: {error}")) {
        Ok(()) => server,
        Err(said) => panic!("{name} ended, and said:\n{}", said.join("\n")),
    }
}

/// Whom a server runs as that refuses to run as root: an account of its own, or whoever runs the tests.
#[derive(Debug)]
pub(crate) enum Account {
    Mine,
    Other { name: &'static str, user: u32, group: u32 },
}

impl Account {
    /// This account, where the tests are root's.
    pub(crate) fn named(name: &'static str) -> Self {
        if !geteuid().is_root() {
            return Self::Mine;
        }
        let id = |what: &str| {
            let said = Command::new("id").args([what, name]).output().unwrap().stdout;
            String::from_utf8(said).unwrap().trim().parse().unwrap_or_else(|_| panic!("there is no account {name}"))
        };
        Self::Other { name, user: id("-u"), group: id("-g") }
    }

    /// Gives it a file or folder.
    pub(crate) fn own(&self, path: &Path) {
        if let Self::Other { user, group, .. } = self {
            chown(path, Some(*user), Some(*group)).unwrap();
        }
    }

    /// A command that runs as it.
    pub(crate) fn command(&self, program: &Path) -> Command {
        self.become_it(program, |first| Command::new(first))
    }

    /// As [`Keeper::command`], as it.
    pub(crate) fn kept(&self, keeper: &Keeper, program: &Path) -> Command {
        self.become_it(program, |first| keeper.command(first))
    }

    fn become_it(&self, program: &Path, command: impl FnOnce(&str) -> Command) -> Command {
        let program = program.to_str().expect("a path of text");
        match self {
            Self::Mine => command(program),
            Self::Other { name, .. } => {
                let mut command = command("setpriv");
                command.args(["--reuid", name, "--regid", name, "--clear-groups", "--", program]);
                command
            }
        }
    }
}
