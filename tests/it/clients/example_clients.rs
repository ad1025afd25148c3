//! The clients of `examples/`: what they get, and that they come back.

use serde_json::{Value, json};
use tokio::time::{interval, timeout};

use crate::support::client::Client;
use crate::support::process::{DEADLINE, Process};
use crate::support::proxy::Proxy;
use crate::support::server::Server;
use crate::support::tools::{self, example};

/// A client's lines, as what they are.
fn events(client: &Process) -> Vec<Value> {
    client.lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Publishes events until the client has one that it had not before: nothing tells from outside when it has subscribed.
async fn gets_more(server: &Server, bob: &mut Client, client: &Process) {
    let before = client.lines().len();
    let mut again = interval(std::time::Duration::from_millis(10));
    let arrived = async {
        while client.lines().len() == before {
            again.tick().await;
            let data = json!({ "type": "deal.moved", "tenant_id": "acme", "deal_id": 42, "to": "wön ✓" });
            server.publish(json!({ "data": data })).await;
            assert_eq!(bob.next_event().await, data);
            assert!(events(client).iter().all(|event| *event == data), "{:?}", client.lines());
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

    gets_more(&server, &mut bob, &client).await;
    link.cut();
    gets_more(&server, &mut bob, &client).await;
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
