//! `config/rabbitmq.yaml` as it is, by nothing but variables: a real broker, a real database, a back end in PHP that
//! publishes and says whose token it is, and the people who look.

mod world;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::server::Server;
use crate::support::{mariadb, postgres};
use world::{Database, KEY, World};

#[tokio::test]
async fn the_production_configuration_runs_on_postgresql() {
    let script = include_str!("../../../examples/database/postgresql.sql");
    check(Database::Postgres(postgres::shared().database(script).await)).await;
}

#[tokio::test]
async fn the_production_configuration_runs_on_mariadb() {
    let script = include_str!("../../../examples/database/mysql.sql");
    check(Database::MariaDb(mariadb::shared().database(script).await)).await;
}

#[tokio::test]
async fn the_production_configuration_runs_on_sqlite() {
    let script = include_str!("../../../examples/database/sqlite.sql");
    let folder = tempfile::tempdir().unwrap();
    check(Database::sqlite(folder.path(), script).await).await;
}

/// A day in the life of a server.
async fn check(database: Database) {
    let world = World::start(database).await;
    people_get_what_they_may_see(&world).await;
    tokens_come_from_the_database_and_from_the_endpoint(&world).await;
    plugins_decide_where_the_rules_say_so(&world).await;
    rights_that_change_count_at_once(&world).await;
    who_is_removed_is_put_out(&world).await;
    what_is_for_operators_is_for_them(&world).await;
    pings_tell_the_newest_event_and_leaving_is_told(world).await;
}

fn event(kind: &str, tenant: &str, fields: &Value) -> Value {
    let mut data = json!({ "type": kind, "tenant_id": tenant });
    data.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    json!({ "data": data })
}

/// Whoever gets this has got all that was published before.
fn last(tenant: &str) -> Value {
    event("announcement.last", tenant, &json!({}))
}

/// The types and some fields of the events that a client gets up to the last one; what is no event is passed over.
async fn gets(client: &mut Client, field: &str) -> Vec<(String, Value)> {
    let mut got = Vec::new();
    loop {
        let data = client.next().await["data"].clone();
        match data["type"].as_str() {
            Some("announcement.last") => return got,
            Some(kind) => got.push((kind.to_owned(), data[field].clone())),
            None => {}
        }
    }
}

fn list<const N: usize>(expected: [(&str, Value); N]) -> Vec<(String, Value)> {
    expected.map(|(kind, value)| (kind.to_owned(), value)).into()
}

async fn people_get_what_they_may_see(world: &World) {
    let server = &world.server;
    let mut ann = Client::session(server, "demo-ann", &["deal:42", "record:42", "managers:q3"]).await;
    let mut bob = Client::session(server, "demo-bob", &["board:*", "record:42", "inbox:2"]).await;
    let mut cleo = Client::session(server, "demo-cleo", &["deal:42", "record:77"]).await;
    let mut dan = Client::session(server, "demo-dan", &["deal:42", "record:42", "board:*"]).await;
    bob.send(&json!({ "subscribe": ["deal:77", "managers:q3", "inbox:1", "deal:x", "deal:*"], "ref": 1 })).await;
    bob.expect(&json!({ "subscribed": [], "denied": ["deal:77", "managers:q3", "inbox:1", "deal:x", "deal:*"] })).await;

    let moved = json!({ "deal_id": 42, "board": "sales", "actor_id": 3, "margin": 7 });
    let note = json!({ "record_id": 42, "owner_id": 3, "title": "t", "margin": 8 });
    world
        .publish(&[
            event("deal.moved", "acme", &moved),
            event("deal.moved", "globex", &moved),
            event("note.added", "acme", &note),
            event("task.added", "acme", &json!({ "assignee_id": 2, "margin": 9 })),
            event("report.ready", "acme", &json!({ "margin": 10 })),
            event("nothing.of.ours", "acme", &json!({})),
            last("acme"),
            last("globex"),
        ])
        .await;
    assert_eq!(
        gets(&mut ann, "margin").await,
        list([("deal.moved", json!(7)), ("note.added", json!(8)), ("report.ready", json!(10))])
    );
    assert_eq!(
        gets(&mut bob, "margin").await,
        list([("deal.moved", Value::Null), ("note.added", json!(8)), ("task.added", json!(9))])
    );
    assert_eq!(gets(&mut cleo, "margin").await, list([("note.added", Value::Null)]));
    assert_eq!(gets(&mut dan, "margin").await, list([("deal.moved", json!(7))]));

    // What is of no tenant is in no order with what is of one.
    world.publish(&[json!({ "send_to_all": true, "data": { "type": "maintenance" } })]).await;
    for client in [&mut ann, &mut bob, &mut cleo, &mut dan] {
        assert_eq!(client.next_event().await, json!({ "type": "maintenance" }));
    }
}

