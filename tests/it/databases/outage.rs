//! Databases that are not there, go, come back, or fall silent: what needs them is refused, and all else goes on.

use std::sync::Arc;
use std::time::Duration;

use pointsman::event::Scalar;
use pointsman::lookup::LookupError;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{Asked, Server as Database};
use crate::support::client::Client;
use crate::support::held::eventually;
use crate::support::server::Server;

const SCHEMA: &str = "
    CREATE TABLE people (id int, tenant varchar(9), token varchar(20));
    INSERT INTO people VALUES (1, 'acme', 'sql-ann'), (9, 'globex', 'sql-gus');
    CREATE TABLE access (tenant varchar(9), record int, person int);
    INSERT INTO access VALUES ('acme', 42, 1), ('globex', 42, 9);
";

fn configuration(url: &str, timeout: &str) -> String {
    format!(
        r#"
event: {{ payload: data, tenant: data.tenant }}
auth:
  providers:
    - tokens: {{ ann: {{ user: 1, tenant: acme }}, gus: {{ user: 9, tenant: globex }} }}
    - sql: {{ query: person }}
topics:
  - {{ match: "open:{{id}}", allow: true }}
  - {{ match: "deal:{{id}}", allow: {{ query: can_view, with: {{ user: "{{session.user}}", record: "{{id}}" }} }} }}
routes:
  - {{ name: access, when: {{ data.record: {{ exists: true }} }}, to: {{ users: {{ query: viewers, with: {{ record: "{{data.record}}" }} }} }} }}
  - {{ name: rest, to: {{ tenant: true }} }}
database:
  url: {url}
  pool: {{ timeout: {timeout} }}
  queries:
    person: {{ sql: 'SELECT id AS user, tenant FROM people WHERE token = :token' }}
    can_view: {{ sql: 'SELECT 1 FROM access WHERE tenant = :tenant AND record = :record AND person = :user' }}
    viewers: {{ sql: 'SELECT person FROM access WHERE tenant = :tenant AND record = :record' }}
"#
    )
}

/// A token that only the database knows is not refused for good, and the connection is closed to come again.
async fn is_refused(server: &Server) {
    let mut client = Client::connect(server).await;
    client.send(&json!({ "access_token": "sql-ann" })).await;
    let said = client.expect(&json!({ "status": "error", "error": "authentication unavailable" })).await;
    assert!(said["retry_in_ms"].as_u64().is_some(), "{said}");
    assert_eq!(client.closed().await, Some(1013));
}

/// Whatever needs the database works: tokens, topics, audiences.
async fn is_well(server: &Server, ann: &mut Client, number: u32) {
    Client::session(server, "sql-ann", &["deal:42"]).await.leave().await;
    ann.subscribe(&["deal:42"]).await;
    ann.unsubscribe(&["deal:42"]).await;
    server.publish(json!({ "data": { "tenant": "acme", "record": 42, "n": number } })).await;
    assert_eq!(ann.next_event().await["n"], number);
}

/// What does not need it works as well.
async fn goes_on(server: &Server, ann: &mut Client, number: u32) {
    Client::session(server, "gus", &["open:1"]).await.leave().await;
    ann.subscribe(&["open:1"]).await;
    ann.unsubscribe(&["open:1"]).await;
    server.publish(json!({ "data": { "tenant": "acme", "n": number } })).await;
    assert_eq!(ann.next_event().await["n"], number);
}

/// Whatever needs it is refused, soon and for now.
async fn is_unavailable(server: &Server, ann: &mut Client) {
    ann.send(&json!({ "subscribe": ["open:1", "deal:42"] })).await;
    ann.expect(&json!({ "subscribed": ["open:1"], "denied": [], "unavailable": ["deal:42"] })).await;
    ann.unsubscribe(&["open:1"]).await;
    is_refused(server).await;
    let dropped = r#"pointsman_drops_total{cause="lookup_failed"}"#;
    let before = server.metric(dropped).await;
    server.publish(json!({ "data": { "tenant": "acme", "record": 42, "n": 0 } })).await;
    server.wait_for_metric(dropped, before + 1).await;
}

