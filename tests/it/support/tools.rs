//! What nobody here wrote: Python, Node, Chromium, PHP, Prometheus. `tests/run` installs them.
//!
//! A script is a file beside the tests of these clients, or one at an absolute path.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::process::{Process, Stream};

/// Python, with `websockets` and `pika`.
pub fn python(script: &str, arguments: &[&str]) -> Process {
    Process::start(script, python_command(script).args(arguments), Stream::Stdout)
}

/// The command that runs a script so.
pub fn python_command(script: &str) -> Command {
    let mut command = Command::new(tool("python/bin/python"));
    // Each line is seen when it is written.
    command.arg("-u").arg(scripts().join(script));
    command
}

/// The command that runs a script with PHP as Debian has it, with its `php-amqplib`.
pub fn php_command(script: &str) -> Command {
    let mut command = Command::new("php");
    command.arg(scripts().join(script));
    command
}

/// The command that runs a script as an application of Node does: a copy of it in `folder`, with `ws` and `amqplib`
/// among the packages there.
pub fn node_application(script: &str, folder: &Path) -> Command {
    let script = scripts().join(script);
    let copy = folder.join(script.file_name().unwrap());
    std::fs::copy(&script, &copy).unwrap();
    let packages = folder.join("node_modules");
    if !packages.exists() {
        std::os::unix::fs::symlink(tool("node/node_modules"), packages).unwrap();
    }
    let mut command = Command::new("node");
    command.arg(copy);
    command
}

/// An example, by its path.
pub fn example(name: &str) -> String {
    format!("{}/examples/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Node, with `ws` and `playwright-core`, and with a browser's global `WebSocket`.
pub fn node(script: &str, arguments: &[&str]) -> Process {
    let mut command = Command::new("node");
    command.env("NODE_PATH", tool("node/node_modules"));
    command.arg("--require").arg(scripts().join("websocket.cjs")).arg(scripts().join(script)).args(arguments);
    Process::start(script, &mut command, Stream::Stdout)
}

/// Prometheus: the system's, or else the one that `tests/run` unpacked.
pub fn prometheus() -> Command {
    let is_there = |folder: PathBuf| folder.join("prometheus").is_file();
    let path = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&path).any(is_there) {
        return Command::new("prometheus");
    }
    Command::new(tool("prometheus/usr/bin/prometheus"))
}

fn tool(path: &str) -> PathBuf {
    let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/.tools").join(path);
    assert!(tool.exists(), "{} is missing: run `tests/run`, which makes it", tool.display());
    tool
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/clients")
}
