//! A server that has seen something of everything, so that each of its metrics says something.

use serde_json::json;

use crate::broker::{FANOUT, ready};
use crate::support::amqp_client::AmqpClient;
use crate::support::client::Client;
use crate::support::rabbitmq::shared_vhost;
use crate::support::server::Server;

const REST: &str = r#"
database:
  url: "sqlite::memory:"
  queries:
    people: { sql: "SELECT 1 AS user WHERE :tenant IS NOT NULL", cache: { ttl: 30s } }
    broken: { sql: "SELECT json(:text) AS user WHERE :tenant IS NOT NULL" }
event: { payload: data, tenant: data.tenant, id: data.id }
auth:
  providers:
    - tokens: { ann: { user: 1, tenant: acme }, dan: { user: 1, tenant: globex } }
topics: [{ match: "deal:{id}", allow: true }]
routes:
  - { name: people, when: { data.kind: people }, to: { users: { query: people } } }
  - { name: broken, when: { data.kind: broken }, to: { users: { query: broken, with: { text: "{data.kind}" } } } }
  - { name: changed, when: { data.kind: changed }, do: { forget: people } }
  - { name: everyone, when: { data.kind: everyone }, to: everyone }
  - { name: deals, when: { data.kind: deal }, to: { topic: "deal:{data.deal}" } }
"#;

/// The server, and those who are connected.
pub(super) struct Traffic {
    pub(super) server: Server,
    _ann: Client,
}

pub(super) async fn start() -> Traffic {
    let url = shared_vhost();
    let server = Server::start(&format!("amqp:\n  url: {url}{FANOUT}{REST}")).await;
    ready(&server).await;
    let mut ann = Client::session(&server, "ann", &["deal:1"]).await;

    let back_end = AmqpClient::connect(&url).await;
    back_end.publish("events", "", event("acme", "deal")).await;
    back_end.publish("events", "", "no event").await;
    ann.next_event().await;
    for (tenant, kind) in [
        ("acme", "people"),
        ("acme", "broken"),
        ("acme", "everyone"),
        ("acme", "unrouted"),
        ("acme", "changed"),
        ("globex", "deal"),
        ("nobody", "deal"),
    ] {
        server.publish(serde_json::from_str(&event(tenant, kind)).unwrap()).await;
    }
    ann.next_event().await;
    assert_eq!(server.post("/publish", "no event".to_owned()).await.status, 400);

    let mut stranger = Client::connect(&server).await;
    for _ in 0..3 {
        stranger.send(&json!({ "access_token": "guessed" })).await;
    }
    assert_eq!(stranger.closed().await, Some(4401));
    server.wait_for_metric("pointsman_routed_events_total{outcome=\"dropped\"}", 3).await;
    server.wait_for_metric("pointsman_connections", 1).await;
    Traffic { server, _ann: ann }
}

fn event(tenant: &str, kind: &str) -> String {
    json!({ "data": { "tenant": tenant, "kind": kind, "deal": 1 } }).to_string()
}
