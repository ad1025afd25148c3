//! A server that may have few descriptors, and clients that take as many as they can: all else goes on.

use std::path::Path;

use rustix::process::{Resource, Signal, getrlimit};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::broker::{FANOUT, ready, settings};
use crate::hostile::CONFIG;
use crate::support::amqp_client::AmqpClient;
use crate::support::client::Client;
use crate::support::proxy::Proxy;
use crate::support::rabbitmq::{shared, shared_vhost};
use crate::support::raw::{HANDSHAKE, Raw};
use crate::support::server::{Server, Setup};

/// Connections that nobody counts among those that there may be, at most: of two shards.
const LINGERING: usize = 16;

/// A server under such a limit, in the words of `ulimit`.
async fn start(yaml: &str, ulimit: &str) -> Server {
    Server::start_with(yaml, &Setup { ulimit: Some(ulimit), ..Setup::default() }).await
}

/// Opens so many connections that say nothing.
async fn crowd(server: &Server, count: usize) -> Vec<TcpStream> {
    let mut crowd = Vec::with_capacity(count);
    for _ in 0..count {
        crowd.push(TcpStream::connect(server.clients).await.unwrap());
    }
    crowd
}

/// A newcomer is told that there is no room.
async fn check_refused(server: &Server) {
    let mut newcomer = Raw::connect(server).await;
    newcomer.send(HANDSHAKE).await;
    let answer = newcomer.rest().await;
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("too many connections"), "{answer}");
}

fn says(line: &Value, part: &str) -> bool {
    line["message"].as_str().is_some_and(|message| message.contains(part))
}

#[tokio::test]
async fn the_limit_of_descriptors_is_raised_as_far_as_it_may_be() {
    let server = start(CONFIG, "-Sn 64").await;
    let hard = getrlimit(Resource::Nofile).maximum.expect("a limit");
    assert_eq!(server.metric("process_max_fds").await, i64::try_from(hard).unwrap());
    assert_eq!(server.terminate().await, Some(0));
}

#[tokio::test]
async fn idle_connections_leave_descriptors_for_all_else() {
    let server = start(&format!("{CONFIG}shards: 2\n"), "-n 200").await;
    let warning = server.wait_for_log("what is wrong", |line| says(line, "`limits.connections`")).await;
    assert_eq!(
        (&warning["level"], &warning["descriptors"], &warning["kept"]),
        (&json!("WARN"), &json!(200), &json!(100))
    );
    let mut witness = Client::session(&server, "bob", &[]).await;
    let crowd = crowd(&server, 250).await;
    server.wait_for_metric("pointsman_connections_refused_total", 151).await;
    check_refused(&server).await;
    let descriptors = server.descriptors();
    assert!(descriptors < 200 - 32, "{descriptors} descriptors are in use");

    for _ in 0..20 {
        assert_eq!(server.get("/healthz").await.status, 200);
    }
    let more = std::fs::read_to_string(server.folder().join("pointsman.yaml")).unwrap() + "limits: { topics: 7 }\n";
    std::fs::write(server.folder().join("pointsman.yaml"), more).unwrap();
    let reload = server.post("/api/reload", String::new()).await;
    assert_eq!(reload.status, 200, "{}", reload.body);
    assert_eq!(server.metric("pointsman_rulebook_generation").await, 2);
    server.publish(json!({ "tenant": "acme", "data": 1 })).await;
    assert_eq!(witness.next_event().await, 1);
    check_refused(&server).await;

    drop(crowd);
    server.wait_for_metric("pointsman_connections", 1).await;
    Client::session(&server, "ann", &[]).await.leave().await;
    assert_eq!(server.terminate().await, Some(0));
}

