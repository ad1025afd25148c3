//! Rules that change while the server runs: each way in which files change, what is refused, and what goes on meanwhile.

mod api;
mod edits;
mod layouts;
mod plugins;
mod refused;
mod sessions;
mod settings;
mod swaps;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{interval, timeout};

use crate::support::process::DEADLINE;
use crate::support::server::Server;

/// How it stands with the last attempt.
const SUCCESSFUL: &str = "pointsman_config_last_reload_successful";

/// A configuration whose only route has this name.
fn rules(route: &str) -> String {
    format!("{HEAD}routes: [{{ name: {route}, to: {{ tenant: true }} }}]\n")
}

const HEAD: &str = "
listen: 127.0.0.1:0
admin: { listen: 127.0.0.1:0 }
event: { payload: data, tenant: tenant }
auth: { providers: [{ tokens: { ann: { user: 1, tenant: acme }, dan: { user: 1, tenant: globex } } }] }
";

/// A server whose files a test changes.
struct Stage {
    server: Server,
}

impl Stage {
    /// With these files, the first of which is the configuration.
    async fn start(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            write(&folder.path().join(name), text);
        }
        Self::start_in(folder, files[0].0).await
    }

    async fn start_in(folder: TempDir, file: &str) -> Self {
        Self { server: Server::start_in(folder, file).await }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.server.folder().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        write(&self.path(name), text);
    }

    /// Changes a file as a program does that means it to be whole at any time, so that one look is enough.
    fn replace(&self, name: &str, text: &str) {
        self.write(&format!("{name}.new"), text);
        fs::rename(self.path(&format!("{name}.new")), self.path(name)).unwrap();
    }

    async fn rulebook(&self) -> Value {
        self.server.get("/api/rulebook").await.json()
    }

    /// The attempts so far, the newest first.
    async fn attempts(&self) -> Vec<Value> {
        self.server.get("/api/reloads").await.json()["reloads"].as_array().unwrap().clone()
    }

    /// The generation and the first route of what is in force.
    async fn standing(&self) -> (u64, String) {
        let rulebook = self.rulebook().await;
        let route = rulebook["routes"][0]["name"].as_str().unwrap_or_default().to_owned();
        (rulebook["generation"].as_u64().unwrap(), route)
    }

    /// Waits until this route is in force.
    async fn until_in_force(&self, what: &str, route: &str) {
        self.until(what, async || self.standing().await.1 == route).await;
    }

    /// Waits until an attempt after the first `known` ones was refused for this reason. Answers it.
    async fn until_refused(&self, what: &str, known: usize, reason: &str) -> Value {
        let refused = async || {
            let attempts = self.attempts().await;
            attempts.len() > known && attempts[0]["result"] == "refused" && attempts[0]["reason"] == reason
        };
        self.until(what, refused).await;
        self.attempts().await.remove(0)
    }

    /// Waits for a fact that nothing tells of but asking again.
    async fn until(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        let mut ticks = interval(Duration::from_millis(10));
        let held = async {
            while !holds().await {
                ticks.tick().await;
            }
        };
        let held = timeout(DEADLINE, held).await;
        assert!(held.is_ok(), "{what}: it never came; {:#?}\n{:#?}", self.rulebook().await, self.attempts().await);
    }

    /// Has the files taken up at once. Answers the status and the answer.
    async fn reload(&self) -> (u16, Value) {
        let answer = self.server.post("/api/reload", String::new()).await;
        (answer.status, answer.json())
    }
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// Turns a link to another folder: all of its files are others at once, however slow this test is.
fn turn(link: &Path, to: &str) {
    let beside = link.with_extension("new");
    symlink(to, &beside).unwrap();
    fs::rename(beside, link).unwrap();
}
