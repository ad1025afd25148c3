//! What changes beside the rules: identities, bounds, pings, the database; and what does not.

use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Stage, rules};
use crate::support::client::Client;
use crate::support::http;
use crate::support::process::DEADLINE;

/// A configuration with this beside its rules.
fn with(parts: &str) -> String {
    format!("{}{parts}\n", rules("r"))
}

#[tokio::test]
async fn connections_stay_and_new_bounds_count_for_what_comes_next() {
    let topics = "topics: [{ match: \"deal:{id}\", allow: true }]\n";
    let stage = Stage::start(&[("pointsman.yaml", &with(topics))]).await;
    let mut ann = Client::session(&stage.server, "ann", &["deal:1", "deal:2"]).await;
    stage.write("pointsman.yaml", &with(&format!("{topics}limits: {{ topics: 2, connections: 1 }}")));
    assert_eq!(stage.reload().await.0, 200);
    ann.send(&json!({ "subscribe": ["deal:3"] })).await;
    let said = ann.next().await;
    assert_eq!(said["status"], "error", "{said}");
    let mut refused = String::new();
    let mut second = TcpStream::connect(stage.server.clients).await.unwrap();
    timeout(DEADLINE, second.read_to_string(&mut refused)).await.expect("an answer in time").unwrap();
    assert!(refused.starts_with("HTTP/1.1 503 "), "one connection is open: {refused}");
    stage.write("pointsman.yaml", &with(&format!("{topics}limits: {{ topics: 3 }}")));
    assert_eq!(stage.reload().await.0, 200);
    ann.subscribe(&["deal:3"]).await;
    Client::session(&stage.server, "ann", &[]).await.leave().await;
    assert_eq!(stage.server.metric("pointsman_rulebook_generation").await, 3);
}

#[tokio::test]
async fn an_event_may_be_as_large_as_is_said_now() {
    let stage = Stage::start(&[("pointsman.yaml", &with("limits: { event: 1KiB }"))]).await;
    let event = |size: usize| json!({ "tenant": "acme", "data": "x".repeat(size) }).to_string();
    for (limit, size, status) in
        [(None, 500, 202), (None, 2000, 413), (Some("4KiB"), 2000, 202), (Some("17MiB"), 16 << 20, 202)]
    {
        if let Some(limit) = limit {
            stage.write("pointsman.yaml", &with(&format!("limits: {{ event: {limit} }}")));
            assert_eq!(stage.reload().await.0, 200);
        }
        let answer = stage.server.post("/publish", event(size)).await;
        assert_eq!(answer.status, status, "{limit:?} {size}: {}", answer.body);
        assert!(status == 202 || answer.body.contains("`limits.event` allows 1024"), "{}", answer.body);
    }
    let rejected = "pointsman_events_rejected_total{source=\"http\",cause=\"too_large\"}";
    assert_eq!(stage.server.metric(rejected).await, 1);
}

#[tokio::test]
async fn tokens_are_known_by_the_providers_in_force() {
    let stage = Stage::start(&[("pointsman.yaml", &rules("one"))]).await;
    let mut ann = Client::session(&stage.server, "ann", &[]).await;
    stage.write("pointsman.yaml", &rules("two").replace("ann: {", "eve: {"));
    assert_eq!(stage.reload().await.0, 200);
    Client::session(&stage.server, "eve", &[]).await.leave().await;
    let mut late = Client::connect(&stage.server).await;
    late.send(&json!({ "access_token": "ann" })).await;
    late.expect(&json!({ "status": "error", "error": "access denied" })).await;
    // Who is there stays.
    stage.server.publish(json!({ "tenant": "acme", "data": 1 })).await;
    assert_eq!(ann.next_event().await, 1);
}

const ASKED: &str = "pointsman_lookups_total{query=\"by_token\",outcome=\"ok\"}";

/// A configuration whose identities come from a query, kept for an hour.
fn asking(route: &str, role: &str) -> String {
    let database = format!(
        "database:\n  url: \"sqlite::memory:\"\n  queries:\n    by_token:\n      \
         sql: SELECT 1 AS user, 'acme' AS tenant, '{role}' AS role WHERE :token = 'bob'\n      cache: {{ ttl: 1h }}\n"
    );
    let rules = rules(route).replace("providers: [", "providers: [{ sql: { query: by_token } }, ");
    format!("{rules}{database}")
}