async fn tokens_come_from_the_database_and_from_the_endpoint(world: &World) {
    for (token, said) in [("demo-ann", "Connected as user 1"), (world::ENDPOINT_TOKEN, world::ENDPOINT_SAYS)] {
        let mut client = Client::connect(&world.server).await;
        client.send(&json!({ "access_token": token })).await;
        client.expect(&json!({ "connected": true, "message": said })).await;
    }
    // One that nobody knows, and one that has expired.
    for token in ["nobody", "demo-fay"] {
        let mut client = Client::connect(&world.server).await;
        client.send(&json!({ "access_token": token })).await;
        client.expect(&json!({ "status": "error", "error": "access denied" })).await;
    }
}

async fn plugins_decide_where_the_rules_say_so(world: &World) {
    let server = &world.server;
    // Cookies of the application are tokens: a session that is there, and none that is not, has ended, or is no cookie.
    let topics = ["record:42", "managers:sales", "board:sales", "report:sales:2026-11"];
    let mut ann = Client::session(server, "session.demo-session-ann", &topics).await;
    let topics = ["record:42", "board:sales", "report:team:7", "report:own:2"];
    let mut bob = Client::session(server, "session.demo-session-bob", &topics).await;
    for cookie in ["session.nobody", "session.demo-session-eve", "session.demo-session-ann' --"] {
        let mut client = Client::connect(server).await;
        client.send(&json!({ "access_token": cookie })).await;
        client.expect(&json!({ "status": "error", "error": "access denied" })).await;
    }
    // Reports are for roles, teams, and whose own they are.
    let others = ["report:sales:2026-11", "report:team:8", "report:team:x", "report:own:1", "report:team:*"];
    bob.send(&json!({ "subscribe": others })).await;
    bob.expect(&json!({ "subscribed": [], "denied": others })).await;
    let mut cleo = Client::session(server, "demo-cleo", &["record:42"]).await;
    let mut dan = Client::session(server, "demo-dan", &["record:42", "board:sales", "report:team:7"]).await;

    let figures = event("figures.changed", "acme", &json!({ "kind": "team", "report_id": 7, "margin": 4 }));
    let deal = |amount: u32, margin: u32| {
        let fields = json!({ "deal_id": 42, "board": "sales", "owner_id": 3, "amount": amount, "margin": margin });
        event("escalation.raised", "acme", &fields)
    };
    world
        .publish(&[
            event("file.uploaded", "acme", &json!({ "record_id": 42, "actor_id": 3, "margin": 1 })),
            deal(250_000, 2),
            deal(5, 3),
            figures.clone(),
            event("figures.changed", "acme", &json!({ "kind": "sales", "report_id": "2026-11", "margin": 5 })),
            last("acme"),
            last("globex"),
        ])
        .await;
    let (file, escalation, changed) = ("file.uploaded", "escalation.raised", "figures.changed");
    assert_eq!(
        gets(&mut ann, "margin").await,
        list([(file, json!(1)), (escalation, json!(2)), (escalation, json!(3)), (changed, json!(5))])
    );
    assert_eq!(
        gets(&mut bob, "margin").await,
        list([(file, json!(1)), (escalation, Value::Null), (changed, json!(4))])
    );
    assert_eq!(gets(&mut cleo, "margin").await, list([(escalation, json!(2)), (escalation, json!(3))]));
    assert_eq!(gets(&mut dan, "margin").await, list([]));

    // Who leaves the team loses its report; who logs out is put out, however long answers are kept.
    world.execute("DELETE FROM team_members WHERE tenant_id = 'acme' AND team_id = 7 AND user_id = 2").await;
    world.publish(&[event("team.changed", "acme", &json!({ "team_id": 7 })), figures, last("acme")]).await;
    assert_eq!(gets(&mut bob, "").await, list([]));
    bob.send(&json!({ "subscribe": ["report:team:7"] })).await;
    bob.expect(&json!({ "subscribed": [], "denied": ["report:team:7"] })).await;
    world.execute("DELETE FROM sessions WHERE id = 'demo-session-bob'").await;
    world.publish(&[event("user.removed", "acme", &json!({ "user_id": 2 })), last("acme")]).await;
    assert_eq!(bob.closed().await, Some(4403));
    gets(&mut ann, "").await;
    let mut bob = Client::connect(server).await;
    bob.send(&json!({ "access_token": "session.demo-session-bob" })).await;
    bob.expect(&json!({ "error": "access denied" })).await;
}