#[tokio::test]
async fn a_broker_that_is_lost_is_found_again_however_many_connections_are_idle() {
    let url = shared_vhost();
    let proxy = Proxy::start(shared().address());
    let through = url.replace(&shared().address().to_string(), &proxy.address().to_string());
    let server = start(&settings(&through, FANOUT), "-n 200").await;
    ready(&server).await;
    let mut witness = Client::session(&server, "ann", &[]).await;
    let _crowd = crowd(&server, 250).await;
    server.wait_for_metric("pointsman_connections_refused_total", 151).await;
    proxy.refuse();
    proxy.cut();
    server.wait_for_metric("pointsman_broker_connected", 0).await;
    proxy.resume();
    server.wait_for_metric("pointsman_broker_connected", 1).await;
    let event = json!({ "data": { "tenant": "acme", "n": 1 } });
    AmqpClient::connect(&url).await.publish("events", "", event.to_string()).await;
    assert_eq!(witness.next_event().await, event["data"]);
    assert_eq!(server.terminate().await, Some(0));
}

#[tokio::test]
async fn refused_connections_do_not_pile_up() {
    let server = Server::start(&format!("{CONFIG}limits: {{ connections: 1 }}\nshards: 2\n")).await;
    let mut witness = Client::session(&server, "bob", &[]).await;
    let before = server.descriptors();
    let crowd = crowd(&server, 200).await;
    server.wait_for_metric("pointsman_connections_refused_total", 200).await;
    let descriptors = server.descriptors();
    // One is that of the request for metrics, on its way out.
    assert!(descriptors <= before + LINGERING + 1, "{descriptors} descriptors, {before} before");
    for socket in crowd {
        let answer = Raw::over(socket).rest().await;
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    }
    let lines = server.log().iter().filter(|line| says(line, "a connection is refused")).count();
    assert!((1..=2).contains(&lines), "one line for each shard, not {lines}");
    // More may come when the configuration says so.
    let text = std::fs::read_to_string(server.folder().join("pointsman.yaml")).unwrap();
    std::fs::write(server.folder().join("pointsman.yaml"), text.replace("connections: 1", "connections: 2")).unwrap();
    server.wait_for_metric("pointsman_rulebook_generation", 2).await;
    let second = Client::session(&server, "ann", &[]).await;
    check_refused(&server).await;
    server.publish(json!({ "tenant": "acme", "data": 1 })).await;
    assert_eq!(witness.next_event().await, 1);
    second.leave().await;
    assert_eq!(server.terminate().await, Some(0));
}

#[tokio::test]
async fn a_server_without_descriptors_says_so_now_and_then_and_goes_on_when_it_has_some() {
    let server = Server::start(&format!("{CONFIG}shards: 1\nping: {{ every: 1s }}\n")).await;
    let mut witness = Client::session(&server, "bob", &[]).await;
    let file = server.folder().join("pointsman.yaml");
    let before = server.limit_descriptors(4);
    let mut newcomer = Raw::connect(&server).await;
    newcomer.send(HANDSHAKE).await;
    server.wait_for_log("that it cannot accept", |line| says(line, "cannot accept connections")).await;
    change(&file);
    server.wait_for_log("that it cannot read", |line| says(line, "the files cannot be read now")).await;
    server.signal(Signal::HUP);
    let refused = |line: &Value| says(line, "the files cannot be read now") && line["trigger"] == "SIGHUP";
    let refused = server.wait_for_log("that it cannot read", refused).await;
    assert_eq!(refused["level"], "WARN");
    // Time for many attempts to accept.
    for _ in 0..2 {
        witness.expect(&json!({ "message": "events ping" })).await;
    }
    server.limit_descriptors(before);
    newcomer.shaken_hands().await;
    server.wait_for_metric("pointsman_rulebook_generation", 2).await;
    let log = server.log();
    let count = |part: &str| log.iter().filter(|line| says(line, part)).count();
    assert_eq!(count("cannot accept connections"), 1, "{log:?}");
    assert_eq!(count("the files do not come into force"), 0, "{log:?}");
    assert_eq!(server.terminate().await, Some(0));
}

/// Changes a configuration.
fn change(file: &Path) {
    let text = std::fs::read_to_string(file).unwrap();
    std::fs::write(file, text + "limits: { topics: 7 }\n").unwrap();
}