#[tokio::test]
async fn what_a_provider_knows_is_kept_where_it_did_not_change() {
    let stage = Stage::start(&[("pointsman.yaml", &asking("one", "agent"))]).await;
    Client::session(&stage.server, "bob", &[]).await.leave().await;
    stage.write("pointsman.yaml", &asking("two", "agent"));
    assert_eq!(stage.reload().await.0, 200);
    Client::session(&stage.server, "bob", &[]).await.leave().await;
    assert_eq!(stage.server.metric(ASKED).await, 1, "the database is the same, and what it has answered");
    stage.write("pointsman.yaml", &asking("two", "manager"));
    assert_eq!(stage.reload().await.0, 200);
    Client::session(&stage.server, "bob", &[]).await.leave().await;
    assert_eq!(stage.server.metric(ASKED).await, 2, "another query is asked anew");
}

#[tokio::test]
async fn pings_come_as_often_as_is_said_now() {
    let stage = Stage::start(&[("pointsman.yaml", &with("ping: { every: 1h }"))]).await;
    let mut ann = Client::session(&stage.server, "ann", &[]).await;
    stage.write("pointsman.yaml", &with("ping: { every: 1s }"));
    assert_eq!(stage.reload().await.0, 200);
    ann.expect(&json!({ "type": "system", "message": "events ping" })).await;
}

#[tokio::test]
async fn what_takes_a_restart_is_named_and_the_rest_applies() {
    let stage = Stage::start(&[("pointsman.yaml", &with("shards: 1"))]).await;
    assert_eq!(stage.attempts().await[0]["needs_restart"], json!([]));
    let text = with("shards: 2")
        .replace("listen: 127.0.0.1:0\nadmin", "listen: 127.0.0.1:1\nadmin")
        .replace("name: r", "name: s");
    stage.write("pointsman.yaml", &text);
    let (status, answer) = stage.reload().await;
    assert_eq!((status, &answer["needs_restart"]), (200, &json!(["listen", "shards"])), "{answer:#}");
    assert_eq!(stage.standing().await, (2, "s".to_owned()));
    Client::session(&stage.server, "ann", &[]).await.leave().await;
    stage
        .server
        .wait_for_log("what takes a restart", |line| {
            line["message"].as_str().is_some_and(|text| text.contains("restart"))
        })
        .await;
}

#[tokio::test]
async fn the_key_of_the_admin_listener_is_the_one_that_is_said_now() {
    let keyed =
        |key: &str| rules("r").replace("{ listen: 127.0.0.1:0 }", &format!("{{ listen: 127.0.0.1:0, key: {key} }}"));
    let stage = Stage::start(&[("pointsman.yaml", &keyed("old-key"))]).await;
    let ask = async |key: &str| {
        let bearer = format!("Bearer {key}");
        let headers = [("authorization", bearer.as_str())];
        http::request(stage.server.admin, "POST", "/api/reload", &headers, String::new()).await.status
    };
    stage.write("pointsman.yaml", &keyed("new-key"));
    assert_eq!((ask("new-key").await, ask("old-key").await), (401, 200));
    assert_eq!((ask("old-key").await, ask("new-key").await), (401, 200));
    for line in stage.server.log() {
        let line = line.to_string();
        assert!(!line.contains("old-key") && !line.contains("new-key"), "{line}");
    }
}

#[tokio::test]
async fn a_database_that_can_never_answer_is_refused() {
    let stage = Stage::start(&[("pointsman.yaml", &asking("one", "agent"))]).await;
    let broken = asking("two", "agent").replace("  queries:\n", "  init: [schema.sql]\n  queries:\n");
    stage.write("schema.sql", "CREATE TABLE (");
    stage.write("pointsman.yaml", &broken);
    let (status, answer) = stage.reload().await;
    assert_eq!((status, &answer["reason"]), (409, &json!("database")), "{answer:#}");
    assert_eq!(stage.standing().await, (1, "one".to_owned()));
    Client::session(&stage.server, "bob", &[]).await.leave().await;
}
