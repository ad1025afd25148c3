//! Tokens that an HTTP endpoint knows: PHP as an application has it, and endpoints that misbehave.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::client::Client;
use crate::support::server::Server;
use crate::support::web::{Act, Endpoint, Php, unix_now};

/// A configuration whose first provider is an endpoint, with these further settings, and whose second one is a list.
fn settings(url: &str, more: &str) -> String {
    format!(
        "
event: {{ payload: data, tenant: data.tenant }}
auth:
  providers:
    - http: {{ url: \"{url}\"{more} }}
    - tokens: {{ listed: {{ user: 9, tenant: acme }} }}
topics: [{{ match: \"managers:{{board}}\", allow: {{ when: {{ session.role: manager }} }} }}]
routes: [{{ name: all, to: {{ tenant: true }} }}]
"
    )
}

/// A session that must not notice anything.
struct Witness(Client, u32);

impl Witness {
    async fn start(server: &Server) -> Self {
        Self(Client::session(server, "listed", &[]).await, 0)
    }

    async fn goes_on(&mut self, server: &Server) {
        self.1 += 1;
        server.publish(json!({ "data": { "tenant": "acme", "n": self.1 } })).await;
        assert_eq!(self.0.next_event().await["n"], self.1);
    }
}

/// A client with this token is told to come back, and closed for that.
async fn check_unavailable(server: &Server, token: &str) {
    let mut client = Client::connect(server).await;
    client.send(&json!({ "access_token": token })).await;
    let said = client.expect(&json!({ "status": "error", "error": "authentication unavailable" })).await;
    assert!((1_000..60_000).contains(&said["retry_in_ms"].as_u64().unwrap()), "{said}");
    assert_eq!(client.closed().await, Some(1013), "{token}");
}

async fn check_denied(server: &Server, token: &str) {
    let mut client = Client::connect(server).await;
    client.send(&json!({ "access_token": token })).await;
    client.expect(&json!({ "status": "error", "error": "access denied" })).await;
}

fn decided(provider: &str, outcome: &str) -> String {
    format!("pointsman_authentications_total{{provider=\"{provider}\",outcome=\"{outcome}\"}}")
}

#[tokio::test]
async fn an_application_in_php_says_whose_tokens_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let users = folder.path().join("users.json");
    let soon = unix_now() + 3;
    let known = json!({
        "ann's": { "id": 1, "company": "acme", "role": "manager" },
        "bob's": { "id": "b-2", "company": "acme", "role": "clerk" },
        "brief": { "id": 3, "company": "acme", "expires_at": soon },
        "old": { "id": 3, "company": "acme", "expires_at": 1 },
        "broken": { "id": 4 },
    });
    std::fs::write(&users, known.to_string()).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/auth/endpoint.php");
    let environment =
        [("USERS_FILE", users.to_str().unwrap()), ("WS_AUTH_KEY", "k3y"), ("PHP_CLI_SERVER_WORKERS", "4")];
    let php = Php::start(Php::somewhere(), &[&script], &environment).await;
    let url = format!("http://{}/ws-auth", php.address);
    let server = Server::start(&settings(&url, ", headers: { X-Api-Key: k3y }")).await;
    let mut witness = Witness::start(&server).await;

    let mut ann = Client::session(&server, "ann's", &["managers:sales"]).await;
    let mut bob = Client::connect(&server).await;
    bob.send(&json!({ "access_token": "bob's", "topics": ["managers:sales"] })).await;
    bob.expect(&json!({ "connected": true, "message": "Connected as user b-2" })).await;
    bob.expect(&json!({ "subscribed": [], "denied": ["managers:sales"] })).await;
    for token in ["nobody's", "old"] {
        check_denied(&server, token).await;
    }
    check_unavailable(&server, "broken").await;
    let mut brief = Client::session(&server, "brief", &[]).await;
    assert_eq!(brief.closed().await, Some(4409));
    for client in [&mut ann, &mut bob] {
        client.send(&json!({ "ping": 1 })).await;
        client.expect(&json!({ "message": "pong" })).await;
    }
    assert_eq!(server.metric(&decided("http", "accepted")).await, 3);
    assert_eq!(server.metric(&decided("tokens", "accepted")).await, 1);
    assert_eq!(server.metric(&decided("http", "denied")).await, 1);
    assert_eq!(server.metric(&decided("none", "denied")).await, 1);
    assert_eq!(server.metric(&decided("http", "unavailable")).await, 1);
    // One that is not a secret's keeper: its key does not fit, and that is nobody's denial.
    let stranger = Server::start(&settings(&url, "")).await;
    check_unavailable(&stranger, "ann's").await;
    check_unavailable(&stranger, "nobody's").await;
    // An endpoint without a key of its own answers nobody.
    let keyless = Php::start(Php::somewhere(), &[&script], &environment[..1]).await;
    let url = format!("http://{}/ws-auth", keyless.address);
    check_unavailable(&Server::start(&settings(&url, "")).await, "ann's").await;
    witness.goes_on(&server).await;

    // The whole of PHP stands still, and then goes on.
    php.signal(Signal::STOP);
    check_unavailable(&server, "ann's").await;
    witness.goes_on(&server).await;
    php.signal(Signal::CONT);
    Client::session(&server, "ann's", &[]).await.leave().await;
    server
        .wait_for_log("that it answers again", |line| {
            line["message"] == "a provider of identities answers again" && line["provider"] == "http"
        })
        .await;
    for line in server.log().iter().map(Value::to_string) {
        for secret in ["ann's", "nobody's", "broken", "k3y", "listed"] {
            assert!(!line.contains(secret) || line.contains("listening"), "{secret} in {line}");
        }
    }
    assert_eq!(server.terminate().await, Some(0));
}

const ANN: &str = r#"{"user":1,"tenant":"acme","role":"manager"}"#;

#[tokio::test]
async fn a_crowd_costs_one_connection_and_with_a_cache_one_request() {
    let endpoint = Endpoint::start(|token| match token {
        "bad" => Act::Answer(401, "{}"),
        _ => Act::Answer(200, ANN),
    })
    .await;
    let server = Server::start(&settings(&endpoint.url(), ", cache: 30s")).await;
    let mut clients = Vec::new();
    for _ in 0..40 {
        clients.push(Client::connect(&server).await);
    }
    for client in &mut clients {
        client.send(&json!({ "access_token": "same" })).await;
    }
    for client in &mut clients {
        client.expect(&json!({ "connected": true, "message": "Connected as user 1" })).await;
    }
    assert_eq!((endpoint.connections(), endpoint.requests()), (1, 1));
    for number in 0..20 {
        Client::session(&server, &format!("own {number}"), &[]).await.leave().await;
    }
    assert_eq!((endpoint.connections(), endpoint.requests()), (1, 21));
    // At once: a denial is not kept for long.
    let mut denied = Vec::new();
    for _ in 0..5 {
        denied.push(Client::connect(&server).await);
    }
    for client in &mut denied {
        client.send(&json!({ "access_token": "bad" })).await;
    }
    for client in &mut denied {
        client.expect(&json!({ "status": "error", "error": "access denied" })).await;
    }
    assert_eq!((endpoint.connections(), endpoint.requests()), (1, 22));
    // Whoever joins a question that is under way has not been answered from what is kept. These are.
    for _ in 0..4 {
        Client::session(&server, "same", &[]).await.leave().await;
    }
    assert_eq!((endpoint.connections(), endpoint.requests()), (1, 22));
    let hits = server.metric("pointsman_auth_cache_total{provider=\"http\",result=\"hit\"}").await;
    let misses = server.metric("pointsman_auth_cache_total{provider=\"http\",result=\"miss\"}").await;
    assert_eq!(hits + misses, 40 + 20 + 5 + 4);
    assert!(hits >= 4, "{hits}");
    assert_eq!(server.metric("pointsman_auth_seconds_count{provider=\"http\"}").await, 22);
    server.wait_for_metric("pointsman_auth_in_flight", 0).await;
}

/// An endpoint that misbehaves as the token says.
fn misbehave(token: &str) -> Act {
    match token {
        "stands still" => Act::Silence,
        "without end" => Act::Flood("HTTP/1.1 200 OK\r\n\r\n{ \"user\": 1, "),
        "5 MiB" => Act::Flood("HTTP/1.1 200 OK\r\ncontent-length: 5242880\r\n\r\n                              "),
        "a head without end" => Act::Flood("HTTP/1.1 200 OK\r\nx: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
        "elsewhere" => Act::Write("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n"),
        "fault" => Act::Answer(500, ANN),
        "created" => Act::Answer(201, ANN),
        "half" => Act::Write("HTTP/1.1 200 OK\r\ncontent-length: 43\r\n\r\n{\"user\":1,\"tenant\":\"acme\""),
        "nothing" => Act::Write(""),
        "no HTTP" => Act::Write("* OK IMAP4rev1\r\n"),
        "no JSON" => Act::Answer(200, "<html>"),
        "no object" => Act::Answer(200, "[1]"),
        "no tenant" => Act::Answer(200, r#"{"user":1}"#),
        "no id" => Act::Answer(200, r#"{"user":{"id":1},"tenant":"acme"}"#),
        "no time" => Act::Answer(200, r#"{"user":1,"tenant":"acme","expires_at":"tomorrow"}"#),
        "listed" => Act::Answer(503, ""),
        _ => Act::Answer(200, ANN),
    }
}

#[tokio::test]
async fn whatever_an_endpoint_does_is_no_denial_and_nobody_elses_trouble() {
    let endpoint = Endpoint::start(misbehave).await;
    let server = Server::start(&settings(&endpoint.url(), ", timeout: 500ms")).await;
    let mut witness = Witness::start(&server).await;
    for token in [
        "stands still",
        "without end",
        "5 MiB",
        "a head without end",
        "elsewhere",
        "fault",
        "created",
        "half",
        "nothing",
        "no HTTP",
        "no JSON",
        "no object",
        "no tenant",
        "no id",
        "no time",
    ] {
        check_unavailable(&server, token).await;
        witness.goes_on(&server).await;
        // The list knows this one, whatever the endpoint says.
        Client::session(&server, "listed", &[]).await.leave().await;
        // And it is well when it is well.
        Client::session(&server, "good", &[]).await.leave().await;
    }
    // A session that asks again while there is no saying goes on as what it is.
    witness.0.send(&json!({ "access_token": "fault" })).await;
    witness.0.expect(&json!({ "error": "authentication unavailable" })).await;
    witness.goes_on(&server).await;
    assert_eq!(server.metric(&decided("http", "unavailable")).await, 16);
    let line =
        server.wait_for_log("what is wrong", |line| line["message"] == "a provider of identities cannot be asked");
    assert_eq!(line.await["provider"], "http");
    assert_eq!(server.metric("pointsman_auth_in_flight").await, 0);
}

#[tokio::test]
async fn an_endpoint_that_is_not_there_is_found_when_it_comes() {
    let address = Php::somewhere();
    let server = Server::start(&settings(&format!("http://{address}/"), ", headers: { X-Api-Key: k3y }")).await;
    let lost = Server::start(&settings("http://nowhere.invalid/", "")).await;
    let mut witness = Witness::start(&server).await;
    check_unavailable(&server, "demo-ann").await;
    check_unavailable(&lost, "demo-ann").await;
    let refused =
        server.wait_for_log("why", |line| line["reason"].as_str().is_some_and(|said| said.contains("refused")));
    refused.await;
    let unresolved = |line: &Value| line["reason"].as_str().is_some_and(|said| said.contains("cannot be resolved"));
    lost.wait_for_log("why", unresolved).await;
    Client::session(&lost, "listed", &[]).await.leave().await;

    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/auth/endpoint.php");
    let php = Php::start(address, &[&script], &[("WS_AUTH_KEY", "k3y")]).await;
    Client::session(&server, "demo-ann", &["managers:sales"]).await.leave().await;
    php.signal(Signal::KILL);
    php.ended().await;
    check_unavailable(&server, "demo-ann").await;
    Php::start(address, &[&script], &[("WS_AUTH_KEY", "k3y")]).await;
    witness.goes_on(&server).await;
}

#[tokio::test]
async fn a_flood_of_slow_tokens_from_one_address_keeps_no_other_address_out() {
    let endpoint = Endpoint::start(|token| match token {
        "good" => Act::Answer(200, ANN),
        _ => Act::Silence,
    })
    .await;
    let server = Server::start(&settings(&endpoint.url(), ", timeout: 1s, concurrent: 2")).await;
    let mut flood = Vec::new();
    for number in 0..60 {
        let mut client = Client::connect(&server).await;
        client.send(&json!({ "access_token": format!("slow {number}") })).await;
        flood.push(client);
    }
    server.wait_for_metric("pointsman_auth_in_flight", 2).await;
    let mut other = Client::connect_from(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)), &server).await;
    other.authenticate("good").await;
    let waiting = server.metric("pointsman_auth_waiting").await;
    assert!(waiting > 20, "{waiting} of the flood wait");
    // What goes away, or has waited as long as there is, frees its place.
    drop(flood);
    server.wait_for_metric("pointsman_auth_waiting", 0).await;
    server.wait_for_metric("pointsman_auth_in_flight", 0).await;
}

#[tokio::test]
async fn who_is_disconnected_does_not_come_back_by_what_was_kept() {
    let removed = Arc::new(AtomicBool::new(false));
    let is_removed = Arc::clone(&removed);
    let endpoint = Endpoint::start(move |token| match token {
        "ann" if is_removed.load(Ordering::SeqCst) => Act::Answer(401, ""),
        "ann" => Act::Answer(200, ANN),
        _ => Act::Answer(200, r#"{"user":2,"tenant":"acme"}"#),
    })
    .await;
    let settings = settings(&endpoint.url(), ", cache: 1h").replace(
        "routes: [",
        "routes: [{ name: removed, when: { data.removed: { exists: true } }, \
         do: { disconnect: { user: \"{data.removed}\" } } }, ",
    );
    let server = Server::start(&settings).await;
    let mut ann = Client::session(&server, "ann", &[]).await;
    let _bob = Client::session(&server, "bob", &[]).await;
    removed.store(true, Ordering::SeqCst);
    server.publish(json!({ "data": { "tenant": "acme", "removed": 1 } })).await;
    assert_eq!(ann.closed().await, Some(4403));
    check_denied(&server, "ann").await;
    Client::session(&server, "bob", &[]).await.leave().await;
    assert_eq!(endpoint.requests(), 3, "the other one's answer was kept");
}

#[tokio::test]
async fn what_is_kept_from_before_an_outage_does_not_end_it() {
    let down = Arc::new(AtomicBool::new(false));
    let is_down = Arc::clone(&down);
    let decide =
        move |_: &str| if is_down.load(Ordering::SeqCst) { Act::Answer(503, "") } else { Act::Answer(200, ANN) };
    let endpoint = Endpoint::start(decide).await;
    let server = Server::start(&settings(&endpoint.url(), ", cache: 1h")).await;
    Client::session(&server, "kept", &[]).await.leave().await;
    down.store(true, Ordering::SeqCst);
    for number in 0..3 {
        check_unavailable(&server, &format!("new {number}")).await;
        Client::session(&server, "kept", &[]).await.leave().await;
    }
    down.store(false, Ordering::SeqCst);
    Client::session(&server, "new", &[]).await.leave().await;
    let again = |line: &Value| line["message"] == "a provider of identities answers again";
    server.wait_for_log("that it answers again", again).await;
    assert_eq!(server.log().iter().filter(|line| again(line)).count(), 1);
}

#[tokio::test]
async fn more_tokens_than_an_endpoint_can_take_do_not_keep_it_from_answering_any() {
    // Ten a second, before which forty come.
    let endpoint = Endpoint::start(|_| Act::Late(Duration::from_millis(100), ANN)).await;
    let config = settings(&endpoint.url(), ", timeout: 400ms, concurrent: 1");
    let server = Server::start(&config.replace("  providers:", "  deadline: 1s\n  providers:")).await;
    let mut crowd = JoinSet::new();
    let mut turn = tokio::time::interval(Duration::from_millis(25));
    for number in 0..200 {
        turn.tick().await;
        let mut client = Client::connect(&server).await;
        crowd.spawn(async move {
            client.send(&json!({ "access_token": format!("own {number}") })).await;
            client.next().await["connected"] == true
        });
    }
    let accepted = crowd.join_all().await.into_iter().filter(|accepted| *accepted).count();
    assert!(accepted > 30, "{accepted} of some 50");
}
