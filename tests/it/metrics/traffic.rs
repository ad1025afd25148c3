//! A server that has seen something of everything, so that each of its metrics says something.

use serde_json::json;

use super::exposition::{Family, scrape};
use crate::broker::{FANOUT, ready};
use crate::support::amqp_client::AmqpClient;
use crate::support::client::Client;
use crate::support::rabbitmq::shared_vhost;
use crate::support::server::{Server, Setup};

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
  - { name: by-plugin, when: { data.kind: [scripted, failing] }, script: kinds.lua }
  - { name: everyone, when: { data.kind: everyone }, to: everyone }
  - { name: deals, when: { data.kind: deal }, to: { topic: "deal:{data.deal}" } }
"#;

const PLUGIN: (&str, &str) = (
    "kinds.lua",
    "return { route = function(event, to) if event.data.kind == 'failing' then error('it fails') end to:tenant() end }",
);

/// Nobody listens there, so that a connection fails.
const NOBODY: &str = "amqp://guest:guest@127.0.0.1:1/x";

/// The server, and those who are connected.
pub(super) struct Traffic {
    pub(super) server: Server,
    /// One more, with a certificate, and with a provider that has to be asked.
    pub(super) secure: Server,
    _ann: Client,
}

pub(super) async fn start() -> Traffic {
    let url = shared_vhost();
    let yaml = format!("amqp:\n  url: [\"{NOBODY}\", \"{url}\"]{FANOUT}{REST}");
    let server = Server::start_with(&yaml, &Setup { files: &[PLUGIN], ..Setup::default() }).await;
    ready(&server).await;
    let mut ann = Client::session(&server, "ann", &["deal:1"]).await;

    let back_end = AmqpClient::connect(&url).await;
    back_end.publish("events", "", event("acme", "deal")).await;
    back_end.publish("events", "", "no event").await;
    ann.next_event().await;
    for (tenant, kind) in [
        ("acme", "people"),
        ("acme", "people"),
        ("acme", "broken"),
        ("acme", "everyone"),
        ("acme", "unrouted"),
        ("acme", "changed"),
        ("acme", "scripted"),
        ("acme", "failing"),
        ("globex", "deal"),
        ("nobody", "deal"),
    ] {
        server.publish(serde_json::from_str(&event(tenant, kind)).unwrap()).await;
    }
    for _ in 0..3 {
        ann.next_event().await;
    }
    assert_eq!(server.post("/publish", "no event".to_owned()).await.status, 400);

    let mut stranger = Client::connect(&server).await;
    for _ in 0..3 {
        stranger.send(&json!({ "access_token": "guessed" })).await;
    }
    assert_eq!(stranger.closed().await, Some(4401));
    server.wait_for_metric("pointsman_routed_events_total{outcome=\"dropped\"}", 4).await;
    server.wait_for_metric("pointsman_connections", 1).await;
    Traffic { server, secure: secure().await, _ann: ann }
}

async fn secure() -> Server {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (cert, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let files = [("tls.crt", cert.as_str()), ("tls.key", key.as_str()), PLUGIN];
    let asking = "  providers:\n    - http: { url: \"http://127.0.0.1:1/auth\" }";
    let yaml = format!("tls: {{ cert: tls.crt, key: tls.key }}{}", REST.replace("  providers:", asking));
    Server::start_with(&yaml, &Setup { files: &files, ..Setup::default() }).await
}

impl Traffic {
    /// What both say together.
    pub(super) async fn scrape(&self) -> Vec<Family> {
        let mut families = scrape(&self.server).await;
        for more in scrape(&self.secure).await {
            // One of which a server has nothing to say is not there at all.
            match families.iter_mut().find(|family| family.name == more.name) {
                Some(family) => family.samples.extend(more.samples),
                None => families.push(more),
            }
        }
        families
    }
}

fn event(tenant: &str, kind: &str) -> String {
    json!({ "data": { "tenant": tenant, "kind": kind, "deal": 1 } }).to_string()
}
