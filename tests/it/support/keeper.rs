//! Real parts end with the tests, however these end: a small process of its own waits for the end of a pipe.

use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

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