async fn rights_that_change_count_at_once(world: &World) {
    let server = &world.server;
    let mut ann = Client::session(server, "demo-ann", &["deal:42", "record:42"]).await;
    let mut bob = Client::session(server, "demo-bob", &["deal:42", "record:42"]).await;
    let both = [
        event("deal.moved", "acme", &json!({ "deal_id": 42, "actor_id": 3 })),
        event("note.added", "acme", &json!({ "record_id": 42, "owner_id": 3 })),
        last("acme"),
    ];
    let seen = list([("deal.moved", Value::Null), ("note.added", Value::Null)]);
    world.publish(&both).await;
    assert_eq!((gets(&mut ann, "").await, gets(&mut bob, "").await), (seen.clone(), seen.clone()));

    world.execute("DELETE FROM record_access WHERE tenant_id = 'acme' AND record_id = 42 AND user_id = 2").await;
    world.publish(&[&[event("rights.changed", "acme", &json!({ "record_id": 42 }))], &both[..]].concat()).await;
    assert_eq!((gets(&mut ann, "").await, gets(&mut bob, "").await), (seen.clone(), Vec::new()));

    world.execute("INSERT INTO record_access (tenant_id, record_id, user_id) VALUES ('acme', 42, 2)").await;
    world.publish(&[event("rights.changed", "acme", &json!({ "record_id": 42 })), last("acme")]).await;
    gets(&mut bob, "").await;
    bob.subscribe(&["deal:42"]).await;
    world.publish(&both).await;
    assert_eq!(gets(&mut bob, "").await, seen);
}

async fn who_is_removed_is_put_out(world: &World) {
    let mut bob = Client::session(&world.server, "demo-bob", &[]).await;
    let mut ann = Client::session(&world.server, "demo-ann", &[]).await;
    world.execute("UPDATE users SET websocket_token = NULL WHERE id = 2").await;
    world.publish(&[event("user.removed", "acme", &json!({ "user_id": 2 })), last("acme")]).await;
    assert_eq!(bob.closed().await, Some(4403));
    assert_eq!(gets(&mut ann, "").await, Vec::new());
    let mut bob = Client::connect(&world.server).await;
    bob.send(&json!({ "access_token": "demo-bob" })).await;
    bob.expect(&json!({ "error": "access denied" })).await;
}

