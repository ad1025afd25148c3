//! Clients that nobody here wrote: Python, Node, Chromium. `tests/run` installs them.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::process::{Process, Stream};

/// Python, with `websockets` and `pika`.
pub fn python(script: &str, arguments: &[&str]) -> Process {
    let mut command = Command::new(tool("python/bin/python"));
    // Each line is seen when it is written.
    command.arg("-u").arg(scripts().join(script)).args(arguments);
    Process::start(script, &mut command, Stream::Stdout)
}

/// Node, with `ws` and `playwright-core`, and with a browser's own WebSocket, which Node 20 has behind a flag.
pub fn node(script: &str, arguments: &[&str]) -> Process {
    let mut command = Command::new("node");
    command
        .env("NODE_PATH", tool("node/node_modules"))
        .arg("--experimental-websocket")
        .arg(scripts().join(script))
        .args(arguments);
    Process::start(script, &mut command, Stream::Stdout)
}

fn tool(path: &str) -> PathBuf {
    let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/.tools").join(path);
    assert!(tool.exists(), "{} is missing: run `tests/run`, which makes it", tool.display());
    tool
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/clients")
}
