//! The commands, as a shell runs them.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::process::{Process, Stream};
use crate::support::server::{POINTSMAN, Server};

fn run(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(POINTSMAN)
        .args(arguments)
        .env_remove("POINTSMAN_ADMIN_KEY")
        .env_remove("POINTSMAN_TOKEN")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that fails early does not read it.
    child.stdin.take().unwrap().write_all(input.as_bytes()).ok();
    child.wait_with_output().unwrap()
}

fn check(arguments: &[&str], input: &str, code: i32, stdout: &str, stderr: &str) {
    let output = run(arguments, input);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {out}{err}");
    assert!(out.contains(stdout), "{arguments:?}: {out}");
    assert!(err.contains(stderr), "{arguments:?}: {err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn publish_says_what_became_of_the_events() {
    let server = Server::demo().await;
    let mut ann = Client::session(&server, "demo-ann", &[]).await;
    let url = format!("http://{}", server.admin);
    let event = |number: u32| format!("{{\"send_to_all\":true,\"data\":{{\"number\":{number}}}}}\n");

    let publish = ["publish", "-", "--server", &url];
    let json = ["publish", "-", "--server", &url, "--format", "json"];
    check(&publish, &event(1), 0, "published 1 event\n", "");
    check(&publish, &(event(2) + &event(3)), 0, "published 2 events\n", "");
    check(&json, &event(4), 0, "{\"accepted\":1}\n", "");
    check(&publish, "{", 1, "", "refused (400 Bad Request): the body is not valid JSON");
    check(&json, "{", 1, "\"accepted\":0", "");
    check(&publish, &" ".repeat(16 * 1024 * 1024 + 1), 1, "", "16 MiB");
    for number in 1..=4 {
        assert_eq!(ann.next_event().await, json!({ "number": number }));
    }
}

#[test]
fn what_cannot_be_reached_or_read_is_the_environment_s_fault() {
    check(&["publish", "-", "--server", "http://127.0.0.1:1"], "{}", 3, "", "cannot reach http://127.0.0.1:1");
    check(&["publish", "nowhere.json"], "", 3, "", "cannot read nowhere.json");
    check(&["listen", "--token", "t", "--server", "ws://127.0.0.1:1"], "", 3, "", "cannot reach");
}

#[test]
fn the_token_of_listen_may_come_from_the_environment() {
    let listen = ["listen", "--server", "ws://127.0.0.1:1"];
    check(&listen, "", 2, "", "--token <T>");
    let output = Command::new(POINTSMAN).args(listen).env("POINTSMAN_TOKEN", "s3cret").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(3) && said.contains("cannot reach") && !said.contains("s3cret"), "{said}");
    let output = Command::new(POINTSMAN).args(["listen", "--help"]).env("POINTSMAN_TOKEN", "s3cret").output().unwrap();
    assert!(!String::from_utf8(output.stdout).unwrap().contains("s3cret"));
}

#[test]
fn what_is_shipped_and_shown_is_valid() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().unwrap();
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let shown = readme.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let shown = format!("{shown}\n").replace("${AMQP_URL}", "amqp://127.0.0.1");
    std::fs::write(folder.path().join("readme.yaml"), shown).unwrap();
    for file in
        [root.join("config/pointsman.yaml"), root.join("config/rabbitmq.yaml"), folder.path().join("readme.yaml")]
    {
        // With nothing in the environment.
        let mut command = Command::new(POINTSMAN);
        let output = command.env_clear().args(["check", "--config"]).arg(&file).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(output.status.success() && said.contains("is fine") && !said.contains("warning"), "{said}");
    }
}

#[test]
fn wrong_usage_says_what_would_be_right() {
    check(&["publsh"], "", 2, "", "publish");
    check(&["check", "--confg", "a"], "", 2, "", "--config");
    check(&["publish", "-", "--server", "https://127.0.0.1"], "{}", 2, "", "not yet supported");
    check(&["listen", "--token", "t", "--server", "wss://127.0.0.1"], "", 2, "", "not yet supported");
    check(&["--help"], "", 0, "A first walk", "");
}

#[tokio::test]
async fn listen_prints_what_arrives_and_ends_when_asked() {
    let server = Server::demo().await;
    let url = format!("ws://{}/", server.clients);
    let mut command = Command::new(POINTSMAN);
    command.args(["listen", "--token", "demo-bob", "--topic", "deal:42", "--count", "1", "--server", &url]);
    let listen = Process::start("listen", &mut command, Stream::Stdout);
    listen
        .wait_for("its subscription", |lines| lines.iter().any(|line| line.contains("subscribed")).then_some(()))
        .await;

    // Over two lines, as the back end wrote it: one line all the same.
    let body = "{\"data\":{\"type\":\"deal.moved\",\"tenant_id\":\"acme\",\n\"deal_id\":42}}".to_owned();
    assert_eq!(server.post("/publish", body).await.status, 202);
    assert_eq!(listen.ended().await.code(), Some(0));
    let last: Value = serde_json::from_str(listen.lines().last().unwrap()).unwrap();
    assert_eq!(last["data"]["deal_id"], 42);
}

#[tokio::test(flavor = "multi_thread")]
async fn listen_with_a_token_that_nobody_knows_is_denied() {
    let server = Server::demo().await;
    let url = format!("ws://{}/", server.clients);
    check(&["listen", "--token", "stranger", "--server", &url], "", 1, "access denied", "access denied");
}
