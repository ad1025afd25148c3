//! What this process holds, and tests that need a process to themselves for that.

use std::fs;
use std::process::Command;
use std::time::Duration;

/// Threads and sockets of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) threads: usize,
    pub(crate) sockets: usize,
}

impl Held {
    /// Those of now. Threads that resolve names for an event loop do not count: they end by themselves when idle.
    pub(crate) fn now() -> Self {
        let names = fs::read_dir("/proc/self/task").unwrap();
        let names = names.filter_map(|entry| fs::read_to_string(entry.ok()?.path().join("comm")).ok());
        let threads = names.filter(|name| name.trim() != "tokio-rt-worker").count();
        let targets = fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        let sockets = targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count();
        Self { threads, sockets }
    }

    /// Waits until this is what is held.
    pub(crate) async fn again(self) {
        eventually(&format!("{self:?} again"), || Self::now() == self, || format!("{:?}", Self::now())).await;
    }
}

/// Waits for a fact that nothing tells of but asking again.
pub(crate) async fn eventually(what: &str, holds: impl Fn() -> bool, instead: impl Fn() -> String) {
    let mut ask = tokio::time::interval(Duration::from_millis(10));
    for _ in 0..3000 {
        ask.tick().await;
        if holds() {
            return;
        }
    }
    panic!("never came: {what}; it is {}", instead());
}

/// Whether this test runs in a process of its own. Where it does not, runs it in one, and takes over its verdict.
pub(crate) fn alone(test: &str) -> bool {
    const MARK: &str = "POINTSMAN_TEST_ALONE";
    if std::env::var(MARK).is_ok() {
        return true;
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(MARK, "1")
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(out.contains("1 passed") && output.status.success(), "{test} in its own process:\n{out}\n{err}");
    false
}
