//! Rights that change while sessions are connected, end to end: a database that the test changes, and the event that
//! says so.

use std::cell::Cell;

use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool};
use tempfile::TempDir;

use crate::support::client::Client;
use crate::support::server::Server;

const SCHEMA: &str = "
    CREATE TABLE access (tenant TEXT, record INTEGER, user INTEGER);
    INSERT INTO access VALUES
        ('acme', 1, 1), ('acme', 1, 2), ('acme', 2, 1), ('acme', 2, 2), ('globex', 1, 1), ('globex', 1, 2);
    CREATE TABLE people (token TEXT, user INTEGER, tenant TEXT, role TEXT);
    INSERT INTO people VALUES ('cleo', 3, 'acme', 'manager');";

const RULES: &str = r#"
database:
  url: "sqlite://{database}"
  pool: { timeout: 10s }
  queries:
    people:
      sql: SELECT user FROM access WHERE tenant = :tenant AND record = :record
      cache: { ttl: 1h }
    can_view:
      sql: SELECT 1 FROM access WHERE tenant = :tenant AND record = :record AND user = :user
      cache: { ttl: 1h }
    can_edit:
      sql: SELECT 1 FROM access WHERE tenant = :tenant AND record = :record AND user = :user
    # Begun before a change and answered after it: what it counts takes its time.
    slow_people:
      sql: >-
        SELECT user FROM access WHERE tenant = :tenant AND record = :record AND
        (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000000) SELECT count(*) FROM n) > 0
      cache: { ttl: 1h }
    by_token:
      sql: SELECT user, tenant, role FROM people WHERE token = :token
event: { payload: data, tenant: tenant }
limits: { outbox: { messages: 100000, bytes: 64MiB } }
auth:
  providers:
    - tokens:
        acme-1: { tenant: acme, user: 1 }
        acme-2: { tenant: acme, user: 2 }
        globex-1: { tenant: globex, user: 1 }
        globex-2: { tenant: globex, user: 2 }
    - sql: { query: by_token }
topics:
  - { match: "record:{id}", allow: { query: can_view, with: { record: "{id}", user: "{session.user}" } } }
  - { match: "edit:{id}", allow: { query: can_edit, with: { record: "{id}", user: "{session.user}" } } }
  - { match: "open:{id}", allow: true }
  - { match: "managers:{id}", allow: { when: { session.role: manager } } }
routes:
  - { name: marker, when: { kind: marker }, to: { tenant: true } }
  - { name: people, when: { kind: people }, to: { users: { query: people, with: { record: "{record}" } } } }
  - { name: slow, when: { kind: slow }, to: { users: { query: slow_people, with: { record: "{record}" } } } }
  - { name: viewers, when: { kind: viewers }, to: { topics: ["record:{record}", "edit:{record}", "open:{record}"] } }
  - name: changed
    when: { kind: changed }
    do:
      - { forget: people, with: { record: "{record}" } }
      - { forget: slow_people }
      - { forget: can_view, with: { record: "{record}" } }
      - { forget: can_edit, with: { record: "{record}" } }
  - { name: kick, when: { kind: kick }, do: { disconnect: { users: people } } }
"#;

/// A server, and the database that it asks.
struct Stage {
    server: Server,
    database: SqlitePool,
    /// Holds its file.
    _folder: TempDir,
    marks: Cell<u64>,
}

impl Stage {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("app.db");
        // Who writes does not wait for those who read.
        let options = SqliteConnectOptions::new().filename(&file).create_if_missing(true);
        let options = options.journal_mode(SqliteJournalMode::Wal);
        let database = SqlitePool::connect_with(options).await.unwrap();
        sqlx::raw_sql(SCHEMA).execute(&database).await.unwrap();
        let server = Server::start(&RULES.replace("{database}", file.to_str().unwrap())).await;
        Self { server, database, _folder: folder, marks: Cell::new(0) }
    }

    async fn revoke(&self, tenant: &str, record: i64, user: i64) {
        let query = sqlx::query("DELETE FROM access WHERE tenant = ?1 AND record = ?2 AND user = ?3");
        query.bind(tenant).bind(record).bind(user).execute(&self.database).await.unwrap();
    }

    async fn publish(&self, tenant: &str, kind: &str, record: i64, data: &Value) {
        self.server.publish(json!({ "tenant": tenant, "kind": kind, "record": record, "data": data })).await;
    }

    /// What was published before has come to all whom it ever will: the events that came to `client` until now.
    async fn reached(&self, tenant: &str, client: &mut Client) -> Vec<Value> {
        self.marks.set(self.marks.get() + 1);
        let own = json!({ "mark": self.marks.get() });
        self.publish(tenant, "marker", 0, &own).await;
        let mut reached = Vec::new();
        loop {
            match client.next_event().await {
                marker if marker == own => return reached,
                // Another one's.
                marker if marker.is_object() => {}
                event => reached.push(event),
            }
        }
    }

    async fn asked(&self, query: &str) -> i64 {
        self.server.metric(&format!("pointsman_lookups_total{{query=\"{query}\",outcome=\"ok\"}}")).await
    }

    async fn cached(&self, query: &str, result: &str) -> i64 {
        self.server.metric(&format!("pointsman_lookup_cache_total{{query=\"{query}\",result=\"{result}\"}}")).await
    }
}