async fn what_is_for_operators_is_for_them(world: &World) {
    assert_eq!(world.server.get("/readyz").await.status, 200);
    assert_eq!(world.server.get("/metrics").await.status, 401);
    let metrics = world.get_with_key("/metrics").await;
    assert_eq!(metrics.status, 200);
    assert!(metrics.body.contains("\npointsman_broker_connected 1\n"), "{}", metrics.body);
    // What is secret is in no log.
    let log = format!("{:?}", world.server.log());
    for secret in [KEY, world::AUTH_KEY, "demo-", "s3cret-m", world::ENDPOINT_TOKEN] {
        assert!(!log.contains(secret), "`{secret}` is logged");
    }
    // The configuration is for machines with more descriptors than a test may have. There is nothing else to warn of.
    let is_short = |line: &Value| line["target"] == "pointsman::shard::admission";
    let bad = |line: &&Value| (line["level"] == "WARN" || line["level"] == "ERROR") && !is_short(line);
    let log = world.server.log();
    assert_eq!(log.iter().filter(bad).collect::<Vec<_>>(), Vec::<&Value>::new());
}

async fn pings_tell_the_newest_event_and_leaving_is_told(world: World) {
    let mut ann = Client::session(&world.server, "demo-ann", &[]).await;
    world.execute("INSERT INTO events (id, tenant_id, body) VALUES (2000, 'acme', '{}'), (2001, 'globex', '{}')").await;
    let mut ids = Vec::new();
    while ids.last() != Some(&json!(2000)) {
        let ping = ann.expect(&json!({ "type": "system", "connected": true, "message": "events ping" })).await;
        ids.push(ping["lastEventId"].clone());
    }
    assert!(ids.iter().all(|id| *id == 1002 || *id == 2000), "{ids:?}");

    world.server.signal(Signal::TERM);
    let leaving = loop {
        let message = ann.next().await;
        if message["message"] != "events ping" {
            break message;
        }
    };
    assert_eq!((&leaving["connected"], &leaving["message"]), (&json!(false), &json!("server restarting")));
    assert!(leaving["reconnect_in_ms"].is_number(), "{leaving}");
    assert_eq!(ann.closed().await, Some(1012));
    assert_eq!(world.server.exit_code().await, Some(0));
}

/// Ids and tokens have types in PostgreSQL, and clients send what they like.
#[tokio::test]
async fn what_no_row_can_hold_is_a_no_and_no_outage() {
    let script = "CREATE TABLE users (id bigint, token uuid); CREATE TABLE deals (id bigint, team integer);
        INSERT INTO users VALUES (7, '6f1c2a52-3c0b-4e58-9d52-0a6f4f8b7a10'); INSERT INTO deals VALUES (42, 1);";
    let url = postgres::shared().database(script).await;
    let server = Server::start(&format!(
        "
database:
  url: {url}
  queries:
    by_token: {{ sql: \"SELECT id AS user, 'acme' AS tenant FROM users WHERE token = :token\" }}
    deal: {{ sql: \"SELECT 1 FROM deals WHERE id = :deal AND :tenant = 'acme'\" }}
event: {{ payload: data, tenant: data.tenant }}
auth: {{ providers: [{{ sql: {{ query: by_token }} }}] }}
topics: [{{ match: \"deal:{{id}}\", allow: {{ query: deal, with: {{ deal: \"{{id}}\" }} }} }}]
routes: [{{ name: all, to: {{ tenant: true }} }}]
"
    ))
    .await;
    let mut client = Client::connect(&server).await;
    client.send(&json!({ "access_token": "no-uuid" })).await;
    client.expect(&json!({ "status": "error", "error": "access denied" })).await;
    client.authenticate("6f1c2a52-3c0b-4e58-9d52-0a6f4f8b7a10").await;
    client.send(&json!({ "subscribe": ["deal:42", "deal:x", "deal:99999999999999999999"] })).await;
    client.expect(&json!({ "subscribed": ["deal:42"], "denied": ["deal:x", "deal:99999999999999999999"] })).await;
}
