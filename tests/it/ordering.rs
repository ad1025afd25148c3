//! Order within a tenant, whatever its events have to wait for; and tenants that do not wait for each other.

use std::path::Path;

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, SqliteConnection};

use crate::support::client::Client;
use crate::support::server::Server;

/// Counts to `:steps`, and answers the user that it was given: as slow as one likes.
const COUNT: &str = "WITH RECURSIVE c(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM c WHERE n < :steps)
         SELECT :user FROM c WHERE n = :steps AND :tenant IS NOT NULL";

/// A server whose events with `steps` need the database in the file `people.db`.
fn settings(timeout: &str) -> String {
    format!(
        r#"
database:
  url: "sqlite:people.db"
  pool: {{ timeout: {timeout} }}
  queries:
    count:
      sql: >-
        {COUNT}
    people: {{ sql: SELECT person FROM people WHERE tenant = :tenant }}
event: {{ payload: data, tenant: data.tenant }}
limits: {{ outbox: {{ messages: 10000, bytes: 16MiB }} }}
auth:
  providers:
    - tokens:
        acme: {{ user: 1, tenant: acme }}
        globex: {{ user: 1, tenant: globex }}
        t0: {{ user: 1, tenant: t0 }}
        t1: {{ user: 1, tenant: t1 }}
        t2: {{ user: 1, tenant: t2 }}
        t3: {{ user: 1, tenant: t3 }}
        t4: {{ user: 1, tenant: t4 }}
routes:
  - name: counted
    when: {{ data.steps: {{ exists: true }} }}
    to: {{ users: {{ query: count, with: {{ steps: "{{data.steps}}", user: 1 }} }} }}
  - {{ name: asked, when: {{ data.ask: true }}, to: {{ users: {{ query: people }} }} }}
  - {{ name: rest, to: {{ tenant: true }} }}
"#
    )
}

/// The database's file, from outside of the program.
struct File(SqliteConnection);

impl File {
    /// Makes the file, with the table that the query `people` reads.
    async fn make(folder: &Path) -> Self {
        let url = format!("sqlite:{}?mode=rwc", folder.join("people.db").display());
        let mut file = Self(SqliteConnection::connect(&url).await.unwrap());
        file.run("CREATE TABLE people (tenant TEXT, person INTEGER)").await;
        file.run("INSERT INTO people VALUES ('acme', 1), ('globex', 1)").await;
        file
    }

    /// Nobody else can read from now on: whoever tries waits.
    async fn lock(&mut self) {
        self.run("BEGIN EXCLUSIVE").await;
    }

    async fn unlock(&mut self) {
        self.run("COMMIT").await;
    }

    async fn run(&mut self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut self.0).await.unwrap();
    }
}

fn event(tenant: &str, number: usize) -> Value {
    json!({ "data": { "tenant": tenant, "n": number } })
}

/// As [`event`], for which the database must be asked.
fn asking(tenant: &str, number: usize) -> Value {
    json!({ "data": { "tenant": tenant, "n": number, "ask": true } })
}

async fn publish(server: &Server, events: &[Value]) {
    let lines: Vec<String> = events.iter().map(Value::to_string).collect();
    let answer = server.post("/publish", lines.join("\n")).await;
    assert_eq!(answer.json()["accepted"], events.len(), "{}", answer.body);
}

/// The next events must be of these numbers.
async fn check(client: &mut Client, numbers: impl IntoIterator<Item = usize>) {
    for number in numbers {
        let got = client.next_event().await;
        assert_eq!(got["n"], number, "{got}");
    }
}

#[tokio::test]
async fn who_waits_for_a_query_is_overtaken_by_other_tenants_alone() {
    let server = Server::start(&settings("60s")).await;
    let mut file = File::make(server.folder()).await;
    let mut acme = Client::session(&server, "acme", &[]).await;
    let mut globex = Client::session(&server, "globex", &[]).await;

    // No query is answered before the file is free again.
    file.lock().await;
    publish(&server, &[asking("acme", 0), event("acme", 1), asking("acme", 2), event("acme", 3)]).await;
    publish(&server, &[event("globex", 0), event("globex", 1)]).await;
    check(&mut globex, 0..2).await;
    publish(&server, &[event("acme", 4), event("globex", 2)]).await;
    check(&mut globex, [2]).await;
    let decided = |route: &str| format!("pointsman_decisions_total{{route=\"{route}\"}}");
    assert_eq!(server.metric(&decided("asked")).await, 0);
    assert_eq!(server.metric(&decided("rest")).await, 3, "those of globex alone");
    file.unlock().await;
    check(&mut acme, 0..5).await;
    assert_eq!(server.metric(&decided("asked")).await, 2);
}