#[tokio::test]
async fn an_answer_that_is_kept_is_not_asked_for_again_until_it_is_forgotten() {
    let stage = Stage::new().await;
    let mut ann = Client::session(&stage.server, "acme-1", &["record:1"]).await;
    let mut bob = Client::session(&stage.server, "acme-2", &["record:1"]).await;
    for number in 0..10 {
        stage.publish("acme", "people", 1, &json!(number)).await;
    }
    let all: Vec<Value> = (0..10).map(Value::from).collect();
    assert_eq!(stage.reached("acme", &mut ann).await, all);
    assert_eq!((stage.asked("people").await, stage.asked("can_view").await), (1, 2));
    let calls = stage.cached("people", "hit").await + stage.cached("people", "joined").await;
    assert_eq!((calls, stage.cached("people", "miss").await), (9, 1));
    assert_eq!(stage.server.metric("pointsman_lookup_cache_entries").await, 3);
    Client::session(&stage.server, "acme-1", &["record:1"]).await.leave().await;
    assert_eq!(stage.asked("can_view").await, 2);
    // Without a word, what is kept is good.
    stage.revoke("acme", 1, 2).await;
    stage.publish("acme", "people", 1, &json!("kept")).await;
    assert_eq!(stage.reached("acme", &mut bob).await.last(), Some(&json!("kept")));
    stage.publish("acme", "changed", 1, &json!({})).await;
    stage.publish("acme", "people", 1, &json!("new")).await;
    assert!(stage.reached("acme", &mut bob).await.is_empty());
    assert_eq!(stage.asked("people").await, 2);
    assert_eq!(stage.server.metric("pointsman_forgets_total").await, 4);
}

/// After a restart every client comes back at once, and no answer is kept yet.
#[tokio::test]
async fn a_hundred_sessions_with_the_same_hundred_topics_cost_a_hundred_queries() {
    let stage = Stage::new().await;
    let rows = "WITH RECURSIVE n(i) AS (SELECT 100 UNION ALL SELECT i + 1 FROM n WHERE i < 199)
        INSERT INTO access SELECT 'acme', i, 1 FROM n";
    sqlx::raw_sql(rows).execute(&stage.database).await.unwrap();
    let topics: Vec<String> = (100..200).map(|record| format!("record:{record}")).collect();
    let mut clients = Vec::new();
    for _ in 0..100 {
        clients.push(Client::session(&stage.server, "acme-1", &[]).await);
    }
    for client in &mut clients {
        client.send(&json!({ "subscribe": topics })).await;
    }
    for client in &mut clients {
        client.expect(&json!({ "status": "ok", "subscribed": topics, "denied": [] })).await;
    }
    assert_eq!(stage.asked("can_view").await, 100);
}

