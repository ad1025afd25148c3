//! The clients of `examples/`: what they get, and that they come back.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{interval, timeout};

use crate::support::client::Client;
use crate::support::process::{DEADLINE, Process};
use crate::support::proxy::Proxy;
use crate::support::server::Server;
use crate::support::tools::{self, example};

/// Publishes events until the client has one of them: nothing tells from outside when it has subscribed.
async fn gets(server: &Server, bob: &mut Client, client: &Process, stage: &str) {
    let data = json!({ "type": "deal.moved", "tenant_id": "acme", "deal_id": 42, "stage": stage });
    let has = |line: &String| serde_json::from_str::<Value>(line).unwrap() == data;
    let mut again = interval(Duration::from_millis(10));
    let arrived = async {
        while !client.lines().iter().any(has) {
            again.tick().await;
            server.publish(json!({ "data": data })).await;
            assert_eq!(bob.next_event().await, data);
        }
    };
    timeout(DEADLINE, arrived).await.unwrap_or_else(|_| panic!("no event in time, but {:?}", client.lines()));
}

async fn check(start: fn(&str, &[&str]) -> Process, script: &str) {
    let server = Server::demo().await;
    let mut bob = Client::session(&server, "demo-bob", &["deal:42"]).await;
    let link = Proxy::start(server.clients);
    let url = format!("ws://{}/", link.address());
    let client = start(&example(script), &[&url, "demo-bob", "deal:42", "managers:q3"]);

    gets(&server, &mut bob, &client, "wön ✓").await;
    link.cut();
    gets(&server, &mut bob, &client, "after the cut").await;
    assert!(link.accepted() > 1, "it connected again");

    let denied = start(&example(script), &[&url, "nobody", "deal:42"]);
    denied.ended().await;
    assert_eq!(denied.lines(), Vec::<String>::new());
}

#[tokio::test]
async fn the_example_client_for_browsers_gets_events_and_comes_back() {
    check(tools::node, "client.mjs").await;
}

#[tokio::test]
async fn the_example_client_in_python_gets_events_and_comes_back() {
    check(tools::python, "client.py").await;
}
