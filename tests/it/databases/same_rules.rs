//! The same rules on all three databases, with the example schemas.

use serde_json::{Value, json};

use super::databases;
use crate::support::client::Client;
use crate::support::server::{Server, Setup};

const POSTGRES: &str = include_str!("../../../examples/database/postgresql.sql");
const MYSQL: &str = include_str!("../../../examples/database/mysql.sql");
const SQLITE: &str = include_str!("../../../examples/database/sqlite.sql");

/// The configuration, for this database.
fn configuration(database: &str) -> String {
    format!(
        r#"
event: {{ payload: data, tenant: data.tenant_id, id: data.id }}
ping: {{ every: 1s, last_event_id: {{ query: last_event_id }} }}
auth: {{ providers: [{{ sql: {{ query: user_by_token }} }}] }}
topics:
  - {{ match: "deal:{{id}}", allow: {{ query: can_view, with: {{ user: "{{session.user}}", record: "{{id}}" }} }} }}
routes:
  - name: notes
    when: {{ data.type: note.added }}
    to: {{ users: {{ query: users_with_access, with: {{ record: "{{data.record_id}}" }} }} }}
  - {{ name: deals, when: {{ data.type: "deal.*" }}, to: {{ topic: "deal:{{data.deal_id}}" }} }}
  - {{ name: rest, to: {{ tenant: true }} }}
database:
  {database}
  queries:
    user_by_token:
      sql: SELECT id AS user, tenant_id AS tenant, role, expires_at FROM users WHERE websocket_token = :token
    users_with_access: {{ sql: SELECT user_id FROM record_access WHERE tenant_id = :tenant AND record_id = :record }}
    can_view:
      sql: SELECT 1 FROM record_access WHERE tenant_id = :tenant AND record_id = :record AND user_id = :user
    last_event_id: {{ sql: SELECT max(id) FROM events WHERE tenant_id = :tenant }}
"#
    )
}

/// The payload of the next event that is none of the marker's.
async fn events_until_marker(client: &mut Client) -> Vec<Value> {
    let mut events = Vec::new();
    loop {
        let event = client.next_event().await;
        if event["type"] == "marker" {
            return events;
        }
        events.push(event);
    }
}

async fn check(database: &str) {
    let files = [("sqlite.sql", SQLITE)];
    let setup = Setup { files: &files, ..Setup::default() };
    let server = Server::start_with(&configuration(database), &setup).await;

    for token in ["demo-fay", "nobody", "DEMO-ANN", "demo-ann' OR '1'='1", ""] {
        let mut client = Client::connect(&server).await;
        client.send(&json!({ "access_token": token })).await;
        let denied = client.next().await;
        assert_eq!(denied["status"], "error", "{token} on {database}: {denied}");
        assert_ne!(denied["error"], "authentication unavailable", "{token} on {database}");
    }
    let mut ann = Client::session(&server, "demo-ann", &["deal:42", "deal:77"]).await;
    let mut bob = Client::session(&server, "demo-bob", &["deal:42"]).await;
    let mut dan = Client::session(&server, "demo-dan", &["deal:42"]).await;
    // A session that ends later.
    let mut cleo = Client::session(&server, "demo-cleo", &[]).await;
    bob.send(&json!({ "subscribe": ["deal:77"] })).await;
    bob.expect(&json!({ "subscribed": [], "denied": ["deal:77"] })).await;

    let note = |tenant: &str, id: u32, record: &str| {
        json!({ "data": {
        "type": "note.added", "tenant_id": tenant, "id": id, "record_id": record } })
    };
    server.publish(note("acme", 1, "42")).await;
    server.publish(note("acme", 2, "77")).await;
    server.publish(note("globex", 3, "42")).await;
    server.publish(json!({ "data": { "type": "deal.won", "tenant_id": "acme", "id": 4, "deal_id": 42 } })).await;
    for tenant in ["acme", "globex"] {
        server.publish(json!({ "data": { "type": "marker", "tenant_id": tenant } })).await;
    }
    for (client, expected) in [(&mut ann, &[1, 2, 4][..]), (&mut bob, &[1, 4]), (&mut cleo, &[1]), (&mut dan, &[3])] {
        let events = events_until_marker(client).await;
        let ids: Vec<i64> = events.iter().filter_map(|event| event["id"].as_i64()).collect();
        assert_eq!(ids, expected, "{database}");
    }
    for (client, newest) in [(&mut ann, 1002), (&mut dan, 1001)] {
        let ping = client.expect(&json!({ "type": "system", "message": "events ping" })).await;
        assert_eq!(ping["lastEventId"], newest, "{database}");
    }
    assert_eq!(server.metric("pointsman_database_up").await, 1, "{database}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_rules_decide_the_same_on_every_database() {
    let [postgres, mariadb] = databases(POSTGRES, MYSQL).await;
    check("url: \"sqlite::memory:\"\n  init: [sqlite.sql]").await;
    check(&format!("url: {postgres}")).await;
    check(&format!("url: {mariadb}")).await;
}
