//! Events and pings, as they stand on the wire.

use serde_json::json;

use crate::support::client::Client;
use crate::support::server::{Server, Setup};

const CONFIG: &str = "
event: { payload: data, tenant: tenant, id: id }
auth:
  providers:
    - tokens:
        ann: { user: 1, tenant: acme }
        eve: { user: 1, tenant: globex }
topics: [{ match: \"board:*\", allow: true }]
routes:
  - { name: topic, when: { topic: { exists: true } }, to: { topic: \"{topic}\" } }
  - { name: tenant, to: { tenant: true } }
";

const SQL: &str = "
CREATE TABLE events (tenant_id TEXT, id INTEGER);
INSERT INTO events VALUES ('acme', 1003), ('acme', 7), ('globex', 2001);
";

/// What is published stands in the event that the client gets, byte for byte: `id` (or nothing), `data`.
async fn check_bytes(server: &Server, client: &mut Client, id: &str, data: &str) {
    let key = if id.is_empty() { String::new() } else { format!("\"id\" : {id},") };
    let body = format!("{{ \"tenant\":\"acme\",{key}\"data\" :\t{data} }}");
    let answer = server.post("/publish", body).await;
    assert_eq!(answer.status, 202, "{data}: {}", answer.body);
    client.next().await;
    let key = if id.is_empty() { String::new() } else { format!("\"id\":{id},") };
    assert_eq!(client.received().last().unwrap(), &format!("{{\"status\":\"ok\",{key}\"data\":{data}}}"));
}

#[tokio::test]
async fn a_payload_is_delivered_byte_for_byte() {
    let server = Server::start(CONFIG).await;
    let mut ann = Client::session(&server, "ann", &[]).await;
    let (short, medium, long) = ("x".repeat(100), "ü".repeat(1000), "✓ ".repeat(50_000));
    for data in [
        "{}",
        r#"{ "a" : 1 ,"a":2, "b":[ ] , "c" :{ } }"#,
        "{\n\t\"over\":\r\n\"lines\"\n}",
        r#"{"number":1.50,"big":123456789012345678901234567890,"small":-0.0,"e":1E+2}"#,
        r#"{"text":"\u00fc\/\"\\ü✓🦀\ud83e\udd80\b"}"#,
        r#"{"\u0064ata":{"tenant":"globex","id":8}}"#,
        "null",
        "-0",
        "\"a text\"",
        "[ 1, 2 ,3 ]",
        &format!("\"{short}\""),
        &format!("\"{medium}\""),
        &format!("\"{long}\""),
    ] {
        check_bytes(&server, &mut ann, "", data).await;
    }
}

#[tokio::test]
async fn an_id_stands_beside_the_payload() {
    let server = Server::start(CONFIG).await;
    let mut ann = Client::session(&server, "ann", &[]).await;
    for id in ["7", "-7", "9223372036854775807", "\"7\"", "\"a-7\"", "\"\\\"\"", "\"ü\""] {
        check_bytes(&server, &mut ann, id, r#"{"id":"another"}"#).await;
    }
    let body = r#"{"tenant":"acme","id":null,"data":{}}"#.to_owned();
    assert_eq!(server.post("/publish", body).await.status, 202);
    ann.next().await;
    assert_eq!(ann.received().last().unwrap(), r#"{"status":"ok","data":{}}"#);
}

#[tokio::test]
async fn an_event_comes_once_and_in_order_however_many_topics_hold_it() {
    let server = Server::start(CONFIG).await;
    let mut ann = Client::session(&server, "ann", &["board:a", "board:*", "board:b"]).await;
    let event = |topic: &str, data: u32| json!({ "tenant": "acme", "topic": topic, "data": data });
    for (topic, data) in [("board:a", 1), ("board:b", 2), ("board:c", 3), ("deal:42", 4), ("board:a:x", 5)] {
        server.publish(event(topic, data)).await;
    }
    server.publish(json!({ "tenant": "globex", "topic": "board:a", "data": 6 })).await;
    server.publish(json!({ "tenant": "acme", "data": 7 })).await;
    for data in [1, 2, 3, 7] {
        assert_eq!(ann.next_event().await, data);
    }
    ann.unsubscribe(&["board:*"]).await;
    for (topic, data) in [("board:c", 8), ("board:a", 9)] {
        server.publish(event(topic, data)).await;
    }
    assert_eq!(ann.next_event().await, 9);
}

/// The first ping of a session with this token, where `ping` has this query for the newest event's id.
async fn check_ping(sql: &str, token: &str, expected: &str) {
    let query = match sql {
        "" => String::new(),
        sql => format!(
            "database: {{ url: \"sqlite::memory:\", init: [events.sql], queries: {{ newest: {{ sql: \"{sql}\" }} }} }}\n"
        ),
    };
    let last = if sql.is_empty() { "" } else { ", last_event_id: { query: newest }" };
    let yaml = format!("{CONFIG}{query}ping: {{ every: 1s{last} }}\n");
    let server = Server::start_with(&yaml, &Setup { files: &[("events.sql", SQL)], ..Setup::default() }).await;
    let mut client = Client::session(&server, token, &[]).await;
    let ping = format!(
        "{{\"status\":\"ok\",\"type\":\"system\",\"connected\":true,\"message\":\"events ping\",\"lastEventId\":{expected}}}"
    );
    for _ in 0..2 {
        client.next().await;
        assert_eq!(client.received().last().unwrap(), &ping, "{sql}");
    }
}

#[tokio::test]
async fn a_ping_tells_the_newest_event() {
    let of_tenant = "SELECT max(id) FROM events WHERE tenant_id = :tenant";
    tokio::join!(
        check_ping("", "ann", "null"),
        check_ping("SELECT max(id) FROM events", "ann", "2001"),
        check_ping("SELECT id FROM events WHERE id > 9000", "ann", "null"),
        check_ping("SELECT 'e-' || max(id) FROM events", "ann", "\"e-2001\""),
        check_ping(of_tenant, "ann", "1003"),
        check_ping(of_tenant, "eve", "2001"),
        check_ping("SELECT id FROM nowhere", "ann", "null"),
    );
}

#[tokio::test]
async fn a_session_ends_when_it_expires_and_not_before_it_is_refreshed() {
    let yaml = r#"
database:
  url: "sqlite::memory:"
  queries:
    whose:
      sql: SELECT 1 AS user, 'acme' AS tenant, unixepoch('subsec') + :token AS expires_at WHERE :token > 0
event: { payload: data, tenant: tenant }
auth: { providers: [{ sql: { query: whose } }] }
routes: [{ name: all, to: { tenant: true } }]
"#;
    let server = Server::start(yaml).await;
    let mut lasting = Client::session(&server, "0.3", &[]).await;
    lasting.send(&json!({ "access_token": "3600" })).await;
    lasting.expect(&json!({ "connected": true })).await;
    let mut sessions = Vec::new();
    for number in 0..50 {
        // At odd times, so that turns and timers meet in every way.
        sessions.push(Client::session(&server, &format!("0.{}", 100 + 7 * number), &[]).await);
    }
    for mut session in sessions {
        assert_eq!(session.closed().await, Some(4409));
    }
    server.publish(json!({ "tenant": "acme", "data": { "n": 1 } })).await;
    assert_eq!(lasting.next_event().await, json!({ "n": 1 }));
}