#[tokio::test]
async fn who_may_no_longer_is_unsubscribed_and_told_and_the_others_are_not() {
    let stage = Stage::new().await;
    let topics = ["record:1", "record:2", "edit:1", "open:1"];
    let mut ann = Client::session(&stage.server, "acme-1", &topics).await;
    let mut bob = Client::session(&stage.server, "acme-2", &topics).await;
    let mut phone = Client::session(&stage.server, "acme-2", &["record:2", "edit:1"]).await;
    let mut other = Client::session(&stage.server, "globex-2", &["record:1"]).await;
    stage.revoke("acme", 1, 2).await;
    stage.publish("acme", "changed", 1, &json!({})).await;
    let told = bob.expect(&json!({ "status": "ok", "type": "system", "message": "no longer allowed" })).await;
    let mut gone: Vec<&str> = told["unsubscribed"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    gone.sort_unstable();
    assert_eq!(gone, ["edit:1", "record:1"]);
    phone.expect(&json!({ "unsubscribed": ["edit:1"], "message": "no longer allowed" })).await;
    stage.publish("acme", "viewers", 1, &json!("one")).await;
    stage.publish("acme", "viewers", 2, &json!("two")).await;
    stage.publish("globex", "viewers", 1, &json!("globex")).await;
    assert_eq!(stage.reached("acme", &mut ann).await, ["one", "two"]);
    assert_eq!(stage.reached("acme", &mut phone).await, ["two"]);
    assert_eq!(stage.reached("globex", &mut other).await, ["globex"]);
    assert_eq!(bob.next_event().await, "one", "`open:1` is still his");
    bob.send(&json!({ "subscribe": ["record:1"] })).await;
    loop {
        let message = bob.next().await;
        if message.get("denied").is_some() {
            assert_eq!(message["denied"], json!(["record:1"]));
            break;
        }
    }
    assert_eq!(stage.server.metric("pointsman_subscriptions_withdrawn_total").await, 3);
}

#[tokio::test]
async fn a_subscription_that_nobody_can_check_is_taken_away() {
    let stage = Stage::new().await;
    let mut ann = Client::session(&stage.server, "acme-1", &["record:1", "record:2", "open:1"]).await;
    sqlx::raw_sql("ALTER TABLE access RENAME TO elsewhere").execute(&stage.database).await.unwrap();
    stage.publish("acme", "changed", 1, &json!({})).await;
    let told = ann.expect(&json!({ "status": "ok", "type": "system", "unsubscribed": ["record:1"] })).await;
    assert!(told["message"].as_str().unwrap().contains("cannot be checked now"), "{told}");
    stage.publish("acme", "viewers", 2, &json!("two")).await;
    assert_eq!(stage.reached("acme", &mut ann).await, ["two"]);
}

#[tokio::test]
async fn a_query_under_way_does_not_undo_a_revocation() {
    let stage = Stage::new().await;
    let mut ann = Client::session(&stage.server, "acme-1", &[]).await;
    let mut bob = Client::session(&stage.server, "acme-2", &[]).await;
    stage.publish("acme", "slow", 1, &json!("before")).await;
    let started = "pointsman_lookup_cache_total{query=\"slow_people\",result=\"miss\"}";
    stage.server.wait_for_metric(started, 1).await;
    stage.revoke("acme", 1, 2).await;
    stage.publish("acme", "changed", 1, &json!({})).await;
    stage.publish("acme", "slow", 1, &json!("after")).await;
    assert_eq!(stage.reached("acme", &mut ann).await, ["before", "after"]);
    // It is what the second query found that is kept.
    stage.publish("acme", "slow", 1, &json!("later")).await;
    assert_eq!(stage.reached("acme", &mut ann).await, ["later"]);
    assert_eq!((stage.asked("slow_people").await, stage.cached("slow_people", "hit").await), (2, 1));
    let of_bob = stage.reached("acme", &mut bob).await;
    assert!(of_bob.iter().all(|event| event == "before"), "{of_bob:?}");
}

#[tokio::test]
async fn a_session_that_is_somebody_else_now_keeps_what_is_still_theirs() {
    let stage = Stage::new().await;
    let mut cleo = Client::session(&stage.server, "cleo", &["open:1", "managers:1"]).await;
    sqlx::raw_sql("UPDATE people SET role = 'agent'").execute(&stage.database).await.unwrap();
    cleo.authenticate("cleo").await;
    cleo.expect(&json!({ "type": "system", "unsubscribed": ["managers:1"], "message": "no longer allowed" })).await;
    stage.publish("acme", "viewers", 1, &json!("still")).await;
    assert_eq!(stage.reached("acme", &mut cleo).await, ["still"]);
}

/// Long lists are not worth being shown where they differ.
fn assert_same(found: &[Value], expected: &[Value], what: &str) {
    let same = found.iter().zip(expected).take_while(|(found, expected)| found == expected).count();
    assert!(
        found.len() == same && expected.len() == same,
        "{what}: {} and not {}; from {same} on {:?} and not {:?}",
        found.len(),
        expected.len(),
        &found[same..].iter().take(5).collect::<Vec<_>>(),
        &expected[same..].iter().take(5).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn a_revoked_user_gets_nothing_that_is_decided_later_under_load() {
    const EVENTS: u64 = 1_500;
    let stage = Stage::new().await;
    let mut ann = Client::session(&stage.server, "acme-1", &["record:1", "edit:2"]).await;
    let mut bob = Client::session(&stage.server, "acme-2", &["record:1", "edit:2"]).await;
    // Others of the same names, whom all this does not touch.
    let mut other = Client::session(&stage.server, "globex-2", &["record:1"]).await;
    let event = |tenant: &str, kind: &str, number: u64| {
        let record = if kind == "viewers" && number.is_multiple_of(2) { 2 } else { 1 };
        json!({ "tenant": tenant, "kind": kind, "record": record, "data": number }).to_string()
    };
    let load = |from: u64, to: u64| {
        let lines: Vec<String> = (from..to)
            .flat_map(|number| {
                let kind = if number % 3 == 0 { "people" } else { "viewers" };
                [event("acme", kind, number), event("globex", "people", number)]
            })
            .collect();
        lines.join("\n")
    };
    let mut reached = Vec::new();
    for round in 0..3 {
        let from = round * EVENTS;
        // The one half is published while the database changes, the other follows the word of it.
        let (half, end) = (from + EVENTS / 2, from + EVENTS);
        let before = async {
            for start in (from..half).step_by(50) {
                let answer = stage.server.post("/publish", load(start, (start + 50).min(half))).await;
                assert_eq!(answer.status, 202, "{}", answer.body);
            }
        };
        let change = async {
            if round == 1 {
                stage.revoke("acme", 1, 2).await;
                stage.revoke("acme", 2, 2).await;
            }
        };
        tokio::join!(before, change);
        let mut lines = vec![load(half, half + 50)];
        for record in [1, 2] {
            lines.push(json!({ "tenant": "acme", "kind": "changed", "record": record, "data": {} }).to_string());
        }
        lines.push(json!({ "tenant": "acme", "kind": "marker", "data": format!("round {round}") }).to_string());
        lines.push(load(half + 50, end));
        let answer = stage.server.post("/publish", lines.join("\n")).await;
        assert_eq!(answer.status, 202, "{}", answer.body);
        // The database shall not change before the word of the last round is taken.
        reached.extend(stage.reached("acme", &mut ann).await);
    }
    let marks: Vec<Value> = (0..3).map(|round| json!(format!("round {round}"))).collect();
    let everything: Vec<Value> = (0..3 * EVENTS).map(Value::from).collect();
    let numbers = |events: &[Value]| events.iter().filter(|event| event.is_u64()).cloned().collect::<Vec<_>>();
    assert_same(&numbers(&reached), &everything, "who may gets every event once, in order");
    let others = stage.reached("globex", &mut other).await;
    assert_same(&others, &everything, "another tenant's user of that name");
    let of_bob = stage.reached("acme", &mut bob).await;
    let at = |mark: &Value| of_bob.iter().position(|event| event == mark).unwrap();
    assert_same(&of_bob[at(&marks[1])..], &marks[1..], "nothing that follows the word of the change");
    let until = usize::try_from(EVENTS + EVENTS / 2 + 50).unwrap();
    assert_same(&numbers(&of_bob[..at(&marks[1])]), &everything[..until], "and all that comes before");
    assert_eq!(stage.server.metric("pointsman_drops_total{cause=\"tenant_backlog\"}").await, 0);
}

#[tokio::test]
async fn users_are_disconnected_those_and_of_that_tenant_alone() {
    let stage = Stage::new().await;
    let mut ann = Client::session(&stage.server, "acme-1", &[]).await;
    let mut bob = Client::session(&stage.server, "acme-2", &["open:1"]).await;
    let mut phone = Client::session(&stage.server, "acme-2", &[]).await;
    let mut other = Client::session(&stage.server, "globex-2", &[]).await;
    stage.publish("acme", "viewers", 1, &json!("last")).await;
    let kick = json!({ "tenant": "acme", "kind": "kick", "people": [2, "2", 99, null], "data": {} });
    stage.server.publish(kick).await;
    stage.publish("acme", "viewers", 1, &json!("too late")).await;
    assert_eq!(bob.next_event().await, "last", "what was decided before comes before");
    assert_eq!((bob.closed().await, phone.closed().await), (Some(4403), Some(4403)));
    assert!(stage.reached("acme", &mut ann).await.is_empty());
    assert!(stage.reached("globex", &mut other).await.is_empty());
    assert_eq!(stage.server.metric("pointsman_disconnects_total").await, 2);
    assert_eq!(stage.server.metric("pointsman_connections_closed_total{code=\"4403\"}").await, 2);
    // Who was disconnected may come back, as far as the application lets him.
    Client::session(&stage.server, "acme-2", &["record:1"]).await.leave().await;
}