#[tokio::test]
async fn queries_of_any_length_leave_the_order_of_a_tenant_as_it_was() {
    let server = Server::start(&settings("60s")).await;
    File::make(server.folder()).await;
    let mut clients = [Client::session(&server, "acme", &[]).await, Client::session(&server, "globex", &[]).await];
    // Each tenant has as many as may wait: long ones among short ones, and some without any query.
    let steps = [20_000, 0, -1, 5_000, 1, -1, -1, 300];
    let (mut events, mut counted) = (Vec::new(), 0);
    for number in 0..250 {
        for tenant in ["acme", "globex"] {
            let mut event = event(tenant, number);
            let steps = steps[number % steps.len()];
            if steps >= 0 {
                event["data"]["steps"] = steps.into();
                counted += 1;
            }
            events.push(event);
        }
    }
    publish(&server, &events).await;
    for client in &mut clients {
        check(client, 0..250).await;
    }
    assert_eq!(server.metric("pointsman_lookups_total{query=\"count\",outcome=\"ok\"}").await, counted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_events_arrive_complete_in_order_and_once() {
    const EACH: usize = 1000;
    const TENANTS: [&str; 5] = ["t0", "t1", "t2", "t3", "t4"];
    let server = Server::start(&settings("60s")).await;
    let mut clients = Vec::new();
    for tenant in TENANTS.iter().cycle().take(20) {
        let mut client = Client::session(&server, tenant, &[]).await;
        clients.push(tokio::spawn(async move {
            for number in 0..=EACH {
                let expected = json!({ "tenant": tenant, "n": number });
                assert_eq!(client.next_event().await, expected);
            }
        }));
    }
    for start in (0..EACH).step_by(100) {
        let numbers = start..start + 100;
        let events = numbers.flat_map(|number| TENANTS.map(|tenant| event(tenant, number)));
        publish(&server, &events.collect::<Vec<_>>()).await;
    }
    // The last one of each tenant shows that none before it comes twice.
    publish(&server, &TENANTS.map(|tenant| event(tenant, EACH))).await;
    for client in clients {
        client.await.unwrap();
    }
    assert_eq!(server.metric("pointsman_deliveries_total").await, 20 * (1 + i64::try_from(EACH).unwrap()));
}

#[tokio::test]
async fn a_database_that_cannot_answer_costs_what_needs_it_alone() {
    let server = Server::start(&settings("200ms")).await;
    let mut acme = Client::session(&server, "acme", &[]).await;
    let dropped = || server.metric("pointsman_drops_total{cause=\"lookup_failed\"}");

    // There is no file yet.
    publish(&server, &[asking("acme", 0), event("acme", 1)]).await;
    check(&mut acme, [1]).await;
    assert_eq!(dropped().await, 1);
    let line = server.wait_for_log("that it dropped the event", |line| line["message"] == "event dropped").await;
    assert_eq!((&line["tenant"], &line["route"]), (&json!("acme"), &json!("asked")), "{line}");
    assert!(line["why"].as_str().unwrap().contains("there is no file"), "{line}");

    let mut file = File::make(server.folder()).await;
    publish(&server, &[asking("acme", 2)]).await;
    check(&mut acme, [2]).await;

    file.lock().await;
    publish(&server, &[asking("acme", 3), event("acme", 4)]).await;
    check(&mut acme, [4]).await;
    assert_eq!(dropped().await, 2);
    assert_eq!(server.get("/readyz").await.status, 200, "the rest goes on");

    file.unlock().await;
    publish(&server, &[asking("acme", 5)]).await;
    check(&mut acme, [5]).await;
    assert_eq!(dropped().await, 2);
}

#[tokio::test]
async fn a_burst_that_a_healthy_database_answers_loses_nothing() {
    const BURST: usize = 5_000;
    let server = Server::start(&settings("60s")).await;
    File::make(server.folder()).await;
    let mut acme = Client::session(&server, "acme", &[]).await;
    // Every third is of a route without a query, and waits behind the others.
    let one = |number| if number % 3 == 0 { event("acme", number) } else { asking("acme", number) };
    publish(&server, &(0..BURST).map(one).collect::<Vec<_>>()).await;
    check(&mut acme, 0..BURST).await;
    assert_eq!(server.metric("pointsman_drops_total{cause=\"tenant_backlog\"}").await, 0);
}
