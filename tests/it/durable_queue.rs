//! `examples/deployment/durable-queue.*`: declared at a real broker, consumed, and what becomes of an event that no process
//! survives.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::broker::{REST, eventually_queue, never_decided, ready};
use crate::support::amqp_client::AmqpClient;
use crate::support::client::Client;
use crate::support::prometheus::Prometheus;
use crate::support::rabbitmq::{shared, shared_vhost, vhost_of};
use crate::support::server::{POINTSMAN, Server, Setup};
use crate::support::tools::example;

fn read(name: &str) -> String {
    fs::read_to_string(example(&format!("deployment/{name}"))).unwrap()
}

/// A process of this deployment, with the same name each time.
async fn start(section: &str) -> Server {
    let files = [("durable-queue.yaml", section)];
    let setup = Setup { files: &files, arguments: &["--instance", "push-1"], ..Setup::default() };
    let server = Server::start_with(&format!("include: [durable-queue.yaml]\n{REST}"), &setup).await;
    ready(&server).await;
    server
}

#[tokio::test]
async fn events_wait_for_their_process_and_one_that_no_process_survives_becomes_a_dead_letter() {
    let url = shared_vhost();
    let definitions = read("durable-queue.definitions.json").replace("\"/\"", &format!("\"{}\"", vhost_of(&url)));
    shared().import(&definitions);
    let mut section = read("durable-queue.yaml");
    let broker = "${AMQP_URL:-amqp://guest:guest@127.0.0.1:5672/%2f}";
    for (from, to) in [(broker, url.as_str()), ("x-delivery-limit: 20\n", "x-delivery-limit: 1\n")] {
        assert!(section.contains(from), "{from}");
        section = section.replace(from, to);
    }
    let back_end = AmqpClient::connect(&url).await;

    let server = start(&section).await;
    let mut dan = Client::session(&server, "dan", &[]).await;
    let event = |number: usize| format!(r#"{{"data":{{"tenant":"globex","n":{number}}}}}"#);
    back_end.publish("events", "", event(1)).await;
    assert_eq!(dan.next_event().await["n"], 1);
    assert_eq!(server.terminate().await, Some(0));
    back_end.publish("events", "", event(2)).await;

    // It waits for its process. Two processes end with the next event unacknowledged.
    let received = "pointsman_events_received_total{source=\"amqp\"}";
    let unacknowledged = "pointsman_queue_unacknowledged{queue=\"pointsman.{instance}\"}";
    let server = start(&section).await;
    server.wait_for_metric(received, 1).await;
    server.wait_for_metric(unacknowledged, 0).await;
    back_end.publish("events", "", never_decided()).await;
    server.wait_for_metric(unacknowledged, 1).await;
    drop(server);
    let server = start(&section).await;
    server.wait_for_metric(unacknowledged, 1).await;
    drop(server);
    eventually_queue(&back_end, "pointsman.dead", (1, 0)).await;
    let (letter, _) = back_end.take("pointsman.dead").await;
    assert_eq!(letter, never_decided().into_bytes());

    let server = start(&section).await;
    let mut dan = Client::session(&server, "dan", &[]).await;
    back_end.publish("events", "", event(3)).await;
    assert_eq!(dan.next_event().await["n"], 3);
    assert_eq!(server.metric(received).await, 1);
    assert_eq!(server.terminate().await, Some(0));
}

#[test]
fn the_section_fits_the_shipped_configuration() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config");
    fs::create_dir(&config).unwrap();
    symlink(root.join("plugins"), folder.path().join("plugins")).unwrap();
    symlink(root.join("config/routes"), config.join("routes")).unwrap();
    let shipped = fs::read_to_string(root.join("config/rabbitmq.yaml")).unwrap();
    let (before, section) = shipped.split_once("\namqp:\n").unwrap();
    let (_, after) = section.split_once("\ndatabase:\n").unwrap();
    let include = "include: [routes/*.yaml]";
    assert!(before.contains(include));
    let before = before.replace(include, "include: [routes/*.yaml, durable-queue.yaml]");
    fs::write(config.join("rabbitmq.yaml"), format!("{before}\ndatabase:\n{after}")).unwrap();
    fs::write(config.join("durable-queue.yaml"), read("durable-queue.yaml")).unwrap();
    let output =
        Command::new(POINTSMAN).env_clear().args(["check", "--config"]).arg(config.join("rabbitmq.yaml")).output();
    let output = output.unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success() && said.contains("is fine"), "{said}");
}

#[tokio::test]
async fn prometheus_takes_the_alerts() {
    let prometheus = Prometheus::start(&[], &read("durable-queue.alerts.yaml")).await;
    let rules = prometheus.rules().await;
    assert_eq!(rules.len(), 2);
    for rule in rules {
        assert_ne!(rule["health"], "err", "{rule}");
    }
}