fn lines(server: &Server, message: &str) -> Vec<Value> {
    server.log().into_iter().filter(|line| line["message"] == message).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_comes_late_goes_and_comes_again() {
    const LOST: &str = "the database is unavailable; what needs it is refused until it is there";
    const BACK: &str = "the database is back";
    for mut database in tokio::task::block_in_place(Database::own) {
        let url = database.database(SCHEMA).await;
        database.stop();
        let server = Server::start(&configuration(&url, "2s")).await;
        let lost = server.wait_for_log("that there is none", |line| line["message"] == LOST).await;
        assert!(lost["error"].as_str().unwrap().contains("refused"), "{lost}");
        assert!(!lost.to_string().contains("s3cret"), "{lost}");
        assert_eq!(server.get("/readyz").await.status, 200, "readiness is about the program");
        let mut ann = Client::session(&server, "ann", &[]).await;
        is_unavailable(&server, &mut ann).await;
        goes_on(&server, &mut ann, 1).await;

        database.start();
        server.wait_for_metric("pointsman_database_up", 1).await;
        is_well(&server, &mut ann, 2).await;
        database.kill();
        is_unavailable(&server, &mut ann).await;
        assert_eq!(server.metric("pointsman_database_up").await, 0, "{url}");
        goes_on(&server, &mut ann, 3).await;

        database.start();
        server.wait_for_metric("pointsman_database_up", 1).await;
        is_well(&server, &mut ann, 4).await;
        assert_eq!([lines(&server, LOST).len(), lines(&server, BACK).len()], [2, 2], "{url}");
        server.wait_for_metric(r#"pointsman_database_connections{state="used"}"#, 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_costs_no_call() {
    for mut database in tokio::task::block_in_place(Database::own) {
        let url = database.database("").await;
        let sleep = if url.starts_with("postgres") {
            "SELECT 7 AS seven, pg_sleep(0.3)"
        } else {
            "SELECT 7 AS seven, SLEEP(0.3)"
        };
        let asked = Asked::open(&url, "max: 4, timeout: 20s", &[sleep]).await;
        for _ in 0..3 {
            let answers = futures_util::future::join_all((0..4).map(|_| asked.ask(0))).await;
            for answer in answers {
                assert_eq!(answer.map(|rows| rows[0][0].clone()), Ok(Scalar::Int(7)), "{url}");
            }
            assert_eq!(asked.metric(r#"pointsman_database_connections{state="idle"}"#), 4, "{url}");
            // In order, and not.
            if url.starts_with("mysql") {
                database.stop();
            } else {
                database.kill();
            }
            database.start();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_falls_silent_holds_up_nobody_else() {
    for database in tokio::task::block_in_place(Database::own) {
        let url = database.database(SCHEMA).await;
        let server = Server::start(&configuration(&url, "3s")).await;
        let mut ann = Client::session(&server, "ann", &[]).await;
        let mut gus = Client::session(&server, "gus", &["open:1"]).await;
        is_well(&server, &mut ann, 1).await;

        database.pause();
        let unanswered = r#"pointsman_lookups_total{query="viewers",outcome="unavailable"}"#;
        server.publish(json!({ "data": { "tenant": "acme", "record": 42, "n": 2 } })).await;
        server.publish(json!({ "data": { "tenant": "globex", "n": 3 } })).await;
        assert_eq!(gus.next_event().await["n"], 3);
        gus.subscribe(&["open:2"]).await;
        assert_eq!(server.metric(unanswered).await, 0, "the other tenant's is still waiting");
        assert_eq!(server.metric(r#"pointsman_database_connections{state="used"}"#).await, 1);
        // It ends in its time, and so does whatever comes after it.
        server.wait_for_metric(unanswered, 1).await;
        is_refused(&server).await;
        server.wait_for_metric("pointsman_database_up", 0).await;
        is_refused(&server).await;
        goes_on(&server, &mut ann, 4).await;
        server.wait_for_metric(r#"pointsman_database_connections{state="used"}"#, 0).await;

        database.resume();
        server.wait_for_metric("pointsman_database_up", 1).await;
        is_well(&server, &mut ann, 5).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_gone_refuses_at_once() {
    for mut database in tokio::task::block_in_place(Database::own) {
        let url = database.database("").await;
        let asked = Asked::open(&url, "max: 4, timeout: 60s", &["SELECT 7"]).await;
        assert_eq!(asked.one(0).await, Scalar::Int(7));
        database.stop();
        for _ in 0..3 {
            let answer =
                tokio::time::timeout(Duration::from_secs(20), asked.ask(0)).await.expect("long before its time");
            assert!(matches!(answer, Err(LookupError::Unavailable(_))), "{answer:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_that_waits_for_a_silent_database_is_refused_and_served_again_when_it_speaks() {
    for database in tokio::task::block_in_place(Database::own) {
        let url = database.database("").await;
        let asked = Arc::new(Asked::open(&url, "max: 4, timeout: 1s", &["SELECT 7"]).await);
        // Whoever asks does not wait for those who asked before, as the events of many tenants do not.
        let mut crowd = JoinSet::new();
        let coming = Arc::clone(&asked);
        crowd.spawn(async move {
            let mut turns = tokio::time::interval(Duration::from_millis(2));
            let mut waiting = JoinSet::new();
            loop {
                turns.tick().await;
                let asked = Arc::clone(&coming);
                waiting.spawn(async move { asked.ask(0).await.ok() });
                while waiting.try_join_next().is_some() {}
            }
        });
        let count =
            |outcome: &str| asked.metric(&format!("pointsman_lookups_total{{query=\"q0\",outcome=\"{outcome}\"}}"));
        eventually("the crowd is served", || count("ok") > 1_000, || asked.metrics.render()).await;
        database.pause();
        eventually("it is lost", || asked.metric("pointsman_database_up") == 0, || asked.metrics.render()).await;
        database.resume();
        let before = count("ok");
        eventually("the crowd is served", || count("ok") > before + 1_000, || asked.metrics.render()).await;
        crowd.shutdown().await;
    }
}
